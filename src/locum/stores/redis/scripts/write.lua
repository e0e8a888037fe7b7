-- ARGV[3] the key, ARGV[4] the value, ARGV[5] what is expected: 'absent', 'any', or a revision; and, each empty if none,
-- ARGV[6] the session with which the record dies, ARGV[7] one that must be open, ARGV[8] one that must be closed,
-- ARGV[9] what no key may begin with, ARGV[10] another key that goes.
local key, expect, session = ARGV[3], ARGV[5], ARGV[6]
local other = replaced()
if other then return other end
local current = redis.call('HGET', space .. '/records', key)
local at, created, bound
if current then at, created, bound = fields(current) end
if expect == 'absent' then
  if current then return answer('exists', current) end
elseif expect ~= 'any' and at ~= expect then
  return answer('conflict', current)
end
for _, guard in ipairs({session, ARGV[7]}) do
  other = guard ~= '' and not_open(guard)
  if other then return other end
end
if ARGV[8] ~= '' and state(ARGV[8]) ~= '1' then return answer('not gone', current) end
if ARGV[9] ~= '' then
  local under = redis.call('ZRANGEBYLEX', space .. '/keys', '[' .. ARGV[9], '(' .. ARGV[9] .. '\255', 'LIMIT', 0, 1)
  if #under > 0 then return answer('not empty', current) end
end

local now, refused = count_first(key)
if refused then return refused end
created = created or now
local dropped = ARGV[10] ~= '' and redis.call('HGET', space .. '/records', ARGV[10])
if dropped then
  local _, _, was_bound = fields(dropped)
  forget(space, ARGV[10])
  if was_bound ~= '-' then redis.call('SREM', bound_key(space, was_bound), ARGV[10]) end
  changed[#changed + 1] = ARGV[10]
end
session = session == '' and '-' or session
redis.call('HSET', space .. '/records', key, table.concat({now, created, session, ARGV[4]}, ' '))
redis.call('ZADD', space .. '/keys', 0, key)
if bound and bound ~= '-' and bound ~= session then redis.call('SREM', bound_key(space, bound), key) end
if session ~= '-' then redis.call('SADD', bound_key(space, session), key) end
tell()
return answer('ok', now, created)
