-- steal: the contract is in steal_fast.lua, the functions are in force_all.lua and the engine's parts.
local step = new_step(ttl - lease, read_capacity(capacity))
local own, forced = read(step, id, '%FORCED%' .. id)
own = tonumber(own or 0)
if not step.token and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
elseif own >= %TOMB% or forced then
  return { 5, now_us }
elseif floor > now_us + 86400000000 then
  return { 7, now_us }
elseif own > now then
  return { 1, now_us, step.token, math.floor(own) - now, 0 }
elseif now > not_after then
  return { 4, now_us }
end
redis.call('ZADD', lock, 'XX', 'GT', '0', '%TOKEN%') -- changes nothing; refused when memory is full (H40)
settle(step)
local _, rest = force_all(step)
if rest == 0 then
  set_token(step, floor)
  add(step, string.format('%d', now + lease), id)
  live(step, ttl)
  commit(lock, step)
end
if step.lapsed then
  put_back(step)
end
send(step.mail)
return rest == 1 and { 4, now_us } or { 1, now_us, step.token, lease, 0 }
