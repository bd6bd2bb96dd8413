-- A part of a shard's index, with the records that it names.
-- KEYS: the index.
-- ARGV: from and to as ZRANGEBYLEX has them, how many, what the records' keys begin with, the length of an id at the end
--   of an entry, 'free' to leave out what is leased.
-- Answers entry, record, entry, record...
local from, left = ARGV[1], tonumber(ARGV[3])
local now
if ARGV[6] == 'free' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local rows = {}
while left > 0 do
  -- More than is left where many may be skipped, so that those cost few rounds.
  local most = now and math.max(left, 64) or left
  local entries = redis.call('ZRANGEBYLEX', KEYS[1], from, ARGV[2], 'LIMIT', 0, most)
  for _, entry in ipairs(entries) do
    local row = redis.pcall('HMGET', ARGV[4] .. string.sub(entry, -tonumber(ARGV[5])), 'record', 'until')
    if row.err then
      if string.find(row.err, 'WRONGTYPE', 1, true) then
        return row
      end
      return redis.error_reply('TRYAGAIN the record has migrated and its index has not')
    end
    local leased = now and row[2] and tonumber(row[2]) > now
    if row[1] and not leased and left > 0 then
      rows[#rows + 1] = entry
      rows[#rows + 1] = row[1]
      left = left - 1
    end
  end
  if #entries < most then
    break
  end
  from = '(' .. entries[#entries]
end
return rows
