-- window: reserve a slot in a sliding window, or say when there would be one. Time is cut into pieces of a fiftieth of the
-- window; any 51 pieces in a row, which is what a window of any position touches, have `limit` permits at most. The
-- record has the counts of 102: the present piece (number 50), 50 before it and 51 after it.
-- clock.lua, window_record.lua and limiter_reserve.lua stand in front.
--
-- KEYS[1]  limiter    string  <prefix>:limiter:{<name>}  config .. at, start, sum, top, last .. 102 counts; see docs/design.md
-- ARGV[1]  config     `1:w:<n>:<period µs>:1:<0 or 1>[.<version>]|`, as in gcra
-- ARGV[2]  most       longest wait for the slot, µs; 0: now or not at all; -1: change nothing, only say
-- ARGV[3]  id         of the attempt, a number below 2^53; not 0 unless most is -1
-- ARGV[4]  not_after  server's clock, ms; later the answer is `late` and nothing changes (H35)
-- ARGV[5]  keep       how long the key lives after all permits have come back, ms
-- ARGV[6]  weight     permits that are asked for, limit at most
-- ARGV[7]  limit      permits per window
-- ARGV[8]  piece      length of a piece, µs: a fiftieth of the window, rounded up
-- ARGV[9]  theirs     the rate is the server's, and not the caller's. Left out: it is the caller's
--
-- Returns  {1, stamp_us, wait_us, left, reset_us, before}  the slot is reserved, so long from now; permits that are left; until
--                                                          none is used any more; the last id before
--          {3, stamp_us, wait_us, left, reset_us}          refused: so long it would have been
--          {4, stamp_us}                                   late
--          {8, stamp_us}                                   not our record, or another schema version (H75)
--          {9, stamp_us, config}                           made with another rate or algorithm: this one
--          {10, stamp_us}                                  the rate is the server's, which has none any longer
if not record and ARGV[9] then
  return { 10, now_us }
end
-- A copy of this call reserved just before: what it has (H27).
local replay = most >= 0 and last == id
local weight, limit, piece = replay and 0 or tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

-- If the clock was set back, nothing has come back, and nothing was added meanwhile (H49).
start = now_us < at and start - (at - now_us) or start
local passed = math.floor((now_us - start) / piece)
if passed > top then -- nothing is left
  start, sum, top, counts = now_us, 0, -1, nil
elseif passed > 0 then
  for number = 0, passed - 1 do
    sum = sum + count(NOW + 1 + number) - count(number)
  end
  start, top = start + passed * piece, top - passed
  counts = string.sub(counts, passed * 4 + 1) .. string.rep('\0', passed * 4)
end

-- Nobody overtakes: the slot is in the last piece that somebody has, or later.
local slot, used = NOW, sum
if top > NOW or used + weight > limit then
  -- All at once: much quicker than one by one.
  local all = { struct.unpack('>' .. string.rep('I4', top + 1), counts or '') }
  while slot < top do
    slot = slot + 1
    used = used + all[slot + 1] - all[slot - NOW]
  end
  while used + weight > limit and slot < 2 * ALL do
    slot = slot + 1
    used = used - (all[slot - NOW] or 0)
  end
end
local wait = slot == NOW and 0 or start + (slot - NOW) * piece - now_us
local refused = wait > most or slot >= ALL
counts = counts or not refused and string.rep('\0', 4 * ALL)
if not refused and not replay then
  local own = struct.pack('>I4', count(slot) + weight)
  counts = string.sub(counts, 1, slot * 4) .. own .. string.sub(counts, slot * 4 + 5)
  top = slot
  sum = slot == NOW and sum + weight or sum
end
local left = top > NOW and 0 or math.max(0, limit - sum)
local reset = top < 0 and 0 or start + (top + 1) * piece - now_us
-- A refusal writes only after the clock was set back: time goes on from here, or it would stand
-- still until then (H49).
if not refused or counts and now_us < at and most >= 0 then
  local state = struct.pack('>ddddd', now_us, start, sum, top, refused and last or id)
  -- Refused when memory is full (H40).
  redis.call('SET', key, config .. state .. counts, 'PX', string.format('%d', reset / 1000 + ARGV[5]))
end
if refused then
  return { 3, now_us, wait, left, reset }
end
return { 1, now_us, wait, left, reset, replay and 0 or last }
