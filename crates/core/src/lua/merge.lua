-- merge: adds one counted hold to another, and ends the first. The other is renewed.
-- clock.lua stands in front.
--
-- KEYS[1]  lock       zset  <prefix>:semaphore:{<name>}
-- ARGV[1]  id         attempt id of the hold that grows
-- ARGV[2]  lease      ms
-- ARGV[3]  ttl        the key lives at least this long from now, ms
-- ARGV[4]  part       attempt id of the one that ends
-- ARGV[5]  not_after  server's clock, ms
--
-- Returns  {1, stamp_us}  merged, now or by an earlier copy
--          {3, stamp_us, why}  one of them has ended: nothing changed; why: 1 it ended, 3 it was
--                              forced
--          {4, stamp_us}  late
--          {8, stamp_us}  not our record, or another schema version
local lock = KEYS[1]
local id, lease, ttl, part, not_after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local scores = redis.call('ZMSCORE', lock, '%TOKEN%', id, part, '%WEIGHT%' .. id, '%WEIGHT%' .. part)
if not scores[1] and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
end
local ends, other = tonumber(scores[2] or 0), tonumber(scores[3] or 0)
local has = (scores[4] or string.match(id, ':(%d+):%d+:%d+$')) + (scores[5] or string.match(part, ':(%d+):%d+:%d+$'))
if ends <= now or ends >= %TOMB% or other <= now then
  local forced = redis.call('ZMSCORE', lock, '%FORCED%' .. id, '%FORCED%' .. part)
  return { 3, now_us, (forced[1] or forced[2]) and 3 or 1 }
elseif other >= %TOMB% then -- the mark of an earlier copy
  return { 1, now_us }
elseif now > not_after then
  return { 4, now_us }
end
-- A claim is confirmed by it, as in split.
ends = ends % 1 > 0 and now + lease or math.max(ends, now + lease)
redis.call('ZADD', lock, ends, id, has, '%WEIGHT%' .. id, %TOMB% + not_after + 1000, part)
redis.call('ZREM', lock, '%EXTENDED%' .. part, '%WEIGHT%' .. part, '%START%' .. part)
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us }
