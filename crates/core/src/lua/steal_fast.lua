-- steal: ends every hold, notifies the holders, and gives everything to the caller, ahead of the queue. This part only
-- reads the request. clock.lua stands in front; the engine's parts and steal_slow.lua follow.
--
-- KEYS[1]  lock       zset  <prefix>:lock:{<name>}
-- ARGV[1]  id         id of the caller's attempt, whose weight is the capacity
-- ARGV[2]  lease      ms
-- ARGV[3]  ttl        lease + retention, ms
-- ARGV[4]  capacity   of the primitive, as in acquire
-- ARGV[5]  floor      the token will be above it, µs; 0: none
-- ARGV[6]  not_after  server's clock, ms
--
-- Returns  {1, stamp_us, token, left_ms, 0}  it holds, now or by an earlier copy
--          {4, stamp_us}                     late; or there are more holds than one step ends: it is to ask again
--          {5, stamp_us}                     the attempt has ended, or was forced open
--          {7, stamp_us}                     the floor is more than a day ahead of the clock
--          {8, stamp_us}                     not our record, or another schema version
local lock, id, lease, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local capacity, floor, not_after = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
