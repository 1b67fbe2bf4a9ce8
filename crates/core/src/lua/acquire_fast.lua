-- acquire: take the primitive, or join its queue. This part: nobody holds, nobody waits.
-- The rest of the script is engine.lua and acquire_slow.lua, below the early return (text there costs nothing).
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
-- ARGV[8]   floor      the token must be above it, µs; 0: none
-- ARGV[9]   polls      3: the caller's inbox is down and it polls; 0: it listens
-- ARGV[10]  inbox      prefix of the clients' channels
-- ARGV[11]  ahead      its head start in the queue, ms: it counts as having come earlier (or later) by so much. With a sign,
--                      as in `+0`: its place counts in time, from when it came; 0: only if others' places do
-- ARGV[12]  pace       `<interval> <burst> <window>` if counted and made with a rate: what a permit takes and how far ahead one
--                      may be reserved, µs; how many may start at once. Empty: without
-- ARGV[13]  patience   if counted: the longest that its start may be away, µs; there may be a pace that was set
--
-- Returns  {1, stamp_us, token, left_ms, claim}  granted, or held already; claim = 1: confirm it
--          {1, stamp_us, 0, left_ms, claim, weight, delay_us}  the same for room -1 or with a pace: that much of it, to start then
--          stamp_us                              from this part: the same as {1, stamp_us, stamp_us, lease, 0}
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
local T = redis.call('TIME') -- once, at the top: before Redis 7.2 it moves inside a script (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000

local rank = redis.call('ZRANK', lock, 't1') -- raises WRONGTYPE before any write (H41); 0: nothing else is there
if
  (rank == 0 or not rank and redis.call('ZCARD', lock) == 0)
  and weight == capacity
  and ARGV[8] == '0'
  and now <= tonumber(ARGV[6])
then
  -- Each number as an argument costs 0.4 us, text does not; TIME does not pad.
  local us = #T[2] == 6 and T[1] .. T[2] or string.format('%.0f', now_us)
  local changed = redis.call('ZADD', lock, 'GT', 'CH', us, 't1', string.format('%.0f', now + ARGV[2]), id)
  local token, ttl = now_us, tonumber(ARGV[3])
  if changed == 1 then -- the clock is behind the last token
    token = tonumber(redis.call('ZINCRBY', lock, 1, 't1'))
    ttl = ttl + math.ceil((token - now_us) / 1000)
  end
  if not rank or redis.call('PTTL', lock) < ttl then
    redis.call('PEXPIRE', lock, ttl + math.floor(ttl / 8)) -- more than need be, so that it is seldom due
  end
  return changed == 2 and now_us or { 1, now_us, token, tonumber(ARGV[2]), 0 }
end
local lease, ttl, not_after = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[6])
local room, floor, polls, inbox = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]
local ahead, pace, patience = ARGV[11], ARGV[12], ARGV[13]
