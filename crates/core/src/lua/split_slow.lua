-- split: the contract is in split_fast.lua, the head in take_over.lua.
local has = tonumber(mark or string.match(old, ':(%d+):%d+:%d+$'))
local left = has - string.match(id, ':(%d+):%d+:%d+$')
if left <= 0 then
  return { 3, now_us, 1 }
end
-- A claim is confirmed by it: were it to lapse, it would go back to the queue with the weight in its id.
ends = ends % 1 > 0 and now + lease or math.max(ends, now + lease)
redis.call('ZADD', lock, now + lease, id, ends, old, left, '%WEIGHT%' .. old)
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us, 0, lease, 0 }
