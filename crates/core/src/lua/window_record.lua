-- window_record: reads a limiter's record of a sliding window. Without one that has this rate,
-- nobody was admitted. `size`: bytes behind the rate. `each`: arguments of one reservation in a
-- refund. It reads no variable of the script.
--
-- sets: key, config, kind, size, each, record, ours, at, start, sum, top, last, counts
local NOW, ALL, HEAD = 50, 102, 40
local key, config, kind, size, each = KEYS[1], ARGV[1], 'w', HEAD + 4 * ALL, 3
local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
local ours = record and string.sub(record, 1, #config) == config and #record == #config + size
-- start: when the present piece began. sum: of the pieces up to the present one. top: the last
-- piece that is not empty, or -1.
local at, start, sum, top, last, counts = 0, 0, 0, -1, 0, nil
if ours then
  at, start, sum, top, last = struct.unpack('>ddddd', record, #config + 1)
  counts = string.sub(record, #config + HEAD + 1)
end

local function count(number)
  return number <= top and struct.unpack('>I4', counts, number * 4 + 1) or 0
end
