-- What was read, and what is to be written: nothing is before all checks are done.
local UNITS = {'usd', 'tokens', 'llm_calls', 'tool_calls'}
local NOTHING = {}
local nodes, dirty, queue, holds, ended, offsets
local Wide

local function say(reply)
  error({reply = cjson.encode(reply)})
end

local function later(...)
  queue[#queue + 1] = {...}
end

local function start()
  nodes, dirty, queue, holds, ended, offsets, Wide = {}, {}, {}, {}, {}, {}, nil
end
