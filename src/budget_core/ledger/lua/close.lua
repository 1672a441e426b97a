-- id, state
return run(function(a)
  local n = need(a[1])
  if n.owners[owner] then disown(n, owner) end
  if a[2] ~= 'closed' or next(n.owners) == nil then finish_account(n, a[2]) end
  return 1
end)
