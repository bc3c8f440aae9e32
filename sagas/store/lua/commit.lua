#!lua
-- Writes the batches of several shards: every shard whole or not at all, and a verdict for each.
--
-- Law: scripts do not roll back, so each shard is judged before its first write, and no write after that can fail:
-- entry ids, which alone are parsed, were looked at by the client (mailbox.py); XADD, which wants ids to grow, is first.
--
-- KEYS[1]  a key of the first shard (it routes the call)
-- ARGV[1]  msgpack: one array a shard, laid out as in redis_commit.py
-- Reply    one array a shard: {verdict, last sequence, token counter, id, id, ...}

local OK, DUP, GAP, FENCED, UNREAD, CONFLICT = 0, 1, 2, 3, 4, 5
local PREFIX, COUNTER, NONCE, SEQUENCE = 1, 2, 3, 4
local STEPS, ENTRIES, TIMERS, UNTIMED, BUSY, IDLE, RETRIES, UNRETRIED = 5, 6, 7, 8, 9, 10, 11, 12
local ADMITTED, INDEXES, CLOSING, CHANNEL, NOTICES = 13, 14, 15, 16, 17 -- from here on: all, or none of them
local EPOCH, OUTBOX, SENT, MARKS, UNMARKS = 18, 19, 20, 21, 22
local EXPIRIES, DISPLACED, BLOBS, REMOVALS = 23, 24, 25, 26
local STRIDE = 5 -- of STEPS: id, run, version, chunk or false, head
local KNOWN = 3 -- the stride of CLOSING: id, and the mailbox entry up to which it knows: ms, place
local SLICE = 4000 -- arguments a call: Lua's C stack ends at 8,000; even, so that pairs stay together
local PIECES = 4 -- the stride of BLOBS: id, run, name, bytes
local RUNNING = 0
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

local function place_of(entry)
  local ms, place = string.match(entry, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(place)
end

local function is_later(ms, place, than_ms, than_place)
  return ms > than_ms or (ms == than_ms and place > than_place)
end

-- Of each instance its last mailbox entry past the least that a closing one knows.
local function newest_mail(mailbox, closing)
  local newest, ms, place = {}, closing[2], closing[3]
  for at = KNOWN + 1, #closing, KNOWN do
    if is_later(ms, place, closing[at + 1], closing[at + 2]) then
      ms, place = closing[at + 1], closing[at + 2]
    end
  end
  local after = string.format('(%.0f-%.0f', ms, place)
  repeat
    local page = redis.call('XRANGE', mailbox, after, '+', 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      newest[entry[2][2]] = entry[1]
      after = '(' .. entry[1]
    end
  until #page < PAGE
  return newest
end

-- The closing instances that have mail they do not know.
local function unread(mailbox, closing)
  local found = {}
  if not closing or #closing == 0 then
    return found
  end
  local newest = newest_mail(mailbox, closing)
  for at = 1, #closing, KNOWN do
    local entry = newest[closing[at]]
    if entry then
      local ms, place = place_of(entry)
      if is_later(ms, place, closing[at + 1], closing[at + 2]) then
        found[#found + 1] = closing[at]
      end
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

-- The ids of entries are their origins' own, and batch sequences only grow: XADD never meets a later one.
local function write_outbox(key, batch)
  for n, body in ipairs(batch[OUTBOX]) do
    local entry = string.format('%.0f-%d', batch[SEQUENCE], n - 1)
    redis.call('XADD', key, entry, 'c', batch[EPOCH], 'b', body)
  end
end

-- The run id and status of a head, without decoding the rest of it; what they are of a damaged one, nobody knows.
local function head_of_run(blob)
  local start = string.byte(blob, 1) == 0xdc and 3 or 1 -- array 16, else a fixarray
  local _, status, run_id = cmsgpack.unpack_limit(blob, 2, start)
  return run_id, status
end

-- The instance is gone but for its histories; returns its earlier runs.
local function remove_instance(prefix, removal)
  local id = removal[1]
  local runs = redis.call('SMEMBERS', prefix .. 'u:' .. id)
  redis.call('UNLINK', prefix .. 'i:' .. id, prefix .. 'p:' .. id, prefix .. 'u:' .. id)
  redis.call('ZREM', prefix .. 't', id)
  redis.call('SREM', prefix .. 'busy', id)
  for n = 3, #removal do
    redis.call('ZREM', prefix .. 'v:' .. removal[n], id)
  end
  return runs
end

local function remove(prefix, removal)
  local id, run = removal[1], removal[2]
  local runs = {}
  local head = redis.call('GET', prefix .. 'i:' .. id)
  if head then
    local read, current, status = pcall(head_of_run, head)
    if not (read and type(current) == 'string') or (current == run and status == RUNNING) then
      return
    elseif current == run then
      runs = remove_instance(prefix, removal)
    end
  end
  redis.call('SREM', prefix .. 'u:' .. id, run)
  runs[#runs + 1] = run
  for _, gone in ipairs(runs) do
    local name = id .. ':' .. gone
    redis.call('UNLINK', prefix .. 'h:' .. name, prefix .. 'b:' .. name)
    redis.call('HDEL', prefix .. 'x', name)
    redis.call('ZREM', prefix .. 'r', name)
  end
end

-- What an end, a start after an end, and large payloads leave behind.
local function write_kept(prefix, batch)
  each_slice('ZADD', prefix .. 'r', batch[EXPIRIES])
  for at = 1, #batch[DISPLACED], 2 do
    redis.call('SADD', prefix .. 'u:' .. batch[DISPLACED][at], batch[DISPLACED][at + 1])
  end
  local blobs = batch[BLOBS]
  for at = 1, #blobs, PIECES do
    redis.call('HSET', prefix .. 'b:' .. blobs[at] .. ':' .. blobs[at + 1], blobs[at + 2], blobs[at + 3])
  end
end

-- What few batches have.
local function write_rare(prefix, batch)
  write_outbox(prefix .. 'ob', batch)
  each_slice('XDEL', prefix .. 'ob', batch[SENT])
  forget_admissions(prefix .. 'ad', batch[ADMITTED])
  for _, index in ipairs(batch[INDEXES]) do
    each_slice('ZADD', prefix .. 'v:' .. index[1], index[2])
    each_slice('ZREM', prefix .. 'v:' .. index[1], index[3])
  end
  each_slice('HSET', prefix .. 'x', batch[MARKS])
  each_slice('HDEL', prefix .. 'x', batch[UNMARKS])
  write_kept(prefix, batch)
  for _, notice in ipairs(batch[NOTICES]) do
    redis.call('PUBLISH', batch[CHANNEL], notice)
  end
end

local function write(batch, histories)
  local prefix = batch[PREFIX]
  if batch[ADMITTED] then
    write_rare(prefix, batch)
  end
  each_slice('XDEL', prefix .. 'in', batch[ENTRIES])
  redis.call('HSET', prefix .. 'ep', 's', string.format('%.0f', batch[SEQUENCE]))
  write_histories(histories, batch[STEPS])
  write_blobs(prefix, batch[STEPS], batch[RETRIES], batch[UNRETRIED])
  each_slice('ZADD', prefix .. 't', batch[TIMERS])
  each_slice('ZREM', prefix .. 't', batch[UNTIMED])
  each_slice('SADD', prefix .. 'busy', batch[BUSY])
  each_slice('SREM', prefix .. 'busy', batch[IDLE])
  for _, removal in ipairs(batch[REMOVALS] or {}) do
    remove(prefix, removal)
  end
end

local function verdict(code, sequence, counter, ids)
  return { code, sequence, counter, unpack(ids or {}) }
end

local function commit(batch)
  local epoch = redis.call('HMGET', batch[PREFIX] .. 'ep', 'c', 'n', 's', 'a')
  local counter, last = tonumber(epoch[1]) or 0, tonumber(epoch[3]) or 0
  if counter ~= batch[COUNTER] or epoch[2] ~= batch[NONCE] then
    return verdict(FENCED, tonumber(epoch[4]) or last, counter)
  elseif batch[SEQUENCE] <= last then
    return verdict(DUP, last, counter)
  elseif batch[SEQUENCE] > last + 1 then
    return verdict(GAP, last, counter)
  end
  local histories, conflicts = judge_histories(batch[PREFIX], batch[STEPS])
  if #conflicts > 0 then
    return verdict(CONFLICT, last, counter, conflicts)
  end
  local waiting = unread(batch[PREFIX] .. 'in', batch[CLOSING])
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
