-- Takes a flow and leaves it behind as taken. KEYS: the flow. ARGV: what marks one that was taken, for how many
-- milliseconds it stays. Answers the flow; nothing when there is none, or it was taken before.
local flow = redis.call('GET', KEYS[1])
if not flow or string.sub(flow, 1, #ARGV[1]) == ARGV[1] then
  return false
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return flow
