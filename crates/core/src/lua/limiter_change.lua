-- limiter_change: what gcra_change and window_change have in common: what they refuse, and a rate
-- that is set already. The others convert what is behind the old rate.
--
-- reads: now_us, key, kind, size, record, ours
-- sets: theirs, n, period, burst
local parts = '^(1:(%a):(%d+):(%d+):(%d+):[01]|)'
local theirs, algorithm, n, period, burst = string.match(record or '', parts)
if record and (algorithm ~= kind or #record ~= #theirs + size) then
  local other = algorithm ~= kind and theirs or nil
  return { other and 9 or 8, now_us, other }
elseif now_us > ARGV[2] * 1000 then
  return { 4, now_us }
elseif ours then -- an earlier copy, or somebody else wanted the same
  redis.call('SET', key, record, 'PX', ARGV[3])
  return { 1, now_us }
end
