-- end: gives up the attempt's hold or place, and hands over to the next waiters, or keeps the hold
-- for a time. This part has a shortcut for a record that nobody else is in. hand_over.lua has the
-- usual hand-over. The engine's parts and end_slow.lua follow below the early returns.
--
-- KEYS[1]  lock       zset  <prefix>:lock:{<name>}
-- ARGV[1]  id         id of the attempt that ends
-- ARGV[2]  capacity   of the primitive, as in acquire
-- ARGV[3]  ttl        retention, ms: how long a token that is ahead of the clock is kept beyond that
-- ARGV[4]  not_after  server's clock, ms: the latest that a copy of its acquire may still ask for; 0, or left out: none is
--                     under way
-- ARGV[5]  keep       what it holds stays in use for this long from now, ms, under an id that nobody renews; left out or
--                     empty: it is free at once
-- ARGV[6]  into       id of a counted hold, which gets what the attempt holds, if it holds itself; left out: none
--
-- Returns  {0, more, refused}  the attempt had nothing
--          {1, more, refused}  it held
--          {2, more, refused}  it waited
--          {3, more, refused}  the attempt had nothing: its hold was forced open
--          {8, 0, 0}           not our record, or another schema version
--          0 or 1              from the shortcuts: the same as {0, 0, 0} or {1, 0, 0}
local lock, id, capacity = KEYS[1], ARGV[1], ARGV[2]
local plain = (ARGV[4] or '0') == '0' and not ARGV[5]
local low = redis.call('ZRANGE', lock, '0', capacity == '1' and '1' or '3')
-- shortcut: nobody else holds or waits, and there are no marks but of what is in use, and how much there is
if plain and low[1] == id and low[2] == '%TOKEN%' then
  return redis.call('ZREM', lock, id)
elseif plain and low[#low] == '%TOKEN%' and low[#low - 1] == id then
  local marks = low[1] .. (low[4] and low[2] or '')
  if marks == '%USED%' or marks == '%USED%%CAPACITY%' or marks == '%CAPACITY%%USED%' then
    redis.call('ZREM', lock, id, '%USED%', '%START%' .. id)
    return 1
  end
end
-- end of shortcut
local ttl, not_after = tonumber(ARGV[3]), tonumber(ARGV[4] or 0)
local kin, weight = string.match(id, '^%d+([^:]*):(%d+)', 24)
