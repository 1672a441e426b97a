-- id, accounts, amounts, final
return F.run(function(a)
  local amounts, known = F.vector(a[3]), F.ended_entry(a[1])
  if known then
    local entry = cjson.decode(known)
    local before = entry[10] ~= cjson.null and entry[10] or entry[6]
    if F.same(F.vector(before), amounts) then return known end
    F.say({x = 'was recorded with another amount'})
  end
  local final = a[4] ~= '' and F.need(a[4]) or nil
  local entry = F.charge_accounts('charge', a[1], a[2], amounts, final and final.id)
  if final then F.finish_account(final, final.state == 'open' and 'finalized' or final.state) end
  return entry
end)
