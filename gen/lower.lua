-- lower.lua: the lowering rules of api/cudart.lua -> C bodies of rt_cudaX.
--
--   M.same:  "cudaX cuY"            rt_cudaX(a, b) is cuY(a, b)
--   M.call:  cudaX = "cuY(b, a, 0)" an identifier that is a parameter of cudaX is converted to cuY's type, the rest is
--   C;
--            calls after `;` follow when the first succeeds
--   M.lowered: cudaX = [[C body]]
-- Conversions are between the two libraries' names of one thing: a size that differs is an error here, not a surprise
-- at run time.
-- A rule whose Driver function is refused makes the Runtime function refused too.
local U = require("gen.util")
local L = {}

local function pointee_bytes(model, t)
	return t.to and t.to.size or 0
end

local function is_struct(t)
	return t.k == "record"
end

-- C for parameter p of the Runtime where the Driver wants type t.
local function convert(where, p, t)
	local from = p.type
	if from.spell == t.spell then return p.name end
	if is_struct(from) or is_struct(t) then
		if from.size ~= t.size then U.fail("%s: parameter %s: %s has %d bytes, %s has %d", where, p.name,
			from.spell, from.size, t.spell, t.size) end
		return ("({ %s to_; memcpy(&to_, &%s, sizeof to_); to_; })"):format(t.spell, p.name)
	end
	if from.k == "ptr" and t.k == "ptr" then
		local a, c = pointee_bytes(nil, from), pointee_bytes(nil, t)
		if a ~= c and a > 1 and c > 1 then
			U.fail("%s: parameter %s: %s points to %d bytes, %s to %d", where, p.name, from.spell, a,
				t.spell, c)
		end
		return ("(%s)(uintptr_t)%s"):format(t.spell, p.name)
	end
	if from.k == "ptr" or t.k == "ptr" then
		if from.size ~= t.size then U.fail("%s: parameter %s: %s is no %s", where, p.name, from.spell,
			t.spell) end
		return ("(%s)(uintptr_t)%s"):format(t.spell, p.name)
	end
	if from.size > t.size then U.fail("%s: parameter %s: %s does not fit in %s", where, p.name, from.spell,
		t.spell) end
	return ("(%s)%s"):format(t.spell, p.name)
end

-- Splits "a, f(b, c), d" at its outer commas.
local function split(text)
	local list, depth, start = {}, 0, 1
	for i = 1, #text do
		local c = text:sub(i, i)
		if c == "(" or c == "{" then depth = depth + 1 elseif c == ")" or c == "}" then depth = depth - 1 end
		if c == "," and depth == 0 then
			list[#list + 1] = text:sub(start, i - 1)
			start = i + 1
		end
	end
	if text:match("%S") then list[#list + 1] = text:sub(start) end
	for i, s in ipairs(list) do list[i] = s:match("^%s*(.-)%s*$") end
	return list
end

local function driver_function(where, driver, name)
	local f = driver.by_name[name]
	if not f then U.fail("%s: names %s, which cuda.h does not declare", where, name) end
	return f
end

-- One call as a C expression, and the function it calls.
local function call(where, f, driver, text)
	local name, inner = text:match("^%s*(cu%w+)%s*(%b())%s*$")
	name = name or text:match("^%s*(cu[%w_]+)")
	inner = inner or text:match("(%b())%s*$")
	if not name or not inner then U.fail("%s: cannot read call %q", where, text) end
	local d = driver_function(where, driver, name)
	local given = split(inner:sub(2, -2))
	if #given ~= #d.params then U.fail("%s: %s takes %d arguments, not %d", where, name, #d.params, #given) end
	local parameter = {}
	for _, p in ipairs(f.params) do parameter[p.name] = p end
	local args = {}
	for i, g in ipairs(given) do
		args[i] = parameter[g] and convert(where, parameter[g], d.params[i].type) or g
	end
	local list = table.concat(args, ", ")
	local expression = ("rt_cu()->%s(%s)"):format(name, list)
	if d.twin and not d.stream then
		expression = ("(rt_per_thread_default ? rt_cu()->%s(%s) : rt_cu()->%s(%s))"):format(d.twin, list, name,
			list)
	end
	return expression, d
end

local function body(where, f, driver, text)
	local b, calls = U.buffer(), {}
	b("\tCUresult r = rt_init();")
	for part in (text .. ";"):gmatch("(.-);") do
		if part:match("%S") then
			local expression, d = call(where, f, driver, part)
			calls[#calls + 1] = d
			b("\tif (!r)\n\t\tr = %s;", expression)
		end
	end
	b("\treturn rt_return(r);")
	return b:text():gsub("\n$", ""), calls
end

-- Puts every function with a rule into class lowered, or refuse when what it needs is refused.
function L.apply(path, model, driver, data)
	local source = U.read(path)
	local function where(name) return ("%s:%d: %s"):format(path, U.line_of(source, name), name) end
	local function put(name, text, calls)
		local f = model.by_name[name]
		if not f then U.fail("%s: the headers do not declare it", where(name)) end
		-- written by hand: the rule is not needed
		if f.class == "local" or f.class == "custom" then return end
		if f.class then U.fail("%s: has two rules", where(name)) end
		f.class, f.lowering = "lowered", text
		for _, d in ipairs(calls) do
			if d.class == "refuse" then
				f.class, f.reason, f.lowering = "refuse", ("%s: %s"):format(d.name, d.reason), nil
				return
			end
		end
	end
	for name, target in data.same:gmatch("(cuda%w+)%s+(cu[%w_]+)") do
		local f = model.by_name[name]
		if not f then U.fail("%s: the headers do not declare it", where(name)) end
		put(name, body(where(name), f, driver, ("%s(%s)"):format(target, U.arguments(f))))
	end
	for _, name in ipairs(U.sorted(data.call)) do
		local f = model.by_name[name]
		if not f then U.fail("%s: the headers do not declare it", where(name)) end
		put(name, body(where(name), f, driver, data.call[name]))
	end
	for _, name in ipairs(U.sorted(data.lowered)) do
		local text, calls = data.lowered[name], {}
		for d in text:gmatch("rt_cu%(%)%->(cu[%w_]+)") do calls[#calls + 1] = driver_function(where(name),
			driver, d) end
		put(name, text:gsub("%s+$", ""), calls)
	end
	-- Rules in terms of other Runtime functions.
	for _, name in ipairs(U.sorted(data.lowered)) do
		local f = model.by_name[name]
		for other in (f.lowering or ""):gmatch("rt_(cuda%w+)%(") do
			local target = model.by_name[other]
			if target and (target.class or "refuse") == "refuse" then
				f.class, f.reason, f.lowering = "refuse",
					other .. ": " .. (target.reason or "not annotated"), nil
				break
			end
		end
	end
end

return L
