-- Records: a list of all, oldest first, and the last one of each id.
local function names(list)
  local found = {}
  for i, n in ipairs(list) do found[i] = n.id end
  return found
end

-- Note what a hold or a charge came to. `named` is JSON.
local function record(kind, id, named, route, held, amounts, final, late, asked)
  local after, exceeded = {}
  if kind ~= 'release' then
    for i, n in ipairs(route.path) do after[i] = text(n.spent) end
    exceeded = over(route, final, amounts)
    if not exceeded and kind == 'charge' then exceeded = over_the_end(route, amounts) end
  end
  local entry = entry_of(
    id, kind, named, names(route.path), text(held), text(amounts), after, exceeded, late,
    asked and text(asked)
  )
  ended[id] = entry
  later('HSET', ENDED, id, entry)
  later('RPUSH', LOG, entry)
  return entry
end

local function ended_entry(id)
  return ended[id] or redis.call('HGET', ENDED, id)
end

-- What an account's records that are not kept came to: spent, and spent beyond what was held.
local function folded(id)
  local known = redis.call('HGET', P .. ':folded', id)
  local totals = known and cjson.decode(known) or {{0, 0, 0, 0}, {0, 0, 0, 0}}
  return {vector(totals[1]), vector(totals[2])}
end

-- Record what nothing was held for. A late commit counts in accounts that are forgotten, too.
local function charge_accounts(kind, id, named, amounts, final, asked)
  local late = kind == 'commit'
  local function known(account)
    local n = node(account)
    if not n then check_lost(account) end
    if not n then say({k = account}) end
    return n
  end
  local route = route_of(cjson.decode(named), late and known or need)
  local at = now
  for _, n in ipairs(route.path) do
    if n.windows[1] then at = windows.moment(route, at) end
  end
  spend(route, amounts, at)
  for _, n in ipairs(route.path) do
    if n.allocated then trim(n) end
  end
  return record(kind, id, named, route, {0, 0, 0, 0}, amounts, final, late, asked)
end

-- The stored answer, if it was to the same question.
local function replayed(raw, entry, amounts)
  local before = entry[10] ~= cjson.null and entry[10] or entry[6]
  if same(vector(before), amounts) then return raw end
  say({x = 'was recorded with another amount'})
end
