"""Lua scripts with which ``worker.durable.transport`` moves messages, and the keys that they use.

    queue --TAKE--> unacked --END--> gone
      ^     ^        |   ^ |
      |   waiting <--+   | +-- RENEW, every second, while the worker that took it lives
      |      WAIT        |
      +---RESTORE--------+     overdue, rejected with requeue, or handed back by a worker that stops

| key | what |
|---|---|
| ``<queue>`` | list; producers push left, TAKE reads right |
| ``unacked`` | hash, tag -> ``[message, "", queue]``: kombu's format, so stock workers may restore it |
| ``unacked_index`` | sorted set, tag by the time when its worker last said that it has it |
| ``unacked_deliveries`` | hash, tag -> how often RESTORE put it back |
| ``threadsync.waiting:<queue>`` | sorted set, message by the time from which TAKE may bring it |

A tag is the message's own. One that has none, or that another message has at the moment, gets one here.

Each script begins with a line that says what it may do. Those that workers run may write on a server at
``maxmemory``: what they move was there before, and a worker that may not note what it takes cannot empty the
server. A script is refused as a whole or runs as a whole, whatever the reason: no memory, no disk, a replica.
All times are the server's.
"""

from __future__ import annotations

from typing import Final

from threadsync.broker.lua import DRAINS
from worker.durable.deliveries import KEPT_BYTES, OPENED_ALONE_FROM

READ_WHOLE_BYTES: Final = 1 << 20
"""Size up to which a message is read with its body."""

MOST_LANE_BYTES: Final = 16 * 1024
"""Size up to which a message may take the fast lane: many of them are opened by one child at once."""

TAG_AT_THE_END: Final = len('"delivery_tag": "') + 36 + len('"}}')
"""Number of bytes from kombu's tag, a UUID, to the end of the message that kombu writes."""

LONGEST_QUEUE_NAME: Final = 4096
"""Longest queue name in bytes, as JSON: it is searched in so much of the end of an entry of ``unacked``."""

READ: Final = f"""
local function read(message)
  local text = message
  if #message > {READ_WHOLE_BYTES} then
    local _, start = message:find('^{{"body": ?"')
    local ending = start and message:find('"', start + 1, true)
    if not ending or #message - ending > {READ_WHOLE_BYTES} then
      return nil
    end
    text = '{{"body":"' .. message:sub(ending)
  end
  local readable, parsed = pcall(cjson.decode, text)
  return readable and type(parsed) == 'table' and parsed or nil
end
"""
"""A function that returns a message as a table, of a large one without its body, or nil.

To parse a body of tens of megabytes would hold up the server for longer than its clients wait. kombu writes
the body first, in base64; a large message of another make is not read, as one that is no JSON is not.
"""

# KEYS: unacked, index, deliveries, then for each queue what waits, then a key for each queue and priority.
# ARGV: most to take, each key's share, number of queues, bytes after which no more are taken, bytes of a
# suspect above which only its beginning is brought, most to take for the fast lane (-1: it is closed), the
# names of its commands as ``|one|other|``; for each of those keys the queue's name, and "1" to note messages.
# What some leave of their shares the others get, in a second round.
# Returns {rows, the queue of the fast lane's messages, those messages, their tags}, the last two a line each.
# A row is {queue, message, tag, deliveries before, "1" if it waited, the task's id and name where it was
# delivered before, its size}.
TAKE: Final = f"""{DRAINS}{READ}
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local queues = tonumber(ARGV[3])
local places = #KEYS - 3
local taken, brought = {{}}, 0
local room, names, lane_queue = tonumber(ARGV[6]), ARGV[7], ''
local lane, lane_tags = {{}}, {{}}
local function text(value)
  return type(value) == 'string' and value or ''
end
-- kombu writes it last. Most messages need not be parsed, then.
local function written_tag(message)
  local ending = #message <= {READ_WHOLE_BYTES} and message:sub(-{TAG_AT_THE_END})
  return ending and ending:match('^"delivery_tag": "([%w%-]+)"}}}}$')
end
local function note(tag, message, queue)
  if redis.call('HGET', KEYS[1], tag) then
    return false
  end
  redis.call('HSET', KEYS[1], tag, '[' .. message .. ',"",' .. cjson.encode(queue) .. ']')
  redis.call('ZADD', KEYS[2], now, tag)
  return true
end
local function is_of_lane(message)
  if room < 0 or #message > {MOST_LANE_BYTES} or message:find('\\n', 1, true) then
    return false
  end
  local _, stop = message:find('"task": "', 1, true)
  local name = stop and message:match('^[%w_.]+"', stop + 1)
  return name and names:find('|' .. name:sub(1, -2) .. '|', 1, true)
end
-- Takes the message for the fast lane. nil: it is not for the lane; false: it is, and there is no room.
local function take_for_lane(place, message)
  local queue, tag = ARGV[6 + 2 * place], written_tag(message)
  if not tag or ARGV[7 + 2 * place] ~= '1' or not is_of_lane(message)
      or redis.call('HGET', KEYS[3], tag) then
    return nil
  end
  if #lane >= room then
    return false
  end
  if lane_queue ~= '' and lane_queue ~= queue or not note(tag, message, queue) then
    return nil
  end
  lane_queue = queue
  brought = brought + #message
  lane[#lane + 1], lane_tags[#lane_tags + 1] = message, tag
  return true
end
local function take(place, message, waited)
  local queue, noted = ARGV[6 + 2 * place], ARGV[7 + 2 * place]
  local own = written_tag(message)
  local parsed = not own and read(message)
  if not own then
    local properties = parsed and parsed.properties
    own = type(properties) == 'table' and properties.delivery_tag
    if type(own) == 'number' then
      own = string.format('%.17g', own)
    end
  end
  if text(own) == '' then
    local ends = #message > {READ_WHOLE_BYTES} and message:sub(1, {KEPT_BYTES}) .. message:sub(-{KEPT_BYTES})
    own = 'unreadable-' .. redis.sha1hex(ends or message)
  end
  local tag, twins = own, 0
  while noted == '1' and not note(tag, message, queue) do
    twins = twins + 1
    tag = own .. '#' .. twins
  end
  local before = redis.call('HGET', KEYS[3], tag) or '0'
  local headers = {{}}
  if before ~= '0' then
    parsed = parsed or read(message)
    headers = parsed and type(parsed.properties) == 'table' and type(parsed.headers) == 'table'
      and parsed.headers or headers
  end
  local shown = message
  if #message > tonumber(ARGV[5]) and (tonumber(before) or 0) >= {OPENED_ALONE_FROM - 1} then
    shown = message:sub(1, {KEPT_BYTES})
  end
  brought = brought + #shown
  taken[#taken + 1] = {{queue, shown, tag, before, waited, text(headers.id), text(headers.task), #message}}
end
local function is_enough()
  return brought >= tonumber(ARGV[4])
end
for place = 1, queues do
  local due = redis.pcall('ZRANGE', KEYS[3 + place], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1] - #taken)
  for _, message in ipairs(due) do
    if is_enough() then
      break
    end
    take(place, message, '1')
    redis.call('ZREM', KEYS[3 + place], message)
  end
end
local lists = places - queues
for round = 0, 2 * lists - 1 do
  local place = queues + 1 + round % lists
  local left = math.min(round < lists and ARGV[2] or ARGV[1], ARGV[1] - #taken)
  while not is_enough() do
    local message = redis.pcall('LINDEX', KEYS[3 + place], -1)
    if type(message) ~= 'string' then
      break
    end
    local was_taken = take_for_lane(place, message)
    if was_taken == nil and left > 0 then
      take(place, message, '0')
      was_taken, left = true, left - 1
    end
    if not was_taken then
      break
    end
    redis.call('RPOP', KEYS[3 + place])
  end
end
return {{taken, lane_queue, table.concat(lane, '\\n'), table.concat(lane_tags, '\\n')}}
"""

# KEYS: unacked, index, deliveries. ARGV: tags. What was given back meanwhile keeps its count of deliveries.
END: Final = f"""{DRAINS}
for _, tag in ipairs(ARGV) do
  if redis.call('HDEL', KEYS[1], tag) == 1 then
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[3], tag)
  end
end
"""

# KEYS: unacked, index, deliveries. ARGV: tags. What is not there any more is not put back.
RENEW: Final = f"""{DRAINS}
local now = redis.call('TIME')
for _, tag in ipairs(ARGV) do
  redis.call('ZADD', KEYS[2], 'XX', now[1] + now[2] / 1e6, tag)
end
"""

# KEYS: unacked, index, deliveries. ARGV: what the key of waiting messages begins with; for each message its
# tag and the seconds that it is to wait. What is not there any more is another worker's.
WAIT: Final = f"""{DRAINS}
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
for i = 2, #ARGV, 2 do
  local tag = ARGV[i]
  local note = redis.call('HGET', KEYS[1], tag)
  if note then
    local ending, _, queue = note:find(',"",("[^"]*")%]$', -{LONGEST_QUEUE_NAME})
    local message = note:sub(2, ending - 1)
    redis.call('ZADD', ARGV[1] .. cjson.decode('[' .. queue .. ']')[1], now + ARGV[i + 1], message)
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  end
end
"""

# KEYS: unacked, index, deliveries.
# ARGV: seconds since the last renewal, most to restore, PUSH command, key prefix, separator of a priority,
# priority steps as JSON; then tags instead.
# Returns {number of tags looked at, {tags that a stock worker noted}}.
RESTORE: Final = f"""{DRAINS}{READ}
local tags = {{unpack(ARGV, 7)}}
local steps = cjson.decode(ARGV[6])
local function suffix(message)
  local parsed = read(message)
  local properties = parsed and parsed.properties
  local priority = type(properties) == 'table' and tonumber(properties.priority) or 0
  local step = 0
  for _, start in ipairs(steps) do
    if start <= priority then
      step = start
    end
  end
  return step > 0 and ARGV[5] .. step or ''
end
if #tags == 0 then
  local now = redis.call('TIME')
  local overdue = now[1] + now[2] / 1e6 - ARGV[1]
  tags = redis.call('ZRANGE', KEYS[2], '-inf', overdue, 'BYSCORE', 'LIMIT', 0, ARGV[2])
end
local foreign = {{}}
for _, tag in ipairs(tags) do
  local note = redis.call('HGET', KEYS[1], tag)
  local ending, queue
  if note then
    ending, _, queue = note:find(',"",("[^"]*")%]$', -{LONGEST_QUEUE_NAME})
  end
  local is_back = not note
  if ending then
    local message = note:sub(2, ending - 1)
    local readable, names = pcall(cjson.decode, '[' .. queue .. ']')
    -- A name that is none, or of a key that is no list: no program of ours wrote it.
    local pushed = readable and names[1] ~= ''
      and redis.pcall(ARGV[3], ARGV[4] .. names[1] .. suffix(message), message)
    is_back = type(pushed) == 'number'
    if is_back and type(redis.pcall('HINCRBY', KEYS[3], tag, 1)) == 'table' then
      redis.call('HSET', KEYS[3], tag, 1)
    end
  end
  if not is_back then
    foreign[#foreign + 1] = tag
  else
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  end
end
return {{#tags, foreign}}
"""

# KEYS[4]: a queue of one priority. ARGV: a copy that is to run later; its first one ends after it.
PUT_COPY: Final = f"{DRAINS}redis.call('LPUSH', KEYS[4], ARGV[1])"

# KEYS[4], KEYS[5]: kombu's table of an exchange's queues, and of those that do not expire. ARGV: the queue.
BIND: Final = f"""{DRAINS}
redis.call('SADD', KEYS[4], ARGV[1])
redis.call('SADD', KEYS[5], ARGV[1])
"""

# KEYS: of results. ARGV: seconds until they expire, 0 for never; then a result for each key. A full server
# refuses them. Their readers look, so that a notice may be refused.
# Returns {how many were refused, why the last one was}.
RESULTS: Final = """
local refused, reason = 0, ''
for place, key in ipairs(KEYS) do
  local value, reply = ARGV[1 + place]
  if ARGV[1] == '0' then
    reply = redis.pcall('SET', key, value)
  else
    reply = redis.pcall('SET', key, value, 'EX', ARGV[1])
  end
  if type(reply) == 'table' and reply.err then
    refused, reason = refused + 1, reply.err
  else
    redis.pcall('PUBLISH', key, value)
  end
end
return {refused, reason}
"""
