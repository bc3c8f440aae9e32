#!lua
-- One message at the door of a shard: decides admission, remembers the message id and puts the mail into the mailbox.
--
-- KEYS  1 mailbox, 2 admitted, 3 head, 4 memory of the message id, 5 history of the run that is asked for
-- ARGV  1 id, 2 kind, 3 run id, 4 mail, 5 start mail, 6 terminate mail, 7 on_conflict, 8 on_reuse,
--       9 remember ms, 10 mailbox limit
-- Reply {verdict, run id, status}

local OK, KNOWN, EXISTING, ALREADY_STARTED, NOT_FOUND, CLOSED, OVERLOADED = 0, 1, 2, 3, 4, 5, 6
local RUNNING, COMPLETED = 0, 1
local mailbox, admitted, head, memory, history = unpack(KEYS)
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

return admit()
