-- latch: count down, wait for zero, or both; or begin a new generation. This part: nothing has to be written, or it is
-- counted down where nobody waits.
-- The rest of the script is engine.lua and latch_slow.lua, below the early returns.
--
-- KEYS[1]   lock       zset  <prefix>:latch:{<name>}  see docs/design.md, "The latch"
-- ARGV[1]   id         id of the caller's attempt
-- ARGV[2]   count      what a latch of this name begins with, to the caller; it makes one if there is none. -1: it makes none.
--                      -2: nor that, and it waits until somebody does
-- ARGV[3]   by         count down by so much; 0: do not
-- ARGV[4]   once       what counts under this id counts once in a generation; empty: it counts by attempt
-- ARGV[5]   to         begin a new generation with so much; -1: do not
-- ARGV[6]   asked      the generation that is waited for, µs; 0: whichever there is
-- ARGV[7]   not_after  server's clock, ms; later the answer is `late` and nothing changes (H35). All copies of a request that
--                      counts or resets have the same
-- ARGV[8]   room       most waiters there may be; 0: do not wait; -1: nor that, and say what is left
-- ARGV[9]   ttl        an unfinished latch lives at least this long from now, ms
-- ARGV[10]  memory     a finished one lives this long from its end, ms
-- ARGV[11]  polls      3: the caller's inbox is down and it polls; 0: it listens
-- ARGV[12]  inbox      prefix of the clients' channels
--
-- Returns  {1, stamp_us, generation, left, refused}  finished; or, with room -1, whatever is left
--          {2, stamp_us, generation}                 queued
--          {3, stamp_us}                             not finished, and the caller does not wait
--          {4, stamp_us}                             late
--          {5, stamp_us}                             the attempt has ended
--          {6, stamp_us}                             the queue is full
--          {8, stamp_us}                             not our record, or another schema version (H75)
--          {9, stamp_us, initial}                    made with another count: this one
--          {10, stamp_us}                            nobody made it, or it was forgotten
--          {11, stamp_us}                            the generation that was waited for, or counted in, was reset
local lock, id, count, by, once, to = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local asked, room = tonumber(ARGV[6]), tonumber(ARGV[8])

local T = redis.call('TIME') -- once (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000

local counts = by > 0 and to < 0 and once == '' and room < 0
local scores -- raises WRONGTYPE before any write (H41)
if counts then
  scores = redis.call('ZMSCORE', lock, 'n', 't1', 'i', 'g', id, 'c' .. id)
else
  scores = redis.call('ZMSCORE', lock, 'n', 't1', 'i')
end
local remaining = (scores[1] or 0) - 1 -- -1: nobody made it
local generation = tonumber(scores[2] or 0)
local made = (scores[3] or 0) - 1 -- twice the number, and one more if a reset changed it
local agrees = count < 0 or made % 2 == 1 or made == 2 * count
if to < 0 and remaining >= 0 and generation > 0 and agrees and (asked == 0 or asked == generation) then
  if by == 0 and (remaining == 0 or room < 0) then
    return { 1, now_us, generation, remaining, 0 }
  elseif by == 0 and room == 0 then
    return { 3, now_us }
  elseif
    counts
    and remaining > 0
    and scores[4] == '1'
    and not (scores[5] or scores[6])
    and now <= tonumber(ARGV[7])
    and redis.call('ZCOUNT', lock, '-inf', '(0') == 0
  then
    -- It was never reset, this is the first copy of an attempt that counts, and nobody waits.
    local after = math.max(remaining - by, 0)
    redis.call('ZADD', lock, after + 1, 'n', 100000000001000 + ARGV[7] + 1 / 64, 'c' .. id)
    redis.call('ZREMRANGEBYSCORE', lock, '100000000000000', 100000000000000 + now)
    if after == 0 then -- it lives as long as is wanted from now on, but not less than its marks
      local life, marked = tonumber(ARGV[10]), '1000000000000000'
      if redis.call('ZCOUNT', lock, 100000000000000 + now + life, marked) > 0 then
        local last = redis.call('ZREVRANGEBYSCORE', lock, marked, '100000000000000', 'WITHSCORES', 'LIMIT', '0', '1')
        life = math.ceil(last[2] - 100000000000000 - now)
      end
      redis.call('PEXPIRE', lock, life)
    elseif redis.call('PTTL', lock) < tonumber(ARGV[9]) then
      redis.call('PEXPIRE', lock, ARGV[9] + math.floor(ARGV[9] / 8))
    end
    return { 1, now_us, generation, after, 0 }
  end
end
local not_after, ttl, memory, polls, inbox = tonumber(ARGV[7]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12]
local capacity = 0 -- nobody ever holds
