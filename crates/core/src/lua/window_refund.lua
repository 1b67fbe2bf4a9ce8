-- window_refund: give back reservations behind which nobody reserved, in whatever order they are named. An id that is not
-- the last one changes nothing: so it may run twice, and late (H27).
--
-- KEYS[1]    limiter  string  <prefix>:limiter:{<name>}
-- ARGV[1]    config   as in window
-- ARGV[2]    life     the key lives so long from now, ms
-- ARGV[...]  of each reservation: its id, the last id before it (0: not known), its weight
--
-- Returns  {1, given}  so many were given back
--          {8, 0}      not our record, or made with another rate
local NOW, ALL, HEAD = 50, 102, 40
local key, config = KEYS[1], ARGV[1]
local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
if not record then
  return { 1, 0 }
elseif string.sub(record, 1, #config) ~= config or #record ~= #config + HEAD + 4 * ALL then
  return { 8, 0 }
end
local at, start, sum, top, last = struct.unpack('>ddddd', record, #config + 1)
local counts = string.sub(record, #config + HEAD + 1)
local function count(number)
  return (struct.unpack('>I4', counts, number * 4 + 1))
end
local args, named, given = ARGV, {}, 0
for i = 3, #args, 3 do
  named[tonumber(args[i])] = i
end
local i = named[last]
while i do
  named[last] = nil
  if top >= 0 then -- its piece is the last one that is not empty, or older than all that are kept
    local weight = tonumber(args[i + 2])
    local own = struct.pack('>I4', count(top) - weight)
    counts = string.sub(counts, 1, top * 4) .. own .. string.sub(counts, top * 4 + 5)
    if top <= NOW then
      sum = sum - weight
    end
    while top >= 0 and count(top) == 0 do
      top = top - 1
    end
  end
  last, given = tonumber(args[i + 1]), given + 1
  i = named[last]
end
if given > 0 then
  redis.call('PEXPIRE', key, ARGV[2]) -- allowed when memory is full, and so is the rest after it (H40)
  local state = struct.pack('>ddddd', at, start, sum, top, last)
  redis.call('SET', key, config .. state .. counts, 'KEEPTTL')
end
return { 1, given }
