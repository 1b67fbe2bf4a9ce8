-- tick, when the shortcut does not apply. The contract is in tick_fast.lua, the functions are in
-- the engine's parts.
local function renew(step, fresh, id, score, token, lease, op)
  -- A token is good for an exclusive hold only: not if others share it, as after an upgrade that was undone.
  local is_shared = step.shared > 0 and (step.counted or step.shared < step.capacity)
  if score < %HOLDER% or score >= %TOMB% or token > 0 and (step.token ~= token or is_shared) then
    if redis.call('ZSCORE', lock, '%FORCED%' .. id) then
      return { 5, 3 }
    end
    return { 5, token > 0 and (step.token or 0) > token and 2 or 1 }
  end
  live(step, step.ttl)
  if op == 'x' then
    redis.call('ZADD', lock, 'GT', lease, '%EXTENDED%' .. id)
  end
  if score % 1 > 0 or now + lease > score then
    score, step.wake = now + lease, nil
    fresh[id] = score
    add(step, string.format('%d', score), id)
  end
  return { 1, math.floor(score) - now }
end

-- Notes that those who wait live. The claims that they missed stay counted, whether they listen or poll: a client that ticks
-- for a future that nobody polls lives, but it must not make the others wait forever.
local function refresh(step, of, ids, scores)
  local places = {}
  for i, n in ipairs(of) do
    local op, place = items[n * 6 - 5], places[ids[i]] or tonumber(scores[i] or 0)
    if place < 0 and (op == 'w' or op == 'p') then
      local chance = math.floor(place % %TICKET% / %CHANCE%)
      if chance % %POLLS% == 0 then
        chance = op == 'p' and %POLLS% or 0
      end
      local now_at = renewed(place, chance)
      places[ids[i]] = tonumber(now_at)
      add(step, now_at, ids[i])
    end
  end
end

local function look_for(step, id, score)
  if score == 0 or score >= %TOMB% and score <= %TOMB% + now then
    return { 4 }
  elseif score < 0 and step.capacity == 0 and step.next_ticket
    and math.floor((score - %BASE%) / %CROWD%) ~= step.next_ticket then
    return { 4 } -- of a latch: this generation is over, and the place has not been removed yet
  elseif score >= %TOMB% then
    return { 5, 1 }
  elseif score > 0 and score <= now then -- it is over, and this step did not come to it
    return { 3, 0, 1 }
  elseif score > 0 then
    local exclusive = not step.counted and tonumber(string.match(id, ':(%d+):%d+:%d+$')) >= step.capacity
    local start = step.rate and tonumber(redis.call('ZSCORE', lock, '%START%' .. id) or 0)
    local delay = start and math.max(math.ceil(math.min(start - now_us, step.rate.window)), 0)
    return { 2, exclusive and step.token or 0, math.floor(score) - now, score % 1 > 0 and 1 or 0, delay }
  end
  if step.stored and step.stored % 2 > 0 and tonumber(string.match(id, ':(%d+):%d+:%d+$')) > step.capacity then
    commit(lock, step) -- its place was refreshed
    leave(step, id, '', score) -- fewer were set since it came: it asks again, and learns why
    commit(lock, step)
    tidy(lock, step)
    return { 4 }
  end
  live(step, step.ttl)
  if not step.wake then -- a hold was renewed
    commit(lock, step)
    look(step)
  end
  return { 3, step.wake, step.more }
end

local items_of, order = {}, {} -- key -> what the shortcut left of it
for _, n in ipairs(rest) do
  local key = keys[n]
  if not items_of[key] then
    order[#order + 1], items_of[key] = key, {}
  end
  table.insert(items_of[key], n)
end
lock = keys[1]
local step = new_step(0)
for _, key in ipairs(order) do
  local of, ids, scores, fresh = items_of[key], {}, {}, {} -- `fresh`: id -> its end, of those renewed here
  local members = redis.pcall('ZCARD', key)
  local is_ours = type(members) == 'number'
  lock = key
  if is_ours then
    for i, n in ipairs(of) do
      ids[i] = items[n * 6 - 4]
    end
    step.capacity, step.counted = read_capacity(items[of[1] * 6])
    scores = { read(step, unpack(ids)) }
    is_ours = members == 0 or step.token
  end
  if is_ours then
    step.alive = {}
    for i, n in ipairs(of) do
      step.alive[ids[i]] = step.alive[ids[i]] or string.find(items[n * 6 - 5], '[wp]')
    end
    refresh(step, of, ids, scores) -- everybody here is alive: before anything is settled, so that this call drops none of them
    step.ttl = tonumber(items[of[1] * 6 - 1])
    local is_due = settle(step)
    if is_due or step.next_ticket and (step.used < step.capacity or step.owner ~= '') then
      commit(lock, step)
      hand_on(step)
      scores = redis.call('ZMSCORE', key, unpack(ids))
      refresh(step, of, ids, scores) -- a claim may have gone back to the queue
      look(step)
    end
  end
  for i, n in ipairs(of) do
    local op, score = items[n * 6 - 5], fresh[ids[i]] or tonumber(scores[i] or 0)
    step.ttl = tonumber(items[n * 6 - 1])
    if type(members) == 'table' then -- WRONGTYPE: this key's alone
      replies[n + 2] = { 9, members.err }
    elseif not is_ours then
      replies[n + 2] = { 8 }
    elseif op == 'w' or op == 'p' then
      replies[n + 2] = look_for(step, ids[i], score)
    else
      replies[n + 2] = renew(step, fresh, ids[i], score, tonumber(items[n * 6 - 3]), tonumber(items[n * 6 - 2]), op)
    end
  end
  commit(lock, step)
end
step.refused = send(step.mail) and 1 or 0
replies[2] = step.refused
return replies
