-- pump: grants to waiters, from the head of the queue on.
--
-- reads: lock, capacity, ttl, now_us, now, record.used, record.shared, record.counted, record.owner, record.rate, record.lapsed
-- sets: record.more, gone, grants, doubts
local grants = 0 -- in this step, whatever the number of records
local doubts = {} -- who and window: the entry behind a claim that may be a dead one's

-- It asks again, and learns why.
local function drop_place(who, score)
  leave_queue(who, score)
  tell(who, 0)
end

-- The hand-off: a claim on the head's behalf, and a message to it. If the head may be dead, the entry behind is told, too,
-- unless this step grants to that one as well.
local function hand_over(who, score, behind)
  local weight_of, most, window = fields(who)
  local missed = math.floor(score % %TICKET% / %CHANCE%)
  if missed == %POLLS% then
    missed = 0
  end
  window = math.min(window * 2 ^ missed, most)
  keep(window + ttl) -- the head may have set the key's life long ago: a record must not end before its claim
  local token = admit(who, weight_of, now + window + (1 + missed) / %CLAIM_PARTS%, 0)
  gone[who] = true
  unmark_owner(who, score)
  local delay = record.rate and ' ' .. text(delay_of(who)) or ''
  post(who, 'g ' .. string.sub(who, 23) .. ' ' .. text(token) .. ' ' .. text(now_us) .. ' ' .. text(window) .. delay)
  if behind and (missed > 0 or age(score) * %UNIT% > window) then
    doubts[#doubts + 1] = { behind, window }
  end
end

local function tell_doubts()
  for i = 1, #doubts do
    if not gone[doubts[i][1]] then
      tell(doubts[i][1], doubts[i][2])
    end
  end
  doubts = {}
end

-- Whether this step may grant to one more. If not, that one is told to look at once: not every answer has room to say
-- that there is more to do, and the caller may die before it goes on.
local function may_grant(who)
  if grants == BOUND then
    record.more = 1
    gone[who] = true
    tell(who, 0)
    return false
  end
  grants = grants + 1
  return true
end

-- What an upgrade at the head comes to; `true`: it is out of the queue. Its base is a hold that is renewed, so it needs
-- no claim.
local function try_upgrade(who, score)
  local base, counter = base_of(who)
  if not holds(base) then
    drop_place(who, score)
    return true
  elseif record.used == held(base) and record.shared < capacity then
    redis.call('ZREM', lock, who)
    local _, most = fields(who)
    post(who, 'g ' .. string.sub(who, 23) .. ' ' .. text(upgrade(base, counter, 0)) .. ' ' .. text(now_us) .. ' ' .. text(most))
    return true
  end
end

-- Grants from the head of the queue while it fits.
local function pump()
  local skip, passed = 0, {}
  for step = 1, SCAN do
    if record.used >= capacity and not record.owner then
      return
    end
    local head = redis.call('ZRANGE', lock, skip, skip + 1, 'WITHSCORES')
    local who, score = head[1], tonumber(head[2] or 0)
    local behind = tonumber(head[4] or 0) < 0 and head[3] or nil
    if not who or score >= 0 then
      break
    elseif age(score) > %PATIENCE% or (age(score) > %DEAF% and not listens(who, score)) then
      leave_queue(who, score)
    elseif record.counted and fields(who) > capacity then -- resized since
      drop_place(who, score)
    elseif fits(who) and not may_start(who) then -- it is refused as too late
      drop_place(who, score)
    elseif base_of(who) then
      if not try_upgrade(who, score) then
        break
      end
    elseif not fits(who) then
      break -- nobody behind it is granted, but those passed over may fit
    elseif listens(who, score) then
      if not may_grant(who) then
        return
      end
      hand_over(who, score, behind)
    else
      passed[#passed + 1] = { who, score }
      skip = skip + 1
    end
    if step == SCAN and (record.used < capacity or record.owner) then
      record.more = 1
    end
  end
  for i = 1, #passed do -- nobody else can be granted
    if not fits(passed[i][1]) then
      return
    elseif not may_start(passed[i][1]) then
      drop_place(passed[i][1], passed[i][2])
    elseif may_grant(passed[i][1]) then
      hand_over(passed[i][1], passed[i][2], passed[i + 1] and passed[i + 1][1])
    else
      return
    end
  end
end

-- What every slow path ends with, before its reply: grant, put back, grant again, tidy, tell.
local function hand_on()
  pump()
  if record.lapsed[1] then
    put_back()
    pump()
  end
  tell_doubts()
  tidy()
end
