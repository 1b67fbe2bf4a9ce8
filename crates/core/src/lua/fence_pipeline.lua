-- fence_pipeline: runs several commands behind a fence, by the rules of fence.lua. A command that fails ends it: those
-- before it are done, those behind it are not.
--
-- KEYS[1]    fence  string  `1:<highest token>`, as in fence.lua
-- ARGV[1]    token  of the writer
-- ARGV[2]    ttl    life of the fence, ms
-- ARGV[...]  args   of each command: how many words it has, and these
--
-- Returns  {1, done, text, replies}  admitted. done: how many commands were run; replies: theirs; text: the error of the one
--                                    that failed, empty if none did
--          {0}                       stale: nothing was done
--          {7}                       the token is too far ahead, as in fence.lua: nothing was done
--          {8}                       not our record, or another schema version
local DAY = 86400000000
local fence, token, ttl = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local seen = tonumber(string.match(redis.call('GET', fence) or '1:0', '^1:(%d+)$'))
if not seen then
  return { 8 }
elseif token < seen then
  return { 0 }
elseif token > seen + DAY then
  local T = redis.call('TIME')
  if token > T[1] * 1000000 + T[2] + DAY then
    return { 7 }
  end
end
redis.call('SET', fence, '1:' .. string.format('%.0f', token), 'PX', ttl)
local words, at, replies = ARGV, 3, {}
while words[at] do
  local last = at + words[at]
  local reply = redis.pcall(unpack(words, at + 1, last))
  if type(reply) == 'table' and reply.err then
    return { 1, #replies, reply.err, replies }
  end
  replies[#replies + 1], at = reply, last + 1
end
return { 1, #replies, '', replies }
