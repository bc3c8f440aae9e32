#!lua
-- One message at the door of a shard: decides admission, remembers the message id and puts the mail into the mailbox.
--
-- KEYS  1 mailbox, 2 admitted, 3 head, 4 memory of the message id, 5 history of the run that is asked for,
--       6 last origins
-- ARGV  1 id, 2 kind, 3 run id, 4 mail, 5 start mail, 6 terminate mail, 7 on_conflict, 8 on_reuse,
--       9 remember ms, 10 mailbox limit, and of a relayed message: 11 source shard, 12 counter, 13 sequence, 14 index
-- Reply {verdict, run id, status}

local OK, KNOWN, EXISTING, ALREADY_STARTED, NOT_FOUND, CLOSED, OVERLOADED = 0, 1, 2, 3, 4, 5, 6
local RUNNING, COMPLETED = 0, 1
local mailbox, admitted, head, memory, history, origins = unpack(KEYS)
local id, kind, run, mail, start_mail, terminate_mail, on_conflict, on_reuse = unpack(ARGV, 1, 8)
local remember_ms, limit = ARGV[9], tonumber(ARGV[10])

-- The run id and status of a head, without decoding the rest of it (Lua's msgpack knows no bin and no extensions).
local function head_of_run()
  local blob = redis.call('GET', head)
  if not blob then
    return nil, nil
  end
  local start = string.byte(blob, 1) == 0xdc and 3 or 1 -- array 16, else a fixarray
  local _, status, run_id = cmsgpack.unpack_limit(blob, 2, start)
  return run_id, status
end

-- The run messages go to now and its status; nil when there never was one.
local function current_run()
  local waiting = redis.call('HGET', admitted, id)
  if waiting then
    return waiting, RUNNING
  end
  return head_of_run()
end

local function remember(run_id)
  if tonumber(remember_ms) > 0 then
    redis.call('SET', memory, run_id, 'PX', remember_ms)
  end
end

-- Everything that writes a mailbox goes through here.
local function accept(run_id, status, starts, ...)
  if redis.call('XLEN', mailbox) >= limit then
    return { OVERLOADED, run_id, status }
  end
  for _, body in ipairs({ ... }) do
    redis.call('XADD', mailbox, '*', 'i', id, 'b', body)
  end
  if starts then
    redis.call('HSET', admitted, id, run_id)
  end
  remember(run_id)
  return { OK, run_id, status }
end

local function may_reuse(status)
  return on_reuse == 'allow' or (on_reuse == 'allow_failed' and status ~= COMPLETED)
end

local function start(current, status, ...)
  if current and not may_reuse(status) then
    return { ALREADY_STARTED, current, status }
  end
  return accept(run, RUNNING, true, ...)
end

local function start_beside(current)
  if on_conflict == 'use_existing' then
    remember(current)
    return { EXISTING, current, RUNNING }
  elseif on_conflict == 'terminate_existing' then
    return accept(run, RUNNING, true, terminate_mail, mail)
  end
  return { ALREADY_STARTED, current, RUNNING }
end

local function to_run(current, status)
  if run ~= '' and run ~= current then
    local existed = redis.call('EXISTS', history) == 1
    return { existed and CLOSED or NOT_FOUND, current, status }
  elseif status ~= RUNNING then
    return { CLOSED, current, status }
  end
  return accept(current, RUNNING, false, mail)
end

local function admit()
  local known = redis.call('GET', memory)
  if known then
    return { KNOWN, known, RUNNING }
  end
  local current, status = current_run()
  local live = current and status == RUNNING
  if kind == 'start' then
    if current == run then
      return { KNOWN, run, status }
    end
    return live and start_beside(current) or start(current, status, mail)
  elseif kind == 'start_or_message' then
    return live and accept(current, RUNNING, false, mail) or start(current, status, start_mail, mail)
  elseif not current then
    return { NOT_FOUND, '', RUNNING }
  elseif kind == 'read' then
    return accept(current, status, false, mail)
  end
  return to_run(current, status)
end

-- Messages of other instances. A source's owner relays its outbox in order; an owner that was frozen may send old ones
-- again beside it, at any time. So, per source, the last origin is kept for ever, with its answer:
--
-- * It moves in the script that writes the mail: what is not newer was decided before, and nothing is applied twice.
-- * A refusal moves it as well. Else the repeat of a message whose refusal is long recorded at its sender could find the
--   instance started meanwhile, and be applied after all.
-- * A relay that crashed before it recorded the answer asks again. The last origin gets its refusal again, word for
--   word; of older ones only "decided" is known. That is why a relay records a refusal before it sends the next.
-- * OVERLOADED decides nothing and moves nothing: the same message must come again, before any later one.
-- * A failover takes origins and outboxes of one server back together: a message that is lost here stands in its outbox
--   again, or its batch is lost as well and is written again with the origins it had (``Batch.epoch``). Claims made
--   afterwards count on from the counter it fell back to, which is not lower than any kept here. What a failover can
--   cost is mail of its last moments that the target's owner had not read and whose ``sent`` is written again. (Shards
--   on several servers, which go back apart, would let a new owner begin with a counter below the one kept here: its
--   messages would be taken for old.)
local function relay(source, counter, sequence, index)
  local last = redis.call('HGET', origins, source)
  if last then
    local c, s, i, code, status, run_id = string.match(last, '^(%d+):(%d+):(%d+):(%d+):(%d+):(.*)$')
    local ahead = counter - c
    ahead = ahead ~= 0 and ahead or sequence - s
    ahead = ahead ~= 0 and ahead or index - i
    if ahead < 0 then
      return { KNOWN, redis.call('GET', memory) or '', RUNNING }
    elseif ahead == 0 then
      code = tonumber(code)
      local refused = code == ALREADY_STARTED or code == NOT_FOUND or code == CLOSED
      return { refused and code or KNOWN, run_id, tonumber(status) }
    end
  end
  local answer = admit()
  if answer[1] ~= OVERLOADED then
    local text = string.format('%s:%s:%s:%d:%d:%s', counter, sequence, index, answer[1], answer[3], answer[2])
    redis.call('HSET', origins, source, text)
  end
  return answer
end

if ARGV[11] then
  return relay(ARGV[11], ARGV[12], ARGV[13], ARGV[14])
end
return admit()
