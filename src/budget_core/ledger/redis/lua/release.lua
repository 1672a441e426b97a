-- id
return F.run(function(a)
  local hold = F.live_hold(a[1])
  if hold then return F.end_hold('release', hold, {0, 0, 0, 0}) end
  return F.ended_entry(a[1]) or ''
end)
