-- id, amounts, the operation's own id
return F.run(function(a)
  local n, by = F.need(a[1]), F.vector(a[2])
  local done = P .. ':done:' .. a[3]
  if redis.call('EXISTS', done) == 1 then return cjson.encode({b = F.balance_of(n)}) end
  local caps = {}
  for i, cap in ipairs(n.caps) do caps[i] = {cap[1], cap[2] + by[cap[1]]} end
  if n.allocated and (n.state == 'open' or n.state == 'finalized') then
    local refused = F.set_aside(n, F.rare().allocation(n, caps))
    if refused then F.say({d = refused}) end
  end
  n.caps = caps
  if n.state == 'finalized' then n.state = 'open' end
  F.touch(n)
  F.later('SET', done, 1, 'EX', 3600)
  return cjson.encode({b = F.balance_of(n)})
end)
