-- id, accounts, amounts, final
return run(function(a)
  local amounts, final = vector(a[3]), a[4] ~= '' and a[4] or nil
  local live = live_hold(a[1])
  if live then
    local alike = #live.accounts == #a[2] and live.final == final and same(live.amounts, amounts)
    for i, account in ipairs(a[2]) do alike = alike and live.accounts[i] == account end
    if alike then return 1 end
    say({x = 'is live with another payload'})
  end
  if ended_entry(a[1]) then say({x = 'has ended; its id cannot be used again'}) end
  local hold = {
    id = a[1], accounts = a[2], amounts = amounts, final = final and need(final).id,
    at = now, owner = owner, route = route_of(a[2], need),
  }
  set_above(hold)
  local refused = place(hold)
  if refused then return cjson.encode({d = refused}) end
  keep_hold(hold)
  return 1
end)
