-- tickets: the order of the queue.
--
-- reads: lock, now, seen_now
-- sets: record.lapsed

-- The ticket of the head of the queue; above all tickets if there is none.
local function head_ticket()
  local first = tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0)
  return first < 0 and math.floor((first - %BASE%) / %TICKET%) or %LAST_TICKET%
end

-- The ticket before all others, with whatever head start they may come.
local function front()
  return math.min(head_ticket(), %FRONT%) - 1
end

-- Puts a waiter into the queue; `next` is the ticket of the next newcomer.
local function enter_queue(who, ticket, next, low)
  local tag = owner_of(who)
  redis.call('ZADD', lock, next, '%NEXT%', %BASE% + ticket * %TICKET% + low, who)
  if tag then
    redis.call('ZADD', lock, ticket, '%OWNER%' .. tag)
  end
end

-- A ticket that nobody has, from this one on: the next one, unless owners share some. Where `count` tickets have fewer
-- than `count` waiters one is free; that is looked for by doubling and halving, so that a crowd costs little.
local function free_ticket(ticket)
  local from = %BASE% + ticket * %TICKET%
  local function taken(count)
    return redis.call('ZCOUNT', lock, from, '(' .. text(from + count * %TICKET%)) >= count
  end
  local low, high = 0, 1
  while taken(high) do
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if taken(middle) then
      low = middle
    else
      high = middle
    end
  end
  return ticket + low
end

-- The ticket of a newcomer, and that of the next: behind all others, unless it is an upgrade, its owner waits already, or
-- it has a head start. That is in milliseconds, so tickets are, too, from the first one on that may be compared with one
-- that has a head start: %SINCE% is when that was.
-- Every newcomer counts as coming later than the one before, so that equal head starts never change the order.
local function new_ticket(who, ahead, timed)
  local tag = owner_of(who)
  local mark = tag and redis.call('ZSCORE', lock, '%OWNER%' .. tag)
  local next = tonumber(redis.call('ZSCORE', lock, '%NEXT%') or %FIRST_TICKET%)
  if mark then
    return tonumber(mark), next
  elseif base_of(who) then
    return front(), next
  end
  local start = redis.call('ZSCORE', lock, '%SINCE%')
  if not start and not timed then
    return next, next + 1
  elseif not start then
    start = (now - (next - %FIRST_TICKET%)) % %CYCLE%
    redis.call('ZADD', lock, start, '%SINCE%')
  end
  local since = (now - start) % %CYCLE%
  if since > %CYCLE% / 2 then -- the clock was set back
    since = since - %CYCLE%
  end
  local came = math.max(next, %FIRST_TICKET% + math.min(since, %LONGEST%))
  local ticket = free_ticket(math.max(came - ahead, %FRONT%))
  return ticket, (ahead == 0 and ticket or came) + 1
end

-- A claim that lapsed let one other pass and goes back to the front, half-way to being given up: it has a second more
-- if nobody listens for it, else seven.
local function put_back()
  for i = #record.lapsed, 1, -1 do
    local tag = owner_of(record.lapsed[i][1])
    local ticket = tonumber(tag and redis.call('ZSCORE', lock, '%OWNER%' .. tag) or front()) -- those of one owner stay together
    local next = tonumber(redis.call('ZSCORE', lock, '%NEXT%') or %FIRST_TICKET%)
    enter_queue(record.lapsed[i][1], ticket, next, record.lapsed[i][2] * %CHANCE% + (seen_now - %DEAF% + 4) % %CHANCE%)
  end
  record.lapsed = {}
end
