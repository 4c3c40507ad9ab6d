-- parse_ptxas.lua - asks ptxas whether it reads the parser's test texts as the parser does.
--
--     parse_ptxas.lua PARSE_TEST SCRATCH [FILE.ptx ...]
--
-- For every section of tests/guard/parse/*.ptx (see parse_test.c), and for every FILE: what the parser accepts,
-- ptxas must accept, and what it refuses, ptxas must refuse, unless the section says
-- `// >>> ptxas accepts|refuses`; `ptxas skip` is for texts that take ptxas minutes, or where its code differs without
-- meaning anything else.
-- When both accept, the dump is assembled too: machine code, constants and initialised data must be equal, byte by
-- byte.  A wrong scope, precedence or offset in the parser shows up here.
local tool, scratch = arg[1], arg[2]
local ptxas = (os.getenv("CUDA_HOME") or "/usr/local/cuda") .. "/bin/ptxas"
local failures = 0

local function report(name, reason)
	print(reason and ("not ok ptxas.%s: %s"):format(name, reason:gsub("%s+", " ")) or "ok ptxas." .. name)
	failures = failures + (reason and 1 or 0)
end

local function read(path)
	local f = io.open(path, "rb")
	local s = f and f:read("a")
	if f then f:close() end
	return s
end

local function quote(s)
	return "'" .. s:gsub("'", "'\\''") .. "'"
end

-- Sections of an ELF64 file by name; a section without bytes in the file is "".
local function sections(elf)
	local offset = string.unpack("<I8", elf, 0x29)
	local count, names = string.unpack("<I2I2", elf, 0x3d)
	local heads, found = {}, {}
	for i = 0, count - 1 do
		local name, kind, _, _, at, size = string.unpack("<I4I4I8I8I8I8", elf, offset + 64 * i + 1)
		heads[i] = { name = name, kind = kind, at = at, size = size }
	end
	for _, h in pairs(heads) do
		local name = string.unpack("z", elf, heads[names].at + h.name + 1)
		if name:match("^%.text") or name:match("^%.nv%.constant") or name:match("^%.nv%.global") then
			found[name] = h.kind == 8 and "" or elf:sub(h.at + 1, h.at + h.size)
		end
	end
	return found
end

-- The dump leaves debug data out, so the text is assembled without its debug target, which would demand it and forbid
-- optimisation.
local function without_debug(path)
	local text, n = read(path):gsub("(%.target%s+sm_%d+[af]?)%s*,%s*debug", "%1")
	if n == 0 then return path end
	local f = assert(io.open(scratch .. "/nodebug.txt", "wb"))
	f:write(text)
	f:close()
	return scratch .. "/nodebug.txt"
end

-- Assembles; returns the cubin's bytes, or nil and ptxas's message.
local function assemble(path)
	local text = read(path)
	local arch = text:match("%.target%s+(sm_%d+[af]?)") or "sm_90"
	local out = scratch .. "/out.cubin"
	local relocatable = text:find("%.unified") and "-c " or ""
	local command = ("timeout 60 %s %s-arch=%s %s -o %s 2>&1"):format(ptxas, relocatable, arch, quote(path),
		quote(out))
	local p = io.popen(command)
	local message = p:read("a")
	local good = p:close()
	if good then return read(out) end
	return nil, message
end

local function compare(name, path, dump)
	local ours, exception = read(dump), (read(path) or ""):match("// >>> ptxas (%a+)")
	if exception == "skip" then return end
	local theirs, message = assemble(without_debug(path))
	if exception == (theirs and "accepts" or "refuses") and not ours ~= not theirs then return report(name) end
	if exception then return report(name, "ptxas and the parser agree; the exception is stale") end
	if ours and not theirs then return report(name, "ptxas refuses it: " .. message) end
	if theirs and not ours then return report(name, "ptxas accepts it") end
	if not ours then return report(name) end
	local again, why = assemble(dump)
	if not again then return report(name, "ptxas refuses the dump: " .. why) end
	local a, b = sections(theirs), sections(again)
	for s in pairs(b) do a[s] = a[s] or "" end
	for s, bytes in pairs(a) do
		if bytes ~= (b[s] or "") then return report(name, ("section %s differs"):format(s)) end
	end
	report(name)
end

if not read(ptxas) then
	report("available", ptxas .. " is missing")
	os.exit(1)
end
os.execute("rm -rf " .. quote(scratch) .. " && mkdir -p " .. quote(scratch))
assert(os.execute(("%s --extract %s"):format(tool, quote(scratch))))
local list = io.popen("ls " .. quote(scratch) .. "/*.ptx")
for path in list:lines() do
	compare(path:match("([^/]+)%.ptx$"), path, (path:gsub("%.ptx$", ".dump")))
end
list:close()
for i = 3, #arg do
	local dump = scratch .. "/file.dump"
	os.execute(("%s --dump %s > %s"):format(tool, quote(arg[i]), quote(dump)))
	if #(read(dump) or "") == 0 then os.remove(dump) end
	compare(arg[i]:match("([^/]+)%.ptx$"), arg[i], dump)
end
os.exit(failures == 0 and 0 or 1)
