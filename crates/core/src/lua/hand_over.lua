-- hand_over: the usual end of a hold. It uses let_in.lua, and the arguments of end_fast.lua.
--
-- reads: id, kin, weight, capacity, ttl, plain, low, lock

-- Ends a hold and hands over as usual: nothing of it was upgraded or reserved for later, and all who are granted to live,
-- listen and missed no claim. It reads once and writes once; what is over is left to the next who looks. Nothing is returned,
-- and nothing was written, if the case is another one; the time follows, if it was read. Parameters, as a variable from
-- outside costs 0.3 us.
local function hand_over(lock, id, kin, weight, capacity, ttl, low, T, clock, let_in, post, send)
  local there, used, known = tonumber(capacity), 0 -- no number if counted
  if weight == capacity and kin == '' and there ~= 1 then -- the next two may fit, or not
    known = redis.call('ZMSCORE', lock, low[1], id, low[2])
  elseif weight == capacity and kin == '' then
    known = redis.call('ZMSCORE', lock, low[1], id)
    known[3] = string.byte(low[2], 23) == 46 and -1 or 0 -- marks stand between waiters and holders, and have no dot there
  elseif there then
    known = redis.call('ZMSCORE', lock, low[1], id, low[2], '%USED%', '%UPGRADED%' .. id)
    used = (known[4] or weight) - weight
  else
    known = redis.call('ZMSCORE', lock, low[1], id, low[2], '%USED%', '%WEIGHT%' .. id, '%CAPACITY%', '%START%' .. id, '%INTERVAL%')
    there, used = math.floor((known[6] or 0) / 2), (known[4] or -1) - (known[5] or weight)
  end
  local place, ends, behind, counted = tonumber(known[1]), tonumber(known[2] or 0), tonumber(known[3]), known[6]
  if ends < %HOLDER% or ends >= %TOMB% or used < 0 or known[5] and not counted then
    return nil, T
  end
  local now_us, now = 0, 0 -- do not matter if nobody waits
  if place < 0 or known[7] then
    T = T or clock()
    now_us = T[1] * 1000000 + T[2]
    now = (now_us - now_us % 1000) / 1000
  end
  if ends <= now or known[7] and known[7] - now_us > 0 then
    return nil, T
  elseif kin ~= '' and place < 0 and redis.call('ZCOUNT', lock, '%HOLDER%', '(%TOMB%') > 1 then -- its owner has other holds
    return nil, T
  end
  local adds, drops, mail, rate = {}, { id, '%EXTENDED%' .. id, '%FORCED%' .. id }, {}, nil
  if known[5] or known[7] then
    drops[4], drops[5] = '%WEIGHT%' .. id, '%START%' .. id
  end
  local none_shares = known[4] and used == 0 and not counted
  if none_shares then -- one may have everything next, and that is written at once
    drops[#drops + 1] = '%USED%'
  end
  local life, all, more, next_one, window = 0, false, 0, nil, nil
  if place < 0 then
    if known[8] then
      local pace = redis.call('ZMSCORE', lock, '%BURST%', '%PERIOD%', '%ARRIVAL%')
      rate = { interval = known[8], burst = pace[1], window = tonumber(pace[2]), arrival = tonumber(pace[3] or 0) }
    end
    local queue, stamp = { low[1], place, low[2], behind }, #T[2] == 6 and T[1] .. T[2] or string.format('%d', now_us)
    used, life, all, more, next_one, window = let_in(lock, queue, 0, used, there, '', counted, rate, ttl, now_us, now, stamp, adds, drops,
      mail)
    if not used then
      return nil, T
    end
  end
  if not all then
    if counted and used == 0 then
      drops[#drops + 1] = '%USED%'
    elseif used > 0 and (none_shares or used - (known[4] or 0) ~= 0) then
      adds[#adds + 1], adds[#adds + 2] = string.format('%d', used), '%USED%'
    end
    redis.call('ZREM', lock, unpack(drops)) -- first, as it is allowed when memory is full, and then the rest is, too (H40)
    if adds[1] then
      redis.call('ZADD', lock, unpack(adds))
    end
  end
  if life > 0 and redis.call('PTTL', lock) < life then
    redis.call('PEXPIRE', lock, life + math.floor(life / 8))
  end
  if next_one then -- the new holder may be dead: tell the next waiter when its claim ends
    post(lock, mail, 'w ', next_one, string.format(' %d %d', window, now_us))
  end
  local refused = send(mail)
  return (refused or more > 0) and { 1, more, refused and 1 or 0 } or 1
end
local function clock() -- once (H50)
  return redis.call('TIME')
end
local reply, T
-- shortcut: all is as usual
if plain and low[2] and kin and string.sub(kin, 1, 1) ~= '^' then
  reply, T = hand_over(lock, id, kin, weight, capacity, ttl, low, ARGV.time, clock, let_in, post, send)
  if reply then
    return reply
  end
end
-- end of shortcut
T = T or ARGV.time or clock()
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000
