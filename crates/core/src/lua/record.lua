-- record: reads a record, ends what is over, and hands on.
--
-- reads: lock, now_us, now

local function add(step, score, member)
  step.adds[#step.adds + 1], step.adds[#step.adds + 2] = score, member
end

local function drop(step, member)
  step.drops[#step.drops + 1] = member
end

local function live(step, ms)
  step.life = math.max(step.life, ms)
end

-- Somebody left the queue, and nobody looked who stood behind.
local function leave(step, who, kin, place)
  drop(step, who)
  step.loose = step.loose or {}
  step.loose[kin] = place
end

-- Sets the next token, which is above this one, too.
local function set_token(step, above)
  step.token = math.max(now_us, above + 1, (step.token or 0) + 1)
  add(step, step.token, '%TOKEN%')
  if step.token > now_us then -- one that is ahead of the clock has to be remembered longer
    live(step, step.ttl + math.ceil((step.token - now_us) / 1000))
  end
end

-- `3c`: counted, made with a capacity of 3. `3u`: an upgrade.
local function read_capacity(of)
  local number, suffix = string.match(of, '^(%d+)(%a?)$')
  return tonumber(number), suffix == 'c'
end

-- Reads the marks once. Returns the scores of other members.
local function read(step, ...)
  local scores = redis.call('ZMSCORE', lock, '%TOKEN%', '%USED%', '%NEXT%', '%PASSED%', '%CAPACITY%', '%INTERVAL%',
    '%BURST%', '%PERIOD%', '%ARRIVAL%', '%DOUBT%', ...)
  local known = {}
  for i = 1, 10 do
    known[i] = tonumber(scores[i] or nil)
  end
  step.token, step.shared, step.next_ticket, step.passed = known[1], known[2] or 0, known[3], known[4]
  step.recorded, step.used, step.owner, step.wake, step.more = step.shared, step.shared, '', -1, 0
  step.stored, step.rate = step.counted and known[5], nil -- of a latch the marks of a rate are others
  step.capacity = step.stored and math.floor(step.stored / 2) or step.capacity
  if step.stored and known[6] then
    local rate = { interval = known[6], burst = known[7], window = known[8], arrival = known[9] or 0 }
    -- Further ahead than any start may be: the clock was set back. Written, or it would be cut anew by each call, and
    -- freeze until the clock has caught up (H49).
    local furthest = now_us + rate.window + rate.burst * rate.interval
    if rate.arrival > furthest then
      rate.arrival = furthest
      add(step, furthest, '%ARRIVAL%')
    end
    step.rate = rate
  end
  step.since = known[10] and (math.floor(now / %UNIT%) - known[10]) % %CHANCE%
  return unpack(scores, 11)
end

-- `<interval> <burst> <window>`; nothing: no rate.
local function read_pace(of)
  local interval, burst, window = string.match(of or '', '^([%d.]+) (%d+) (%d+)$')
  return interval and { interval = tonumber(interval), burst = tonumber(burst), window = tonumber(window), arrival = 0 }
end

local function same_pace(one, other)
  return one == other
    or one and other and one.interval == other.interval and one.burst == other.burst and one.window == other.window
end

-- Looks at the holds for what is in use. Returns whether the first to end is over, or the last would outlast its own lease:
-- then it was made before the clock was set back (H49). If the last is within its lease, none outlasts the longest lease
-- in play.
local function look(step)
  step.used, step.owner, step.wake = step.shared, '', -1
  local last = redis.call('ZREVRANGEBYSCORE', lock, '%TOMB%', '%HOLDER%', 'WITHSCORES', 'LIMIT', '0', '1')
  if not last[1] then
    return false
  end
  local kin, weight, most = string.match(last[1], '^%d+([^:]*):(%d+):(%d+)', 24)
  local ends = last[2]
  weight = tonumber(weight)
  if step.shared == 0 then
    step.used, step.owner = weight, weight >= step.capacity and kin or ''
  end
  if step.owner ~= '' or step.counted or step.used ~= weight then -- others may hold, too
    ends = redis.call('ZRANGEBYSCORE', lock, '%HOLDER%', '%TOMB%', 'WITHSCORES', 'LIMIT', '0', '1')[2]
  end
  step.wake = math.max(math.ceil(ends - now), 0)
  return step.wake == 0 or last[2] - now > most + 1
end

-- The weight of a holder that leaves becomes free. `mark`: of its weight, or that it was upgraded; `start`: when it may
-- start. What was reserved for a start that has not come goes to the next, if nobody has a later one.
local function give_back(step, who, mark, start)
  local weight = tonumber(step.counted and mark or string.match(who, ':(%d+):%d+:%d+$'))
  drop(step, who)
  drop(step, '%EXTENDED%' .. who)
  if mark then
    drop(step, (step.counted and '%WEIGHT%' or '%UPGRADED%') .. who)
    weight = step.counted and weight or step.capacity
  end
  if start then
    drop(step, '%START%' .. who)
    local rate = step.rate
    if rate and start - now_us > 0 and math.abs(rate.arrival - start - rate.burst * rate.interval) < 1 then
      rate.arrival = rate.arrival - weight * rate.interval
      add(step, rate.arrival, '%ARRIVAL%')
    end
  end
  step.shared = math.max(step.shared - weight, 0)
end

-- Ends the holds in a list, whose ids are `distance` entries apart.
local function end_all(step, list, distance)
  local marks = {}
  for i = 1, #list, distance do
    marks[#marks + 1] = (step.counted and '%WEIGHT%' or '%UPGRADED%') .. list[i]
    marks[#marks + 1] = '%START%' .. list[i]
  end
  local known = marks[1] and redis.call('ZMSCORE', lock, unpack(marks))
  for i = 1, #marks / 2 do
    give_back(step, list[(i - 1) * distance + 1], known[2 * i - 1], known[2 * i])
  end
end

-- Notes when a claim was made that has lapsed, because waiters that were not seen since are in doubt. If claims lapse one
-- after the other, the first one is noted.
local function doubt(step, who, ends, missed)
  if not step.since or step.since > %GONE% then
    local most, window = string.match(who, ':(%d+):(%d+)$')
    local unit, made = math.floor(now / %UNIT%), ends - math.min(window * 2 ^ (missed - 1), most)
    step.since = math.max(unit - math.floor(made / %UNIT%), 0)
    add(step, (unit - step.since) % %CHANCE%, '%DOUBT%')
  end
end

-- Removes what is over, cuts what would outlast its own lease (H49), and counts what is in use. A claim that ended
-- unconfirmed is to go back to the queue, unless it is `whose`. Returns whether a hold ended, or may have.
local function settle(step, whose)
  local tombs = redis.call('ZRANGEBYSCORE', lock, %TOMB%, %TOMB% + now, 'LIMIT', 0, %ENDS%)
  if tombs[1] then
    redis.call('ZREM', lock, unpack(tombs))
  end
  if not look(step) then
    return false
  end
  local over = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, now, 'WITHSCORES', 'LIMIT', 0, %ENDS%)
  end_all(step, over, 2)
  for i = 1, #over, 2 do
    local missed = over[i + 1] % 1 * %CLAIM_PARTS%
    if (missed == 1 or missed == 2) and over[i] ~= whose then
      step.lapsed = step.lapsed or {}
      table.insert(step.lapsed, { over[i], missed })
      doubt(step, over[i], math.floor(over[i + 1]), missed)
    end
  end
  if #over == 2 * %ENDS% then
    step.more, step.unsettled = 1, true
  end
  local last, cut = redis.call('ZREVRANGEBYSCORE', lock, %TOMB%, %HOLDER%, 'WITHSCORES', 'LIMIT', 0, %ENDS%), 0
  for i = 1, #last, 2 do
    local most = tonumber(string.match(last[i], ':(%d+):%d+$'))
    if last[i + 1] - now > most + 1 then
      most = math.max(most, tonumber(redis.call('ZSCORE', lock, '%EXTENDED%' .. last[i]) or 0))
      if last[i + 1] - now > most + 1 then
        add(step, now + most + last[i + 1] % 1, last[i])
        cut = cut + 1
      end
    elseif i == 1 then
      break
    end
  end
  if cut == %ENDS% then -- there may be more of those
    step.more, step.unsettled = 1, true
  end
  commit(lock, step)
  look(step)
  return true
end

-- The id of the hold that an upgrade is to make exclusive, and the counter of the upgrade.
local function base_of(who)
  local client, counter, base, weight, rest = string.match(who, '^(.-[.+])(%d+)^(%d+)-(%d+):%d+(:.*)$')
  return client .. base .. ':' .. weight .. rest, tonumber(counter)
end

-- What a holder has: what its id says, unless it was split, merged or upgraded.
local function held(step, who)
  local own = tonumber(string.match(who, ':(%d+):%d+:%d+$'))
  if step.counted then
    return tonumber(redis.call('ZSCORE', lock, '%WEIGHT%' .. who) or own)
  end
  return step.shared > 0 and redis.call('ZSCORE', lock, '%UPGRADED%' .. who) and step.capacity or own
end

-- Makes a shared hold that is alone exclusive, for the upgrade with this counter.
local function upgrade(step, base, counter, above)
  add(step, counter, '%UPGRADED%' .. base)
  step.shared, step.used = step.capacity, step.capacity
  set_token(step, above)
end

-- What an upgrade at the head comes to; `true`: it is out of the queue. Its base is a hold that is renewed, so it needs
-- no claim.
local function try_upgrade(step, who, place)
  local base, counter = base_of(who)
  local score = tonumber(redis.call('ZSCORE', lock, base) or 0)
  if score <= now or score >= %TOMB% then
    post(lock, step.mail, 'w ', who, ' 0 ' .. string.format('%d', now_us)) -- it asks again, and learns why
  elseif step.used == held(step, base) and step.shared < step.capacity then
    upgrade(step, base, counter, 0)
    local most = string.match(who, ':(%d+):%d+$')
    post(lock, step.mail, 'g ', who, string.format(' %d %d ', step.token, now_us) .. most)
  else
    return false
  end
  leave(step, who, '', place)
  return true
end

-- The ticket before all others, with whatever head start they may come.
local function front()
  local place = tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0) -- not below 0: nobody waits
  return math.min(place < 0 and math.floor((place - %BASE%) / %TICKET%) or %FRONT%, %FRONT%) - 1
end

-- Somebody stands where all were passed over: the next step begins at the front.
local function look_again(step)
  if step.passed then
    drop(step, '%PASSED%')
    step.passed = nil
  end
end

-- Sees to it that no more wait than tickets were given, with so many who come.
local function raise_next(step, more)
  local waiting = redis.call('ZCOUNT', lock, '-inf', '(0') + more
  step.next_ticket = math.max(step.next_ticket or %FIRST_TICKET%, %FIRST_TICKET% + waiting)
  add(step, step.next_ticket, '%NEXT%')
end

-- Puts claims that lapsed back to the front. Unless its client ticks in this request, a place is marked as silent, so that
-- others pass it until it is seen again, and is dropped after seven seconds. Waiters of one owner stay together.
local function put_back(step)
  for i = #step.lapsed, 1, -1 do
    local who, missed = unpack(step.lapsed[i])
    local tag = string.match(who, '@([^:]+)', 24)
    local ticket = tonumber(tag and redis.call('ZSCORE', lock, '%OWNER%' .. tag) or front())
    local seen = (math.floor(now / %UNIT%) - (step.alive and step.alive[who] and 0 or %GONE% - 14)) % %CHANCE%
    add(step, %BASE% + ticket * %TICKET% + missed * %CHANCE% + seen, who)
    if tag then
      add(step, ticket, '%OWNER%' .. tag)
    end
    commit(lock, step)
  end
  step.lapsed = nil
  look_again(step)
  raise_next(step, 0)
  commit(lock, step)
end

-- What every request ends with that may have made room: grant, put back, grant again, tidy, tell.
local function hand_on(step)
  local who, place
  if step.next_ticket then
    who, place = pump(lock, step, now_us, now)
  end
  while who do
    commit(lock, step)
    if try_upgrade(step, who, place) then
      commit(lock, step)
      who, place = pump(lock, step, now_us, now)
    else
      who = pump(lock, step, now_us, now, true) -- none
    end
  end
  finish(lock, step, now_us)
  if step.lapsed then
    put_back(step)
    return hand_on(step)
  end
end

-- The place of a waiter that was seen now. If it asks by itself it is being polled, and the claims that it missed are
-- forgiven.
local function renewed(place, chance)
  return string.format('%d', place - place % %TICKET% + chance * %CHANCE% + math.floor(now / %UNIT%) % %CHANCE%)
end
