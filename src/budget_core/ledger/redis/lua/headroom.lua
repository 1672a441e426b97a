-- accounts, final
operation('headroom', function(named, final)
  local route, room = route_of(cjson.decode(named), need), {}
  final = final ~= '' and need(final) or nil
  for _, n in ipairs(route.path) do
    if n.state ~= 'open' then return cjson.encode({0, 0, 0, 0}) end
  end
  local function narrow(at, free)
    if not room[at] or more(room[at], free) then room[at] = most(0, free) end
  end
  for _, n in ipairs(route.checked) do
    for _, cap in ipairs(n.caps) do
      local at = cap[1]
      local free = cap[2] - n.spent[at] - n.held[at]
      if not final or n.id ~= final.id then free = free - n.kept[at] end
      if final and is_above(n, final.id) then free = free + aside_of(final)[at] end
      narrow(at, free)
    end
  end
  for _, n in ipairs(route.path) do
    for _, w in ipairs(n.windows) do
      windows.roll(w)
      local spent, held = windows.used(w)
      narrow(w.at, w.amount - spent - held)
    end
  end
  local found = {}
  for at = 1, 4 do found[at] = room[at] and shown(room[at]) or cjson.null end
  return cjson.encode(found)
end)
