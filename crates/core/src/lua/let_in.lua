-- let_in: grants to those who wait. It reads no variable of the script.

-- Sends what was collected, last of all and through pcall: a refused PUBLISH must not undo what is written (H46). Returns
-- whether one was refused.
local function send(mail)
  local refused = false
  for channel, lines in pairs(mail) do
    local text = lines[2] and table.concat(lines, ';') or lines[1]
    local sent
    if string.byte(channel, -1) == 125 then -- '}': it is in the slot of the key
      sent = redis.pcall('SPUBLISH', channel, text)
    else
      sent = redis.pcall('PUBLISH', channel, text)
    end
    refused = type(sent) == 'table' or refused
  end
  return refused
end

-- Returns the channel of a client. `inbox`: how all channels begin.
local function channel_of(lock, inbox, who)
  local channel = inbox .. string.sub(who, 1, 22)
  if string.byte(who, 23) == 47 then -- '/': it has one for each name
    channel = channel .. string.match(lock, ':{.*$')
  end
  return channel
end

-- Adds a line to the message for a client; docs/design.md lists the kinds.
local function post(lock, mail, kind, who, rest)
  local channel = channel_of(lock, string.match(lock, '^(.-:)[^:{]+:{') .. 'inbox:', who) -- begins as all keys do
  mail[channel] = mail[channel] or {}
  table.insert(mail[channel], kind .. string.sub(who, 23) .. rest)
end

-- Grants from the head of the queue on while it fits, with claims on behalf of the waiters and a
-- line to each. `queue`: what is known of it from `rank` on, members and places; `stamp`: `now_us`
-- as text. What is to be written is added to `adds` and `drops`; if one is granted everything, it is
-- written at once. Who is not sure to take it, or waits for an upgrade, is for the engine: `step` is
-- its state, and without one nothing is returned in that case, and nothing was written. Returns what
-- is in use, how long the record has to live at least, whether one has everything, and 1 if there is
-- more to do; then who is behind the last one, if that may be dead, and how long its claim lasts.
local function let_in(lock, queue, rank, used, there, owner, counted, rate, ttl, now_us, now, stamp, adds, drops, mail, step, commit)
  local inbox = string.match(lock, '^(.-:)[^:{]+:{') .. 'inbox:'
  local unit, heard, at, size, grants, life, more = (now - now % %UNIT%) / %UNIT%, step and {} or mail, 1, 2, step and step.grants or 0, 0, 0
  local all, behind, doubt, last = false, nil, nil, nil
  local deaf, passed, looked = step and step.deaf, step and step.front or 0, 0 -- `passed`: so many are in front
  while used < there or owner ~= '' do
    if not queue[at + 2] and not deaf and (step or used + (string.match(queue[at], ':(%d+)', 24) or 0) <= there) then
      queue, at = redis.call('ZRANGE', lock, rank, rank + size, 'WITHSCORES'), 1
      size = math.min(2 * size, %GRANTS%)
    end
    local who, place, next_place = queue[at], tonumber(queue[at + 1] or 0), tonumber(queue[at + 3] or 0)
    if place >= 0 then
      break
    elseif looked == %SCAN% then -- the next step goes on behind the last one that was passed over
      more, step.unsettled = 1, true
      if passed > 0 then
        step.passed = math.floor((last - %BASE%) / %TICKET%) + unit % %CHANCE% / %CHANCE%
        adds[#adds + 1], adds[#adds + 2] = step.passed, '%PASSED%'
        passed = 0
      end
      break
    end
    local kin, gets, most, window = string.match(who, '^%d+(@?[^:^]*):(%d+):(%d+):(%d+)$', 24) -- nothing of an upgrade
    local channel, missed, unseen = channel_of(lock, inbox, who), 0, (unit - place) % %CHANCE%
    local goes, grant, line, start, after = false, false, nil, nil, nil
    gets = tonumber(gets)
    if step and unseen > %CHANCE% - %STEPPED% then -- the clock was set back: just now
      unseen = 0
    end
    -- Silent: two ticks of its client are overdue, and a request had a second. In doubt: it was not seen since a claim
    -- was made that lapsed, though it should have been.
    local silent, in_doubt = false, false
    if unseen > 1 then
      local tick = math.min(3000, (most or 9000) / 3)
      silent = unseen * %UNIT% - 1000 > 2 * tick
      in_doubt = step and step.in_doubt and unseen >= step.in_doubt and step.in_doubt * %UNIT% > tick * 1.25
    end
    if place % %TICKET% >= %CHANCE% then
      missed = math.floor(place % %TICKET% / %CHANCE%)
    end
    local fits = gets and (used + gets <= there or owner ~= '' and owner == kin)
    if rate and fits then -- GCRA
      after = math.max(rate.arrival, now_us) + gets * rate.interval
      start = math.max(after - rate.burst * rate.interval, now_us)
    end
    local is_late = start and start - now_us > rate.window
    -- A hint, not a proof: NUMSUB counts this node's subscribers, half-open ones too. So it only passes an entry over, and
    -- asks before anything is sent: a grant message must never have to be taken back.
    local hears = missed == %POLLS% or not fits and not silent
    if not hears and string.byte(who, 23) ~= 46 then -- no '.': it is a client of a cluster, whose inbox may be elsewhere
      hears = unseen * %UNIT% - 1000 <= math.min(3000, (most or 9000) / 3)
    elseif not hears then
      hears = heard[channel]
      if hears == nil then
        hears = redis.pcall('PUBSUB', 'NUMSUB', channel)[2] ~= 0 -- no answer is no reason
        if step then
          heard[channel] = hears
        end
      end
    end
    if fits and hears and missed == 0 and not (silent or in_doubt or is_late) then
      grant = true
    elseif not step and (not gets or missed > 0 or silent or fits or gets > there) then
      return
    elseif unseen > %GONE% or not hears and silent and (missed == 0 or deaf) then
      goes = true
    elseif is_late or counted and gets and gets > there then -- or resized since: it asks again, and learns why
      goes, line = true, 'w ' .. string.sub(who, 23) .. ' 0 ' .. stamp
    elseif not gets then
      if not (deaf or step.upgrades_wait) then
        step.upgrade, step.place = who, place
      end
      break
    elseif not deaf and (not hears or silent or in_doubt) then
      passed = passed + 1
    elseif not fits then
      break
    else
      grant = true
    end

    if grant and grants == %GRANTS% then
      -- Not every answer can say that there is more to do, and the caller may die. So this waiter is told to ask.
      grant, more, passed, behind = false, 1, 0, nil
      line = 'w ' .. string.sub(who, 23) .. ' 0 ' .. stamp
    elseif goes then
      drops[#drops + 1] = who
    end
    if (goes or grant) and passed > 0 then -- others stand in front of it: `tidy` looks
      step.loose = step.loose or {}
      step.loose[kin or ''] = place
    elseif goes or grant then
      if kin and kin ~= '' then
        local shares = math.floor(next_place / %TICKET%) == math.floor(place / %TICKET%)
        if not step and (shares or next_place == -1) then -- others wait for its owner, or may
          return
        elseif not shares then
          drops[#drops + 1] = '%OWNER%' .. string.sub(kin, 2)
        end
      end
      if next_place >= 0 and not (step and step.lapsed) then -- nobody waits any more
        drops[#drops + 1], drops[#drops + 2] = '%NEXT%', '%SINCE%'
        drops[#drops + 1], drops[#drops + 2], drops[#drops + 3] = '%PASSED%', '%SWEPT%', '%DOUBT%'
        if step then
          step.next_ticket = nil
        end
      end
    end
    if grant then
      local form, token = '%d%FIRST_CLAIM%', '0'
      if missed > 0 then
        missed = missed % %POLLS%
        window, form = window * 2 ^ missed, '%d' .. string.sub((1 + missed) / %CLAIM_PARTS%, 2)
      end
      used, grants = used + gets, grants + 1
      if window - most > 0 then -- both are texts, which costs less than a number in the line
        window = most
      end
      if step or most - window < (unseen + 1) * %UNIT% then -- else the key's life was set to that and more when it was last seen
        life = math.max(life, ttl + window)
      end
      local claim = string.format(form, now + window)
      if not counted and gets >= there and (kin == '' or kin ~= owner) then
        all, token = true, stamp
        if step then
          commit(lock, step)
          adds, drops, owner, step.token = step.adds, step.drops, kin, now_us
          rank = passed - 1 -- the others are gone
        else
          redis.call('ZREM', lock, unpack(drops)) -- first, as it is allowed when memory is full, and then the rest is, too (H40)
        end
        if redis.call('ZADD', lock, 'GT', 'CH', stamp, '%TOKEN%', claim, who) == 1 then -- the clock is behind the last token
          token = string.format('%d', redis.call('ZINCRBY', lock, '1', '%TOKEN%'))
          life = math.max(life, ttl + window, ttl + math.ceil((token - now_us) / 1000))
          if step then
            step.token = tonumber(token)
          end
        end
      else
        adds[#adds + 1], adds[#adds + 2] = claim, who
        if not counted and gets >= there then -- a re-entry has the token of its owner
          token = string.format('%d', step.token)
        elseif step then
          step.shared = step.shared + gets
        end
      end
      line = 'g ' .. string.sub(who, 23) .. ' ' .. token .. ' ' .. stamp .. ' ' .. window
      if rate then -- what was reserved has to be remembered until it has come, or the burst would be there again
        rate.arrival, line = after, line .. ' ' .. math.ceil(start - now_us)
        adds[#adds + 1], adds[#adds + 2] = after, '%ARRIVAL%'
        if start > now_us then
          adds[#adds + 1], adds[#adds + 2] = start, '%START%' .. who
        end
        life = math.max(life, ttl, math.ceil((after - now_us) / 1000))
      end
      -- If it may be dead, the next waiter is told when the claim ends, unless this step grants to it, too.
      behind, doubt = next_place < 0 and (missed > 0 or unseen * %UNIT% - window > 0) and queue[at + 2] or nil, window
      if behind and step then
        step.doubts = step.doubts or {}
        table.insert(step.doubts, { behind, doubt })
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
    if more > 0 then
      if step then
        step.doubts = nil
      end
      break
    end
    at, rank, looked, last = at + 2, rank + 1, looked + 1, place
  end
  if step then
    step.used, step.owner, step.grants, step.front = used, owner, grants, passed
    step.life, step.more = math.max(step.life, life), math.max(step.more, more)
  end
  return used, life, all, more, behind, doubt
end
