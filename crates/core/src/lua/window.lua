-- window: reserve a slot in a sliding window, or say when there would be one. Time is cut into pieces of a fiftieth of the
-- window; any 51 pieces in a row, which is what a window of any position touches, have `limit` permits at most. The
-- record has the counts of 102: the present piece (number 50), 50 before it and 51 after it.
--
-- KEYS[1]  limiter    string  <prefix>:limiter:{<name>}  config .. at, start, sum, top, last .. 102 counts; see docs/design.md
-- ARGV[1]  config     `1:w:<n>:<period µs>:1:<1: set by set_rate>|`; the 1 in front is the schema version
-- ARGV[2]  weight     permits that are asked for, limit at most
-- ARGV[3]  limit      permits per window
-- ARGV[4]  piece      length of a piece, µs: a fiftieth of the window, rounded up
-- ARGV[5]  most       longest wait for the slot, µs; 0: now or not at all; -1: change nothing, only say
-- ARGV[6]  id         of the attempt, a number below 2^53; not 0 unless most is -1
-- ARGV[7]  not_after  server's clock, ms; later the answer is `late` and nothing changes (H35)
-- ARGV[8]  ttl        life of the key, ms
--
-- Returns  {1, stamp_us, wait_us, left, reset_us, before}  the slot is reserved, so long from now; permits that are left; until
--                                                          none is used any more; the last id before
--          {3, stamp_us, wait_us, left, reset_us}          refused: so long it would have been
--          {4, stamp_us}                                   late
--          {8, stamp_us}                                   not our record, or another schema version (H75)
--          {9, stamp_us, config}                           made with another rate or algorithm: this one
--          {10, stamp_us}                                  config says `set by set_rate`, and there is no record that was
local NOW, ALL, HEAD = 50, 102, 40
local key, config = KEYS[1], ARGV[1]
local limit, piece, most, id = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local T = redis.call('TIME') -- once (H50)
local now = T[1] * 1000000 + T[2]

local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
-- start: when the present piece began. sum: of the pieces up to the present one. top: the last piece that is not empty, or -1.
local at, start, sum, top, last, counts = now, now, 0, -1, 0, nil
if record then
  if string.sub(record, 1, #config) ~= config or #record ~= #config + HEAD + 4 * ALL then
    local theirs = string.match(record, '^1:%a:%d+:%d+:%d+:[01]|')
    if theirs and theirs ~= config then
      return { 9, now, theirs }
    end
    return { 8, now }
  end
  at, start, sum, top, last = struct.unpack('>ddddd', record, #config + 1)
  counts = string.sub(record, #config + HEAD + 1)
elseif string.sub(config, -2) == '1|' then
  return { 10, now }
end
if now > ARGV[7] * 1000 then
  return { 4, now }
end

local function count(number)
  return number <= top and struct.unpack('>I4', counts, number * 4 + 1) or 0
end

if now < at then -- the clock was set back: nothing has come back and nothing was added meanwhile (H49)
  start = start - (at - now)
end
local passed = math.floor((now - start) / piece)
if passed > top then -- nothing is left
  start, sum, top, counts = now, 0, -1, nil
elseif passed > 0 then
  for number = NOW + 1, NOW + passed do
    sum = sum + count(number)
  end
  for number = 0, passed - 1 do
    sum = sum - count(number)
  end
  start, top = start + passed * piece, top - passed
  counts = string.sub(counts, passed * 4 + 1) .. string.rep('\0', passed * 4)
end

local weight = tonumber(ARGV[2])
local replay = most >= 0 and last == id
if replay then -- a copy of this call reserved just before: what it has (H27)
  weight = 0
end
-- Nobody overtakes: the slot is in the last piece that somebody has, or later.
local slot, used = NOW, sum
if top > NOW or used + weight > limit then
  local all = { struct.unpack('>' .. string.rep('I4', top + 1), counts or '') } -- at once: much quicker than one by one
  while slot < top do
    slot = slot + 1
    used = used + all[slot + 1] - all[slot - NOW]
  end
  while used + weight > limit and slot < 2 * ALL do
    slot = slot + 1
    used = used - (all[slot - NOW] or 0)
  end
end
local wait = slot == NOW and 0 or start + (slot - NOW) * piece - now
local refused = wait > most or slot >= ALL
counts = counts or not refused and string.rep('\0', 4 * ALL)
if not refused and not replay then
  local own = struct.pack('>I4', count(slot) + weight)
  counts = string.sub(counts, 1, slot * 4) .. own .. string.sub(counts, slot * 4 + 5)
  top = slot
  if slot == NOW then
    sum = sum + weight
  end
end
local left = top > NOW and 0 or math.max(0, limit - sum)
local reset = top < 0 and 0 or start + (top + 1) * piece - now
-- A refusal writes only after the clock was set back: time goes on from here, or it would stand still until then (H49).
if not refused or counts and now < at and most >= 0 then
  local state = struct.pack('>ddddd', now, start, sum, top, refused and last or id)
  redis.call('SET', key, config .. state .. counts, 'PX', ARGV[8]) -- refused when memory is full (H40)
end
if refused then
  return { 3, now, wait, left, reset }
end
return { 1, now, wait, left, reset, replay and 0 or last }
