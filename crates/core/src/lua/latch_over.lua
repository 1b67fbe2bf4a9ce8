-- latch_over: what a generation that is over leaves behind goes in portions: places, whose clients are told, then ids. Places
-- of each generation have tickets of their own, so nobody who waits for a later one is concerned.
--
-- reads: lock, now_us, now, generation, memory
-- sets: current
local budget = %PORTION% -- what this step may still spend on it

-- Where the places of a generation begin.
local function places_of(number)
  return %BASE% + number % %GENERATIONS% * %CROWD%
end

-- Lets waiters go while the budget lasts: each costs one, and their clients cost more. All places of a client stand together,
-- and it is told once: `told` was, by the last step. Returns who was told last, if a place is left.
local function let_go(step, number, kind, name, told)
  local first, most = places_of(number), budget
  local places = redis.call('ZRANGEBYSCORE', lock, first, first + %CROWD% - 1, 'LIMIT', 0, most + 1)
  local rest, clients, at = string.format(' %s %d', name, now_us), { [told] = true }, 0
  while most > 0 and places[at + 1] do
    at, most = at + 1, most - 1
    local client = string.sub(places[at], 1, 22)
    if not clients[client] then
      clients[client], told, most = true, client, most - %TELLING%
      post(lock, step.mail, kind, places[at], rest)
    end
  end
  if at > 0 then
    redis.call('ZREM', lock, unpack(places, 1, at))
  end
  budget = math.max(most, 0)
  return places[at + 1] and told
end

-- Notes that places of a generation are left, and until when they are, that waiters of others are to be told apart.
local function note(number, kind, name, told)
  local of = %OVER_BAND% + 2 * number + (kind == 'd ' and 1 or 0)
  redis.call('ZADD', lock, of, '%OVER%' .. name .. ' ' .. told, (number + 1) % %GENERATIONS%, '%CURRENT%')
  current = true
end

-- The generation with this number is over. What is still left of earlier ones goes first.
local function close(step, number, kind)
  local name, told = string.format('%d', generation), ''
  local first = places_of(number)
  if not current then
    told = let_go(step, number, kind, name, '')
  elseif redis.call('ZCOUNT', lock, first, first + %CROWD% - 1) == 0 then
    redis.call('ZADD', lock, (number + 1) % %GENERATIONS%, '%CURRENT%')
    told = nil
  end
  if told then
    note(number, kind, name, told)
  end
end

-- Goes on with what is left of generations that are over, with ids up to this one's. Returns 1 if that was not all.
local function clean(step, number)
  while current do
    local mark = redis.call('ZRANGEBYSCORE', lock, %OVER_BAND%, '(%HOLDER%', 'WITHSCORES', 'LIMIT', 0, 1)
    if not mark[1] then
      redis.call('ZREM', lock, '%CURRENT%')
      current = nil
    elseif budget == 0 then
      return 1
    else
      local name, told = string.match(mark[1], '^%OVER%(%d+) (.*)$')
      local of = mark[2] - %OVER_BAND%
      told = let_go(step, math.floor(of / 2), of % 2 == 1 and 'd ' or 'r ', name, told)
      redis.call('ZREM', lock, mark[1])
      if told then
        redis.call('ZADD', lock, mark[2], '%OVER%' .. name .. ' ' .. told)
      end
    end
  end
  local ids = redis.call('ZRANGEBYSCORE', lock, %ONCE_BAND%, %ONCE_BAND% + number, 'LIMIT', 0, budget + 1)
  local goes = math.min(#ids, budget)
  if goes > 0 then
    redis.call('ZREM', lock, unpack(ids, 1, goes))
    budget = budget - goes
  end
  return goes < #ids and 1 or 0
end

-- The record of a latch that has just come to zero lives for so long, whatever was asked for before: but not less than its marks.
local function complete(step, number)
  close(step, number, 'd ')
  local last = redis.call('ZREVRANGEBYSCORE', lock, %MICROS%, %TOMB%, 'WITHSCORES', 'LIMIT', 0, 1)
  redis.call('PEXPIRE', lock, math.max(memory, last[1] and math.ceil(last[2] - %TOMB% - now) or 0))
end
