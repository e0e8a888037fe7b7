-- Open the incarnation ARGV[3] for grants: whether it is there, and open.
local other = replaced()
if other then return other end
if seen() ~= ARGV[3] then return answer('ok', '0') end
if redis.call('HGET', store, 'state') ~= 'open' then
  local _, refused = try('HSET', store, 'state', 'open')
  if refused then return refused end
  redis.call('HINCRBY', store, 'revision', 1)
  redis.call('PUBLISH', root .. ':changes', 'incarnation')
end
return answer('ok', '1')
