-- Who is alive, and the frame of every operation: what is due, then the operation, then all writes.
function F.save()
  for id, n in pairs(dirty) do F.keep_node(id, n) end
  for _, command in ipairs(queue) do redis.call(unpack(command)) end
  dirty, queue, recorded = {}, {}, 0
end

local Care
function F.care()
  if Care then return Care end
  local function disown(n, who)
    F.cold(n).owners[who] = nil
    F.later('SREM', P .. ':own:' .. who, n.id)
    F.touch(n)
  end

  local function policy_of(who)
    return redis.call('HGET', P .. ':policies', who) or 'charge'
  end

  local function alive(who)
    return redis.call('ZSCORE', P .. ':leases', who) and policy_of(who) ~= 'dead'
  end

  local function forget(n)
    for who in pairs(F.cold(n).owners) do
      if who ~= owner and who ~= '*' and alive(who) then return end
    end
    for who in pairs(F.cold(n).owners) do disown(n, who) end
    F.finish_account(n, 'closed')
    n.gone = true
    F.purge(n)
  end

  local function expire_holds(who, charged)
    local found = redis.call('HGETALL', P .. ':holds')
    for i = 1, #found, 2 do
      if cmsgpack.unpack(found[i + 1]).owner == who then
        local hold = F.live_hold(found[i])
        F.end_hold('expire', hold, charged and hold.amounts or {0, 0, 0, 0})
      end
    end
  end

  -- A process was not heard of: its holds expire, and what is set aside for it comes back. Accounts
  -- that only it can name are kept for a day, for late commits.
  local function bury(who, charged)
    expire_holds(who, charged)
    for _, id in ipairs(redis.call('SMEMBERS', P .. ':own:' .. who)) do
      local n = F.node(id)
      if n then
        if F.cold(n).lasts ~= 'run' then disown(n, who) end
        if F.cold(n).lasts == 'run' or next(F.cold(n).owners) == nil then F.rare().rest(n) end
      end
    end
    F.later('HSET', P .. ':policies', who, 'dead')
    F.later('ZADD', P .. ':leases', string.format('%.3f', now + 86400), who)
  end

  local function drop_owner(who)
    for _, id in ipairs(redis.call('SMEMBERS', P .. ':own:' .. who)) do
      local n = F.node(id)
      if n then forget(n) end
    end
    F.later('ZREM', P .. ':leases', who)
    F.later('HDEL', P .. ':policies', who)
    F.later('DEL', P .. ':own:' .. who)
  end

  local function reap()
    local late = redis.call('ZRANGEBYSCORE', P .. ':leases', '-inf', string.format('%.3f', now))
    for _, who in ipairs(late) do
      local policy_then = policy_of(who)
      if policy_then == 'dead' then drop_owner(who) else bury(who, policy_then == 'charge') end
    end
    if #late > 0 then F.save() end
  end

  local function renew()
    local score = redis.call('ZSCORE', P .. ':leases', owner)
    local left = score and tonumber(score) - now or 0
    if left < ttl * 2 / 3 or left > ttl + 1 then
      redis.call('ZADD', P .. ':leases', string.format('%.3f', now + ttl), owner)
      redis.call('HSET', P .. ':policies', owner, policy)
    end
  end

  Care = {disown = disown, forget = forget, renew = renew, reap = reap}
  return Care
end

function F.run(operation)
  if due then
    F.care().renew()
    F.care().reap()
  end
  local ok, answer = pcall(operation, cjson.decode(ARGV[6]))
  if not ok then
    if type(answer) == 'table' and answer.reply then return answer.reply end
    error(answer)
  end
  if recorded > 0 then
    local many = redis.call('LLEN', P .. ':log') + recorded - keep
    if many > 0 then F.fold_old(many) end
  end
  F.save()
  return answer
end
