#!/usr/bin/env lua5.4
-- tidy.lua: style as a test.  One case per rule; a case names every place that breaks it.
--   width      no line over 120 columns (a tab counts 8)
--   functions  no C function over 70 lines, but for tables (half of the lines or more are cases or rows)
--   files      no source over 1200 lines
--   includes   the architecture's include rules (docs/ARCHITECTURE.md)
--   words      no word that marks unfinished work, no path of one machine
--   header     every C, Lua and CUDA source begins with a comment
--   dead       no source that no makefile mentions
local files = {}
local kinds = "'*.c' '*.h' '*.cu' '*.cuh' '*.lua' '*.mk' '*.def' '*.sh' Makefile .ci"
for f in io.popen("git ls-files " .. kinds):lines() do
	if io.open(f) then files[#files + 1] = f end
end

local bad = {}
local order = { "width", "functions", "files", "includes", "words", "header", "dead" }
for _, r in ipairs(order) do bad[r] = {} end
local function complain(rule, fmt, ...) table.insert(bad[rule], fmt:format(...)) end

local function columns(line)
	local n = 0
	for p, c in utf8.codes(line, true) do
		n = c == 9 and n + 8 - n % 8 or n + 1
	end
	return n
end

-- Who may include what: {files, forbidden include, why}.
local rules = {
	{ "^api/client/", "worker/", "client code never sees the worker" },
	{ "^api/client/", "guard/[pr]", "client code never sees the rewriter" },
	{ "^guard/verify", "ptx%.h", "the verifier shares nothing with the parser" },
	{ "^guard/verify", "rewrite", "the verifier shares nothing with the rewriter" },
	{ "^guard/verify", "guard%.h", "the verifier shares nothing with the rewriter" },
	{ "^guard/", "cuda%.h", "the guard knows no driver" },
	{ "^worker/softgpu/exec", "api/", "the processor knows no client" },
	{ "^alloc/range", "driver%.h", "the range allocator touches no memory" },
}

-- Spelled in pieces, or this file would complain of itself.
local words = { "TO" .. "DO", "FIX" .. "ME", "XX" .. "X", "HA" .. "CK[^I]", "not imple" .. "mented",
	"unimple" .. "mented", "place" .. "holder", "for n" .. "ow[^%w]", "/wo" .. "rk/", "/ro" .. "ot/",
	"bash_" .. "jobs" }

local makefiles = {}
for f in io.popen("git ls-files '*.mk' Makefile"):lines() do
	local h = io.open(f)
	if h then makefiles[#makefiles + 1] = h:read("a") end
end
local all_make = table.concat(makefiles, "\n")

local function mentioned(f)
	local base = f:match("([^/]+)$")
	if all_make:find(base, 1, true) or all_make:find(base:gsub("%.%w+$", ""), 1, true) then return true end
	local dir = f:match("^(.*)/[^/]+$")
	for pattern in all_make:gmatch("wildcard ([^)]+)%)") do
		for glob in pattern:gmatch("%S+") do
			local p = "^" .. glob:gsub("[%-%.%+]", "%%%0"):gsub("%*", "[^/]*") .. "$"
			if f:match(p) then return true end
		end
	end
	return dir == nil
end

for _, f in ipairs(files) do
	local n, start, start_line, cases = 0, nil, nil, 0
	local is_c = f:match("%.[ch]$") or f:match("%.cuh?$")
	local first
	for line in io.lines(f) do
		n = n + 1
		if not first and line:match("%S") and not line:match("^#!") then first = line end
		if columns(line) > 120 then complain("width", "%s:%d", f, n) end
		for _, w in ipairs(words) do
			if (line:gsub("XXX" .. "XXX", "") .. " "):find(w) and not f:match("^tests/tidy") then
				complain("words", "%s:%d: %s", f, n, line:match("^%s*(.-)%s*$"):sub(1, 60))
			end
		end
		local inc = line:match('^%s*#%s*include%s+["<]([^">]+)[">]')
		if inc then
			for _, r in ipairs(rules) do
				if f:match(r[1]) and inc:match(r[2]) then
					complain("includes", "%s:%d: %s (%s)", f, n, inc, r[3])
				end
			end
		end
		if is_c then
			if line == "{" then start, start_line, cases = n, n, 0 end
			if start and (line:match("^%s*case ") or line:match("^%s*default:")
			              or line:match("^%s*[A-Z][A-Z0-9_]*%(.*%)[;,]?$")) then
				cases = cases + 1
			end
			if line == "}" and start then
				local len = n - start - 1
				if len > 70 and cases * 2 < len then
					complain("functions", "%s:%d: %d lines", f, start_line, len)
				end
				start = nil
			end
		end
	end
	if n > 1200 then complain("files", "%s: %d lines", f, n) end
	local commented = first and (first:match("^/%*") or first:match("^//") or first:match("^%-%-"))
	if first and (is_c or f:match("%.lua$")) and not commented then complain("header", "%s", f) end
	if f:match("%.c$") and not mentioned(f) then complain("dead", "%s", f) end
end

local failed = 0
for _, r in ipairs(order) do
	if #bad[r] == 0 then
		print("ok tidy " .. r)
	else
		failed = failed + 1
		for i = 1, math.min(#bad[r], 40) do print("  " .. bad[r][i]) end
		print(("not ok tidy %s: %d places"):format(r, #bad[r]))
	end
end
os.exit(failed == 0 and 0 or 1)
