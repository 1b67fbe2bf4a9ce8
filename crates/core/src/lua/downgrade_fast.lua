-- downgrade: turns a hold into a shared one with less weight, and grants to waiters that fit then.
-- This part only reads the request. clock.lua stands in front; the engine's parts and
-- downgrade_slow.lua follow.
--
-- KEYS[1]  lock       zset  <prefix>:rwlock:{<name>}
-- ARGV[1]  id         attempt id of what it becomes; its weight says how much it is
-- ARGV[2]  lease      ms
-- ARGV[3]  ttl        lease + retention, ms
-- ARGV[4]  old        attempt id of the hold
-- ARGV[5]  token      its own; 0 for a shared hold
-- ARGV[6]  capacity   of the primitive, as in acquire
-- ARGV[7]  not_after  server's clock, ms; later the answer is `late` and nothing changes
--
-- Returns  {1, stamp_us, 0, left_ms, 0}  done, now or by an earlier copy
--          {3, stamp_us, why}            the hold has ended, or the time of the new one is over; why as in adopt
--          {4, stamp_us}                 late
--          {5, stamp_us}                 the new attempt has ended
--          {8, stamp_us}                 not our record, or another schema version
local lock, id, lease, ttl, old = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local of_token, capacity, not_after = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
