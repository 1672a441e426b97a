-- ids
return F.run(function(a)
  for _, id in ipairs(a) do
    local n = F.node(id)
    if n and not n.gone then F.care().forget(n) end
  end
  return 1
end)
