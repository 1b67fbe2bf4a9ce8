-- end: gives up the attempt's hold or place, and hands over to the next waiters. This part has
-- shortcuts for two kinds of record: nobody waits; or the attempt has everything, and the head of
-- the queue gets everything. The engine's parts and end_slow.lua follow below the early returns.
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
-- shortcut: nobody waits
local plain = (ARGV[4] or '0') == '0'
local is_counted = string.sub(capacity, -1) == 'c'
local members = plain and redis.call('ZCARD', lock)
if plain and members < 3 and not is_counted then
  return redis.call('ZREM', lock, id)
end

-- The first write is one that Redis allows when memory is full; it then allows the others, too
-- (H40).
local weight = plain and string.match(id, '^%d+:(%d+):', 24) -- nobody's owner, no upgrade
if weight and weight ~= capacity then
  local known = is_counted and 2 or 1 -- what is in use, and how much there is
  if members == known + 2 then -- nobody else holds; each score that is read costs a microsecond
    local all = redis.call('ZRANGE', lock, '0', '3')
    local first = is_counted and all[1] .. all[2] or all[1]
    local plainly = first == '%USED%' or first == '%CAPACITY%%USED%' or first == '%USED%%CAPACITY%'
    if plainly and all[known + 1] == id and all[known + 2] == '%TOKEN%' then
      redis.call('ZREM', lock, id, '%USED%')
      return 1
    end
  end
  -- It holds. Weight in use and capacity are the only members below the holds: no waiter, no mark
  -- of any kind, no rate.
  local scores = redis.call('ZMSCORE', lock, id, '%USED%')
  local score, left = tonumber(scores[1] or 0), (scores[2] or 0) - weight
  if
    score > 0
    and score < %TOMB%
    and left >= 0
    and redis.call('ZCOUNT', lock, '-inf', '(%HOLDER%') == known
  then
    if left > 0 then
      redis.call('ZREM', lock, id, '%START%' .. id)
      redis.call('ZADD', lock, left, '%USED%')
    else
      redis.call('ZREM', lock, id, '%START%' .. id, '%USED%')
    end
    return 1
  end
end
-- end of shortcut

local T = ARGV.time or redis.call('TIME') -- once (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000

-- shortcut: it has everything, and the head of the queue gets everything
if weight == capacity then
  -- With one waiter there may be only four members: the waiter, the next ticket, the holder and the
  -- token.
  local low = redis.call('ZRANGE', lock, '0', members == 4 and '2' or '1', 'WITHSCORES')
  local two = members == 4 and low[3] == '%NEXT%' and low[5] == id
  local alone = tonumber(low[4]) >= 0
  local ends = tonumber(two and low[6] or redis.call('ZSCORE', lock, id) or 0) -- nobody holds beside it
  local inbox = string.match(lock, '^(.-:)[^:{]+:{') .. 'inbox:'
  local head, place, channel = low[1], tonumber(low[2]), inbox .. string.sub(low[1], 1, 22)
  local gets, lease, window = string.match(head, '^%d+:(%d+):(%d+):(%d+)$', 24)
  local unseen = (math.floor(now / %UNIT%) - place % %CHANCE%) % %CHANCE% -- in units
  if
    place < 0
    and gets == capacity
    and ends > now
    and ends < %TOMB%
    and place % %TICKET% < %CHANCE% -- it has missed no claim
    and unseen <= %PATIENCE%
    and redis.pcall('PUBSUB', 'NUMSUB', channel)[2] ~= 0 -- also if that is refused
  then
    if window - lease > 0 then
      window = lease
    end
    if two then
      redis.call('ZREM', lock, id, '%NEXT%')
    elseif alone then -- nobody waits any more
      redis.call('ZREM', lock, id, '%EXTENDED%' .. id, '%NEXT%', '%SINCE%')
    else
      redis.call('ZREM', lock, id, '%EXTENDED%' .. id)
    end
    local stamp = #T[2] == 6 and T[1] .. T[2] or string.format('%.0f', now_us)
    local token = stamp
    local changed = redis.call('ZADD', lock, 'GT', 'CH', stamp, '%TOKEN%', string.format('%.0f%FIRST_CLAIM%', now + window), head)
    if changed == 1 then -- the clock is behind the last token
      token = string.format('%.0f', redis.call('ZINCRBY', lock, '1', '%TOKEN%'))
    end
    -- When the head was last seen, the key's life was set to its lease and retention; likewise when
    -- this hold began.
    if changed == 1 or lease - window < (unseen + 1) * %UNIT% then
      local life = ttl + math.max(window, math.ceil((token - now_us) / 1000))
      if redis.call('PTTL', lock) < life then
        redis.call('PEXPIRE', lock, life + math.floor(life / 8))
      end
    end
    local grant = 'g ' .. string.sub(head, 23) .. ' ' .. token .. ' ' .. stamp .. ' ' .. window
    local told = 0
    if unseen * %UNIT% - window > 0 and not alone then -- it may be dead: tell the waiter behind when the claim ends
      local behind, news = inbox .. string.sub(low[3], 1, 22), 'w ' .. string.sub(low[3], 23) .. ' ' .. window .. ' ' .. stamp
      if behind == channel then
        grant = grant .. ';' .. news
      else
        told = redis.pcall('PUBLISH', behind, news)
      end
    end
    -- A refusal must not undo what is written (H46).
    local refused = type(redis.pcall('PUBLISH', channel, grant)) == 'table' or type(told) == 'table'
    return refused and { 1, 0, 1 } or 1
  end
end
-- end of shortcut
local not_after = tonumber(ARGV[4] or 0)
