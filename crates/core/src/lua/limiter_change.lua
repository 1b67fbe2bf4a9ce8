-- limiter_change: what gcra_change and window_change have in common: what they refuse, and a rate
-- that is set already. The others convert what is behind the old rate. `written`: what the record is
-- to begin with.
--
-- reads: now_us, key, config, kind, size, record, ours
-- sets: theirs, n, period, burst, written
local parts = '^(1:(%a):(%d+):(%d+):(%d+):[01]%.?(%d*)|)'
local theirs, algorithm, n, period, burst, version = string.match(record or '', parts)
local wants, written = string.match(config, '%.(%d+)|$'), config
if record and (algorithm ~= kind or #record ~= #theirs + size) then
  local other = algorithm ~= kind and theirs or nil
  return { other and 9 or 8, now_us, other }
elseif now_us > ARGV[2] * 1000 then
  return { 4, now_us }
elseif version and version ~= '' then
  if wants and wants - version <= 0 then -- the highest version counts, and the first of equal ones
    return { 1, now_us }
  elseif not wants then -- by hand: remembers what it replaced
    written = string.sub(config, 1, -2) .. '.' .. version .. '|'
  end
end
if ours or theirs == written then -- an earlier copy, or somebody else wanted the same
  local life = math.max(redis.call('PTTL', key), tonumber(ARGV[3]))
  redis.call('SET', key, record, 'PX', string.format('%d', life))
  return { 1, now_us }
end
