-- id, accounts, amounts, final
return F.run(function(a)
  local amounts, final = F.vector(a[3]), a[4] ~= '' and a[4] or nil
  local live = F.live_hold(a[1])
  if live then
    local alike = #live.accounts == #a[2] and live.final == final and F.same(live.amounts, amounts)
    for i, account in ipairs(a[2]) do alike = alike and live.accounts[i] == account end
    if alike then return 1 end
    F.say({x = 'is live with another payload'})
  end
  if F.ended_entry(a[1]) then F.say({x = 'has ended; its id cannot be used again'}) end
  local hold = {
    id = a[1], accounts = a[2], amounts = amounts, final = final and F.need(final).id,
    at = now, owner = owner, route = F.route_of(a[2], F.need),
  }
  F.set_above(hold)
  local refused = F.place(hold)
  if refused then return cjson.encode({d = refused}) end
  F.keep_hold(hold)
  return 1
end)
