-- window_refund: give back reservations behind which nobody reserved, in whatever order they are named. An id that is not
-- the last one changes nothing: so it may run twice, and late (H27). window_record.lua and
-- limiter_refund.lua stand in front.
--
-- KEYS[1]    limiter  string  <prefix>:limiter:{<name>}
-- ARGV[1]    config   as in window
-- ARGV[...]  of each reservation: its id, the last id before it (0: not known), its weight
--
-- Returns  {1, given}  so many were given back
--          {8, 0}      not our record, or made with another rate
for _, i in ipairs(given) do
  if top >= 0 then -- its piece is the last one that is not empty, or older than all that are kept
    local weight = tonumber(args[i + 2])
    local own = struct.pack('>I4', count(top) - weight)
    counts = string.sub(counts, 1, top * 4) .. own .. string.sub(counts, top * 4 + 5)
    sum = top <= NOW and sum - weight or sum
    while top >= 0 and count(top) == 0 do
      top = top - 1
    end
  end
end
local state = struct.pack('>ddddd', at, start, sum, top, last)
redis.call('SET', key, config .. state .. counts, 'KEEPTTL')
return { 1, #given }
