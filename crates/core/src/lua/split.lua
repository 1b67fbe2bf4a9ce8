-- split: a part of what a holder of a counted primitive has becomes a hold of its own. Both are renewed.
--
-- KEYS[1]  lock       zset  <prefix>:semaphore:{<name>}
-- ARGV[1]  id         attempt id of the part; its weight says how much it is
-- ARGV[2]  lease      ms
-- ARGV[3]  ttl        the key lives at least this long from now, ms
-- ARGV[4]  whole      attempt id of the holder
-- ARGV[5]  not_after  server's clock, ms
--
-- Returns  {1, stamp_us, 0, left_ms, 0}  split, now or by an earlier copy
--          {3, stamp_us, -1}             the whole has ended, or has not more than that, or the time of the part is over
--          {4, stamp_us}                 late
--          {5, stamp_us}                 the part has ended
--          {8, stamp_us}                 not our record, or another schema version
local lock = KEYS[1]
local id, lease, ttl, whole, not_after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local T = redis.call('TIME') -- once (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000
local function weight_of(who)
  return tonumber(string.match(who, ':(%d+):%d+:%d+$') or 1)
end

redis.call('ZADD', lock, 'XX', 'GT', 0, '%TOKEN%') -- changes nothing; refused when memory is full (H40)
if redis.call('ZCARD', lock) > 0 and not redis.call('ZSCORE', lock, '%TOKEN%') then
  return { 8, now_us }
end
local part = tonumber(redis.call('ZSCORE', lock, id) or 0)
if part >= %TOMB% then
  return { 5, now_us }
elseif part > now then
  return { 1, now_us, 0, math.floor(part) - now, 0 }
elseif now > not_after then
  return { 4, now_us }
end
local ends = tonumber(redis.call('ZSCORE', lock, whole) or 0)
local has = tonumber(redis.call('ZSCORE', lock, '%WEIGHT%' .. whole) or weight_of(whole))
if part ~= 0 or ends <= now or ends >= %TOMB% or has <= weight_of(id) then
  return { 3, now_us, -1 }
end
-- A claim is confirmed by it: were it to lapse, it would go back to the queue with the weight in its id.
if ends % 1 > 0 or ends < now + lease then
  ends = now + lease
end
redis.call('ZADD', lock, now + lease, id, ends, whole, has - weight_of(id), '%WEIGHT%' .. whole)
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us, 0, lease, 0 }
