-- What every operation does: everything is checked, then everything is written.
local function save()
  local changed = {}
  for id, n in pairs(dirty) do
    changed[#changed + 1] = id
    changed[#changed + 1] = packed(n)
    if n.cold then redis.call('HSET', P .. ':cold', id, cmsgpack.pack(n.cold)) end
    if #changed == 1000 then
      redis.call('HSET', ACCOUNTS, unpack(changed))
      changed = {}
    end
  end
  if changed[1] then redis.call('HSET', ACCOUNTS, unpack(changed)) end
  for _, command in ipairs(queue) do redis.call(unpack(command)) end
end

local function run(operation)
  local ok, answer = pcall(operation, unpack(ARGV, 3))
  if not ok then
    if type(answer) == 'table' and answer.reply then return answer.reply end
    error(answer)
  end
  save()
  return answer
end
