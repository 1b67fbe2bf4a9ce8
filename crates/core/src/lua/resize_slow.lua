-- resize: the contract is in resize_fast.lua, the functions are in numbers.lua and the engine's parts.
local step = new_step(ttl, read_capacity(capacity))
local asked = step.capacity
read(step)
if not step.token and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
elseif now > not_after then
  return { 4, now_us }
end
redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%') -- refused when memory is full (H40)
local known, version = step.stored, (step.stored or 0) % 1
if what == 'pace' or not known then
  set_pace(step, read_pace(pace))
end
set_capacity(step, (what ~= 'pace' or not known) and asked or step.capacity, 1 + version)
live(step, ttl)
commit(lock, step)
settle(step)
hand_on(step)
-- While nothing is free, the pump looks at nobody. So the head is told to ask again if it asks for more than there is now.
-- The others find out when they tick.
local head = redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')
if step.used >= step.capacity and head[2] and tonumber(head[2]) < 0
  and tonumber(string.match(head[1], ':(%d+):%d+:%d+$')) > step.capacity then
  post(lock, step.mail, 'w ', head[1], ' 0 ' .. string.format('%d', now_us))
end
step.refused = send(step.mail) and 1 or 0
return { 1, now_us, step.more, step.refused }
