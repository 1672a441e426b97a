-- ids
operation('forget', function(ids)
  for _, id in ipairs(cjson.decode(ids)) do
    local n = node(id)
    if n and not n.gone then forget(n) end
  end
  return 1
end)
