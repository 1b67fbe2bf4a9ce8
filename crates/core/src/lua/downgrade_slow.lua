-- downgrade: the contract is in downgrade_fast.lua, the functions are in the engine's parts.
local step = new_step(ttl, read_capacity(capacity))
local function note(of_id, of_old, of_mark)
  return tonumber(of_id or 0), tonumber(of_old or 0), of_mark
end
local mine, ends, mark = note(read(step, id, old, '%UPGRADED%' .. old))
if not step.token and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
elseif now > not_after then -- a copy that was stuck on the way; the client asks again
  return { 4, now_us }
end
if settle(step, old) then -- a claim of a guard that is out: its client knows that it is lost
  mine, ends, mark = note(unpack(redis.call('ZMSCORE', lock, id, old, '%UPGRADED%' .. old)))
end
local reply
if mine > %TOMB% + now then
  reply = { 5, now_us }
elseif mine > 0 and mine < %TOMB% then
  reply = { 1, now_us, 0, math.floor(mine) - now, 0 }
elseif ends > now and ends < %TOMB% and (of_token == 0 or step.token == of_token) then
  give_back(step, old, mark)
  step.shared = step.shared + string.match(id, ':(%d+):%d+:%d+$')
  step.used, step.owner = step.shared, ''
  add(step, now + lease, id)
  live(step, ttl)
  reply = { 1, now_us, 0, lease, 0 }
else
  local taken = of_token > 0 and (step.token or 0) > of_token
  reply = { 3, now_us, redis.call('ZSCORE', lock, '%FORCED%' .. old) and 3 or taken and 2 or 1 }
end
hand_on(step)
step.refused = send(step.mail) and 1 or 0
return reply
