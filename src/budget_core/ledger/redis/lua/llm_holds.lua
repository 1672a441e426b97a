-- id, holds to leave out
operation('llm_holds', function(id, besides)
  local n, left_out = need(id), {}
  for _, each in ipairs(cjson.decode(besides)) do left_out[each] = true end
  for _, each in ipairs(redis.call('HKEYS', HOLDS)) do
    local hold = not left_out[each] and live_hold(each)
    if hold and hold.amounts[3] ~= 0 then
      for _, passed in ipairs(n.windows[1] and hold.route.path or hold.route.checked) do
        if passed.id == id then return 1 end
      end
    end
  end
  return 0
end)
