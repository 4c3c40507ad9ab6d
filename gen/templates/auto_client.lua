-- auto_client.lua -> client_auto.c: call_cuX of every auto function: arguments -> message, answer -> results.
local U = require("gen.util")
local A = require("gen.auto")
local T = {}

local prelude = [[
/* Generated from cuda.h and api/cuda.lua: the client's side of the functions that are generated from end to end.
 * call_X predicts the message's size, has enc_X fill it, sends it and takes the answer apart. */
#include <stdlib.h>
#include <string.h>
#include "api/client/client.h"
#include "calls.h"
#include "msg.h"

CUresult agc_current(void);          /* a context is current and the session lives; api/client/internal.h */
/* graph.c: memory that graphs hold follows its owners. */
void agc_graph_shares(ag_id owner, ag_id from);
void agc_graph_gone(ag_id owner);

#define TAIL(bytes) (((uint32_t)(bytes) + 7u) & ~7u)

static inline CUresult too_many(const char *name)
{
	agc_log("%s: too many elements for one call", name);
	return CUDA_ERROR_NOT_SUPPORTED;
}
]]

-- C for the number of elements of an array parameter, on the client.
local function count_of(d)
	return d.mode == "list" and "cap" or d.count
end

local function element_bytes(d)
	return d.kind and 8 or d.type.size
end

-- The size of the message's tail.
local function tail_size(m)
	local parts = {}
	for _, d in ipairs(m.auto.auto.params) do
		if d.tail and d.mode == "string" then parts[#parts + 1] = ("TAIL(len_%s)"):format(d.name)
		elseif d.tail and d.mode == "list" then parts[#parts + 1] = ("(%s ? TAIL(cap * 8) : 0)"):format(d.name)
		elseif d.tail then
			local bytes = ("TAIL(%s * %d)"):format(d.count, element_bytes(d))
			parts[#parts + 1] = d.nullable and ("(%s ? %s : 0)"):format(d.name, bytes) or bytes
		end
	end
	return #parts > 0 and table.concat(parts, " + ") or "0"
end

local function checks(b, m)
	local f = m.auto
	for _, d in ipairs(f.auto.params) do
		local p = d.name
		if d.p.type.k == "ptr" and not d.nullable and (d.mode == "in" or d.mode == "out" or d.mode == "new"
			or d.mode == "view" or d.mode == "find"
			or d.mode == "string" or d.mode == "count") then
			b("\tif (!%s%s)\n\t\treturn CUDA_ERROR_INVALID_VALUE;", p, d.count and " && " .. d.count or "")
		end
		if d.mode == "string" then
			b("\tsize_t len_%s = strlen(%s) + 1;\n\tif (len_%s > %d)\n\t\treturn CUDA_ERROR_INVALID_VALUE;",
				p, p, p, A.max_string)
		end
	end
	local seen = {}
	for _, d in ipairs(f.auto.params) do
		if d.count and not seen[d.count] then
			seen[d.count] = true
			b("\tif (%s > %d)\n\t\treturn too_many(\"%s\");", d.count, A.max_elements, f.name)
		end
	end
end

local function list_checks(b, m)
	if #m.lists == 0 then return end
	local count = m.lists[1].rest
	local any = {}
	for i, d in ipairs(m.lists) do any[i] = d.name end
	b("\tuint64_t cap = %s ? *%s : 0;", table.concat(any, " || "), count)
	b("\tif (cap > %d) {\n\t\tsize_t total = 0;", m.list_cap)
	local args = {}
	for i, d in ipairs(m.auto.auto.params) do args[i] = d.mode == "list" and "NULL" or d.mode == "count"
		and "&total" or d.name end
	b("\t\tr = call_%s(%s);\n\t\tif (r)\n\t\t\treturn r;", m.name, table.concat(args, ", "))
	b("\t\tif (total > %d)\n\t\t\treturn too_many(\"%s\");", m.list_cap, m.name)
	for _, d in ipairs(m.lists) do
		b("\t\tif (%s)\n\t\t\tmemset(%s + total, 0, (cap - total) * sizeof *%s);", d.name, d.name, d.name)
	end
	b("\t\tcap = total;\n\t}")
end

-- Streams as on the wire, new ids: what enc_X needs besides the arguments.
local function extras(m)
	local parameters, arguments = {}, {}
	for _, d in ipairs(m.auto.auto.params) do
		if d.mode == "stream" then
			parameters[#parameters + 1] = "ag_id wire_" .. d.name
			arguments[#arguments + 1] = "wire_" .. d.name
		elseif d.mode == "new" or d.mode == "view" then
			parameters[#parameters + 1] = "ag_id id_" .. d.name
			arguments[#arguments + 1] = "id_" .. d.name
		elseif d.mode == "string" then
			parameters[#parameters + 1] = "size_t len_" .. d.name
			arguments[#arguments + 1] = "len_" .. d.name
		elseif d.mode == "list" and d.kind then
			parameters[#parameters + 1] = "const ag_id *offer_" .. d.name
			arguments[#arguments + 1] = "offer_" .. d.name
		end
	end
	if #m.lists > 0 then
		parameters[#parameters + 1] = "uint64_t cap"
		arguments[#arguments + 1] = "cap"
	end
	return parameters, arguments
end

local function handle(d, value)
	return d.type.k == "ptr" and ("(%s)(uintptr_t)%s"):format(d.type.spell,
		value) or ("(%s)%s"):format(d.type.spell, value)
end

local function as_id(d, value)
	return d.type.k == "ptr" and ("(uint64_t)(uintptr_t)%s"):format(value) or ("(uint64_t)%s"):format(value)
end

local function encode(b, m)
	local f = m.auto
	local extra = extras(m)
	local parameters = #f.params > 0 and U.parameters(f) or ""
	b("static void enc_%s(struct msg_%s *m%s%s)\n{", f.name, f.name, parameters ~= "" and ", " .. parameters or "",
		#extra > 0 and ", " .. table.concat(extra, ", ") or "")
	b("\t(void)m;")
	if m.tail then b("\tuint8_t *tail = (uint8_t *)(m + 1);") end
	for _, d in ipairs(f.auto.params) do
		local p = d.name
		local mode = d.mode
		if mode == "value" then b("\tm->%s = %s;", p, p)
		elseif mode == "enum" or mode == "mask" or mode == "device" then b("\tm->%s = (int32_t)%s;", p, p)
		elseif mode == "stream" then b("\t(void)%s;\n\tm->%s = wire_%s;", p, p, p)
		elseif mode == "dev" then b("\tm->%s = (uint64_t)%s%s;", p, d.type.k == "ptr" and "(uintptr_t)" or "",
			p)
		elseif mode == "id" or mode == "drop" then b("\tm->%s = %s;", p, as_id(d, p))
		elseif mode == "new" or mode == "view" then b("\t(void)%s;\n\tm->%s = id_%s;", p, p, p)
		elseif mode == "in" and not d.count then
			if d.nullable then
				b("\tm->has_%s = %s != NULL;\n\tif (%s)\n\t\tm->%s = *%s;\n\telse\n" ..
					"\t\tmemset(&m->%s, 0, sizeof m->%s);", p, p, p, p, p, p, p)
			else
				b("\tm->%s = *%s;", p, p)
			end
		elseif mode == "in" then
			if d.nullable then b("\tm->has_%s = %s != NULL;", p, p) end
			b("\tif (%s && %s) {\n\t\tmemcpy(tail, %s, (size_t)%s * %d);\n\t\ttail += TAIL(%s * %d);\n\t}",
				p, d.count, p, d.count,
				element_bytes(d), d.count, element_bytes(d))
		elseif mode == "string" then
			b("\tm->len_%s = (uint32_t)len_%s;\n\tmemcpy(tail, %s, len_%s);\n\ttail += TAIL(len_%s);", p, p,
				p, p, p)
		elseif mode == "list" then
			b("\tm->has_%s = %s != NULL;", p, p)
			if d.kind
				then
				b("\tif (%s && cap) {\n\t\tmemcpy(tail, offer_%s, cap * 8);\n" ..
					"\t\ttail += TAIL(cap * 8);\n\t}", p, p) end
		elseif mode == "count" then b("\t(void)%s;\n\tm->%s = cap;", p, p)
		else b("\t(void)%s;", p) end
	end
	if m.tail then b("\t(void)tail;") end
	b("}\n")
end

-- Ids the call offers; freed again unless the worker took them.
local function take_ids(b, g, m)
	for _, d in ipairs(m.new) do b("\tag_id id_%s = agc_id_new(AG_K_%s, NULL);", d.name, d.kind) end
	for _, d in ipairs(m.lists) do
		if d.kind then
			b("\tag_id *offer_%s = calloc(cap ? cap : 1, sizeof *offer_%s);", d.name, d.name)
			b("\tfor (uint64_t i = 0; offer_%s && %s && i < cap; i++)\n" ..
				"\t\toffer_%s[i] = agc_id_new(AG_K_%s, NULL);", d.name, d.name, d.name, d.kind)
		end
	end
	local failed = {}
	for _, d in ipairs(m.new) do failed[#failed + 1] = "!id_" .. d.name end
	for _, d in ipairs(m.lists) do
		if d.kind then failed[#failed + 1] = ("!offer_%s || (%s && cap && !offer_%s[cap - 1])"):format(d.name,
			d.name, d.name) end
	end
	if #failed > 0 then
		b("\tif (%s) {\n\t\tr = CUDA_ERROR_OUT_OF_MEMORY;\n\t\tgoto out;\n\t}", table.concat(failed, " || "))
	end
end

local function give_back_ids(b, g, m)
	for _, d in ipairs(m.new) do b("\tif (id_%s)\n\t\tagc_id_free(id_%s);", d.name, d.name) end
	for _, d in ipairs(m.lists) do
		if d.kind then
			b("\tfor (uint64_t i = 0; offer_%s && %s && i < cap; i++)\n\t\tif (offer_%s[i])\n" ..
				"\t\t\tagc_id_free(offer_%s[i]);", d.name, d.name,
				d.name, d.name)
			b("\tfree(offer_%s);", d.name)
		end
	end
end

-- Results out of the reply; what the worker took is not given back.
local function results(b, g, m)
	local at = false
	for _, d in ipairs(m.auto.auto.params) do at = at or d.rtail end
	if at then b("\tconst uint8_t *got = tail;") end
	if #m.lists > 0 then b("\tuint64_t filled = rep.%s < cap ? rep.%s : cap;", m.lists[1].rest, m.lists[1].rest) end
	for _, d in ipairs(m.auto.auto.params) do
		local p = d.name
		if d.mode == "new" then
			b("\t*%s = %s;\n\tid_%s = 0;", p, handle(d, "id_" .. p), p)
		elseif d.mode == "view" then
			b("\t*%s = %s;\n\tif (rep.%s == id_%s)\n\t\tid_%s = 0;", p, handle(d, "rep." .. p), p, p, p)
		elseif d.mode == "find" then b("\t*%s = %s;", p, handle(d, "rep." .. p))
		elseif d.mode == "drop" then b("\tagc_id_free(%s);", as_id(d, p))
		elseif d.mode == "out" and not d.count then b(d.nullable and "\tif (%s)\n\t\t*%s = rep.%s;"
			or "\t*%s = rep.%s;", p, p, d.nullable and p or nil)
		elseif d.mode == "out" then
			b("\tif (got + (size_t)%s * %d > tail + tail_bytes)\n\t\tgoto out;", d.count, d.type.size)
			b("\tif (%s)\n\t\tmemcpy(%s, got, (size_t)%s * %d);\n\tgot += TAIL(%s * %d);", d.count, p,
				d.count, d.type.size, d.count, d.type.size)
		elseif d.mode == "list" then
			b("\tif (%s) {\n\t\tif (got + filled * %d > tail + tail_bytes)\n\t\t\tgoto out;", p,
				element_bytes(d))
			b("\t\tmemcpy(%s, got, filled * %d);\n\t\tgot += TAIL(filled * %d);", p, element_bytes(d),
				element_bytes(d))
			b("\t\tmemset(%s + filled, 0, (cap - filled) * sizeof *%s);", p, p)
			if d.kind then b("\t\tmemset(offer_%s, 0, (rep.used_%s < cap ? rep.used_%s : cap) * 8);", p, p,
				p) end
			b("\t}")
		elseif d.mode == "count" then b("\t*%s = rep.%s;", p, p) end
	end
	if m.auto.auto.options.before then
		b("\tfor (uint32_t i = 0; i + 8 <= tail_bytes; i += 8) {\n\t\tag_id gone;\n" ..
			"\t\tmemcpy(&gone, tail + i, 8);\n\t\tagc_id_free(gone);\n\t}")
	end
end

local function call(b, g, m)
	local f = m.auto
	local has_ids = #m.new > 0
	for _, d in ipairs(m.lists) do has_ids = has_ids or d.kind ~= nil end
	local needs_out = has_ids
	for _, d in ipairs(f.auto.params) do needs_out = needs_out or (d.mode == "out" and d.count ~= nil) end
	b("CUresult call_%s(%s)\n{\n\tCUresult r = agc_current();\n\tif (r)\n\t\treturn r;", f.name, U.parameters(f))
	checks(b, m)
	list_checks(b, m)
	for _, d in ipairs(f.auto.params) do
		if d.mode == "stream" then
			b("\tag_id wire_%s;\n\tif (!agc_stream(%s, &wire_%s))\n\t\treturn CUDA_ERROR_INVALID_HANDLE;",
				d.name, d.name, d.name)
		end
	end
	if m.reply then b("\tstruct rep_%s rep;", f.name) end
	if m.rtail then b("\tuint8_t *tail = malloc(AG_REPLY_BYTES);\n\tuint32_t tail_bytes = AG_REPLY_BYTES;") end
	take_ids(b, g, m)
	if m.rtail then
		b(needs_out and "\tif (!tail) {\n\t\tr = CUDA_ERROR_OUT_OF_MEMORY;\n\t\tgoto out;\n\t}"
			or "\tif (!tail)\n\t\treturn CUDA_ERROR_OUT_OF_MEMORY;")
	end
	b("\tuint32_t bytes = %s;", tail_size(m))
	b("\tstruct msg_%s *m = agc_begin(AG_OP_%s, sizeof *m, bytes);", f.name, f.name)
	local jump = needs_out and "goto out" or m.rtail and "{\n\t\tfree(tail);\n\t\treturn agc_error();\n\t}" or nil
	if needs_out then
		b("\tif (!m) {\n\t\tr = agc_error();\n\t\tgoto out;\n\t}")
	elseif m.rtail then
		b("\tif (!m) {\n\t\tfree(tail);\n\t\treturn agc_error();\n\t}")
	else
		b("\tif (!m)\n\t\treturn agc_error();")
	end
	local _, extra = extras(m)
	local args = U.arguments(f)
	b("\tenc_%s(m%s%s);", f.name, args ~= "" and ", " .. args or "", #extra > 0 and ", " .. table.concat(extra,
		", ") or "")
	if not m.call then
		b("\treturn agc_post(m);\n}\n")
		return
	end
	b("\tr = agc_call(m, %s, %s, %s, %s);", m.reply_size > 0 and "&rep" or "NULL", m.reply_size > 0 and "sizeof rep"
		or "0", m.rtail and "tail" or "NULL",
		m.rtail and "&tail_bytes" or "NULL")
	if m.auto.auto.options.failed then b("\tif (r)\n\t\t%s;", m.auto.auto.options.failed) end
	if needs_out then b("\tif (r)\n\t\tgoto out;")
	else b("\tif (r)%s", m.rtail and " {\n\t\tfree(tail);\n\t\treturn r;\n\t}" or "\n\t\treturn r;") end
	if m.reply_size == 0 then b("\t(void)rep;") end
	results(b, g, m)
	if m.auto.auto.options.done then b("\t%s;", m.auto.auto.options.done) end
	if needs_out then b("out:") end
	give_back_ids(b, g, m)
	if m.rtail then b("\tfree(tail);") end
	b("\treturn r;\n}\n")
end

function T.file(g)
	local b = U.buffer()
	b(prelude)
	for _, m in ipairs(g.messages) do
		if m.auto then
			encode(b, m)
			call(b, g, m)
		end
	end
	return b:text()
end

return T
