-- ARGV[3] the id, ARGV[4] the number, which must be larger than the last (R3).
local other = replaced() or not_open(ARGV[3])
if other then return other end
local key = session_key(space, ARGV[3])
if not less(redis.call('HGET', key, 'beat'), ARGV[4]) then return answer('twin') end
local _, refused = try('HSET', key, 'beat', ARGV[4])
return refused or answer('ok')
