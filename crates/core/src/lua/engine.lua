-- engine: settle, hand over, tell. Joined into the slow path of acquire, end, tick, force and resize; it stands
-- below their fast paths and uses these locals of theirs: lock, capacity, ttl, inbox, now_us, now.
-- What the numbers mean is in docs/design.md, "One key per primitive".
local BASE, TICKET, CHANCE = -9007199254740992, 1048576, 262144
local FIRST_TICKET, LAST_TICKET = 4294967296, 8589934591
local HOLDER, TOMB = 1000000000000, 100000000000000
local PATIENCE = 40 -- x 256 ms: a waiter not seen for longer is dropped when it reaches the front (H8)
local DEAF = 16 -- the same for one whose inbox has no subscriber: a tick at least every 3 s shows that it lives all the same
local BOUND = 100 -- entries that one step may remove; more than that is left to the next call
local SCAN = 1000 -- waiters that one pump may look at
local seen_now = math.floor(now / 256) % CHANCE
local used = 0 -- weight in use
local shared = 0 -- the part of it that is recorded in `u`
local lapsed = {} -- claims that ended unconfirmed and go back to the front
local subscribed = {} -- channel -> does anybody listen?
local mail = {} -- channel -> text
local more, refused = 0, 0
local counted = false -- every hold is shared and without a token, the record says in `c` how much there is
local stored = nil -- the score of `c`: twice the capacity, and one more if it was resized

-- `3c`: counted, made with a capacity of 3.
local function read_capacity(of)
  local number, suffix = string.match(of, '^(%d+)(c?)$')
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

-- What a holder has: what its id says, unless it was split or merged.
local function held(who)
  return counted and tonumber(redis.call('ZSCORE', lock, 'w' .. who) or nil) or (fields(who))
end

-- Units of 256 ms since a waiter was seen; a clock that was set back counts as "just now".
local function age(score)
  local units = (seen_now - score % CHANCE) % CHANCE
  if units > CHANCE / 2 then
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
    redis.call('PEXPIRE', lock, ms)
  end
end

local function post(to, line)
  local channel = inbox .. string.sub(to, 1, 22)
  if mail[channel] then
    mail[channel] = mail[channel] .. ';' .. line
  else
    mail[channel] = line
  end
end

-- Last of all, and through pcall: a refused PUBLISH must not undo what is written (H46).
local function send_mail()
  for channel, lines in pairs(mail) do
    if type(redis.pcall('PUBLISH', channel, lines)) == 'table' then
      refused = 1
    end
  end
  mail = {}
end

local function set_shared(weight)
  if weight > 0 then
    redis.call('ZADD', lock, weight, 'u')
  elseif shared > 0 then
    redis.call('ZREM', lock, 'u')
  end
  shared = weight
end

local function new_token(above)
  local us = math.max(now_us, above + 1)
  if redis.call('ZADD', lock, 'GT', 'CH', us, 't1') == 0 then
    us = tonumber(redis.call('ZINCRBY', lock, 1, 't1'))
  end
  if us > now_us then -- the memory of a token that is ahead of the clock has to last longer
    keep(ttl + math.ceil((us - now_us) / 1000))
  end
  return us
end

-- Makes `who` a holder until `ends` and returns its token; shared holders have none.
local function admit(who, weight_of, ends, above)
  redis.call('ZADD', lock, ends, who)
  used = used + weight_of
  if exclusive(weight_of) then
    return new_token(above)
  end
  if counted and not stored then
    stored = 2 * capacity
    redis.call('ZADD', lock, 'NX', now_us, 't1', stored, 'c')
  elseif shared == 0 then -- maybe on a fresh key: `t1` makes the record ours
    redis.call('ZADD', lock, 'NX', now_us, 't1')
  end
  set_shared(shared + weight_of)
  return 0
end

-- The weight of a holder that leaves becomes free. Returns it.
local function give_back(who)
  local weight_of = held(who)
  redis.call('ZREM', lock, who, 'x' .. who, 'w' .. who)
  if shared > 0 then
    set_shared(math.max(shared - weight_of, 0))
  end
  return weight_of
end

-- A hold that would outlast its own lease was made before the clock was set back: cut it (H49).
local function clamp(holders)
  for i = 1, #holders, 2 do
    local _, most = fields(holders[i])
    if holders[i + 1] - now > most then
      most = math.max(most, tonumber(redis.call('ZSCORE', lock, 'x' .. holders[i]) or 0))
      if holders[i + 1] - now > most + 1 then
        redis.call('ZADD', lock, 'XX', now + most + holders[i + 1] % 1, holders[i])
      end
    end
  end
end

-- Removes what is over, and counts what is in use.
local function settle()
  redis.call('ZREMRANGEBYSCORE', lock, TOMB, TOMB + now)
  if counted then
    stored = tonumber(redis.call('ZSCORE', lock, 'c') or nil)
    capacity = stored and math.floor(stored / 2) or capacity
  end
  shared = tonumber(redis.call('ZSCORE', lock, 'u') or 0)
  local over = redis.call('ZRANGEBYSCORE', lock, HOLDER, now, 'WITHSCORES', 'LIMIT', 0, BOUND)
  for i = 1, #over, 2 do
    local missed = over[i + 1] % 1 * 16
    give_back(over[i])
    if missed == 1 or missed == 2 then
      lapsed[#lapsed + 1] = { over[i], missed }
    end
  end
  if #over == 2 * BOUND then
    more = 1
  end
  used = shared
  local last = redis.call('ZREVRANGEBYSCORE', lock, TOMB, HOLDER, 'WITHSCORES', 'LIMIT', 0, 1)
  if last[1] then -- no other hold ends later: if this one is within its lease, none outlasts the longest lease in play
    local weight_of, most = fields(last[1])
    used = counted and shared or math.max(used, weight_of)
    if last[2] - now > most then
      clamp(redis.call('ZREVRANGEBYSCORE', lock, TOMB, HOLDER, 'WITHSCORES', 'LIMIT', 0, BOUND))
    end
  end
end

-- A hint, not a proof: NUMSUB counts this node's subscribers, half-open ones too. So it only passes an entry
-- over, and asks before anything is sent: a grant message must never have to be taken back.
local function listens(who, score)
  if math.floor(score % TICKET / CHANCE) == 3 then
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

-- The hand-off: a claim on the head's behalf, a message to it, and one to the entry behind if the head may be dead.
local function hand_over(who, score, behind)
  local weight_of, most, window = fields(who)
  local missed = math.floor(score % TICKET / CHANCE)
  if missed == 3 then
    missed = 0
  end
  window = math.min(window * 2 ^ missed, most)
  keep(window + ttl) -- the head may have set the key's life long ago: a record must not end before its claim
  local token = admit(who, weight_of, now + window + (1 + missed) / 16, 0)
  post(who, 'g ' .. string.sub(who, 23) .. ' ' .. text(token) .. ' ' .. text(now_us) .. ' ' .. text(window))
  if behind and (missed > 0 or age(score) * 256 > window) then
    tell(behind, window)
  end
end

-- Grants from the head of the queue while it fits.
local function pump()
  local skip, passed = 0, {}
  for step = 1, SCAN do
    if used >= capacity then
      return
    end
    local head = redis.call('ZRANGE', lock, skip, skip + 1, 'WITHSCORES')
    local who, score = head[1], tonumber(head[2] or 0)
    local behind = tonumber(head[4] or 0) < 0 and head[3] or nil
    if not who or score >= 0 then
      break
    elseif age(score) > PATIENCE or (age(score) > DEAF and not listens(who, score)) then
      redis.call('ZREM', lock, who)
    elseif counted and fields(who) > capacity then -- resized since: it asks again, and learns that there is not so much
      redis.call('ZREM', lock, who)
      tell(who, 0)
    elseif used + fields(who) > capacity then
      break -- nobody behind it is granted, but those passed over may fit
    elseif listens(who, score) then
      hand_over(who, score, behind)
    else
      passed[#passed + 1] = { who, score }
      skip = skip + 1
    end
    if step == SCAN and used < capacity then
      more = 1
    end
  end
  for i = 1, #passed do -- nobody else can be granted
    if used + fields(passed[i][1]) > capacity then
      return
    end
    hand_over(passed[i][1], passed[i][2], passed[i + 1] and passed[i + 1][1])
  end
end

-- A claim that lapsed let one other pass and goes back to the front, half-way to being given up: it has a second more
-- if nobody listens for it, else seven.
local function put_back()
  for i = #lapsed, 1, -1 do
    local first = tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0)
    local place = BASE + FIRST_TICKET * TICKET
    if first < 0 then
      place = first - first % TICKET - TICKET
    else
      redis.call('ZADD', lock, FIRST_TICKET + 1, 'q')
    end
    local seen = (seen_now - DEAF + 4) % CHANCE
    redis.call('ZADD', lock, place + lapsed[i][2] * CHANCE + seen, lapsed[i][1])
  end
  lapsed = {}
end

-- What every slow path ends with, before its reply: grant, put back, grant again, tidy, tell.
local function hand_on()
  pump()
  if lapsed[1] then
    put_back()
    pump()
  end
  if tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0) >= 0 then
    redis.call('ZREM', lock, 'q') -- or newcomers would queue behind nobody
  end
end

-- Milliseconds until the first hold ends; -1: there is none.
local function wake_in()
  local first = redis.call('ZRANGEBYSCORE', lock, HOLDER, TOMB, 'WITHSCORES', 'LIMIT', 0, 1)
  if not first[1] then
    return -1
  end
  return math.max(math.ceil(first[2] - now), 0)
end

-- Tells the head of the queue when the claim before it ends.
local function tell_head()
  local head = redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')
  local claim = redis.call('ZRANGEBYSCORE', lock, HOLDER, TOMB, 'WITHSCORES', 'LIMIT', 0, 1)
  if tonumber(head[2] or 0) < 0 and claim[1] and claim[2] % 1 > 0 then
    tell(head[1], math.max(math.ceil(claim[2] - now), 0))
  end
end

-- Seen now. The claims that it missed stay counted: a client that ticks for a future that nobody polls lives, but it
-- must not make the others wait for ever.
local function refresh(who, score, polls_now)
  local chance = math.floor(score % TICKET / CHANCE)
  if polls_now == 3 or chance == 3 then
    chance = polls_now
  end
  redis.call('ZADD', lock, 'XX', score - score % TICKET + chance * CHANCE + seen_now, who)
end

-- The same for a waiter that asks by itself: it is being polled, so the claims that it missed are forgiven.
local function renew_place(who, score, polls_now)
  redis.call('ZADD', lock, 'XX', score - score % TICKET + polls_now * CHANCE + seen_now, who)
end

-- The queue is full: places of the dead make room. They may stand anywhere, so a long queue is looked at in parts.
local function sweep(count)
  local from = count > SCAN and now % count or 0
  local places = redis.call('ZRANGE', lock, from, from + SCAN - 1, 'WITHSCORES')
  local swept = 0
  for i = 1, #places, 2 do
    local score = tonumber(places[i + 1])
    if score < 0 and age(score) > PATIENCE and swept < BOUND then
      redis.call('ZREM', lock, places[i])
      swept = swept + 1
    end
  end
  return count - swept
end
