-- engine: settle, hand over, tell. Joined into the slow path of acquire, end, tick, force and resize; it stands
-- below their fast paths and uses these locals of theirs: lock, capacity, ttl, now_us, now.
-- Names in percent signs are numbers and members of a record: docs/design.md, "One key per primitive".
local BOUND = 100 -- entries that one step may remove, or grant to; more than that is left to the next call
local SCAN = 1000 -- waiters that one pump may look at
local inbox = string.match(lock, '^(.-:)[^:{]+:{') .. 'inbox:' -- the clients' channels begin with it; all keys have one prefix
local seen_now = math.floor(now / %UNIT%) % %CHANCE%
local used = 0 -- weight in use
local shared = 0 -- the part of it that shared holders have, as recorded
local lapsed = {} -- claims that ended unconfirmed and go back to the front
local subscribed = {} -- channel -> does anybody listen?
local mail = {} -- channel -> lines
local grants = 0 -- in this step, whatever the number of records
local gone = {} -- who left the queue in this step, or was told to look at once
local doubts = {} -- who and window: the entry behind a claim that may be a dead one's
local more, refused = 0, 0
local counted = false -- every hold is shared and without a token, the record says how much there is
local stored = nil -- the capacity in the record: twice of it, and one more if it was resized
local rate = nil -- of a counted primitive: what a permit takes and the window, µs; how many at once
local owner = nil -- whose the exclusive holds are, if they say so in their ids: those do not exclude each other

-- `3c`: counted, made with a capacity of 3. `3u`: an upgrade is not for the fast path.
local function read_capacity(of)
  local number, suffix = string.match(of, '^(%d+)(%a?)$')
  capacity = tonumber(number)
  counted = suffix == 'c'
end

local function fields(of)
  local weight_of, lease_of, window_of = string.match(of, ':(%d+):(%d+):(%d+)$')
  return tonumber(weight_of or 1), tonumber(lease_of or 0), tonumber(window_of or 0)
end

local function exclusive(weight_of)
  return not counted and weight_of >= capacity
end

-- The owner in the id of a reentrant attempt.
local function owner_of(who)
  return string.find(who, '@', 23, true) and string.match(who, '@([^:]+)')
end

-- The id of the hold that an upgrade is to make exclusive, and the counter of the upgrade.
local function base_of(who)
  if string.find(who, '^', 23, true) then
    local client, counter, base, weight_of, rest = string.match(who, '^(.-)%.(%d+)^(%d+)-(%d+):%d+(:.*)$')
    return client .. '.' .. base .. ':' .. weight_of .. rest, tonumber(counter)
  end
end

-- What a holder has: what its id says, unless it was split, merged or upgraded.
local function held(who)
  if counted then
    return tonumber(redis.call('ZSCORE', lock, '%WEIGHT%' .. who) or nil) or (fields(who))
  elseif shared > 0 and redis.call('ZSCORE', lock, '%UPGRADED%' .. who) then
    return capacity
  end
  return (fields(who))
end

local function holds(who)
  local score = tonumber(redis.call('ZSCORE', lock, who) or 0)
  return score > now and score < %TOMB%
end

-- Units of 256 ms since a waiter was seen; a clock that was set back counts as "just now".
local function age(score)
  local units = (seen_now - score % %CHANCE%) % %CHANCE%
  if units > %CHANCE% / 2 then
    return 0
  end
  return units
end

local function text(number)
  return string.format('%.0f', number)
end

-- No call shortens the life of a key that others rely on.
local function keep(ms)
  if redis.call('PTTL', lock) < ms then
    redis.call('PEXPIRE', lock, ms + math.floor(ms / 8)) -- more than need be, so that it is seldom due
  end
end

local function post(to, line)
  local channel = inbox .. string.sub(to, 1, 22)
  local lines = mail[channel]
  if lines then
    lines[#lines + 1] = line
  else
    mail[channel] = { line }
  end
end

-- Last of all, and through pcall: a refused PUBLISH must not undo what is written (H46).
local function send_mail()
  for channel, lines in pairs(mail) do
    if type(redis.pcall('PUBLISH', channel, table.concat(lines, ';'))) == 'table' then
      refused = 1
    end
  end
  mail = {}
end

local function set_shared(weight)
  if weight > 0 then
    redis.call('ZADD', lock, weight, '%USED%')
  elseif shared > 0 then
    redis.call('ZREM', lock, '%USED%')
  end
  shared = weight
end

local function new_token(above)
  local us = math.max(now_us, above + 1)
  if redis.call('ZADD', lock, 'GT', 'CH', us, '%TOKEN%') == 0 then
    us = tonumber(redis.call('ZINCRBY', lock, 1, '%TOKEN%'))
  end
  if us > now_us then -- the memory of a token that is ahead of the clock has to last longer
    keep(ttl + math.ceil((us - now_us) / 1000))
  end
  return us
end

-- `<interval> <burst> <window>`; nothing: no rate.
local function read_pace(of)
  local interval, burst, window = string.match(of or '', '^([%d.]+) (%d+) (%d+)$')
  return interval and { interval = tonumber(interval), burst = tonumber(burst), window = tonumber(window) }
end

-- The theoretical arrival time. It has to be remembered until it has come, or the burst would be there again.
local function set_arrival(after)
  redis.call('ZADD', lock, after, '%ARRIVAL%')
  keep(math.max(ttl, math.ceil((after - now_us) / 1000)))
end

-- What was reserved at another rate counts as a burst that is used up, at most; at the same one it stays.
local function set_pace(to)
  if to then
    local function is(member, number)
      return tonumber(redis.call('ZSCORE', lock, member) or nil) == number
    end
    local after = tonumber(redis.call('ZSCORE', lock, '%ARRIVAL%') or now_us)
    if not (is('%INTERVAL%', to.interval) and is('%BURST%', to.burst) and is('%PERIOD%', to.window)) then
      after = math.min(after, now_us + to.burst * to.interval)
    end
    redis.call('ZADD', lock, to.interval, '%INTERVAL%', to.burst, '%BURST%', to.window, '%PERIOD%')
    set_arrival(after)
  else
    redis.call('ZREM', lock, '%INTERVAL%', '%BURST%', '%PERIOD%', '%ARRIVAL%')
  end
end

-- GCRA: when so many permits may start, and the theoretical arrival time after them, µs.
local function slot(weight_of)
  local after = math.max(tonumber(redis.call('ZSCORE', lock, '%ARRIVAL%') or 0), now_us) + weight_of * rate.interval
  return math.max(after - rate.burst * rate.interval, now_us), after
end

-- Whether so many permits may start within that time, µs.
local function starts_within(weight_of, most)
  return not rate or slot(weight_of) - now_us <= math.min(most, rate.window)
end

-- How long until a holder may start, µs.
local function delay_of(who)
  if not rate then
    return nil
  end
  local start = tonumber(redis.call('ZSCORE', lock, '%START%' .. who) or 0)
  return math.max(math.ceil(math.min(start - now_us, rate.window)), 0)
end

-- Makes `who` a holder until `ends` and returns its token; shared holders have none, a re-entry has its owner's.
local function admit(who, weight_of, ends, above)
  redis.call('ZADD', lock, ends, who)
  used = used + weight_of
  if exclusive(weight_of) then
    local tag = owner_of(who)
    if tag and tag == owner then
      return tonumber(redis.call('ZSCORE', lock, '%TOKEN%'))
    end
    owner = tag
    return new_token(above)
  end
  if counted and not stored then
    stored = 2 * capacity
    redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%', stored, '%CAPACITY%')
    if rate then
      set_pace(rate)
    end
  elseif shared == 0 then -- maybe on a fresh key: the token makes the record ours
    redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%')
  end
  set_shared(shared + weight_of)
  if rate then
    local start, after = slot(weight_of)
    set_arrival(after)
    if start > now_us then
      redis.call('ZADD', lock, start, '%START%' .. who)
    end
  end
  return 0
end

-- The start of a holder that leaves before it, if nobody has a later one, goes to the next.
local function give_start_back(who, weight_of)
  local start = tonumber(redis.call('ZSCORE', lock, '%START%' .. who) or 0)
  local after = tonumber(redis.call('ZSCORE', lock, '%ARRIVAL%') or 0)
  if start > now_us and math.abs(after - start - rate.burst * rate.interval) < 1 then
    redis.call('ZADD', lock, after - weight_of * rate.interval, '%ARRIVAL%')
  end
end

-- The weight of a holder that leaves becomes free. Returns it.
local function give_back(who)
  local weight_of = held(who)
  if rate then
    give_start_back(who, weight_of)
  end
  redis.call('ZREM', lock, who, '%EXTENDED%' .. who, (counted and '%WEIGHT%' or '%UPGRADED%') .. who)
  if counted then
    redis.call('ZREM', lock, '%START%' .. who) -- also if the rate was taken away since
  end
  if shared > 0 then
    set_shared(math.max(shared - weight_of, 0))
  end
  return weight_of
end

-- Makes a shared hold that is alone exclusive, for the upgrade with this counter. Returns the token.
local function upgrade(base, counter, above)
  redis.call('ZADD', lock, counter, '%UPGRADED%' .. base)
  used = capacity
  set_shared(capacity)
  return new_token(above)
end

-- A hold that would outlast its own lease was made before the clock was set back: cut it (H49).
local function clamp(holders)
  for i = 1, #holders, 2 do
    local _, most = fields(holders[i])
    if holders[i + 1] - now > most then
      most = math.max(most, tonumber(redis.call('ZSCORE', lock, '%EXTENDED%' .. holders[i]) or 0))
      if holders[i + 1] - now > most + 1 then
        redis.call('ZADD', lock, 'XX', now + most + holders[i + 1] % 1, holders[i])
      end
    end
  end
end

-- Counts what is in use, by the last hold to end and `shared`. No other hold ends later: if this one is within its
-- lease, none outlasts the longest lease in play.
local function measure()
  used, owner = shared, nil
  local last = redis.call('ZREVRANGEBYSCORE', lock, %TOMB%, %HOLDER%, 'WITHSCORES', 'LIMIT', 0, 1)
  if not last[1] then
    return last
  end
  local weight_of, most = fields(last[1])
  if not counted then
    used = math.max(used, weight_of)
    owner = weight_of >= capacity and owner_of(last[1]) or nil
  end
  return last, most
end

-- Removes what is over, and counts what is in use.
local function settle()
  redis.call('ZREMRANGEBYSCORE', lock, %TOMB%, %TOMB% + now)
  rate = nil -- a tick settles many records
  if counted then
    stored = tonumber(redis.call('ZSCORE', lock, '%CAPACITY%') or nil)
    capacity = stored and math.floor(stored / 2) or capacity
    local interval = stored and redis.call('ZSCORE', lock, '%INTERVAL%')
    if interval then
      rate = {
        interval = tonumber(interval),
        burst = tonumber(redis.call('ZSCORE', lock, '%BURST%')),
        window = tonumber(redis.call('ZSCORE', lock, '%PERIOD%')),
      }
      -- Further ahead than any start may be: the clock was set back. Written, or it would be cut anew by each call, and freeze
      -- until the clock has caught up (H49).
      local furthest = now_us + rate.window + rate.burst * rate.interval
      if tonumber(redis.call('ZSCORE', lock, '%ARRIVAL%') or 0) > furthest then
        redis.call('ZADD', lock, furthest, '%ARRIVAL%')
      end
    end
  end
  shared = tonumber(redis.call('ZSCORE', lock, '%USED%') or 0)
  local over = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, now, 'WITHSCORES', 'LIMIT', 0, BOUND)
  for i = 1, #over, 2 do
    local missed = over[i + 1] % 1 * %CLAIM_PARTS%
    give_back(over[i])
    if missed == 1 or missed == 2 then
      lapsed[#lapsed + 1] = { over[i], missed }
    end
  end
  if #over == 2 * BOUND then
    more = 1
  end
  local last, most = measure()
  if last[1] and last[2] - now > most then
    clamp(redis.call('ZREVRANGEBYSCORE', lock, %TOMB%, %HOLDER%, 'WITHSCORES', 'LIMIT', 0, BOUND))
  end
end

-- A hint, not a proof: NUMSUB counts this node's subscribers, half-open ones too. So it only passes an entry
-- over, and asks before anything is sent: a grant message must never have to be taken back.
local function listens(who, score)
  if math.floor(score % %TICKET% / %CHANCE%) == %POLLS% then
    return true -- it polls
  end
  local channel = inbox .. string.sub(who, 1, 22)
  if subscribed[channel] == nil then
    local answer = redis.pcall('PUBSUB', 'NUMSUB', channel)
    subscribed[channel] = answer.err ~= nil or answer[2] ~= 0
  end
  return subscribed[channel]
end

local function tell(who, ms)
  post(who, 'w ' .. string.sub(who, 23) .. ' ' .. text(ms) .. ' ' .. text(now_us))
end

-- A waiter has left the queue: the mark of its owner goes with the last one who waits for that owner.
local function unmark_owner(who, score)
  local tag = owner_of(who)
  if tag then
    local from = score - score % %TICKET%
    if redis.call('ZCOUNT', lock, from, '(' .. text(from + %TICKET%)) == 0 then
      redis.call('ZREM', lock, '%OWNER%' .. tag)
    end
  end
end

local function leave_queue(who, score)
  redis.call('ZREM', lock, who)
  gone[who] = true
  unmark_owner(who, score)
end

-- It asks again, and learns why.
local function drop_place(who, score)
  leave_queue(who, score)
  tell(who, 0)
end

-- Whether it may be granted beside those who hold.
local function fits(who)
  local weight_of = fields(who)
  return used + weight_of <= capacity or (owner and owner == owner_of(who)) or false
end

-- Whether its start would be no more than a window away.
local function may_start(who)
  return not rate or starts_within(fields(who), rate.window)
end

-- The hand-off: a claim on the head's behalf, and a message to it. If the head may be dead, the entry behind is told, too,
-- unless this step grants to that one as well.
local function hand_over(who, score, behind)
  local weight_of, most, window = fields(who)
  local missed = math.floor(score % %TICKET% / %CHANCE%)
  if missed == %POLLS% then
    missed = 0
  end
  window = math.min(window * 2 ^ missed, most)
  keep(window + ttl) -- the head may have set the key's life long ago: a record must not end before its claim
  local token = admit(who, weight_of, now + window + (1 + missed) / %CLAIM_PARTS%, 0)
  gone[who] = true
  unmark_owner(who, score)
  local delay = rate and ' ' .. text(delay_of(who)) or ''
  post(who, 'g ' .. string.sub(who, 23) .. ' ' .. text(token) .. ' ' .. text(now_us) .. ' ' .. text(window) .. delay)
  if behind and (missed > 0 or age(score) * %UNIT% > window) then
    doubts[#doubts + 1] = { behind, window }
  end
end

local function tell_doubts()
  for i = 1, #doubts do
    if not gone[doubts[i][1]] then
      tell(doubts[i][1], doubts[i][2])
    end
  end
  doubts = {}
end

-- Whether this step may grant to one more. If not, that one is told to look at once: not every answer has room to say
-- that there is more to do, and the caller may die before it goes on.
local function may_grant(who)
  if grants == BOUND then
    more = 1
    gone[who] = true
    tell(who, 0)
    return false
  end
  grants = grants + 1
  return true
end

-- What an upgrade at the head comes to; `true`: it is out of the queue. Its base is a hold that is renewed, so it needs
-- no claim.
local function try_upgrade(who, score)
  local base, counter = base_of(who)
  if not holds(base) then
    drop_place(who, score)
    return true
  elseif used == held(base) and shared < capacity then
    redis.call('ZREM', lock, who)
    gone[who] = true
    local _, most = fields(who)
    post(who, 'g ' .. string.sub(who, 23) .. ' ' .. text(upgrade(base, counter, 0)) .. ' ' .. text(now_us) .. ' ' .. text(most))
    return true
  end
  return false
end

-- Grants from the head of the queue while it fits.
local function pump()
  local skip, passed = 0, {}
  for step = 1, SCAN do
    if used >= capacity and not owner then
      return
    end
    local head = redis.call('ZRANGE', lock, skip, skip + 1, 'WITHSCORES')
    local who, score = head[1], tonumber(head[2] or 0)
    local behind = tonumber(head[4] or 0) < 0 and head[3] or nil
    if not who or score >= 0 then
      break
    elseif age(score) > %PATIENCE% or (age(score) > %DEAF% and not listens(who, score)) then
      leave_queue(who, score)
    elseif counted and fields(who) > capacity then -- resized since
      drop_place(who, score)
    elseif fits(who) and not may_start(who) then -- it is refused as too late
      drop_place(who, score)
    elseif base_of(who) then
      if not try_upgrade(who, score) then
        break
      end
    elseif not fits(who) then
      break -- nobody behind it is granted, but those passed over may fit
    elseif listens(who, score) then
      if not may_grant(who) then
        return
      end
      hand_over(who, score, behind)
    else
      passed[#passed + 1] = { who, score }
      skip = skip + 1
    end
    if step == SCAN and (used < capacity or owner) then
      more = 1
    end
  end
  for i = 1, #passed do -- nobody else can be granted
    if not fits(passed[i][1]) then
      return
    elseif not may_start(passed[i][1]) then
      drop_place(passed[i][1], passed[i][2])
    elseif may_grant(passed[i][1]) then
      hand_over(passed[i][1], passed[i][2], passed[i + 1] and passed[i + 1][1])
    else
      return
    end
  end
end

-- The ticket of the head of the queue; above all tickets if there is none.
local function head_ticket()
  local first = tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0)
  return first < 0 and math.floor((first - %BASE%) / %TICKET%) or %LAST_TICKET%
end

-- The ticket before all others, with whatever head start they may come.
local function front()
  return math.min(head_ticket(), %FRONT%) - 1
end

-- Puts a waiter into the queue; `next` is the ticket of the next newcomer.
local function enter_queue(who, ticket, next, low)
  local tag = owner_of(who)
  redis.call('ZADD', lock, next, '%NEXT%', %BASE% + ticket * %TICKET% + low, who)
  if tag then
    redis.call('ZADD', lock, ticket, '%OWNER%' .. tag)
  end
end

-- A ticket that nobody has, from this one on: the next one, unless owners share some. Where `count` tickets have fewer
-- than `count` waiters one is free; that is looked for by doubling and halving, so that a crowd costs little.
local function free_ticket(ticket)
  local from = %BASE% + ticket * %TICKET%
  local function taken(count)
    return redis.call('ZCOUNT', lock, from, '(' .. text(from + count * %TICKET%)) >= count
  end
  local low, high = 0, 1
  while taken(high) do
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if taken(middle) then
      low = middle
    else
      high = middle
    end
  end
  return ticket + low
end

-- A claim that lapsed let one other pass and goes back to the front, half-way to being given up: it has a second more
-- if nobody listens for it, else seven.
local function put_back()
  for i = #lapsed, 1, -1 do
    local tag = owner_of(lapsed[i][1])
    local ticket = tonumber(tag and redis.call('ZSCORE', lock, '%OWNER%' .. tag) or front()) -- those of one owner stay together
    local next = tonumber(redis.call('ZSCORE', lock, '%NEXT%') or %FIRST_TICKET%)
    enter_queue(lapsed[i][1], ticket, next, lapsed[i][2] * %CHANCE% + (seen_now - %DEAF% + 4) % %CHANCE%)
  end
  lapsed = {}
end

-- The ticket of a newcomer, and that of the next: behind all others, unless it is an upgrade, its owner waits already, or
-- it has a head start. That is in milliseconds, so tickets are, too, from the first one on that may be compared with one
-- that has a head start: %SINCE% is when that was.
-- Every newcomer counts as coming later than the one before, so that equal head starts never change the order.
local function new_ticket(who, ahead, timed)
  local tag = owner_of(who)
  local mark = tag and redis.call('ZSCORE', lock, '%OWNER%' .. tag)
  local next = tonumber(redis.call('ZSCORE', lock, '%NEXT%') or %FIRST_TICKET%)
  if mark then
    return tonumber(mark), next
  elseif base_of(who) then
    return front(), next
  end
  local start = redis.call('ZSCORE', lock, '%SINCE%')
  if not start and not timed then
    return next, next + 1
  elseif not start then
    start = (now - (next - %FIRST_TICKET%)) % %CYCLE%
    redis.call('ZADD', lock, start, '%SINCE%')
  end
  local since = (now - start) % %CYCLE%
  if since > %CYCLE% / 2 then -- the clock was set back
    since = since - %CYCLE%
  end
  local came = math.max(next, %FIRST_TICKET% + math.min(since, %LONGEST%))
  local ticket = free_ticket(math.max(came - ahead, %FRONT%))
  return ticket, (ahead == 0 and ticket or came) + 1
end

-- When nobody waits any more, tickets begin anew, or newcomers would queue behind nobody.
local function tidy()
  if tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0) >= 0 then
    redis.call('ZREM', lock, '%NEXT%', '%SINCE%')
  end
end

-- What every slow path ends with, before its reply: grant, put back, grant again, tidy, tell.
local function hand_on()
  pump()
  if lapsed[1] then
    put_back()
    pump()
  end
  tell_doubts()
  tidy()
end

-- Milliseconds until the first hold ends; -1: there is none.
local function wake_in()
  local first = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'WITHSCORES', 'LIMIT', 0, 1)
  if not first[1] then
    return -1
  end
  return math.max(math.ceil(first[2] - now), 0)
end

-- Tells the head of the queue when the claim before it ends.
local function tell_head()
  local head = redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')
  local claim = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'WITHSCORES', 'LIMIT', 0, 1)
  if tonumber(head[2] or 0) < 0 and claim[1] and claim[2] % 1 > 0 then
    tell(head[1], math.max(math.ceil(claim[2] - now), 0))
  end
end

-- Seen now. The claims that it missed stay counted: a client that ticks for a future that nobody polls lives, but it
-- must not make the others wait for ever.
local function refresh(who, score, polls_now)
  local chance = math.floor(score % %TICKET% / %CHANCE%)
  if polls_now == %POLLS% or chance == %POLLS% then
    chance = polls_now
  end
  redis.call('ZADD', lock, 'XX', score - score % %TICKET% + chance * %CHANCE% + seen_now, who)
end

-- The same for a waiter that asks by itself: it is being polled, so the claims that it missed are forgiven.
local function renew_place(who, score, polls_now)
  redis.call('ZADD', lock, 'XX', score - score % %TICKET% + polls_now * %CHANCE% + seen_now, who)
end

-- The queue is full: places of the dead make room. They may stand anywhere, so a long queue is looked at in parts.
local function sweep(count)
  local from = count > SCAN and now % count or 0
  local places = redis.call('ZRANGE', lock, from, from + SCAN - 1, 'WITHSCORES')
  local swept = 0
  for i = 1, #places, 2 do
    local score = tonumber(places[i + 1])
    if score < 0 and age(score) > %PATIENCE% and swept < BOUND then
      leave_queue(places[i], score)
      swept = swept + 1
    end
  end
  return count - swept
end
