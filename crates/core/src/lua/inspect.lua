-- inspect: lists holders and waiters. Changes nothing. clock.lua stands in front.
--
-- KEYS[1]  lock  zset  <prefix>:lock:{<name>}
-- ARGV[1]  most  most waiters (and holders) to list
--
-- Returns  {0}                                            there is no record
--          {1, stamp_us, token, queued, holders, waiters, used, stored, weights}
--              holders: id, end in ms, id, end, ...; waiters: id, id, ...; used: weight of shared holders; stored: the
--              capacity in the record, doubled, and one more if it was resized; 0: there is none; weights: of the holders
--          {8}                                            not our record, or another schema version
local lock, most = KEYS[1], tonumber(ARGV[1])
local token = redis.call('ZSCORE', lock, '%TOKEN%')
if not token then
  return { redis.call('ZCARD', lock) == 0 and 0 or 8 }
end
local found = redis.call('ZRANGEBYSCORE', lock, '(' .. string.format('%.0f', now), '(%TOMB%', 'WITHSCORES', 'LIMIT', 0, most)
local used = tonumber(redis.call('ZSCORE', lock, '%USED%') or 0)
local stored = tonumber(redis.call('ZSCORE', lock, '%CAPACITY%') or 0)
local function held(who)
  if redis.call('ZSCORE', lock, '%UPGRADED%' .. who) then -- upgraded: it has all
    return used
  end
  return tonumber(redis.call('ZSCORE', lock, '%WEIGHT%' .. who) or string.match(who, ':(%d+):%d+:%d+$') or 1)
end
local holders, weights = {}, {}
for i = 1, #found, 2 do
  holders[i], holders[i + 1] = found[i], math.floor(tonumber(found[i + 1]))
  weights[#weights + 1] = held(found[i])
end
if stored > 0 then
  -- Nobody settled since those ended; 1000 at most, so that it stays short.
  local over = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, now, 'LIMIT', 0, 1000)
  for i = 1, #over do
    used = used - held(over[i])
  end
end
local waiters = redis.call('ZRANGEBYSCORE', lock, '-inf', '(0', 'LIMIT', 0, most)
return { 1, now_us, tonumber(token), redis.call('ZCOUNT', lock, '-inf', '(0'), holders, waiters, used, stored, weights }
