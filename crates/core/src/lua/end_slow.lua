-- end, when a shortcut does not apply. The contract is in end_fast.lua, the functions are in the
-- engine's parts.

-- Tells the head of the queue when the claim before it ends.
local function tell_head()
  local head = redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')
  local claim = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'WITHSCORES', 'LIMIT', 0, 1)
  if tonumber(head[2] or 0) < 0 and claim[1] and claim[2] % 1 > 0 then
    tell(head[1], math.max(math.ceil(claim[2] - now), 0))
  end
end

read_capacity(capacity)
if redis.call('ZCARD', lock) > 0 and not redis.call('ZSCORE', lock, '%TOKEN%') then
  return { 8, 0, 0 }
end
settle()
for i = #record.lapsed, 1, -1 do
  if record.lapsed[i][1] == id then
    table.remove(record.lapsed, i)
  end
end

local score = tonumber(redis.call('ZSCORE', lock, id) or 0)
local base, counter = base_of(id)
local had = 0
local first = false
if base and tonumber(redis.call('ZSCORE', lock, '%UPGRADED%' .. base) or 0) == counter then -- the hold stays, and is shared again
  redis.call('ZREM', lock, '%UPGRADED%' .. base)
  set_shared((fields(base)))
  record.used = record.shared
  had = 1
elseif score < 0 then
  first = redis.call('ZRANK', lock, id) == 0
  leave_queue(id, score)
  had = 2
elseif score > 0 and score < %TOMB% then
  local weight_of = give_back(id)
  record.used = math.max(record.used - weight_of, record.shared)
  if record.owner then -- it may have other holds
    measure()
  end
  had = 1
end
if not_after > 0 then -- a copy of the acquire may still be under way (H14, H35)
  local ends = math.max(now, not_after) + 1000
  redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%')
  redis.call('ZADD', lock, 'GT', %TOMB% + ends, id) -- an older copy of this request must not shorten it
  keep(math.max(ttl, ends - now))
end
hand_on()
if first then -- it may have been told when the claim before it ends; now that is for the next one to know
  tell_head()
end
send_mail()
return { had, record.more, refused }
