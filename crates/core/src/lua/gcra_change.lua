-- gcra_change: set another rate, for everybody. Permits that are used stay used, at the new price; who waits keeps its slot,
-- and nobody gets an earlier one.
--
-- KEYS[1]  limiter    string  <prefix>:limiter:{<name>}
-- ARGV[1]  config     the new one, as in gcra, set by set_rate
-- ARGV[2]  n          of the new rate
-- ARGV[3]  period     of the new rate, µs
-- ARGV[4]  burst      of the new rate
-- ARGV[5]  not_after  server's clock, ms
-- ARGV[6]  ttl        life of the key, ms
--
-- Returns  {1, stamp_us}          done
--          {4, stamp_us}          late
--          {8, stamp_us}          not our record, or another schema version
--          {9, stamp_us, config}  made with another algorithm
local key, config = KEYS[1], ARGV[1]
local price, burst = ARGV[3] / ARGV[2], tonumber(ARGV[4])
local T = redis.call('TIME') -- once (H50)
local now = T[1] * 1000000 + T[2]
local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
local state = struct.pack('>dddd', now, 0, 0, 0)
if record then
  local theirs, kind, n, period, most = string.match(record, '^(1:(%a):(%d+):(%d+):(%d+):[01]|)')
  if not theirs or kind == 'g' and #record ~= #theirs + 32 then
    return { 8, now }
  elseif kind ~= 'g' then
    return { 9, now, theirs }
  elseif theirs == config then -- an earlier copy, or somebody else wanted the same
    state = string.sub(record, #config + 1)
  else
    local at, q, r = struct.unpack('>dddd', record, #theirs + 1)
    local debt = math.max(0, q + r / n - math.max(0, now - at))
    local ahead = debt - most * period / n
    if ahead > 0 then
      debt = burst * price + ahead
    else
      debt = math.min(debt * n / period, burst) * price
    end
    state = struct.pack('>dddd', now, math.ceil(debt), 0, 0)
  end
end
if now > ARGV[5] * 1000 then
  return { 4, now }
end
redis.call('SET', key, config .. state, 'PX', ARGV[6]) -- refused when memory is full (H40)
return { 1, now }
