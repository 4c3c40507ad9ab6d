-- embed.lua: the body of nvcc's PTX (header, comments and debug lines dropped) as a C array; `whole` keeps the header.
-- usage: lua embed.lua in.ptx NAME [whole] > out.c
local path, name, whole = arg[1], arg[2], arg[3] == "whole"
local body = {}
for line in io.lines(path) do
	line = line:gsub("//.*$", ""):gsub("%s+$", "")
	local head = line:match("^%.version") or line:match("^%.target") or line:match("^%.address_size")
	local skip = line == "" or (head and not whole)
		or line:match("^%s*%.file%s") or line:match("^%s*%.loc%s")
	if not skip then body[#body + 1] = line end
end
local text = table.concat(body, "\n") .. "\n"
assert(not text:find("%.extern"), "the runtime must not need anything")
io.write("/* Made from ", path:match("[^/]*$"), " by embed.lua. */\n#include <stddef.h>\n")
io.write("extern const char ", name, "[];\nextern const size_t ", name, "_len;\n")
io.write("const char ", name, "[] = {\n")
local bytes = { text:byte(1, -1) }
for i = 1, #bytes, 24 do
	io.write("\t", table.concat(bytes, ",", i, math.min(i + 23, #bytes)), ",\n")
end
io.write("\t0\n};\nconst size_t ", name, "_len = sizeof(", name, ") - 1;\n")
