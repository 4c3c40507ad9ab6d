-- run.lua: runs test programs and counts their cases.
-- Each argument is an executable; it prints `ok NAME` or `not ok NAME: reason` per case.  A program that exits
-- non-zero without naming a failed case, or names no case at all, counts as one failure.
--
-- A program that passed is not run again until something that it may read has changed: build/passes remembers what it
-- was.  That is taken wide, never by a list someone has to keep: for a compiled test its own file, everything that
-- is built to be used (build/bin, build/lib, shared libraries) and every file of the tree that is not compiled; for a
-- script every file of the tree and every program in build/; for all of them the environment that they look at.
-- RECHECK=1 runs everything.
local kept_path = "build/passes"
local seconds = tonumber(os.getenv("TEST_TIMEOUT") or "300")
local passed, failed, kept = 0, 0, 0
local failures = {}

local function read_all(command)
	local p = assert(io.popen(command))
	local text = p:read("a")
	assert(p:close(), command)
	return text
end

-- Path, size and time of the last change, a line for each file that `find EXPRESSION` gives.
local function files(expression)
	return read_all(("find %s -type f -printf '%%p %%s %%T@\\n' | LC_ALL=C sort"):format(expression))
end

local function digest(text)
	local name = os.tmpname()
	local f = assert(io.open(name, "w"))
	f:write(text)
	f:close()
	local sum = read_all("sha256sum <" .. name):match("^%x+")
	os.remove(name)
	return sum
end

local function is_script(path)
	local f = io.open(path, "rb")
	local head = f and f:read(2)
	if f then f:close() end
	return head == "#!"
end

-- What tests of one kind may read besides their own file.
local function surroundings()
	local environment = read_all("env | LC_ALL=C sort" ..
		" | grep -E '^(AGILEOS|ASAN|UBSAN|CUDA|FAILURE|FUZZ|KILLS|LD_|TEST_|UPDATE|XDG_)'; uname -srm; " ..
		"ls /dev/nvidia* 2>&1; cat \"$CUDA_HOME/version.json\" 2>&1; true")
	local sources = files("-L . \\( -path ./build -o -path ./.git \\) -prune -o ! -name '*.md'")
	local apart = sources:gsub("[^\n]*%.[ch]u?h? [^\n]*\n", "") -- less what is compiled: *.c, *.h, *.cu, *.cuh
	local used = files("build/bin build/lib build/tests build/asan -path 'build/tests/*' ! -name '*.so*' -o " ..
		"-path 'build/asan/*' ! -name '*.so*' ! -path 'build/asan/bin/*' -o")
	local programs = files("build -path build/obj -prune -o -perm -u+x")
	return {
		compiled = digest(environment .. apart .. used),
		script = digest(environment .. sources .. used .. programs),
	}
end

local function load_kept()
	local t = {}
	local f = os.getenv("RECHECK") ~= "1" and io.open(kept_path)
	if not f then return t end
	for line in f:lines() do
		local path, cases, sum = line:match("^(%S+) (%d+) (%x+)$")
		if path then t[path] = { cases = tonumber(cases), sum = sum } end
	end
	f:close()
	return t
end

local function save_kept(t)
	local names = {}
	for path in pairs(t) do names[#names + 1] = path end
	table.sort(names)
	local f = io.open(kept_path, "w")
	if not f then return end -- nothing is kept, then
	for _, path in ipairs(names) do f:write(("%s %d %s\n"):format(path, t[path].cases, t[path].sum)) end
	f:close()
end

-- Cases passed and failed.
local function run(path)
	local ok_here, bad_here = 0, 0
	local started = os.time()
	local tail = {}
	local p = assert(io.popen(("timeout -k 5 %d %s 2>&1"):format(seconds, path:find("/") and path or "./" .. path)))
	for line in p:lines() do
		if line:match("^ok%s+%S") then
			ok_here = ok_here + 1
		elseif line:match("^not ok%s+%S") then
			bad_here = bad_here + 1
			failures[#failures + 1] = path .. ": " .. line
		end
		tail[#tail + 1] = line
		if #tail > 30 then table.remove(tail, 1) end
	end
	local _, _, code = p:close()
	if (code ~= 0 and bad_here == 0) or ok_here + bad_here == 0 then
		bad_here = bad_here + 1
		failures[#failures + 1] = ("%s: exit %d, %d cases seen"):format(path, code or -1, ok_here)
	end
	if bad_here > 0 then
		for _, l in ipairs(tail) do print("  | " .. l) end
	end
	print(("%-4s %s (%d cases, %d s)"):format(bad_here == 0 and "pass" or "FAIL", path, ok_here + bad_here,
		os.time() - started))
	io.stdout:flush()
	return ok_here, bad_here
end

local known, around = load_kept(), surroundings()
for _, path in ipairs(arg) do
	local sum = digest(around[is_script(path) and "script" or "compiled"] .. files(path))
	local was = known[path]
	if was and was.sum == sum then
		passed, kept = passed + was.cases, kept + was.cases
	else
		local ok_here, bad_here = run(path)
		passed, failed = passed + ok_here, failed + bad_here
		known[path] = bad_here == 0 and { cases = ok_here, sum = sum } or nil
		save_kept(known)
	end
end
for _, f in ipairs(failures) do print("failed: " .. f) end
if kept > 0 then
	print(kept .. " of the cases passed before, on the same files (build/passes; RECHECK=1 runs them again)")
end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and passed > 0 and 0 or 1)
