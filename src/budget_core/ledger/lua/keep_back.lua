-- id, amounts
return run(function(a)
  local n, room = need(a[1]), vector(a[2])
  if n.state ~= 'open' or n.final then return cjson.encode(shown_vector(n.kept)) end
  for _, cap in ipairs(n.caps) do
    local at = cap[1]
    room[at] = least(room[at], most(0, cap[2] - n.spent[at] - n.held[at]))
  end
  if not n.allocated then
    for _, each in ipairs(n.parent and checked_of(node(n.parent)) or {}) do
      for _, cap in ipairs(each.caps) do
        local at = cap[1]
        local free = cap[2] - each.kept[at] - each.spent[at] - each.held[at]
        room[at] = least(room[at], n.aside[at] + most(0, free))
      end
    end
    if set_aside(n, room) then
      room = lower(room, n.aside)
      set_aside(n, room)
    end
  end
  n.kept = room
  touch(n)
  return cjson.encode(shown_vector(room))
end)
