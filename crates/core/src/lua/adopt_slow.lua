-- adopt: the contract is in adopt_fast.lua, the head in take_over.lua.
redis.call('ZREM', lock, old, '%EXTENDED%' .. old, '%UPGRADED%' .. old) -- first: allowed when memory is full
if mark then
  redis.call('ZADD', lock, now + lease, id, mark, '%UPGRADED%' .. id)
else
  redis.call('ZADD', lock, now + lease, id)
end
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us, token, lease, 0 }
