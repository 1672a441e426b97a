-- Limits per period. A window is {at, amount, kind, width, span, zone, name, since, newest, slots};
-- kind "f" has slots of a fixed width, "d" and "m" are days and months in a zone. See windows.py.
local windows = {}
do
  local function offset(zone, t)
    if zone == 'UTC' then
      return 0
    end
    if not offsets[zone] then
      local raw = redis.call('GET', P .. ':zone:' .. zone)
      offsets[zone] = raw and cjson.decode(raw) or {{0, 0}}
    end
    local found = 0
    for _, change in ipairs(offsets[zone]) do
      if change[1] > t then break end
      found = change[2]
    end
    return found
  end

  local function month_of(day)
    local z = day + 719468
    local era = math.floor(z / 146097)
    local doe = z - era * 146097
    local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
      - math.floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
    local mp = math.floor((5 * doy + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    return (yoe + era * 400 + (month <= 2 and 1 or 0)) * 12 + month - 1
  end

  local function first_day(slot)
    local year, month = math.floor(slot / 12), slot % 12 + 1
    if month <= 2 then year = year - 1 end
    local era = math.floor(year / 400)
    local yoe = year - era * 400
    local doy = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
    return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
  end

  local function slot_of(w, t)
    if w.kind == 'f' then
      return math.floor(t / w.width)
    end
    local day = math.floor((t + offset(w.zone, t)) / 86400)
    if w.kind == 'd' then return day end
    return month_of(day)
  end

  local function start_of(w, slot)
    if w.kind == 'f' then
      return slot * w.width
    end
    local midnight = (w.kind == 'd' and slot or first_day(slot)) * 86400
    local before, after = offset(w.zone, midnight - 86400), offset(w.zone, midnight + 86400)
    local start = midnight - math.max(before, after)
    -- where clocks jump at midnight, the day begins when they have
    return slot_of(w, start) == slot and start or midnight - math.min(before, after)
  end

  function windows.moment(route, t)
    for _, n in ipairs(route.path) do
      for _, w in ipairs(n.windows) do t = math.max(t, w.since, start_of(w, w.newest)) end
    end
    return t
  end

  local function roll_to(w, slot)
    if slot > w.newest then
      w.newest = slot
      local left = {}
      for _, each in ipairs(w.slots) do
        if each[1] > slot - w.span then left[#left + 1] = each end
      end
      w.slots = left
    end
  end

  function windows.roll(w)
    roll_to(w, slot_of(w, now))
  end

  function windows.used(w)
    local spent, held = 0, 0
    for _, each in ipairs(w.slots) do
      spent, held = spent + each[2], held + each[3]
    end
    return spent, held
  end

  function windows.add(w, t, place, amount)
    local slot = slot_of(w, t)
    if t < w.since or slot <= w.newest - w.span then
      return
    end
    roll_to(w, slot)
    if amount == 0 then return end
    for _, each in ipairs(w.slots) do
      if each[1] == slot then
        each[place] = each[place] + amount
        return
      end
    end
    local fresh = {slot, 0, 0}
    fresh[place] = fresh[place] + amount
    w.slots[#w.slots + 1] = fresh
  end

  function windows.retry_after(w, want)
    if more(want, w.amount) then
      return cjson.null
    end
    local spent, held = windows.used(w)
    local left = spent + held
    table.sort(w.slots, function(a, b) return a[1] < b[1] end)
    for _, each in ipairs(w.slots) do
      left = left - each[2] - each[3]
      if not more(left + want, w.amount) then
        return math.max(0, start_of(w, each[1] + w.span) - now)
      end
    end
    return 0
  end

  function windows.new(terms)
    local w = {
      at = terms[1], amount = read(terms[2]), kind = terms[3], width = terms[4], span = terms[5],
      zone = terms[6], name = terms[7], since = now, slots = {},
    }
    w.newest = slot_of(w, now)
    return w
  end
end

-- Windows as cmsgpack keeps them.
local function frozen_windows(list)
  local frozen = {}
  for i, w in ipairs(list) do
    local slots = {}
    for j, each in ipairs(w.slots) do slots[j] = {each[1], kept(each[2]), kept(each[3])} end
    frozen[i] = {
      at = w.at, amount = kept(w.amount), kind = w.kind, width = w.width, span = w.span,
      zone = w.zone, name = w.name, since = w.since, newest = w.newest, slots = slots,
    }
  end
  return cmsgpack.pack(frozen)
end

local function thawed_windows(frozen)
  local list = cmsgpack.unpack(frozen)
  for _, w in ipairs(list) do
    w.amount = read(w.amount)
    for _, each in ipairs(w.slots) do
      each[2], each[3] = read(each[2]), read(each[3])
    end
  end
  return list
end
