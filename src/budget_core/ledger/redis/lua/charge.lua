-- id, accounts, amounts, final
operation('charge', function(id, named, told, final)
  local amounts, known = amounts_of(told), ended_entry(id)
  if known then return replayed(known, cjson.decode(known), amounts) end
  final = final ~= '' and need(final) or nil
  local entry = charge_accounts('charge', id, named, amounts, final and final.id)
  if final then finish_last(final) end
  return entry
end)
