-- what is wanted: "accounts", "holds", "entries", or "" for all
return F.run(function(a)
  local function wanted(what) return a[1] == '' or a[1] == what end
  local found = {accounts = {}, holds = {}, entries = {}, leases = {}, now = now}
  for _, id in ipairs(wanted('accounts') and redis.call('SMEMBERS', P .. ':accounts') or {}) do
    local n = F.node(id)
    if n then
      local saved = {}
      for i, w in ipairs(n.windows) do
        local slots = {}
        for j, each in ipairs(w.slots) do slots[j] = {each[1], F.shown(each[2]), F.shown(each[3])} end
        saved[i] = {w.since, w.newest, slots}
      end
      found.accounts[#found.accounts + 1] = {
        balance = F.balance_of(n), parent = n.parent or cjson.null, lasts = F.cold(n).lasts,
        aside = F.shown_vector(n.aside), excess = F.shown_vector(F.vector(F.cold(n).excess)),
        final = n.final or cjson.null, gone = n.gone, windows = saved,
        folded = F.shown_vector(F.vector(F.cold(n).folded)),
        folded_beyond = F.shown_vector(F.vector(F.cold(n).folded_beyond)),
      }
    end
  end
  for _, id in ipairs(wanted('holds') and redis.call('HKEYS', P .. ':holds') or {}) do
    local hold = F.live_hold(id)
    if hold then
      found.holds[#found.holds + 1] = {
        id = id, accounts = hold.accounts, path = F.names(hold.route.path),
        amounts = F.shown_vector(hold.amounts), final = hold.final or cjson.null,
        above = hold.above and F.shown_vector(hold.above) or cjson.null, at = hold.at,
        owner = hold.owner, expires = redis.call('ZSCORE', P .. ':leases', hold.owner) or '0',
      }
    end
  end
  if wanted('entries') then found.entries = redis.call('LRANGE', P .. ':log', 0, -1) end
  return cjson.encode(found)
end)
