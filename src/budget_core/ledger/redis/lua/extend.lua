-- id, accounts to join, amounts
return F.run(function(a)
  local live, amounts = F.live_hold(a[1]), F.vector(a[3])
  if not live then F.say({x = 'is not live, so it cannot be extended'}) end
  local union, seen, joined = {}, {}, false
  for _, account in ipairs(live.accounts) do
    union[#union + 1], seen[account] = account, true
  end
  for _, account in ipairs(a[2]) do
    if not seen[account] then
      union[#union + 1], seen[account], joined = account, true, true
    end
  end
  local wider = {
    id = a[1], accounts = union, amounts = amounts, final = live.final, owner = live.owner,
    at = live.at, route = F.route_of(union, F.need),
  }
  F.set_above(wider)
  local less = not joined
  for at = 1, 4 do less = less and not F.more(amounts[at], live.amounts[at]) end
  for _, n in ipairs(wider.route.path) do less = less and n.state ~= 'cancelled' end
  if not less then wider.at = now end
  F.move(live, -1)
  local refused = F.place(wider, less)
  if refused then F.say({d = refused}) end
  for _, n in ipairs(wider.route.allocated) do F.trim(n) end
  F.keep_hold(wider)
  return cjson.encode({accounts = union})
end)
