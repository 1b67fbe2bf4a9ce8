-- force_all: ends the holds of a step, for force and steal.
--
-- reads: now_us, now, lock

-- Ends as many holds as a step may, and notifies their holders. Returns how many, and 1 if there are others.
local function force_all(step)
  local holders = redis.call('ZRANGEBYSCORE', lock, %HOLDER%, %TOMB%, 'LIMIT', 0, %GRANTS% + 1)
  local rest = table.remove(holders, %GRANTS% + 1) and 1 or 0
  end_all(step, holders, 1)
  for _, who in ipairs(holders) do
    local most = string.match(who, ':(%d+):%d+$')
    add(step, %TOMB% + now + most + 1000, '%FORCED%' .. who) -- so that a renewal learns why
    live(step, most + 1000)
    post(lock, step.mail, 'f ', who, ' ' .. string.format('%d', now_us))
  end
  commit(lock, step)
  return #holders, rest
end
