-- step: the state of one run of a script, and what writes it. It reads no variable of the script: a function that gets all it
-- needs as parameters costs 0.1 us, and each variable from outside 0.3 us more. wire/record.rs defines the names in percent
-- signs.
-- What a run knows and is going to write. `ttl`: of the record beyond a lease, ms. `counted`: every hold is shared and without
-- a token, and the record says how much there is. `used`: of the capacity. `owner`: whose the exclusive holds are, as `@owner`,
-- if their ids say so: those do not exclude each other. `shared`: what shared holders have; `recorded`: the same, in the record.
-- `next_ticket`: nothing if nobody waits. `grants`: so many. `life`: the record lives at least this long from now, ms. `more`:
-- 1: something is left to the next step. `refused`: 1: the server refused to publish.
--
-- What is not there at first: `rate`: of a counted primitive: interval, window and arrival, us; burst. `token`: the last one.
-- `stored`: the capacity in the record, twice of it, and one more if it was resized. `wake`: ms
-- until the first hold ends, -1: there is none. `lapsed`: claims that ended unconfirmed and go back to the front. `loose`:
-- kin -> place, of those who left where nobody looked who stands behind them. `doubts`: the entries behind claims
-- that may be a dead one's, and how long those last. `passed`: the last ticket that was passed over, and when.
-- `since`: units since a claim was made that lapsed; `in_doubt`: the same, while that is of account.
-- `alive`: of a tick, the ids of the waiters in it.
-- `unsettled`: there is more that is over, or nobody looked at.
local function new_step(ttl, capacity, counted)
  return {
    ttl = ttl,
    capacity = capacity,
    counted = counted,
    used = 0,
    owner = '',
    shared = 0,
    recorded = 0,
    next_ticket = %FIRST_TICKET%,
    grants = 0,
    adds = {}, -- scores and members
    drops = {}, -- members; one that is dropped and added stays
    mail = {}, -- channel -> lines
    life = 0,
    more = 0,
    refused = 0,
  }
end

-- Writes what changed. What memory that is full allows comes first, and makes it allow the rest (H40).
local function commit(lock, step)
  local adds, drops, life, shared = step.adds, step.drops, step.life, step.shared
  if shared ~= step.recorded then
    step.recorded = shared
    if shared > 0 then
      adds[#adds + 1], adds[#adds + 2] = string.format('%d', shared), '%USED%'
    else
      drops[#drops + 1] = '%USED%'
    end
  end
  if drops[1] then
    redis.call('ZREM', lock, unpack(drops))
    step.drops = {}
  end
  if adds[1] then
    redis.call('ZADD', lock, unpack(adds))
    step.adds = {}
  end
  -- No call shortens the life of a key that others rely on.
  if life > 0 and redis.call('PTTL', lock) < life then
    redis.call('PEXPIRE', lock, life + math.floor(life / 8)) -- more than need be, so that it is seldom due
  end
  step.life = 0
end
