-- resize: the contract is in resize_fast.lua, the functions are in the engine's parts.
read_capacity(capacity)
if redis.call('ZCARD', lock) > 0 and not redis.call('ZSCORE', lock, '%TOKEN%') then
  return { 8, now_us }
elseif now > not_after then
  return { 4, now_us }
end
redis.call('ZADD', lock, 'NX', now_us, '%TOKEN%')
local before = redis.call('ZSCORE', lock, '%CAPACITY%')
if what ~= 'pace' or not before then
  redis.call('ZADD', lock, 2 * capacity + 1, '%CAPACITY%')
else
  redis.call('ZADD', lock, before + 1 - before % 2, '%CAPACITY%')
end
if what == 'pace' or not before then
  set_pace(read_pace(pace))
end
keep(ttl)
settle()
hand_on()
send_mail()
return { 1, now_us, record.more, refused }
