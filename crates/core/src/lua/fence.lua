-- fence: the resource's side of a fencing token. Admits a token unless a newer one was seen, and remembers it.
-- With a value it also writes the resource, in the same step.
--
-- KEYS[1]    fence     string  <prefix>:fence:{<resource>}, or `=<resource>` if it has a hash tag  "1:<highest token>"; 7 days
-- KEYS[2]    resource  the guarded key; absent: only admit
-- ARGV[1]    token     of the writer; 0: admit nothing, only ask
-- ARGV[2]    ttl       life of the fence, ms
-- ARGV[3]    value     to SET the resource to
--
-- Returns  {1, highest}  admitted
--          {0, highest}  stale: `highest` was seen
--          {7, highest}  the token is more than a day ahead of the clock, and of `highest`
--          {8, 0}        not our record, or another schema version
local DAY = 86400000000 -- as for a token floor, µs
local fence, resource = KEYS[1], KEYS[2]
local token, ttl, value = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local highest = tonumber(string.match(redis.call('GET', fence) or '1:0', '^1:(%d+)$'))
if not highest then
  return { 8, 0 }
elseif token < highest or token == 0 then -- 0 only asks
  return { 0, highest }
elseif token > highest + DAY then -- no lock has issued it, unless the clock says so (H62)
  local T = redis.call('TIME')
  if token > T[1] * 1000000 + T[2] + DAY then
    return { 7, highest }
  end
end
redis.call('SET', fence, '1:' .. string.format('%.0f', token), 'PX', ttl)
if value then
  redis.call('SET', resource, value)
end
return { 1, token }
