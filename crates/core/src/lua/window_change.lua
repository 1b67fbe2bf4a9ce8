-- window_change: set another rate, for everybody. What was admitted stays counted, at the latest time it can have been, as
-- far as the new window reaches and the old one remembers; who waits keeps its slot.
--
-- KEYS[1]  limiter    string  <prefix>:limiter:{<name>}
-- ARGV[1]  config     the new one, as in window, set by set_rate
-- ARGV[2]  piece      of the new window, µs
-- ARGV[3]  not_after  server's clock, ms
-- ARGV[4]  ttl        life of the key, ms
--
-- Returns  {1, stamp_us}          done
--          {4, stamp_us}          late
--          {8, stamp_us}          not our record, or another schema version
--          {9, stamp_us, config}  made with another algorithm
local NOW, ALL, HEAD = 50, 102, 40
local key, config, piece = KEYS[1], ARGV[1], tonumber(ARGV[2])
local T = redis.call('TIME') -- once (H50)
local now = T[1] * 1000000 + T[2]
local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
local state = struct.pack('>ddddd', now, now, 0, -1, 0) .. string.rep('\0', 4 * ALL)
if record then
  local theirs, kind, period = string.match(record, '^(1:(%a):%d+:(%d+):%d+:[01]|)')
  if not theirs or kind == 'w' and #record ~= #theirs + HEAD + 4 * ALL then
    return { 8, now }
  elseif kind ~= 'w' then
    return { 9, now, theirs }
  elseif theirs == config then -- an earlier copy, or somebody else wanted the same
    state = string.sub(record, #config + 1)
  else
    local at, start = struct.unpack('>dd', record, #theirs + 1)
    local old = math.ceil(period / NOW)
    start = start - math.max(0, at - now) -- the clock was set back (H49)
    local counts, sum, top = {}, 0, -1
    for number = 0, ALL - 1 do
      counts[number + 1] = 0
    end
    for number = 0, ALL - 1 do
      local count = struct.unpack('>I4', record, #theirs + HEAD + 1 + number * 4)
      local begins = start + (number - NOW) * old -- slots that are waited for are at the beginning, others at the end at the latest
      local latest = begins > now and begins or math.min(now, begins + old)
      local place = math.min(ALL - 1, NOW + math.floor((latest - now) / piece))
      if count > 0 and place >= 0 then
        counts[place + 1] = counts[place + 1] + count
        top = math.max(top, place)
        if place <= NOW then
          sum = sum + count
        end
      end
    end
    state = struct.pack('>ddddd', now, now, sum, top, 0) .. struct.pack('>' .. string.rep('I4', ALL), unpack(counts))
  end
end
if now > ARGV[3] * 1000 then
  return { 4, now }
end
redis.call('SET', key, config .. state, 'PX', ARGV[4]) -- refused when memory is full (H40)
return { 1, now }
