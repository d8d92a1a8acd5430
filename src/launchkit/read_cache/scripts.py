"""What runs on the server, in Lua, where nothing comes between the steps.

The rules:

- The book is one hash: `epoch`, `sequence`, the server that began it, and for a place that names hash to, the number of
  the last invalidation there. What is no book begins anew with a random epoch, which the caller brings.
- A server that was restarted from a snapshot, or took over from another, may have old records and lack later notes. So
  whoever connects lets the book begin anew, unless this run of this server began it.
- A URL is one hash: `vary`, and a field for each variant whose name is the digests of its header values, run together.
- A record begins with a line of text, `epoch sequence place place ...`, which says whether it still counts.
- Whoever could not write is not let read: a replica may be behind another server.
- Full memory is no reason to be down: records are refused, and invalidations, which take next to none, are not. A
  server lets a script write on when its first write was one that takes no memory, such as HDEL and DEL.
- Something else under one of these keys is replaced, or as good as nothing.
"""

from __future__ import annotations

from typing import Final

from launchkit.stores.redis import Script

_BOOK: Final = """
local function server()
  local told = redis.pcall('INFO', 'server')
  return type(told) == 'string' and string.match(told, 'run_id:(%x+)') or ''
end

local function begin(book, epoch)
  redis.call('DEL', book)
  redis.call('HSET', book, 'epoch', epoch, 'sequence', 0, 'server', server())
end

local function current(book, new_epoch)
  local held = redis.pcall('HMGET', book, 'epoch', 'sequence')
  if not held.err and held[1] and held[2] and string.match(held[2], '^%d+$') then
    redis.call('HDEL', book, '')  -- deletes nothing; a server that refuses writes says so here
    return held[1], held[2]
  end
  begin(book, new_epoch)
  return new_epoch, '0'
end

local function counts(book, record)
  local epoch, sequence, places = string.match(record, '^(%x+) (%d+) ([%d ]*)\\n')
  if not epoch or redis.call('HGET', book, 'epoch') ~= epoch then return false end
  for place in string.gmatch(places, '%d+') do
    local note = redis.call('HGET', book, place)
    if note and (tonumber(note) or math.huge) > tonumber(sequence) then return false end
  end
  return true
end
"""

RECOGNISE: Final = Script(
    _BOOK
    + """
current(KEYS[1], ARGV[1])
if redis.call('HGET', KEYS[1], 'server') ~= server() then begin(KEYS[1], ARGV[1]) end
return ''
"""
)
"""Key: the book. Argument: a new epoch."""

FETCH: Final = Script(
    _BOOK
    + """
local epoch, sequence = current(KEYS[1], ARGV[1])
local moment = epoch .. ' ' .. sequence .. '\\n'
local vary = redis.pcall('HGET', KEYS[2], 'vary')
if type(vary) ~= 'string' then return moment end
local digests, field = {}, ''
for i = 2, #ARGV, 2 do digests[ARGV[i]] = ARGV[i + 1] end
for name in string.gmatch(vary, '[^,]+') do
  if not digests[name] then return moment .. 'V' .. vary end
  field = field .. digests[name]
end
local record = redis.call('HGET', KEYS[2], field)
if not record or not counts(KEYS[1], record) then return moment end
return moment .. 'R' .. string.sub(record, string.find(record, '\\n', 1, true) + 1)
"""
)
"""Keys: the book and the URL. Arguments: a new epoch, then names of request headers, each with its value's digest.

Answers with the moment (epoch and sequence) and a line feed, then `R` and the record, or `V` and the names of headers
some of which were not given, or nothing.
"""

STORE: Final = Script(
    _BOOK
    + """
local vary, field, record, life = unpack(ARGV)
if not counts(KEYS[1], record) then return 'late' end
if type(redis.pcall('HINCRBY', KEYS[1], 'sequence', 0)) == 'table' then return 'full' end
if redis.pcall('HGET', KEYS[2], 'vary') ~= vary
  or (redis.call('HLEN', KEYS[2]) > tonumber(ARGV[5]) and redis.call('HEXISTS', KEYS[2], field) == 0)
then
  redis.call('DEL', KEYS[2])
end
redis.call('HSET', KEYS[2], 'vary', vary, field, record)
if redis.call('PTTL', KEYS[2]) < tonumber(life) then redis.call('PEXPIRE', KEYS[2], life) end
return 'stored'
"""
)
"""Keys: the book and the URL. Arguments: `vary`, the variant's field, the record behind the text that says whether it
counts, the milliseconds for which it is of use, and how many variants there may be."""

INVALIDATE: Final = Script(
    _BOOK
    + """
current(KEYS[1], ARGV[1])
local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
for i = 4, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], sequence) end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return ''
"""
)
"""Key: the book. Arguments: a new epoch, the channel, the message, and the places of the names."""
