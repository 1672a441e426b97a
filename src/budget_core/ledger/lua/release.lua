-- id
return run(function(a)
  local hold = live_hold(a[1])
  if hold then return end_hold('release', hold, {0, 0, 0, 0}) end
  return ended_entry(a[1]) or ''
end)
