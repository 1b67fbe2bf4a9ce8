-- latch: counts down, waits for zero, or both; or begins a new generation. This part has shortcuts
-- for calls that write nothing, and for a count-down while nobody waits. Some of the engine's parts
-- and latch_slow.lua follow below the early returns.
--
-- KEYS[1]   lock       zset  <prefix>:latch:{<name>}  see docs/design.md, "The latch"
-- ARGV[1]   id         id of the caller's attempt
-- ARGV[2]   count      what a latch of this name begins with, to the caller; it makes one if there is none. -1: it makes none.
--                      -2: nor that, and it waits until somebody does
-- ARGV[3]   room       most waiters there may be; 0: do not wait; -1: nor that, and say what is left
-- ARGV[4]   ttl        an unfinished latch lives at least this long from now, ms: `until` must not be later
-- ARGV[5]   memory     a finished one lives this long from its end, ms
-- ARGV[6]   until      server's clock, ms: that the attempt counted or reset is known until then. From a second before on the
--                      answer is `late` and nothing changes (H35). All copies of a request that counts or resets have the same
-- What is seldom said comes last, and may be left out from the end on:
-- ARGV[7]   by         count down by so much; 0: do not
-- ARGV[8]   once       what counts under this id counts once in a generation; empty: it counts by attempt
-- ARGV[9]   to         begin a new generation with so much; -1: do not; -2: only go on with what generations that are over left
-- ARGV[10]  asked      the generation that is waited for, µs; 0: whichever there is
-- ARGV[11]  polls      3: the caller's inbox is down and it polls; 0: it listens
-- ARGV[12]  adopts     1: whatever count it was made with will do. Left out: it must be the caller's
--
-- Returns  {1, stamp_us, generation, 0, refused, more}     finished; or a number alone, as below. more: 1: generations that
--                                                         are over left something that did not fit into this step
--          {1, stamp_us, generation, left, refused, more}  with room -1, whatever is left
--          left                      from this part: the same as one of these
--          {2, stamp_us, generation} queued
--          {3, stamp_us}             not finished, and the caller does not wait
--          {4, stamp_us}             late
--          {5, stamp_us}             the attempt has ended
--          {6, stamp_us}             the queue is full
--          {8, stamp_us}             not our record, or another schema version (H75)
--          {9, stamp_us, initial}    made with another count: this one
--          {10, stamp_us}            nobody made it, or it was forgotten
--          {11, stamp_us}            the generation that was waited for, or counted in, was reset
local lock, id, room, by = KEYS[1], ARGV[1], ARGV[3], ARGV[7] or '0'
local once, to, asked = ARGV[8] or '', ARGV[9] or '-1', ARGV[10] or '0'
local plain = once == '' and to == '-1' and asked == '0'

local function counter_of(made) -- the member that says what is left, and 1; of a number that a reset changed: a star
  return made % 2 == 1 and '%LEFT%*' or '%LEFT%' .. string.format('%.0f', made / 2)
end

-- Only that one is looked at, as each score that is read costs the server 0.5 us. WRONGTYPE is raised before any write (H41).
local count = tonumber(ARGV[2])
local counter = count < 0 and counter_of((redis.call('ZSCORE', lock, '%INITIAL%') or 0) - 1) or '%LEFT%' .. ARGV[2]
-- shortcut: nothing has to be written
if plain and by == '0' then
  local left = redis.call('ZSCORE', lock, counter)
  if left and (left == '1' or room == '-1') then
    return math.floor(left) - 1
  end
end
-- end of shortcut

local T = redis.call('TIME') -- once (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000

-- shortcut: it is counted down where nobody waits
if plain and by ~= '0' and room == '-1' and now <= ARGV[6] - 1000 and #ARGV[6] == 13 then
  local scores = redis.call('ZMSCORE', lock, counter, id, '%COUNTED%' .. id)
  local before = (scores[1] or 1) - 1
  if before > 0 and before % 1 == 0 and not (scores[2] or scores[3]) then
    -- It was never reset, nobody waits, and this is the first copy of an attempt that counts.
    local left = math.max(before - by, 0)
    redis.call('ZADD', lock, left + 1, counter, '%TOMB_DIGITS%' .. ARGV[6] .. '%FIRST_COUNTED%', '%COUNTED%' .. id)
    if math.floor(before / 16) ~= math.floor(left / 16) then -- not each time: it costs as much as the rest
      local over = redis.call('ZRANGEBYSCORE', lock, '%TOMB%', %TOMB% + now, 'LIMIT', '0', '%MARKS%')
      if over[1] then
        redis.call('ZREM', lock, unpack(over))
      end
    end
    if left > 0 then
      if redis.call('PTTL', lock) < tonumber(ARGV[4]) then
        redis.call('PEXPIRE', lock, ARGV[4] + math.floor(ARGV[4] / 8))
      end
    elseif ARGV[5] - ARGV[4] >= 0 then
      redis.call('PEXPIRE', lock, ARGV[5]) -- from now on; no mark lasts longer than the ttl
    else
      local last = redis.call('ZREVRANGEBYSCORE', lock, '%MICROS%', '%TOMB%', 'WITHSCORES', 'LIMIT', '0', '1')
      redis.call('PEXPIRE', lock, math.max(tonumber(ARGV[5]), math.ceil(last[2] - %TOMB% - now)))
    end
    return left
  end
end
-- end of shortcut

local scores = redis.call('ZMSCORE', lock, '%TOKEN%', '%INITIAL%', '%CURRENT%')
local generation, made = tonumber(scores[1] or 0), (scores[2] or 0) - 1 -- twice the number, and one more if a reset changed it
local current = scores[3] -- somebody is left who waited for a generation that is over
local agrees = count < 0 or made % 2 == 1 or made == 2 * count or ARGV[12]
counter = counter_of(made)
local left = redis.call('ZSCORE', lock, counter) or 0
local half = left % 1 > 0 -- a call has to look
left = math.floor(left) - 1 -- -1: nobody made it
by, to, asked, room = tonumber(by), tonumber(to), tonumber(asked), tonumber(room)
-- shortcut: nothing has to be written, which only another look showed
if by == 0 and to == -1 and left >= 0 and generation > 0 and agrees and (asked == 0 or asked == generation) then
  if left == 0 and not half or room < 0 then
    return left
  elseif room == 0 and left > 0 then
    return { 3, now_us }
  end
end
-- end of shortcut
local ttl, memory, not_after = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] - 1000
local polls = tonumber(ARGV[11] or 0)
