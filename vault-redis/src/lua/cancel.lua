-- Takes their places from an owner's flows. KEYS: the owner's places. ARGV: where in a place its connector stands, the
-- connector ('' for all). Answers the places.
local gone = {}
for _, place in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(place, ARGV[1], ARGV[1] + #ARGV[2] - 1) == ARGV[2] then
    gone[#gone + 1] = place
    redis.call('ZREM', KEYS[1], place)
  end
end
return gone
