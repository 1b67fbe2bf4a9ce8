-- resize: sets the capacity of a counted primitive, or its rate, and grants to waiters that fit
-- then. This part only reads the request. clock.lua stands in front; the engine's parts and
-- resize_slow.lua follow.
--
-- KEYS[1]  lock       zset  <prefix>:semaphore:{<name>}
-- ARGV[1]  capacity   from now on, with the suffix `c`
-- ARGV[2]  ttl        the key lives at least this long from now, ms
-- ARGV[3]  not_after  server's clock, ms; later the answer is `late` and nothing changes
-- ARGV[4]  pace       as in acquire; empty: there is no rate
-- ARGV[5]  what       `capacity` or `pace`: the other is taken only for a record that has none
--
-- Returns  {1, stamp_us, more, refused}  done; holders that have more than there is now keep it
--          {4, stamp_us}                 late
--          {8, stamp_us}                 not our record, or another schema version
local lock = KEYS[1]
local capacity, ttl, not_after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local pace, what = ARGV[4], ARGV[5]
