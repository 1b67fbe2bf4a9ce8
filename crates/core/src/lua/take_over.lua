-- take_over: the common head of adopt and split, in which an attempt takes over (a part
-- of) another's hold: what they read, and the answers if there is nothing to do.
--
-- reads: now_us, now, token, not_after, mark_of
-- sets: lock, id, lease, ttl, old, ends, mark
local lock, id, lease, ttl, old = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local scores = redis.call('ZMSCORE', lock, '%TOKEN%', id, old, mark_of .. old)
local last, mark = tonumber(scores[1] or 0), scores[4] -- the token of the last exclusive hold
local mine, ends = tonumber(scores[2] or 0), tonumber(scores[3] or 0) -- an earlier copy may have done it
if last == 0 and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
elseif mine >= %TOMB% then
  return { 5, now_us }
elseif mine > now then
  return { 1, now_us, token, math.floor(mine) - now, 0, tonumber(redis.call('ZSCORE', lock, '%WEIGHT%' .. id) or nil) }
elseif now > not_after then
  return { 4, now_us }
elseif mine ~= 0 or ends <= now or ends >= %TOMB% or (token > 0 and last ~= token) then
  local taken = token > 0 and last > token
  return { 3, now_us, redis.call('ZSCORE', lock, '%FORCED%' .. old) and 3 or taken and 2 or 1 }
end
