-- auto_test.lua -> tests/auto_test.c: for every auto function: a round trip through the client's and the worker's
-- generated code onto a recording driver, the predicted size, truncation, corruption, and the refusal of each bad enum,
-- handle, id, address and count.
local U = require("gen.util")
local A = require("gen.auto")
local worker = require("gen.templates.auto_worker")
local T = {}

local COUNT = 2              -- elements of sample arrays
local LIST = 3               -- entries the fake driver has for a list

local function bare(t)
	return (t.spell:gsub("^const ", ""))
end

local function first_value(g, enum)
	return g.cuda.enums[enum].values[1].value
end

-- Is this value parameter the length of an array?
local function is_count(m, name)
	for _, d in ipairs(m.auto.auto.params) do
		if d.count == name then return true end
	end
end

local function variants(g, m)
	local n, nullable = 1, false
	for _, d in ipairs(m.auto.auto.params) do
		local rules = d.mode == "in" and d.type.k == "record" and g.cuda.data.structs[d.type.name]
		n = math.max(n, rules and #(rules.samples or { "" }) or 1)
		nullable = nullable or d.nullable
	end
	return n, nullable
end

-- Functions sample_S(v, variant) for structs: a valid value.
local function struct_samples(b, g, plans)
	for _, name in ipairs(U.sorted(plans)) do
		local plan = plans[name]
		local c = name:gsub("^%a+ ", "")
		b("static %s sample_%s(int variant)\n{\n\t%s v;\n\tmemset(&v, 0, sizeof v);\n\t(void)variant;", name, c,
			name)
		for _, e in ipairs(plan.checks) do
			if e.enum and not e.when then
				for i = 0, (e.n or 1) - 1 do
					b("\tv.%s%s = %d;", e.path, e.n and "[" .. i .. "]" or "",
						first_value(g, e.enum))
				end
			end
		end
		local samples = plan.rules.samples or {}
		for i, s in ipairs(samples) do
			b("\tif (variant %% %d == %d) {\n\t\t%s\n\t}", #samples, i - 1, s)
		end
		b("\treturn v;\n}\n")
		b("static %s real_sample_%s(int variant)\n{\n\t%s w = sample_%s(variant), *v = &w;", name, c, name, c)
		for _, h in ipairs(plan.handles) do
			b("\tif (%s)\n\t\tv->%s = (void *)real_of(AG_K_%s);", h.when or "1", h.path, h.id)
		end
		b("\treturn *v;\n}\n")
	end
end

local function handle_cast(d, value)
	return d.type.k == "ptr" and ("(%s)(uintptr_t)(%s)"):format(bare(d.type),
		value) or ("(%s)(%s)"):format(bare(d.type), value)
end

local function number(d, v)
	return d.type.k == "float" and v .. ".0f" or tostring(v)
end

local function element(g, d, i, real)
	if d.kind then return handle_cast(d, real and ("(uintptr_t)real_of(AG_K_%s)"):format(d.kind)
		or ("sample_id(AG_K_%s)"):format(d.kind)) end
	if d.type.k == "enum" then return ("(%s)%d"):format(bare(d.type), first_value(g, d.type.name)) end
	if d.type.k == "record" then return ("%s_%s(variant)"):format(real and "real_sample" or "sample",
		(d.type.name:gsub("^%a+ ", ""))) end
	return tostring(40 + i)
end

-- --- the recording driver ---------------------------------------------------------------------------

local function fake(b, g, m)
	local f = m.auto
	b("static CUresult fake_%s(%s)\n{\n\tcalls++;\n\tif (!strict)\n\t\tgoto answer;", f.name, U.parameters(f))
	for _, d in ipairs(f.auto.params) do
		local p = d.name
		local function expect(test) b("\texpect(%s, \"the driver got another %s\");", test, p) end
		if d.mode == "value" then expect(("%s == %s"):format(p, is_count(m, p) and COUNT or number(d, 1)))
		elseif d.mode == "enum" then expect(("(int)%s == %d"):format(p, first_value(g, d.type.name)))
		elseif d.mode == "mask" then expect(("(int)%s == 0"):format(p))
		elseif d.mode == "device" then expect(p .. " == 5")
		elseif d.mode == "context" then expect(p .. " == (CUcontext)0xc0")
		elseif d.mode == "stream" then expect(p .. " == (CUstream)0x77")
		elseif d.mode == "id" or d.mode == "drop" then
			expect(("%s == %s"):format(p, handle_cast(d, ("(uintptr_t)real_of(AG_K_%s)"):format(d.kind))))
		elseif d.mode == "string" then expect(("!strcmp(%s, \"sample\")"):format(p))
		elseif d.mode == "dev" then expect(("(uint64_t)%s == SAMPLE_ADDRESS"):format(p))
		elseif d.mode == "in" and d.count then
			local guard = d.nullable and ("with_null ? !%s : "):format(p) or ""
			for i = 0, COUNT - 1 do
				if d.type.k == "record" then
					b("\t{\n\t\t%s want = %s;", bare(d.type), element(g, d, i, true))
					expect(("%s!memcmp(&want, %s + %d, sizeof want)"):format(guard, p, i))
					b("\t}")
				else
					expect(("%s%s[%d] == %s"):format(guard, p, i, element(g, d, i, true)))
				end
			end
		elseif d.mode == "in" then
			b("\t{\n\t\t%s want = %s;", bare(d.type), element(g, d, 0, true))
			expect(("%s!memcmp(&want, %s, sizeof want)"):format(d.nullable
				and ("with_null ? !%s : "):format(p) or "", p))
			b("\t}")
		end
	end
	b("answer:")
	for _, d in ipairs(f.auto.params) do
		local p = d.name
		if d.mode == "new" then b("\t*%s = %s;", p, handle_cast(d, "0xabc0"))
		elseif d.mode == "view" then b("\t*%s = %s;", p, handle_cast(d, "0xabd0"))
		elseif d.mode == "find" then b("\t*%s = %s;", p,
			handle_cast(d, ("(uintptr_t)real_of(AG_K_%s)"):format(d.kind)))
		elseif d.mode == "out" and d.count
			then b("\tfor (size_t i = 0; i < (size_t)%s; i++)\n\t\t%s[i] = %d + (int)i;", d.count, p, 70)
		elseif d.mode == "out" and d.type.k == "record" then
			b("\t{\n\t\t%s v = %s;\n\t\t*%s = v;\n\t}", bare(d.type), element(g, d, 0, true), p)
		elseif d.mode == "out" then b("\t*%s = 7;", p)
		elseif d.mode == "list" then
			b("\tfor (size_t i = 0; %s && i < *%s && i < %d; i++) {", p, d.rest, LIST)
			if d.kind then b("\t\t%s[i] = i ? %s : %s;", p, handle_cast(d, "0xabe0 + i"),
				handle_cast(d, ("(uintptr_t)real_of(AG_K_%s)"):format(d.kind)))
			else b("\t\tmemset(%s + i, 0, sizeof *%s);", p, p) end
			b("\t}")
		elseif d.mode == "count" then b("\t*%s = %d;", p, LIST) end
		if d.mode == "id" or d.mode == "drop" or d.mode == "value" or d.mode == "enum" or d.mode == "mask"
			or d.mode == "device" or d.mode == "context"
			or d.mode == "stream" or d.mode == "dev" or d.mode == "in" or d.mode == "string"
				then b("\t(void)%s;", p) end
	end
	b("\treturn CUDA_SUCCESS;\n}\n")
end

-- --- one function's test ------------------------------------------------------------------------------

-- Arguments of the round trip: declares what they need, returns their list.
local function arguments(b, g, m)
	local args = {}
	for i, d in ipairs(m.auto.auto.params) do
		local p = d.name
		local arg = "a_" .. p
		if d.mode == "value" then arg = is_count(m, p) and tostring(COUNT) or number(d, 1)
		elseif d.mode == "enum" then arg = ("(%s)%d"):format(bare(d.type), first_value(g, d.type.name))
		elseif d.mode == "mask" or d.mode == "device" then arg = "0"
		elseif d.mode == "context" then arg = "(CUcontext)1"
		elseif d.mode == "stream" then arg = "NULL"
		elseif d.mode == "dev" then arg = ("(%s)SAMPLE_ADDRESS"):format(bare(d.type))
		elseif d.mode == "id" or d.mode == "drop" then arg = handle_cast(d,
			("sample_id(AG_K_%s)"):format(d.kind))
		elseif d.mode == "string" then arg = '"sample"'
		elseif d.mode == "in" then
			local n = d.count and COUNT or 1
			local values = {}
			for k = 0, n - 1 do values[k + 1] = element(g, d, k, false) end
			b("\t%s a_%s[] = { %s };", bare(d.type), p, table.concat(values, ", "))
			if d.nullable then arg = ("with_null ? NULL : a_%s"):format(p) end
		elseif d.mode == "count" then
			b("\tsize_t a_%s = %d;", p, LIST)
			arg = "&a_" .. p
		else
			local n = d.mode == "list" and LIST or d.count and COUNT or 1
			b("\t%s a_%s[%d];\n\tmemset(a_%s, 0, sizeof a_%s);", bare(d.type), p, n, p, p)
		end
		args[i] = arg
	end
	return table.concat(args, ", ")
end

local function results(b, g, m, plans)
	for _, d in ipairs(m.auto.auto.params) do
		local p = d.name
		local function expect(test, what) b("\texpect(%s, \"%s\");", test, what) end
		if d.mode == "new" or d.mode == "view" then
			b("\texpect(session_get(&fake, AG_K_%s, (ag_id)(uintptr_t)a_%s[0]) == (void *)%s, \"%s is " ..
				"not registered\");", d.kind, p,
				d.mode == "new" and "0xabc0" or "0xabd0", p)
		elseif d.mode == "find" then expect(("(ag_id)(uintptr_t)a_%s[0] == sample_id(AG_K_%s)"):format(p,
			d.kind), p .. " is not the object's id")
		elseif d.mode == "drop" then
			expect(("!session_has(&fake, AG_K_%s, sample_id(AG_K_%s))"):format(d.kind, d.kind),
				p .. " is still registered")
			expect(("(uint32_t)freed_id == (uint32_t)sample_id(AG_K_%s)"):format(d.kind),
				"the client keeps the id of " .. p)
		elseif d.mode == "out" and d.count then
			for i = 0, COUNT - 1 do expect(("(int)a_%s[%d] == %d"):format(p, i, 70 + i),
				p .. " differs") end
		elseif d.mode == "out" and d.type.k == "record" then
			b("\t{\n\t\t%s want = sample_%s(variant);", bare(d.type), (d.type.name:gsub("^%a+ ", "")))
			for _, h in ipairs(plans[d.type.name].handles) do
				b("\t\t%s *v = &want;\n\t\tif (%s)\n\t\t\tv->%s = SAMPLE(%s);", bare(d.type),
					h.when or "1", h.path, h.id)
				break
			end
			for i = 2, #plans[d.type.name].handles do
				local h = plans[d.type.name].handles[i]
				b("\t\tif (%s)\n\t\t\tv->%s = SAMPLE(%s);", h.when or "1", h.path, h.id)
			end
			expect("!memcmp(&want, a_" .. p .. ", sizeof want)", p .. " differs")
			b("\t}")
		elseif d.mode == "out" then expect(("a_%s[0] == 7"):format(p), p .. " differs")
		elseif d.mode == "count" then expect(("a_%s == %d"):format(p, LIST), p .. " differs")
		elseif d.mode == "list" and d.kind then
			expect(("(ag_id)(uintptr_t)a_%s[0] == sample_id(AG_K_%s)"):format(p, d.kind),
				p .. "[0] is not the object's id")
			for i = 1, LIST - 1 do
				expect(("session_get(&fake, AG_K_%s, (ag_id)(uintptr_t)a_%s[%d]) == (void " ..
					"*)(uintptr_t)(0xabe0 + %d)"):format(d.kind, p, i, i),
					p .. ": a new object is not registered")
			end
		end
	end
end

local function padded(n)
	return (n + 7) // 8 * 8
end

-- Offsets of the arrays in the sample message's tail, and its length, without and with the nullable ones left out.
local function tail_layout(m, with_null)
	local at, offsets = 0, {}
	for _, d in ipairs(m.auto.auto.params) do
		if d.tail and not (with_null and d.nullable) then
			offsets[d.name] = at
			local bytes = d.mode == "string" and 7 or (d.mode == "list" and LIST or COUNT) * (d.kind and 8
				or d.type.size)
			at = at + padded(bytes)
		end
	end
	return at, offsets
end

local function refusals(b, g, m, plans)
	local _, offsets = tail_layout(m, false)
	local function refuse(set, want, what)
		b("\tset_up();\n\tm = copy_of_sent();\n\t%s;\n\tjudge(%s, \"%s\");", set, want, what)
	end
	for _, d in ipairs(m.auto.auto.params) do
		local p = d.name
		if d.mode == "enum" or d.mode == "mask" then refuse(("m->%s = 0x7fffff33"):format(p),
			"CUDA_ERROR_INVALID_VALUE", "bad value of " .. p)
		elseif d.mode == "device" then refuse(("m->%s = 1"):format(p), "CUDA_ERROR_INVALID_DEVICE", "bad " .. p)
		elseif d.mode == "stream" then refuse(("m->%s = 12345"):format(p), "CUDA_ERROR_INVALID_HANDLE",
			"bad " .. p)
		elseif d.mode == "id" or d.mode == "drop" then
			if not d.nullable then refuse(("m->%s = 0"):format(p), "CUDA_ERROR_INVALID_HANDLE",
				"null " .. p) end
			refuse(("m->%s += 1ull << 32"):format(p), "CUDA_ERROR_INVALID_HANDLE", "stale " .. p)
			refuse(("m->%s = sample_id(AG_K_%s)"):format(p, d.kind == "EVENT" and "STREAM" or "EVENT"),
				"CUDA_ERROR_INVALID_HANDLE", p .. " of another kind")
		elseif d.mode == "new" or d.mode == "view" then
			refuse(("m->%s = sample_id(AG_K_%s)"):format(p, d.kind), "AG_MALFORMED",
				"the id of " .. p .. " is taken")
			refuse(("m->%s = AG_ID(AG_K_LINK, 9, 40)"):format(p), "AG_MALFORMED",
				"the id of " .. p .. " is of another kind")
		elseif d.mode == "dev" then
			for _, bad in ipairs { "8", "WINDOW_END - 1", "~0ull - 8" } do
				refuse(("m->%s = %s"):format(p, bad), "CUDA_ERROR_INVALID_VALUE",
					p .. " outside the window")
			end
		elseif d.mode == "in" and d.count and d.kind then
			refuse(("*(uint64_t *)((uint8_t *)(m + 1) + %d) += 1ull << 32"):format(offsets[p]),
				"CUDA_ERROR_INVALID_HANDLE", "stale element of " .. p)
		elseif d.mode == "in" and d.count and d.type.k == "enum" then
			refuse(("*(int32_t *)((uint8_t *)(m + 1) + %d) = 0x7fffff33"):format(offsets[p]),
				"CUDA_ERROR_INVALID_VALUE", "bad element of " .. p)
		elseif d.mode == "list" and d.kind then
			refuse(("*(uint64_t *)((uint8_t *)(m + 1) + %d) = sample_id(AG_K_%s)"):format(offsets[p],
				d.kind), "AG_MALFORMED", "an id offered for " .. p .. " is taken")
		elseif d.mode == "string" then
			refuse(("((char *)(m + 1))[%d] = 'x'"):format(offsets[p] + 6), "AG_MALFORMED",
				p .. " does not end")
		end
		if d.mode == "count" or (d.mode == "value" and is_count(m, p)) then
			local bits = d.mode == "count" and 64 or d.type.size * 8
			refuse(("m->%s = %s"):format(p, bits == 64 and "1ull << 61" or "0x7fffffff"), "AG_MALFORMED",
				p .. " beyond the message")
		end
		if d.mode == "in" and not d.count and d.type.k == "record" then
			b("\tfor (variant = 0; variant < %d; variant++) {", variants(g, m))
			local v = "m->" .. p
			local function mutate(when, set, want, what)
				b("\t\tset_up();\n\t\tm = copy_of_sent();\n\t\t%s = sample_%s(variant);\n\t\t{\n" ..
					"\t\t\t%s *v = &%s;", v, (d.type.name:gsub("^%a+ ", "")), bare(d.type), v)
				b("\t\t\t(void)v;\n\t\t\tif (%s) {\n\t\t\t\t%s;\n\t\t\t\tjudge(%s, \"%s\");\n" ..
					"\t\t\t}\n\t\t}", when or "1", set, want, what)
			end
			for _, c in ipairs(plans[d.type.name].checks) do
				local what = p .. "." .. (c.path or "")
				if c.enum then mutate(c.when, ("v->%s%s = 0x7fffff33"):format(c.path,
					c.n and "[0]" or ""), "CUDA_ERROR_INVALID_VALUE", "bad value of " .. what)
				elseif c.id then mutate(c.when,
					("v->%s = (void *)((uintptr_t)v->%s + (1ull << 32))"):format(c.path, c.path),
					"CUDA_ERROR_INVALID_HANDLE", "stale " .. what)
				elseif c.null then mutate(c.when, ("v->%s = (void *)8"):format(c.path),
					"CUDA_ERROR_INVALID_VALUE", what .. " is not null")
				elseif c.dev then
					for _, bad in ipairs { "8", "WINDOW_END - 1", "~0ull - 8" } do
						local set = ("v->%s = %s"):format(c.path, bad)
						if c.host then
							set =
								("if (%s)\n\t\t\t\t\tv->%s = (void " ..
									"*)(uintptr_t)(%s);\n" ..
										""):format(c.host_when, c.host, bad) ..
								"\t\t\t\telse\n\t\t\t\t\t" .. set
						end
						mutate(c.when, set, "CUDA_ERROR_INVALID_VALUE",
							what .. " outside the window")
					end
					for _, field in ipairs(c.operands) do
						mutate(c.when, ("v->%s = 1ull << 63"):format(field),
							"CUDA_ERROR_INVALID_VALUE", what .. ": its extent overflows by "
							.. field)
					end
				end
			end
			b("\t}\n\tvariant = 0;")
		end
	end
end

local function test(b, g, m, plans)
	local f = m.auto
	local n, nullable = variants(g, m)
	b("static void round_%s(void)\n{\n\tset_up();", f.name)
	local args = arguments(b, g, m)
	b("\tstrict = true;\n\tcalls = 0;\n\tCUresult r = call_%s(%s);\n\tstrict = false;", f.name, args)
	b("\texpect(r == CUDA_SUCCESS, \"the round trip failed\");\n\texpect(calls == 1, \"the driver was not " ..
		"called once\");")
	local full, short = tail_layout(m, false), tail_layout(m, true)
	b("\texpect(sent_bytes == sizeof(struct msg_%s) + (with_null ? %d : %d), \"the message has another size " ..
		"than predicted\");", f.name, short, full)
	results(b, g, m, plans)
	b("}\n")
	b("static void test_%s(void)\n{\n\tstruct msg_%s *m;\n\tbegin(\"%s\", AG_OP_%s, sizeof *m);", f.name, f.name,
		f.name, f.name)
	b("\tfor (variant = 0; variant < %d; variant++)\n\t\tround_%s();\n\tvariant = 0;", n, f.name)
	if nullable then b("\twith_null = true;\n\tround_%s();\n\twith_null = false;\n\tround_%s();", f.name,
		f.name) end
	if n > 1 and not nullable then b("\tround_%s();", f.name) end
	b("\tset_up();\n\tm = copy_of_sent();\n\tjudge(CUDA_SUCCESS, \"the message itself is refused\");")
	refusals(b, g, m, plans)
	b("\ttruncated();\n\tcorrupted();\n\t(void)m;\n\tend();\n}\n")
end

local prelude = [[
/* Generated from cuda.h and api/cuda.lua: tests of the functions that are generated from end to end. */
#include "worker_table.c"
#undef TAIL
#include "tests/gen/auto_support.h"
]]

function T.file(g)
	local b = U.buffer()
	b(prelude)
	for _, m in ipairs(g.messages) do
		if not m.auto then
			local rep = m.reply and "struct rep_" .. m.name .. " *rep" or "void *rep"
			b("NEVER(check_%s, (const struct session *s, const struct msg_%s *m, const void *t, " ..
				"uint32_t n), (void)s, (void)m, (void)t, (void)n)", m.name, m.name)
			b("NEVER(invoke_%s, (struct session *s, const struct msg_%s *m, const void *t, uint32_t n, " ..
				"%s, struct ag_out *o),", m.name, m.name, rep)
			b("\t(void)s, (void)m, (void)t, (void)n, (void)rep, (void)o)")
		end
	end
	local plans, hooks = {}, {}
	for _, m in ipairs(g.messages) do
		for _, d in ipairs(m.auto and m.auto.auto.params or {}) do
			if d.type.k == "record" and (d.mode == "in" or d.mode == "out")
				then plans[d.type.name] = worker.struct_plan(g, d.type.name) end
			local o = m.auto.auto.options
			if d.mode == "new" and o.after
				then hooks[o.after] =
				("(struct session *s, ag_id id, %s real), (void)s, (void)id, " ..
					"(void)real"):format(bare(d.type)) end
			if d.mode == "drop" and o.before then
				hooks[o.before] =
					("(struct session *s, %s real, struct ag_out *out), (void)s, (void)real, " ..
						"(void)out"):format(bare(d.type))
			end
		end
	end
	for _, name in ipairs(U.sorted(hooks)) do b("HOOK(%s, %s)", name, hooks[name]) end
	b("")
	struct_samples(b, g, plans)
	for _, m in ipairs(g.messages) do
		if m.auto then fake(b, g, m) end
	end
	b("static void fill_driver(void)\n{")
	for _, m in ipairs(g.messages) do
		if m.auto then b("\tdriver.%s = fake_%s;", m.name, m.name) end
	end
	b("}\n")
	for _, m in ipairs(g.messages) do
		if m.auto then test(b, g, m, plans) end
	end
	b("int main(void)\n{\n\tstart();\n\tfill_driver();")
	for _, m in ipairs(g.messages) do
		if m.auto then b("\ttest_%s();", m.name) end
	end
	b("\treturn failures != 0;\n}")
	return b:text()
end

return T
