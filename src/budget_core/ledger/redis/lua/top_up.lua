-- id, amounts, the operation's own id
operation('top_up', function(id, told, operation)
  local n, by = need(id), amounts_of(told)
  local done = P .. ':done:' .. operation
  if redis.call('EXISTS', done) == 1 then return cjson.encode({b = balance_of(n)}) end
  local caps = {}
  for i, cap in ipairs(n.caps) do caps[i] = {cap[1], cap[2] + by[cap[1]]} end
  if n.allocated and (n.state == 'open' or n.state == 'finalized') then
    local refused = set_aside(n, allocation(n, caps))
    if refused then say({d = refused}) end
  end
  n.caps = caps
  if n.state == 'finalized' then n.state = 'open' end
  touch(n)
  later('SET', done, 1, 'EX', 3600)
  return cjson.encode({b = balance_of(n)})
end)
