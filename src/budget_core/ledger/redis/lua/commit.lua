-- id, accounts, amounts
return F.run(function(a)
  local hold, amounts = F.live_hold(a[1]), F.vector(a[3])
  if hold then return F.end_hold('commit', hold, amounts) end
  local known = F.ended_entry(a[1])
  if not known then return F.charge_accounts('commit', a[1], a[2], amounts) end
  local entry = cjson.decode(known)
  if entry[2] ~= 'release' and entry[2] ~= 'expire' then
    local before = entry[10] ~= cjson.null and entry[10] or entry[6]
    if F.same(F.vector(before), amounts) then return known end
    F.say({x = 'was recorded with another amount'})
  end
  local paid = F.vector(entry[6])
  if F.any(paid) then
    return F.charge_accounts('commit', a[1], a[2], F.beyond(amounts, paid), nil, amounts)
  end
  return F.charge_accounts('commit', a[1], a[2], amounts)
end)
