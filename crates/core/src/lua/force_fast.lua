-- force: ends every hold, notifies the holders, and hands over to the next waiters. This part only
-- reads the request. clock.lua stands in front; the engine's parts and force_slow.lua follow.
--
-- KEYS[1]  lock      zset  <prefix>:lock:{<name>}
-- ARGV[1]  capacity  of the primitive, as in acquire
-- ARGV[2]  ttl       retention, ms
--
-- Returns  {0, rest, refused}  nobody held
--          {1, rest, refused}  holds were ended; rest = 1: there are others, and nobody was let in
--          {8, 0, 0}           not our record, or another schema version
local lock = KEYS[1]
local capacity, ttl = ARGV[1], tonumber(ARGV[2])
