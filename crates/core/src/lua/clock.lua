-- clock: the server's time, which a script reads once. A script that needs it begins with this
-- part. It reads no variable of the script.
--
-- sets: now_us, now
local T = redis.call('TIME') -- once, at the top: before Redis 7.2 it moves inside a script (H50)
local now_us = T[1] * 1000000 + T[2]
local now = (now_us - now_us % 1000) / 1000
