-- main.lua: headers and api/*.lua in, build/gen out.
--
--   agileos-gen ROOT all OUT INCLUDE       every generated file into OUT
--   agileos-gen ROOT coverage OUT INCLUDE  one line per library on stdout, the table of functions into
--                                          OUT/../coverage.txt
--   agileos-gen ROOT opcodes OUT INCLUDE   appends numbers for new operations to api/opcodes.lua
--   agileos-gen ROOT listings OUT INCLUDE  the signatures and classes of all functions, for review:
--                                          OUT/<lib>-<version>.{sigs,txt}
--   agileos-gen ROOT mini HEADER DATA      what a header of its own and its annotations become, on stdout (tests)
package.path = ROOT .. "/?.lua"
local U = require("gen.util")
local model = require("gen.model")
local classify = require("gen.classify")
local lower = require("gen.lower")
local layout = require("gen.layout")
local messages = require("gen.messages")
local opcodes = require("gen.opcodes")

local mode, out, include = arg[1], arg[2], arg[3]
if not include
	then U.fail("usage: agileos-gen ROOT all|coverage|opcodes|listings OUT INCLUDE, or ROOT mini HEADER DATA") end

local function words(text)
	local list = {}
	for w in text:gmatch("%S+") do list[#list + 1] = w end
	return list
end

-- What the templates see.
local function build()
	local g = { path = ROOT .. "/api/cuda.lua", cuda = model.driver(include), cudart = model.runtime(include) }
	for _, name in ipairs { "cuda", "cudart" } do
		local path = ("%s/api/%s.lua"):format(ROOT, name)
		g[name].data = U.load(path)
		classify.classify(path, g[name], g[name].data, name == "cudart" and function(p, m, d) lower.apply(p, m,
			g.cuda, d) end)
	end
	g.cudart.internal = words(g.cudart.data.internal)
	g.cudart.undeclared = words(g.cudart.data.undeclared)
	g.messages = layout.messages(U.load(ROOT .. "/api/wire.lua").messages)
	for _, f in ipairs(g.cuda.functions) do
		if f.class == "auto" then g.messages[#g.messages + 1] = messages.of(f) end
	end
	return g
end

local function number(g)
	local path = ROOT .. "/api/opcodes.lua"
	local names = {}
	for i, m in ipairs(g.messages) do names[i] = m.name end
	if mode == "opcodes" then
		print(("%d new operations in api/opcodes.lua"):format(opcodes.append(path, names)))
	end
	local list, by_name = opcodes.read(path)
	g.live_ops, g.last_op = {}, #list
	for _, m in ipairs(g.messages) do
		m.op = by_name[m.name]
		if not m.op then U.fail("%s: operation %s has no number: run `make opcodes`", path, m.name) end
		g.live_ops[#g.live_ops + 1] = { name = m.name, number = m.op }
	end
	table.sort(g.live_ops, function(a, b) return a.number < b.number end)
end

local function generate(g)
	local T = function(name) return require("gen.templates." .. name) end
	local lists, driver, client, worker, runtime = T "lists", T "driver", T "client", T "worker_table", T "runtime"
	local files = {
		["msg.h"] = T "msg"(g),
		["driver.h"] = driver.header(g), ["driver_none.c"] = driver.none(g), ["driver_nv.c"] = driver.nv(g),
		["driver_soft.c"] = driver.soft(g),
		["calls.h"] = client.calls(g), ["client_table.c"] = client.table(g),
			["cuda_exports.c"] = client.exports(g),
		["worker_calls.h"] = worker.calls(g), ["worker_table.c"] = T "auto_worker".file(g) .. worker.table(g),
		["rt_calls.h"] = runtime.calls(g), ["cudart_lowered.c"] = runtime.lowered(g),
			["cudart_exports.c"] = runtime.exports(g),
		["client_auto.c"] = T "auto_client".file(g), ["tests/auto_test.c"] = T "auto_test".file(g), 
		["procaddress.h"] = lists.proc_header(), ["procaddress.c"] = lists.proc_table(g),
		["errors.h"] = lists.errors_header(), ["errors.c"] = lists.errors_table(g),
		["libcuda.map"] = lists.map(lists.driver_names(g)),
			["libcudart.map"] = lists.map(lists.runtime_names(g), "libcudart.so.13"),
		["cuda.syms"] = lists.syms(lists.driver_names(g)), ["cudart.syms"] = lists.syms(lists.runtime_names(g)),
	}
	local names = U.sorted(files)
	for _, name in ipairs(names) do U.write(out .. "/" .. name, files[name]) end
end

-- Tests: the auto templates on a small header.  Operations are numbered in order.
local function mini(header, path)
	local g = { cuda = model.mini(header), path = path, messages = {}, live_ops = {} }
	g.cuda.data = U.load(path)
	classify.classify(path, g.cuda, g.cuda.data)
	for _, f in ipairs(g.cuda.functions) do
		if f.class == "auto" then g.messages[#g.messages + 1] = messages.of(f) end
	end
	for i, m in ipairs(g.messages) do g.live_ops[i] = { name = m.name, number = i } end
	g.last_op = #g.messages
	local T = function(name) return require("gen.templates." .. name) end
	print(classify.summary(g.cuda) .. "\n" .. classify.table(g.cuda))
	print(T "msg"(g) .. "\n" .. T "auto_client".file(g) .. "\n" .. T "auto_worker".file(g))
end

-- One line per function, and one per struct and enum layout they use: what a reviewer compares between versions.
local function signatures(m)
	local b = U.buffer()
	local lines = {}
	for _, f in ipairs(m.functions) do lines[#lines + 1] = ("%s %s(%s)"):format(f.ret.spell, f.name,
		U.parameters(f)) end
	table.sort(lines)
	for _, l in ipairs(lines) do b("%s", l) end
	for _, name in ipairs(U.sorted(m.records)) do
		local r = m.records[name]
		if not name:find(" at ") and name:match("^%a+ C?[Uu][%u%l]") and name:match("[Cc][Uu]") then
			local fields = {}
			for i, x in ipairs(r.fields) do fields[i] = ("%s@%d"):format(x.name, x.offset) end
			b("%s size=%d align=%d %s", name, r.size, r.align, table.concat(fields, " "))
		end
	end
	return b:text()
end

local function listings(g)
	for _, name in ipairs { "cuda", "cudart" } do
		local m = g[name]
		U.write(("%s/%s-%s.sigs"):format(out, m.name, m.version), signatures(m))
		U.write(("%s/%s-%s.txt"):format(out, m.name, m.version), classify.summary(m) .. "\n"
			.. classify.table(m))
	end
end

if mode == "mini" then return mini(out, include) end
local g = build()
number(g)
if mode == "all" then
	generate(g)
elseif mode == "coverage" then
	local rows = {}
	for _, name in ipairs { "cuda", "cudart" } do
		print(classify.summary(g[name]))
		rows[#rows + 1] = classify.table(g[name])
	end
	U.write(out .. "/../coverage.txt", table.concat(rows))
elseif mode == "listings" then
	listings(g)
elseif mode ~= "opcodes" then
	U.fail("agileos-gen: no mode %s", mode)
end
