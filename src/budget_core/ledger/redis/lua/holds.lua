-- Holds, and what becomes of them. `named` are a hold's accounts as JSON, as it was made with.
local function set_above(hold)
  if hold.final then hold.above = beyond(hold.amounts, aside_of(node(hold.final))) end
end

local function live_hold(id)
  local hold = holds[id]
  if hold ~= nil then return hold end
  local raw = redis.call('HGET', HOLDS, id)
  if not raw then
    holds[id] = false
    return false
  end
  local at, who, named, held, final, above = cmsgpack.unpack(raw)
  hold = {
    id = id, at = at, owner = who, named = named, accounts = cjson.decode(named),
    amounts = amounts_of(held), final = final or nil,
    above = above and amounts_of(above),
  }
  hold.route = route_of(hold.accounts, node)
  holds[id] = hold
  return hold
end

local function keep_hold(hold)
  holds[hold.id] = hold
  later('HSET', HOLDS, hold.id, cmsgpack.pack(
    hold.at, hold.owner, hold.named, text(hold.amounts), hold.final or false,
    hold.above and text(hold.above) or false
  ))
end

local function is_above(n, final)
  for i, each in ipairs(path_of(node(final))) do
    if i > 1 and each.id == n.id then return true end
  end
  return false
end

-- What a last call takes of an account: it draws on what was set aside above first.
local function part(hold, n)
  return is_above(n, hold.final) and hold.above or hold.amounts
end

local function ended_denial(n, hold, state)
  local limit = 0
  for _, cap in ipairs(n.caps) do
    if cap[1] == 1 then limit = cap[2] end
  end
  return denial(n, 1, limit, n.spent[1], n.held[1], hold.amounts[1], state)
end

local function hold_refusal(hold)
  for _, n in ipairs(hold.route.path) do
    if n.state ~= 'open' then return ended_denial(n, hold, n.state) end
  end
  local final = hold.final and node(hold.final)
  if final and final.final then return ended_denial(final, hold, 'finalized') end
  for _, n in ipairs(hold.route.checked) do
    local want = hold.final and part(hold, n) or hold.amounts
    local refused = refusal(n, want, n == final and {0, 0, 0, 0} or n.kept)
    if refused then return refused end
  end
  for _, n in ipairs(hold.route.path) do
    if n.windows[1] then
      hold.at = windows.moment(hold.route, hold.at)
      local refused = window_refusal(n, hold.amounts)
      if refused then return refused end
    end
  end
  return nil
end

-- Take a hold into what the accounts hold (with `plus`, 1), or out of it (`minus`, -1).
local function move(hold, change, sign)
  for _, n in ipairs(hold.route.checked) do
    n.held = change(n.held, hold.final and part(hold, n) or hold.amounts)
  end
  for _, n in ipairs(hold.route.path) do
    n.live = n.live + sign
    touch(n)
    for _, w in ipairs(n.windows) do
      local amount = hold.amounts[w.at]
      windows.add(w, hold.at, 3, sign > 0 and amount or 0 - amount)
    end
  end
  if hold.final then
    node(hold.final).final = sign > 0 and hold.id or nil
    touch(node(hold.final))
  end
end

-- Drop forgotten accounts in which, and below which, nothing lives.
local function purge(n)
  while n and n.gone and not n.purged and n.live == 0 and cold(n).children == 0 do
    n.purged = true
    dirty[n.id], nodes[n.id] = nil, false
    for _, key in ipairs({ACCOUNTS, P .. ':cold', P .. ':folded'}) do later('HDEL', key, n.id) end
    if not n.parent then return end
    n = node(n.parent)
    cold(n).children = cold(n).children - 1
    touch(n)
  end
end

local function end_hold(kind, hold, amounts)
  holds[hold.id] = false
  later('HDEL', HOLDS, hold.id)
  move(hold, minus, -1)
  if kind ~= 'release' then spend(hold.route, amounts, hold.at) end
  local entry = record(kind, hold.id, hold.named, hold.route, hold.amounts, amounts, hold.final)
  if hold.final then
    local final = node(hold.final)
    if kind == 'commit' then finish_last(final) else trim(final) end
  end
  for _, n in ipairs(hold.route.path) do
    if n.allocated then trim(n) end
    if n.gone then purge(n) end
  end
  return entry
end
