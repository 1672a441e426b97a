-- Whole numbers of any size. Lua's are doubles, exact below 2^53 only: what has more than 15 digits
-- is kept as a pair of parts and written as a string. Sums of what is read here stay exact.
local BASE = 1e12
local Wide = {}

local function whole(high, low)
  if low >= BASE then
    high, low = high + 1, low - BASE
  elseif low < 0 then
    high, low = high - 1, low + BASE
  end
  if high > -1000 and high < 1000 then
    return high * BASE + low
  end
  return setmetatable({high = high, low = low}, Wide)
end

local function parts(x)
  if type(x) == 'table' then
    return x.high, x.low
  end
  local high = math.floor(x / BASE)
  local low = x - high * BASE
  if low < 0 then
    high, low = high - 1, low + BASE
  end
  return high, low
end

Wide.__add = function(a, b)
  local ah, al = parts(a)
  local bh, bl = parts(b)
  return whole(ah + bh, al + bl)
end

Wide.__sub = function(a, b)
  local ah, al = parts(a)
  local bh, bl = parts(b)
  return whole(ah - bh, al - bl)
end

local function read(x)
  if type(x) == 'number' then
    return x
  end
  if string.sub(x, 1, 1) == '-' then
    return 0 - read(string.sub(x, 2))
  end
  if #x <= 15 then
    return tonumber(x)
  end
  return whole(tonumber(string.sub(x, 1, -13)), tonumber(string.sub(x, -12)))
end

local function written(x)
  if type(x) == 'number' then
    return string.format('%.0f', x)
  end
  if x.high < 0 then
    return '-' .. written(0 - x)
  end
  return string.format('%.0f%012.0f', x.high, x.low)
end

local function more(a, b)
  if type(a) == 'number' and type(b) == 'number' then
    return a > b
  end
  local rest = a - b
  if type(rest) == 'table' then
    return rest.high >= 0
  end
  return rest > 0
end

local function least(a, b)
  if more(a, b) then return b end
  return a
end

local function most(a, b)
  if more(a, b) then return a end
  return b
end

-- Vectors over the four units.
local function vector(from)
  return {read(from[1]), read(from[2]), read(from[3]), read(from[4])}
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

-- cmsgpack keeps integers exact, cjson prints 14 digits.
local function kept_number(x)
  if type(x) == 'number' and x < 1e15 and x > -1e15 then
    return x
  end
  return written(x)
end

local function kept_vector(v)
  return {kept_number(v[1]), kept_number(v[2]), kept_number(v[3]), kept_number(v[4])}
end

local function shown(x)
  if type(x) == 'number' and x < 1e13 and x > -1e13 then
    return x
  end
  return written(x)
end

local function shown_vector(v)
  return {shown(v[1]), shown(v[2]), shown(v[3]), shown(v[4])}
end
