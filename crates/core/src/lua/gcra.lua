-- gcra: reserve a slot by GCRA, or say when there would be one. The debt is what is admitted and has not come back yet, as
-- the time that it takes to come back: q µs and r/n µs, both whole, so that nothing is rounded however fast or slow the rate.
--
-- KEYS[1]   limiter    string  <prefix>:limiter:{<name>}  config .. at, q, r, last; see docs/design.md
-- ARGV[1]   config     `1:g:<n>:<period µs>:<burst>:<1: set by set_rate>|`; the 1 in front is the schema version
-- ARGV[2]   n          permits per period
-- ARGV[3]   cost_q     of this call, whole µs
-- ARGV[4]   cost_r     and n-ths of a µs
-- ARGV[5]   limit_q    what the debt may be at most when a slot comes, likewise
-- ARGV[6]   limit_r
-- ARGV[7]   most       longest wait for the slot, µs; 0: now or not at all; -1: change nothing, only say
-- ARGV[8]   id         of the attempt, a number below 2^53; not 0 unless most is -1
-- ARGV[9]   not_after  server's clock, ms; later the answer is `late` and nothing changes (H35)
-- ARGV[10]  ttl        life of the key, ms
--
-- Returns  {1, stamp_us, wait_us, q, r, before}  the slot is reserved, so long from now; the debt with it; the last id before
--          {3, stamp_us, wait_us, q, r}          refused: so long it would have been; the debt
--          {4, stamp_us}                         late
--          {8, stamp_us}                         not our record, or another schema version (H75)
--          {9, stamp_us, config}                 made with another rate or algorithm: this one
--          {10, stamp_us}                        config says `set by set_rate`, and there is no record that was
local key, config, n = KEYS[1], ARGV[1], tonumber(ARGV[2])
local most, id = tonumber(ARGV[7]), tonumber(ARGV[8])

local T = redis.call('TIME') -- once (H50)
local now = T[1] * 1000000 + T[2]

local record = redis.call('GET', key) -- raises WRONGTYPE before any write (H41)
local at, q, r, last = now, 0, 0, 0
if record then
  if string.sub(record, 1, #config) ~= config or #record ~= #config + 32 then
    local theirs = string.match(record, '^1:%a:%d+:%d+:%d+:[01]|')
    if theirs and theirs ~= config then
      return { 9, now, theirs }
    end
    return { 8, now }
  end
  at, q, r, last = struct.unpack('>dddd', record, #config + 1)
  if now > at then
    q = q - (now - at)
    if q < 0 then
      q, r = 0, 0
    end
  end
elseif string.sub(config, -2) == '1|' then
  return { 10, now }
end
if now > ARGV[9] * 1000 then
  return { 4, now }
end

local cost_q, cost_r = tonumber(ARGV[3]), tonumber(ARGV[4])
if most >= 0 and last == id then -- a copy of this call reserved just before: what it has (H27)
  cost_q, cost_r = 0, 0
end
local wait = q + cost_q - ARGV[5] + math.ceil((r + cost_r - ARGV[6]) / n)
if wait < 0 then
  wait = 0
end
if wait > most then
  if now < at and most >= 0 then -- the clock was set back: time goes on from here, or it would stand still until then (H49)
    redis.call('SET', key, config .. struct.pack('>dddd', now, q, r, last), 'PX', ARGV[10])
  end
  return { 3, now, wait, q, r }
end
q, r = q + cost_q, r + cost_r
if r >= n then
  q, r = q + 1, r - n
end
redis.call('SET', key, config .. struct.pack('>dddd', now, q, r, id), 'PX', ARGV[10]) -- refused when memory is full (H40)
return { 1, now, wait, q, r, last == id and 0 or last }
