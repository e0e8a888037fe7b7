-- Take what somebody else has begun, ARGV[3]: ARGV[4] is the longest TTL that the caller knows of.
local found = seen()
if found ~= ARGV[3] then return answer('changed') end
local _, refused = try('HSET', store, 'max_ttl', largest(redis.call('HGET', store, 'max_ttl'), ARGV[4]))
if refused then return refused end
redis.call('PUBLISH', root .. ':changes', '')
return answer('ok')
