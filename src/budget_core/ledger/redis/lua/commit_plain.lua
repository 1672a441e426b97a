-- The usual case of commit.lua: a live hold in a plain account, and no account ends beyond its room.
usual.commit = function(id, _, told)
  local hold = redis.call('HGET', HOLDS, id)
  if not hold then return nil end
  local _, _, named, held_then, final = cmsgpack.unpack(hold)
  local accounts, held, cost = cjson.decode(named), cjson.decode(held_then), cjson.decode(told)
  if final or #accounts ~= 1 then return nil end
  local path, spent, changed = {}, {}, {}
  local account = accounts[1]
  repeat
    local raw = redis.call('HGET', ACCOUNTS, account)
    local is_plain, s1, s2, s3, s4, h1, h2, h3, h4, live, r1, r2, r3, r4, parent, after =
      struct.unpack(BALANCES, raw)
    s1, s2, s3, s4 = s1 + cost[1], s2 + cost[2], s3 + cost[3], s4 + cost[4]
    if is_plain == 0 or s1 > r1 or s2 > r2 or s3 > r3 or s4 > r4 then return nil end
    path[#path + 1] = account
    spent[#spent + 1] = string.format('[%d,%d,%d,%d]', s1, s2, s3, s4)
    changed[#changed + 1] = account
    changed[#changed + 1] = struct.pack(
      BALANCES, 1, s1, s2, s3, s4, h1 - held[1], h2 - held[2], h3 - held[3], h4 - held[4], live - 1,
      r1, r2, r3, r4, #parent, parent
    ) .. string.sub(raw, after)
    account = parent
  until account == ''
  local entry = entry_of(id, 'commit', named, path, held_then, told, spent)
  redis.call('HSET', ACCOUNTS, unpack(changed))
  redis.call('HDEL', HOLDS, id)
  redis.call('HSET', ENDED, id, entry)
  redis.call('RPUSH', LOG, entry)
  return entry
end
