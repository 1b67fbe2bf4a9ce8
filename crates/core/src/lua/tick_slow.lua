-- tick, when the shortcut does not apply. The contract is in tick_fast.lua, the functions are in
-- the engine's parts.
local function renew(id, token, lease, op)
  local score = tonumber(redis.call('ZSCORE', lock, id) or 0)
  local last = tonumber(redis.call('ZSCORE', lock, '%TOKEN%') or 0)
  if score < %HOLDER% or score >= %TOMB% or (token > 0 and last ~= token) then
    if redis.call('ZSCORE', lock, '%FORCED%' .. id) then
      return { 5, 3 }
    end
    return { 5, token > 0 and last > token and 2 or 1 }
  end
  keep(ttl)
  if op == 'x' then
    redis.call('ZADD', lock, 'GT', lease, '%EXTENDED%' .. id)
  end
  if score % 1 > 0 or now + lease > score then
    score = now + lease
    redis.call('ZADD', lock, 'XX', score, id)
  end
  return { 1, math.floor(score) - now }
end

local function look(id, op)
  local score = tonumber(redis.call('ZSCORE', lock, id) or 0)
  if score == 0 then
    return { 4 }
  elseif score >= %TOMB% then
    return { 5, 1 }
  elseif score > 0 then
    local token = 0
    if exclusive(fields(id)) then
      token = tonumber(redis.call('ZSCORE', lock, '%TOKEN%'))
    end
    return { 2, token, math.floor(score) - now, score % 1 > 0 and 1 or 0, delay_of(id) }
  end
  refresh(id, score, op == 'p' and %POLLS% or 0)
  keep(ttl)
  return { 3, wake_in(), record.more }
end

local settled = {} -- key -> 1: its record is ours; 2: and it was settled; false: it is not ours
local function open(i)
  local at = i * 6 - 5
  lock, ttl = keys[i], tonumber(items[at + 4])
  read_capacity(items[at + 5])
  if settled[lock] == nil then
    settled[lock] = (redis.call('ZCARD', lock) == 0 or redis.call('ZSCORE', lock, '%TOKEN%')) and 1 or false
  end
  return items[at], items[at + 1], tonumber(items[at + 2]), tonumber(items[at + 3])
end

for n = 1, #rest do -- everybody here is alive: seen before anything is settled, so that this call drops none of them
  local op, id = open(rest[n])
  if settled[lock] and (op == 'w' or op == 'p') then
    local score = tonumber(redis.call('ZSCORE', lock, id) or 0)
    if score < 0 then
      refresh(id, score, op == 'p' and %POLLS% or 0)
    end
  end
end
for n = 1, #rest do
  local op, id, token, lease = open(rest[n])
  if not settled[lock] then
    replies[rest[n] + 2] = { 8 }
  else
    if settled[lock] == 1 then
      settled[lock], record.more = 2, 0
      settle()
      hand_on()
    end
    if op == 'w' or op == 'p' then
      replies[rest[n] + 2] = look(id, op)
    else
      replies[rest[n] + 2] = renew(id, token, lease, op)
    end
  end
end
send_mail()
replies[2] = refused
return replies
