-- Whole numbers of any size. Lua's are doubles, exact below 2^53 only: what has more than 15 digits
-- is kept as a pair of parts and written as a string. Sums of what is read here stay exact.
local BASE = 1e12
local Wide = {}

function F.whole(high, low)
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

function F.parts(x)
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
  local ah, al = F.parts(a)
  local bh, bl = F.parts(b)
  return F.whole(ah + bh, al + bl)
end

Wide.__sub = function(a, b)
  local ah, al = F.parts(a)
  local bh, bl = F.parts(b)
  return F.whole(ah - bh, al - bl)
end

function F.read(x)
  if type(x) == 'number' then
    return x
  end
  if string.sub(x, 1, 1) == '-' then
    return 0 - F.read(string.sub(x, 2))
  end
  if #x <= 15 then
    return tonumber(x)
  end
  return F.whole(tonumber(string.sub(x, 1, -13)), tonumber(string.sub(x, -12)))
end

function F.written(x)
  if type(x) == 'number' then
    return string.format('%.0f', x)
  end
  if x.high < 0 then
    return '-' .. F.written(0 - x)
  end
  return string.format('%.0f%012.0f', x.high, x.low)
end

function F.more(a, b)
  if type(a) == 'number' and type(b) == 'number' then
    return a > b
  end
  local rest = a - b
  if type(rest) == 'table' then
    return rest.high >= 0
  end
  return rest > 0
end

function F.least(a, b)
  if F.more(a, b) then return b end
  return a
end

function F.most(a, b)
  if F.more(a, b) then return a end
  return b
end

-- Vectors over the four units.
function F.vector(from)
  return {F.read(from[1]), F.read(from[2]), F.read(from[3]), F.read(from[4])}
end

function F.plus(a, b)
  return {a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4]}
end

function F.minus(a, b)
  return {a[1] - b[1], a[2] - b[2], a[3] - b[3], a[4] - b[4]}
end

function F.beyond(a, b)
  return {F.most(0, a[1] - b[1]), F.most(0, a[2] - b[2]), F.most(0, a[3] - b[3]), F.most(0, a[4] - b[4])}
end

function F.lower(a, b)
  return {F.least(a[1], b[1]), F.least(a[2], b[2]), F.least(a[3], b[3]), F.least(a[4], b[4])}
end

function F.any(v)
  return v[1] ~= 0 or v[2] ~= 0 or v[3] ~= 0 or v[4] ~= 0
end

function F.same(a, b)
  return not F.any(F.minus(a, b))
end

-- cmsgpack keeps integers exact, cjson prints 14 digits.
function F.kept_number(x)
  if type(x) == 'number' and x < 1e15 and x > -1e15 then
    return x
  end
  return F.written(x)
end

function F.kept_vector(v)
  return {F.kept_number(v[1]), F.kept_number(v[2]), F.kept_number(v[3]), F.kept_number(v[4])}
end

function F.shown(x)
  if type(x) == 'number' and x < 1e13 and x > -1e13 then
    return x
  end
  return F.written(x)
end

function F.shown_vector(v)
  return {F.shown(v[1]), F.shown(v[2]), F.shown(v[3]), F.shown(v[4])}
end
