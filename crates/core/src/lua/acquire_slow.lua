-- acquire, when a shortcut does not apply. The contract is in acquire_fast.lua, the functions are
-- in the engine's parts.
--
-- The first line that applies decides the reply. The record is settled, and freed weight granted,
-- after the second line.
--    8     the record is not ours
--    7     the token floor is more than a day ahead
--    5     the attempt has ended
--    1     it already holds: returns its hold, and extends nothing
--    4     late
--   11     an upgrade of a hold that has ended
--    1, 5   an upgrade, and nobody else holds, or it was granted before; 5: a later upgrade of the same hold was granted
--    2     it already waits: its place is refreshed
--    9, 13  made with another capacity; with another rate
--   10     the weight is above the capacity
--    1     its owner holds: a re-entry overtakes the queue
--    3, 6, 2  everything is in use, or an upgrade, or others wait before it: it does not wait; the queue is full; queued
--    1, 3   drain: takes what is free and may start now; nothing is
--   12     the rate would let it start too late
--    1     it fits
--    3, 6, 2  it does not fit: as above
read_capacity(capacity)
local made_with = capacity
local timed = ahead ~= '0'
weight, floor, polls, ahead = tonumber(weight), tonumber(floor), tonumber(polls), tonumber(ahead)
redis.call('ZADD', lock, 'XX', 'GT', 0, '%TOKEN%') -- changes nothing; refused when memory is full (H40)
if not ours and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
end
if floor > now_us + 86400000000 then
  return { 7, now_us }
end
local place = tonumber(redis.call('ZSCORE', lock, id) or 0)
if place < 0 and now <= not_after then -- seen now, so that this very call does not drop it
  renew_place(id, place, polls)
end
local made_at = read_pace(pace)
settle()
if not record.stored then
  record.rate = made_at
end
hand_on()

local score = tonumber(redis.call('ZSCORE', lock, id) or 0)
local base, counter = base_of(id)
local by = base and tonumber(redis.call('ZSCORE', lock, '%UPGRADED%' .. base) or nil)
local ticket, next
local reply

-- Returns whether its head start puts it before the head of the queue.
local function overtakes()
  if ahead > 0 then
    ticket, next = new_ticket(id, ahead, timed)
  end
  return ticket and ticket < head_ticket()
end

-- Adds its weight and delay to the answer, if they may differ from the weight in its id and from
-- zero.
local function with_weight(answer)
  if record.rate or room < 0 then
    answer[6], answer[7] = held(id), delay_of(id)
  end
  return answer
end

local function granted(token)
  keep(ttl)
  return with_weight({ 1, now_us, token, lease, 0 })
end

if score >= %TOMB% then
  reply = { 5, now_us }
elseif score > 0 then -- a replay, or a grant whose message was lost: the same token, nothing extended (H26)
  local token = 0
  if exclusive(weight) then
    token = tonumber(redis.call('ZSCORE', lock, '%TOKEN%'))
    if token <= floor then
      token = new_token(floor)
    end
  end
  reply = with_weight({ 1, now_us, token, math.floor(score) - now, score % 1 > 0 and 1 or 0 })
elseif now > not_after then -- a copy that was stuck on the way must not even refresh a place (H35)
  reply = { 4, now_us }
elseif base and not holds(base) then
  reply = { 11, now_us }
elseif base and (by or record.used == held(base)) then
  if not by or by < counter then -- an earlier upgrade of this hold that is being given up has done it: this one goes on
    redis.call('ZREM', lock, id)
    upgrade(base, counter, floor)
    tidy()
  elseif by == counter and tonumber(redis.call('ZSCORE', lock, '%TOKEN%')) <= floor then -- granted by a message, which knows no floor
    new_token(floor)
  end
  local left_ms = math.floor(redis.call('ZSCORE', lock, base)) - now
  reply = by and by > counter and { 5, now_us } or { 1, now_us, tonumber(redis.call('ZSCORE', lock, '%TOKEN%')), left_ms, 0 }
elseif score < 0 then
  renew_place(id, score, polls)
  keep(ttl)
  reply = { 2, now_us, wake_in(), record.more }
elseif record.stored and record.stored % 2 == 0 and made_with ~= capacity then
  reply = { 9, now_us, capacity }
elseif record.stored and record.stored % 2 == 0 and not same_pace(made_at) then
  reply = { 13, now_us }
elseif room >= 0 and weight > capacity then
  reply = { 10, now_us, capacity }
elseif not base and record.owner and record.owner == owner_of(id) then -- a re-entry overtakes the queue
  reply = granted(admit(id, weight, now + lease, 0))
elseif record.used >= capacity or base or (redis.call('ZSCORE', lock, '%NEXT%') and not overtakes()) then
  reply = room <= 0 and { 3, now_us, wake_in() } or nil
elseif room < 0 then
  weight = start_now(capacity - record.used)
  if weight < 1 then
    reply = { 3, now_us, wake_in() }
  else
    admit(id, weight, now + lease, 0)
    redis.call('ZADD', lock, weight, '%WEIGHT%' .. id)
    reply = granted(0)
  end
elseif record.rate and record.used + weight <= capacity and not starts_within(weight, tonumber(patience) or record.rate.window) then
  reply = { 12, now_us, math.ceil(slot(weight) - now_us) }
elseif record.used + weight <= capacity then
  reply = granted(admit(id, weight, now + lease, floor))
elseif room == 0 then
  reply = { 3, now_us, wake_in() }
end
if not reply then
  if not ticket then
    ticket, next = new_ticket(id, ahead, timed)
  end
  local waiting = redis.call('ZCOUNT', lock, '-inf', '(0')
  if ticket >= %LAST_TICKET% or (not base and waiting >= room and sweep(waiting) >= room) then
    reply = { 6, now_us }
  else
    enter_queue(id, ticket, next, polls * %CHANCE% + seen_now)
    keep(ttl)
    reply = { 2, now_us, wake_in(), record.more }
  end
end
send_mail()
return reply
