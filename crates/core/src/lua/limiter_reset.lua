-- limiter_reset: forget a limiter: what was admitted, who waits, its rate and its algorithm.
-- clock.lua stands in front.
--
-- KEYS[1]  limiter    string  <prefix>:limiter:{<name>}
-- ARGV[1]  not_after  server's clock, ms
--
-- Returns  {1, stamp_us}  forgotten, or there was nothing
--          {4, stamp_us}  late
--          {8, stamp_us}  not our record, or another schema version
local record = redis.call('GET', KEYS[1]) -- raises WRONGTYPE before any write (H41)
if record and not string.find(record, '^1:%a:%d+:%d+:%d+:[01]%.?%d*|') then
  return { 8, now_us }
elseif now_us > ARGV[1] * 1000 then
  return { 4, now_us }
end
redis.call('DEL', KEYS[1])
return { 1, now_us }
