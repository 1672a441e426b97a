-- id, parent, terms, reserve, caps, windows, allocated, lasts, update, zones
local function windows_from(terms, before)
  local found = {}
  for i, each in ipairs(terms) do
    found[i] = F.windows().new(each)
    for _, had in ipairs(before) do
      if had.at == found[i].at and had.name == found[i].name then
        had.amount = found[i].amount
        found[i] = had
      end
    end
  end
  return found
end

local function caps_from(terms)
  local caps = {}
  for i, cap in ipairs(terms) do caps[i] = {cap[1], F.read(cap[2])} end
  return caps
end

local function fresh(a)
  local parent = a.parent ~= cjson.null and F.need(a.parent).id or nil
  local n = {
    id = a.id, parent = parent, allocated = a.allocated, caps = caps_from(a.caps), windows = windows_from(a.windows, {}),
    spent = {0, 0, 0, 0}, held = {0, 0, 0, 0}, kept = {0, 0, 0, 0}, aside = {0, 0, 0, 0},
    state = 'open', gone = false, live = 0, children = 0,
    cold = {
      terms = a.terms, reserve = a.reserve, lasts = a.lasts, excess = {0, 0, 0, 0}, owners = {},
      folded = {0, 0, 0, 0}, folded_beyond = {0, 0, 0, 0},
    },
  }
  nodes[a.id] = n
  local refused = F.rare().begin(n)
  if refused then F.say({d = refused}) end
  if parent then
    F.node(parent).children = F.node(parent).children + 1
    F.touch(F.node(parent))
  end
  F.later('SADD', P .. ':accounts', a.id)
  return n
end

local function change(n, a)
  local parent = a.parent ~= cjson.null and a.parent or nil
  if n.parent ~= parent or n.allocated ~= a.allocated or not a.update then
    F.say({c = F.cold(n).terms, lasts = F.cold(n).lasts})
  end
  local c = F.cold(n)
  c.terms, c.reserve, n.caps = a.terms, a.reserve, caps_from(a.caps)
  n.windows = windows_from(a.windows, n.windows)
  if (n.state == 'open' or n.state == 'finalized') and not n.final then
    local refused = F.rare().begin(n)
    if refused then F.say({d = refused}) end
  end
  local excess = F.vector(c.excess)
  for _, cap in ipairs(n.caps) do
    local at = cap[1]
    excess[at] = F.most(excess[at], n.spent[at] + n.held[at] - cap[2])
  end
  c.excess = F.kept_vector(excess)
end

return F.run(function(a)
  for zone, table_of_offsets in pairs(a.zones) do
    offsets[zone] = cjson.decode(table_of_offsets)
    F.later('SET', P .. ':zone:' .. zone, table_of_offsets)
  end
  local n = F.node(a.id)
  if n and n.gone then n = false end
  if not n then
    n = fresh(a)
  else
    if F.cold(n).terms ~= a.terms then change(n, a) end
    if n.state == 'closed' or (n.state == 'open' and next(F.cold(n).owners) == nil) then
      local refused = F.rare().begin(n)
      if refused then F.say({d = refused}) end
    end
  end
  local who = a.lasts == 'standing' and '*' or owner
  if not F.cold(n).owners[who] then
    F.cold(n).owners[who] = true
    F.later('SADD', P .. ':own:' .. who, n.id)
  end
  F.touch(n)
  return cjson.encode({b = F.balance_of(n)})
end)
