-- numbers: sets how much a counted primitive has, and its rate. The score of `CAPACITY` is twice the
-- capacity, one more if it was set by hand since, and the fraction of the version that set it.
--
-- reads: now_us

-- What was reserved at another rate counts as a burst that is used up, at most; at the same one it stays.
local function set_pace(step, new)
  local old = step.rate
  if new then
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

-- `origin`: what is added to twice the capacity.
local function set_capacity(step, capacity, origin)
  step.capacity, step.stored = capacity, 2 * capacity + origin
  add(step, step.stored, '%CAPACITY%')
end
