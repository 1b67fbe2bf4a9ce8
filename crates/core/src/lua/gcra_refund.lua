-- gcra_refund: give back reservations behind which nobody reserved, in whatever order they are named. The stored debt is as
-- of the last reservation, so taking its cost away is exact. An id that is not the last one changes nothing: so it may run
-- twice, and late (H27).
-- gcra_record.lua and limiter_refund.lua stand in front.
--
-- KEYS[1]    limiter  string  <prefix>:limiter:{<name>}
-- ARGV[1]    config   as in gcra
-- ARGV[...]  of each reservation: its id, the last id before it (0: not known), its cost as q and r
--
-- Returns  {1, given}  so many were given back
--          {8, 0}      not our record, or made with another rate
local permits = tonumber(string.match(config, '^1:g:(%d+)')) -- per period
for _, i in ipairs(given) do
  q, r = q - args[i + 2], r - args[i + 3]
  if r < 0 then
    q, r = q - 1, r + permits
  end
  if q < 0 then -- the time since has brought back more than was there without it
    q, r = 0, 0
  end
end
redis.call('SET', key, config .. struct.pack('>dddd', at, q, r, last), 'KEEPTTL')
return { 1, #given }
