-- The verbs of oche's queue on Redis, each one atomic. Called with no keys and (verb, arguments ...).
--
--   oche:job:ID      hash: t tube, b body, p priority, l lease, s state (r h d b), h holder, k delivery, n attempts
--   oche:ready:T     sorted set: priority -> ID (hexadecimal, so that equal priorities stand by age)
--   oche:held:T      sorted set: when the lease ends -> ID        oche:own:C       set: jobs that connection C holds
--   oche:delayed:T   sorted set: when it is due -> ID             oche:buried:T    sorted set: order of burial -> ID
--   oche:watch:C     set: tubes that C watches                    oche:watched:T   set: connections that watch T
--   oche:waiting:T   sorted set: since when -> C                  oche:bell:C      list: something is ready for C
--   oche:tubes, oche:connections, oche:signals                    sets of names
local P = 'oche:'
local call = redis.call
local clock = call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local function job(id) return P .. 'job:' .. id end
local function of(kind, name) return P .. kind .. ':' .. name end

-- Nobody who waits elsewhere any more is rung for.
local function unwait(connection)
  for _, tube in ipairs(call('SMEMBERS', of('watch', connection))) do call('ZREM', of('waiting', tube), connection) end
end

local function ring(tube)
  local first = call('ZRANGE', of('waiting', tube), 0, 0)[1]
  if first then
    unwait(first)
    call('LPUSH', of('bell', first), 1)
    call('EXPIRE', of('bell', first), 60)
  end
end

local function make_ready(id, tube)
  call('ZADD', of('ready', tube), call('HGET', job(id), 'p'), id)
  call('HSET', job(id), 's', 'r', 'h', '')
  ring(tube)
end

-- Takes a held job from its holder.
local function drop(id, tube)
  call('ZREM', of('held', tube), id)
  call('SREM', of('own', call('HGET', job(id), 'h')), id)
end

-- What time has done to a tube since somebody looked last.
local function settle(tube)
  for _, id in ipairs(call('ZRANGEBYSCORE', of('delayed', tube), '-inf', now, 'LIMIT', 0, 1000)) do
    make_ready(id, tube)
    call('ZREM', of('delayed', tube), id)
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', of('held', tube), '-inf', now, 'LIMIT', 0, 1000)) do
    drop(id, tube)
    make_ready(id, tube)
  end
end

-- The tube of a job that this delivery holds, else nil.
local function held(connection, id, delivery)
  local tube = call('HGET', job(id), 't')
  if not tube then return nil end
  settle(tube)
  local is = call('HMGET', job(id), 's', 'h', 'k')
  if is[1] == 'h' and is[2] == connection and is[3] == delivery then return tube end
end

local function erase(id)
  call('DEL', job(id))
end

local function delete(connection, id, delivery)
  local tube = held(connection, id, delivery)
  if not tube then return 0 end
  drop(id, tube)
  erase(id)
  return 1
end

local function forget(connection)
  for _, id in ipairs(call('SMEMBERS', of('own', connection))) do
    local tube = call('HGET', job(id), 't')
    if tube then
      drop(id, tube)
      make_ready(id, tube)
    end
  end
  unwait(connection)
  for _, tube in ipairs(call('SMEMBERS', of('watch', connection))) do call('SREM', of('watched', tube), connection) end
  call('DEL', of('own', connection), of('watch', connection), of('bell', connection))
  call('SREM', P .. 'connections', connection)
end

-- Which of these tubes has the most urgent, then oldest job.
local function best(tubes, from)
  local tube, id, priority
  for i = from, #tubes do
    local first = call('ZRANGE', of('ready', tubes[i]), 0, 0, 'WITHSCORES')
    local urgency = first[1] and tonumber(first[2])
    if first[1] and (not id or urgency < priority or (urgency == priority and first[1] < id)) then
      tube, id, priority = tubes[i], first[1], urgency
    end
  end
  return tube, id
end

local function exists(tube)
  for _, kind in ipairs({'ready', 'held', 'delayed', 'buried'}) do
    if call('EXISTS', of(kind, tube)) == 1 then return true end
  end
  return call('EXISTS', of('watched', tube)) == 1
end

local verbs = {}

-- tube, priority, delay, lease, body ... -> ids
function verbs.put(a)
  local tube, ids = a[2], {}
  call('SADD', P .. 'tubes', tube)
  for i = 6, #a do
    local id = string.format('%014x', call('INCR', P .. 'last'))
    call('HSET', job(id), 't', tube, 'b', a[i], 'p', a[3], 'l', a[5], 's', 'd', 'h', '', 'k', 0, 'n', 0)
    if tonumber(a[4]) > 0 then call('ZADD', of('delayed', tube), now + a[4], id) else make_ready(id, tube) end
    ids[#ids + 1] = id
  end
  if tonumber(a[4]) > 0 then ring(tube) end -- who waits must know until when
  return ids
end

-- All connections, if nobody has looked which of them are there for so many milliseconds.
local function lookout(pace)
  return call('SET', P .. 'lookout', 1, 'NX', 'PX', pace) and call('SMEMBERS', P .. 'connections') or {}
end

-- connection, limit, milliseconds between lookouts or '' if it will not wait, number of pairs, (id, delivery) ...,
-- tube ... -> {seconds until something is due or '', connections to be looked for}, then
-- (id, body, delivery, attempts, lease) for each job
function verbs.take(a)
  local me, limit, pace, pairs_ = a[2], tonumber(a[3]), a[4], tonumber(a[5])
  for i = 6, 4 + 2 * pairs_, 2 do delete(me, a[i], a[i + 1]) end
  local from = 6 + 2 * pairs_
  unwait(me)
  local same = call('SCARD', of('watch', me)) == #a - from + 1
  for i = from, #a do
    if same and call('SISMEMBER', of('watch', me), a[i]) == 0 then same = false end
  end
  if not same then
    for _, tube in ipairs(call('SMEMBERS', of('watch', me))) do call('SREM', of('watched', tube), me) end
    call('DEL', of('watch', me))
    call('SADD', P .. 'connections', me)
    for i = from, #a do
      call('SADD', of('watch', me), a[i])
      call('SADD', of('watched', a[i]), me)
      call('SADD', P .. 'tubes', a[i])
    end
  end
  for i = from, #a do settle(a[i]) end
  local got = {'', {}}
  while #got < 2 + 5 * limit do
    local tube, id = best(a, from)
    if not id then break end
    local lease = call('HGET', job(id), 'l')
    call('ZADD', of('held', tube), now + lease, id)
    call('SADD', of('own', me), id)
    call('HSET', job(id), 's', 'h', 'h', me)
    local delivery, attempts = call('HINCRBY', job(id), 'k', 1), call('HINCRBY', job(id), 'n', 1)
    call('ZREM', of('ready', tube), id)
    for _, value in ipairs({id, call('HGET', job(id), 'b'), delivery, attempts, lease}) do got[#got + 1] = value end
  end
  if #got == 2 and pace ~= '' then
    got[2] = lookout(pace)
    call('DEL', of('bell', me))
    local due
    for i = from, #a do
      call('ZADD', of('waiting', a[i]), now, me)
      for _, kind in ipairs({'delayed', 'held'}) do
        local first = call('ZRANGE', of(kind, a[i]), 0, 0, 'WITHSCORES')[2]
        if first and (not due or tonumber(first) < due) then due = tonumber(first) end
      end
    end
    if due then got[1] = tostring(math.max(0.001, due - now)) end
  end
  return got
end

-- connection: it waits no more
function verbs.unwait(a) unwait(a[2]) end

-- connection, (id, delivery) ... -> attempts of each, 0 for one that is lost
function verbs.attempts(a)
  local found = {}
  for i = 3, #a, 2 do
    found[#found + 1] = held(a[2], a[i], a[i + 1]) and tonumber(call('HGET', job(a[i]), 'n')) or 0
  end
  return found
end

-- The following: connection, id, delivery ... -> 1, or 0 for one that is lost

function verbs.touch(a)
  local tube = held(a[2], a[3], a[4])
  if not tube then return 0 end
  call('ZADD', of('held', tube), now + call('HGET', job(a[3]), 'l'), a[3])
  return 1
end

function verbs.release(a)
  local tube, delay = held(a[2], a[3], a[4]), tonumber(a[5])
  if not tube then return 0 end
  if delay > 0 then
    call('ZADD', of('delayed', tube), now + delay, a[3])
    ring(tube)
  end
  drop(a[3], tube)
  call('HINCRBY', job(a[3]), 'n', -1)
  if delay > 0 then call('HSET', job(a[3]), 's', 'd', 'h', '') else make_ready(a[3], tube) end
  return 1
end

function verbs.bury(a)
  local tube = held(a[2], a[3], a[4])
  if not tube then return 0 end
  call('ZADD', of('buried', tube), call('INCR', P .. 'burials'), a[3])
  drop(a[3], tube)
  call('HSET', job(a[3]), 's', 'b', 'h', '')
  if a[5] then call('HSET', job(a[3]), 'b', a[5]) end
  return 1
end

function verbs.delete(a)
  local count = 0
  for i = 3, #a, 2 do count = count + delete(a[2], a[i], a[i + 1]) end
  return count
end

-- tube, limit -> how many
function verbs.kick(a)
  local tube, limit = a[2], tonumber(a[3])
  settle(tube)
  if limit <= 0 then return 0 end
  local kind = call('EXISTS', of('buried', tube)) == 1 and 'buried' or 'delayed'
  local ids = call('ZRANGE', of(kind, tube), 0, limit - 1)
  for _, id in ipairs(ids) do
    make_ready(id, tube)
    call('ZREM', of(kind, tube), id)
  end
  return #ids
end

-- tube, kind -> id and body of the next, or nothing
function verbs.peek(a)
  settle(a[2])
  local id = call('ZRANGE', of(a[3], a[2]), 0, 0)[1]
  return id and {id, call('HGET', job(id), 'b')} or {}
end

function verbs.discard(a)
  local id = a[2]
  local tube = call('HGET', job(id), 't')
  if not tube then return 0 end
  settle(tube)
  if call('HGET', job(id), 's') == 'h' then return 0 end
  for _, kind in ipairs({'ready', 'delayed', 'buried'}) do call('ZREM', of(kind, tube), id) end
  erase(id)
  return 1
end

-- tube -> ready, held, delayed, buried, watching, waiting
function verbs.stats(a)
  settle(a[2])
  local counts = {}
  for _, kind in ipairs({'ready', 'held', 'delayed', 'buried'}) do counts[#counts + 1] = call('ZCARD', of(kind, a[2])) end
  counts[5], counts[6] = call('SCARD', of('watched', a[2])), call('ZCARD', of('waiting', a[2]))
  return counts
end

function verbs.tubes(a)
  local found = {}
  for _, tube in ipairs(call('SMEMBERS', P .. 'tubes')) do
    if not exists(tube) then call('SREM', P .. 'tubes', tube)
    elseif string.sub(tube, 1, #a[2]) == a[2] then found[#found + 1] = tube end
  end
  return found
end

function verbs.lookout(a) return lookout(a[2]) end

-- connection ...: they are gone
function verbs.forget(a)
  for i = 2, #a do forget(a[i]) end
end

return verbs[ARGV[1]](ARGV)
