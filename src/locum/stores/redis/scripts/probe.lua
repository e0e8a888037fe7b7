-- Whether this user may do all that the scripts do: a script that fails in its middle leaves half of its work behind.
local key = root .. ':probe'
local commands = {
  {'HSET', key, 'a', '0'}, {'HINCRBY', key, 'a', 1}, {'HGET', key, 'a'}, {'HMGET', key, 'a'}, {'HVALS', key},
  {'HDEL', key, 'a'}, {'SADD', key, 'a'}, {'SMEMBERS', key}, {'SREM', key, 'a'}, {'ZADD', key, 0, 'a'},
  {'ZRANGEBYLEX', key, '-', '+'}, {'ZRANGEBYSCORE', key, '-inf', '+inf'}, {'ZREM', key, 'a'}, {'EXISTS', key},
  {'PUBLISH', root .. ':probe', ''}, {'PUBLISH', space .. '/probe', ''}, {'DEL', key},
}
for _, command in ipairs(commands) do
  local result = redis.pcall(unpack(command))
  if type(result) == 'table' and result.err then return answer('refused', result.err) end
end
return answer('ok')
