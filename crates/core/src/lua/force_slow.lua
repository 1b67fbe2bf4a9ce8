-- force: the contract is in force_fast.lua, the functions are in the engine's parts.
local step = new_step(ttl, read_capacity(capacity))
read(step)
if not step.token then
  return { redis.call('ZCARD', lock) == 0 and 0 or 8, 0, 0 }
end
settle(step)
local holders = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'LIMIT', 0, %GRANTS% + 1)
local rest = table.remove(holders, %GRANTS% + 1) and 1 or 0
end_all(step, holders, 1)
for _, who in ipairs(holders) do
  local lease = string.match(who, ':(%d+):%d+$')
  add(step, %TOMB% + now + lease + 1000, '%FORCED%' .. who) -- so that a renewal learns why
  live(step, lease + 1000)
  post(lock, step.mail, 'f ', who, ' ' .. string.format('%d', now_us))
end
commit(lock, step)
look(step)
if rest == 0 then
  hand_on(step)
elseif step.lapsed then -- nobody is let in: the next call would end that hold, too
  put_back(step)
end
step.refused = send(step.mail) and 1 or 0
return { holders[1] and 1 or 0, rest, step.refused }
