-- force: the contract is in force_fast.lua, the functions are in force_all.lua and the engine's parts.
local step = new_step(ttl, read_capacity(capacity))
read(step)
if not step.token then
  return { redis.call('ZCARD', lock) == 0 and 0 or 8, 0, 0 }
end
settle(step)
local ended, rest = force_all(step)
look(step)
if rest == 0 then
  hand_on(step)
elseif step.lapsed then -- nobody is let in: the next call would end that hold, too
  put_back(step)
end
step.refused = send(step.mail) and 1 or 0
return { ended > 0 and 1 or 0, rest, step.refused }
