-- Runs a script on a record and, if there is another one to compare it with, that one on a copy, at the same time. Says what
-- each of them did. Functions with the scripts stand in place of the names in braces; the other one may be nil.
--
-- KEYS      the record, and two others with a name of the same form and length, for copies
-- ARGV[1]   s, ARGV[2] us: the time, as TIME says it
-- ARGV[3]   life: when the record ends, server's clock, ms; empty: never. Kept here, so that lives are exact
-- ARGV[4]   channels that have a subscriber, with spaces around them
-- ARGV[5]   1: PUBLISH and PUBSUB are refused
-- ARGV[6]   how many keys the script takes; each is the record
-- ARGV[7]   capacity, ARGV[8] ttl: for a tick that settles
-- ARGV[9..] arguments of the script
--
-- Returns  {hits, one, other}, where one and other are {reply, members, life, messages}; `hits` are the branches of the
--          shortcuts that were taken. Of other the reply alone, if all else is the same; nothing, if there is no other. Then,
--          if they differ and there was something over in the record, or somebody waits who may be dead: what one and other
--          are once a tick has settled both.
local server, frozen, refuses = redis, { ARGV[1], ARGV[2] }, ARGV[5] == '1'
local now = ARGV[1] * 1000 + math.floor(ARGV[2] / 1000)
local life, mail, hits = tonumber(ARGV[3]), {}, {}

local emulated = {
  TIME = function()
    return frozen
  end,
  PTTL = function(key)
    return server.call('EXISTS', key) == 0 and -2 or life and life - now or -1
  end,
  PEXPIRE = function(_, ms)
    assert(ms % 1 == 0, 'PEXPIRE takes whole numbers')
    life = now + ms
    return 1
  end,
  PUBLISH = function(channel, text)
    if refuses then
      return { err = 'NOPERM' }
    end
    mail[#mail + 1] = channel .. ' ' .. text
    return 0
  end,
  PUBSUB = function(_, channel)
    if refuses then
      return { err = 'NOPERM' }
    end
    return { channel, string.find(ARGV[4], ' ' .. channel .. ' ', 1, true) and 1 or 0 }
  end,
}
local redis = {}
function redis.call(name, ...)
  if emulated[name] then
    return emulated[name](...)
  end
  return server.call(name, ...)
end
function redis.pcall(name, ...)
  if emulated[name] then
    return emulated[name](...)
  end
  return server.pcall(name, ...)
end

local function hit(branch)
  hits[#hits + 1] = branch
end
local script = {ONE}
local compared = {OTHER}
local tick = {TICK}

local function run(script, key, since, args, count)
  life, mail = since, {}
  local keys = {}
  for i = 1, count do
    keys[i] = key
  end
  local ok, reply = pcall(script, keys, args)
  if not ok then
    reply = 'error: ' .. tostring(type(reply) == 'table' and reply.err or reply)
  end
  local members = server.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  table.sort(mail)
  return { reply, members, members[1] and life or -1, mail }
end

local function alike(one, other)
  local function same(at)
    return table.concat(one[at], ' ') == table.concat(other[at], ' ')
  end
  return same(2) and same(4) and one[3] == other[3]
end

-- Whether somebody waits who was not seen for long.
local function is_silent(key)
  local places = server.call('ZRANGEBYSCORE', key, '-inf', '(0', 'WITHSCORES')
  for i = 2, #places, 2 do
    if (math.floor(now / 256) - places[i]) % 262144 > 16 then
      return true
    end
  end
  return false
end

local record, second, third = KEYS[1], KEYS[2], KEYS[3]
local args, since = {}, life
for i = 9, #ARGV do
  args[i - 8] = ARGV[i]
end
if since and since <= now then
  server.call('DEL', record)
  since = nil
end
local count = tonumber(ARGV[6])
if not compared then
  return { hits, run(script, record, since, args, count) }
end
server.call('DEL', second, third)
server.call('COPY', record, second)
server.call('COPY', record, third)
local one, other = run(script, record, since, args, count), run(compared, second, since, args, count)
local answer = { hits, one, other }
if not alike(one, other) then
  local before = { '', server.call('ZRANGE', third, 0, -1, 'WITHSCORES'), since or -1, {} }
  local settle = { 'w', 'nobody', '0', '1', ARGV[8], ARGV[7] }
  local settled = run(tick, third, since, settle, 1)
  if not alike(before, settled) or is_silent(second) or is_silent(record) then
    server.call('DEL', third)
    server.call('COPY', record, third)
    answer[4] = run(tick, third, one[3] >= 0 and one[3] or nil, settle, 1)
    answer[5] = run(tick, second, other[3] >= 0 and other[3] or nil, settle, 1)
  end
end
if not answer[4] and alike(one, other) then -- the same need not be said twice
  answer[3] = { other[1] }
end
server.call('DEL', second, third)
return answer
