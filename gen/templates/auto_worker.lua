-- auto_worker.lua -> worker_table.c: dec_X check_X invoke_X reply_X of every auto function.  The bytes come from a
-- client: dec_X bounds them, check_X judges every value and changes nothing, invoke_X translates ids and calls the
-- driver.
local U = require("gen.util")
local A = require("gen.auto")
local E = require("gen.expr")
local T = {}

local prelude = [[
/* Generated from cuda.h and api/cuda.lua: the worker's side of the functions that are generated from end to end.
 * dec_X splits the message's tail (bounds only), check_X judges it (AG_MALFORMED: no correct client sends it), invoke_X
 * acts. */
#include <string.h>
#include "driver.h"
#include "worker_calls.h"

#define TAIL(bytes) (((size_t)(bytes) + 7u) & ~(size_t)7u)

/* Arithmetic on a client's numbers. */
static inline uint64_t ag_add(bool *over, uint64_t a, uint64_t b)
{
	uint64_t r;
	*over |= __builtin_add_overflow(a, b, &r);
	return r;
}

static inline uint64_t ag_sub(bool *over, uint64_t a, uint64_t b)
{
	uint64_t r;
	*over |= __builtin_sub_overflow(a, b, &r);
	return r;
}

static inline uint64_t ag_mul(bool *over, uint64_t a, uint64_t b)
{
	uint64_t r;
	*over |= __builtin_mul_overflow(a, b, &r);
	return r;
}

/* Memory the session may name: of the device or of the host, inside its window. */
static inline bool range_ok(const struct session *s, uint64_t addr, uint64_t bytes)
{
	return session_covers(s, addr, bytes) || session_covers_host(s, addr, bytes);
}

/* The next `bytes` of a tail; NULL when it is shorter. */
static inline const void *take(const uint8_t **at, const uint8_t *end, size_t bytes)
{
	const uint8_t *p = *at;
	if ((size_t)(end - p) < TAIL(bytes))
		return NULL;
	*at = p + TAIL(bytes);
	return p;
}

/* Appends to the variable part of a reply, padded to 8; a null source only reserves. */
static inline bool give(struct ag_out *out, const void *bytes, size_t n)
{
	if (out->cap - out->len < TAIL(n))
		return false;
	if (n)
		memcpy(out->tail + out->len, bytes, n);
	memset(out->tail + out->len + n, 0, TAIL(n) - n);
	out->len += (uint32_t)TAIL(n);
	return true;
}

/* A session sees one device, as ordinal 0. */
static inline CUdevice real_device(struct session *s)
{
	CUdevice dev = 0;
	session_driver(s)->cuCtxGetDevice(&dev);
	return dev;
}

static inline CUcontext real_context(struct session *s)
{
	CUcontext ctx = NULL;
	session_driver(s)->cuCtxGetCurrent(&ctx);
	return ctx;
}
]]

-- --- enums and structs ----------------------------------------------------------------------------

local function c_name(name)
	return (name:gsub("^%a+ ", ""))
end

local function enum_function(b, e, mask)
	local seen, n = {}, 0
	b("static bool enum_%s(int64_t v)\n{", c_name(e.name))
	if mask then
		local all = 0
		for _, v in ipairs(e.values) do all = all | v.value end
		b("\treturn !(v & ~%dll);\n}\n", all)
		return
	end
	b("\tswitch (v) {")
	for _, v in ipairs(e.values) do
		if not seen[v.value] and not v.name:match("_MAX$") and not v.name:match("_FORCE_%w+$") then
			seen[v.value] = true
			b("\tcase %d:", v.value)
		end
	end
	b("\t\treturn true;\n\tdefault:\n\t\treturn false;\n\t}\n}\n")
end

local function field_type(model, record, path)
	local t
	for part in path:gmatch("[^%.]+") do
		local found
		for _, f in ipairs(record.fields) do
			if f.name == part then found = f.type end
		end
		if not found then return nil end
		t = found
		record = model.records[t.name or ""]
	end
	return t
end

-- Enum fields outside unions, as { path, enum name, count }.
local function enum_fields(model, record, prefix, list)
	for _, f in ipairs(record.fields) do
		local t, n = f.type, nil
		if t.k == "array" then t, n = t.of, t.n end
		if t.k == "enum" then list[#list + 1] = { prefix .. f.name, t.name, n } end
		if t.k == "record" and not n and model.records[t.name].kind == "struct" then
			enum_fields(model, model.records[t.name], prefix .. f.name .. ".", list)
		end
	end
	return list
end

-- What judging, translating and translating back struct `name` takes.
local function struct_plan(g, name)
	local model, rules = g.cuda, g.cuda.data.structs[name] or {}
	local record = model.records[name]
	local plan = { name = name, checks = {}, handles = {}, rules = rules }
	for _, e in ipairs(enum_fields(model, record, "", {})) do
		plan.checks[#plan.checks + 1] = { enum = e[2], path = e[1], n = e[3] }
	end
	for _, rule in ipairs(rules) do
		local path = rule[1]
		local t = path and field_type(model, record, path)
		if path and not t then U.fail("%s:%d: %s has no field %s", g.path, U.line_of(U.read(g.path), path),
			name, path) end
		local c = { path = path, when = rule.when, type = t }
		if rule.id then
			c.id = rule.id
			plan.handles[#plan.handles + 1] = c
			if not rule.out then plan.checks[#plan.checks + 1] = c end
		elseif rule.dev then
			c.dev = E.compile(rule.dev, g.path .. ": " .. name)
			c.host, c.host_when = rule.host, rule.host_when
			c.operands = {}
			for field in rule.dev:gmatch("v%->([%w_%.]+)") do
				local operand = field_type(model, record, field)
				if not operand then U.fail("%s: %s has no field %s", g.path, name, field) end
				if operand.size == 8 then c.operands[#c.operands + 1] = field end
			end
			plan.checks[#plan.checks + 1] = c
		elseif rule.null or rule.check then
			c.null, c.check = rule.null, rule.check
			plan.checks[#plan.checks + 1] = c
		elseif rule.enum then
			c.enum = t.name
			plan.checks[#plan.checks + 1] = c
		end
	end
	return plan
end
T.struct_plan = struct_plan

local function handle_value(t, value)
	return t.k == "ptr" and ("(uint64_t)(uintptr_t)%s"):format(value) or value
end

local function judge_function(b, plan)
	b("static CUresult judge_%s(const struct session *s, const %s *v)\n{\n\t(void)s;\n\t(void)v;",
		c_name(plan.name), plan.name)
	for _, c in ipairs(plan.checks) do
		local test
		local result = "CUDA_ERROR_INVALID_VALUE"
		if c.enum and c.n then
			for i = 0, c.n - 1 do b("\tif (!enum_%s(v->%s[%d]))\n\t\treturn CUDA_ERROR_INVALID_VALUE;",
				c_name(c.enum), c.path, i) end
		elseif c.enum then test = ("!enum_%s(v->%s)"):format(c_name(c.enum), c.path)
		elseif c.id then
			test = ("!session_has(s, AG_K_%s, %s)"):format(c.id, handle_value(c.type, "v->" .. c.path))
			result = "CUDA_ERROR_INVALID_HANDLE"
		elseif c.null then test = "v->" .. c.path
		elseif c.check then test = ("!(%s)"):format(c.check)
		elseif c.dev then
			local ok = ("range_ok(s, (uint64_t)v->%s, bytes)"):format(c.path)
			-- what the driver may read and write with the processor must be host memory
			if c.host then ok = ("(%s ? session_covers_host(s, (uint64_t)(uintptr_t)v->%s, bytes) : %s)")
				:format(c.host_when, c.host, ok) end
			b("\t%s{\n\t\tbool over = false;\n\t\tuint64_t bytes = %s;", c.when and "if (" .. c.when .. ") "
				or "", c.dev)
			b("\t\tif (over || !%s)\n\t\t\treturn CUDA_ERROR_INVALID_VALUE;\n\t}", ok)
		end
		if test then
			if c.when then test = ("(%s) && %s"):format(c.when, test) end
			b("\tif (%s)\n\t\treturn %s;", test, result)
		end
	end
	b("\treturn CUDA_SUCCESS;\n}\n")
end

local function translate_functions(b, plan, used)
	if #plan.handles == 0 then return end
	if used.real[plan.name] then
		b("static void real_%s(struct session *s, %s *v)\n{", c_name(plan.name), plan.name)
		for _, h in ipairs(plan.handles) do
			if h.when then b("\tif (%s)", h.when) end
			b("%s\tv->%s = session_get(s, AG_K_%s, (ag_id)(uintptr_t)v->%s);", h.when and "\t" or "",
				h.path, h.id, h.path)
		end
		b("}\n")
	end
	if used.ids[plan.name] then
		b("static void ids_%s(const struct session *s, %s *v)\n{", c_name(plan.name), plan.name)
		for _, h in ipairs(plan.handles) do
			if h.when then b("\tif (%s)", h.when) end
			b("%s\tv->%s = (void *)(uintptr_t)session_find(s, AG_K_%s, v->%s);", h.when and "\t" or "",
				h.path, h.id, h.path)
		end
		b("}\n")
	end
end

-- Which enums and structs the auto functions need.
local function collect(g)
	local enums, judged, real, ids = {}, {}, {}, {}
	for _, m in ipairs(g.messages) do
		for _, d in ipairs(m.auto and m.auto.auto.params or {}) do
			if d.mode == "enum" or d.mode == "mask" or (d.mode == "in" and d.type.k == "enum")
				then enums[d.type.name] = true end
			if d.type.k == "record" and d.mode == "in" then judged[d.type.name], real[d.type.name] = true,
				true end
			if d.type.k == "record" and (d.mode == "out" or d.mode == "list")
				then ids[d.type.name] = true end
		end
	end
	local plans = {}
	for name in pairs(judged) do plans[name] = true end
	for name in pairs(ids) do plans[name] = true end
	local list = {}
	for _, name in ipairs(U.sorted(plans)) do
		local plan = struct_plan(g, name)
		plan.judged = judged[name]
		if plan.judged then
			for _, c in ipairs(plan.checks) do
				if c.enum then enums[c.enum] = true end
			end
		end
		list[#list + 1] = plan
	end
	return enums, list, { real = real, ids = ids }
end

-- --- one function -----------------------------------------------------------------------------------

local function decode(b, m)
	local f = m.auto
	b("struct arg_%s {", f.name)
	local any = false
	for _, d in ipairs(f.auto.params) do
		if d.tail then
			local t = d.kind and "uint64_t" or d.mode == "string" and "char" or d.type.spell:gsub("^const ",
				"")
			b("\tconst %s *%s;", t, d.name)
			any = true
		end
	end
	if not any then b("\tint none;") end
	b("};\n")
	b("static bool dec_%s(const struct msg_%s *m, const void *tail, uint32_t ntail, struct arg_%s *a)\n{", f.name,
		f.name, f.name)
	b("\tconst uint8_t *at = tail, *end = at + ntail;\n\t(void)m;\n\tmemset(a, 0, sizeof *a);")
	for _, d in ipairs(f.auto.params) do
		local p = d.name
		if d.tail and d.mode == "string" then
			b("\tif (!m->len_%s || m->len_%s > %d || !(a->%s = take(&at, end, m->len_%s)) || " ..
				"a->%s[m->len_%s - 1])\n\t\treturn false;", p, p,
				A.max_string, p, p, p, p)
		elseif d.tail and d.mode == "list" then
			b("\tif (m->%s > %d || (m->has_%s && !(a->%s = take(&at, end, m->%s * 8))))\n\t\treturn false;",
				d.rest, m.list_cap, p, p, d.rest)
		elseif d.tail then
			b("\tif (m->%s > %d || (%s!(a->%s = take(&at, end, m->%s * %d))))\n\t\treturn false;", d.count,
				A.max_elements,
				d.nullable and ("m->has_%s && "):format(p) or "", p, d.count,
					d.kind and 8 or d.type.size)
		elseif d.mode == "out" and d.count then
			b("\tif (m->%s > %d)\n\t\treturn false;", d.count, A.max_elements)
		elseif d.mode == "list" then
			b("\tif (m->%s > %d)\n\t\treturn false;", d.rest, m.list_cap)
		end
	end
	b("\treturn at == end;\n}\n")
end

local function check(b, m, plans)
	local f = m.auto
	b("static CUresult check_%s(const struct session *s, const struct msg_%s *m, const void *tail, uint32_t " ..
		"ntail)\n{", f.name, f.name)
	b("\tstruct arg_%s a;\n\tif (!dec_%s(m, tail, ntail, &a))\n\t\treturn AG_MALFORMED;\n\t(void)s;", f.name,
		f.name)
	local function unless(test, result) b("\tif (%s)\n\t\treturn %s;", test, result) end
	-- First what no correct client sends, then values, then handles and addresses.
	for _, d in ipairs(f.auto.params) do
		local p = d.name
		if d.mode == "new" or d.mode == "view" then
			unless(("!session_id_free(s, AG_K_%s, m->%s)"):format(d.kind, p), "AG_MALFORMED")
		elseif d.mode == "list" and d.kind then
			b("\tfor (uint64_t i = 0; a.%s && i < m->%s; i++)\n" ..
				"\t\tif (!session_id_free(s, AG_K_%s, a.%s[i]))\n\t\t\treturn AG_MALFORMED;", p, d.rest,
				d.kind, p)
		end
	end
	for _, d in ipairs(f.auto.params) do
		local p = d.name
		if d.mode == "enum" or d.mode == "mask" then unless(("!enum_%s(m->%s)"):format(c_name(d.type.name), p),
			"CUDA_ERROR_INVALID_VALUE")
		elseif d.mode == "device" then unless(("m->%s != 0"):format(p), "CUDA_ERROR_INVALID_DEVICE")
		elseif d.mode == "stream" then unless(("!session_stream_ok(s, m->%s)"):format(p),
			"CUDA_ERROR_INVALID_HANDLE")
		elseif (d.mode == "id" or d.mode == "drop") then
			unless(("%s!session_has(s, AG_K_%s, m->%s)"):format(d.nullable and "m->" .. p .. " && " or "",
				d.kind, p), "CUDA_ERROR_INVALID_HANDLE")
		elseif d.mode == "dev" then
			b("\t{\n\t\tbool over = false;\n\t\tuint64_t bytes = %s;", d.expr)
			b("\t\tif (over || !range_ok(s, m->%s, bytes))\n\t\t\treturn CUDA_ERROR_INVALID_VALUE;\n\t}", p)
		elseif d.mode == "in" and d.count and d.kind then
			b("\tfor (uint64_t i = 0; a.%s && i < m->%s; i++)\n" ..
				"\t\tif (!session_has(s, AG_K_%s, a.%s[i]))\n" ..
					"\t\t\treturn CUDA_ERROR_INVALID_HANDLE;", p,
				d.count, d.kind, p)
		elseif d.mode == "in" and d.count and d.type.k == "enum" then
			b("\tfor (uint64_t i = 0; a.%s && i < m->%s; i++)\n\t\tif (!enum_%s((int64_t)a.%s[i]))\n" ..
				"\t\t\treturn CUDA_ERROR_INVALID_VALUE;", p, d.count,
				c_name(d.type.name), p)
		elseif d.mode == "in" and d.type.k == "record" and plans[d.type.name] then
			local judge = "judge_" .. c_name(d.type.name)
			if d.count then
				b("\tfor (uint64_t i = 0; a.%s && i < m->%s; i++) {\n" ..
					"\t\tCUresult r = %s(s, a.%s + i);\n\t\tif (r)\n\t\t\treturn r;\n" ..
						"\t}", p, d.count, judge, p)
			else
				b("\t%s{\n\t\tCUresult r = %s(s, &m->%s);\n\t\tif (r)\n\t\t\treturn r;\n\t}",
					d.nullable and ("if (m->has_%s) "):format(p) or "", judge, p)
			end
		end
	end
	b("\treturn CUDA_SUCCESS;\n}\n")
end

local function real_handle(d, value)
	local get = ("session_get(s, AG_K_%s, %s)"):format(d.kind, value)
	return d.type.k == "ptr" and get or ("(%s)(uintptr_t)%s"):format(d.type.spell, get)
end

local function bare(t)
	return (t.spell:gsub("^const ", ""))
end

-- Locals that hold translated inputs and outputs; returns the driver's arguments.
local function prepare(b, m, plans)
	local args = {}
	for i, d in ipairs(m.auto.auto.params) do
		local p = d.name
		local arg = "m->" .. p
		if d.mode == "enum" or d.mode == "mask" then arg = ("(%s)m->%s"):format(bare(d.type), p)
		elseif d.mode == "device" then arg = "real_device(s)"
		elseif d.mode == "context" then arg = "real_context(s)"
		elseif d.mode == "stream" then arg = ("session_stream(s, m->%s)"):format(p)
		elseif d.mode == "dev" then arg = ("(%s)%sm->%s"):format(bare(d.type),
			d.type.k == "ptr" and "(uintptr_t)" or "", p)
		elseif d.mode == "id" or d.mode == "drop" then arg = real_handle(d, "m->" .. p)
		elseif d.mode == "new" or d.mode == "view" or d.mode == "find" then
			b("\t%s v_%s = 0;", bare(d.type), p)
			arg = "&v_" .. p
		elseif d.mode == "string" then arg = "a." .. p
		elseif d.mode == "out" and d.count then
			b("\t%s v_%s[%d];\n\tmemset(v_%s, 0, sizeof v_%s);", bare(d.type), p, A.max_elements, p, p)
			arg = "v_" .. p
		elseif d.mode == "out" then
			b("\t%s v_%s;\n\tmemset(&v_%s, 0, sizeof v_%s);", bare(d.type), p, p, p)
			arg = "&v_" .. p
		elseif d.mode == "in" and d.count and d.kind then
			b("\t%s v_%s[%d];\n\tfor (uint64_t i = 0; a.%s && i < m->%s; i++)\n\t\tv_%s[i] = %s;",
				bare(d.type), p, A.max_elements, p, d.count, p,
				real_handle(d, ("a.%s[i]"):format(p)))
			arg = ("a.%s && m->%s ? v_%s : NULL"):format(p, d.count, p)
		elseif d.mode == "in" and d.count then arg = ("m->%s ? a.%s : NULL"):format(d.count, p)
		elseif d.mode == "in" then
			b("\t%s v_%s = m->%s;", bare(d.type), p, p)
			if plans[d.type.name] and #plans[d.type.name].handles > 0 then b("\treal_%s(s, &v_%s);",
				c_name(d.type.name), p) end
			arg = (d.nullable and ("m->has_%s ? &v_%s : NULL"):format(p, p)) or "&v_" .. p
		elseif d.mode == "list" then
			b("\t%s v_%s[%d];", bare(d.type), p, m.list_cap)
			arg = ("m->has_%s ? v_%s : NULL"):format(p, p)
		elseif d.mode == "count" then
			b("\tsize_t v_%s = m->%s;", p, p)
			arg = "&v_" .. p
		end
		args[i] = arg
	end
	return table.concat(args, ", ")
end

local function dropped(m)
	for _, d in ipairs(m.auto.auto.params) do
		if d.mode == "drop" then return d end
	end
end

-- Objects created or seen for the first time enter the table.
local function register(b, g, m)
	local options = m.auto.auto.options
	for _, d in ipairs(m.auto.auto.params) do
		local p = d.name
		local real = d.type.k == "ptr" and "v_" .. p or ("(void *)(uintptr_t)v_%s"):format(p)
		if d.mode == "new" then
			local destroy = g.cuda.data.destroy[d.kind]
			if not destroy then U.fail("%s: %s creates a %s, which M.destroy does not know", g.path, m.name,
				d.kind) end
			b("\tr = v_%s ? session_put(s, AG_K_%s, m->%s, %s) : CUDA_ERROR_UNKNOWN;", p, d.kind, p, real)
			if options.after then
				b("\tif (!r) {\n\t\tr = %s(s, m->%s, v_%s);\n\t\tif (r)\n" ..
					"\t\t\tsession_drop(s, AG_K_%s, m->%s);\n\t}", options.after, p, p, d.kind, p)
			end
			b("\tif (r) {\n\t\tif (v_%s)\n\t\t\tsession_driver(s)->%s(v_%s);\n\t\treturn r;\n\t}", p,
				destroy, p)
		elseif d.mode == "view" then
			b("\trep->%s = session_find(s, AG_K_%s, %s);", p, d.kind, real)
			b("\tif (!rep->%s && v_%s) {\n\t\tr = session_put(s, AG_K_%s, m->%s, %s);\n\t\tif (r)\n" ..
				"\t\t\treturn r;\n\t\trep->%s = m->%s;\n\t}", p, p, d.kind, p,
				real, p, p)
		elseif d.mode == "drop" then b("\tsession_drop(s, AG_K_%s, m->%s);", d.kind, p) end
	end
end

local function reply(b, m, plans)
	for _, d in ipairs(m.auto.auto.params) do
		local p = d.name
		local plan = d.type.k == "record" and plans[d.type.name]
		local translate = plan and #plan.handles > 0
		if d.mode == "find" then b("\trep->%s = v_%s ? session_find(s, AG_K_%s, v_%s) : 0;", p, p, d.kind, p)
		elseif d.mode == "out" and not d.count then
			if translate then b("\tids_%s(s, &v_%s);", c_name(d.type.name), p) end
			b("\trep->%s = v_%s;", p, p)
		elseif d.mode == "out" then
			b("\tif (!give(out, v_%s, (size_t)m->%s * sizeof *v_%s))\n\t\treturn CUDA_ERROR_UNKNOWN;", p,
				d.count, p)
		elseif d.mode == "count" then b("\trep->%s = v_%s;", p, p)
		elseif d.mode == "list" and d.kind then
			b("\tuint64_t w_%s[%d];\n\trep->used_%s = 0;", p, m.list_cap, p)
			b("\tfor (uint64_t i = 0; m->has_%s && i < v_%s && i < m->%s; i++) {\n" ..
				"\t\tw_%s[i] = session_find(s, AG_K_%s, v_%s[i]);", p, d.rest, d.rest, p,
				d.kind, p)
			b("\t\tif (!w_%s[i]) {\n\t\t\tr = session_put(s, AG_K_%s, a.%s[rep->used_%s], v_%s[i]);\n" ..
				"\t\t\tif (r)\n\t\t\t\treturn r;", p, d.kind, p, p, p)
			b("\t\t\tw_%s[i] = a.%s[rep->used_%s++];\n\t\t}\n\t}", p, p, p)
		end
	end
	for _, d in ipairs(m.lists) do
		b("\tif (m->has_%s && !give(out, %s_%s, (size_t)(v_%s < m->%s ? v_%s : m->%s) * sizeof *%s_%s))\n" ..
			"\t\treturn CUDA_ERROR_UNKNOWN;", d.name,
			d.kind and "w" or "v", d.name, d.rest, d.rest, d.rest, d.rest, d.kind and "w" or "v", d.name)
	end
end

local function invoke(b, g, m, plans)
	local f = m.auto
	local options = f.auto.options
	b("static CUresult invoke_%s(struct session *s, const struct msg_%s *m, const void *tail, uint32_t ntail, " ..
		"%s, struct ag_out *out)\n{", f.name,
		f.name, m.reply and "struct rep_" .. f.name .. " *rep" or "void *rep")
	b("\tstruct arg_%s a;\n\tdec_%s(m, tail, ntail, &a);\n\t(void)a;\n\t(void)rep;\n\t(void)out;", f.name, f.name)
	local args = prepare(b, m, plans)
	b("\tCUresult r;")
	if options.room then b("\tr = %s;\n\tif (r)\n\t\treturn r;", options.room) end
	local drop = dropped(m)
	if options.before and drop then
		b("\tr = %s(s, %s, out);\n\tif (r && (int)r != AG_LATER)\n\t\treturn r;", options.before,
			real_handle(drop, "m->" .. drop.name))
		b("\tr = r ? CUDA_SUCCESS : session_driver(s)->%s(%s);", f.name, args)
	else
		b("\tr = session_driver(s)->%s(%s);", f.name, args)
	end
	b("\tif (r)\n\t\treturn r;")
	register(b, g, m)
	reply(b, m, plans)
	b("\treturn CUDA_SUCCESS;\n}\n")
end

function T.file(g)
	local b = U.buffer()
	b(prelude)
	local enums, list, used = collect(g)
	local hooks = {}
	for _, m in ipairs(g.messages) do
		local f = m.auto
		for _, d in ipairs(f and f.auto.params or {}) do
			local o = f.auto.options
			if d.mode == "new" and o.after
				then hooks[o.after] =
				("CUresult %s(struct session *s, ag_id id, %s real);"):format(o.after, bare(d.type)) end
			if d.mode == "drop" and o.before then
				hooks[o.before] =
					("CUresult %s(struct session *s, %s real, struct ag_out " ..
						"*out);"):format(o.before, bare(d.type))
			end
		end
	end
	b("/* Hand-written (worker/limits.c): may the session's graphs have so many more nodes and edges? */")
	b("CUresult graph_room(struct session *s, uint64_t units);")
	b("CUresult graph_room_copy(struct session *s, ag_id graph);")
	b("CUresult graph_room_child(struct session *s, ag_id graph, uint64_t edges);")
	b("CUresult graph_room_exec(struct session *s, ag_id graph);")
	b("/* Hand-written (worker/objects.c): after a creation, before a destruction; a failure undoes the first, " ..
		"prevents the second.\n" ..
		" * Ids that vanish with a destroyed object are appended to out. */")
	for _, name in ipairs(U.sorted(hooks)) do b(hooks[name]) end
	b("")
	for _, name in ipairs(U.sorted(enums)) do enum_function(b, g.cuda.enums[name], g.cuda.data.masks[name]) end
	local plans = {}
	for _, plan in ipairs(list) do
		plans[plan.name] = plan
		if plan.judged then judge_function(b, plan) end
		translate_functions(b, plan, used)
	end
	for _, m in ipairs(g.messages) do
		if m.auto then
			decode(b, m)
			check(b, m, plans)
			invoke(b, g, m, plans)
			b:raw(("static CUresult judge_op_%s(const struct session *s, const void *m, const void " ..
				"*tail, uint32_t ntail)\n{\n" ..
				"\treturn check_%s(s, m, tail, ntail);\n}\n\n"):format(m.name, m.name))
			b:raw(("static CUresult act_op_%s(struct session *s, const void *m, const void *tail, " ..
				"uint32_t ntail, void *rep, struct ag_out *out)\n{\n" ..
				"\treturn invoke_%s(s, m, tail, ntail, rep, out);\n}\n\n"):format(m.name, m.name))
		end
	end
	return b:text()
end

return T
