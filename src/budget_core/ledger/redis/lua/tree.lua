-- The accounts as a tree, as in tree.py: nothing is written before `save`.
local UNITS = {'usd', 'tokens', 'llm_calls', 'tool_calls'}
local nodes, dirty, queue = {}, {}, {}
local holds, ended = {}, {}
local paths, checks = {}, {}

function F.say(reply)
  error({reply = cjson.encode(reply)})
end

function F.later(...)
  queue[#queue + 1] = {...}
end

-- An account is kept as a flat list: what calls need first, the rest packed once more. COLD fields
-- are unpacked when they are needed.
local NOTHING = {}

function F.frozen_windows(n)
  local frozen = {}
  for i, w in ipairs(n.windows) do
    local slots = {}
    for j, each in ipairs(w.slots) do
      slots[j] = {each[1], F.kept_number(each[2]), F.kept_number(each[3])}
    end
    frozen[i] = {
      at = w.at, amount = F.kept_number(w.amount), kind = w.kind, width = w.width, span = w.span,
      zone = w.zone, name = w.name, since = w.since, newest = w.newest, slots = slots,
    }
  end
  return frozen
end

function F.thaw_windows(windows)
  for _, w in ipairs(windows) do
    w.amount = F.read(w.amount)
    for _, each in ipairs(w.slots) do
      each[2], each[3] = F.read(each[2]), F.read(each[3])
    end
  end
  return windows
end

function F.node(id)
  local n = nodes[id]
  if n ~= nil then return n end
  local raw = redis.call('GET', P .. ':a:' .. id)
  if not raw then
    nodes[id] = false
    return false
  end
  local r = cmsgpack.unpack(raw)
  n = {
    id = id, spent = r[1], held = r[2], kept = r[3], aside = r[4], state = r[5],
    final = r[6] or nil, parent = r[7] or nil, allocated = r[8], live = r[9], children = r[10],
    gone = r[11], caps = r[12], frozen = r[14], windows = NOTHING,
  }
  if r[13] then
    n.spent, n.held = F.vector(n.spent), F.vector(n.held)
    n.kept, n.aside = F.vector(n.kept), F.vector(n.aside)
    for _, cap in ipairs(n.caps) do cap[2] = F.read(cap[2]) end
  end
  if r[15] then n.windows = F.thaw_windows(r[15]) end
  nodes[id] = n
  return n
end

-- terms, reserve, lasts, excess, owners, folded, folded_beyond
function F.cold(n)
  if not n.cold then n.cold = cmsgpack.unpack(n.frozen) end
  return n.cold
end

local function narrow(v)
  for i = 1, 4 do
    local x = v[i]
    if type(x) ~= 'number' or x >= 1e15 then return false end
  end
  return true
end

function F.keep_node(id, n)
  local spent, held, kept, aside, caps = n.spent, n.held, n.kept, n.aside, n.caps
  local wide = not (narrow(spent) and narrow(held) and narrow(kept) and narrow(aside))
  for _, cap in ipairs(caps) do
    wide = wide or type(cap[2]) ~= 'number' or cap[2] >= 1e15
  end
  if wide then
    spent, held = F.kept_vector(spent), F.kept_vector(held)
    kept, aside, caps = F.kept_vector(kept), F.kept_vector(aside), {}
    for i, cap in ipairs(n.caps) do caps[i] = {cap[1], F.kept_number(cap[2])} end
  end
  redis.call('SET', P .. ':a:' .. id, cmsgpack.pack({
    spent, held, kept, aside, n.state, n.final or false, n.parent or false, n.allocated, n.live,
    n.children, n.gone, caps, wide, n.cold and cmsgpack.pack(n.cold) or n.frozen,
    n.windows[1] and F.frozen_windows(n) or false,
  }))
end

function F.need(id)
  local n = F.node(id)
  if not n or n.gone then F.say({k = id}) end
  return n
end

function F.touch(n)
  dirty[n.id] = n
end

function F.path_of(n)
  local found = paths[n.id]
  if not found then
    found = {n}
    local each = n
    while each.parent do
      each = F.node(each.parent)
      found[#found + 1] = each
    end
    paths[n.id] = found
  end
  return found
end

function F.checked_of(n)
  local found = checks[n.id]
  if not found then
    found = {}
    for _, each in ipairs(F.path_of(n)) do
      found[#found + 1] = each
      if each.allocated then break end
    end
    checks[n.id] = found
  end
  return found
end

function F.route_of(accounts, get)
  if #accounts == 1 then
    local n = get(accounts[1])
    local route = {path = F.path_of(n), checked = F.checked_of(n), allocated = {}}
    for _, each in ipairs(route.path) do
      if each.allocated and each.parent then route.allocated[#route.allocated + 1] = each end
    end
    return route
  end
  local sorted = {}
  for i, account in ipairs(accounts) do sorted[i] = account end
  table.sort(sorted)
  local route, seen, seen_checked = {path = {}, checked = {}, allocated = {}}, {}, {}
  for _, account in ipairs(sorted) do
    local n = get(account)
    for _, each in ipairs(F.path_of(n)) do
      if not seen[each.id] then
        seen[each.id] = true
        route.path[#route.path + 1] = each
        if each.allocated and each.parent then route.allocated[#route.allocated + 1] = each end
      end
    end
    for _, each in ipairs(F.checked_of(n)) do
      if not seen_checked[each.id] then
        seen_checked[each.id] = true
        route.checked[#route.checked + 1] = each
      end
    end
  end
  return route
end

function F.denial(n, at, limit, spent, held, want, state, retry, period)
  return {n.id, UNITS[at], F.shown(limit), F.shown(spent), F.shown(held), F.shown(want), state or 'open',
    retry or cjson.null, period or cjson.null}
end

function F.refusal(n, want, kept)
  for _, cap in ipairs(n.caps) do
    local at, limit = cap[1], cap[2]
    local spent, held, wanted = n.spent[at], n.held[at], want[at]
    if (wanted ~= 0 and F.more(spent + held + wanted, limit - kept[at])) or F.more(spent, limit) then
      return F.denial(n, at, limit - kept[at], spent, held, wanted)
    end
  end
  return nil
end

function F.window_refusal(n, want)
  local time = F.windows()
  for _, w in ipairs(n.windows) do
    time.roll(w)
    local spent, held = time.used(w)
    local wanted = want[w.at]
    if (wanted ~= 0 and F.more(spent + held + wanted, w.amount)) or F.more(spent, w.amount) then
      local after = time.retry_after(w, wanted)
      return F.denial(n, w.at, w.amount, spent, held, wanted, n.state, after, w.name)
    end
  end
  return nil
end



function F.set_aside(n, amounts)
  local above = n.parent and F.checked_of(F.node(n.parent)) or {}
  local change = F.minus(amounts, n.aside)
  if #above == 0 or not F.any(change) then return nil end
  local want = {F.most(0, change[1]), F.most(0, change[2]), F.most(0, change[3]), F.most(0, change[4])}
  if F.any(want) then
    for _, each in ipairs(above) do
      local refused = F.refusal(each, want, each.kept)
      if refused then return refused end
    end
  end
  for _, each in ipairs(above) do
    each.held = F.plus(each.held, change)
    F.touch(each)
  end
  n.aside = amounts
  F.touch(n)
  F.trim(above[#above])
  return nil
end

function F.trim(n)
  if n.state ~= 'open' and not n.final then
    F.set_aside(n, n.allocated and F.lower(n.held, n.aside) or {0, 0, 0, 0})
  end
end

function F.finish_account(n, state)
  n.state, n.kept = state, {0, 0, 0, 0}
  F.touch(n)
  F.trim(n)
end

local Rare
function F.rare()
  if Rare then return Rare end
  local function allocation(n, caps)
    local aside = {0, 0, 0, 0}
    for _, cap in ipairs(caps) do
      aside[cap[1]] = F.most(0, cap[2] - n.spent[cap[1]])
    end
    return aside
  end

  local function begin(n)
    local kept = F.vector(F.cold(n).reserve)
    for _, cap in ipairs(n.caps) do
      local at = cap[1]
      kept[at] = F.least(kept[at], F.most(0, cap[2] - n.spent[at] - n.held[at]))
    end
    local refused = F.set_aside(n, n.allocated and allocation(n, n.caps) or kept)
    if refused then return refused end
    n.state, n.kept = 'open', kept
    F.touch(n)
    return nil
  end

  local function rest(n)
    if n.allocated then
      F.finish_account(n, n.state == 'open' and 'closed' or n.state)
    elseif not n.final then
      n.kept = {0, 0, 0, 0}
      F.touch(n)
      F.set_aside(n, {0, 0, 0, 0})
    end
  end

  Rare = {allocation = allocation, begin = begin, rest = rest}
  return Rare
end

function F.spend(route, amounts, t)
  for _, n in ipairs(route.path) do
    n.spent = F.plus(n.spent, amounts)
    for _, w in ipairs(n.windows) do F.windows().add(w, t, 2, amounts[w.at]) end
    F.touch(n)
  end
  for _, n in ipairs(route.allocated) do
    F.set_aside(n, F.beyond(n.aside, amounts))
  end
end

function F.over(route, final, amounts)
  for _, n in ipairs(route.path) do
    for _, cap in ipairs(n.caps) do
      local at = cap[1]
      local limit = cap[2]
      if n.id ~= final then limit = limit - n.kept[at] end
      if F.more(n.spent[at], limit) then
        return F.denial(n, at, limit, n.spent[at], n.held[at], amounts[at], n.state)
      end
    end
    for _, w in ipairs(n.windows) do
      local spent, held = F.windows().used(w)
      if F.more(spent, w.amount) then
        return F.denial(n, w.at, w.amount, spent, held, amounts[w.at], n.state, nil, w.name)
      end
    end
  end
  return cjson.null
end
