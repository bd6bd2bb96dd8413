-- Gives a flow another place among its owner's. KEYS: the owner's places. ARGV: the place that it had, the one that it
-- gets, for how many milliseconds that is needed.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], 0, ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 0
