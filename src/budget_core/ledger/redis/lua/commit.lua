-- id, accounts, amounts
operation('commit', function(id, named, told)
  local hold, amounts = live_hold(id), amounts_of(told)
  if hold then return end_hold('commit', hold, amounts) end
  local known = ended_entry(id)
  if not known then return charge_accounts('commit', id, named, amounts) end
  local entry = cjson.decode(known)
  if entry[2] ~= 'release' and entry[2] ~= 'expire' then return replayed(known, entry, amounts) end
  local paid = vector(entry[6])
  if not any(paid) then return charge_accounts('commit', id, named, amounts) end
  return charge_accounts('commit', id, named, beyond(amounts, paid), nil, amounts)
end)
