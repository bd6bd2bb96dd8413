-- Frees a lease. KEYS: the record. ARGV: holder, fence. The fence stays, so that the next one is higher.
local there = redis.call('HMGET', KEYS[1], 'holder', 'fence')
if there[1] == ARGV[1] and there[2] == ARGV[2] then
  redis.call('HDEL', KEYS[1], 'holder', 'until')
end
return 0
