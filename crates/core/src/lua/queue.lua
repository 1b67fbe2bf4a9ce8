-- queue: makes room in it.
--
-- reads: lock, now

-- The queue is full: places of the dead make room. They may stand anywhere, so a long queue is looked at in parts.
-- Returns how many are left.
local function sweep(step, count)
  local from = count > %SCAN% and now % count or 0
  local places = redis.call('ZRANGE', lock, from, from + %SCAN% - 1, 'WITHSCORES')
  local count_before = count
  for i = 1, #places, 2 do
    local place = tonumber(places[i + 1])
    local unseen = (math.floor(now / %UNIT%) - place) % %CHANCE%
    if place < 0 and unseen > %PATIENCE% and unseen <= %CHANCE% - %STEPPED% and count_before - count < %GRANTS% then
      leave(step, places[i], string.match(places[i], '^%d+([^:]*):', 24), place)
      count = count - 1
    end
  end
  if step.loose then
    commit(lock, step)
    local next_ticket = step.next_ticket
    step.next_ticket = nil -- the caller enters the queue, or it is still full
    tidy(lock, step)
    step.next_ticket = next_ticket
  end
  return count
end
