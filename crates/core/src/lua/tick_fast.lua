-- tick: renews holds and refreshes places, many in one request. This part has a shortcut for holds
-- that just go on. clock.lua stands in front; the engine's parts and tick_slow.lua follow below the
-- early return.
--
-- KEYS[...]  keys      zset  <prefix>:lock:{<name>}  one per item; a key may occur more than once
-- ARGV[...]  items     six per key: op, id, token, lease, ttl, capacity (as in acquire). op is
--                      h  hold: renew (or confirm) it for `lease` ms; `token` must be its own, 0 for a shared hold
--                      d  the same, and certainly a write, so that a WAIT behind it waits for the hold
--                      x  as h, with a lease that is longer than the one in the id
--                      w  waiter: refresh its place; its inbox works
--                      p  the same, but its inbox is down and it polls
--
-- Returns  {stamp_us, refused, item, ...}; an item is
--          {1, left_ms}                held
--          {2, token, left_ms, claim}  granted: the message may have been lost (H2)
--          {2, 0, left_ms, claim, delay_us}  the same of a primitive with a rate, to start then
--          {3, wake_ms, more}          queued; wake_ms: until the first hold ends, -1: none
--          {4}                         gone: not in the queue
--          {5, why}                    lost; why: 1 it ended, 2 somebody else had it since, 3 it was forced
--          {8}                         not our record, or another schema version
--          {9, text}                   an error of this key alone
local keys, items = KEYS, ARGV
local replies = { now_us, 0 }
local rest = {}

-- A first write that removes nothing and is allowed when memory is full: then the rest is, too (H40).
redis.pcall('ZREMRANGEBYSCORE', keys[1], 1, 0)
for i = 1, #keys do
  local at = i * 6 - 5
  local key, op, id = keys[i], items[at], items[at + 1]
  local in_order = false
  -- shortcut: a hold whose record need not be settled
  local score = (op == 'h' or op == 'd') and redis.pcall('ZSCORE', key, id)
  score = type(score) == 'string' and tonumber(score) or 0
  if score > now and score < %TOMB% then
    local token, known = tonumber(items[at + 2]), nil
    if token > 0 then
      known = redis.call('ZMSCORE', key, '%TOKEN%', '%USED%')
    end
    if token == 0 or tonumber(known[1]) == token
      and (not known[2] or tonumber(known[2]) >= (tonumber(items[at + 5]) or math.huge)) then
      in_order = true
      local lease, ttl = tonumber(items[at + 3]), tonumber(items[at + 4])
      local life = redis.call('PTTL', key)
      if life < ttl then
        redis.call('PEXPIRE', key, ttl + math.floor(ttl / 8)) -- more than need be, so that it is seldom due
      elseif op == 'd' then
        redis.call('PEXPIRE', key, life)
      end
      if score % 1 > 0 or now + lease > score then -- never shorten (an extension may reach further)
        redis.call('ZADD', key, 'XX', now + lease, id)
        score = now + lease
      end
      replies[i + 2] = { 1, math.floor(score) - now }
    end
  end
  -- end of shortcut
  if not in_order then
    rest[#rest + 1] = i
  end
end
if not rest[1] then
  return replies
end

local lock
