-- id
operation('release', function(id)
  local hold = live_hold(id)
  if hold then return end_hold('release', hold, {0, 0, 0, 0}) end
  return ended_entry(id) or ''
end)
