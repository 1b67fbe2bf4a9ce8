-- adopt: moves a hold from one attempt to another, as when another process resumes a ticket. If two
-- try, one succeeds. This part only reads the request. clock.lua stands in front; take_over.lua and
-- adopt_slow.lua follow.
--
-- KEYS[1]  lock       zset  <prefix>:lock:{<name>}
-- ARGV[1]  id         attempt id of the new owner
-- ARGV[2]  lease      ms
-- ARGV[3]  ttl        lease + retention, ms
-- ARGV[4]  old        attempt id in the ticket
-- ARGV[5]  token      in the ticket; 0 for a shared hold
-- ARGV[6]  not_after  server's clock, ms
--
-- Returns  {1, stamp_us, token, left_ms, 0}  adopted, now or by an earlier copy
--          {3, stamp_us, -1}                 the ticket's hold has ended, or was adopted by somebody else, or the time of the
--                                            new one is over
--          {4, stamp_us}                     late
--          {5, stamp_us}                     the new attempt has ended
--          {8, stamp_us}                     not our record, or another schema version
local token, not_after = tonumber(ARGV[5]), tonumber(ARGV[6])
local mark_of = '%UPGRADED%'
