-- Holds, records, and what becomes of them.
local function live_hold(id)
  local hold = holds[id]
  if hold ~= nil then return hold end
  local raw = redis.call('HGET', P .. ':holds', id)
  if not raw then
    holds[id] = false
    return false
  end
  hold = cmsgpack.unpack(raw)
  hold.id, hold.amounts = id, vector(hold.amounts)
  if hold.above then hold.above = vector(hold.above) end
  hold.route = route_of(hold.accounts, node)
  holds[id] = hold
  return hold
end

local function keep_hold(hold)
  holds[hold.id] = hold
  later('HSET', P .. ':holds', hold.id, cmsgpack.pack({
    accounts = hold.accounts, amounts = kept_vector(hold.amounts), final = hold.final,
    above = hold.above and kept_vector(hold.above), at = hold.at, owner = hold.owner,
  }))
end

local function drop_hold(hold)
  holds[hold.id] = false
  later('HDEL', P .. ':holds', hold.id)
end

local function set_above(hold)
  if hold.final then hold.above = beyond(hold.amounts, node(hold.final).aside) end
end

local function is_above(n, final)
  for i, each in ipairs(path_of(node(final))) do
    if i > 1 and each.id == n.id then return true end
  end
  return false
end

local function part(hold, n)
  if hold.final and is_above(n, hold.final) then return hold.above end
  return hold.amounts
end

local function hold_refusal(hold)
  for _, n in ipairs(hold.route.path) do
    if n.state ~= 'open' then
      local limit = 0
      for _, cap in ipairs(n.caps) do
        if cap[1] == 1 then limit = cap[2] end
      end
      return denial(n, 1, limit, n.spent[1], n.held[1], hold.amounts[1], n.state)
    end
  end
  local final = hold.final and node(hold.final)
  if final and final.final then
    local limit = 0
    for _, cap in ipairs(final.caps) do
      if cap[1] == 1 then limit = cap[2] end
    end
    return denial(final, 1, limit, final.spent[1], final.held[1], hold.amounts[1], 'finalized')
  end
  for _, n in ipairs(hold.route.checked) do
    local kept = n.kept
    if final and n.id == final.id then kept = {0, 0, 0, 0} end
    local refused = refusal(n, part(hold, n), kept)
    if refused then return refused end
  end
  for _, n in ipairs(hold.route.path) do
    local refused = n.windows[1] and window_refusal(n, hold.amounts)
    if refused then return refused end
  end
  return nil
end

local function move(hold, sign)
  for _, n in ipairs(hold.route.checked) do
    n.held = sign > 0 and plus(n.held, part(hold, n)) or minus(n.held, part(hold, n))
    touch(n)
  end
  for _, n in ipairs(hold.route.path) do
    n.live = n.live + sign
    touch(n)
    for _, w in ipairs(n.windows) do
      local amount = hold.amounts[w.at]
      windows().add(w, hold.at, 3, sign > 0 and amount or 0 - amount)
    end
  end
  if hold.final then
    node(hold.final).final = sign > 0 and hold.id or nil
    touch(node(hold.final))
  end
end

local function place(hold, force)
  local refused = not force and hold_refusal(hold)
  if refused then return refused end
  move(hold, 1)
  return nil
end

local function names(list)
  local found = {}
  for i, n in ipairs(list) do found[i] = n.id end
  return found
end

local recorded = 0

local function record(kind, id, accounts, route, held, amounts, final, late, asked)
  local after, exceeded = {}, cjson.null
  if kind ~= 'release' then
    for i, n in ipairs(route.path) do after[i] = shown_vector(n.spent) end
    exceeded = over(route, final, amounts)
  end
  local entry = cjson.encode({
    id, kind, accounts, names(route.path), shown_vector(held), shown_vector(amounts), after,
    exceeded, late or false, asked and shown_vector(asked) or cjson.null, now,
  })
  ended[id] = entry
  later('HSET', P .. ':ended', id, entry)
  later('RPUSH', P .. ':log', entry)
  recorded = recorded + 1
  return entry
end

local function fold_old(many)
  local function unheld(entry)
    return beyond(vector(entry[6]), vector(entry[5]))
  end

  local function fold(raw)
    local entry = cjson.decode(raw)
    if redis.call('HGET', P .. ':ended', entry[1]) == raw then
      later('HDEL', P .. ':ended', entry[1])
    end
    for _, id in ipairs(entry[4]) do
      local n = node(id)
      if n then
        local c = cold(n)
        c.folded = kept_vector(plus(vector(c.folded), vector(entry[6])))
        c.folded_beyond = kept_vector(plus(vector(c.folded_beyond), unheld(entry)))
        touch(n)
      end
    end
  end

  for i = 1, math.min(many, 64) do
    local raw = redis.call('LINDEX', P .. ':log', i - 1)
    if raw then
      fold(raw)
      later('LPOP', P .. ':log')
    end
  end
end

local function ended_entry(id)
  return ended[id] or redis.call('HGET', P .. ':ended', id)
end

-- Drop forgotten accounts in which, and below which, nothing lives.
local function purge(n)
  while n and n.gone and not n.purged and n.live == 0 and n.children == 0 do
    n.purged = true
    dirty[n.id], nodes[n.id] = nil, false
    later('DEL', P .. ':a:' .. n.id)
    later('SREM', P .. ':accounts', n.id)
    if not n.parent then return end
    n = node(n.parent)
    n.children = n.children - 1
    touch(n)
  end
end

local function end_hold(kind, hold, amounts)
  drop_hold(hold)
  move(hold, -1)
  if kind ~= 'release' then spend(hold.route, amounts, hold.at) end
  local entry = record(kind, hold.id, hold.accounts, hold.route, hold.amounts, amounts, hold.final)
  if hold.final then
    local final = node(hold.final)
    if kind == 'commit' then
      finish_account(final, final.state == 'open' and 'finalized' or final.state)
    else
      trim(final)
    end
  end
  for _, n in ipairs(hold.route.allocated) do trim(n) end
  for _, n in ipairs(hold.route.path) do
    if n.gone then purge(n) end
  end
  return entry
end

local function charge_accounts(kind, id, accounts, amounts, final, asked)
  local route = route_of(accounts, kind == 'commit' and function(account)
    local n = node(account)
    if not n then say({k = account}) end
    return n
  end or need)
  spend(route, amounts, now)
  for _, n in ipairs(route.allocated) do trim(n) end
  return record(kind, id, accounts, route, {0, 0, 0, 0}, amounts, final, kind == 'commit', asked)
end

local function balance_of(n)
  local caps, used = {}, {}
  for i, cap in ipairs(n.caps) do caps[i] = shown(cap[2]) end
  for i, w in ipairs(n.windows) do
    windows().roll(w)
    local spent, held = windows().used(w)
    used[i] = {shown(spent), shown(held)}
  end
  return {
    n.id, cold(n).terms, caps, shown_vector(n.kept), shown_vector(n.spent), shown_vector(n.held),
    n.state, used,
  }
end
