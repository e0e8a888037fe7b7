-- A new incarnation in quarantine: ARGV[3] what must be there, ARGV[4] the new one, ARGV[5] its revision,
-- ARGV[6] the longest TTL that the caller knows of, ARGV[7] the sessions' end, ARGV[8] the schema.
local found, at = seen()
if found ~= ARGV[3] or (at ~= '' and not less(at, ARGV[5])) then return answer('changed') end
local spaces = redis.call('SMEMBERS', root .. ':namespaces')
local ttl = largest(redis.call('HGET', store, 'max_ttl'), ARGV[6])
for _, one in ipairs(redis.call('HVALS', root .. ':ttl')) do ttl = largest(ttl, one) end
local _, refused = try('HSET', store, 'incarnation', ARGV[4], 'revision', ARGV[5], 'state', 'quarantine',
  'max_ttl', ttl, 'schema', ARGV[8], 'least_reader', ARGV[8])
if refused then return refused end
for _, name in ipairs(spaces) do
  local of = root .. '/' .. name
  for _, id in ipairs(redis.call('SMEMBERS', of .. '/open')) do
    bury(of, id, ARGV[7])
    count('session/' .. id)
  end
end
redis.call('HINCRBY', store, 'revision', 1)
redis.call('PUBLISH', root .. ':changes', '')
return answer('ok')
