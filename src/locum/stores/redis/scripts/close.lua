-- ARGV[3] the id, ARGV[4] the beat that it must have, if any, ARGV[5] why: whether it is closed now.
local other = replaced()
if other then return other end
local id = ARGV[3]
local closed = state(id)
if closed ~= '0' then return answer('ok', closed or '0') end
if ARGV[4] ~= '' and redis.call('HGET', session_key(space, id), 'beat') ~= ARGV[4] then return answer('ok', '0') end
local _, refused = count_first('session/' .. id)
if refused then return refused end
bury(space, id, ARGV[5])
tell()
return answer('ok', '1')
