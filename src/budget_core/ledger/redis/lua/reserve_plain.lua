-- The usual case of reserve.lua: a new hold for which there is room in a plain account and above it.
usual.reserve = function(id, named, told, final)
  if final ~= '' or redis.call('HEXISTS', HOLDS, id) == 1 then return nil end
  if redis.call('HEXISTS', ENDED, id) == 1 then return nil end
  local accounts, want, changed = cjson.decode(named), cjson.decode(told), {}
  if #accounts ~= 1 then return nil end
  local account = accounts[1]
  repeat
    local raw = redis.call('HGET', ACCOUNTS, account)
    if not raw then return nil end
    local is_plain, s1, s2, s3, s4, h1, h2, h3, h4, live, r1, r2, r3, r4, parent, after =
      struct.unpack(BALANCES, raw)
    h1, h2, h3, h4 = h1 + want[1], h2 + want[2], h3 + want[3], h4 + want[4]
    if is_plain == 0 or s1 + h1 > r1 or s2 + h2 > r2 or s3 + h3 > r3 or s4 + h4 > r4 then return nil end
    changed[#changed + 1] = account
    changed[#changed + 1] = struct.pack(
      BALANCES, 1, s1, s2, s3, s4, h1, h2, h3, h4, live + 1, r1, r2, r3, r4, #parent, parent
    ) .. string.sub(raw, after)
    account = parent
  until account == ''
  redis.call('HSET', ACCOUNTS, unpack(changed))
  redis.call('HSET', HOLDS, id, cmsgpack.pack(now, owner, named, told, false, false))
  return 1
end
