-- limiter_refund: what gcra_refund and window_refund have in common: which reservations they give
-- back, newest first. The last one goes if it is named, then the one before it, and so on.
-- `given`: where their arguments begin.
--
-- reads: key, record, ours, each
-- sets: args, given, last
if not ours then
  return { record and 8 or 1, 0 }
end
local args, named, given = ARGV, {}, {}
for i = 2, #args, each do
  named[tonumber(args[i])] = i
end
while named[last] do
  local i = named[last]
  named[last] = nil
  given[#given + 1] = i
  last = tonumber(args[i + 1])
end
if not given[1] then
  return { 1, 0 }
end
-- Allowed when memory is full, and so is the rest after it (H40).
redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), 1))
