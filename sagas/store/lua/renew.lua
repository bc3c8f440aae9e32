#!lua flags=allow-oom
-- Extends the leases that are still this owner's: owner and token agree. A lease that ran out unnoticed counts.
-- It may run out of memory's bounds: it rewrites a small key, and losing every lease helps nobody.
--
-- KEYS  epoch, lease of each shard
-- ARGV  1 owner, 2 ttl ms, then counter, nonce of each shard
-- Reply 1 or 0 for each shard

local time = redis.call('TIME')
local expiry = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
local renewed = {}
for n = 1, #KEYS / 2 do
  local epoch, lease = KEYS[2 * n - 1], KEYS[2 * n]
  local token = redis.call('HMGET', epoch, 'c', 'n')
  local same = token[1] == ARGV[2 * n + 1] and token[2] == ARGV[2 * n + 2]
  if same and redis.call('HGET', lease, 'o') == ARGV[1] then
    redis.call('HSET', lease, 'e', expiry, 't', ARGV[2])
    renewed[n] = 1
  else
    renewed[n] = 0
  end
end
return renewed
