-- The accounts as a tree, as in tree.py: nothing is written before `save`.
local UNITS = {'usd', 'tokens', 'llm_calls', 'tool_calls'}
local nodes, dirty, queue = {}, {}, {}
local holds, ended = {}, {}
local paths, checks = {}, {}

local function say(reply)
  error({reply = cjson.encode(reply)})
end

local function later(...)
  queue[#queue + 1] = {...}
end

-- An account is kept as a flat list: what calls need first, the rest packed once more. COLD fields
-- are unpacked when they are needed.
local NOTHING = {}

local function frozen_windows(n)
  local frozen = {}
  for i, w in ipairs(n.windows) do
    local slots = {}
    for j, each in ipairs(w.slots) do
      slots[j] = {each[1], kept_number(each[2]), kept_number(each[3])}
    end
    frozen[i] = {
      at = w.at, amount = kept_number(w.amount), kind = w.kind, width = w.width, span = w.span,
      zone = w.zone, name = w.name, since = w.since, newest = w.newest, slots = slots,
    }
  end
  return frozen
end

local function thaw_windows(windows)
  for _, w in ipairs(windows) do
    w.amount = read(w.amount)
    for _, each in ipairs(w.slots) do
      each[2], each[3] = read(each[2]), read(each[3])
    end
  end
  return windows
end

local function node(id)
  local n = nodes[id]
  if n ~= nil then return n end
  local raw = redis.call('GET', P .. ':a:' .. id)
  if not raw then
    nodes[id] = false
    return false
  end
  local r = cmsgpack.unpack(raw)
  n = {
    id = id, spent = {r[1], r[2], r[3], r[4]}, held = {r[5], r[6], r[7], r[8]},
    kept = {r[9], r[10], r[11], r[12]}, aside = {r[13], r[14], r[15], r[16]}, state = r[17],
    final = r[18] or nil, parent = r[19] or nil, allocated = r[20], live = r[21],
    children = r[22], gone = r[23], caps = r[24], frozen = r[26], windows = NOTHING,
  }
  if r[25] then
    n.spent, n.held = vector(n.spent), vector(n.held)
    n.kept, n.aside = vector(n.kept), vector(n.aside)
    for _, cap in ipairs(n.caps) do cap[2] = read(cap[2]) end
  end
  if r[27] then n.windows = thaw_windows(r[27]) end
  nodes[id] = n
  return n
end

-- terms, reserve, lasts, excess, owners, folded, folded_beyond
local function cold(n)
  if not n.cold then n.cold = cmsgpack.unpack(n.frozen) end
  return n.cold
end

local function keep_node(id, n)
  local v = {}
  local wide = false
  local function put(from, at)
    for i = 1, 4 do
      local x = from[i]
      if type(x) ~= 'number' or x >= 1e15 then
        x, wide = kept_number(x), wide or type(kept_number(x)) == 'string'
      end
      v[at + i] = x
    end
  end
  put(n.spent, 0)
  put(n.held, 4)
  put(n.kept, 8)
  put(n.aside, 12)
  local caps = n.caps
  for _, cap in ipairs(n.caps) do
    if type(kept_number(cap[2])) == 'string' then
      wide, caps = true, {}
      for i, each in ipairs(n.caps) do caps[i] = {each[1], kept_number(each[2])} end
      break
    end
  end
  v[17], v[18], v[19], v[20] = n.state, n.final or false, n.parent or false, n.allocated
  v[21], v[22], v[23], v[24], v[25] = n.live, n.children, n.gone, caps, wide
  v[26] = n.cold and cmsgpack.pack(n.cold) or n.frozen
  v[27] = n.windows[1] and frozen_windows(n) or false
  redis.call('SET', P .. ':a:' .. id, cmsgpack.pack(v))
end

local function need(id)
  local n = node(id)
  if not n or n.gone then say({k = id}) end
  return n
end

local function touch(n)
  dirty[n.id] = n
end

local function path_of(n)
  local found = paths[n.id]
  if not found then
    found = {n}
    local each = n
    while each.parent do
      each = node(each.parent)
      found[#found + 1] = each
    end
    paths[n.id] = found
  end
  return found
end

local function checked_of(n)
  local found = checks[n.id]
  if not found then
    found = {}
    for _, each in ipairs(path_of(n)) do
      found[#found + 1] = each
      if each.allocated then break end
    end
    checks[n.id] = found
  end
  return found
end

local function route_of(accounts, get)
  if #accounts == 1 then
    local n = get(accounts[1])
    local route = {path = path_of(n), checked = checked_of(n), allocated = {}}
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
    for _, each in ipairs(path_of(n)) do
      if not seen[each.id] then
        seen[each.id] = true
        route.path[#route.path + 1] = each
        if each.allocated and each.parent then route.allocated[#route.allocated + 1] = each end
      end
    end
    for _, each in ipairs(checked_of(n)) do
      if not seen_checked[each.id] then
        seen_checked[each.id] = true
        route.checked[#route.checked + 1] = each
      end
    end
  end
  return route
end

local function denial(n, at, limit, spent, held, want, state, retry, period)
  return {n.id, UNITS[at], shown(limit), shown(spent), shown(held), shown(want), state or 'open',
    retry or cjson.null, period or cjson.null}
end

local function refusal(n, want, kept)
  for _, cap in ipairs(n.caps) do
    local at, limit = cap[1], cap[2]
    local spent, held, wanted = n.spent[at], n.held[at], want[at]
    if (wanted ~= 0 and more(spent + held + wanted, limit - kept[at])) or more(spent, limit) then
      return denial(n, at, limit - kept[at], spent, held, wanted)
    end
  end
  return nil
end

local function window_refusal(n, want)
  local time = windows()
  for _, w in ipairs(n.windows) do
    time.roll(w)
    local spent, held = time.used(w)
    local wanted = want[w.at]
    if (wanted ~= 0 and more(spent + held + wanted, w.amount)) or more(spent, w.amount) then
      local after = time.retry_after(w, wanted)
      return denial(n, w.at, w.amount, spent, held, wanted, n.state, after, w.name)
    end
  end
  return nil
end

local trim

local function set_aside(n, amounts)
  local above = n.parent and checked_of(node(n.parent)) or {}
  local change = minus(amounts, n.aside)
  if #above == 0 or not any(change) then return nil end
  local want = {most(0, change[1]), most(0, change[2]), most(0, change[3]), most(0, change[4])}
  if any(want) then
    for _, each in ipairs(above) do
      local refused = refusal(each, want, each.kept)
      if refused then return refused end
    end
  end
  for _, each in ipairs(above) do
    each.held = plus(each.held, change)
    touch(each)
  end
  n.aside = amounts
  touch(n)
  trim(above[#above])
  return nil
end

trim = function(n)
  if n.state ~= 'open' and not n.final then
    set_aside(n, n.allocated and lower(n.held, n.aside) or {0, 0, 0, 0})
  end
end

local function finish_account(n, state)
  n.state, n.kept = state, {0, 0, 0, 0}
  touch(n)
  trim(n)
end

local Rare
local function rare()
  if Rare then return Rare end
  local function allocation(n, caps)
    local aside = {0, 0, 0, 0}
    for _, cap in ipairs(caps) do
      aside[cap[1]] = most(0, cap[2] - n.spent[cap[1]])
    end
    return aside
  end

  local function begin(n)
    local kept = vector(cold(n).reserve)
    for _, cap in ipairs(n.caps) do
      local at = cap[1]
      kept[at] = least(kept[at], most(0, cap[2] - n.spent[at] - n.held[at]))
    end
    local refused = set_aside(n, n.allocated and allocation(n, n.caps) or kept)
    if refused then return refused end
    n.state, n.kept = 'open', kept
    touch(n)
    return nil
  end

  local function rest(n)
    if n.allocated then
      finish_account(n, n.state == 'open' and 'closed' or n.state)
    elseif not n.final then
      n.kept = {0, 0, 0, 0}
      touch(n)
      set_aside(n, {0, 0, 0, 0})
    end
  end

  Rare = {allocation = allocation, begin = begin, rest = rest}
  return Rare
end

local function spend(route, amounts, t)
  for _, n in ipairs(route.path) do
    n.spent = plus(n.spent, amounts)
    for _, w in ipairs(n.windows) do windows().add(w, t, 2, amounts[w.at]) end
    touch(n)
  end
  for _, n in ipairs(route.allocated) do
    set_aside(n, beyond(n.aside, amounts))
  end
end

local function over(route, final, amounts)
  for _, n in ipairs(route.path) do
    for _, cap in ipairs(n.caps) do
      local at = cap[1]
      local limit = cap[2]
      if n.id ~= final then limit = limit - n.kept[at] end
      if more(n.spent[at], limit) then
        return denial(n, at, limit, n.spent[at], n.held[at], amounts[at], n.state)
      end
    end
    for _, w in ipairs(n.windows) do
      local spent, held = windows().used(w)
      if more(spent, w.amount) then
        return denial(n, w.at, w.amount, spent, held, amounts[w.at], n.state, nil, w.name)
      end
    end
  end
  return cjson.null
end
