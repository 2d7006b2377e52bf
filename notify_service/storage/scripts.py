"""The Lua scripts of notify. The keys of each are in one slot, so that Redis Cluster can run them.

Times are Redis's own.
"""

from __future__ import annotations

from typing import Final

from servicekit.redis import Script

# KEYS: queue, jobs, dead letters. ARGV: group, id of the event or empty, the job or empty, length of the dead letters,
# number of jobs, then for each its delay in ms and itself; then for each dead letter its field, payload and reason.
# Returns 0, and stores nothing, if the event or job was acknowledged before.
ACKNOWLEDGE: Final = Script.from_text("""
if ARGV[2] ~= '' then
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
  redis.call('XDEL', KEYS[1], ARGV[2])
elseif redis.call('ZREM', KEYS[2], ARGV[3]) == 0 then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at, jobs = 6, tonumber(ARGV[5])
for _ = 1, jobs do
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[at])), ARGV[at + 1])
  at = at + 2
end
while at < #ARGV do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', ARGV[at], ARGV[at + 1], 'reason', ARGV[at + 2])
  at = at + 3
end
return 1
""")

# KEYS: the jobs. ARGV: number of jobs, lease in ms. Returns the jobs that are due, which are due again after the lease.
TAKE_DUE: Final = Script.from_text("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, job in ipairs(due) do
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + tonumber(ARGV[2])), job)
end
return due
""")

# KEYS: queue, jobs, dead letters. ARGV: for each letter its id, its field and its payload. Returns how many there were.
REQUEUE: Final = Script.from_text("""
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local found = 0
for at = 1, #ARGV, 3 do
  if redis.call('XDEL', KEYS[3], ARGV[at]) == 1 then
    found = found + 1
    if ARGV[at + 1] == 'event' then
      redis.call('XADD', KEYS[1], '*', 'event', ARGV[at + 2], 'requeued', '1')
    else
      redis.call('ZADD', KEYS[2], now, ARGV[at + 2])
    end
  end
end
return found
""")

# KEYS: the queue. ARGV: group, consumer, ids of events. Keeps those that still belong to the consumer.
RENEW: Final = Script.from_text("""
for at = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1)
  if #pending == 1 and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
  end
end
return 1
""")

# KEYS: the queue. ARGV: group, time in ms. Removes consumers without events that were not heard of for that time.
REMOVE_CONSUMERS: Final = Script.from_text("""
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for at = 1, #consumer, 2 do facts[consumer[at]] = consumer[at + 1] end
  if facts['pending'] == 0 and facts['idle'] >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts['name'])
  end
end
return 1
""")

# KEYS: the dead letters. ARGV: age in ms. Removes those that are older.
TRIM_DEAD_LETTERS: Final = Script.from_text("""
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[1])
return redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-0', math.max(oldest, 0)))
""")

# KEYS: queue, jobs, dead letters. Returns the number of each, and the age of the oldest event in ms.
MEASURE: Final = Script.from_text("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local age = #oldest > 0 and math.max(now - tonumber(string.match(oldest[1][1], '^%d+')), 0) or 0
return {redis.call('XLEN', KEYS[1]), redis.call('ZCARD', KEYS[2]), redis.call('XLEN', KEYS[3]), age}
""")

# What was pushed to a user is a hash: by conversation the seq, negative once it is being withdrawn; in the field
# `<conversation>:event` the id of the event that pushed it, in `<conversation>:read` how far the user had read then.

# KEYS: the hash, what was read lately. ARGV: conversation, seq, TTL in ms, id of the event, empty for a job, and how
# far the user has read. Returns 0 if a newer entry was pushed, or this one was read or withdrawn; 2 if another event
# pushed it.
RECORD_PUSHED: Final = Script.from_text("""
local old = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local seq = tonumber(ARGV[2])
if old > seq or -old >= seq or tonumber(redis.call('GET', KEYS[2]) or '0') >= seq then return 0 end
local event = ARGV[1] .. ':event'
if ARGV[4] ~= '' then
  local other = redis.call('HGET', KEYS[1], event)
  if old == seq and other and other ~= ARGV[4] then return 2 end
  redis.call('HSET', KEYS[1], event, ARGV[4])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], ARGV[1] .. ':read', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""")

# KEYS: the hash, what was read lately. ARGV: conversation, seq up to which it was read, time in ms. Returns the seq
# that was pushed; 0 if there is none, and then a push that is decided within that time is not sent any more; also 0 if
# the user had read as far when something newer was pushed.
BEGIN_WITHDRAWAL: Final = Script.from_text("""
local seq = math.abs(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0'))
local read = tonumber(ARGV[2])
if seq == 0 then
  local before = tonumber(redis.call('GET', KEYS[2]) or '0')
  if before < read then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
elseif seq <= read then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', -seq))
elseif read <= tonumber(redis.call('HGET', KEYS[1], ARGV[1] .. ':read') or '0') then
  return 0
end
return seq
""")

# KEYS: the hash. ARGV: conversation, seq.
END_WITHDRAWAL: Final = Script.from_text("""
if redis.call('HGET', KEYS[1], ARGV[1]) == '-' .. ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1], ARGV[1] .. ':event', ARGV[1] .. ':read')
end
return 1
""")

# KEYS: the hash. ARGV: conversation, seq. Returns 1 if that entry is the newest that was pushed, also if it is being
# withdrawn: its server may have died.
WITHDRAW_DELETED: Final = Script.from_text("""
if math.abs(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')) ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], '-' .. ARGV[2])
return 1
""")
