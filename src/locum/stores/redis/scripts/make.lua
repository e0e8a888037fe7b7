-- ARGV[3] a new incarnation, ARGV[4] its revision, ARGV[5] its state, ARGV[6] the schema: made if nothing is there.
if redis.call('EXISTS', store) == 1 then return answer('ok') end
local _, refused = try('HSET', store, 'incarnation', ARGV[3], 'revision', ARGV[4], 'state', ARGV[5],
  'max_ttl', '0', 'schema', ARGV[6], 'least_reader', ARGV[6])
return refused or answer('ok')
