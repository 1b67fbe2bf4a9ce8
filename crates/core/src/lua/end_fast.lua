-- end: give up whatever the attempt has, a hold or a place, and hand on. This part: it holds and nobody waits.
-- The rest of the script is engine.lua and end_slow.lua, below the early return.
--
-- KEYS[1]  lock       zset  <prefix>:lock:{<name>}
-- ARGV[1]  id         id of the attempt that ends
-- ARGV[2]  capacity   of the primitive, as in acquire
-- ARGV[3]  ttl        retention, ms: how long a token that is ahead of the clock is kept beyond that
-- ARGV[4]  not_after  server's clock, ms: the latest that a copy of its acquire may still ask for; 0: none is under way
-- ARGV[5]  inbox      prefix of the clients' channels
--
-- Returns  {0, more, refused}  the attempt had nothing
--          {1, more, refused}  it held
--          {2, more, refused}  it waited
--          {8, 0, 0}           not our record, or another schema version
--          0 or 1              from this part: the same as {0, 0, 0} or {1, 0, 0}
local lock, id = KEYS[1], ARGV[1]
if ARGV[4] == '0' and redis.call('ZCARD', lock) < 3 then
  return redis.call('ZREM', lock, id)
end
local capacity, ttl, not_after, inbox = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local T = redis.call('TIME') -- once (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000
