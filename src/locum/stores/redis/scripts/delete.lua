-- ARGV[3] the key, ARGV[4] what is expected, as in write.lua; what is not there is deleted already.
local key, expect = ARGV[3], ARGV[4]
local other = replaced()
if other then return other end
local current = redis.call('HGET', space .. '/records', key)
if not current then return answer('ok') end
local at, _, bound = fields(current)
if expect == 'absent' then return answer('exists', current) end
if expect ~= 'any' and at ~= expect then return answer('conflict', current) end
local _, refused = count_first(key)
if refused then return refused end
forget(space, key)
if bound ~= '-' then redis.call('SREM', bound_key(space, bound), key) end
tell()
return answer('ok')
