-- mail: the messages of this step, and whether their clients are subscribed.
--
-- reads: lock, now_us
-- sets: inbox, mail, subscribed, refused
local inbox = string.match(lock, '^(.-:)[^:{]+:{') .. 'inbox:' -- the clients' channels begin with it; all keys have one prefix
local mail = {} -- channel -> lines
local subscribed = {} -- channel -> does anybody listen?
local refused = 0 -- 1: the server refused to publish

local function post(to, line)
  local channel = inbox .. string.sub(to, 1, 22)
  local lines = mail[channel]
  if lines then
    lines[#lines + 1] = line
  else
    mail[channel] = { line }
  end
end

local function tell(who, ms)
  post(who, 'w ' .. string.sub(who, 23) .. ' ' .. text(ms) .. ' ' .. text(now_us))
end

-- Last of all, and through pcall: a refused PUBLISH must not undo what is written (H46).
local function send_mail()
  for channel, lines in pairs(mail) do
    if type(redis.pcall('PUBLISH', channel, table.concat(lines, ';'))) == 'table' then
      refused = 1
    end
  end
end

-- A hint, not a proof: NUMSUB counts this node's subscribers, half-open ones too. So it only passes an entry
-- over, and asks before anything is sent: a grant message must never have to be taken back.
local function listens(who, score)
  if math.floor(score % %TICKET% / %CHANCE%) == %POLLS% then
    return true -- it polls
  end
  local channel = inbox .. string.sub(who, 1, 22)
  if subscribed[channel] == nil then
    local answer = redis.pcall('PUBSUB', 'NUMSUB', channel)
    subscribed[channel] = answer.err ~= nil or answer[2] ~= 0
  end
  return subscribed[channel]
end
