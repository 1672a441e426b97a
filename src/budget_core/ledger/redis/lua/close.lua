-- id, state
return F.run(function(a)
  local n = F.need(a[1])
  if F.cold(n).owners[owner] then F.care().disown(n, owner) end
  if a[2] ~= 'closed' or next(F.cold(n).owners) == nil then F.finish_account(n, a[2]) end
  return 1
end)
