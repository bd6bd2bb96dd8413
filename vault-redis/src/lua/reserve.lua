-- Reserves a place for a flow among its owner's. KEYS: the owner's places, which sort by expiry.
-- ARGV: where the unexpired begin, where those begin that are kept, the place, how many unexpired there may be, for how
--   many milliseconds it is needed.
-- Answers 1 when reserved, 0 when it was before, -1 when there are too many.
if redis.call('ZSCORE', KEYS[1], ARGV[3]) then
  return 0
end
if redis.call('ZLEXCOUNT', KEYS[1], '[' .. ARGV[1], '+') >= tonumber(ARGV[4]) then
  return -1
end
redis.call('ZADD', KEYS[1], 0, ARGV[3])
-- After that: in a slot that migrates, places that were emptied on the way could not be filled again.
redis.call('ZREMRANGEBYLEX', KEYS[1], '-', '(' .. ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[5]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return 1
