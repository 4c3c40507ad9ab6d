-- classify.lua: puts every function of a model into exactly one class, from the data of api/<lib>.lua.
-- A name in that data which the headers do not declare is an error that names file, line and function.
local U = require("gen.util")
local analyse = require("gen.auto")
local C = {}

C.classes = { "auto", "custom", "local", "lowered", "refuse" }

local function stale(path, name, what, word)
	U.fail("%s:%d: %s names %s, which the headers do not declare", path, U.line_of(U.read(path), word or name),
		what, name)
end

-- Words of a list in api/<lib>.lua, each declared and named once.
function C.words(path, model, text, what)
	local list = {}
	for name in text:gmatch("%S+") do
		if not model.by_name[name] then stale(path, name, what) end
		list[#list + 1] = name
	end
	return list
end

local function put(path, f, class, reason)
	if f.class then
		U.fail("%s:%d: %s is in two classes: %s and %s", path, U.line_of(U.read(path), f.name), f.name, f.class,
			class)
	end
	f.class, f.reason = class, reason
end

local function hand(path, model, data)
	for _, class in ipairs { "local", "custom" } do
		for _, name in ipairs(C.words(path, model, data.hand[class], "M.hand")) do
			local f = model.by_name[name]
			if f.base then U.fail("%s:%d: %s is made from %s", path, U.line_of(U.read(path), name), name,
				f.base) end
			put(path, f, class)
		end
	end
end

local function refuse_rest(model, data)
	for _, f in ipairs(model.functions) do
		if not f.class and not f.base and not f.lowering then
			f.class, f.reason = "refuse", "not annotated"
			for _, rule in ipairs(data.refuse_patterns or {}) do
				if f.name:match(rule[1]) then
					f.reason = rule[2]
					break
				end
			end
		end
	end
end

-- Older ABIs: C bodies that call call_X.  One whose target is refused is refused for the same reason.
local function lowered(path, model, data)
	local open = {}
	for _, name in ipairs(U.sorted(data.lowered)) do
		local f = model.by_name[name]
		if not f then stale(path, name, "M.lowered") end
		if not f.class then
			f.lowering = data.lowered[name]
			open[#open + 1] = f
		end
	end
	refuse_rest(model, data)
	local again = true
	while again do
		again = false
		for _, f in ipairs(open) do
			local class, reason = "lowered", nil
			for target in f.lowering:gmatch("call_(cu[%w_]+)") do
				local t = model.by_name[target]
				if not t then stale(path, target, "M.lowered." .. f.name, "call_" .. target) end
				if t.class == "refuse" then class, reason = "refuse", t.reason elseif not t.class
					then class = class == "refuse" and class end
			end
			if class and not f.class then
				f.class, f.reason, again = class, reason, true
			end
		end
	end
end

-- Functions generated from end to end: those in data.auto whose parameters are all understood.
local function auto(path, model, data)
	local source = U.read(path)
	for _, name in ipairs(U.sorted(data.auto)) do
		local f = model.by_name[name]
		if not f then stale(path, name, "M.auto") end
		local where = ("%s:%d: %s"):format(path, U.line_of(source, name), name)
		local params, why = analyse.analyse(model, data, where, f, data.auto[name])
		if not f.class then
			f.class, f.reason = params and "auto" or "refuse", why
			f.auto = params and { params = params, options = data.auto[name] }
		end
	end
end

local function twins(model)
	for _, f in ipairs(model.functions) do
		if f.base and not f.class then
			local base = model.by_name[f.base]
			f.class, f.reason = base.class == "refuse" and "refuse" or "lowered", base.reason
		end
	end
end

-- lower: classifies by lowering rules of another form than C bodies in data.lowered.
function C.classify(path, model, data, lower)
	hand(path, model, data)
	if data.auto then auto(path, model, data) end
	if lower then
		lower(path, model, data)
		refuse_rest(model, data)
	else
		lowered(path, model, data)
	end
	twins(model)
	model.count = {}
	for _, class in ipairs(C.classes) do model.count[class] = 0 end
	for _, f in ipairs(model.functions) do model.count[f.class] = model.count[f.class] + 1 end
end

function C.summary(model)
	local parts = { ("%s %s declared=%d"):format(model.name, model.version, #model.functions) }
	for _, class in ipairs(C.classes) do parts[#parts + 1] = class .. "=" .. model.count[class] end
	return table.concat(parts, " ")
end

-- One row per function, sorted by name.
function C.table(model)
	local rows = {}
	for _, f in ipairs(model.functions) do
		rows[#rows + 1] = ("%-8s %-8s %-56s %s"):format(model.name, f.class, f.name,
			f.reason or ""):gsub("%s+$", "")
	end
	table.sort(rows, function(a, c) return a:sub(18) < c:sub(18) end)
	return table.concat(rows, "\n") .. "\n"
end

return C
