-- id, holds to leave out
return F.run(function(a)
  local n, left_out = F.need(a[1]), {}
  for _, id in ipairs(a[2]) do left_out[id] = true end
  for _, id in ipairs(redis.call('HKEYS', P .. ':holds')) do
    local hold = not left_out[id] and F.live_hold(id)
    if hold and hold.amounts[3] ~= 0 then
      for _, each in ipairs(n.windows[1] and hold.route.path or hold.route.checked) do
        if each.id == n.id then return 1 end
      end
    end
  end
  return 0
end)
