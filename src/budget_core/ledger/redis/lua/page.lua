-- what is wanted ("accounts", "holds", "entries"), from where on, how many
-- A part of what there is, so that nobody has to wait for long. Records are not folded meanwhile.
local function account_shown(n)
  local saved, totals = {}, folded(n.id)
  for i, w in ipairs(n.windows) do
    local slots = {}
    for j, each in ipairs(w.slots) do slots[j] = {each[1], shown(each[2]), shown(each[3])} end
    saved[i] = {w.since, w.newest, slots}
  end
  return {
    balance = balance_of(n), parent = n.parent or cjson.null, lasts = cold(n).lasts,
    live = n.live, aside = shown_vector(aside_of(n)), excess = shown_vector(vector(cold(n).excess)),
    final = n.final or cjson.null, gone = n.gone, windows = saved,
    folded = shown_vector(totals[1]), folded_beyond = shown_vector(totals[2]),
  }
end

local function hold_shown(hold)
  return {
    id = hold.id, accounts = hold.accounts, path = names(hold.route.path),
    amounts = shown_vector(hold.amounts), final = hold.final or cjson.null,
    above = hold.above and shown_vector(hold.above) or cjson.null, at = hold.at,
    owner = hold.owner, expires = redis.call('ZSCORE', P .. ':leases', hold.owner) or '0',
  }
end

operation('page', function(what, from, many)
  later('SET', P .. ':looking', 1, 'EX', 60)
  local page = {found = {}, now = now, records = redis.call('LLEN', LOG)}
  if what == 'entries' then
    page.found = redis.call('LRANGE', LOG, from, from + many - 1)
    return cjson.encode(page)
  end
  local told = redis.call('HSCAN', what == 'holds' and HOLDS or ACCOUNTS, from, 'COUNT', many)
  page.next = told[1]
  for i = 1, #told[2], 2 do
    local id = told[2][i]
    page.found[#page.found + 1] = what == 'holds' and hold_shown(live_hold(id)) or account_shown(node(id))
  end
  return cjson.encode(page)
end)
