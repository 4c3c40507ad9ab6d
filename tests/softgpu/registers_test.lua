#!/usr/bin/env lua5.4
-- registers_test.lua: softgpu's register estimate beside ptxas -v, kernel by kernel, for nvcc's own PTX and for the
-- guard's rewriting of it. Nine in ten must be within one allocation granule (8 registers), four in ten in the same.
-- Arguments: the tool that prints the estimate, the guard, a folder for what is made, PTX files.
local tool, guard, dir = arg[1], arg[2], arg[3]
local failed = false

local function run(fmt, ...)
	local p <close> = io.popen(fmt:format(...))
	return p:read("a"), p:close()
end

-- kernel -> registers, as ptxas says
local function compiled(file)
	local regs, kernel = {}, nil
	for line in run("${PTXAS:-ptxas} -arch=sm_90 -v -c -o /dev/null %s 2>&1", file):gmatch("[^\n]+") do
		kernel = line:match("Compiling entry function '([^']+)'") or line:match("Function properties for (%S+)")
			or kernel
		local n = line:match("Used (%d+) registers")
		if n then regs[kernel] = tonumber(n) end
	end
	return regs
end

local function granules(n) return (n + 7) // 8 end

local function compare(name, files)
	local n, same, near, worst, at = 0, 0, 0, 0, ""
	for _, file in ipairs(files) do
		local regs = compiled(file)
		for kernel, estimate in run("%s %s", tool, file):gmatch("%S+ (%S+) (%d+)") do
			if regs[kernel] then
				local off = granules(tonumber(estimate)) - granules(regs[kernel])
				n, same = n + 1, same + (off == 0 and 1 or 0)
				near = near + (math.abs(off) <= 1 and 1 or 0)
				if math.abs(off) > math.abs(worst) then
					worst, at = off, kernel .. ": " .. estimate .. ", ptxas " .. regs[kernel]
				end
			end
		end
	end
	local ok = n >= 20 and near >= 0.9 * n and same >= 0.4 * n
	failed = failed or not ok
	local what = ("%d kernels, %d same granule, %d within one, worst %s"):format(n, same, near, at)
	print(ok and "ok " .. name or "not ok " .. name .. ": " .. what)
	io.stderr:write(name, ": ", what, "\n")
end

local plain, guarded = {}, {}
os.execute("mkdir -p " .. dir)
for k = 4, #arg do
	plain[#plain + 1] = arg[k]
	local out = ("%s/guarded_%s"):format(dir, arg[k]:match("[^/]+$"))
	if os.execute(("%s %s -o %s --compose 2>/dev/null"):format(guard, arg[k], out)) then
		guarded[#guarded + 1] = out
	end
end
compare("as_compiled", plain)
compare("as_guarded", guarded)
os.exit(not failed)
