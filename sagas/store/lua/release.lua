#!lua flags=allow-oom
-- Gives up the leases that are still this owner's: owner and token agree.
--
-- KEYS  epoch, lease of each shard
-- ARGV  1 owner, then counter, nonce of each shard

for n = 1, #KEYS / 2 do
  local epoch, lease = KEYS[2 * n - 1], KEYS[2 * n]
  local token = redis.call('HMGET', epoch, 'c', 'n')
  local same = token[1] == ARGV[2 * n] and token[2] == ARGV[2 * n + 1]
  if same and redis.call('HGET', lease, 'o') == ARGV[1] then
    redis.call('DEL', lease)
  end
end
return #KEYS / 2
