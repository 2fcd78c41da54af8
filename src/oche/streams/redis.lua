-- The verbs of oche's topics on Redis streams, each one atomic. Called with no keys and (verb, topic, arguments ...).
--
--   oche:stream:TOPIC                 stream: an entry is a message, {id, body}; its groups are the channels
--   oche:stream:TOPIC:ids             sorted set: time -> id, of the messages published lately
--   oche:stream:TOPIC:later:CHANNEL   sorted set: when it is to be had again -> entry
local call = redis.call
local verb, topic = ARGV[1], ARGV[2]
local stream = 'oche:stream:' .. topic
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function later(channel) return stream .. ':later:' .. channel end

local function groups()
  if call('EXISTS', stream) == 0 then return {} end
  local found = {}
  for _, group in ipairs(call('XINFO', 'GROUPS', stream)) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    found[#found + 1] = fields
  end
  return found
end

-- Of these pairs of an entry and the how-manieth delivery of it, the entries that this consumer holds by that delivery.
local function held(channel, me, pairs)
  local found = {}
  for i = 1, #pairs, 2 do
    local row = call('XPENDING', stream, channel, pairs[i], pairs[i], 1, me)[1]
    if row and row[4] == tonumber(pairs[i + 1]) and not call('ZSCORE', later(channel), pairs[i]) then
      found[#found + 1] = pairs[i]
    end
  end
  return found
end

-- Entries that every channel is done with, from the oldest on.
local function trim()
  local first
  for _, group in ipairs(groups()) do
    local oldest = call('XPENDING', stream, group.name)[2]
    if not oldest then
      local ms, number = string.match(group['last-delivered-id'], '(%d+)-(%d+)')
      oldest = ms .. '-' .. string.format('%.0f', number + 1)
    end
    local ms, number = string.match(oldest, '(%d+)-(%d+)')
    ms, number = tonumber(ms), tonumber(number)
    if not first or ms < first.ms or (ms == first.ms and number < first.number) then
      first = {ms = ms, number = number, entry = oldest}
    end
  end
  if first then call('XTRIM', stream, 'MINID', first.entry) end
end

local verbs = {}

-- window, then id and body of each; one that was published lately is dropped.
function verbs.put(window, ...)
  local given = {...}
  for i = 1, #given, 2 do
    if call('ZADD', stream .. ':ids', 'NX', now, given[i]) == 1 then
      call('XADD', stream, '*', 'id', given[i], 'body', given[i + 1])
    end
  end
  call('ZREMRANGEBYRANK', stream .. ':ids', 0, -1 - window)
end

-- A first channel gets all that is there, others what is published from now on. Receivers that are long gone are forgotten.
function verbs.subscribe(channel, forget)
  local there, first = false, true
  for _, group in ipairs(groups()) do
    there, first = there or group.name == channel, false
  end
  if not there then
    call('XGROUP', 'CREATE', stream, channel, first and '0' or '$', 'MKSTREAM')
    return
  end
  for _, consumer in ipairs(call('XINFO', 'CONSUMERS', stream, channel)) do
    local fields = {}
    for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
    if fields.pending == 0 and fields.idle > tonumber(forget) then
      call('XGROUP', 'DELCONSUMER', stream, channel, fields.name)
    end
  end
end

-- What is to be had again: leases that ran out, retries that are due. {entries, whether any are held at all}
function verbs.again(channel, me, lease, limit)
  local got = {}
  lease, limit = tonumber(lease), tonumber(limit)
  local function take(entry)
    call('ZREM', later(channel), entry)
    local claimed = call('XCLAIM', stream, channel, me, 0, entry)[1]
    if claimed then
      local count = call('XPENDING', stream, channel, entry, entry, 1)[1][4]
      got[#got + 1] = {claimed[1], claimed[2], count}
    end
  end
  for _, entry in ipairs(call('ZRANGEBYSCORE', later(channel), '-inf', now, 'LIMIT', 0, limit)) do take(entry) end
  if #got < limit then
    local claimed = call('XAUTOCLAIM', stream, channel, me, lease, '0-0', 'COUNT', limit - #got, 'JUSTID')[2]
    for _, entry in ipairs(claimed) do
      if not call('ZSCORE', later(channel), entry) then take(entry) end
    end
  end
  return {got, call('XPENDING', stream, channel)[1]}
end

function verbs.ack(channel, me, ...)
  for _, entry in ipairs(held(channel, me, {...})) do call('XACK', stream, channel, entry) end
  trim()
end

function verbs.retry(channel, me, delay, ...)
  for _, entry in ipairs(held(channel, me, {...})) do call('ZADD', later(channel), now + delay, entry) end
end

function verbs.release(channel, me, ...)
  for _, entry in ipairs(held(channel, me, {...})) do
    local count = call('XPENDING', stream, channel, entry, entry, 1)[1][4]
    call('XCLAIM', stream, channel, me, 0, entry, 'RETRYCOUNT', count - 1, 'JUSTID')
    call('ZADD', later(channel), now, entry)
  end
end

function verbs.touch(channel, me, ...)
  for _, entry in ipairs(held(channel, me, {...})) do call('XCLAIM', stream, channel, me, 0, entry, 'JUSTID') end
end

function verbs.depth()
  local deepest
  for _, group in ipairs(groups()) do
    local waits = (group.lag or call('XLEN', stream)) + call('ZCARD', later(group.name))
    if not deepest or waits > deepest then deepest = waits end
  end
  return deepest or call('XLEN', stream)
end

function verbs.remove(channel)
  if call('EXISTS', stream) == 1 then call('XGROUP', 'DESTROY', stream, channel) end
  call('DEL', later(channel))
end

return verbs[verb](unpack(ARGV, 3))
