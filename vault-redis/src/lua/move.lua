-- Gives a flow another place among its owner's. KEYS: the owner's places. ARGV: the place that it had, the one that it
-- gets, for how many milliseconds that is needed. Answers 1 when it did, 0 when the flow has no place any more.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
-- In this order: in a slot that migrates, places that were emptied on the way could not be filled again.
redis.call('ZADD', KEYS[1], 0, ARGV[2])
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
