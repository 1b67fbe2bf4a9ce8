-- peek: returns the count of a latch and its waiters. Changes nothing. This part answers if there
-- is no such latch. clock.lua stands in front; peek_slow.lua follows below the early return.
--
-- KEYS[1]  lock  zset  <prefix>:latch:{<name>}
-- ARGV[1]  most  most places to look at
--
-- Returns  {0}                                         nobody made it
--          {1, number, left, initial, waiting, waiters}  number: of the generation; waiting: how many wait; waiters: their
--                                                      ids, those of the dead left out
--          {8}                                         not our record, or another schema version
local lock = KEYS[1]
local most = tonumber(ARGV[1])

local scores = redis.call('ZMSCORE', lock, '%TOKEN%', '%INITIAL%', '%CURRENT%')
if not (scores[1] and scores[2]) then
  return { (scores[1] or redis.call('ZCARD', lock) == 0) and 0 or 8 }
end
local made = scores[2] - 1
