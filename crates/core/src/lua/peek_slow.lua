-- peek, of a latch that exists. The contract is in peek_fast.lua, the functions are in the engine's
-- parts.
local first, last = '-inf', '(0'
if scores[3] then -- somebody is left of generations that are over
  first = %BASE% + scores[3] * %CROWD%
  last = first + %CROWD% - 1
end
local waiting = redis.call('ZCOUNT', lock, first, last)
local places = redis.call('ZRANGEBYSCORE', lock, first, last, 'WITHSCORES', 'LIMIT', 0, most)
local waiters = {}
for i = 1, #places, 2 do
  local unseen = (math.floor(now / %UNIT%) - places[i + 1]) % %CHANCE%
  if unseen > %PATIENCE% and unseen <= %CHANCE% - %STEPPED% then
    waiting = waiting - 1
  else
    waiters[#waiters + 1] = places[i]
  end
end
local number = tonumber(redis.call('ZSCORE', lock, '%GENERATION%'))
local counter = made % 2 == 1 and '%LEFT%*' or '%LEFT%' .. string.format('%d', made / 2)
local remaining = math.floor(redis.call('ZSCORE', lock, counter) or 1) - 1
return { 1, number, remaining, math.floor(made / 2), waiting, waiters }
