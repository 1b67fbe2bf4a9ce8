-- adopt: the contract is in adopt_fast.lua, the head in take_over.lua.
local weight = redis.call('ZSCORE', lock, '%WEIGHT%' .. old) -- of a counted hold that was split, merged or drained
-- First: allowed when memory is full. Its start has come, or nobody would have a ticket.
redis.call('ZREM', lock, '%EXTENDED%' .. old, '%UPGRADED%' .. old, '%WEIGHT%' .. old, '%START%' .. old)
-- A copy of the old one's acquire may still be under way, and must not be granted anew (H35). It is late after a lease.
local memory = string.match(old, ':(%d+):%d+$') + 1000
local adds = { now + lease, id, %TOMB% + now + memory, old }
if mark or weight then
  adds[5], adds[6] = mark or weight, (mark and '%UPGRADED%' or '%WEIGHT%') .. id
end
redis.call('ZADD', lock, unpack(adds))
ttl = math.max(ttl, memory)
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us, token, lease, 0, tonumber(weight or nil) }
