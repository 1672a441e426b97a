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

local function run(operation, arguments)
  start()
  local ok, answer = pcall(operation, unpack(arguments))
  if not ok then
    if type(answer) == 'table' and answer.reply then return answer.reply end
    error(answer)
  end
  save()
  return answer
end

-- Operations are told the process that asks, and then what they say themselves; those whose names end
-- in "_at" the time, too.
local function register(name, body, time)
  redis.register_function(PREFIX .. name, function(keys, arguments)
    P, owner = keys[1], table.remove(arguments, 1)
    ACCOUNTS, HOLDS, ENDED, LOG = P .. ':accounts', P .. ':holds', P .. ':ended', P .. ':log'
    now = time(arguments)
    return body(arguments)
  end)
end

local function operation(name, whole)
  local short = usual[name]
  local function body(arguments)
    return short and short(unpack(arguments)) or run(whole, arguments)
  end
  register(name, body, function()
    local time = redis.call('TIME')
    return time[1] + time[2] / 1e6
  end)
  register(name .. '_at', body, function(arguments) return tonumber(table.remove(arguments, 1)) end)
end
