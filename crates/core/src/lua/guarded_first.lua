-- guarded: runs a user's script behind a fence, by the rules of fence.lua. The user's text stands
-- between this file and guarded_last.lua. This file is joined into one line without comments, so
-- that line numbers in errors are the user's.
--
-- KEYS[...]  keys  the fence (`1:<highest token>`), then the user's
-- ARGV[...]  args  token of the writer, life of the fence in ms, then the user's
--
-- Returns  {1, result}  admitted, and what the user's script returned
--          {2, text}    admitted, and the user's script raised this error
--          {0}          stale
--          {7}          the token is too far ahead, as in fence.lua
--          {8}          not our record, or another schema version
local fence, token, ttl = table.remove(KEYS, 1), tonumber(table.remove(ARGV, 1)), table.remove(ARGV, 1)
local seen = tonumber(string.match(redis.call('GET', fence) or '1:0', '^1:(%d+)$'))
if not seen then
  return { 8 }
elseif token < seen then
  return { 0 }
elseif token > seen + 86400000000 then
  local T = redis.call('TIME')
  if token > T[1] * 1000000 + T[2] + 86400000000 then
    return { 7 }
  end
end
redis.call('SET', fence, '1:' .. string.format('%.0f', token), 'PX', ttl)
local ran, result = pcall(function()
