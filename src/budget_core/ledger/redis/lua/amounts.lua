-- Return what reads whole numbers of any size: a large one becomes a table of two parts that adds and
-- subtracts itself. Until the first one is read, all are plain numbers, and `Wide` is nil.
local function wide()
  if Wide then return Wide end
  local BASE = 1e12
  local Pair = {}

  local function whole(high, low)
    if low >= BASE then
      high, low = high + 1, low - BASE
    elseif low < 0 then
      high, low = high - 1, low + BASE
    end
    if high > -2000 and high < 2000 then return high * BASE + low end
    return setmetatable({high = high, low = low}, Pair)
  end

  local function parts(x)
    if type(x) == 'table' then return x.high, x.low end
    local high = math.floor(x / BASE)
    return high, x - high * BASE
  end

  Pair.__add = function(a, b)
    local ah, al = parts(a)
    local bh, bl = parts(b)
    return whole(ah + bh, al + bl)
  end

  Pair.__sub = function(a, b)
    local ah, al = parts(a)
    local bh, bl = parts(b)
    return whole(ah - bh, al - bl)
  end

  local function read(digits)
    if string.sub(digits, 1, 1) == '-' then return 0 - read(string.sub(digits, 2)) end
    if #digits <= 15 then return tonumber(digits) end
    return whole(tonumber(string.sub(digits, 1, -13)), tonumber(string.sub(digits, -12)))
  end

  Wide = read
  return Wide
end

local function more(a, b)
  if not Wide then return a > b end
  local difference = a - b
  if type(difference) == 'table' then return difference.high >= 0 end
  return difference > 0
end

local function least(a, b)
  if more(a, b) then return b end
  return a
end

local function most(a, b)
  if more(a, b) then return a end
  return b
end

local function read(x)
  if type(x) == 'number' then return x end
  return wide()(x)
end

local function written(x)
  if type(x) == 'number' then return string.format('%.0f', x) end
  if x.high < 0 then return '-' .. written(0 - x) end
  return string.format('%.0f%012.0f', x.high, x.low)
end

-- A number as it is kept: cmsgpack keeps integers exact.
local function kept(x)
  if type(x) == 'number' and x < LARGE and x > -LARGE then return x end
  return written(x)
end

-- A number in JSON: cjson prints 14 digits.
local function shown(x)
  if type(x) == 'number' and x < 1e13 and x > -1e13 then return x end
  return written(x)
end

-- Vectors over the four units.
local function vector(from)
  return {read(from[1]), read(from[2]), read(from[3]), read(from[4])}
end

local function amounts_of(json)
  local amounts = cjson.decode(json)
  return string.find(json, '"', 1, true) and vector(amounts) or amounts
end

local function plus(a, b)
  return {a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4]}
end

local function minus(a, b)
  return {a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4]}
end

local function beyond(a, b)
  return {most(0, a[1] - b[1]), most(0, a[2] - b[2]), most(0, a[3] - b[3]), most(0, a[4] - b[4])}
end

local function lower(a, b)
  return {least(a[1], b[1]), least(a[2], b[2]), least(a[3], b[3]), least(a[4], b[4])}
end

local function any(v)
  return v[1] ~= 0 or v[2] ~= 0 or v[3] ~= 0 or v[4] ~= 0
end

local function same(a, b)
  return not any(minus(a, b))
end

local function narrow(v)
  return not Wide and v[1] < LARGE and v[2] < LARGE and v[3] < LARGE and v[4] < LARGE
end

local function kept_vector(v)
  if narrow(v) then return v end
  return {kept(v[1]), kept(v[2]), kept(v[3]), kept(v[4])}
end

local function shown_vector(v)
  return {shown(v[1]), shown(v[2]), shown(v[3]), shown(v[4])}
end

-- A vector as JSON text. %d is exact, and much cheaper than cjson.
local function text(v)
  if narrow(v) then return string.format('[%d,%d,%d,%d]', v[1], v[2], v[3], v[4]) end
  local all = {}
  for at = 1, 4 do all[at] = written(v[at]) end
  return cjson.encode(all)
end
