-- What every operation begins with: the prefix of all keys, the process that asks, and the time.
local P, owner, now, ACCOUNTS, HOLDS, ENDED, LOG
local usual = {}

-- How an account is kept: whether it is plain, what it has spent and holds of each unit, how many
-- holds are live, how much a plain one may spend and hold of each unit, its parent, and then what
-- only tree.lua reads. It is plain while it is open, and has neither windows nor an allocation.
local BALANCES = '<BdddddddddddddI4c0'

-- Lua's numbers are doubles, exact below 2^53. What reaches this is kept as text (see `wide`); sums of
-- up to four that do not are exact. A plain account has no such numbers.
local LARGE = 2e15
