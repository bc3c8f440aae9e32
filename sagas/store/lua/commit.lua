#!lua
-- Writes the batches of several shards: every shard whole or not at all, and a verdict for each.
--
-- Law: scripts do not roll back, so each shard is judged before its first write, and no write after that can fail:
-- XDEL, the one command that parses its arguments, comes first and looks at all of them before it deletes.
--
-- KEYS[1]  a key of the first shard (it routes the call)
-- ARGV[1]  msgpack: one array a shard, laid out as in redis_commit.py
-- Reply    one array a shard: {verdict, last sequence, token counter, id, id, ...}

local OK, DUP, GAP, FENCED, UNREAD, CONFLICT = 0, 1, 2, 3, 4, 5
local PREFIX, COUNTER, NONCE, SEQUENCE, READ_UPTO, CHANNEL = 1, 2, 3, 4, 5, 6
local STEPS, CLOSING, ENTRIES, TIMERS, UNTIMED, BUSY, IDLE = 7, 8, 9, 10, 11, 12, 13
local RETRIES, UNRETRIED, ADMITTED, INDEXES, NOTICES = 14, 15, 16, 17, 18
local STRIDE = 5 -- of STEPS: id, run, version, chunk or false, head
local SLICE = 4000 -- arguments a call: Lua's C stack ends at 8,000; even, so that pairs stay together
local PAGE = 256 -- mailbox entries looked at in one go

local function each_slice(command, key, list)
  for first = 1, #list, SLICE do
    redis.call(command, key, unpack(list, first, math.min(first + SLICE - 1, #list)))
  end
end

-- MSET and DEL take keys only: there is no key before the list.
local function each_slice_of_keys(command, list)
  for first = 1, #list, SLICE do
    redis.call(command, unpack(list, first, math.min(first + SLICE - 1, #list)))
  end
end

-- The histories' keys, in the order of STEPS, and the ids whose history is not as long as the step says.
local function judge_histories(prefix, steps)
  local keys, conflicts, length = {}, {}, {}
  for at = 1, #steps, STRIDE do
    local key = prefix .. 'h:' .. steps[at] .. ':' .. steps[at + 1]
    local stands = length[key] or redis.call('LLEN', key)
    if stands ~= steps[at + 2] then
      conflicts[#conflicts + 1] = steps[at]
    end
    length[key] = steps[at + 3] and stands + 1 or stands
    keys[#keys + 1] = key
  end
  return keys, conflicts
end

-- The closing instances that have mail this owner has not read.
local function unread(mailbox, read_upto, closing)
  local found, waits, after = {}, {}, '(' .. read_upto
  if #closing == 0 then
    return found
  end
  repeat
    local page = redis.call('XRANGE', mailbox, after, '+', 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      waits[entry[2][2]] = true
      after = '(' .. entry[1]
    end
  until #page < PAGE
  for _, id in ipairs(closing) do
    if waits[id] then
      found[#found + 1] = id
    end
  end
  return found
end

local function write_histories(keys, steps)
  for n = 1, #keys do
    local chunk = steps[n * STRIDE - 1]
    if chunk then
      redis.call('RPUSH', keys[n], chunk)
    end
  end
end

local function write_blobs(prefix, steps, retries, unretried)
  local blobs, gone = {}, {}
  for at = 1, #steps, STRIDE do
    blobs[#blobs + 1] = prefix .. 'i:' .. steps[at]
    blobs[#blobs + 1] = steps[at + 4]
  end
  for at = 1, #retries, 2 do
    blobs[#blobs + 1] = prefix .. 'p:' .. retries[at]
    blobs[#blobs + 1] = retries[at + 1]
  end
  for n, id in ipairs(unretried) do
    gone[n] = prefix .. 'p:' .. id
  end
  each_slice_of_keys('MSET', blobs)
  each_slice_of_keys('DEL', gone)
end

-- Forget an admission only while it is still this run's: a newer start may have replaced it.
local function forget_admissions(key, admitted)
  for at = 1, #admitted, 2 do
    if redis.call('HGET', key, admitted[at]) == admitted[at + 1] then
      redis.call('HDEL', key, admitted[at])
    end
  end
end

local function write(batch, histories)
  local prefix = batch[PREFIX]
  each_slice('XDEL', prefix .. 'in', batch[ENTRIES])
  redis.call('HSET', prefix .. 'ep', 's', string.format('%.0f', batch[SEQUENCE]))
  write_histories(histories, batch[STEPS])
  write_blobs(prefix, batch[STEPS], batch[RETRIES], batch[UNRETRIED])
  each_slice('ZADD', prefix .. 't', batch[TIMERS])
  each_slice('ZREM', prefix .. 't', batch[UNTIMED])
  each_slice('SADD', prefix .. 'busy', batch[BUSY])
  each_slice('SREM', prefix .. 'busy', batch[IDLE])
  forget_admissions(prefix .. 'ad', batch[ADMITTED])
  for _, index in ipairs(batch[INDEXES]) do
    each_slice('ZADD', prefix .. 'v:' .. index[1], index[2])
    each_slice('ZREM', prefix .. 'v:' .. index[1], index[3])
  end
  for _, notice in ipairs(batch[NOTICES]) do
    redis.call('PUBLISH', batch[CHANNEL], notice)
  end
end

local function verdict(code, sequence, counter, ids)
  return { code, sequence, counter, unpack(ids or {}) }
end

local function commit(batch)
  local epoch = redis.call('HMGET', batch[PREFIX] .. 'ep', 'c', 'n', 's')
  local counter, last = tonumber(epoch[1]) or 0, tonumber(epoch[3]) or 0
  if counter ~= batch[COUNTER] or epoch[2] ~= batch[NONCE] then
    return verdict(FENCED, last, counter)
  elseif batch[SEQUENCE] <= last then
    return verdict(DUP, last, counter)
  elseif batch[SEQUENCE] > last + 1 then
    return verdict(GAP, last, counter)
  end
  local histories, conflicts = judge_histories(batch[PREFIX], batch[STEPS])
  if #conflicts > 0 then
    return verdict(CONFLICT, last, counter, conflicts)
  end
  local waiting = unread(batch[PREFIX] .. 'in', batch[READ_UPTO], batch[CLOSING])
  if #waiting > 0 then
    return verdict(UNREAD, last, counter, waiting)
  end
  write(batch, histories)
  return verdict(OK, batch[SEQUENCE], counter)
end

local verdicts = {}
for n, batch in ipairs(cmsgpack.unpack(ARGV[1])) do
  verdicts[n] = commit(batch)
end
return verdicts
