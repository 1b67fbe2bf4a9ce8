-- adopt: the contract is in adopt_fast.lua, the head in take_over.lua.
local weight = redis.call('ZSCORE', lock, '%WEIGHT%' .. old) -- of a counted hold that was split, merged or drained
-- First: allowed when memory is full. Its start has come, or nobody would have a ticket.
redis.call('ZREM', lock, old, '%EXTENDED%' .. old, '%UPGRADED%' .. old, '%WEIGHT%' .. old, '%START%' .. old)
if mark then
  redis.call('ZADD', lock, now + lease, id, mark, '%UPGRADED%' .. id)
elseif weight then
  redis.call('ZADD', lock, now + lease, id, weight, '%WEIGHT%' .. id)
else
  redis.call('ZADD', lock, now + lease, id)
end
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us, token, lease, 0, tonumber(weight or nil) }
