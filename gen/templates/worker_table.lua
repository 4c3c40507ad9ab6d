-- worker_table.lua -> worker_calls.h, worker_table.c: permission, decoding sizes and handlers by operation.
local U = require("gen.util")
local T = {}

function T.calls(g)
	local b = U.buffer()
	b([[
/* Generated from api/wire.lua and api/cuda.lua: the handlers of messages; check_X and invoke_X are written by hand. */
#ifndef AG_GEN_WORKER_CALLS_H
#define AG_GEN_WORKER_CALLS_H

#include "msg.h"
#include "worker/worker.h"
]])
	for _, m in ipairs(g.messages) do
		if not m.auto then
			local rep = m.reply and "struct rep_" .. m.name .. " *rep" or "void *rep"
			b("CUresult check_%s(const struct session *s, const struct msg_%s *m, const void *tail, " ..
				"uint32_t ntail);", m.name, m.name)
			b("CUresult invoke_%s(struct session *s, const struct msg_%s *m, const void *tail, uint32_t " ..
				"ntail, %s, struct ag_out *out);",
				m.name, m.name, rep)
		end
	end
	b("\n#endif")
	return b:text()
end

local function stream_offset(m)
	for _, f in ipairs(m.fields) do
		if f.type == "stream" then return ("offsetof(struct msg_%s, %s)"):format(m.name, f.name) end
	end
	return "-1"
end

function T.table(g)
	local b = U.buffer()
	b("/* --- messages of api/wire.lua, and the permit table: an operation that is not here ends the session " ..
		"--- */\n")
	for _, m in ipairs(g.messages) do
		if m.auto then goto continue end
		b("static CUresult judge_op_%s(const struct session *s, const void *m, const void *tail, uint32_t " ..
			"ntail)", m.name)
		b("{\n\treturn check_%s(s, m, tail, ntail);\n}\n", m.name)
		b("static CUresult act_op_%s(struct session *s, const void *m, const void *tail, uint32_t ntail, " ..
			"void *rep, struct ag_out *out)", m.name)
		b("{\n\treturn invoke_%s(s, m, tail, ntail, rep, out);\n}\n", m.name)
		::continue::
	end
	b("const struct permit permit_table[AG_OP_COUNT] = {")
	for _, m in ipairs(g.messages) do
		local states = {}
		if m.states:find("R") then states[#states + 1] = "AG_S_READY" end
		if m.states:find("F") then states[#states + 1] = "AG_S_FAULTED" end
		b("\t[AG_OP_%s] = { \"%s\", %s, %s, %s, sizeof(struct msg_%s), %s,\n\t\t%s, judge_op_%s, act_op_%s },",
			m.name, m.name,
			table.concat(states, " | "), tostring(m.call), tostring(m.tail), m.name,
			m.reply and "sizeof(struct rep_" .. m.name .. ")" or "0", stream_offset(m), m.name, m.name)
	end
	b("};\nconst uint32_t permit_count = AG_OP_COUNT;")
	return b:text()
end

return T
