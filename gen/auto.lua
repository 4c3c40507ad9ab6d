-- auto.lua: what each parameter of an `auto` function means, from types, near-certain conventions and the annotations
-- of api/<lib>.lua.
-- The meanings ("modes") are listed above M.auto in api/cuda.lua; A.analyse gives one per parameter.
local U = require("gen.util")
local E = require("gen.expr")
local A = {}

A.max_elements = 1024        -- of one array in a message
A.max_string = 4096

local function enum_of(t)
	return t.k == "enum" and t.name or nil
end

-- Does a record (by value, deeply) hold anything that is more than a number: pointer, handle, address, union?
local function plain(model, data, record, seen)
	for _, f in ipairs(record.fields) do
		local t = f.type
		while t.k == "array" do t = t.of end
		if t.k == "ptr" or t.k == "other" or t.k == "func" then return false, f.name end
		if data.handles[t.td or ""] or data.addresses[t.td or ""] then return false, f.name end
		if t.k == "record" then
			local inner = model.records[t.name]
			if not inner or inner.kind == "union" then return false, f.name end
			local ok, name = plain(model, data, inner)
			if not ok then return false, f.name .. "." .. name end
		end
	end
	return true
end

local function record_of(model, t)
	return t.k == "record" and model.records[t.name] or nil
end

-- nil, or why a struct cannot cross as it is.
function A.struct_problem(model, data, t)
	local record = record_of(model, t)
	if not record then return nil end
	if data.structs[t.name] then return nil end
	local ok, field = plain(model, data, record)
	if not ok then return field end
end

local function split_mode(text)
	local mode, rest = text:match("^(%S+)%s*(.*)$")
	return mode, rest ~= "" and rest or nil
end

-- Conventions whose precision is near perfect; nil where only a guess would be left.
local function convention(model, data, f, p)
	local t = p.type
	local td = t.td or ""
	if td == "CUstream" then return "stream" end
	if td == "CUdevice" or td == "CUdevice_v1" then return "device" end
	if td == "CUcontext" then return "context" end
	if data.handles[td] then return "id" end
	if data.addresses[td] then return nil end
	if enum_of(t) then return data.masks[t.name] and "mask" or "enum" end
	if t.k == "int" or t.k == "float" then return "value" end
	if t.k ~= "ptr" then return nil end
	local to = t.to
	if to.k == "int" and to.size == 1 and to.const then return "string" end
	if data.handles[to.td or ""] or data.addresses[to.td or ""] or to.k == "void" or to.k == "ptr" then
		return nil end
	if to.const and to.k == "record" and not A.struct_problem(model, data, to) then return "in" end
	-- "Returned ..." in the parameter's documentation names an output.
	local doc = (f.doc or ""):match("\\param%s+%[?%a*%]?%s*" .. p.name .. "%s+%-?%s*(%a+)")
	if not to.const and doc and doc:match("^Returned") and not A.struct_problem(model, data, to) then
		return "out" end
	return nil
end

local modes = U.set { "value", "device", "enum", "mask", "context", "id", "id?", "stream", "drop", "new", "view",
	"find", "in", "in?",
	"string", "out", "dev", "list", "count" }

-- One parameter: { p, mode, kind, count, nullable, type = what a pointer points to, expr }, or nil and why not.
local function parameter(model, data, where, f, p, text)
	text = text or convention(model, data, f, p)
	if not text then return nil, ("parameter %s of %s needs an annotation"):format(p.name, f.name) end
	local mode, rest = split_mode(text)
	local d = { p = p, name = p.name, rest = rest }
	local base, count = mode:match("^(%a+%??)%[([%w_]+)%]$")
	d.mode, d.count = base or mode, count
	if not modes[d.mode] then U.fail("%s: parameter %s: unknown meaning %q", where, p.name, text) end
	d.nullable = d.mode:match("%?$") ~= nil
	d.mode = d.mode:gsub("%?$", "")
	d.type = p.type.k == "ptr" and d.mode ~= "id" and d.mode ~= "drop" and d.mode ~= "stream" and p.type.to
		or p.type
	d.kind = data.handles[d.type.td or ""]
	if (d.mode == "id" or d.mode == "drop" or d.mode == "new" or d.mode == "view" or d.mode == "find")
		and not d.kind then
		U.fail("%s: parameter %s: %s is no known handle", where, p.name, d.type.spell)
	end
	if d.mode == "in" or d.mode == "out" or d.mode == "list" then
		local field = A.struct_problem(model, data, d.type)
		if field then return nil, ("field %s of parameter %s of %s needs an annotation"):format(field, p.name,
			f.name) end
	end
	if d.mode == "dev" then d.expr = E.compile(rest or "", where) end
	return d
end

-- Analyses function f with annotation a: the list of parameters, or nil and the reason to refuse.
function A.analyse(model, data, where, f, a)
	local known = {}
	for _, p in ipairs(f.params) do known[p.name] = true end
	for key in pairs(a) do
		if type(key) == "string" and not known[key] and not A.options[key] then
			U.fail("%s: %s has no parameter %s", where, f.name, key)
		end
	end
	local list = {}
	for i, p in ipairs(f.params) do
		local d, why = parameter(model, data, where, f, p, a[p.name])
		if not d then return nil, why end
		if d.count and not known[d.count] then U.fail("%s: parameter %s: no parameter %s", where, p.name,
			d.count) end
		list[i] = d
	end
	return list
end

-- Keys of an annotation that are not parameters: states, async, after (C function called with a new object before it is
-- put into the table), room (C over s and m, a CUresult: may the session have what the call makes?), before (called
-- with an object about to be dropped), done and failed (C that the client runs after success, after failure).
A.options = U.set { "states", "async", "after", "room", "before", "done", "failed" }

return A
