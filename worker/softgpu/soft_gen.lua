-- soft_gen.lua: what softgpu's Driver side derives from cuda.h, so that nobody types it.
--   declarations < preprocessed cuda.h    soft_<symbol> declared with the symbol's own type
--   direct       < preprocessed cuda.h    the same plus #define <symbol> soft_<symbol>, for tests
--   errors <cuda.h>                       X(value, name, "text") per CUresult

local mode, path = arg[1], arg[2]

local function symbols(text)
	local seen, list = {}, {}
	for name in text:gmatch("CUresult%s+[%w_%s]-(cu[%w_]+)%s*%(") do
		if not seen[name] and not name:match("_ptsz$") and not name:match("_ptds$") then
			seen[name] = true
			list[#list + 1] = name
		end
	end
	assert(#list > 300, "cuda.h declares too few functions; was it preprocessed?")
	table.sort(list)
	return list
end

local function declarations(with_defines)
	print("/* Generated from cuda.h. */")
	print('#pragma GCC diagnostic push\n#pragma GCC diagnostic ignored "-Wdeprecated-declarations"')
	local list = symbols(io.read("a"))
	for _, name in ipairs(list) do print(("extern __typeof__(%s) soft_%s;"):format(name, name)) end
	print("#pragma GCC diagnostic pop")
	if with_defines then
		for _, name in ipairs(list) do print(("#undef %s\n#define %s soft_%s"):format(name, name, name)) end
	end
end

-- First sentence of the comment before an enumerator, for a code whose text api/strings.lua does not know.
local function sentence(comment)
	local s = comment:gsub("\n%s*%*", " "):gsub("::", ""):gsub("%s+", " "):gsub("^[%s*]+", "")
	s = s:match("^(.-)%.%s") or s:match("^(.-)%.?%s*$")
	return (s:gsub('[\\"]', ""))
end

local function errors()
	local text = assert(io.open(path)):read("a")
	local body = assert(text:match("typedef enum cudaError_enum%s*(%b{})"), "no CUresult in " .. path)
	local known = dofile((arg[0]:gsub("worker/softgpu/soft_gen%.lua$", "api/strings.lua"))).driver
	print("/* Generated from cuda.h: X(value, name, text). */")
	local n = 0
	for comment, name, value in body:gmatch("/%*%*(.-)%*/%s*(CUDA_[%w_]+)%s*=%s*(%d+)") do
		print(('X(%s, %s, "%s")'):format(value, name, known[tonumber(value)] or sentence(comment)))
		n = n + 1
	end
	assert(n > 80, "too few error codes found")
end

if mode == "declarations" then declarations(false)
elseif mode == "direct" then declarations(true)
elseif mode == "errors" then errors()
else error("usage: soft_gen.lua declarations|direct|errors") end
