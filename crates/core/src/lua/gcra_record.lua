-- gcra_record: reads a limiter's record of GCRA. Without one that has this rate, all numbers are 0.
-- `size`: bytes behind the rate. `each`: arguments of one reservation in a refund.
-- It reads no variable of the script.
--
-- sets: key, config, kind, size, each, record, ours, at, q, r, last
local key, config, kind, size, each = KEYS[1], ARGV[1], 'g', 32, 4
local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
local ours = record and string.sub(record, 1, #config) == config and #record == #config + size
local at, q, r, last = 0, 0, 0, 0
if ours then
  at, q, r, last = struct.unpack('>dddd', record, #config + 1)
end
