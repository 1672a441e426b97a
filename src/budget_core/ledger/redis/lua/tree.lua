-- The accounts as a tree, as in tree.py. An account is kept as its balances (see head.lua) and what
-- else calls look at; what they do not is kept apart (`cold`).
local function node(id)
  local n = nodes[id]
  if n ~= nil then return n end
  local raw = redis.call('HGET', ACCOUNTS, id)
  if not raw then
    nodes[id] = false
    return false
  end
  local _, s1, s2, s3, s4, h1, h2, h3, h4, live, _, _, _, _, parent, after = struct.unpack(BALANCES, raw)
  local state, final, frozen, large, gone, allocated, kept_then, caps =
    cmsgpack.unpack(string.sub(raw, after))
  n = {
    id = id, parent = parent ~= '' and parent or nil, state = state, final = final, gone = gone,
    allocated = allocated, live = live, kept = vector(kept_then), caps = caps,
    spent = {s1, s2, s3, s4}, held = {h1, h2, h3, h4},
    windows = frozen and thawed_windows(frozen) or NOTHING,
  }
  if large then
    n.spent, n.held = vector(large[1]), vector(large[2])
    for _, cap in ipairs(n.caps) do cap[2] = read(cap[2]) end
  end
  nodes[id] = n
  return n
end

local function packed(n)
  local caps, room = {}, {LARGE, LARGE, LARGE, LARGE}
  local large = not (narrow(n.spent) and narrow(n.held))
  for i, cap in ipairs(n.caps) do
    caps[i] = {cap[1], kept(cap[2])}
    large = large or caps[i][2] ~= cap[2]
    room[cap[1]] = cap[2] - n.kept[cap[1]]
  end
  local plain = n.state == 'open' and not (n.gone or n.allocated or n.windows[1] or large)
  local spent, held, none = n.spent, n.held, {0, 0, 0, 0}
  if large then spent, held = none, none end
  if not plain then room = none end
  return struct.pack(
    BALANCES, plain and 1 or 0, spent[1], spent[2], spent[3], spent[4],
    held[1], held[2], held[3], held[4], n.live, room[1], room[2], room[3], room[4],
    #(n.parent or ''), n.parent or ''
  ) .. cmsgpack.pack(
    n.state, n.final or false, n.windows[1] and frozen_windows(n.windows) or false,
    large and {kept_vector(n.spent), kept_vector(n.held)}, n.gone, n.allocated, kept_vector(n.kept), caps
  )
end

-- terms, reserve, lasts, owners, children; aside and excess, vectors as they are kept
local function cold(n)
  if not n.cold then
    local raw = redis.call('HGET', P .. ':cold', n.id)
    if not raw then say({m = P .. ':cold'}) end
    n.cold = cmsgpack.unpack(raw)
  end
  return n.cold
end

local function aside_of(n)
  return vector(cold(n).aside)
end

-- An account of which only a half is left is not new: the server has lost the other half.
local function check_lost(id)
  if redis.call('HEXISTS', P .. ':cold', id) == 1 then say({m = ACCOUNTS}) end
end

local function need(id)
  local n = node(id)
  if not n then check_lost(id) end
  if not n or n.gone then say({k = id}) end
  return n
end

local function touch(n)
  dirty[n.id] = n
end

local function path_of(n)
  local path = {n}
  while n.parent do
    n = node(n.parent)
    path[#path + 1] = n
  end
  return path
end

local function checked_of(n)
  local checked = {n}
  while n.parent and not n.allocated do
    n = node(n.parent)
    checked[#checked + 1] = n
  end
  return checked
end

local function join(list, others)
  for _, n in ipairs(others) do
    local known = false
    for _, each in ipairs(list) do known = known or each == n end
    if not known then list[#list + 1] = n end
  end
end

-- Where the money of a call passes: `checked` holds it, `path` spends it.
local function route_of(accounts, get)
  if #accounts == 1 then
    local n = get(accounts[1])
    return {path = path_of(n), checked = checked_of(n)}
  end
  local sorted, route = {unpack(accounts)}, {path = {}, checked = {}}
  table.sort(sorted)
  for _, id in ipairs(sorted) do
    join(route.path, path_of(get(id)))
    join(route.checked, checked_of(get(id)))
  end
  return route
end

local function denial(n, at, limit, spent, held, want, state, retry, period)
  return {n.id, UNITS[at], shown(limit), shown(spent), shown(held), shown(want), state or 'open',
    retry or cjson.null, period or cjson.null}
end

local function refusal(n, want, kept_back)
  for _, cap in ipairs(n.caps) do
    local at, limit = cap[1], cap[2]
    local spent, held, wanted = n.spent[at], n.held[at], want[at]
    if (wanted ~= 0 and more(spent + held + wanted, limit - kept_back[at])) or more(spent, limit) then
      return denial(n, at, limit - kept_back[at], spent, held, wanted)
    end
  end
  return nil
end

local function window_refusal(n, want)
  for _, w in ipairs(n.windows) do
    windows.roll(w)
    local spent, held = windows.used(w)
    local wanted = want[w.at]
    if (wanted ~= 0 and more(spent + held + wanted, w.amount)) or more(spent, w.amount) then
      local after = windows.retry_after(w, wanted)
      return denial(n, w.at, w.amount, spent, held, wanted, n.state, after, w.name)
    end
  end
  return nil
end

-- What an account that has ended still needs aside: what its live holds take of its allocation.
local function still_aside(n)
  if n.state == 'open' or n.final then return nil end
  return n.allocated and lower(n.held, aside_of(n)) or {0, 0, 0, 0}
end

-- Make what the ancestors set aside for an account `amounts`, in all or none.
local function set_aside(n, amounts)
  local above = n.parent and checked_of(node(n.parent)) or {}
  local change = minus(amounts, aside_of(n))
  if #above == 0 or not any(change) then return nil end
  local want = beyond(change, {0, 0, 0, 0})
  for _, each in ipairs(any(want) and above or {}) do
    local refused = refusal(each, want, each.kept)
    if refused then return refused end
  end
  for _, each in ipairs(above) do
    each.held = plus(each.held, change)
    touch(each)
  end
  cold(n).aside = kept_vector(amounts)
  touch(n)
  local last = above[#above]
  local left = still_aside(last)
  if left then set_aside(last, left) end
  return nil
end

local function trim(n)
  local left = still_aside(n)
  if left then set_aside(n, left) end
end

local function finish_account(n, state)
  n.state, n.kept = state, {0, 0, 0, 0}
  touch(n)
  trim(n)
end

-- Note that the last call is over; an account that was closed meanwhile stays so.
local function finish_last(n)
  finish_account(n, n.state == 'open' and 'finalized' or n.state)
end

local function allocation(n, caps)
  local aside = {0, 0, 0, 0}
  for _, cap in ipairs(caps) do
    aside[cap[1]] = most(0, cap[2] - n.spent[cap[1]])
  end
  return aside
end

-- Open an account, for the first time or again.
local function begin(n)
  local kept_back = vector(cold(n).reserve)
  for _, cap in ipairs(n.caps) do
    local at = cap[1]
    kept_back[at] = least(kept_back[at], most(0, cap[2] - n.spent[at] - n.held[at]))
  end
  local refused = set_aside(n, n.allocated and allocation(n, n.caps) or kept_back)
  if refused then return refused end
  n.state, n.kept = 'open', kept_back
  touch(n)
  return nil
end

-- Give back what is set aside for an account that no process has open any more.
local function put_to_rest(n)
  if n.allocated then
    finish_account(n, n.state == 'open' and 'closed' or n.state)
  elseif not n.final then
    n.kept = {0, 0, 0, 0}
    touch(n)
    set_aside(n, {0, 0, 0, 0})
  end
end

local function spend(route, amounts, t)
  for _, n in ipairs(route.path) do
    n.spent = plus(n.spent, amounts)
    for _, w in ipairs(n.windows) do windows.add(w, t, 2, amounts[w.at]) end
    touch(n)
  end
  for _, n in ipairs(route.path) do
    if n.allocated and n.parent then set_aside(n, beyond(aside_of(n), amounts)) end
  end
end

-- The first account that is beyond what it may spend.
local function over(route, final, amounts)
  for _, n in ipairs(route.path) do
    for _, cap in ipairs(n.caps) do
      local at, limit = cap[1], cap[2]
      if n.id ~= final then limit = limit - n.kept[at] end
      if more(n.spent[at], limit) then
        return denial(n, at, limit, n.spent[at], n.held[at], amounts[at], n.state)
      end
    end
    for _, w in ipairs(n.windows) do
      local spent, held = windows.used(w)
      if more(spent, w.amount) then
        return denial(n, w.at, w.amount, spent, held, amounts[w.at], n.state, nil, w.name)
      end
    end
  end
  return nil
end

-- The first account that has ended, for what was spent without a hold.
local function over_the_end(route, amounts)
  for _, n in ipairs(route.path) do
    if n.state ~= 'open' then
      local limit = n.spent[1]
      for _, cap in ipairs(n.caps) do
        if cap[1] == 1 then limit = cap[2] end
      end
      return denial(n, 1, limit, n.spent[1], n.held[1], amounts[1], n.state)
    end
  end
  return nil
end

local function balance_of(n)
  local caps, used = {}, {}
  for i, cap in ipairs(n.caps) do caps[i] = shown(cap[2]) end
  for i, w in ipairs(n.windows) do
    windows.roll(w)
    local spent, held = windows.used(w)
    used[i] = {shown(spent), shown(held)}
  end
  return {
    n.id, cold(n).terms, caps, shown_vector(n.kept), shown_vector(n.spent), shown_vector(n.held),
    n.state, used,
  }
end
