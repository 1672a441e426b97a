-- id, accounts to join, amounts
operation('extend', function(id, named, told)
  local live, amounts = live_hold(id), amounts_of(told)
  if not live then say({x = 'is not live, so it cannot be extended'}) end
  local union, seen, joined = {}, {}, false
  for _, account in ipairs(live.accounts) do
    union[#union + 1], seen[account] = account, true
  end
  for _, account in ipairs(cjson.decode(named)) do
    if not seen[account] then
      union[#union + 1], seen[account], joined = account, true, true
    end
  end
  local wider = {
    id = id, accounts = union, named = cjson.encode(union), amounts = amounts, final = live.final,
    owner = live.owner, at = live.at, route = route_of(union, need),
  }
  set_above(wider)
  local less = not joined
  for at = 1, 4 do less = less and not more(amounts[at], live.amounts[at]) end
  for _, n in ipairs(wider.route.path) do less = less and n.state ~= 'cancelled' end
  if not less then wider.at = now end
  move(live, minus, -1)
  local refused = not less and hold_refusal(wider)
  if refused then say({d = refused}) end
  move(wider, plus, 1)
  for _, n in ipairs(wider.route.path) do
    if n.allocated then trim(n) end
  end
  keep_hold(wider)
  return cjson.encode({accounts = union, path = names(wider.route.path)})
end)
