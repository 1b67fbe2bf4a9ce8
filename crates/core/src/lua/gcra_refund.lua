-- gcra_refund: give back reservations behind which nobody reserved, in whatever order they are named. The stored debt is as
-- of the last reservation, so taking its cost away is exact. An id that is not the last one changes nothing: so it may run
-- twice, and late (H27).
--
-- KEYS[1]    limiter  string  <prefix>:limiter:{<name>}
-- ARGV[1]    config   as in gcra
-- ARGV[2]    n        permits per period
-- ARGV[3]    life     the key lives so long from now, ms
-- ARGV[...]  of each reservation: its id, the last id before it (0: not known), its cost as q and r
--
-- Returns  {1, given}  so many were given back
--          {8, 0}      not our record, or made with another rate
local key, config, n = KEYS[1], ARGV[1], tonumber(ARGV[2])
local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
if not record then
  return { 1, 0 }
elseif string.sub(record, 1, #config) ~= config or #record ~= #config + 32 then
  return { 8, 0 }
end
local at, q, r, last = struct.unpack('>dddd', record, #config + 1)
local args, named, given = ARGV, {}, 0
for i = 4, #args, 4 do
  named[tonumber(args[i])] = i
end
local i = named[last]
while i do
  named[last] = nil
  q, r, last = q - args[i + 2], r - args[i + 3], tonumber(args[i + 1])
  if r < 0 then
    q, r = q - 1, r + n
  end
  if q < 0 then -- the time since has brought back more than was there without it
    q, r = 0, 0
  end
  given = given + 1
  i = named[last]
end
if given > 0 then
  redis.call('PEXPIRE', key, ARGV[3]) -- allowed when memory is full, and so is the rest after it (H40)
  redis.call('SET', key, config .. struct.pack('>dddd', at, q, r, last), 'KEEPTTL')
end
return { 1, given }
