-- run.lua: runs test programs and counts their cases.
-- Each argument is an executable; it prints `ok NAME` or `not ok NAME: reason` per case.  A program that exits
-- non-zero without naming a failed case, or names no case at all, counts as one failure.
local passed, failed = 0, 0
local failures = {}
local seconds = tonumber(os.getenv("TEST_TIMEOUT") or "300")

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
	passed, failed = passed + ok_here, failed + bad_here
end

for _, path in ipairs(arg) do run(path) end
for _, f in ipairs(failures) do print("failed: " .. f) end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and passed > 0 and 0 or 1)
