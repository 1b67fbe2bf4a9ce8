-- pump: lets in whoever can be granted, and tidies up. It reads no variable of the script.

-- Removes the marks of a queue that is empty, and of owners for whom nobody waits, after somebody left it unseen.
local function tidy(lock, step)
  local drops = step.drops
  for kin, place in pairs(step.loose) do
    local from = place - place % %TICKET%
    if kin ~= '' and redis.call('ZCOUNT', lock, from, from + %TICKET% - 1) == 0 then
      drops[#drops + 1] = '%OWNER%' .. string.sub(kin, 2)
    end
  end
  if step.next_ticket and not step.lapsed and tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2]) >= 0 then
    drops[#drops + 1], drops[#drops + 2] = '%NEXT%', '%SINCE%'
    drops[#drops + 1], drops[#drops + 2], drops[#drops + 3] = '%PASSED%', '%SWEPT%', '%DOUBT%'
    step.next_ticket = nil
  end
  step.loose = nil
  commit(lock, step)
end

-- Grants to waiters. It passes over waiters for whom nobody listens, or that are silent or in doubt, until no other can be
-- granted. A step looks at a bounded number of them, and notes where the next step, within a second, continues. Returns an
-- upgrade that has come to the head, and its place, unless it is known that it has to wait.
local function pump(lock, step, now_us, now, upgrades_wait)
  local queue, unit = {}, (now - now % %UNIT%) / %UNIT%
  step.front, step.upgrade, step.deaf, step.upgrades_wait = 0, nil, false, upgrades_wait
  step.in_doubt = nil
  if step.since then
    local head = tonumber(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or 0)
    local missed = math.floor(head % %TICKET% / %CHANCE%) % %POLLS%
    step.in_doubt = (step.lapsed or head < 0 and missed > 0) and step.since
  end
  if step.passed and (unit - step.passed % 1 * %CHANCE%) % %CHANCE% < 4 then
    local next_place = string.format('(%d', %BASE% + math.floor(step.passed + 1) * %TICKET%)
    step.front = redis.call('ZCOUNT', lock, '-inf', next_place)
  end
  repeat
    let_in(lock, queue, step.deaf and 0 or step.front, step.used, step.capacity, step.owner, step.counted, step.rate, step.ttl,
      now_us, now, string.format('%d', now_us), step.adds, step.drops, step.mail, step, commit)
    step.deaf = not step.deaf and step.front > 0 and not step.upgrade
    if step.deaf then
      commit(lock, step)
      queue = redis.call('ZRANGE', lock, 0, math.min(step.front - 1, %GRANTS%), 'WITHSCORES')
    end
  until not step.deaf
  return step.upgrade, step.place
end

-- Writes what is left, and tells what is in doubt.
local function finish(lock, step, now_us)
  commit(lock, step)
  if step.loose then
    tidy(lock, step)
  end
  for _, it in ipairs(not step.lapsed and step.doubts or {}) do
    if tonumber(redis.call('ZSCORE', lock, it[1]) or 0) < 0 then -- it still waits
      post(lock, step.mail, 'w ', it[1], string.format(' %d %d', it[2], now_us))
    end
  end
  step.doubts = step.lapsed and step.doubts
end
