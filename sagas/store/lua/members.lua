#!lua flags=allow-oom
-- Reports an owner alive for a time (0: it leaves) and lists those alive. A small key: allowed when memory is full.
--
-- KEYS  1 hosts
-- ARGV  1 owner, 2 ttl ms
-- Reply the owners alive

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ttl), ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
return redis.call('ZRANGE', KEYS[1], 0, -1)
