-- id, amounts
operation('keep_back', function(id, told)
  local n, room = need(id), amounts_of(told)
  if n.state ~= 'open' or n.final then return text(n.kept) end
  for _, cap in ipairs(n.caps) do
    local at = cap[1]
    room[at] = least(room[at], most(0, cap[2] - n.spent[at] - n.held[at]))
  end
  if not n.allocated then
    local aside = aside_of(n)
    for _, each in ipairs(n.parent and checked_of(node(n.parent)) or {}) do
      for _, cap in ipairs(each.caps) do
        local at = cap[1]
        local free = cap[2] - each.kept[at] - each.spent[at] - each.held[at]
        room[at] = least(room[at], aside[at] + most(0, free))
      end
    end
    if set_aside(n, room) then
      room = lower(room, aside)
      set_aside(n, room)
    end
  end
  n.kept = room
  touch(n)
  return text(room)
end)
