-- queue: places, and the last sign of life of their waiters.
--
-- reads: lock, now
-- sets: seen_now, gone
local seen_now = math.floor(now / %UNIT%) % %CHANCE%
local gone = {} -- who left the queue in this step, or was told to look at once

-- Units of 256 ms since a waiter was seen; a clock that was set back counts as "just now".
local function age(score)
  local units = (seen_now - score % %CHANCE%) % %CHANCE%
  if units > %CHANCE% / 2 then
    return 0
  end
  return units
end

-- Seen now. The claims that it missed stay counted: a client that ticks for a future that nobody polls lives, but it
-- must not make the others wait forever.
local function refresh(who, score, polls_now)
  local chance = math.floor(score % %TICKET% / %CHANCE%)
  if polls_now == %POLLS% or chance == %POLLS% then
    chance = polls_now
  end
  redis.call('ZADD', lock, 'XX', score - score % %TICKET% + chance * %CHANCE% + seen_now, who)
end

-- The same for a waiter that asks by itself: it is being polled, so the claims that it missed are forgiven.
local function renew_place(who, score, polls_now)
  redis.call('ZADD', lock, 'XX', score - score % %TICKET% + polls_now * %CHANCE% + seen_now, who)
end

-- A waiter has left the queue: the mark of its owner goes with the last one who waits for that owner.
local function unmark_owner(who, score)
  local tag = owner_of(who)
  if tag then
    local from = score - score % %TICKET%
    if redis.call('ZCOUNT', lock, from, '(' .. text(from + %TICKET%)) == 0 then
      redis.call('ZREM', lock, '%OWNER%' .. tag)
    end
  end
end

local function leave_queue(who, score)
  redis.call('ZREM', lock, who)
  gone[who] = true
  unmark_owner(who, score)
end

-- The queue is full: places of the dead make room. They may stand anywhere, so a long queue is looked at in parts.
local function sweep(count)
  local from = count > SCAN and now % count or 0
  local places = redis.call('ZRANGE', lock, from, from + SCAN - 1, 'WITHSCORES')
  local swept = 0
  for i = 1, #places, 2 do
    local score = tonumber(places[i + 1])
    if score < 0 and age(score) > %PATIENCE% and swept < BOUND then
      leave_queue(places[i], score)
      swept = swept + 1
    end
  end
  return count - swept
end

-- When nobody waits any more, tickets begin anew, or newcomers would queue behind nobody.
local function tidy()
  if tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0) >= 0 then
    redis.call('ZREM', lock, '%NEXT%', '%SINCE%')
  end
end
