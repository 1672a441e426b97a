-- ids
return run(function(a)
  for _, id in ipairs(a) do
    local n = node(id)
    if n and not n.gone then care().forget(n) end
  end
  return 1
end)
