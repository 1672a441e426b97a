-- what is wanted: "accounts", "holds", "entries", or "" for all
operation('dump', function(what)
  local function wanted(part_of_it) return what == '' or what == part_of_it end
  local found = {accounts = {}, holds = {}, entries = {}, now = now}
  for _, id in ipairs(wanted('accounts') and redis.call('HKEYS', ACCOUNTS) or {}) do
    local n, saved, totals = node(id), {}, folded(id)
    for i, w in ipairs(n.windows) do
      local slots = {}
      for j, each in ipairs(w.slots) do slots[j] = {each[1], shown(each[2]), shown(each[3])} end
      saved[i] = {w.since, w.newest, slots}
    end
    found.accounts[#found.accounts + 1] = {
      balance = balance_of(n), parent = n.parent or cjson.null, lasts = cold(n).lasts,
      aside = shown_vector(aside_of(n)), excess = shown_vector(vector(cold(n).excess)),
      final = n.final or cjson.null, gone = n.gone, windows = saved,
      folded = shown_vector(totals[1]), folded_beyond = shown_vector(totals[2]),
    }
  end
  for _, id in ipairs(wanted('holds') and redis.call('HKEYS', HOLDS) or {}) do
    local hold = live_hold(id)
    found.holds[#found.holds + 1] = {
      id = id, accounts = hold.accounts, path = names(hold.route.path),
      amounts = shown_vector(hold.amounts), final = hold.final or cjson.null,
      above = hold.above and shown_vector(hold.above) or cjson.null, at = hold.at,
      owner = hold.owner, expires = redis.call('ZSCORE', P .. ':leases', hold.owner) or '0',
    }
  end
  if wanted('entries') then found.entries = redis.call('LRANGE', LOG, 0, -1) end
  return cjson.encode(found)
end)
