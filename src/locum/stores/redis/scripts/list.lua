-- ARGV[3] what the keys begin with: keys and records, in turn.
local other = replaced()
if other then return other end
local keys = redis.call('ZRANGEBYLEX', space .. '/keys', '[' .. ARGV[3], '(' .. ARGV[3] .. '\255')
local found = {}
for first = 1, #keys, 1000 do
  local last = math.min(first + 999, #keys)
  for at, record in ipairs(redis.call('HMGET', space .. '/records', unpack(keys, first, last))) do
    found[#found + 1] = keys[first + at - 1]
    found[#found + 1] = record
  end
end
return answer('ok', found)
