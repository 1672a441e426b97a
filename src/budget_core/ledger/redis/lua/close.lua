-- id, state
operation('close', function(id, state)
  local n = need(id)
  if cold(n).owners[owner] then disown(n, owner) end
  if state ~= 'closed' or next(cold(n).owners) == nil then finish_account(n, state) end
  return 1
end)
