-- id, parent, terms, reserve, caps, windows, allocated, lasts, update, zones
local function windows_of(terms, before)
  local found = {}
  for i, each in ipairs(terms) do
    found[i] = windows.new(each)
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
  for i, cap in ipairs(terms) do caps[i] = {cap[1], read(cap[2])} end
  return caps
end

local function fresh(a)
  local parent = a.parent ~= cjson.null and need(a.parent).id or nil
  local n = {
    id = a.id, parent = parent, allocated = a.allocated, caps = caps_from(a.caps),
    windows = windows_of(a.windows, {}),
    spent = {0, 0, 0, 0}, held = {0, 0, 0, 0}, kept = {0, 0, 0, 0},
    state = 'open', gone = false, live = 0,
    cold = {
      terms = a.terms, reserve = a.reserve, lasts = a.lasts, owners = {}, children = 0,
      aside = {0, 0, 0, 0}, excess = {0, 0, 0, 0},
    },
  }
  nodes[a.id] = n
  local refused = begin(n)
  if refused then say({d = refused}) end
  if parent then
    cold(node(parent)).children = cold(node(parent)).children + 1
    touch(node(parent))
  end
  return n
end

local function change(n, a)
  local parent = a.parent ~= cjson.null and a.parent or nil
  local c = cold(n)
  if n.parent ~= parent or n.allocated ~= a.allocated or not (a.update or c.lasts == 'implied') then
    say({c = c.terms, lasts = c.lasts})
  end
  if c.lasts == 'implied' then c.lasts = a.lasts end
  c.terms, c.reserve, n.caps = a.terms, a.reserve, caps_from(a.caps)
  n.windows = windows_of(a.windows, n.windows)
  if (n.state == 'open' or n.state == 'finalized') and not n.final then
    local refused = begin(n)
    if refused then say({d = refused}) end
  end
  local excess = vector(c.excess)
  for _, cap in ipairs(n.caps) do
    local at = cap[1]
    excess[at] = most(excess[at], n.spent[at] + n.held[at] - cap[2])
  end
  c.excess = kept_vector(excess)
end

operation('open', function(told)
  local a = cjson.decode(told)
  for zone, table_of_offsets in pairs(a.zones) do
    offsets[zone] = cjson.decode(table_of_offsets)
    later('SET', P .. ':zone:' .. zone, table_of_offsets)
  end
  local n = node(a.id)
  if not n then check_lost(a.id) end
  if n and n.gone then n = false end
  if not n then
    n = fresh(a)
  else
    local implied = cold(n).lasts == 'implied' and a.lasts ~= 'implied'
    if implied or (cold(n).terms ~= a.terms and a.lasts ~= 'implied') then change(n, a) end
    if n.state == 'closed' or (n.state == 'open' and next(cold(n).owners) == nil) then
      local refused = begin(n)
      if refused then say({d = refused}) end
    end
  end
  local who = (a.lasts == 'standing' or a.lasts == 'implied') and '*' or owner
  if not cold(n).owners[who] then
    cold(n).owners[who] = true
    later('SADD', P .. ':own:' .. who, n.id)
  end
  touch(n)
  return cjson.encode({b = balance_of(n)})
end)
