#!/usr/bin/env lua5.4
-- compare.lua NATIVE [NAME=]OURS...: outputs of the same benchmark (`NAME VALUE UNIT` lines) as one table, each of ours
-- with its ratio to the first. A ratio is ours / native for times and native / ours for rates: below 1 we are faster.
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
local ours = {}
for i = 2, #arg do
	local name, path = arg[i]:match("^([^=/]+)=(.+)$")
	ours[#ours + 1] = { name = name or "ours", values = read(path or arg[i]) }
end

local head, rule = ("| %-30s | %12s |"):format("", "native"), "|" .. ("-"):rep(32) .. "|" .. ("-"):rep(14) .. "|"
for _, o in ipairs(ours) do
	head = head .. (" %15s | %8s |"):format(o.name, "ratio")
	rule = rule .. ("-"):rep(17) .. "|" .. ("-"):rep(10) .. "|"
end
print(head)
print(rule)
for _, name in ipairs(order) do
	local n = native[name]
	local line = ("| %-30s | %12.3f |"):format(name .. ", " .. n[2], n[1])
	for _, o in ipairs(ours) do
		local v = o.values[name]
		if v then
			line = line .. (" %15.3f | %8.3f |"):format(v[1], n[2] == "GB/s" and n[1] / v[1] or v[1] / n[1])
		else
			line = line .. (" %15s | %8s |"):format("missing", "")
		end
	end
	print(line)
end
