-- A record as JSON. Amounts are JSON already: cjson is slow, and not exact above 10^14.
local function entry_of(id, kind, named, path, held, amounts, after, exceeded, late, asked)
  return '[' .. cjson.encode(id) .. ',"' .. kind .. '",' .. named .. ',' .. cjson.encode(path) .. ','
    .. held .. ',' .. amounts .. ',[' .. table.concat(after, ',') .. '],'
    .. (exceeded and cjson.encode(exceeded) or 'null') .. ',' .. (late and 'true' or 'false') .. ','
    .. (asked or 'null') .. string.format(',%.6f]', now)
end
