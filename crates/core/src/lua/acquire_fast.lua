-- acquire: takes the primitive, or joins its queue. This part has a shortcut for a record that is
-- free, and the usual answers. The engine's parts and acquire_slow.lua follow below the early
-- returns, where text costs nothing.
--
-- KEYS[1]   lock       zset  <prefix>:lock:{<name>}  see docs/design.md for the bands of its scores
-- ARGV[1]   id         id of the caller's attempt
-- ARGV[2]   lease      length of the lease, ms
-- ARGV[3]   ttl        the key lives at least this long from now: lease + retention, ms
-- ARGV[4]   weight     what the attempt takes of the capacity
-- ARGV[5]   capacity   of the primitive; a weight equal to it is exclusive. With the suffix `c`, as in `3c`: counted; no
--                      hold is exclusive, and the capacity in the record counts, if there is one. With the suffix
--                      `u`: an upgrade, which makes the shared hold that its id names exclusive
-- ARGV[6]   not_after  server's clock, ms; later the answer is `late` and nothing changes (H35)
-- ARGV[7]   room       most entries the queue may have; 0: do not wait; -1: nor that, and take whatever is free, if counted
-- What is seldom said comes last, and may be left out from the end on:
-- ARGV[8]   pace       `<interval> <burst> <window>` if counted and made with a rate: what a permit takes and how far ahead one
--                      may be reserved, µs; how many may start at once. Empty: without
-- ARGV[9]   patience   if counted: the longest that its start may be away, µs; there may be a pace that was set. Empty: as far
--                      as may be reserved
-- ARGV[10]  floor      the token must be above it, µs; 0: none
-- ARGV[11]  polls      3: the caller's inbox is down and it polls; 0: it listens
-- ARGV[12]  ahead      its head start in the queue, ms: it counts as having come earlier (or later) by so much. With a sign,
--                      as in `+0`: its place counts in time, from when it came; 0: only if others' places do
-- ARGV[13]  version    if counted: the version of capacity and pace, and 1: they are set if the record's are older, and must
--                      be equal if they are as old. 0: without a version. -1: whatever the record has will do
-- ARGV[14]  keep       if counted: the key lives at least this long from now if its numbers were set at the server, ms
--
-- Returns  {1, stamp_us, token, left_ms, claim}  granted, or held already; claim = 1: confirm it
--          {1, stamp_us, 0, left_ms, claim, weight, delay_us}  the same for room -1 or with a pace: that much of it, to start then
--          stamp_us                              from this part: the same as {1, stamp_us, token, lease, 0}; the token of an
--                                                exclusive hold is the stamp
--          {2, stamp_us, wake_ms, more}          queued; wake_ms: until the first hold ends, -1: none
--          {3, stamp_us, wake_ms, more}          busy; more = 1: or it may not be, which another call finds out
--          {4, stamp_us}                         late
--          {5, stamp_us}                         the attempt has ended
--          {6, stamp_us}                         the queue is full
--          {7, stamp_us}                         the floor is more than a day ahead of the clock
--          {8, stamp_us}                         not our record, or another schema version (H75)
--          {9, stamp_us, capacity}               counted, and made with another capacity: this one
--          {10, stamp_us, capacity}              the weight is more than there is
--          {11, stamp_us, why}                   the hold that was to be upgraded has ended; why:
--                                                1 it ended, 3 it was forced
--          {12, stamp_us, delay_us}              it could start only then
--          {13, stamp_us}                        made with another rate, or with one and without
local lock, id, weight, capacity = KEYS[1], ARGV[1], ARGV[4], ARGV[5]
local floor = ARGV[10] or '0'
local T = ARGV.time or redis.call('TIME') -- once, at the top: before Redis 7.2 it moves inside a script (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000

-- The token has the highest score, except of a counted primitive with a rate; the hold that ends last is next. The first
-- command raises WRONGTYPE before any write (H41).
local top = weight ~= capacity and string.sub(capacity, -1) == 'c' and {} or redis.call('ZRANGE', lock, '-2', '-1')
local plain = floor == '0' and now <= tonumber(ARGV[6])
local lease, ttl = ARGV[2], tonumber(ARGV[3])
-- shortcut: it takes everything, and nobody holds or waits
if plain and weight == capacity and not top[2] and (top[1] or '%TOKEN%') == '%TOKEN%' then
  local token, ends = now_us, string.format('%d', now + lease) -- a number as an argument costs five times as much
  if redis.call('ZADD', lock, 'GT', 'CH', string.format('%d', now_us), '%TOKEN%', ends, id) == 1 then -- the clock is behind
    token = tonumber(redis.call('ZINCRBY', lock, 1, '%TOKEN%'))
  end
  local life = ttl + math.ceil((token - now_us) / 1000)
  if not top[1] or redis.call('PTTL', lock) < life then
    redis.call('PEXPIRE', lock, life + math.floor(life / 8)) -- longer than necessary, so that it is seldom renewed
  end
  return token == now_us and now_us or { 1, now_us, token, tonumber(lease), 0 }
end
-- end of shortcut

-- The ticket of a newcomer, that of the next, and since when tickets count time. It is behind all others, unless it has a
-- head start. That is in milliseconds, so tickets are, too, from the first one on that may be compared with one that has a
-- head start. Every newcomer counts as coming later than the one before, so that equal head starts never change the order.
local function take_ticket(lock, now, next_ticket, since, ahead)
  next_ticket, since = tonumber(next_ticket or %FIRST_TICKET%), tonumber(since or nil)
  if not since and ahead == '0' then
    return next_ticket, next_ticket + 1
  end
  since = since or (now - (next_ticket - %FIRST_TICKET%)) % %CYCLE%
  local passed = (now - since) % %CYCLE%
  if passed > %CYCLE% / 2 then -- the clock was set back
    passed = passed - %CYCLE%
  end
  local came = math.max(next_ticket, %FIRST_TICKET% + math.min(passed, %LONGEST%))
  local ticket = math.max(came - ahead, %FRONT%)
  -- A ticket that nobody has, from this one on: the next one, unless owners share some. Where `high` tickets have fewer
  -- than `high` waiters one is free; that is looked for by doubling and halving, so that a crowd costs little.
  local from, low, high = %BASE% + ticket * %TICKET%, 0, 1
  local function taken(count)
    return redis.call('ZCOUNT', lock, string.format('%d', from), string.format('%d', from + count * %TICKET% - 1)) >= count
  end
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
  ticket = ticket + low
  return ticket, (tonumber(ahead) == 0 and ticket or came) + 1, since
end

-- Grants, queues or refuses a newcomer. It reads once and writes once. Nothing is returned, and nothing was written, if the
-- record has to be settled first, or the engine knows better. `sweep`: it was settled; makes room in the queue, once a second.
local function answer(lock, id, weight, capacity, lease, ttl, room, pace, patience, floor, polls, ahead, now_us, now, top,
  version, keep, sweep)
  local kin = string.match(id, '^%d+(@?[^:^]*):', 24) -- no upgrade
  local there, ours = tonumber(capacity), top[1] -- no number if counted
  local known, rate
  local last = top[2] and top[1] or id
  local counted = not there
  if not kin or (there and (top[2] or top[1] or '%TOKEN%') ~= '%TOKEN%') then
    return
  elseif kin ~= '' then
    known = redis.call('ZMSCORE', lock, id, '%NEXT%', '%SINCE%', '%USED%', last, '%OWNER%' .. string.sub(kin, 2))
  elseif there then
    known = redis.call('ZMSCORE', lock, id, '%NEXT%', '%SINCE%', '%USED%', last)
  else
    if pace == '' then
      known = redis.call('ZMSCORE', lock, id, '%NEXT%', '%SINCE%', '%USED%', '%CAPACITY%', '%TOKEN%', '%INTERVAL%')
    else
      known = redis.call('ZMSCORE', lock, id, '%NEXT%', '%SINCE%', '%USED%', '%CAPACITY%', '%TOKEN%', '%INTERVAL%',
        '%BURST%', '%PERIOD%', '%ARRIVAL%')
    end
    local stored, interval = tonumber(known[5] or nil), known[7]
    local as_made = not stored or stored % 2 == version
    if version > 0 or stored and stored % 2 > 0 then
      if stored and stored % 1 < version then
        return
      end
      ttl = math.max(ttl, keep)
    end
    there = math.floor((stored or 2 * string.sub(capacity, 1, -2)) / 2)
    if pace ~= '' or interval then
      local made = { string.match(pace, '^([%d.]+) (%d+) (%d+)$') }
      if interval then
        rate = pace ~= '' and { known[8], known[9], known[10] } or redis.call('ZMSCORE', lock, '%BURST%', '%PERIOD%', '%ARRIVAL%')
      elseif not known[5] then
        rate = { made[2], made[3] }
      end
      interval = interval or rate and made[1]
      if as_made and not (rate and made[1] and made[1] - interval == 0 and made[2] - rate[1] == 0 and made[3] - rate[2] == 0) then
        return
      end
      rate = rate and { interval = interval, burst = rate[1], window = tonumber(rate[2]), arrival = tonumber(rate[3] or 0) }
    end
    ours = known[6]
    if as_made and there .. 'c' ~= capacity or not ours and redis.call('ZCARD', lock) > 0 then
      return
    end
  end
  if known[1] or weight > there and room >= 0 then
    return
  end

  -- The holds: of a counted primitive the first one to end is looked at, of others the last one.
  local used, owner, left, all = tonumber(known[4] or 0), '', -1, true
  local holder, ends = last, counted and 0 or tonumber(known[5] or 0)
  if counted and used > 0 then
    holder, ends = unpack(redis.call('ZRANGEBYSCORE', lock, '%HOLDER%', '%TOMB%', 'WITHSCORES', 'LIMIT', '0', '1'))
  elseif ends >= %TOMB% then
    holder, ends = unpack(redis.call('ZREVRANGEBYSCORE', lock, '%TOMB%', '%HOLDER%', 'WITHSCORES', 'LIMIT', '0', '1'))
  end
  if holder and tonumber(ends) >= %HOLDER% then
    local its, has, most = string.match(holder, '^%d+([^:]*):(%d+):(%d+)', 24)
    has, left = tonumber(has), ends - now
    if left > most + 1 and not sweep then -- it would outlast its own lease (H49)
      return
    elseif used == 0 then
      used, owner = has, has >= there and its or ''
    end
    all = used == has and owner == '' and not counted -- of a counted one it may have less than its id says
    if not (all or counted) then -- others hold, too
      left = redis.call('ZRANGEBYSCORE', lock, '%HOLDER%', '%TOMB%', 'WITHSCORES', 'LIMIT', '0', '1')[2] - now
    end
    if left <= 0 and not sweep then
      return
    end
    left = math.max(math.ceil(left), 0)
  end

  -- The queue.
  local fits = used + weight <= there
  local ticket, following, since
  if room < 0 then -- whatever is free, and may start now
    weight = there - used
    if rate then
      weight = math.min(weight, math.floor((now_us - math.max(rate.arrival, now_us)) / rate.interval + rate.burst))
    end
    fits = weight > 0
  end
  if known[2] and (used < there or owner ~= '') then
    local head = redis.call('ZRANGE', lock, '0', '0', 'WITHSCORES')
    local head_kin, gets, most = string.match(head[1], '^%d+(@?[^:^]*):(%d+):(%d+)', 24)
    local unseen = ((now - now % %UNIT%) / %UNIT% - head[2]) % %CHANCE%
    local silent = unseen > 1 and unseen * %UNIT% - 1000 > math.min(6000, (most or 9000) * 2 / 3) -- others may pass it
    if not sweep and (silent or not gets or used + gets <= there or (owner ~= '' and owner == head_kin)) then
      return
    elseif fits and tonumber(ahead) > 0 then -- its head start may put it before all others
      ticket, following, since = take_ticket(lock, now, known[2], known[3], ahead)
      fits = %BASE% + (ticket + 1) * %TICKET% <= tonumber(head[2])
    else
      fits = false
    end
  end

  local adds, reply
  if owner ~= '' and owner == kin then -- a re-entry overtakes the queue
    local token = tonumber(redis.call('ZSCORE', lock, '%TOKEN%'))
    adds, reply = { string.format('%d', now + lease), id }, { 1, now_us, token, tonumber(lease), 0 }
  elseif fits and there == weight and not counted then
    local token = math.max(now_us, floor + 1, (redis.call('ZSCORE', lock, '%TOKEN%') or 0) + 1)
    adds, reply = { token, '%TOKEN%', now + lease, id }, { 1, now_us, token, tonumber(lease), 0 }
    ttl = ttl + math.ceil((token - now_us) / 1000)
  elseif fits then
    adds, reply = { string.format('%d', used + weight), '%USED%', string.format('%d', now + lease), id }, now_us
    local function add(score, member)
      adds[#adds + 1], adds[#adds + 2] = score, member
    end
    if not ours then -- it makes the record ours
      add(now_us, '%TOKEN%')
    end
    if counted and not known[5] then
      add(2 * there + math.max(version, 0), '%CAPACITY%')
      if rate then
        add(rate.interval, '%INTERVAL%')
        add(rate.burst, '%BURST%')
        add(rate.window, '%PERIOD%')
      end
    end
    if room < 0 then
      add(weight, '%WEIGHT%' .. id)
      reply = { 1, now_us, 0, tonumber(lease), 0, weight }
    end
    if rate then -- GCRA
      local after = math.max(rate.arrival, now_us) + weight * rate.interval
      local start = math.max(after - rate.burst * rate.interval, now_us)
      if rate.arrival - now_us > rate.window + rate.burst * rate.interval then
        return
      elseif start - now_us > math.min(tonumber(patience) or rate.window, rate.window) then
        return { 12, now_us, math.ceil(start - now_us) }
      elseif start > now_us then
        add(start, '%START%' .. id)
      end
      add(after, '%ARRIVAL%')
      ttl = math.max(ttl, math.ceil((after - now_us) / 1000))
      reply = { 1, now_us, 0, tonumber(lease), 0, weight, math.ceil(start - now_us) }
    end
  elseif room <= 0 then
    if not (all or sweep) then -- no waiter's tick will look at the last hold
      local final = redis.call('ZREVRANGEBYSCORE', lock, '%TOMB%', '%HOLDER%', 'WITHSCORES', 'LIMIT', '0', '1')
      if final[2] - now > string.match(final[1], ':(%d+):%d+$') + 1 then
        return
      end
    end
    redis.call('ZADD', lock, 'XX', 'GT', '0', '%TOKEN%') -- changes nothing; refused when memory is full (H40)
    return { 3, now_us, left, 0 }
  else
    if kin ~= '' and not counted and known[6] then -- it waits beside another of its owner
      ticket, following = known[6], known[2] + 1
    elseif not ticket then
      ticket, following, since = take_ticket(lock, now, known[2], known[3], ahead)
    end
    -- No more wait than came since nobody waited, which `following` counts, and no more than there are members.
    if following - %FIRST_TICKET% > room and redis.call('ZCARD', lock) > room then
      local waiting, second = redis.call('ZCOUNT', lock, '-inf', '(0'), math.floor(now / 1000)
      if waiting >= room and tonumber(redis.call('ZSCORE', lock, '%SWEPT%') or 0) ~= second then
        if not sweep then
          return
        end
        waiting = sweep(waiting)
        redis.call('ZADD', lock, second, '%SWEPT%')
      end
      if waiting >= room then
        return { 6, now_us }
      end
    end
    if following - 1 >= %LAST_TICKET% then
      return { 6, now_us }
    end
    local place = %BASE% + ticket * %TICKET% + polls * %CHANCE% + math.floor(now / %UNIT%) % %CHANCE%
    adds, reply = { string.format('%d', following), '%NEXT%', string.format('%d', place), id }, { 2, now_us, left, 0 }
    if kin ~= '' then
      adds[5], adds[6] = ticket, '%OWNER%' .. string.sub(kin, 2)
    end
    if since and not known[3] then
      adds[#adds + 1], adds[#adds + 2] = since, '%SINCE%'
    end
  end
  redis.call('ZADD', lock, unpack(adds))
  if redis.call('PTTL', lock) < ttl then
    redis.call('PEXPIRE', lock, ttl + math.floor(ttl / 8))
  end
  return reply
end
local room, pace, patience = tonumber(ARGV[7]), ARGV[8] or '', ARGV[9]
local polls, ahead = tonumber(ARGV[11] or 0), ARGV[12] or '0'
local version, keep = (ARGV[13] or 0) / %VERSIONS%, ARGV[14] or %KEEP%
weight = tonumber(weight)
-- shortcut: no hold is over, and no waiter can be granted
if plain then
  local reply = answer(lock, id, weight, capacity, lease, ttl, room, pace, patience, 0, polls, ahead, now_us, now, top,
    version, keep)
  if reply then
    return reply
  end
end
-- end of shortcut
