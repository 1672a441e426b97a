-- id
return run(function(id)
  return cjson.encode({b = balance_of(need(id))})
end)
