-- ARGV[3] the key.
local other = replaced()
if other then return other end
return answer('ok', redis.call('HGET', space .. '/records', ARGV[3]))
