-- id, accounts, amounts
return run(function(a)
  local hold, amounts = live_hold(a[1]), vector(a[3])
  if hold then return end_hold('commit', hold, amounts) end
  local known = ended_entry(a[1])
  if not known then return charge_accounts('commit', a[1], a[2], amounts) end
  local entry = cjson.decode(known)
  if entry[2] ~= 'release' and entry[2] ~= 'expire' then
    local before = entry[10] ~= cjson.null and entry[10] or entry[6]
    if same(vector(before), amounts) then return known end
    say({x = 'was recorded with another amount'})
  end
  local paid = vector(entry[6])
  if any(paid) then
    return charge_accounts('commit', a[1], a[2], beyond(amounts, paid), nil, amounts)
  end
  return charge_accounts('commit', a[1], a[2], amounts)
end)
