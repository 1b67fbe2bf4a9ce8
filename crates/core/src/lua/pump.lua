-- pump: grants to waiters. It reads no variable of the script.

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
    drops[#drops + 1], drops[#drops + 2] = '%PASSED%', '%SWEPT%'
    step.next_ticket = nil
  end
  step.loose = nil
  commit(lock, step)
end

-- Grants from the head of the queue on while it fits, with claims on behalf of the waiters and a message to each. Those to
-- whom nobody listens are passed over until nobody else can be granted: a step looks at so many, and notes where the next
-- one, within a second, goes on. Returns an upgrade that has come to the head, and its place, unless it is known that it has
-- to wait.
local function pump(lock, step, now_us, now, upgrades_wait)
  local capacity, counted, rate, owner, used = step.capacity, step.counted, step.rate, step.owner, step.used
  local mail, drops, grants, heard = step.mail, step.drops, step.grants, {}
  local inbox, stamp = string.match(lock, '^(.-:)[^:{]+:{') .. 'inbox:', string.format('%d', now_us)
  local queue, at, rank, size, looked, queued, upgrade = {}, 1, 0, 1, 0, true, nil
  local unit, passed, last = (now - now % %UNIT%) / %UNIT%, 0, nil -- `passed`: how many; `last`: place that was looked at
  if step.passed and (unit - step.passed % 1 * %CHANCE%) % %CHANCE% < 4 then
    local next_place = %BASE% + math.floor(step.passed + 1) * %TICKET%
    passed = redis.call('ZCOUNT', lock, '-inf', string.format('(%d', next_place))
    rank = passed
  end
  while used < capacity or owner ~= '' do
    if queued and not queue[at + 2] then
      queue, at = redis.call('ZRANGE', lock, rank, rank + size, 'WITHSCORES'), 1
      size = math.min(2 * size, BOUND)
    end
    local who, place, behind = queue[at], tonumber(queue[at + 1] or 0), tonumber(queue[at + 3] or 0)
    local kin, weight, most, window, unseen, missed, start, after
    local ends, goes, granted, line = place >= 0 or looked == SCAN, false, false, nil -- `ends`: nobody behind it is granted
    if ends and place < 0 then
      step.more, step.unsettled = 1, true
      if passed > 0 then -- the last one that was looked at
        step.passed = math.floor((last - %BASE%) / %TICKET%) + unit % %CHANCE% / %CHANCE%
        step.adds[#step.adds + 1], step.adds[#step.adds + 2] = step.passed, '%PASSED%'
        passed = 0
      end
    elseif not ends then
      kin, weight, most, window = string.match(who, '^%d+([^:]*):(%d+):(%d+):(%d+)$', 24)
      weight, missed, unseen = tonumber(weight), 0, (unit - place) % %CHANCE%
      if unseen > %CHANCE% / 2 then -- the clock was set back: just now
        unseen = 0
      end
      if place % %TICKET% >= %CHANCE% then
        missed = math.floor(place % %TICKET% / %CHANCE%)
      end
      local fits = used + weight <= capacity or owner ~= '' and owner == kin
      local is_late = false
      if rate then -- GCRA
        after = math.max(rate.arrival, now_us) + weight * rate.interval
        start = math.max(after - rate.burst * rate.interval, now_us)
        is_late = fits and start - now_us > rate.window
      end
      -- A hint, not a proof: NUMSUB counts this node's subscribers, half-open ones too. So it only passes an entry over,
      -- and asks before anything is sent: a grant message must never have to be taken back.
      local channel, hears = inbox .. string.sub(who, 1, 22), missed == %POLLS% or not fits and unseen <= %DEAF%
      if not hears then
        hears = heard[channel]
        if hears == nil then
          hears = redis.pcall('PUBSUB', 'NUMSUB', channel)[2] ~= 0 -- no answer is no reason
          heard[channel] = hears
        end
      end
      if unseen > %PATIENCE% or not hears and unseen > %DEAF% then
        goes = true
      elseif is_late or counted and weight > capacity then
        goes, line = true, 'w ' .. string.sub(who, 23) .. ' 0 ' .. stamp -- or resized since: it asks again, and learns why
      elseif kin ~= '' and string.sub(kin, 1, 1) == '^' then
        ends = true
        upgrade = queued and not upgrades_wait and who or nil
      elseif not fits then
        ends = true
      elseif not hears and queued then
        passed = passed + 1
      elseif grants == BOUND then
        -- Not every answer can say that there is more to do, and the caller may die. So this waiter is told to ask.
        ends, passed, step.more, step.doubts = true, 0, 1, nil
        line = 'w ' .. string.sub(who, 23) .. ' 0 ' .. stamp
      else
        goes, granted, grants = true, true, grants + 1
      end

      if goes then
        if passed > 0 then -- others stand in front of it: `tidy` looks
          step.loose = step.loose or {}
          step.loose[kin] = place
        else
          if behind >= 0 and not step.lapsed then -- the queue is empty
            drops[#drops + 1], drops[#drops + 2] = '%NEXT%', '%SINCE%'
            drops[#drops + 1], drops[#drops + 2] = '%PASSED%', '%SWEPT%'
            step.next_ticket = nil
          end
          if kin ~= '' and math.floor(behind / %TICKET%) ~= math.floor(place / %TICKET%) then
            drops[#drops + 1] = '%OWNER%' .. string.sub(kin, 2) -- nobody else waits for this owner
          end
        end
      end
      if goes and not granted then
        drops[#drops + 1] = who
      elseif granted then
        local fraction, token, adds = '%FIRST_CLAIM%', '0', step.adds
        if missed > 0 then
          missed = missed % %POLLS%
          window, fraction = window * 2 ^ missed, string.sub((1 + missed) / %CLAIM_PARTS%, 2)
        end
        window = math.min(window, most)
        step.life = math.max(step.life, step.ttl + window) -- a record must not end before its claim
        used = used + weight
        if not counted and weight >= capacity and (kin == '' or kin ~= owner) then
          commit(lock, step)
          drops, owner, token, step.token = step.drops, kin, stamp, now_us
          rank = passed - 1 -- the others are gone
          if redis.call('ZADD', lock, 'GT', 'CH', stamp, '%TOKEN%', string.format('%d', now + window) .. fraction, who) == 1 then
            step.token = tonumber(redis.call('ZINCRBY', lock, '1', '%TOKEN%')) -- the clock is behind the last token
            token = string.format('%d', step.token)
            step.life = math.max(step.life, step.ttl + window, step.ttl + math.ceil((step.token - now_us) / 1000))
          end
        else
          adds[#adds + 1], adds[#adds + 2] = string.format('%d', now + window) .. fraction, who
          if counted or weight < capacity then
            step.shared = step.shared + weight
          else -- a re-entry has the token of its owner
            token = string.format('%d', step.token)
          end
        end
        line = 'g ' .. string.sub(who, 23) .. ' ' .. token .. ' ' .. stamp .. ' ' .. window
        if rate then
          rate.arrival = after -- it has to be remembered until it has come, or the burst would be there again
          adds[#adds + 1], adds[#adds + 2] = after, '%ARRIVAL%'
          if start > now_us then
            adds[#adds + 1], adds[#adds + 2] = start, '%START%' .. who
          end
          step.life = math.max(step.life, step.ttl, math.ceil((after - now_us) / 1000))
          line = line .. ' ' .. math.ceil(start - now_us)
        end
        -- If it may be dead, the next waiter is told when the claim ends, unless this step grants to it, too.
        if behind < 0 and (missed > 0 or unseen * %UNIT% > window) then
          step.doubts = step.doubts or {}
          table.insert(step.doubts, { queue[at + 2], window })
        end
      end
      if line then
        local lines = mail[channel]
        if lines then
          lines[#lines + 1] = line
        else
          mail[channel] = { line }
        end
      end
    end
    at, rank, looked, last = at + 2, rank + 1, looked + 1, place
    if upgrade or ends and not (queued and passed > 0) or not queued and not queue[at] then
      step.used, step.owner, step.grants = used, owner, grants
      return upgrade, place
    elseif ends then -- nobody else can be granted
      commit(lock, step)
      drops, at, queued, looked = step.drops, 1, false, 0
      queue = redis.call('ZRANGE', lock, 0, math.min(passed - 1, BOUND), 'WITHSCORES')
    end
  end
  step.used, step.owner, step.grants = used, owner, grants
end

-- Writes what is left, and tells what is in doubt.
local function finish(lock, step, now_us)
  commit(lock, step)
  if step.loose then
    tidy(lock, step)
  end
  for _, it in ipairs(not step.lapsed and step.doubts or {}) do
    if tonumber(redis.call('ZSCORE', lock, it[1]) or 0) < 0 then -- it still waits
      post(lock, step, 'w ', it[1], string.format(' %d %d', it[2], now_us))
    end
  end
  step.doubts = step.lapsed and step.doubts
end
