-- Who has a lease. KEYS: the record.
-- Answers {} when nobody has it, or it has lapsed; otherwise {holder, fence, remaining milliseconds}.
local there = redis.call('HMGET', KEYS[1], 'holder', 'fence', 'until')
if not there[1] then
  return {}
end
local time = redis.call('TIME')
local remaining = tonumber(there[3]) - (time[1] * 1000 + math.floor(time[2] / 1000))
if remaining <= 0 then
  return {}
end
return { there[1], tonumber(there[2]), remaining }
