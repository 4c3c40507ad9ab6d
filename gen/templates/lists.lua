-- lists.lua -> procaddress.h/.c, errors.h/.c, libcuda.map, libcudart.map, cuda.syms, cudart.syms: what is looked up by
-- name.
local U = require("gen.util")
local T = {}

-- --- cuGetProcAddress ---------------------------------------------------------------------------

-- PFN_<name>_v<version>[_ptds|_ptsz] typedefs, ranked by version, name the symbols <name>, <name>_v2, ...: the oldest
-- version is the lowest symbol that exists.  There must be as many typedefs as symbols.
local function ranks(model)
	local by = {}
	for _, t in ipairs(model.typedefs) do
		local name, version, twin = t.name:match("^PFN_(cu%w+)_v(%d+)(.*)$")
		if name then
			local key = name .. twin
			by[key] = by[key] or { name = name, twin = twin }
			table.insert(by[key], tonumber(version))
		end
	end
	return by
end

local function symbols_of(model, name, twin)
	local list = {}
	for n = 1, 9 do
		local symbol = (n == 1 and name or name .. "_v" .. n) .. twin
		if model.by_name[symbol] then list[#list + 1] = symbol end
	end
	return list
end

-- Rows { name, version, twin, symbol }, sorted by name, then twin, then version.
function T.proc_rows(model)
	local rows = {}
	local by = ranks(model)
	for _, key in ipairs(U.sorted(by)) do
		local r = by[key]
		table.sort(r)
		local symbols = symbols_of(model, r.name, r.twin)
		if #symbols ~= #r then
			U.fail("cudaTypedefs.h has %d versions of %s, cuda.h has %d symbols", #r, key, #symbols)
		end
		for i, version in ipairs(r) do
			rows[#rows + 1] = { name = r.name, version = version, twin = r.twin, symbol = symbols[i] }
		end
	end
	table.sort(rows, function(a, c)
		if a.name ~= c.name then return a.name < c.name end
		if a.twin ~= c.twin then return a.twin < c.twin end
		return a.version < c.version
	end)
	return rows
end

function T.proc_header()
	return [[
/* Generated: the names cuGetProcAddress knows, by version. */
#ifndef AG_GEN_PROCADDRESS_H
#define AG_GEN_PROCADDRESS_H

#include <stdint.h>
#include "driver.h"

struct agc_proc {
	const char *name;
	uint32_t version;            /* CUDA version that introduced it, as in 12000 */
	uint16_t per_thread;         /* the _ptds or _ptsz twin */
	uint16_t member;             /* offset in struct ag_driver */
};
extern const struct agc_proc agc_procs[];    /* sorted by name, per_thread, version */
extern const unsigned agc_proc_count;

/* What cuGetProcAddress_v2 does for a name: the entry of `d` for the newest version not above `version`.
 * flags: CU_GET_PROC_ADDRESS_*; a name without twin serves both.  NULL: *why says whether the name or the version is
 * unknown. */
void *agc_proc_find(const struct ag_driver *d, const char *name, int version, uint64_t flags,
	CUdriverProcAddressQueryResult *why);

#endif
]]
end

function T.proc_table(g)
	local b = U.buffer()
	b("/* Generated from cudaTypedefs.h: the versions of every name cuGetProcAddress knows. */")
	b("#include <stddef.h>\n#include <string.h>\n#include \"procaddress.h\"\n")
	b("#define ROW(name, version, twin, symbol) { #name, version, twin, offsetof(struct ag_driver, symbol) }")
	b("const struct agc_proc agc_procs[] = {")
	local rows = T.proc_rows(g.cuda)
	for _, r in ipairs(rows) do b("\tROW(%s, %d, %d, %s),", r.name, r.version, r.twin ~= "" and 1 or 0,
		r.symbol) end
	b("};\nconst unsigned agc_proc_count = %d;\n", #rows)
	b:raw([[
/* The first row whose name is not less than `name`. */
static unsigned first_row(const char *name)
{
	unsigned low = 0, high = agc_proc_count;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (strcmp(agc_procs[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void *agc_proc_find(const struct ag_driver *d, const char *name, int version, uint64_t flags,
	CUdriverProcAddressQueryResult *why)
{
	const struct agc_proc *plain = NULL, *twin = NULL;
	*why = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
	for (unsigned i = first_row(name); i < agc_proc_count && !strcmp(agc_procs[i].name, name); i++) {
		*why = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
		if ((int64_t)agc_procs[i].version <= version)
			*(agc_procs[i].per_thread ? &twin : &plain) = &agc_procs[i];
	}
	if ((flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) && twin)
		plain = twin;
	if (!plain)
		return NULL;
	*why = CU_GET_PROC_ADDRESS_SUCCESS;
	void *entry;
	memcpy(&entry, (const char *)d + plain->member, sizeof entry);
	return entry;
}
]])
	return b:text()
end

-- --- error names and texts ----------------------------------------------------------------------

-- The first sentence of an enumerator's comment, for a code whose text api/strings.lua does not know.
local function sentence(doc)
	local s = (doc or ""):gsub("^/%*+", ""):gsub("%*+/$", ""):gsub("\n%s*%*", " "):gsub("::", ""):gsub("\\%w+", "")
	s = s:gsub("%s+", " "):gsub("^ ", "")
	s = s:match("^(.-)%.%s") or s:match("^(.-)%.?%s*$")
	return s
end

local function error_rows(model, enum, texts)
	local e = model.enums[enum]
	if not e then U.fail("the headers have no %s", enum) end
	local rows, seen = {}, {}
	for _, v in ipairs(e.values) do
		if not seen[v.value] then
			seen[v.value] = true
			local text = texts[v.value] or sentence(v.doc)
			if text == "" then text = v.name end
			rows[#rows + 1] = { value = v.value, name = v.name, text = text }
		end
	end
	table.sort(rows, function(a, c) return a.value < c.value end)
	return rows
end

function T.errors_header()
	return [[
/* Generated: names and texts of CUresult and cudaError_t. */
#ifndef AG_GEN_ERRORS_H
#define AG_GEN_ERRORS_H

struct ag_error { int code; const char *name, *text; };

extern const struct ag_error ag_driver_errors[], ag_runtime_errors[];      /* sorted by code */
extern const unsigned ag_driver_error_count, ag_runtime_error_count;

/* NULL: no such code. */
const struct ag_error *ag_driver_error(int code);
const struct ag_error *ag_runtime_error(int code);

#endif
]]
end

function T.errors_table(g)
	local strings = U.load(ROOT .. "/api/strings.lua")
	local b = U.buffer()
	b("/* Generated from cuda.h, driver_types.h and api/strings.lua. */\n#include \"errors.h\"\n")
	for _, x in ipairs { { "driver", g.cuda, "enum cudaError_enum", strings.driver }, { "runtime", g.cudart,
		"enum cudaError", strings.runtime } } do
		local rows = error_rows(x[2], x[3], x[4])
		b("const struct ag_error ag_%s_errors[] = {", x[1])
		for _, r in ipairs(rows) do b("\t{ %d, \"%s\", %s },", r.value, r.name, U.quote(r.text)) end
		b("};\nconst unsigned ag_%s_error_count = %d;\n", x[1], #rows)
	end
	b([[
static const struct ag_error *find(const struct ag_error *list, unsigned n, int code)
{
	unsigned low = 0;
	while (low < n) {
		unsigned middle = low + (n - low) / 2;
		if (list[middle].code == code)
			return &list[middle];
		if (list[middle].code < code)
			low = middle + 1;
		else
			n = middle;
	}
	return 0;
}

const struct ag_error *ag_driver_error(int code)
{
	return find(ag_driver_errors, ag_driver_error_count, code);
}

const struct ag_error *ag_runtime_error(int code)
{
	return find(ag_runtime_errors, ag_runtime_error_count, code);
}]])
	return b:text()
end

-- --- export lists -------------------------------------------------------------------------------

function T.runtime_names(g)
	local set = {}
	for _, f in ipairs(g.cudart.functions) do set[f.name] = true end
	for _, name in ipairs(g.cudart.twins) do set[name] = true end
	for _, name in ipairs(g.cudart.internal) do set[name] = true end
	for _, name in ipairs(g.cudart.undeclared) do set[name] = true end
	return U.sorted(set)
end

function T.driver_names(g)
	local names = {}
	for i, f in ipairs(g.cuda.functions) do names[i] = f.name end
	table.sort(names)
	return names
end

function T.map(names, node)
	local b = U.buffer()
	b("%s{\nglobal:", node and node .. " " or "")
	for _, n in ipairs(names) do b("\t%s;", n) end
	b("local:\n\t*;\n};")
	return b:text()
end

function T.syms(names)
	return table.concat(names, "\n") .. "\n"
end

return T
