-- ARGV[3] the namespace, ARGV[4] the id, ARGV[5] the owner, ARGV[6] the TTL,
-- ARGV[7] which clock the caller reads, ARGV[8] what it shows in seconds, ARGV[9] how old a tombstone must become.
local other = replaced()
if other then return other end
local id = ARGV[4]
local closed, reason = state(id)
if closed == '1' then return answer('closed', id, reason) end
if closed == '0' then return answer('ok', redis.call('HGET', session_key(space, id), 'ttl')) end
local _, refused = count_first('session/' .. id)
if refused then return refused end
redis.call('HSET', session_key(space, id), 'owner', ARGV[5], 'ttl', ARGV[6], 'beat', '0', 'closed', '0')
redis.call('SADD', space .. '/open', id)
redis.call('SADD', root .. ':namespaces', ARGV[3])
redis.call('HSET', root .. ':ttl', ARGV[3], largest(redis.call('HGET', root .. ':ttl', ARGV[3]), ARGV[6]))

-- Every id that a record names: whatever 32 hexadecimal digits stand in one (R1).
local function named()
  local ids = {}
  for _, record in ipairs(redis.call('HVALS', space .. '/records')) do
    for digits in string.gmatch(record, '%x+') do
      for at = 1, #digits - 31 do ids[string.sub(digits, at, at + 31)] = true end
    end
  end
  return ids
end

-- Tombstones have no clock that all would read alike (R29). They are counted in generations: whoever has seen one
-- generation for a day on its own clock begins the next, and then all are a day old that were closed before the last
-- one began.
local days, clock = space .. '/days', 'clock ' .. ARGV[7]
local since = redis.call('HGET', days, clock)
if not since then
  redis.call('HSET', days, clock, ARGV[8])
elseif tonumber(ARGV[8]) - tonumber(since) > tonumber(ARGV[9]) then
  local generation = tonumber(redis.call('HGET', days, 'generation') or '0')
  local old = redis.call('ZRANGEBYSCORE', space .. '/closed', '-inf', generation - 1, 'LIMIT', 0, 10000)
  redis.call('DEL', days)
  redis.call('HSET', days, 'generation', generation + 1, clock, ARGV[8])
  local kept = #old > 0 and named() or {}
  for _, one in ipairs(old) do
    if not kept[one] then
      redis.call('DEL', session_key(space, one))
      redis.call('ZREM', space .. '/closed', one)
    end
  end
end
tell()
return answer('ok', ARGV[6])
