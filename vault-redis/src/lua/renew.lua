-- Extends a lease that has not lapsed. KEYS: the record. ARGV: holder, for how many milliseconds from now, fence.
-- Answers 1 when it did, otherwise 0.
local there = redis.call('HMGET', KEYS[1], 'holder', 'fence', 'until')
if there[1] ~= ARGV[1] or there[2] ~= ARGV[3] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(there[3]) <= now then
  return 0
end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[2]))
return 1
