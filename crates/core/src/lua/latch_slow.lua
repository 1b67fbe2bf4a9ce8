-- latch, when a shortcut does not apply. The contract is in latch_fast.lua, the functions are in
-- latch_over.lua and the engine's parts.
local step = new_step(ttl, 0)
local DONE_MEMORY = 60000 -- how long a finished generation is known after its reset: many ticks
redis.call('ZADD', lock, 'XX', 'GT', 0, '%TOKEN%') -- changes nothing; refused when memory is full (H40)
if generation == 0 and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
end
redis.call('ZREMRANGEBYSCORE', lock, %TOMB%, %TOMB% + now)
local number = tonumber(redis.call('ZSCORE', lock, '%GENERATION%') or 0)

-- Is it to be refused, as nothing may be done in part? `after`: what would be left.
local function full(after)
  if room <= 0 or after == 0 then
    return false
  end
  local waiting = redis.call('ZCOUNT', lock, '-inf', '(0')
  return waiting >= room and sweep(step, waiting) >= room
end

-- Ids of `count_down_once` of earlier generations, a few at a time: there may be many.
local function forget_ids()
  local old = redis.call('ZRANGEBYSCORE', lock, %ONCE_BAND%, %ONCE_BAND% + number - 1, 'LIMIT', 0, %GRANTS%)
  if old[1] then
    redis.call('ZREM', lock, unpack(old))
  end
end

local place = tonumber(redis.call('ZSCORE', lock, id) or 0)
local mark = tonumber(redis.call('ZSCORE', lock, '%COUNTED%' .. id) or nil)
local changes = not mark and (by > 0 or to >= 0)
local makes = left < 0 and count >= 0 and asked == 0
if place >= %TOMB% then
  return { 5, now_us }
elseif mark and to < 0 and mark % 1 * %COUNTED_PARTS% ~= number % (%COUNTED_PARTS% - 1) + 1 then -- it counted, and there was a reset since
  return { 11, now_us }
elseif now > not_after and not mark then
  return { 4, now_us }
elseif left < 0 and not makes then
  if count > -2 or by > 0 or to >= 0 or room < 0 then
    return { 10, now_us }
  elseif room == 0 then
    return { 3, now_us }
  end
elseif left >= 0 and asked > 0 and asked ~= generation then
  if redis.call('ZSCORE', lock, '%FINISHED%' .. string.format('%d', asked)) then
    return { 1, now_us, asked, 0, 0 }
  end
  return { 11, now_us }
elseif left >= 0 and to < 0 and not mark and not agrees then
  return { 9, now_us, math.floor(made / 2) }
end

local before = makes and count or left -- in the generation that this call is about
if changes and to >= 0 then
  before = to
end
local new_id = once ~= '' and changes and before > 0
  and (makes or tonumber(redis.call('ZSCORE', lock, '%ONCE%' .. once) or 0) ~= %ONCE_BAND% + number)
local after = before
if changes and by > 0 and (once == '' or new_id) then
  after = math.max(before - by, 0)
end
if place == 0 and full(after) then
  return { 6, now_us }
elseif now > not_after and room > 0 and after ~= 0 then
  return { 4, now_us } -- it counted once, and is not to wait any more
end

if makes then
  redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%') -- it may be there, with those who wait for this
  generation = tonumber(redis.call('ZSCORE', lock, '%TOKEN%'))
  number = 1
  made = 2 * before + (before ~= count and 1 or 0)
elseif changes and to >= 0 then
  release(step, 'r')
  if left == 0 then
    redis.call('ZADD', lock, %TOMB% + now + DONE_MEMORY, '%FINISHED%' .. string.format('%d', generation))
  end
  generation = math.max(generation + 1, now_us, now)
  number = number + 1
  made = 2 * to + (made ~= 2 * to and 1 or 0)
  redis.call('ZADD', lock, generation, '%TOKEN%')
end
if makes or changes then
  if counter_of(made) ~= counter then
    redis.call('ZREM', lock, counter)
    counter = counter_of(made)
  end
  -- The half first, and away below if it may be: should anything fail in between, those that wait are not forgotten (H46).
  redis.call('ZADD', lock, after + (after > 0 and 1.5 or 1), counter, made + 1, '%INITIAL%', number, '%GENERATION%')
  forget_ids()
end
if new_id then
  redis.call('ZADD', lock, %ONCE_BAND% + number, '%ONCE%' .. once)
end
if changes then
  redis.call('ZADD', lock, %TOMB% + not_after + 1000 + (number % (%COUNTED_PARTS% - 1) + 1) / %COUNTED_PARTS%, '%COUNTED%' .. id)
end

local reply = { 1, now_us, generation, after, 0 }
if after == 0 then
  if makes or (changes and (to >= 0 or before > 0)) then
    complete(step)
  elseif changes then
    live(step, not_after + 1000 - now)
  end
elseif room == 0 then
  live(step, ttl)
  reply = { 3, now_us }
else
  if room > 0 then
    if place < 0 then
      redis.call('ZADD', lock, 'XX', renewed(step, place, polls), id)
    else
      redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%')
      redis.call('ZADD', lock, %BASE% + %FIRST_TICKET% * %TICKET% + polls * %CHANCE% + math.floor(now / %UNIT%) % %CHANCE%, id)
    end
    reply = { 2, now_us, tonumber(redis.call('ZSCORE', lock, '%TOKEN%')) }
  end
  live(step, ttl)
end
if after > 0 then
  -- The half says that a count-down has to look: somebody waits, or there was a reset.
  local half = (number > 1 or redis.call('ZCOUNT', lock, '-inf', '(0') > 0) and 0.5 or 0
  redis.call('ZADD', lock, 'XX', after + 1 + half, counter)
end
commit(lock, step)
step.refused = send(step.mail) and 1 or 0
if reply[1] == 1 then
  reply[5] = step.refused
end
return reply
