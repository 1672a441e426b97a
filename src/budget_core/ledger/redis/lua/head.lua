-- Functions are fields of F: as locals, each would capture all that it uses, at every call.
local F = {}
local P = KEYS[1]
local owner, ttl, policy = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local keep, due = tonumber(ARGV[5]), ARGV[7] == "1"
local time = redis.call("TIME")
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6 + tonumber(ARGV[4])
