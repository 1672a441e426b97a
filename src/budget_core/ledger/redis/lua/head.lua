-- What every script begins with. Then comes the short way of the operation, if it has one; what else
-- it may need is in a function, as to make many takes a server longer than what most of them do.
local P, owner = KEYS[1], ARGV[1]
local ACCOUNTS, HOLDS, ENDED, LOG = P .. ':accounts', P .. ':holds', P .. ':ended', P .. ':log'
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6 + ARGV[2]

-- How an account is kept: whether it is plain, what it has spent and holds of each unit, how many
-- holds are live, how much a plain one may spend and hold of each unit, its parent, and then what
-- only tree.lua reads. It is plain while it is open, and has neither windows nor an allocation.
local BALANCES = '<BdddddddddddddI4c0'

-- Lua's numbers are doubles, exact below 2^53. What reaches this is kept as text (see `wide`); sums of
-- up to four that do not are exact. A plain account has no such numbers.
local LARGE = 2e15
