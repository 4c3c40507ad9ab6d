-- messages.lua: the wire layout of auto functions: fixed fields by parameter mode, arrays in the tails, replies.
-- Adds to each parameter d: d.field (message), d.rfield (reply) and, for arrays, d.tail or d.rtail = true, in the order
-- of the parameters.
local U = require("gen.util")
local L = require("gen.layout")
local A = require("gen.auto")
local M = {}

local ints = { [1] = "u8", [2] = "u16", [4] = "u32", [8] = "u64" }

local function number_type(t)
	if t.k == "float" then return t.size == 4 and "f32" or "f64" end
	if t.signed and t.size >= 4 then return t.size == 4 and "i32" or "i64" end
	return ints[t.size]
end

local function raw(name, t)
	local align = math.min(8, t.align or (t.size % 8 == 0 and 8 or t.size % 4 == 0 and 4 or t.size % 2 == 0 and 2
		or 1))
	return { name, "raw", c = t.spell:gsub("^const ", ""), bytes = t.size, align = align }
end

-- Fields of message and reply that parameter d needs.
local function fields(d, fixed, reply)
	local m, t = d.mode, d.type
	if m == "value" then fixed { d.name, number_type(t) }
	elseif m == "enum" or m == "mask" or m == "device" then fixed { d.name, "i32" }
	elseif m == "stream" then fixed { d.name, "stream" }
	elseif m == "dev" then fixed { d.name, "u64" }
	elseif (m == "id" or m == "drop") then fixed { d.name, "u64" }
	elseif m == "new" then fixed { d.name, "u64" }
	elseif m == "view" then
		fixed { d.name, "u64" }
		reply { d.name, "u64" }
	elseif m == "find" then reply { d.name, "u64" }
	elseif m == "in" and d.count then
		d.tail = true
		if d.nullable then fixed { "has_" .. d.name, "u32" } end
	elseif m == "in" then
		if d.nullable then fixed { "has_" .. d.name, "u32" } end
		fixed(raw(d.name, t))
	elseif m == "string" then
		d.tail = true
		fixed { "len_" .. d.name, "u32" }
	elseif m == "out" and d.count then d.rtail = true
	elseif m == "out" then reply(raw(d.name, t))
	elseif m == "list" then
		d.tail, d.rtail = d.kind ~= nil, true
		fixed { "has_" .. d.name, "u32" }
		if d.kind then reply { "used_" .. d.name, "u32" } end
	elseif m == "count" then
		fixed { d.name, "u64" }
		reply { d.name, "u64" }
	end
end

-- How many entries of its lists one reply can carry.
local function list_cap(params)
	local bytes = 0
	for _, d in ipairs(params) do
		if d.mode == "list" then bytes = bytes + math.max(8, d.type.size) end
	end
	return bytes > 0 and math.min(A.max_elements, (16384 - 512) // bytes) or 0
end

-- The message of function f, in the form of gen/layout.lua.
function M.of(f)
	local fixed, reply = {}, {}
	local params, options = f.auto.params, f.auto.options
	for _, d in ipairs(params) do
		fields(d, function(x) fixed[#fixed + 1] = x end, function(x) reply[#reply + 1] = x end)
	end
	local m = { name = f.name, auto = f, states = options.states or "R", tail = false,
		rtail = options.before ~= nil }
	for _, d in ipairs(params) do
		m.tail, m.rtail = m.tail or d.tail or false, m.rtail or d.rtail or false
		if d.mode == "drop" and not options.states then m.states = "RF" end
	end
	m.call = not options.async
	m.fields, m.size = L.lay(f.name, fixed, L.head_bytes)
	if m.call then m.reply, m.reply_size = L.lay(f.name .. " reply", reply, 0) end
	m.list_cap = list_cap(params)
	m.new, m.lists = {}, {}
	for _, d in ipairs(params) do
		if d.mode == "new" or d.mode == "view" then m.new[#m.new + 1] = d end
		if d.mode == "list" then m.lists[#m.lists + 1] = d end
	end
	if not m.call and #reply > 0 then U.fail("%s: asynchronous, but it returns something", f.name) end
	return m
end

return M
