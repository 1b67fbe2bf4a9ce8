-- downgrade: the contract is in downgrade_fast.lua, the functions are in the engine's parts.
read_capacity(capacity)
if now > not_after then -- a copy that was stuck on the way; the client asks again
  return { 4, now_us }
end
settle()
for i = #record.lapsed, 1, -1 do -- the claim of a guard that is out: its client knows that it is lost
  if record.lapsed[i][1] == old then
    table.remove(record.lapsed, i)
  end
end
local reply
mine = tonumber(redis.call('ZSCORE', lock, id) or 0)
if mine >= %TOMB% then
  reply = { 5, now_us }
elseif mine > 0 then
  reply = { 1, now_us, 0, math.floor(mine) - now, 0 }
elseif not holds(old) or (token > 0 and last ~= token) then
  reply = { 3, now_us, -1 }
else
  give_back(old)
  measure()
  admit(id, (fields(id)), now + lease, 0)
  keep(ttl)
  reply = { 1, now_us, 0, lease, 0 }
end
hand_on()
send_mail()
return reply
