-- Compares and swaps a record together with its index entries and whatever is written with it. Where it had a credential
-- and that changes or goes, the id at the end of its key is told on the channel that is called as the index.
-- KEYS: the shard's index, the record, more records to write; last, if a flow is to end, its owner's places.
-- ARGV: the version that must be there ('' for none, '*' for any), the length of the unique part of the record's moving
--   entry (0: nothing is unique), the holder and the fence of the lease to free ('' for none), the place that must be
--   there, and goes ('' for none), then for each record: its moving entry ('' for none), how many fixed entries it has
--   and these, how many fields and values it has and these (0: the record is to go).
-- Answers 1 when written, 0 when the unique part is another's, -1 when the place is not there, otherwise the version that
-- is there ('' for none).
local place, places = ARGV[5], nil
if place ~= '' then
  places = table.remove(KEYS)
  if not redis.call('ZSCORE', places, place) then
    return -1
  end
end

local there = redis.call('HMGET', KEYS[2], 'version', 'credential')
local version, credential = there[1] or '', there[2]
if version ~= ARGV[1] and (ARGV[1] ~= '*' or version == '') then
  return version
end

local unique = tonumber(ARGV[2])
if unique > 0 then
  local name = string.sub(ARGV[6], 1, unique)
  local taken = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. name, '(' .. name .. '\127', 'LIMIT', 0, 1)[1]
  if taken and taken ~= ARGV[6] then
    return 0
  end
end

local at = 6
local function list()
  local first = at + 1
  at = first + tonumber(ARGV[at])
  return { unpack(ARGV, first, at - 1) }
end

local function keep_it(fields)
  for n = 1, #fields, 2 do
    if fields[n] == 'credential' then
      return fields[n + 1] == credential
    end
  end
  return false
end

-- Entries go last: in a slot that migrates, an index that was emptied on the way could not be filled again.
local gone = {}
for i = 2, #KEYS do
  local moving = ARGV[at]
  at = at + 1
  local entries, fields = list(), list()
  if i == 2 and credential and not keep_it(fields) then
    -- Before any effect: the user may lack the right.
    redis.call('PUBLISH', KEYS[1], string.sub(KEYS[2], -43))
  end
  if i == 2 and ARGV[3] ~= '' then
    local lease = redis.call('HMGET', KEYS[2], 'holder', 'fence')
    if lease[1] == ARGV[3] and lease[2] == ARGV[4] then
      redis.call('HDEL', KEYS[2], 'holder', 'until')
    end
  end
  local moved = redis.call('HGET', KEYS[i], 'moving')
  if moved and moved ~= '' and (moved ~= moving or #fields == 0) then
    gone[#gone + 1] = moved
  end
  if #fields == 0 then
    redis.call('DEL', KEYS[i])
    for _, entry in ipairs(entries) do
      gone[#gone + 1] = entry
    end
  else
    redis.call('HSET', KEYS[i], 'moving', moving, unpack(fields))
    if moving ~= '' then
      entries[#entries + 1] = moving
    end
    for _, entry in ipairs(entries) do
      redis.call('ZADD', KEYS[1], 0, entry)
    end
  end
end
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
end
if places then
  redis.call('ZREM', places, place)
end
return 1
