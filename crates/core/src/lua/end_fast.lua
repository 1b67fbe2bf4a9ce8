-- end: gives up the attempt's hold or place, and hands over to the next waiters. This part has a
-- shortcut for a record that nobody else is in, and the usual hand-over. The engine's parts and
-- end_slow.lua follow below the early returns.
--
-- KEYS[1]  lock       zset  <prefix>:lock:{<name>}
-- ARGV[1]  id         id of the attempt that ends
-- ARGV[2]  capacity   of the primitive, as in acquire
-- ARGV[3]  ttl        retention, ms: how long a token that is ahead of the clock is kept beyond that
-- ARGV[4]  not_after  server's clock, ms: the latest that a copy of its acquire may still ask for; 0, or left out: none is
--                     under way
--
-- Returns  {0, more, refused}  the attempt had nothing
--          {1, more, refused}  it held
--          {2, more, refused}  it waited
--          {8, 0, 0}           not our record, or another schema version
--          0 or 1              from this part: the same as {0, 0, 0} or {1, 0, 0}
local lock, id, capacity, ttl = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local not_after = tonumber(ARGV[4] or 0)
local kin, weight = string.match(id, '^%d+([^:]*):(%d+)', 24)
local low = redis.call('ZRANGE', lock, '0', weight == capacity and '1' or '3')
-- shortcut: nobody else holds or waits, and there are no marks but of what is in use, and how much there is
if low[#low] == '%TOKEN%' and low[#low - 1] == id and not_after == 0 then
  local marks = (low[3] and low[1] or '') .. (low[4] and low[2] or '')
  if marks == '' then
    return redis.call('ZREM', lock, id)
  elseif marks == '%USED%' or marks == '%USED%%CAPACITY%' or marks == '%CAPACITY%%USED%' then
    redis.call('ZREM', lock, id, '%USED%', '%START%' .. id)
    return 1
  end
end
-- end of shortcut

-- Ends a hold and hands over as usual: nothing of it was upgraded or reserved for later, and all who are granted to live,
-- listen and missed no claim. It reads once and writes once; what is over is left to the next who looks. Nothing is returned,
-- and nothing was written, if the case is another one; the time follows, if it was read. Parameters, as a variable from
-- outside costs 0.3 us.
local function hand_over(lock, id, kin, weight, capacity, ttl, low, T, clock)
  local there, used, known = tonumber(capacity), 0 -- no number if counted
  if weight == capacity and kin == '' then
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
  local adds, drops, mail, rate, exclusive = {}, { id, '%EXTENDED%' .. id }, {}, nil, false
  if known[5] or known[7] then
    drops[3], drops[4] = '%WEIGHT%' .. id, '%START%' .. id
  end
  if known[8] and place < 0 then
    rate = redis.call('ZMSCORE', lock, '%BURST%', '%PERIOD%', '%ARRIVAL%')
  end

  local inbox, stamp
  if place < 0 then
    inbox, stamp = string.match(lock, '^(.-:)[^:{]+:{') .. 'inbox:', string.format('%d', now_us)
  end
  local queue, at, size, grants, life, doubt, more = { low[1], place, low[2], behind }, 1, 2, 0, 0, nil, 0
  while place < 0 and used < there do
    local who = queue[at]
    local its, gets, most, window = string.match(who, '^%d+(@?[^:^]*):(%d+):(%d+):(%d+)$', 24)
    local unseen = ((now - now % %UNIT%) / %UNIT% - place) % %CHANCE%
    gets = tonumber(gets)
    if not gets or place % %TICKET% >= %CHANCE% or unseen > %DEAF% or gets > there then -- an upgrade, or nobody sure to take it
      return nil, T
    elseif used + gets > there then
      break
    elseif not queue[at + 2] then
      queue, at, size = redis.call('ZRANGE', lock, grants, grants + size, 'WITHSCORES'), 1, 2 * size
      behind = tonumber(queue[4])
    end
    local channel = inbox .. string.sub(who, 1, 22)
    local lines = mail[channel]
    if not lines and redis.pcall('PUBSUB', 'NUMSUB', channel)[2] == 0 then
      return nil, T
    elseif grants == 100 then -- this one is told to look at once
      more, doubt = 1, '0'
      break
    end
    if its ~= '' then
      if kin == '' or math.floor(place / %TICKET%) == math.floor(behind / %TICKET%) then -- others wait for its owner
        return nil, T
      end
      drops[#drops + 1] = '%OWNER%' .. string.sub(its, 2)
    end
    if behind >= 0 then -- nobody waits any more
      drops[#drops + 1], drops[#drops + 2] = '%NEXT%', '%SINCE%'
      drops[#drops + 1], drops[#drops + 2] = '%PASSED%', '%SWEPT%'
    end
    window = math.min(window, most)
    grants, used = grants + 1, used + gets
    if most - window < (unseen + 1) * %UNIT% then -- else the key's life was set to that and more when it was last seen
      life = math.max(life, ttl + window)
    end
    local claim, token = string.format('%d%FIRST_CLAIM%', now + window), '0'
    if not counted and gets == there then
      exclusive = true
      if known[4] then
        drops[#drops + 1] = '%USED%'
      end
      redis.call('ZREM', lock, unpack(drops)) -- first, as it is allowed when memory is full, and then the rest is, too (H40)
      token = stamp
      if redis.call('ZADD', lock, 'GT', 'CH', stamp, '%TOKEN%', claim, who) == 1 then -- the clock is behind the last token
        token = string.format('%d', redis.call('ZINCRBY', lock, '1', '%TOKEN%'))
        life = math.max(life, ttl + window, ttl + math.ceil((token - now_us) / 1000))
      end
    else
      adds[#adds + 1], adds[#adds + 2] = claim, who
    end
    local line = 'g ' .. string.sub(who, 23) .. ' ' .. token .. ' ' .. stamp .. ' ' .. window
    if rate then -- GCRA
      local allowance, arrival = rate[1] * known[8], tonumber(rate[3] or 0)
      local after = math.max(arrival, now_us) + gets * known[8]
      local start = math.max(after - allowance, now_us)
      if arrival - now_us > rate[2] + allowance or start - now_us > tonumber(rate[2]) then
        return nil, T
      elseif start > now_us then
        adds[#adds + 1], adds[#adds + 2] = start, '%START%' .. who
      end
      rate[3], line = after, line .. ' ' .. math.ceil(start - now_us)
      life = math.max(life, ttl, math.ceil((after - now_us) / 1000))
    end
    if lines then
      lines[#lines + 1] = line
    else
      mail[channel] = { line }
    end
    doubt = behind < 0 and unseen * %UNIT% > window and window
    at, place, behind = at + 2, behind, tonumber(queue[at + 5] or 0)
  end

  if not exclusive then
    if known[4] and used == 0 then
      drops[#drops + 1] = '%USED%'
    end
    redis.call('ZREM', lock, unpack(drops))
    if rate and grants > 0 then
      adds[#adds + 1], adds[#adds + 2] = rate[3], '%ARRIVAL%'
    end
    if used > 0 then
      redis.call('ZADD', lock, string.format('%d', used), '%USED%', unpack(adds))
    end
  end
  if life > 0 and redis.call('PTTL', lock) < life then
    redis.call('PEXPIRE', lock, life + math.floor(life / 8))
  end
  if doubt then -- the new holder may be dead: tell the next waiter when its claim ends
    local channel = inbox .. string.sub(queue[at], 1, 22)
    mail[channel] = mail[channel] or {}
    table.insert(mail[channel], 'w ' .. string.sub(queue[at], 23) .. ' ' .. doubt .. ' ' .. stamp)
  end
  local refused = false
  for channel, lines in pairs(mail) do -- a refusal must not undo what is written (H46)
    refused = type(redis.pcall('PUBLISH', channel, table.concat(lines, ';'))) == 'table' or refused
  end
  return (refused or more > 0) and { 1, more, refused and 1 or 0 } or 1
end
local function clock() -- once (H50)
  return redis.call('TIME')
end
local reply, T
-- shortcut: all is as usual
if not_after == 0 and low[2] and kin and string.sub(kin, 1, 1) ~= '^' then
  reply, T = hand_over(lock, id, kin, weight, capacity, ttl, low, ARGV.time, clock)
  if reply then
    return reply
  end
end
-- end of shortcut
T = T or ARGV.time or clock()
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000
