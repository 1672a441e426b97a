-- id, state
return run(function(a)
  local n = need(a[1])
  if cold(n).owners[owner] then care().disown(n, owner) end
  if a[2] ~= 'closed' or next(cold(n).owners) == nil then finish_account(n, a[2]) end
  return 1
end)
