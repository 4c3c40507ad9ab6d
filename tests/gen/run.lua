-- run.lua: tests of the generator: golden output of a miniature library, mistakes that must fail at an exact line,
-- equal bytes when run twice,
-- fresh listings, append-only operation numbers, and export lists against the installed libraries.
--   agileos-gen and the headers: GEN and CUDA_HOME in the environment.  UPDATE=1 rewrites what is committed.
local gen = os.getenv("GEN") or "build/bin/agileos-gen"
local include = (os.getenv("CUDA_HOME") or "/usr/local/cuda") .. "/include"
local scratch = "build/tests/gen_scratch"
local failed = 0

local function ok(name, pass, why)
	if pass then return print("ok gen_" .. name) end
	failed = failed + 1
	print(("not ok gen_%s: %s"):format(name, why or "failed"))
end

local function capture(command)
	local p = assert(io.popen(command .. " 2>&1"))
	local text = p:read("a")
	local _, _, code = p:close()
	return text, code
end

local function read(path)
	local f = io.open(path, "rb")
	local text = f and f:read("a")
	if f then f:close() end
	return text
end

local function write(path, text)
	local f = assert(io.open(path, "wb"))
	f:write(text)
	f:close()
end

-- Committed text against fresh text; names the first line that differs.
local function compare(name, path, fresh)
	if os.getenv("UPDATE") then write(path, fresh) end
	local old = read(path) or ""
	if old == fresh then return ok(name, true) end
	local line, a, b = 0, old:gmatch("[^\n]*\n?"), fresh:gmatch("[^\n]*\n?")
	repeat
		line = line + 1
		local x, y = a(), b()
	until x ~= y or not x
	ok(name, false, ("%s:%d differs from fresh output; make listings"):format(path, line))
end

local function list(pattern)
	local names = {}
	for l in io.popen("ls " .. pattern):lines() do names[#names + 1] = l end
	return names
end

local function golden()
	local text, code = capture(gen .. " . mini tests/gen/mini.h tests/gen/mini.lua")
	if code ~= 0 then return ok("mini", false, text) end
	compare("mini", "tests/gen/mini.golden", text)
end

local function mistakes()
	for _, path in ipairs(list("tests/gen/bad_*.lua tests/gen/bad_*.h")) do
		local want = read(path):match("expect: ([^\n]-)%s*%*?/?\n")
		local header = path:match("%.h$")
		local text, code = capture(("{ %s . mini %s %s >/dev/null; }"):format(gen,
			header and path or "tests/gen/mini.h", header and "tests/gen/mini.lua" or path))
		ok(path:match("([%w_]+)%.%w+$"), code ~= 0 and text:gsub("%s+$", "") == want,
			("exit %d, said %q"):format(code, text))
	end
end

local function twice()
	for _, n in ipairs { "a", "b" } do
		local dir = scratch .. "/" .. n
		os.execute(("rm -rf %s && mkdir -p %s/tests"):format(dir, dir))
		local text, code = capture(("%s . all %s %s"):format(gen, dir, include))
		if code ~= 0 then return ok("twice", false, text) end
	end
	local text, code = capture(("diff -rq %s/a %s/b"):format(scratch, scratch))
	ok("twice", code == 0, text)
	os.execute(("touch -d '2001-01-01' %s/a/*.* %s/a/tests/*"):format(scratch, scratch))
	capture(("%s . all %s/a %s"):format(gen, scratch, include))
	text = capture(("find %s/a -type f -newermt '2002-01-01'"):format(scratch))
	ok("untouched", text == "", "rewritten without a change: " .. text)
end

local function listings()
	os.execute(("rm -rf %s/l && mkdir -p %s/l"):format(scratch, scratch))
	local text, code = capture(("%s . listings %s/l %s"):format(gen, scratch, include))
	if code ~= 0 then return ok("listings", false, text) end
	for _, path in ipairs(list(scratch .. "/l/*")) do
		local file = path:match("[^/]*$")
		local folder = file:match("%.sigs$") and "api/sigs/" or "docs/coverage/"
		compare("listing_" .. file, folder .. file, read(path))
	end
end

local function numbers()
	local now = dofile("api/opcodes.lua")
	local text, code = capture("git show HEAD:api/opcodes.lua")
	local before = code == 0 and load(text)() or {}
	for i, name in ipairs(before) do
		if now[i] ~= name then return ok("opcodes", false, ("number %d was %s, is %s"):format(i, name,
			tostring(now[i]))) end
	end
	ok("opcodes", #now > 0)
end

-- The dynamic symbols of an installed library, as a set; nil where it is not installed.
local function symbols(path)
	if not read(path) then return nil end
	local set = {}
	for l in io.popen("readelf -W --dyn-syms " .. path):lines() do
		local kind, index, name = l:match("^%s*%d+:%s+%x+%s+%d+%s+(%a+)%s+%a+%s+%a+%s+(%w+)%s+([%w_]+)")
		if name and index ~= "UND" and kind == "FUNC" then set[name] = true end
	end
	return set
end

local function exports(name, library)
	local real = symbols(library)
	if not real then return ok("exports_" .. name, true) end
	local ours = {}
	for l in io.lines("build/gen/" .. name .. ".syms") do ours[l] = true end
	for n in pairs(real) do
		if n:match("^_*cu") and not ours[n] then return ok("exports_" .. name, false, "lacks " .. n) end
	end
	for n in pairs(ours) do
		if not real[n] then return ok("exports_" .. name, false, "has " .. n) end
	end
	ok("exports_" .. name, true)
end

-- The functions that most programs use (tests/gen/required.txt) must not be refused.
local function required()
	local class = {}
	for _, path in ipairs(list(scratch .. "/l/*.txt")) do
		for l in io.lines(path) do
			local c, name = l:match("^%S+%s+(%S+)%s+(%S+)")
			if c then class[name] = c end
		end
	end
	for name in io.lines("tests/gen/required.txt") do
		local c = class[name]
		if not c or c == "refuse" then return ok("required", false, name .. " is " .. (c or "not declared")) end
	end
	ok("required", true)
end

golden()
mistakes()
twice()
listings()
required()
numbers()
local home = os.getenv("CUDA_HOME") or "/usr/local/cuda"
exports("cuda", home .. "/lib64/stubs/libcuda.so")
exports("cudart", home .. "/lib64/libcudart.so.13")
os.exit(failed == 0)
