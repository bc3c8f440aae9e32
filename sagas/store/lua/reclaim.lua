#!lua
-- Takes back a shard whose server went back to before the claim (a failover): compare and set on what FENCED named.
--
-- "Nobody wrote since": the token is one of this owner's reign (the nonce stays over its reclaims), or the sequence is
-- still that of the claim. Else others' batches stand where this owner's should, and its own cannot follow them.
-- The new counter is higher than both, so that neither token of before is ever valid again; who lost the reply asks
-- again and finds it done.
--
-- KEYS  1 epoch, 2 lease
-- ARGV  1 owner, 2 ttl ms, 3 nonce, 4 schema version, 5 counter seen, 6 counter of the claim, 7 its sequence
-- Reply {token counter, last sequence}, or nothing

local owner, ttl, nonce, schema = unpack(ARGV, 1, 4)
local seen, claimed, sequence = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local epoch = redis.call('HMGET', KEYS[1], 'c', 'n', 's')
local counter, last = tonumber(epoch[1]) or 0, tonumber(epoch[3]) or 0
local ours = epoch[2] == nonce
local following = math.max(seen, claimed) + 1
local done = ours and counter == following
if not done and not (counter == seen and (ours or last == sequence)) then
  return false
end
redis.call('HSET', KEYS[1], 'c', string.format('%.0f', following), 'n', nonce, 'v', schema)
redis.call('HSET', KEYS[1], 'a', string.format('%.0f', last))
redis.call('HSET', KEYS[2], 'o', owner, 'e', string.format('%.0f', now + ttl), 't', ttl)
return { following, last }
