"""The Lua scripts of presence; each touches one key, so that Redis Cluster can run them.

Times are Redis's own. A record is a hash: `seen`, `version`, and by session id the stream of a device, as
`<1 foreground, 2 background> <closed_ms> <sequence> <number of the lease> <incarnation> <server id>`.
"""

from __future__ import annotations

from typing import Final

from servicekit.redis import Script

# KEYS: the record. ARGV: session id, server id, incarnation, StreamState, age in ms, sequence, channel, close grace in
# ms, time in ms for which an ended stream is kept, TTL in ms of a record without open streams, number of the lease.
# Publishes the whole record if it changed. Nothing changes if a later transition, or one under a later lease, is
# stored. A stream that is offline at once is stored as if it had been closed a grace earlier.
TRANSITION: Final = Script.from_text("""
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
local at = now - tonumber(ARGV[5])
local key, session, state = KEYS[1], ARGV[1], tonumber(ARGV[4])
local sequence, grace, number = tonumber(ARGV[6]), tonumber(ARGV[8]), tonumber(ARGV[11])
local old = redis.call('HGET', key, session)
local activity, closed, last, last_number, rest
if old then
  activity, closed, last, last_number, rest = string.match(old, '^(%d) (%d+) (%d+) (%d+) (.*)$')
  if sequence == 0 then sequence = tonumber(last) end
  if sequence < tonumber(last) or number < tonumber(last_number) then return 0 end
end
if state <= 2 then
  local new = string.format('%d 0 %.0f %.0f %s %s', state, sequence, number, ARGV[3], ARGV[2])
  if old == new then return 0 end
  redis.call('HSET', key, session, new)
  -- Reported again under another lease.
  if old and tonumber(activity) == state and closed == '0' then return 0 end
elseif not old or (state == 3 and closed ~= '0') then
  return 0
else
  local ended = at
  if state > 3 then ended = at - grace end
  if closed ~= '0' then ended = math.min(ended, tonumber(closed)) end
  local times = string.format('%.0f %.0f %.0f', math.max(ended, 1), sequence, number)
  redis.call('HSET', key, session, activity .. ' ' .. times .. ' ' .. rest)
end
if activity == '1' and state ~= 1 and closed == '0' then
  local seen = tonumber(redis.call('HGET', key, 'seen') or '0')
  redis.call('HSET', key, 'seen', string.format('%.0f', math.max(seen, at)))
end
local version = math.max(now_us, tonumber(redis.call('HGET', key, 'version') or '0') + 1)
redis.call('HSET', key, 'version', string.format('%.0f', version))
local record, open = {}, 0
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local closed_at = tonumber(string.match(fields[i + 1], '^%d (%d+) ') or '0')
  if closed_at > 0 and closed_at + grace <= now then
    if closed_at + tonumber(ARGV[9]) <= now then redis.call('HDEL', key, fields[i]) end
  else
    record[#record + 1], record[#record + 2] = fields[i], fields[i + 1]
    if closed_at == 0 and string.find(fields[i + 1], ' ') then open = open + 1 end
  end
end
if open > 0 then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ARGV[10]) end
redis.call('SPUBLISH', ARGV[7], table.concat(record, '\\n'))
return 1
""")

# A lease is `<incarnation> <id of its report> <renewed_ms> <number>`; each new lease has a higher number. While the
# streams of its server are being ended, the id is `ending`, or `closing` if the server said goodbye, and the time is
# that of the claim.

# KEYS: the leases. ARGV: server id, incarnation, id of its report, duration of a claim in ms. Returns the number of the
# lease; nothing, if the streams of the server are being ended.
OPEN_LEASE: Final = Script.from_text("""
local time = redis.call('TIME')
local old = redis.call('HGET', KEYS[1], ARGV[1])
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = time[1] * 1000000 + time[2]
if old then
  local report, renewed, last = string.match(old, '^%d+ (%S+) (%d+) (%d+)$')
  if (report == 'ending' or report == 'closing') and now - tonumber(renewed) < tonumber(ARGV[4]) then return false end
  number = math.max(number, tonumber(last) + 1)
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %s %.0f %.0f', ARGV[2], ARGV[3], now, number))
return string.format('%.0f', number)
""")

# KEYS: the leases. ARGV: server id, id of its report, duration in ms. Returns 0 if another report has the lease, or if
# it has ended.
RENEW_LEASE: Final = Script.from_text("""
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return 0 end
local incarnation, report, renewed, number = string.match(old, '^(%d+) (%S+) (%d+) (%d+)$')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if report ~= ARGV[2] or now - tonumber(renewed) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %s %.0f %s', incarnation, report, now, number))
return 1
""")

# KEYS: the leases. ARGV: server id, incarnation, id of its report (empty: any), duration in ms, duration of a claim in
# ms. Claims to end the streams of an incarnation: for its own report at any time, for others once its lease, or an
# earlier claim, has ended. Returns 0 if they may not be ended.
CLAIM_END: Final = Script.from_text("""
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return 0 end
local incarnation, report, renewed, number = string.match(old, '^(%d+) (%S+) (%d+) (%d+)$')
if incarnation ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '' then
  if report ~= ARGV[3] then return 0 end
elseif now - tonumber(renewed) < tonumber(report == 'ending' and ARGV[5] or ARGV[4]) then
  return 0
end
local claim = ARGV[3] == '' and 'ending' or 'closing'
redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %s %.0f %s', incarnation, claim, now, number))
return 1
""")

# KEYS: the leases. ARGV: server id, incarnation. Removes the lease of an incarnation whose streams were ended.
REMOVE_LEASE: Final = Script.from_text("""
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old or not string.find(old, '^' .. ARGV[2] .. ' %a+ing ') then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
""")

# KEYS: the record. ARGV: channel. Removes the record of a user, and publishes that it was erased.
ERASE_RECORD: Final = Script.from_text("""
local time = redis.call('TIME')
local version = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('HGET', KEYS[1], 'version') or '0') + 1)
redis.call('DEL', KEYS[1])
redis.call('SPUBLISH', ARGV[1], string.format('version\\n%.0f\\nerased\\n1', version))
return 1
""")

# KEYS: the number of the newest watch. ARGV: channel, device id. Gives a watch a higher number than those of all
# watches before, and publishes both.
PUBLISH_WATCH: Final = Script.from_text("""
local time = redis.call('TIME')
local number = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
local text = string.format('%.0f', number)
redis.call('SET', KEYS[1], text)
redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. text)
return text
""")

# KEYS: the epoch. ARGV: the longest gap in ms, the run ids of the primaries. Begins another epoch if no replica was
# here for longer than the gap, or if there is another process of Redis, which may lack the last writes of the one
# before. Returns the time and the beginning of the epoch.
POLL_EPOCH: Final = Script.from_text("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = string.format('%.0f', now)
local alive = tonumber(redis.call('HGET', KEYS[1], 'alive') or '0')
if now - alive > tonumber(ARGV[1]) or redis.call('HGET', KEYS[1], 'run') ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'began', text, 'run', ARGV[2])
end
redis.call('HSET', KEYS[1], 'alive', text)
return {text, redis.call('HGET', KEYS[1], 'began')}
""")
