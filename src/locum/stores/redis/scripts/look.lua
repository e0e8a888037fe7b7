-- What is there, as it is: ARGV is not compared.
return answer('ok', redis.call('HGET', store, 'schema') or '', redis.call('HGET', store, 'least_reader') or '')
