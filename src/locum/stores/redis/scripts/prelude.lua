-- What stands before every script of this store.
--
-- KEYS[1]  what all keys and channels begin with; its braces are the one hash tag
-- KEYS[2]  what those of this namespace begin with
-- ARGV[1]  the incarnation that the caller has seen, ARGV[2] the revision; empty where it compares nothing
--
-- Revisions, beats and TTLs are 64 bits, and Lua's numbers are doubles: they stay strings, counted by Redis itself.
-- A script checks everything, then writes; its first write is tried, and if the server refuses that, nothing was changed.
local root, space = KEYS[1], KEYS[2]
local store = root .. ':store'
local changed = {}

-- Whether one whole number in decimal digits is smaller than another.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function largest(...)
  local found = '0'
  for _, number in ipairs({...}) do
    if number and less(found, number) then found = number end
  end
  return found
end

local function seen()
  local found = redis.call('HMGET', store, 'incarnation', 'revision')
  return found[1] or '', found[2] or ''
end

-- What is answered, whatever else: how it went, and what is to be seen of the store now.
local function answer(how, ...)
  local incarnation, revision = seen()
  return {how, incarnation, revision, ...}
end

-- The answer to a caller who has seen another store than this one (R24); nothing if it is the one.
local function replaced()
  local incarnation, revision = seen()
  if incarnation ~= ARGV[1] or less(revision, ARGV[2]) then return answer('replaced') end
end

-- The first write: its result, or the answer that the server refuses to write.
local function try(...)
  local result = redis.pcall(...)
  if type(result) == 'table' and result.err then return nil, answer('refused', result.err) end
  return result
end

local function revision()
  return redis.call('HGET', store, 'revision')
end

-- Count a change of a key, as the first write.
local function count_first(key)
  local _, refused = try('HINCRBY', store, 'revision', 1)
  if refused then return nil, refused end
  changed[#changed + 1] = key
  return revision()
end

local function count(key)
  redis.call('HINCRBY', store, 'revision', 1)
  changed[#changed + 1] = key
  return revision()
end

-- Wake who waits for what was counted.
local function tell()
  if #changed > 0 then redis.call('PUBLISH', space .. '/changes', table.concat(changed, ' ')) end
end

local function session_key(of, id) return of .. '/session/' .. id end
local function bound_key(of, id) return of .. '/bound/' .. id end

-- A session's state, '0' open and '1' closed or nothing if it is unknown, and why it was closed.
local function state(id)
  local found = redis.call('HMGET', session_key(space, id), 'closed', 'reason')
  return found[1], found[2] or ''
end

-- The answer to a caller whose session must be open and is not; nothing if it is.
local function not_open(id)
  local closed, reason = state(id)
  if closed ~= '0' then return answer('closed', id, reason) end
end

-- A record is kept as 'REVISION CREATED SESSION VALUE', with '-' for no session.
local function fields(record)
  return string.match(record, '^(%d+) (%d+) (%S+) ')
end

local function forget(of, key)
  redis.call('HDEL', of .. '/records', key)
  redis.call('ZREM', of .. '/keys', key)
end

-- Close an open session of a namespace: a tombstone stays, and what is bound to it goes.
local function bury(of, id, reason)
  local keys = redis.call('SMEMBERS', bound_key(of, id))
  redis.call('HSET', session_key(of, id), 'closed', '1', 'reason', reason)
  redis.call('SREM', of .. '/open', id)
  redis.call('ZADD', of .. '/closed', redis.call('HGET', of .. '/days', 'generation') or '0', id)
  redis.call('DEL', bound_key(of, id))
  for _, key in ipairs(keys) do
    forget(of, key)
    count(key)
  end
end
