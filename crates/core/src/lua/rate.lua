-- rate: when the holds of a counted primitive with a rate may start (GCRA).
--
-- reads: lock, ttl, now_us, record.stored
-- sets: record.rate

-- `<interval> <burst> <window>`; nothing: no rate.
local function read_pace(of)
  local interval, burst, window = string.match(of or '', '^([%d.]+) (%d+) (%d+)$')
  return interval and { interval = tonumber(interval), burst = tonumber(burst), window = tonumber(window) }
end

-- The rate in the record, if it has one.
local function read_rate()
  local interval = record.stored and redis.call('ZSCORE', lock, '%INTERVAL%')
  if not interval then
    return
  end
  record.rate = {
    interval = tonumber(interval),
    burst = tonumber(redis.call('ZSCORE', lock, '%BURST%')),
    window = tonumber(redis.call('ZSCORE', lock, '%PERIOD%')),
  }
  -- Further ahead than any start may be: the clock was set back. Written, or it would be cut anew by each call, and freeze
  -- until the clock has caught up (H49).
  local furthest = now_us + record.rate.window + record.rate.burst * record.rate.interval
  if tonumber(redis.call('ZSCORE', lock, '%ARRIVAL%') or 0) > furthest then
    redis.call('ZADD', lock, furthest, '%ARRIVAL%')
  end
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
  local after = math.max(tonumber(redis.call('ZSCORE', lock, '%ARRIVAL%') or 0), now_us) + weight_of * record.rate.interval
  return math.max(after - record.rate.burst * record.rate.interval, now_us), after
end

-- Whether so many permits may start within that time, µs.
local function starts_within(weight_of, most)
  return not record.rate or slot(weight_of) - now_us <= math.min(most, record.rate.window)
end

-- Whether its start would be no more than a window away.
local function may_start(who)
  return not record.rate or starts_within(fields(who), record.rate.window)
end

-- How many of these permits may start now.
local function start_now(count)
  if not record.rate then
    return count
  end
  local _, after = slot(0)
  return math.min(count, math.floor((now_us - after) / record.rate.interval + record.rate.burst))
end

local function same_pace(as)
  if not record.rate or not as then
    return not record.rate and not as
  end
  return record.rate.interval == as.interval and record.rate.burst == as.burst and record.rate.window == as.window
end

-- How long until a holder may start, µs.
local function delay_of(who)
  if not record.rate then
    return nil
  end
  local start = tonumber(redis.call('ZSCORE', lock, '%START%' .. who) or 0)
  return math.max(math.ceil(math.min(start - now_us, record.rate.window)), 0)
end

-- The start of a holder that leaves before it, if nobody has a later one, goes to the next.
local function give_start_back(who, weight_of)
  local start = tonumber(redis.call('ZSCORE', lock, '%START%' .. who) or 0)
  local after = tonumber(redis.call('ZSCORE', lock, '%ARRIVAL%') or 0)
  if start > now_us and math.abs(after - start - record.rate.burst * record.rate.interval) < 1 then
    redis.call('ZADD', lock, after - weight_of * record.rate.interval, '%ARRIVAL%')
  end
end
