-- latch, when a shortcut does not apply. The contract is in latch_fast.lua, the functions are in
-- latch_over.lua and the engine's parts.
local step = new_step(ttl, 0)
local DONE_MEMORY = 60000 -- how long a finished generation is known after its reset: many ticks
local only_looks = by == 0 and to == -1 and (room < 0 or room == 0 and left ~= 0)
if to == -2 or left == 0 and by == 0 and to == -1 then
  redis.call('ZREMRANGEBYSCORE', lock, 1, 0) -- removes nothing; allowed when memory is full, and what follows is, too
else
  redis.call('ZADD', lock, 'XX', 'GT', 0, '%TOKEN%') -- changes nothing; refused when memory is full (H40)
end
if generation == 0 and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
end
local over = redis.call('ZRANGEBYSCORE', lock, %TOMB%, %TOMB% + now, 'LIMIT', 0, %MARKS%)
if over[1] then
  redis.call('ZREM', lock, unpack(over))
end
local number = tonumber(redis.call('ZSCORE', lock, '%GENERATION%') or 0)

-- Where the places of those begin who wait for this generation; before there is one, for the first.
local function home()
  return places_of(math.max(number, 1))
end

-- Is it to be refused, as nothing may be done in part? `after`: what would be left.
local function full(after)
  if room <= 0 or after == 0 then
    return false
  end
  local first, last = home(), home() + %CROWD% - 1
  local waiting = redis.call('ZCOUNT', lock, first, last)
  if waiting < room then
    return false
  elseif not current then
    return sweep(step, waiting) >= room
  end
  sweep(step, redis.call('ZCOUNT', lock, '-inf', '(0')) -- others may be among those that it removes
  return redis.call('ZCOUNT', lock, first, last) >= room
end

local place = tonumber(redis.call('ZSCORE', lock, id) or 0)
local is_left = place < 0 and (place < home() or place >= home() + %CROWD%) -- of a generation that is over
local mark = tonumber(redis.call('ZSCORE', lock, '%COUNTED%' .. id) or nil)
local changes = not mark and (by > 0 or to >= 0)
local makes = left < 0 and count >= 0 and asked == 0 and to > -2
if to == -2 then
  if left < 0 then
    return { 10, now_us }
  end
elseif place >= %TOMB% then
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
  if is_left then
    redis.call('ZREM', lock, id)
  end
  local more = current and not only_looks and clean(step, number - 1) or 0
  step.refused = send(step.mail) and 1 or 0
  if redis.call('ZSCORE', lock, '%FINISHED%' .. string.format('%d', asked)) then
    return { 1, now_us, asked, 0, step.refused, more }
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
if (place == 0 or is_left) and full(after) then
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
  if left > 0 then
    close(step, number, 'r ')
  else
    if not current then
      close(step, number, 'd ')
    end
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
end
if new_id and after > 0 then -- at zero nothing asks for it
  redis.call('ZADD', lock, %ONCE_BAND% + number, '%ONCE%' .. once)
end
if changes then
  redis.call('ZADD', lock, %TOMB% + not_after + 1000 + (number % (%COUNTED_PARTS% - 1) + 1) / %COUNTED_PARTS%, '%COUNTED%' .. id)
end

local reply = { 1, now_us, generation, after, 0 }
if to == -2 then
  room = -1
elseif after == 0 then
  if makes or (changes and (to >= 0 or before > 0)) then
    complete(step, number)
  elseif changes then
    live(step, not_after + 1000 - now)
  end
elseif room == 0 then
  live(step, ttl)
  reply = { 3, now_us }
else
  if room > 0 then
    if place < 0 and not is_left then
      redis.call('ZADD', lock, 'XX', renewed(place, polls), id)
    else
      local a, b, c = string.byte(id, 20, 22) -- the end of the client: its places stand together
      local ticket = (a * 128 + b) * 128 + c
      redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%')
      redis.call('ZADD', lock, home() + ticket * %TICKET% + polls * %CHANCE% + math.floor(now / %UNIT%) % %CHANCE%, id)
    end
    reply = { 2, now_us, tonumber(redis.call('ZSCORE', lock, '%TOKEN%')) }
  end
  live(step, ttl)
end
if after == 0 and place < 0 and (is_left or current) then
  redis.call('ZREM', lock, id)
end
local writes = makes or changes
local cleans = writes or to ~= -1 or not only_looks and (current or left == 0 and half)
local more = cleans and clean(step, after == 0 and number or number - 1) or 0
if after > 0 then
  -- The half says that a count-down has to look: somebody waits, or there was a reset, or there are ids.
  local looks = number > 1 or by > 0 and once ~= '' or redis.call('ZCOUNT', lock, '-inf', '(0') > 0
    or not makes and redis.call('ZCOUNT', lock, %ONCE_BAND%, '(%HOLDER%') > 0
  redis.call('ZADD', lock, 'XX', after + (looks and 1.5 or 1), counter)
elseif more == 1 or half and cleans and not writes then
  redis.call('ZADD', lock, 'XX', 1 + more / 2, counter) -- at zero it says that something is left
end
commit(lock, step)
step.refused = send(step.mail) and 1 or 0
if reply[1] == 1 then
  reply[5], reply[6] = step.refused, (to ~= -1 or after == 0) and more or 0
end
return reply
