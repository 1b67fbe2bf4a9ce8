end

local keys, args, count = KEYS, ARGV, #KEYS
local key, rest, replies = {}, { time = redis.call('TIME') }, {} -- once (H50)
for i = count + 1, #args do
  rest[i - count + 1] = args[i]
end
for i = 1, count do
  key[1], rest[1] = keys[i], args[i]
  local ok, reply = pcall(one, key, rest)
  if ok then
    replies[i] = reply or false
  else -- a text, before Redis 7 with a place in front; or a table
    local text = type(reply) == 'table' and reply.err or tostring(reply)
    replies[i] = { err = string.sub(text, 1, 1) == '@' and 'ERR ' .. text or text }
  end
end
return replies
