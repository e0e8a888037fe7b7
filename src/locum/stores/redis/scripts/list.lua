-- ARGV[3] what the keys begin with, ARGV[4] after which revision they were written, empty for all, and the rest, keys
-- that are asked for besides: keys and records, in turn, and how many keys there are.
local other = replaced()
if other then return other end
local keys = redis.call('ZRANGEBYLEX', space .. '/keys', '[' .. ARGV[3], '(' .. ARGV[3] .. '\255')
local found, named = {}, {}
for at = 5, #ARGV do named[ARGV[at]] = true end
for first = 1, #keys, 1000 do
  local last = math.min(first + 999, #keys)
  for at, record in ipairs(redis.call('HMGET', space .. '/records', unpack(keys, first, last))) do
    local key = keys[first + at - 1]
    if record and (ARGV[4] == '' or named[key] or less(ARGV[4], string.match(record, '^%d+'))) then
      found[#found + 1] = key
      found[#found + 1] = record
    end
  end
end
return answer('ok', found, #keys)
