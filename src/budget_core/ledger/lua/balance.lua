-- id
return run(function(a)
  return cjson.encode({b = balance_of(need(a[1]))})
end)
