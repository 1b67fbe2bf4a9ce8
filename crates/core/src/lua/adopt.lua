-- adopt: a hold goes from one attempt to another, as when a ticket is resumed by another process. One of two wins.
--
-- KEYS[1]  lock       zset  <prefix>:lock:{<name>}
-- ARGV[1]  id         attempt id of the new owner
-- ARGV[2]  lease      ms
-- ARGV[3]  ttl        lease + retention, ms
-- ARGV[4]  old        attempt id in the ticket
-- ARGV[5]  token      in the ticket; 0 for a shared hold
-- ARGV[6]  not_after  server's clock, ms
--
-- Returns  {1, stamp_us, token, left_ms, 0}  adopted, now or by an earlier copy
--          {3, stamp_us, -1}                 the ticket's hold has ended, or was adopted by somebody else, or the time of the
--                                            new one is over
--          {4, stamp_us}                     late
--          {5, stamp_us}                     the new attempt has ended
--          {8, stamp_us}                     not our record, or another schema version
local lock = KEYS[1]
local id, lease, ttl, old = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local token, not_after = tonumber(ARGV[5]), tonumber(ARGV[6])
local T = redis.call('TIME') -- once (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000

local last = tonumber(redis.call('ZSCORE', lock, '%TOKEN%') or 0)
if last == 0 and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
end
local mine = tonumber(redis.call('ZSCORE', lock, id) or 0)
if mine >= %TOMB% then
  return { 5, now_us }
elseif mine > now then
  return { 1, now_us, token, math.floor(mine) - now, 0 }
elseif now > not_after then
  return { 4, now_us }
end
local ends = tonumber(redis.call('ZSCORE', lock, old) or 0)
if mine ~= 0 or ends <= now or ends >= %TOMB% or (token > 0 and last ~= token) then
  return { 3, now_us, -1 }
end
local upgraded = redis.call('ZSCORE', lock, '%UPGRADED%' .. old)
redis.call('ZREM', lock, old, '%EXTENDED%' .. old, '%UPGRADED%' .. old) -- first: allowed when memory is full
redis.call('ZADD', lock, now + lease, id)
if upgraded then
  redis.call('ZADD', lock, upgraded, '%UPGRADED%' .. id)
end
if redis.call('PTTL', lock) < ttl then
  redis.call('PEXPIRE', lock, ttl)
end
return { 1, now_us, token, lease, 0 }
