-- ARGV[3] the namespace, ARGV[4] '1' if all open ones are asked for, then the ids that are:
-- the longest TTL, the store's state, and for each its id and fields.
local other = replaced()
if other then return other end
local ids = {}
if ARGV[4] == '1' then
  ids = redis.call('SMEMBERS', space .. '/open')
else
  for at = 5, #ARGV do ids[#ids + 1] = ARGV[at] end
end
local found = {}
for at, id in ipairs(ids) do
  local one = redis.call('HMGET', session_key(space, id), 'closed', 'owner', 'ttl', 'beat', 'reason')
  found[at] = {id, one[1] or '', one[2] or '', one[3] or '', one[4] or '', one[5] or ''}
end
local ttl = largest(redis.call('HGET', store, 'max_ttl'), redis.call('HGET', root .. ':ttl', ARGV[3]))
return answer('ok', ttl, redis.call('HGET', store, 'state'), found)
