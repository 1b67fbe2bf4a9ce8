-- acquire: takes the primitive, or joins its queue. This part has shortcuts for three kinds of
-- record: nobody holds; one holder has everything; or the holders share, and nobody waits. The
-- engine's parts and acquire_slow.lua follow below the early returns, where text costs nothing.
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
--
-- Returns  {1, stamp_us, token, left_ms, claim}  granted, or held already; claim = 1: confirm it
--          {1, stamp_us, 0, left_ms, claim, weight, delay_us}  the same for room -1 or with a pace: that much of it, to start then
--          stamp_us                              from this part: the same as {1, stamp_us, token, lease, 0}; the token of an
--                                                exclusive hold is the stamp
--          {2, stamp_us, wake_ms, more}          queued; wake_ms: until the first hold ends, -1: none
--          {3, stamp_us, wake_ms}                busy
--          {4, stamp_us}                         late
--          {5, stamp_us}                         the attempt has ended
--          {6, stamp_us}                         the queue is full
--          {7, stamp_us}                         the floor is more than a day ahead of the clock
--          {8, stamp_us}                         not our record, or another schema version (H75)
--          {9, stamp_us, capacity}               counted, and made with another capacity: this one
--          {10, stamp_us, capacity}              the weight is more than there is
--          {11, stamp_us}                        the hold that was to be upgraded has ended
--          {12, stamp_us, delay_us}              it could start only then
--          {13, stamp_us}                        made with another rate, or with one and without
local lock, id, weight, capacity = KEYS[1], ARGV[1], ARGV[4], ARGV[5]
local pace, patience, floor, polls, ahead = ARGV[8] or '', ARGV[9], ARGV[10] or '0', ARGV[11] or '0', ARGV[12] or '0'
local T = ARGV.time or redis.call('TIME') -- once, at the top: before Redis 7.2 it moves inside a script (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000

-- A record of ours has a token. Its rank is the number of other members, except arrival and starts,
-- which only exist together with a rate below it. This command raises WRONGTYPE before any write
-- (H41).
local ours = redis.call('ZRANK', lock, '%TOKEN%')
-- shortcut: nobody holds, or one holder has everything, or the holders share and nobody waits
local fresh -- the token of a hold that is granted here; 0: it is shared and has none
local plain = now <= tonumber(ARGV[6]) and floor == '0'
if weight == capacity then
  if plain and (ours == 0 or not ours and redis.call('ZCARD', lock) == 0) then
    -- Each number as an argument costs 0.4 us, text does not; TIME does not pad.
    local us = #T[2] == 6 and T[1] .. T[2] or string.format('%.0f', now_us)
    local changed = redis.call('ZADD', lock, 'GT', 'CH', us, '%TOKEN%', string.format('%.0f', now + ARGV[2]), id)
    fresh = changed == 2 and now_us or tonumber(redis.call('ZINCRBY', lock, 1, '%TOKEN%')) -- the clock is behind the last one
  elseif plain and ours and ahead == '0' then
    -- The hold that ends first is within its lease (H49), has everything and names no owner, nor
    -- does this attempt: nothing can be granted.
    local holder = redis.call('ZRANGEBYSCORE', lock, '%HOLDER%', '%TOMB%', 'WITHSCORES', 'LIMIT', '0', '1')
    local has, most = string.match(holder[1] or '', '^%d+:(%d+):(%d+)', 24)
    local left = has == weight and string.find(id, '^%d+:', 24) and holder[2] - now or 0
    if left > 0 and left <= most + 1 then
      local known, room = redis.call('ZMSCORE', lock, id, '%SINCE%', '%NEXT%'), tonumber(ARGV[7])
      local ticket = tonumber(known[3] or %FIRST_TICKET%)
      if not known[1] and room == 0 then
        redis.call('ZADD', lock, 'XX', 'GT', '0', '%TOKEN%') -- changes nothing; refused when memory is full (H40)
        return { 3, now_us, math.ceil(left) }
      elseif not (known[1] or known[2]) and ticket < %LAST_TICKET% and redis.call('ZCOUNT', lock, '-inf', '(0') < room then
        local low = polls * %CHANCE% + math.floor(now / %UNIT%) % %CHANCE%
        redis.call('ZADD', lock, ticket + 1, '%NEXT%', %BASE% + ticket * %TICKET% + low, id)
        if redis.call('PTTL', lock) < tonumber(ARGV[3]) then
          redis.call('PEXPIRE', lock, ARGV[3] + math.floor(ARGV[3] / 8))
        end
        return { 2, now_us, math.ceil(left), 0 }
      end
    end
  end
elseif plain and ours and ARGV[7] ~= '-1' and pace == '' then
  local there, used, known = tonumber(capacity), 0, 0 -- no number if counted
  local alone, stored, mine = ours == 0, nil, nil
  if ours == 1 and not there then
    stored = redis.call('ZSCORE', lock, '%CAPACITY%')
    alone = stored
  elseif not alone then
    local scores = redis.call('ZMSCORE', lock, id, '%USED%', '%CAPACITY%')
    mine, used, stored, known = scores[1], tonumber(scores[2] or 0), scores[3], (scores[2] and 1 or 0) + (scores[3] and 1 or 0)
  end
  if stored then
    there = (stored % 2 == 1 or stored - string.sub(capacity, 1, -2) * 2 == 0) and math.floor(stored / 2)
  end
  -- Weight in use and capacity are the only members below the end of the first hold: no waiter, no
  -- mark of any kind.
  local below = used > 0 and string.format('%.0f', now) or '(%TOMB%'
  if there and used + weight <= there and not mine and (alone or redis.call('ZCOUNT', lock, '-inf', below) == known) then
    redis.call('ZADD', lock, used > 0 and used + weight or weight, '%USED%', string.format('%.0f', now + ARGV[2]), id)
    fresh = 0
  end
end
if fresh then
  local ttl = ARGV[3] + math.max(math.ceil((fresh - now_us) / 1000), 0)
  if not ours or redis.call('PTTL', lock) < ttl then
    redis.call('PEXPIRE', lock, ttl + math.floor(ttl / 8)) -- longer than necessary, so that it is seldom renewed
  end
  return fresh <= now_us and now_us or { 1, now_us, fresh, tonumber(ARGV[2]), 0 }
end
-- end of shortcut
local lease, ttl, not_after = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[6])
local room = tonumber(ARGV[7])
