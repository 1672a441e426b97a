-- id, accounts, amounts, final
operation('reserve', function(id, named, told, final)
  final = final ~= '' and final or nil
  local live, amounts = live_hold(id), amounts_of(told)
  if live then
    if live.named == named and live.final == final and same(live.amounts, amounts) then return 1 end
    say({x = 'is live with another payload'})
  end
  if ended_entry(id) then say({x = 'has ended; its id cannot be used again'}) end
  local accounts = cjson.decode(named)
  local hold = {
    id = id, accounts = accounts, named = named, amounts = amounts, final = final and need(final).id,
    at = now, owner = owner, route = route_of(accounts, need),
  }
  set_above(hold)
  local refused = hold_refusal(hold)
  if refused then return cjson.encode({d = refused}) end
  move(hold, plus, 1)
  keep_hold(hold)
  return 1
end)
