#!/usr/bin/env lua5.4
-- compare.lua NATIVE OURS: two outputs of the same benchmark (`NAME VALUE UNIT` lines) as one table with ratios.
-- A ratio is ours / native for times and native / ours for rates: below 1 we are faster.
local function read(path)
	local values, order = {}, {}
	for line in io.lines(path) do
		local name, value, unit = line:match("^(.-)%s+([%d.]+) (%S+)$")
		if name then
			values[name] = { tonumber(value), unit }
			order[#order + 1] = name
		end
	end
	return values, order
end

local native, order = read(arg[1])
local ours = read(arg[2])
print(("| %-30s | %12s | %12s | %8s |"):format("", "native", "ours", "ratio"))
print("|" .. ("-"):rep(32) .. "|" .. ("-"):rep(14) .. "|" .. ("-"):rep(14) .. "|" .. ("-"):rep(10) .. "|")
for _, name in ipairs(order) do
	local n, o = native[name], ours[name]
	if o then
		local ratio = n[2] == "GB/s" and n[1] / o[1] or o[1] / n[1]
		print(("| %-30s | %12.3f | %12.3f | %8.3f |"):format(name .. ", " .. n[2], n[1], o[1], ratio))
	else
		print(("| %-30s | %12.3f | %12s | %8s |"):format(name .. ", " .. n[2], n[1], "missing", ""))
	end
end
