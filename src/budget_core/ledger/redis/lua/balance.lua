-- id
return F.run(function(a)
  return cjson.encode({b = F.balance_of(F.need(a[1]))})
end)
