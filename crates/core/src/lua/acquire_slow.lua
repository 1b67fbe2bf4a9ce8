-- acquire, where the record has to be settled, or knows the attempt. The contract is in
-- acquire_fast.lua, the functions are in the engine's parts.
--
-- The first line that applies decides the reply. The record is settled, and freed weight granted,
-- after the second line.
--    8     the record is not ours
--    7     the token floor is more than a day ahead
--    5     the attempt has ended
--    2, 3  its hold is over, and more is over than one step can settle: it is to ask again
--    1     it already holds: returns its hold, and extends nothing
--    4     late
--   11     an upgrade of a hold that has ended
--    1, 5   an upgrade, and nobody else holds, or it was granted before; 5: a later upgrade of the same hold was granted
--    2     it already waits: its place is refreshed
--    9, 13  made with another capacity; with another rate; or set to that by a handle with the same version
--   10     the weight is above the capacity
--    1     its owner holds: a re-entry overtakes the queue
--    3, 6, 2  everything is in use, or an upgrade, or others wait before it: it does not wait; the queue is full; queued
--    3      it does not wait, and more is over than one step can settle: it is to ask again
--    1, 3   drain: takes what is free and may start now; nothing is
--   12     the rate would let it start too late
--    1     it fits
--    3, 6, 2  it does not fit: as above
local not_after = tonumber(ARGV[6])
local step = new_step(ttl, read_capacity(capacity))
local made_with = step.capacity
floor = tonumber(floor)
local kin = string.match(id, '^%d+([^:]*):', 24) or ''
local base, counter
local asks = { id } -- and the mark of the upgrade and its base
if string.byte(kin) == 94 then -- '^'
  base, counter = base_of(id)
  asks = { id, '%UPGRADED%' .. base, base }
end
local place, mark, base_ends
local function note(of_id, of_mark, of_base)
  place, mark, base_ends = tonumber(of_id or 0), tonumber(of_mark or nil), tonumber(of_base or 0)
end
note(read(step, unpack(asks)))
if not step.token and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
elseif floor > now_us + 86400000000 then
  return { 7, now_us }
end
redis.call('ZADD', lock, 'XX', 'GT', '0', '%TOKEN%') -- changes nothing; refused when memory is full (H40)
if step.stored and now <= not_after and (step.stored % 2 > 0 or version > 0) then
  ttl = math.max(ttl, keep)
  step.ttl = ttl
  if step.stored % 1 < version then
    set_pace(step, read_pace(pace))
    set_capacity(step, made_with, version)
    commit(lock, step)
  end
end
if place < 0 and now <= not_after then -- seen now, so that this very call does not drop it
  add(step, renewed(place, polls), id)
  commit(lock, step)
end
settle(step)
hand_on(step)
note(unpack(redis.call('ZMSCORE', lock, unpack(asks))))
look(step)

-- Sets a token above the floor, which a grant by message does not know.
local function above_floor()
  if step.token <= floor then
    set_token(step, floor)
  end
  return step.token
end

local reply
local rate, stored = step.rate, step.stored
local refuses = stored and stored % 2 == version -- other numbers than it was made with
if place >= %TOMB% then
  reply = { 5, now_us }
elseif place > 0 and place <= now then -- a hold that is over, and that this step did not come to
  reply = { room > 0 and 2 or 3, now_us, 0, 1 }
elseif place > 0 then -- a replay, or a grant whose message was lost: the same token, nothing extended (H26)
  local exclusive = not step.counted and weight >= step.capacity
  reply = { 1, now_us, exclusive and above_floor() or 0, math.floor(place) - now, place % 1 > 0 and 1 or 0 }
  if rate or room < 0 then
    local start = rate and tonumber(redis.call('ZSCORE', lock, '%START%' .. id) or 0)
    reply[6], reply[7] = held(step, id), start and math.max(math.ceil(math.min(start - now_us, rate.window)), 0)
  end
elseif now > not_after then -- a copy that was stuck on the way must not even refresh a place (H35)
  reply = { 4, now_us }
elseif base and (base_ends <= now or base_ends >= %TOMB%) then
  reply = { 11, now_us, redis.call('ZSCORE', lock, '%FORCED%' .. base) and 3 or 1 }
elseif base and (mark or step.used == held(step, base)) then
  if not mark or mark < counter then -- an earlier upgrade of this hold that is being given up has done it: this one goes on
    leave(step, id, '', place)
    upgrade(step, base, counter, floor)
    commit(lock, step)
    tidy(lock, step)
  elseif mark == counter then
    above_floor()
  end
  reply = mark and mark > counter and { 5, now_us } or { 1, now_us, step.token, math.floor(base_ends) - now, 0 }
elseif place < 0 then
  add(step, renewed(place, polls), id)
  live(step, ttl)
  reply = { 2, now_us, step.wake, step.more }
elseif refuses and made_with ~= step.capacity then
  reply = { 9, now_us, step.capacity }
elseif refuses and not same_pace(rate, read_pace(pace)) then
  reply = { 13, now_us }
elseif room >= 0 and weight > step.capacity then
  reply = { 10, now_us, step.capacity }
elseif base and room > 0 then
  look_again(step)
  raise_next(step, 1)
  add(step, renewed(%BASE% + front() * %TICKET%, polls), id)
  live(step, ttl)
  reply = { 2, now_us, step.wake, step.more }
elseif base then
  reply = { 3, now_us, step.wake, step.more }
elseif room <= 0 and step.unsettled then
  reply = { 3, now_us, 0, 1 }
else
  top = step.counted and top or redis.call('ZRANGE', lock, '-2', '-1')
  local function make_room(waiting)
    return sweep(step, waiting)
  end
  reply = answer(lock, id, weight, capacity, lease, ttl, room, pace, patience, floor, polls, ahead, now_us, now, top,
    version, keep, make_room)
  if step.more == 1 and type(reply) == 'table' and reply[1] == 2 then
    reply[4] = 1
  end
end
commit(lock, step)
step.refused = send(step.mail) and 1 or 0
return reply
