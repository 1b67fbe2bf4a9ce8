-- split: the contract is in split_fast.lua, the head in take_over.lua.
local function weight_of(who)
  return tonumber(string.match(who, ':(%d+):%d+:%d+$') or 1)
end

local reply = answered(0)
if reply then
  return reply
end
local has = tonumber(mark or weight_of(old))
if mine ~= 0 or ends <= now or ends >= %TOMB% or has <= weight_of(id) then
  return { 3, now_us, -1 }
end
-- A claim is confirmed by it: were it to lapse, it would go back to the queue with the weight in its id.
if ends % 1 > 0 or ends < now + lease then
  ends = now + lease
end
redis.call('ZADD', lock, now + lease, id, ends, old, has - weight_of(id), '%WEIGHT%' .. old)
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us, 0, lease, 0 }
