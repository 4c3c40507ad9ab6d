-- model.lua: headers -> one model per library: the functions it declares, in order, with their per-thread twins named.
--
--   M.driver(include) / M.runtime(include) -> { functions = { F, ... }, by_name, enums, records, typedefs, macros,
--                                              version, header }
--   F: { name, ret, params, line, doc, header, base = name without _ptsz/_ptds (twins only), twin = the name with it,
--        stream = index of the stream parameter or nil }
local U = require("gen.util")
local M = {}

local function compiler_arguments(include, extra)
	local args = { "-x", "c", "-std=gnu11", "-I" .. include }
	for word in (os.getenv("AGILEOS_GEN_CFLAGS") or ""):gmatch("%S+") do args[#args + 1] = word end
	for _, a in ipairs(extra or {}) do args[#args + 1] = a end
	return args
end

function M.scan(include, headers, extra)
	local text = {}
	for i, h in ipairs(headers) do text[i] = "#include <" .. h .. ">\n" end
	local ok, result = pcall(scan, { text = table.concat(text), args = compiler_arguments(include, extra) })
	if not ok then U.fail("%s", tostring(result)) end
	return result
end

local function basename(path)
	return path:match("[^/]*$")
end

-- The comment of a function whose name is a macro is not attached by libclang: look backwards from its line.
local function recover_doc(lines, line)
	local i = line - 1
	while i > 0 and (lines[i]:match("^%s*$") or lines[i]:match("^#")) do i = i - 1 end
	if i <= 0 or not lines[i]:match("%*/%s*$") then return nil end
	local last = i
	while i > 0 and not lines[i]:match("/%*%*") do i = i - 1 end
	return i > 0 and table.concat(lines, "\n", i, last) or nil
end

local function header_lines(cache, path)
	if not cache[path] then
		local lines = {}
		for l in ((U.read(path) or "") .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = l end
		cache[path] = lines
	end
	return cache[path]
end

local stream_types = { CUstream = true, cudaStream_t = true }

local function library(scanned, pattern, only)
	local model = { functions = {}, by_name = {}, enums = scanned.enums, records = scanned.records,
		typedefs = scanned.typedefs,
		macros = {} }
	for _, m in ipairs(scanned.macros) do model.macros[m.name] = m.body end
	local cache = {}
	for _, f in ipairs(scanned.functions) do
		if f.name:match(pattern) and only[basename(f.file)] then
			f.header = basename(f.file)
			f.doc = f.doc or recover_doc(header_lines(cache, f.file), f.line)
			for i, p in ipairs(f.params) do
				if p.name == "" then p.name = "arg" .. i end
				if stream_types[p.type.td or ""] and not f.stream then f.stream = i end
			end
			model.functions[#model.functions + 1] = f
			model.by_name[f.name] = f
		end
	end
	for _, f in ipairs(model.functions) do
		local base = f.name:match("^(.*)_pt[sd][sz]$")
		if base and model.by_name[base] then
			f.base = base
			model.by_name[base].twin = f.name
		end
	end
	return model
end

local function version(value, what)
	local n = tonumber(value)
	if not n then U.fail("%s: no version number", what) end
	return ("%d.%d"):format(n // 1000, n % 1000 // 10)
end

function M.driver(include)
	local s = M.scan(include, { "cuda.h", "cudaProfiler.h", "cudaTypedefs.h", "cudaProfilerTypedefs.h" },
		{ "-D__CUDA_API_VERSION_INTERNAL" })
	local m = library(s, "^cu%u", { ["cuda.h"] = true, ["cudaProfiler.h"] = true })
	m.name, m.prefix, m.version = "cuda", "cu", version(m.macros.CUDA_VERSION, "cuda.h")
	return m
end

function M.runtime(include)
	local s = M.scan(include, { "cuda_runtime_api.h", "cuda_profiler_api.h" })
	local m = library(s, "^cuda%u", { ["cuda_runtime_api.h"] = true, ["cuda_profiler_api.h"] = true })
	m.name, m.prefix, m.version = "cudart", "cuda", version(m.macros.CUDART_VERSION, "cuda_runtime_api.h")
	-- The twins are not declared: under this macro the header renames the function itself.
	local per_thread = M.scan(include, { "cuda_runtime_api.h" }, { "-DCUDA_API_PER_THREAD_DEFAULT_STREAM" })
	m.twins = {}
	for _, macro in ipairs(per_thread.macros) do
		local f = m.by_name[macro.name]
		local kind = macro.body:match("^__CUDART_API_(PT[DS][SZ])")
		if f and kind then
			f.twin = f.name .. "_" .. kind:lower()
			m.twins[#m.twins + 1] = f.twin
		end
	end
	return m
end

-- A header of its own, for tests: every function whose name starts with mini.
function M.mini(header)
	local s = M.scan(header:match("^(.*)/") or ".", { header:match("[^/]*$") })
	local m = library(s, "^mini%u", { [header:match("[^/]*$")] = true })
	m.name, m.prefix, m.version = "mini", "mini", "1.0"
	return m
end

-- The key of an enum or record named by a typedef or a tag: "CUmemcpyKind" or "enum X_enum".
function M.typedef(model, name)
	for _, t in ipairs(model.typedefs) do
		if t.name == name then return t.type end
	end
end

return M
