-- take_over: the common head of adopt and split, in which an attempt takes over (a part
-- of) another's hold.
--
-- reads: not_after, mark_of
-- sets: lock, id, lease, ttl, old, now_us, now, last, mine, ends, mark
local lock, id, lease, ttl, old = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local T = redis.call('TIME') -- once (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000
local scores = redis.call('ZMSCORE', lock, '%TOKEN%', id, old, mark_of .. old)
local last, mark = tonumber(scores[1] or 0), scores[4] -- the token of the last exclusive hold
local mine, ends = tonumber(scores[2] or 0), tonumber(scores[3] or 0) -- an earlier copy may have done it
if last == 0 and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
end

-- The answer if there is nothing to do any more.
local function answered(token)
  if mine >= %TOMB% then
    return { 5, now_us }
  elseif mine > now then
    return { 1, now_us, token, math.floor(mine) - now, 0 }
  elseif now > not_after then
    return { 4, now_us }
  end
end
