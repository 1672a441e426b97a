-- id
operation('balance', function(id)
  return cjson.encode({b = balance_of(need(id))})
end)
