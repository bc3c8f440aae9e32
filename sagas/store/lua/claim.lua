#!lua
-- Takes a shard whose lease is free, over, or already this owner's: a new fence token and a new lease.
--
-- After a restart of the server every lease looks over, though its owner may be well: a foreign lease then counts
-- until the server has been up for that lease's ttl, so that the present owner can renew first.
--
-- KEYS  1 epoch, 2 lease
-- ARGV  1 owner, 2 ttl ms, 3 nonce, 4 schema version
-- Reply {token counter, last sequence}, or nothing when another owner holds it

local owner, ttl, nonce, schema = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function up_ms()
  local answer = redis.pcall('INFO', 'server') -- an ACL may forbid it: then there is no grace
  local seconds = type(answer) == 'string' and string.match(answer, 'uptime_in_seconds:(%d+)')
  return seconds and (seconds + 1) * 1000 or math.huge
end

local function held_by_another()
  local lease = redis.call('HMGET', KEYS[2], 'o', 'e', 't')
  if not lease[1] or lease[1] == owner then
    return false
  end
  return tonumber(lease[2]) > now or up_ms() < tonumber(lease[3])
end

if held_by_another() then
  return false
end
local last = redis.call('HGET', KEYS[1], 's') or '0'
local counter = redis.call('HINCRBY', KEYS[1], 'c', 1)
redis.call('HSET', KEYS[1], 'n', nonce, 'a', last, 'v', schema)
redis.call('HSET', KEYS[2], 'o', owner, 'e', string.format('%.0f', now + ttl), 't', ttl)
return { counter, tonumber(last) }
