-- msg.lua -> msg.h: operation numbers, the structs of messages and replies, and their layout as assertions.
local U = require("gen.util")

local function struct(b, name, head, fields, size)
	b("struct %s {", name)
	if head then b("\tstruct ag_head h;") end
	for _, f in ipairs(fields) do b("\t%s %s%s;", f.c, f.name, f.count and "[" .. f.count .. "]" or "") end
	b("};")
	for _, f in ipairs(fields) do
		if not f.filler then b("_Static_assert(offsetof(struct %s, %s) == %d, \"layout of %s\");", name, f.name,
			f.offset, name) end
	end
	b("_Static_assert(sizeof(struct %s) == %d, \"size of %s\");", name, size, name)
end

return function(g)
	local b = U.buffer()
	b("/* Generated from api/wire.lua, api/opcodes.lua and cuda.h: what client and worker say to each other. */")
	b("#ifndef AG_GEN_MSG_H\n#define AG_GEN_MSG_H\n")
	b("#include <stddef.h>\n#include <stdint.h>\n#include \"api/base/wire.h\"\n#include \"driver.h\"\n")
	b("enum ag_op {\n\tAG_OP_pad = 0,")
	for _, op in ipairs(g.live_ops) do b("\tAG_OP_%s = %d,", op.name, op.number) end
	b("\tAG_OP_COUNT = %d\n};\n", g.last_op + 1)
	for _, m in ipairs(g.messages) do
		if m.doc then b("/* %s */", m.doc) end
		struct(b, "msg_" .. m.name, true, m.fields, m.size)
		if m.reply then struct(b, "rep_" .. m.name, false, m.reply, m.reply_size) end
		b("")
	end
	b("#endif")
	return b:text()
end
