-- holds: adds holders, and removes those that end.
--
-- reads: lock, now_us, now, record.counted
-- sets: capacity, record.used, record.shared, record.stored, record.owner, record.rate, record.more, record.lapsed

-- Makes `who` a holder until `ends` and returns its token; shared holders have none, a re-entry has its owner's.
local function admit(who, weight_of, ends, above)
  redis.call('ZADD', lock, ends, who)
  record.used = record.used + weight_of
  if exclusive(weight_of) then
    local tag = owner_of(who)
    if tag and tag == record.owner then
      return tonumber(redis.call('ZSCORE', lock, '%TOKEN%'))
    end
    record.owner = tag
    return new_token(above)
  end
  if record.counted and not record.stored then
    record.stored = 2 * capacity
    redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%', record.stored, '%CAPACITY%')
    if record.rate then
      set_pace(record.rate)
    end
  elseif record.shared == 0 then -- maybe on a fresh key: the token makes the record ours
    redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%')
  end
  set_shared(record.shared + weight_of)
  if record.rate then
    local start, after = slot(weight_of)
    set_arrival(after)
    if start > now_us then
      redis.call('ZADD', lock, start, '%START%' .. who)
    end
  end
  return 0
end

-- Makes a shared hold that is alone exclusive, for the upgrade with this counter. Returns the token.
local function upgrade(base, counter, above)
  redis.call('ZADD', lock, counter, '%UPGRADED%' .. base)
  record.used = capacity
  set_shared(capacity)
  return new_token(above)
end

-- The weight of a holder that leaves becomes free. Returns it.
local function give_back(who)
  local weight_of = held(who)
  if record.rate then
    give_start_back(who, weight_of)
  end
  redis.call('ZREM', lock, who, '%EXTENDED%' .. who, (record.counted and '%WEIGHT%' or '%UPGRADED%') .. who)
  if record.counted then
    redis.call('ZREM', lock, '%START%' .. who) -- also if the rate was taken away since
  end
  if record.shared > 0 then
    set_shared(math.max(record.shared - weight_of, 0))
  end
  return weight_of
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
  record.used, record.owner = record.shared, nil
  local last = redis.call('ZREVRANGEBYSCORE', lock, %TOMB%, %HOLDER%, 'WITHSCORES', 'LIMIT', 0, 1)
  if not last[1] then
    return last
  end
  local weight_of, most = fields(last[1])
  if not record.counted then
    record.used = math.max(record.used, weight_of)
    record.owner = weight_of >= capacity and owner_of(last[1]) or nil
  end
  return last, most
end

-- Removes what is over, and counts what is in use. Its first write is one that is allowed when memory is full; then the
-- others of the script are, too (H40).
local function settle()
  redis.call('ZREMRANGEBYSCORE', lock, %TOMB%, %TOMB% + now)
  record.rate = nil -- a tick settles many records
  if record.counted then
    record.stored = tonumber(redis.call('ZSCORE', lock, '%CAPACITY%') or nil)
    capacity = record.stored and math.floor(record.stored / 2) or capacity
    read_rate()
  end
  record.shared = tonumber(redis.call('ZSCORE', lock, '%USED%') or 0)
  local over = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, now, 'WITHSCORES', 'LIMIT', 0, BOUND)
  for i = 1, #over, 2 do
    local missed = over[i + 1] % 1 * %CLAIM_PARTS%
    give_back(over[i])
    if missed == 1 or missed == 2 then
      record.lapsed[#record.lapsed + 1] = { over[i], missed }
    end
  end
  if #over == 2 * BOUND then
    record.more = 1
  end
  local last, most = measure()
  if last[1] and last[2] - now > most then
    clamp(redis.call('ZREVRANGEBYSCORE', lock, %TOMB%, %HOLDER%, 'WITHSCORES', 'LIMIT', 0, BOUND))
  end
end
