-- record: reads and writes a record, and keeps what this step knows about it. It is the engine's
-- first part, and the parts below use its functions. wire/record.rs defines the names in percent
-- signs.
--
-- reads: lock, ttl, now_us, now, record.used, record.owner
-- sets: capacity, record, record.shared, record.counted
local BOUND = 100 -- entries that one step may remove, or grant to; more than that is left to the next call
local SCAN = 1000 -- waiters that one pump may look at
-- What a step knows about the record; a tick looks at many, one after the other.
local record = {
  used = 0, -- weight in use
  shared = 0, -- the part of it that shared holders have, as recorded
  counted = false, -- every hold is shared and without a token, the record says how much there is
  stored = nil, -- the capacity in the record: twice of it, and one more if it was resized
  rate = nil, -- of a counted primitive: what a permit takes and the window, µs; how many at once
  owner = nil, -- whose the exclusive holds are, if they say so in their ids: those do not exclude each other
  lapsed = {}, -- claims that ended unconfirmed and go back to the front
  more = 0, -- 1: the step left something to the next
}

-- `3c`: counted, made with a capacity of 3. `3u`: an upgrade is not for the fast path.
local function read_capacity(of)
  local number, suffix = string.match(of, '^(%d+)(%a?)$')
  capacity = tonumber(number)
  record.counted = suffix == 'c'
end

local function fields(of)
  local weight_of, lease_of, window_of = string.match(of, ':(%d+):(%d+):(%d+)$')
  return tonumber(weight_of or 1), tonumber(lease_of or 0), tonumber(window_of or 0)
end

local function exclusive(weight_of)
  return not record.counted and weight_of >= capacity
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

local function text(number)
  return string.format('%.0f', number)
end

-- What a holder has: what its id says, unless it was split, merged or upgraded.
local function held(who)
  if record.counted then
    return tonumber(redis.call('ZSCORE', lock, '%WEIGHT%' .. who) or nil) or (fields(who))
  elseif record.shared > 0 and redis.call('ZSCORE', lock, '%UPGRADED%' .. who) then
    return capacity
  end
  return (fields(who))
end

local function holds(who)
  local score = tonumber(redis.call('ZSCORE', lock, who) or 0)
  return score > now and score < %TOMB%
end

-- Whether it may be granted beside those who hold.
local function fits(who)
  local weight_of = fields(who)
  return record.used + weight_of <= capacity or (record.owner and record.owner == owner_of(who)) or false
end

-- Milliseconds until the first hold ends; -1: there is none.
local function wake_in()
  local first = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'WITHSCORES', 'LIMIT', 0, 1)
  if not first[1] then
    return -1
  end
  return math.max(math.ceil(first[2] - now), 0)
end

-- No call shortens the life of a key that others rely on.
local function keep(ms)
  if redis.call('PTTL', lock) < ms then
    redis.call('PEXPIRE', lock, ms + math.floor(ms / 8)) -- more than need be, so that it is seldom due
  end
end

local function set_shared(weight)
  if weight > 0 then
    redis.call('ZADD', lock, weight, '%USED%')
  elseif record.shared > 0 then
    redis.call('ZREM', lock, '%USED%')
  end
  record.shared = weight
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
