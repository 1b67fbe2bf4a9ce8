-- resize: the contract is in resize_fast.lua, the functions are in the engine's parts.
local step = new_step(ttl, read_capacity(capacity))
local asked = step.capacity
read(step)
if not step.token and redis.call('ZCARD', lock) > 0 then
  return { 8, now_us }
elseif now > not_after then
  return { 4, now_us }
end
redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%') -- refused when memory is full (H40)
if what == 'pace' or not step.stored then
  local old, new = step.rate, read_pace(pace)
  if new then
    -- What was reserved at another rate counts as a burst that is used up, at most; at the same one it stays.
    new.arrival = old and old.arrival or now_us
    if not same_pace(old, new) then
      new.arrival = math.min(new.arrival, now_us + new.burst * new.interval)
    end
    add(step, new.interval, '%INTERVAL%')
    add(step, new.burst, '%BURST%')
    add(step, new.window, '%PERIOD%')
    add(step, new.arrival, '%ARRIVAL%')
    live(step, math.ceil((new.arrival - now_us) / 1000))
  else
    step.adds = {} -- an arrival that was cut
    for _, member in ipairs({ '%INTERVAL%', '%BURST%', '%PERIOD%', '%ARRIVAL%' }) do
      drop(step, member)
    end
  end
  step.rate = new
end
if what ~= 'pace' or not step.stored then
  step.capacity, step.stored = asked, 2 * asked
end
add(step, step.stored + 1 - step.stored % 2, '%CAPACITY%')
live(step, ttl)
commit(lock, step)
settle(step)
hand_on(step)
step.refused = send(step.mail) and 1 or 0
return { 1, now_us, step.more, step.refused }
