#!/usr/bin/env lua5.4
-- exports_test.lua - the link forms as a linker sees them: the archives offer CUDA's names and no other, the shared
-- libraries export the generated lists with their versions and sonames, and those are NVIDIA's where a toolkit is
-- installed.
local failed = 0

local function case(name, why)
	if why then failed = failed + 1 end
	print(why and ("not ok %s: %s"):format(name, why) or "ok " .. name)
end

local function lines(command)
	local p = assert(io.popen(command .. " 2>/dev/null"))
	local t = {}
	for l in p:lines() do t[#t + 1] = l end
	p:close()
	return t
end

-- Defined global symbols of a file: name -> version ("" where it has none), and name -> visibility.  `table`: dyn-syms
-- of a library, syms of an archive.
local function symbols(path, kind)
	local version, visibility, count = {}, {}, 0
	for _, l in ipairs(lines(("readelf --%s -W %s"):format(kind, path))) do
		local bind, vis, index, name = l:match("^%s*%d+:%s+%x+%s+%S+%s+%u+%s+(%u+)%s+(%u+)%s+(%S+)%s+(%S+)")
		if name and index ~= "UND" and index ~= "ABS" and (bind == "GLOBAL" or bind == "WEAK") then
			local base, v = name:match("^([^@]+)@*(.*)$")
			version[base], visibility[base] = v, vis
			count = count + 1
		end
	end
	return version, visibility, count
end

-- The generated list, as a set.
local function listed(path)
	local t, n = {}, 0
	for l in io.lines(path) do
		if l ~= "" then t[l], n = true, n + 1 end
	end
	return t, n
end

-- What is in one set and not in the other; nil when they are equal.
local function difference(have, want)
	local missing, extra = {}, {}
	for k in pairs(want) do if have[k] == nil then missing[#missing + 1] = k end end
	for k in pairs(have) do if want[k] == nil then extra[#extra + 1] = k end end
	if #missing + #extra == 0 then return nil end
	table.sort(missing)
	table.sort(extra)
	return ("%d missing (%s), %d more (%s)"):format(#missing, table.concat(missing, " ", 1, math.min(8, #missing)),
		#extra, table.concat(extra, " ", 1, math.min(8, #extra)))
end

local function soname(path)
	for _, l in ipairs(lines("readelf -d " .. path)) do
		local s = l:match("%(SONAME%).*%[(.-)%]")
		if s then return s end
	end
end

-- The first symbol whose version is not the same in both; nil when there is none.
local function other_version(have, want)
	for k, v in pairs(want) do
		if have[k] and have[k] ~= v then return ("%s: version '%s', not '%s'"):format(k, have[k], v) end
	end
end

local cuda_home = os.getenv("CUDA_HOME") or "/usr/local/cuda"
local forms = {
	{ archive = "libcudart_static.a", shared = "libcudart.so.13", list = "cudart", version = "libcudart.so.13",
		nvidia = cuda_home .. "/lib64/libcudart.so.13" },
	{ archive = "libcuda.a", shared = "libcuda.so.1", list = "cuda", version = "",
		nvidia = cuda_home .. "/lib64/stubs/libcuda.so" },
}

for _, f in ipairs(forms) do
	local list, n = listed("build/gen/" .. f.list .. ".syms")
	case(f.list .. " has a list", n < 200 and n .. " names" or nil)

	local _, visible = symbols("build/lib/" .. f.archive, "syms")
	case(f.archive .. " offers CUDA's names and no other", difference(visible, list))
	local open
	for name, v in pairs(visible) do if v ~= "HIDDEN" then open = name .. " is " .. v end end
	case(f.archive .. " leaves shared libraries their own", open)

	local ours = symbols("build/lib/" .. f.shared, "dyn-syms")
	case(f.shared .. " exports CUDA's names and no other", difference(ours, list))
	local odd
	for name, v in pairs(ours) do if v ~= f.version then odd = name .. " has version '" .. v .. "'" end end
	case(f.shared .. " versions them", odd)
	local so = soname("build/lib/" .. f.shared)
	case(f.shared .. " says its name", so ~= f.shared and tostring(so) or nil)

	local theirs, _, count = symbols(f.nvidia, "dyn-syms")
	if count > 0 then
		case(f.shared .. " exports what NVIDIA's does", difference(ours, theirs))
		case(f.shared .. " versions it alike", other_version(ours, theirs))
		case(f.shared .. " has NVIDIA's soname", so ~= soname(f.nvidia) and soname(f.nvidia) or nil)
	else
		print("# " .. f.nvidia .. " is not there: nothing to compare with")
	end
end
os.exit(failed == 0 and 0 or 1)
