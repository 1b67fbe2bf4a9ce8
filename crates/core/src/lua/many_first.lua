-- many: the fast path of acquire, or of end, for many attempts whose arguments differ only in key
-- and id. Between this file and many_last.lua stands acquire_fast.lua or end_fast.lua, as a
-- function. `ARGV.time` is the common time of all.
--
-- KEYS[...]  keys   zset  <prefix>:lock:{<name>}  one per attempt; a key may occur more than once
-- ARGV[...]  ids    one per key; then the other arguments of acquire, or of end, from ARGV[2] on
--
-- Returns  {reply, ...}   one per key, as from acquire or end; an error is that key's alone
--          nil in there   this one is out of the ordinary: nothing was done, it has to be sent by itself
local function one(KEYS, ARGV)
