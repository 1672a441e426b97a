-- id, amounts
return F.run(function(a)
  local n, room = F.need(a[1]), F.vector(a[2])
  if n.state ~= 'open' or n.final then return cjson.encode(F.shown_vector(n.kept)) end
  for _, cap in ipairs(n.caps) do
    local at = cap[1]
    room[at] = F.least(room[at], F.most(0, cap[2] - n.spent[at] - n.held[at]))
  end
  if not n.allocated then
    for _, each in ipairs(n.parent and F.checked_of(F.node(n.parent)) or {}) do
      for _, cap in ipairs(each.caps) do
        local at = cap[1]
        local free = cap[2] - each.kept[at] - each.spent[at] - each.held[at]
        room[at] = F.least(room[at], n.aside[at] + F.most(0, free))
      end
    end
    if F.set_aside(n, room) then
      room = F.lower(room, n.aside)
      F.set_aside(n, room)
    end
  end
  n.kept = room
  F.touch(n)
  return cjson.encode(F.shown_vector(room))
end)
