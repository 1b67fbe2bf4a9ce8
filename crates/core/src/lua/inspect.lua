-- inspect: lists holders and waiters. Changes nothing. clock.lua stands in front.
--
-- KEYS[1]  lock   zset  <prefix>:lock:{<name>}
-- ARGV[1]  most   most waiters (and holders) to list
-- What is seldom said comes last, and may be left out:
-- ARGV[2]  skip   of a counted primitive: that many holds that are over were added up by earlier calls
-- ARGV[3]  as_of  server's clock of the first of these calls, ms; empty: now
-- ARGV[4]  from   how many holders, and how many waiters, not to list
--
-- Returns  {0}                                            there is no record
--          {1, stamp_us, token, queued, holders, waiters, used, stored, weights, holds, ended, over, claims, seen}
--              holders: id, end in ms, id, end, ...; waiters: id, id, ...; used: weight of shared holders; stored: the
--              capacity in the record, doubled, and one more if it was resized; 0: there is none; weights: of the holders;
--              holds: how many there are; ended: of a counted primitive, how many are over and still in the record, and
--              `used`; over: what a thousand of them have; claims: of each holder 0, or of a claim
--              how many were missed before, and 1; seen: how long ago each waiter showed a sign of life, ms
--          {8}                                            not our record, or another schema version
local lock, most, from = KEYS[1], tonumber(ARGV[1]), ARGV[4] or 0

local marks = redis.call('ZMSCORE', lock, '%TOKEN%', '%USED%', '%CAPACITY%')
local used, stored = tonumber(marks[2] or 0), tonumber(marks[3] or 0)
if not marks[1] then
  return { redis.call('ZCARD', lock) == 0 and 0 or 8 }
end

-- What these have, whose ids are `distance` entries apart.
local function weights_of(list, distance)
  local members, weights = {}, {}
  for i = 1, #list, distance do
    members[#members + 1] = (stored > 0 and '%WEIGHT%' or '%UPGRADED%') .. list[i]
  end
  local known = members[1] and redis.call('ZMSCORE', lock, unpack(members))
  for i = 1, #members do
    local own = tonumber(string.match(list[(i - 1) * distance + 1], ':(%d+):%d+:%d+$') or 1)
    weights[i] = known[i] and (stored > 0 and tonumber(known[i]) or used) or own -- one that was upgraded has all
  end
  return weights
end

local holders = redis.call('ZRANGEBYSCORE', lock, string.format('(%d', now), '(%TOMB%', 'WITHSCORES', 'LIMIT', from, most)
local claims = {}
for i = 2, #holders, 2 do
  claims[i / 2] = holders[i] % 1 * %CLAIM_PARTS%
  holders[i] = math.floor(holders[i])
end
local ended, over = 0, 0
if stored > 0 then -- nobody settled since those ended
  local as_of = (ARGV[3] or '') ~= '' and ARGV[3] or string.format('%d', now)
  ended = redis.call('ZCOUNT', lock, '%HOLDER%', as_of)
  for _, weight in ipairs(weights_of(redis.call('ZRANGEBYSCORE', lock, '%HOLDER%', as_of, 'LIMIT', ARGV[2] or 0, 1000), 1)) do
    over = over + weight
  end
end
local places, waiters, seen = redis.call('ZRANGEBYSCORE', lock, '-inf', '(0', 'WITHSCORES', 'LIMIT', from, most), {}, {}
for i = 1, #places, 2 do
  local unseen = ((now - now % %UNIT%) / %UNIT% - places[i + 1]) % %CHANCE%
  waiters[#waiters + 1] = places[i]
  seen[#seen + 1] = unseen > %CHANCE% - %STEPPED% and 0 or unseen * %UNIT% -- the clock was set back: just now
end
local queued, holds = redis.call('ZCOUNT', lock, '-inf', '(0'), redis.call('ZCOUNT', lock, string.format('(%d', now), '(%TOMB%')
return { 1, now_us, tonumber(marks[1]), queued, holders, waiters, used, stored, weights_of(holders, 2), holds, ended, over, claims, seen }
