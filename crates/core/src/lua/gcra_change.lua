-- gcra_change: set another rate, for everybody. Permits that are used stay used, at the new price; who waits keeps its slot,
-- and nobody gets an earlier one. clock.lua, gcra_record.lua and limiter_change.lua stand in front.
--
-- KEYS[1]  limiter    string  <prefix>:limiter:{<name>}
-- ARGV[1]  config     the new one, as in gcra: by hand without a version, or of a handle with one
-- ARGV[2]  not_after  server's clock, ms
-- ARGV[3]  keep       how long the key lives after all permits have come back, ms
-- ARGV[4]  n          of the new rate
-- ARGV[5]  period     of the new rate, µs
-- ARGV[6]  burst      of the new rate
--
-- Returns  {1, stamp_us}          done, or set by a handle with as high a version
--          {4, stamp_us}          late
--          {8, stamp_us}          not our record, or another schema version
--          {9, stamp_us, config}  made with another algorithm
local price, most, debt = ARGV[5] / ARGV[4], tonumber(ARGV[6]), 0
if record then
  local old_at, old_q, old_r = struct.unpack('>ddd', record, #theirs + 1)
  debt = math.max(0, old_q + old_r / n - math.max(0, now_us - old_at))
  local ahead = debt - burst * period / n
  local used = ahead > 0 and most or math.min(debt * n / period, most)
  debt = used * price + math.max(0, ahead)
end
local state = struct.pack('>dddd', now_us, math.ceil(debt), 0, 0)
redis.call('SET', key, written .. state, 'PX', string.format('%d', math.ceil(debt / 1000) + ARGV[3])) -- refused when memory is full (H40)
return { 1, now_us }
