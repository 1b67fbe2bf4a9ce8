-- limiter_reserve: what gcra and window have in common: their first arguments, and what they
-- refuse.
--
-- reads: now_us, config, record, ours
-- sets: most, id
local most, id = tonumber(ARGV[2]), tonumber(ARGV[3])
if record and not ours then
  local theirs = string.match(record, '^1:%a:%d+:%d+:%d+:[01]%.?%d*|')
  local other = theirs ~= config and theirs or nil
  return { other and 9 or 8, now_us, other }
elseif now_us > ARGV[4] * 1000 then
  return { 4, now_us }
end
