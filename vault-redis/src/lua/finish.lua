-- Removes a flow that was taken. KEYS: the flow. ARGV: what marks one that was taken. Answers 1 when it did, otherwise 0.
local flow = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if flow ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
