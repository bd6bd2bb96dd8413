-- Takes a lease if it is free, lapsed or the holder's own. KEYS: the record. ARGV: holder, for how many milliseconds.
-- Answers {} when there is no record, {0, remaining} when another holds it, {1, fence, now, record, credential, refresh}
-- when it is the holder's.
local there = redis.call('HMGET', KEYS[1], 'version', 'holder', 'until')
if not there[1] then
  return {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if there[2] and there[2] ~= ARGV[1] then
  local remaining = tonumber(there[3]) - now
  if remaining > 0 then
    return { 0, remaining }
  end
end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
return { 1, fence, now, unpack(redis.call('HMGET', KEYS[1], 'record', 'credential', 'refresh')) }
