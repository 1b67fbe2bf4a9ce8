-- latch_over: ends a generation of a latch: releases its waiters and updates the record.
--
-- reads: lock, now_us, now, generation, memory

-- All who wait: their places go, and each of their clients gets one message.
local function release(step, kind)
  local waiting = redis.call('ZRANGEBYSCORE', lock, '-inf', '(0')
  if not waiting[1] then
    return
  end
  redis.call('ZREMRANGEBYSCORE', lock, '-inf', '(0')
  local one_of = {}
  for i = 1, #waiting do
    one_of[string.sub(waiting[i], 1, 22)] = waiting[i]
  end
  for _, who in pairs(one_of) do
    post(lock, step.mail, kind .. ' ', who, string.format(' %d %d', generation, now_us))
  end
end

-- The record of a latch that has just come to zero lives for so long, whatever was asked for before: but not less than its marks.
local function complete(step)
  release(step, 'd')
  local last = redis.call('ZREVRANGEBYSCORE', lock, %MICROS%, %TOMB%, 'WITHSCORES', 'LIMIT', 0, 1)
  redis.call('PEXPIRE', lock, math.max(memory, last[1] and math.ceil(last[2] - %TOMB% - now) or 0))
end
