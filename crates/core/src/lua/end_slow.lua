-- end, when it is not as usual. The contract is in end_fast.lua, the functions are in the engine's
-- parts.
local step, keep = new_step(ttl, read_capacity(capacity)), tonumber(ARGV[5] or '') or 0
local into, into_ends = ARGV[6], 0
local base, counter, own, mark, start
if kin and string.byte(kin) == 94 then -- '^'
  base, counter = base_of(id)
  own, mark = read(step, id, '%UPGRADED%' .. base)
elseif step.counted then
  own, mark, start = read(step, id, '%WEIGHT%' .. id, '%START%' .. id)
else
  own, mark = read(step, id, '%UPGRADED%' .. id)
end
if not step.token and low[1] then
  return { 8, 0, 0 }
end
local score, had, first = tonumber(own or 0), 0, false
if settle(step, id) then
  if base then
    mark = redis.call('ZSCORE', lock, '%UPGRADED%' .. base)
  end
  score = tonumber(redis.call('ZSCORE', lock, id) or 0)
end
if into then
  into_ends = tonumber(redis.call('ZSCORE', lock, into) or 0) -- a tombstone gets nothing: nobody would ever give it back
end
if score == 0 then -- removes nothing: allowed when memory is full, and then what follows is, too (H40)
  redis.call('ZREMRANGEBYSCORE', lock, 1, 0)
end
if base and tonumber(mark or 0) == counter then -- the hold stays, and is shared again
  drop(step, '%UPGRADED%' .. base)
  step.shared = tonumber(string.match(base, ':(%d+):%d+:%d+$'))
  step.used, had = step.shared, 1
elseif score < 0 then
  first = low[1] == id
  leave(step, id, kin, score)
  had = 2
elseif score > 0 and score < %TOMB% and into_ends > now and into_ends < %TOMB% then
  local more = mark or string.match(id, ':(%d+):%d+:%d+$') -- it was split off, and nobody has taken it
  drop(step, id)
  drop(step, '%EXTENDED%' .. id)
  drop(step, '%WEIGHT%' .. id)
  add(step, held(step, into) + more, '%WEIGHT%' .. into)
  had = 1
elseif score > 0 and score < %TOMB% and keep > 0 then -- by another id, so that a late renewal cannot prolong it
  local kept, moved = string.match(id, '^(.+):%d+:%d+$') .. string.format(':%d:0', keep), { { start, '%START%' } }
  moved[2] = { mark, step.counted and '%WEIGHT%' or '%UPGRADED%' }
  drop(step, id)
  drop(step, '%EXTENDED%' .. id)
  add(step, string.format('%d', now + keep), kept)
  for _, it in pairs(moved) do
    if it[1] then
      drop(step, it[2] .. id)
      add(step, it[1], it[2] .. kept)
    end
  end
  live(step, ttl + keep)
  commit(lock, step)
  look(step)
  had, first = 1, true -- it may end sooner than the next waiter knows
elseif score > 0 and score < %TOMB% then
  give_back(step, id, mark, start)
  step.used, step.owner = step.shared, ''
  if kin ~= '' then -- its owner may have other holds
    commit(lock, step)
    look(step)
  end
  had = 1
end
if had == 1 then
  drop(step, '%FORCED%' .. id) -- of an earlier hold of this attempt, which was not handed out
elseif had == 0 and redis.call('ZMSCORE', lock, '%FORCED%' .. id)[1] then -- by no other command than is used above
  had = 3
end
if not_after > 0 then -- a copy of the acquire may still be under way (H14, H35)
  local ends = math.max(now, not_after) + 1000
  if not step.token then
    add(step, now_us, '%TOKEN%')
  end
  drop(step, '%EXTENDED%' .. id) -- a first write that is allowed when memory is full
  add(step, math.max(score, %TOMB% + ends), id) -- an older copy of this request must not shorten it
  live(step, math.max(ttl, ends - now))
end
commit(lock, step)
hand_on(step)
if first then -- it may have been told when the claim, or kept hold, before it ends; now that is for the next one to know
  local next_one = redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')
  local claim = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'WITHSCORES', 'LIMIT', 0, 1)
  if tonumber(next_one[2] or 0) < 0 and claim[1] and (claim[2] % 1 > 0 or string.sub(claim[1], -2) == ':0') then
    post(lock, step.mail, 'w ', next_one[1], string.format(' %d %d', math.max(math.ceil(claim[2] - now), 0), now_us))
  end
end
step.refused = send(step.mail) and 1 or 0
return { had, step.more, step.refused }
