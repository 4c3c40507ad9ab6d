-- layout.lua: messages of api/wire.lua -> offsets and sizes.
-- A message is { name, states, call, tail, rtail, fields, size, reply = fields or nil, reply_size }; a field gains c,
-- size, offset, count.
-- Where a field would not be naturally aligned, padding is made explicit, so that the struct has the same bytes
-- everywhere.
local U = require("gen.util")
local L = {}

local types = {
	u8 = { "uint8_t", 1 }, u16 = { "uint16_t", 2 }, u32 = { "uint32_t", 4 }, u64 = { "uint64_t", 8 },
		i32 = { "int32_t", 4 },
	i64 = { "int64_t", 8 }, f32 = { "float", 4 }, f64 = { "double", 8 }, id = { "uint64_t", 8 },
		stream = { "uint64_t", 8 },
	addr = { "uint64_t", 8 },
}
L.types = types
L.head_bytes = 16

-- A field of type raw is a C type of its own: { name, "raw", c = TYPE, bytes, align }.
local function lay(message, list, start)
	local at, fields, pads, seen = start, {}, 0, {}
	local function pad(bytes)
		pads = pads + 1
		fields[#fields + 1] = { name = "fill" .. pads, type = "u8", c = "uint8_t", size = bytes, count = bytes,
			offset = at, filler = true }
		at = at + bytes
	end
	for _, f in ipairs(list) do
		local name, type, count = f[1], f[2], f[3]
		local t = type == "raw" and { f.c, f.bytes, f.align } or types[type]
		if not t then U.fail("message %s: field %s has unknown type %s", message, tostring(name),
			tostring(type)) end
		if seen[name] then U.fail("message %s: field %s appears twice", message, name) end
		seen[name] = true
		local align = t[3] or t[2]
		if at % align ~= 0 then pad(align - at % align) end
		fields[#fields + 1] = { name = name, type = type, kind = f.kind, c = t[1], count = count,
			size = t[2] * (count or 1), offset = at,
			element = t[2] }
		at = at + t[2] * (count or 1)
	end
	if at % 8 ~= 0 then pad(8 - at % 8) end
	return fields, at
end

L.lay = lay

local known = U.set { "states", "doc", "sync", "reply", "tail", "rtail" }

function L.messages(list)
	local result = {}
	for _, m in ipairs(list) do
		local name = m[1]
		for key in pairs(m) do
			if type(key) == "string" and not known[key] then U.fail("message %s: unknown key %s", name,
				key) end
		end
		if not m.states or m.states:match("[^RF]") then U.fail("message %s: states must be made of R and F",
			name) end
		local row = { name = name, states = m.states, doc = m.doc, tail = m.tail or false,
			rtail = m.rtail or false,
			call = m.reply ~= nil or m.sync or false }
		row.fields, row.size = lay(name, { table.unpack(m, 2) }, L.head_bytes)
		if m.reply then row.reply, row.reply_size = lay(name .. " reply", m.reply, 0) end
		result[#result + 1] = row
	end
	return result
end

return L
