"""What Redis is asked to do in one step. Every age and every lease is by its own clock."""

from __future__ import annotations

import hashlib


class Script:
    """A Lua script.

    :ivar text: its source.
    :ivar sha: the name under which Redis remembers it.
    """

    def __init__(self, text: str) -> None:
        self.text: str = CLOCK + text
        self.sha: str = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


# Redis 6 replicates a script's writes instead of the script only when it is told to.
CLOCK = """
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

COUNTING = """
local servers, members, aggregate, changes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local changed, keep = false, nil

local function count(contribution, by)
  for field in string.gmatch(contribution, '[^\\n]+') do
    local left = redis.call('HINCRBY', aggregate, field, by)
    if string.sub(field, 1, 2) == 'r:' then
      local appeared = 't:' .. string.sub(field, 3)
      if left <= 0 then redis.call('HDEL', aggregate, appeared)
      elseif left == by then redis.call('HSET', aggregate, appeared, now) end
    end
    if left <= 0 then redis.call('HDEL', aggregate, field) end
  end
  changed = true
end

local function tell(name, state, release)
  redis.call('XADD', changes, 'MAXLEN', '~', 200, '*',
             'server', name, 'state', state, 'release', release)
  redis.call('PEXPIRE', changes, keep)
end

local function forget(id, prefix)
  local contribution = redis.call('HGET', members, id)
  if contribution then count(contribution, -1) end
  redis.call('HDEL', members, id)
  redis.call('ZREM', servers, id)
  local key = prefix .. id
  local name = redis.call('HGET', key, 'name')
  tell(name or id, 'gone', redis.call('HGET', key, 'release') or '')
  redis.call('DEL', key)
end
"""

BEAT = Script(
    COUNTING
    + """
local id, life, known = ARGV[1], tonumber(ARGV[2]), ARGV[4]
keep = tonumber(ARGV[3])
local contribution, report, name = ARGV[5], ARGV[6], ARGV[7]
local release, state, shared = ARGV[8], ARGV[9], ARGV[10]
local prefix = string.sub(KEYS[5], 1, -1 - string.len(id))

local known_of = redis.call('HMGET', aggregate, 'n', 'kept')
-- Whatever took one of the keys away: they are made to agree again.
local counted = tonumber(known_of[1] or 0)
if counted ~= redis.call('HLEN', members) or counted ~= redis.call('ZCARD', servers) then
  redis.call('DEL', servers, members, aggregate)
  changed, known_of[2] = true, false
end

for _, dead in ipairs(redis.call('ZRANGEBYSCORE', servers, '-inf', '(' .. (now - life),
                                 'LIMIT', 0, 100)) do
  forget(dead, prefix)
end

local before = redis.call('HGET', members, id)
if before ~= contribution then
  if before then count(before, -1) end
  count(contribution, 1)
  redis.call('HSET', members, id, contribution)
end
redis.call('ZADD', servers, now, id)
local shown = redis.call('HGET', KEYS[5], 'state')
if not shown then redis.call('HSET', KEYS[5], 'born', now, 'name', name, 'release', release) end
if shown ~= state then
  redis.call('HSET', KEYS[5], 'state', state, 'since', now)
  tell(name, state, release)
end
redis.call('HSET', KEYS[5], 'report', report, 'seen', now)
redis.call('PEXPIRE', KEYS[5], 2 * life)
if changed then
  redis.call('HSETNX', aggregate, 'born', now)
  redis.call('HINCRBY', aggregate, 'v', 1)
end

local told, ordered = {}, {}
if shared ~= '' then
  shared = cjson.decode(shared)
  for _, give in ipairs(shared.gives) do
    local check, base, history, age, pause = unpack(give)
    local at = redis.call('HGET', KEYS[6], check .. ':at') or base
    if at == base then
      local ended = math.max(now - age, (tonumber(base) or 0) + 1)
      redis.call('HSET', KEYS[6], check .. ':at', ended, check .. ':history', history,
                 check .. ':due', ended + pause)
    end
  end
  for _, want in ipairs(shared.wants) do
    local check, base, lease = unpack(want)
    local found = redis.call('HMGET', KEYS[6], check .. ':at', check .. ':history', check .. ':due')
    if found[1] and found[1] ~= base then
      told[#told + 1] = {check, found[1], found[2]}
    end
    if lease > 0 and now >= tonumber(found[3] or 0) then
      redis.call('HSET', KEYS[6], check .. ':due', now + lease)
      ordered[#ordered + 1] = check
    end
  end
  redis.call('PEXPIRE', KEYS[6], keep)
end

if now > tonumber(known_of[2] or 0) then
  redis.call('HSET', aggregate, 'kept', now + keep / 4)
  for number = 1, 4 do redis.call('PEXPIRE', KEYS[number], keep) end
end
local found = redis.call('HMGET', aggregate, 'born', 'v')
local version = found[1] .. ':' .. found[2]
if version == known then return {now, version, {}, {}, told, ordered} end
return {now, version, redis.call('HGETALL', aggregate),
        redis.call('XREVRANGE', changes, '+', '-', 'COUNT', 5), told, ordered}
"""
)
"""Tells of one server, forgets those that are silent, and says what has changed since.

KEYS: servers, members, aggregate, changes, the server's own, checks. ARGV: its identity,
milliseconds that it and that the common keys live, the version that it knows, its contribution to
the aggregate (a field a line), its report, its name, its release, its state, and what concerns
fleet-scope checks as JSON: `gives`, rows of name, time of the result that it builds on, history,
milliseconds since its last run ended, and from there to the next one; `wants`, rows of name, time
of the result that it knows, milliseconds that a run may take, 0: it runs none now. Returns the time
in milliseconds, the version, the aggregate and the last changes when the version is another,
results as rows of name, time and history, and the checks that this server is to run.
"""

LEAVE = Script(
    COUNTING
    + """
keep = tonumber(ARGV[2])
local prefix = string.sub(KEYS[5], 1, -1 - string.len(ARGV[1]))
if redis.call('HEXISTS', members, ARGV[1]) == 1 then forget(ARGV[1], prefix) end
if changed then redis.call('HINCRBY', aggregate, 'v', 1) end
for number = 1, 4 do redis.call('PEXPIRE', KEYS[number], keep) end
return 1
"""
)
"""Forgets a server that ends. KEYS: servers, members, aggregate, changes, the server's own.
ARGV: its identity, milliseconds that the common keys live."""

CLAIM = Script(
    """
local token, who, lease, keep, fresh, most = unpack(ARGV)
local found = redis.call('HMGET', KEYS[1], 'state', 'token', 'until', 'by', 'reason', 'final',
                         'runs', 'fence')
local state, holder, ends, by = found[1], found[2], tonumber(found[3] or 0), found[4] or ''
local reason, final, runs = found[5] or '', found[6] == '1', tonumber(found[7] or 0)
local fence = tonumber(found[8] or 0)
if state then redis.call('PEXPIRE', KEYS[1], keep) end
if state == 'done' then return {'done', by, reason, fence, runs} end
if holder == token then
  redis.call('HSET', KEYS[1], 'until', now + lease)
  return {'yours', by, reason, fence, runs}
end
if final and fresh ~= '1' then return {'failed', by, reason, fence, runs} end
if not final and now < ends then return {state, by, reason, fence, runs} end
if final then runs = 0 end
if runs > tonumber(most) then
  reason = 'the servers that ran it died, ' .. runs .. ' of them'
  redis.call('HSET', KEYS[1], 'state', 'failed', 'final', '1', 'reason', reason)
  redis.call('HDEL', KEYS[1], 'token', 'until')
  return {'failed', by, reason, fence, runs}
end
fence = math.max(fence + 1, time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'state', 'running', 'token', token, 'until', now + lease, 'by', who,
           'runs', runs + 1, 'fence', fence, 'since', now)
redis.call('HDEL', KEYS[1], 'reason', 'final', 'ended')
redis.call('PEXPIRE', KEYS[1], keep)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 200, '*', 'server', who, 'state', 'runs',
           'step', ARGV[7])
redis.call('PEXPIRE', KEYS[2], keep)
return {'yours', who, '', fence, runs + 1}
"""
)
"""Asks for the lease of a step. KEYS: the step, changes. ARGV: a token that nobody else has, who
asks, milliseconds of the lease and of the key's life, `1` when this server has not asked before,
how often the step may be taken over from a server that died, the step's name. Returns what the
step is (`yours`, `running`, `failed`, `done`), who runs or ran it, why it failed, the fencing
number, and how many have run it.
"""

RENEW = Script(
    """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until', now + ARGV[2])
return 1
"""
)
"""Renews a lease; returns 0 when it is another's. KEYS: the step. ARGV: token, milliseconds."""

TELL = Script(
    """
local token, state, reason, keep, who = unpack(ARGV)
local found = redis.call('HMGET', KEYS[1], 'token', 'ended')
local holder = found[1]
if found[2] == token then return 1 end
local lost = redis.call('EXISTS', KEYS[1]) == 0
if holder ~= token and not (lost and state == 'done') then return 0 end
redis.call('HSET', KEYS[1], 'by', who, 'reason', reason, 'since', now)
if state == 'given up' then
  redis.call('HSET', KEYS[1], 'state', 'failed', 'final', '1')
else
  redis.call('HSET', KEYS[1], 'state', state)
end
if state == 'done' or state == 'given up' then
  redis.call('HDEL', KEYS[1], 'token', 'until')
  redis.call('HSET', KEYS[1], 'ended', token)
end
redis.call('PEXPIRE', KEYS[1], keep)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 200, '*', 'server', who, 'state', state,
           'step', ARGV[6])
redis.call('PEXPIRE', KEYS[2], keep)
return 1
"""
)
"""Says how a step stands; returns 0 when the lease is another's. A store that was emptied meanwhile
takes the word of who has done it: nobody else has it. An end that is told again, as the answer was
lost on its way, counts as it did; nothing that this lease says later changes it. KEYS: the step,
changes. ARGV: token, state (`running`, `failed`, `given up`, `done`), reason, milliseconds of the
key's life, who, the step's name.
"""
