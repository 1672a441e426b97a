-- id
operation('describe', function(id)
  local told = cold(need(id))
  return cjson.encode({terms = told.terms, lasts = told.lasts})
end)
