-- Who is alive, and what becomes of the holds and accounts of processes that are not.
local PORTION = 100

local function disown(n, who)
  cold(n).owners[who] = nil
  later('SREM', P .. ':own:' .. who, n.id)
  later('SREM', P .. ':left:' .. who, n.id)
  touch(n)
end

local function policy_of(who)
  return redis.call('HGET', P .. ':policies', who) or 'charge'
end

local function alive(who)
  return redis.call('ZSCORE', P .. ':leases', who) and policy_of(who) ~= 'dead'
end

local function forget(n)
  for who in pairs(cold(n).owners) do
    if who ~= owner and who ~= '*' and alive(who) then return end
  end
  for who in pairs(cold(n).owners) do disown(n, who) end
  finish_account(n, 'closed')
  n.gone = true
  purge(n)
end

-- Whether there are still more.
local function expire_holds(who, charged)
  local found, ended = redis.call('HGETALL', HOLDS), 0
  for i = 1, #found, 2 do
    local _, whose = cmsgpack.unpack(found[i + 1])
    if whose == who then
      if ended == PORTION then return true end
      local hold = live_hold(found[i])
      end_hold('expire', hold, charged and hold.amounts or {0, 0, 0, 0})
      ended = ended + 1
    end
  end
  return false
end

-- A process was not heard of: its holds expire, and what is set aside for it comes back. Accounts
-- that only it can name are kept for a day, for late commits. It tells whether there are still more.
local function expire(who, charged)
  if expire_holds(who, charged) then return true end
  local own = P .. ':own:' .. who
  for _, id in ipairs(redis.call('SRANDMEMBER', own, PORTION)) do
    local n = node(id)
    if not n then
      later('SREM', own, id)
    else
      if cold(n).lasts == 'run' then
        later('SMOVE', own, P .. ':left:' .. who, id)
      else
        disown(n, who)
      end
      if cold(n).lasts == 'run' or next(cold(n).owners) == nil then put_to_rest(n) end
    end
  end
  if redis.call('SCARD', own) > PORTION then return true end
  later('HSET', P .. ':policies', who, 'dead')
  later('ZADD', P .. ':leases', string.format('%.3f', now + 86400), who)
  return false
end

local function drop_owner(who)
  for _, set in ipairs({P .. ':left:' .. who, P .. ':own:' .. who}) do
    for _, id in ipairs(redis.call('SRANDMEMBER', set, PORTION)) do
      local n = node(id)
      later('SREM', set, id)
      if n then forget(n) end
    end
    if redis.call('SCARD', set) > PORTION then return true end
  end
  later('ZREM', P .. ':leases', who)
  later('HDEL', P .. ':policies', who)
  return false
end

-- One process at a time, and a portion of it; tell whether there are still more.
local function sweep()
  local late = redis.call('ZRANGEBYSCORE', P .. ':leases', '-inf', string.format('%.3f', now), 'LIMIT', 0, 2)
  local who = late[1]
  if not who then return false end
  local policy, left = policy_of(who)
  if policy == 'dead' then left = drop_owner(who) else left = expire(who, policy == 'charge') end
  return left or late[2] ~= nil
end

-- Written at once, so that nobody expires itself.
local function renew(ttl, policy)
  local lease = redis.call('ZSCORE', P .. ':leases', owner)
  local left = lease and lease - now or 0
  if left < ttl * 2 / 3 or left > ttl + 1 then
    redis.call('ZADD', P .. ':leases', string.format('%.3f', now + ttl), owner)
    redis.call('HSET', P .. ':policies', owner, policy)
  end
end

-- Fold the oldest of more than `keep` records into totals; tell whether there are still more.
local function fold_old(keep)
  if redis.call('EXISTS', P .. ':looking') == 1 then return false end
  local many = math.min(redis.call('LLEN', LOG) - keep, 500)
  if many <= 0 then return false end
  local totals, dropped = {}, {}
  for i, raw in ipairs(redis.call('LRANGE', LOG, 0, many - 1)) do
    local entry = cjson.decode(raw)
    local amounts = vector(entry[6])
    local unheld = beyond(amounts, vector(entry[5]))
    if redis.call('HGET', ENDED, entry[1]) == raw then dropped[#dropped + 1] = entry[1] end
    for _, id in ipairs(entry[4]) do
      local total = totals[id] or folded(id)
      totals[id] = {plus(total[1], amounts), plus(total[2], unheld)}
    end
  end
  redis.call('LTRIM', LOG, many, -1)
  if dropped[1] then redis.call('HDEL', ENDED, unpack(dropped)) end
  for id, total in pairs(totals) do
    if redis.call('HEXISTS', ACCOUNTS, id) == 1 then
      redis.call('HSET', P .. ':folded', id, '[' .. text(total[1]) .. ',' .. text(total[2]) .. ']')
    end
  end
  return many == 500
end
