-- split: turns a part of a counted hold into a hold of its own. Both are renewed.
-- This part only reads the request. clock.lua stands in front; take_over.lua and split_slow.lua
-- follow.
--
-- KEYS[1]  lock       zset  <prefix>:semaphore:{<name>}
-- ARGV[1]  id         attempt id of the part; its weight says how much it is
-- ARGV[2]  lease      ms
-- ARGV[3]  ttl        the key lives at least this long from now, ms
-- ARGV[4]  old        attempt id of the holder
-- ARGV[5]  not_after  server's clock, ms
--
-- Returns  {1, stamp_us, 0, left_ms, 0}  split, now or by an earlier copy
--          {1, stamp_us, 0, left_ms, 0, weight}  the same of a part whose weight has changed
--          {3, stamp_us, why}            the whole has ended, or has not more than that, or the time
--                                        of the part is over; why as in adopt
--          {4, stamp_us}                 late
--          {5, stamp_us}                 the part has ended
--          {8, stamp_us}                 not our record, or another schema version
local token, not_after = 0, tonumber(ARGV[5])
local mark_of = '%WEIGHT%'
