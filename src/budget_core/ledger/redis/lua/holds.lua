-- Holds, records, and what becomes of them.
function F.live_hold(id)
  local hold = holds[id]
  if hold ~= nil then return hold end
  local raw = redis.call('HGET', P .. ':holds', id)
  if not raw then
    holds[id] = false
    return false
  end
  hold = cmsgpack.unpack(raw)
  hold.id, hold.amounts = id, F.vector(hold.amounts)
  if hold.above then hold.above = F.vector(hold.above) end
  hold.route = F.route_of(hold.accounts, F.node)
  holds[id] = hold
  return hold
end

function F.keep_hold(hold)
  holds[hold.id] = hold
  F.later('HSET', P .. ':holds', hold.id, cmsgpack.pack({
    accounts = hold.accounts, amounts = F.kept_vector(hold.amounts), final = hold.final,
    above = hold.above and F.kept_vector(hold.above), at = hold.at, owner = hold.owner,
  }))
end

function F.drop_hold(hold)
  holds[hold.id] = false
  F.later('HDEL', P .. ':holds', hold.id)
end

function F.set_above(hold)
  if hold.final then hold.above = F.beyond(hold.amounts, F.node(hold.final).aside) end
end

function F.is_above(n, final)
  for i, each in ipairs(F.path_of(F.node(final))) do
    if i > 1 and each.id == n.id then return true end
  end
  return false
end

function F.part(hold, n)
  if hold.final and F.is_above(n, hold.final) then return hold.above end
  return hold.amounts
end

function F.hold_refusal(hold)
  for _, n in ipairs(hold.route.path) do
    if n.state ~= 'open' then
      local limit = 0
      for _, cap in ipairs(n.caps) do
        if cap[1] == 1 then limit = cap[2] end
      end
      return F.denial(n, 1, limit, n.spent[1], n.held[1], hold.amounts[1], n.state)
    end
  end
  local final = hold.final and F.node(hold.final)
  if final and final.final then
    local limit = 0
    for _, cap in ipairs(final.caps) do
      if cap[1] == 1 then limit = cap[2] end
    end
    return F.denial(final, 1, limit, final.spent[1], final.held[1], hold.amounts[1], 'finalized')
  end
  for _, n in ipairs(hold.route.checked) do
    local kept = n.kept
    if final and n.id == final.id then kept = {0, 0, 0, 0} end
    local refused = F.refusal(n, F.part(hold, n), kept)
    if refused then return refused end
  end
  for _, n in ipairs(hold.route.path) do
    if n.windows[1] then
      hold.at = F.windows().moment(hold.route, hold.at)
      local refused = F.window_refusal(n, hold.amounts)
      if refused then return refused end
    end
  end
  return nil
end

function F.move(hold, sign)
  for _, n in ipairs(hold.route.checked) do
    n.held = sign > 0 and F.plus(n.held, F.part(hold, n)) or F.minus(n.held, F.part(hold, n))
    F.touch(n)
  end
  for _, n in ipairs(hold.route.path) do
    n.live = n.live + sign
    F.touch(n)
    for _, w in ipairs(n.windows) do
      local amount = hold.amounts[w.at]
      F.windows().add(w, hold.at, 3, sign > 0 and amount or 0 - amount)
    end
  end
  if hold.final then
    F.node(hold.final).final = sign > 0 and hold.id or nil
    F.touch(F.node(hold.final))
  end
end

function F.place(hold, force)
  local refused = not force and F.hold_refusal(hold)
  if refused then return refused end
  F.move(hold, 1)
  return nil
end

function F.names(list)
  local found = {}
  for i, n in ipairs(list) do found[i] = n.id end
  return found
end

local recorded = 0

function F.record(kind, id, accounts, route, held, amounts, final, late, asked)
  local after, exceeded = {}, cjson.null
  if kind ~= 'release' then
    for i, n in ipairs(route.path) do after[i] = F.shown_vector(n.spent) end
    exceeded = F.over(route, final, amounts)
  end
  local entry = cjson.encode({
    id, kind, accounts, F.names(route.path), F.shown_vector(held), F.shown_vector(amounts), after,
    exceeded, late or false, asked and F.shown_vector(asked) or cjson.null, now,
  })
  ended[id] = entry
  F.later('HSET', P .. ':ended', id, entry)
  F.later('RPUSH', P .. ':log', entry)
  recorded = recorded + 1
  return entry
end

function F.fold_old(many)
  local function unheld(entry)
    return F.beyond(F.vector(entry[6]), F.vector(entry[5]))
  end

  local function fold(raw)
    local entry = cjson.decode(raw)
    if redis.call('HGET', P .. ':ended', entry[1]) == raw then
      F.later('HDEL', P .. ':ended', entry[1])
    end
    for _, id in ipairs(entry[4]) do
      local n = F.node(id)
      if n then
        local c = F.cold(n)
        c.folded = F.kept_vector(F.plus(F.vector(c.folded), F.vector(entry[6])))
        c.folded_beyond = F.kept_vector(F.plus(F.vector(c.folded_beyond), unheld(entry)))
        F.touch(n)
      end
    end
  end

  for i = 1, math.min(many, 64) do
    local raw = redis.call('LINDEX', P .. ':log', i - 1)
    if raw then
      fold(raw)
      F.later('LPOP', P .. ':log')
    end
  end
end

function F.ended_entry(id)
  return ended[id] or redis.call('HGET', P .. ':ended', id)
end

-- Drop forgotten accounts in which, and below which, nothing lives.
function F.purge(n)
  while n and n.gone and not n.purged and n.live == 0 and n.children == 0 do
    n.purged = true
    dirty[n.id], nodes[n.id] = nil, false
    F.later('DEL', P .. ':a:' .. n.id)
    F.later('SREM', P .. ':accounts', n.id)
    if not n.parent then return end
    n = F.node(n.parent)
    n.children = n.children - 1
    F.touch(n)
  end
end

function F.end_hold(kind, hold, amounts)
  F.drop_hold(hold)
  F.move(hold, -1)
  if kind ~= 'release' then F.spend(hold.route, amounts, hold.at) end
  local entry = F.record(kind, hold.id, hold.accounts, hold.route, hold.amounts, amounts, hold.final)
  if hold.final then
    local final = F.node(hold.final)
    if kind == 'commit' then
      F.finish_account(final, final.state == 'open' and 'finalized' or final.state)
    else
      F.trim(final)
    end
  end
  for _, n in ipairs(hold.route.allocated) do F.trim(n) end
  for _, n in ipairs(hold.route.path) do
    if n.gone then F.purge(n) end
  end
  return entry
end

function F.charge_accounts(kind, id, accounts, amounts, final, asked)
  local route = F.route_of(accounts, kind == 'commit' and function(account)
    local n = F.node(account)
    if not n then F.say({k = account}) end
    return n
  end or F.need)
  local at = now
  for _, n in ipairs(route.path) do
    if n.windows[1] then at = F.windows().moment(route, at) end
  end
  F.spend(route, amounts, at)
  for _, n in ipairs(route.allocated) do F.trim(n) end
  return F.record(kind, id, accounts, route, {0, 0, 0, 0}, amounts, final, kind == 'commit', asked)
end

function F.balance_of(n)
  local caps, used = {}, {}
  for i, cap in ipairs(n.caps) do caps[i] = F.shown(cap[2]) end
  for i, w in ipairs(n.windows) do
    F.windows().roll(w)
    local spent, held = F.windows().used(w)
    used[i] = {F.shown(spent), F.shown(held)}
  end
  return {
    n.id, F.cold(n).terms, caps, F.shown_vector(n.kept), F.shown_vector(n.spent), F.shown_vector(n.held),
    n.state, used,
  }
end
