-- window_change: set another rate, for everybody. What was admitted stays counted, at the latest time it can have been, as
-- far as the new window reaches and the old one remembers; who waits keeps its slot. clock.lua,
-- window_record.lua and limiter_change.lua stand in front.
--
-- KEYS[1]  limiter    string  <prefix>:limiter:{<name>}
-- ARGV[1]  config     the new one, as in window: by hand without a version, or of a handle with one
-- ARGV[2]  not_after  server's clock, ms
-- ARGV[3]  keep       how long the key lives after all permits have come back, ms
-- ARGV[4]  piece      of the new window, µs
--
-- Returns  {1, stamp_us}          done, or set by a handle with as high a version
--          {4, stamp_us}          late
--          {8, stamp_us}          not our record, or another schema version
--          {9, stamp_us, config}  made with another algorithm
local piece, moved = tonumber(ARGV[4]), {}
for number = 1, ALL do
  moved[number] = 0
end
if record then
  local old_piece = math.ceil(period / NOW)
  local old_at, old_start = struct.unpack('>dd', record, #theirs + 1)
  old_start = old_start - math.max(0, old_at - now_us) -- the clock was set back (H49)
  for number = 0, ALL - 1 do
    local used = struct.unpack('>I4', record, #theirs + HEAD + 1 + number * 4)
    -- Slots that are waited for are at the beginning, others at the end at the latest.
    local begins = old_start + (number - NOW) * old_piece
    local latest = begins > now_us and begins or math.min(now_us, begins + old_piece)
    local place = math.min(ALL - 1, NOW + math.floor((latest - now_us) / piece))
    if used > 0 and place >= 0 then
      moved[place + 1] = moved[place + 1] + used
      top = math.max(top, place)
      sum = place <= NOW and sum + used or sum
    end
  end
end
local life = string.format('%d', math.ceil((top + 1) * piece / 1000) + ARGV[3])
local state = struct.pack('>ddddd', now_us, now_us, sum, top, 0)
counts = struct.pack('>' .. string.rep('I4', ALL), unpack(moved))
-- Refused when memory is full (H40).
redis.call('SET', key, written .. state .. counts, 'PX', life)
return { 1, now_us }
