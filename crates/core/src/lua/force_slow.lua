-- force: the contract is in force_fast.lua, the functions are in the engine's parts.
read_capacity(capacity)
if redis.call('ZCARD', lock) == 0 then
  return { 0, 0, 0 }
elseif not redis.call('ZSCORE', lock, '%TOKEN%') then
  return { 8, 0, 0 }
end
settle()
local holders = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'LIMIT', 0, BOUND + 1)
for i = 1, math.min(#holders, BOUND) do
  local _, lease = fields(holders[i])
  give_back(holders[i])
  redis.call('ZADD', lock, %TOMB% + now + lease + 1000, '%FORCED%' .. holders[i]) -- so that a renewal learns why
  keep(lease + 1000)
  post(holders[i], 'f ' .. string.sub(holders[i], 23) .. ' ' .. text(now_us))
end
local rest = #holders > BOUND
measure()
if rest then -- nobody is let in: the next call would end that hold, too
  put_back()
else
  hand_on()
end
send_mail()
return { holders[1] and 1 or 0, rest and 1 or 0, refused }
