-- collect.lua: manifests -> C.
--   collect.lua slots NAME...            the slots of the services, as #defines for their device code
--   collect.lua table NAME=PTX ...       build/gen/adapters.c: the services, their gates' types, their device code
-- Names are given in one order everywhere: a service's slot is its place.

local types = { b32 = "PTX_T_B32", b64 = "PTX_T_B64", f32 = "PTX_T_F32", f64 = "PTX_T_F64" }

local function manifest(name)
	local m = dofile(("adapters/%s/manifest.lua"):format(name))
	assert(m.name == name, name .. ": the manifest names another service")
	for _, g in ipairs(m.gates) do
		assert(g[1]:match("^" .. name .. "_[%w_]+$"), name .. ": a gate's name begins with its service's")
		assert(g.ret == nil or types[g.ret], name .. ": result type of " .. g[1])
		for _, p in ipairs(g.params) do assert(types[p], name .. ": parameter type of " .. g[1]) end
		assert(#g.params <= 16, name .. ": too many parameters of " .. g[1])
	end
	return m
end

-- The body of a module as nvcc wrote it: no header, no comments, no declaration of what the composed module defines.
local function body(path, m)
	local f = assert(io.open(path))
	local out, gates = {}, {}
	for line in f:lines() do
		local l = line:gsub("//.*$", "")
		local name = l:match("^%.visible %.func.-(gate_[%w_]+)%(")
		if name then gates[name] = true end
		local skip = l:match("^%s*$") or l:match("^%.extern %.const .*ag_desc")
		for _, d in ipairs { "version", "target", "address_size" } do skip = skip or l:match("^%." .. d) end
		-- Anything else at module level would need a name that cannot clash.
		for _, d in ipairs { "%.visible %.entry", "%.global", "%.const" } do
			assert(not l:match("^" .. d), path .. ": " .. l)
		end
		if not skip then out[#out + 1] = l end
	end
	f:close()
	for _, g in ipairs(m.gates) do
		assert(gates["gate_" .. g[1]], path .. ": gate_" .. g[1] .. " is not defined")
	end
	return out
end

local function quote(lines)
	local q = {}
	for i, l in ipairs(lines) do
		q[i] = '\t"' .. l:gsub('[\\"]', "\\%0"):gsub("\t", "\\t") .. '\\n"'
	end
	return table.concat(q, "\n")
end

local mode = table.remove(arg, 1)
if mode == "slots" then
	for i, name in ipairs(arg) do print(("#define GATE_SLOT_%s %d"):format(name, i - 1)) end
elseif mode == "table" then
	print('/* Generated from the manifests in adapters/. */')
	print('#include "adapters/adapter.h"\n#include "guard/ptx.h"\n')
	local rows = {}
	for _, a in ipairs(arg) do
		local name, path = a:match("^([%w_]+)=(.+)$")
		local m = manifest(name)
		print(("extern const struct ag_adapter adapter_%s;"):format(name))
		print(("static const char %s_ptx[] =\n%s;"):format(name, quote(body(path, m))))
		print(("static const struct ag_gate_desc %s_gates[] = {"):format(name))
		for _, g in ipairs(m.gates) do
			local p = {}
			for i, t in ipairs(g.params) do p[i] = types[t] end
			local list = #p > 0 and table.concat(p, ", ") or "0"
			local ret = g.ret and types[g.ret] or "PTX_T_NONE"
			print(('\t{ "%s", %d, { %s }, %s },'):format(g[1], #p, list, ret))
		end
		print("};\n")
		rows[#rows + 1] = ("\t{ &adapter_%s, %s_gates, %d, %s_ptx },"):format(name, name, #m.gates, name)
	end
	print(("const struct ag_service ag_services[] = {\n%s\n};"):format(table.concat(rows, "\n")))
	print(("const uint32_t ag_service_count = %d;"):format(#rows))
else
	error("usage: collect.lua slots|table ...")
end
