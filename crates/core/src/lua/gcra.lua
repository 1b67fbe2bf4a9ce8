-- gcra: reserve a slot by GCRA, or say when there would be one. The debt is what is admitted and has not come back yet, as
-- the time that it takes to come back: q µs and r/n µs, both whole, so that nothing is rounded however fast or slow the rate.
-- clock.lua, gcra_record.lua and limiter_reserve.lua stand in front.
--
-- KEYS[1]   limiter    string  <prefix>:limiter:{<name>}  config .. at, q, r, last; see docs/design.md
-- ARGV[1]   config     `1:g:<n>:<period µs>:<burst>:<0 or 1>[.<version>]|`; the 1 in front is the schema version. 1: set by
--                      set_rate. With a version: set by a handle whose numbers have this version
-- ARGV[2]   most       longest wait for the slot, µs; 0: now or not at all; -1: change nothing, only say
-- ARGV[3]   id         of the attempt, a number below 2^53; not 0 unless most is -1
-- ARGV[4]   not_after  server's clock, ms; later the answer is `late` and nothing changes (H35)
-- ARGV[5]   keep       how long the key lives after all permits have come back, ms
-- ARGV[6]   n          permits per period
-- ARGV[7]   cost_q     of this call, whole µs
-- ARGV[8]   cost_r     and n-ths of a µs
-- ARGV[9]   limit_q    what the debt may be at most when a slot comes, likewise
-- ARGV[10]  limit_r
-- ARGV[11]  theirs     the rate is the server's, and not the caller's. Left out: it is the caller's
--
-- Returns  {1, stamp_us, wait_us, q, r, before}  the slot is reserved, so long from now; the debt with it; the last id before
--          {3, stamp_us, wait_us, q, r}          refused: so long it would have been; the debt
--          {4, stamp_us}                         late
--          {8, stamp_us}                         not our record, or another schema version (H75)
--          {9, stamp_us, config}                 made with another rate or algorithm: this one
--          {10, stamp_us}                        the rate is the server's, which has none any longer
if not record and ARGV[11] then
  return { 10, now_us }
end
local n, cost_q, cost_r = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
q = now_us > at and q - (now_us - at) or q
if q < 0 then
  q, r = 0, 0
end
if most >= 0 and last == id then -- a copy of this call reserved just before: what it has (H27)
  cost_q, cost_r = 0, 0
end
local wait = math.max(0, q + cost_q - ARGV[9] + math.ceil((r + cost_r - ARGV[10]) / n))
if wait > most then
  if now_us < at and most >= 0 then
    -- The clock was set back: time goes on from here, or it would stand still until then (H49).
    local life = string.format('%d', q / 1000 + ARGV[5])
    redis.call('SET', key, config .. struct.pack('>dddd', now_us, q, r, last), 'PX', life)
  end
  return { 3, now_us, wait, q, r }
end
q, r = q + cost_q, r + cost_r
if r >= n then
  q, r = q + 1, r - n
end
-- Refused when memory is full (H40).
local life = string.format('%d', q / 1000 + ARGV[5]) -- until all permits are back, and the caller's time
redis.call('SET', key, config .. struct.pack('>dddd', now_us, q, r, id), 'PX', life)
return { 1, now_us, wait, q, r, last == id and 0 or last }
