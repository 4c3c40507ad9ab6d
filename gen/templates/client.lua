-- client.lua -> calls.h, client_table.c, cuda_exports.c: the Driver functions of the client, from public name to
-- implementation.
local U = require("gen.util")
local T = {}

-- The call of a twin's base: the default stream becomes the per-thread one, in the argument or through agc_per_thread.
local function twin_body(b, f, base)
	local names = {}
	for i, p in ipairs(f.params) do
		names[i] = i == f.stream and ("%s ? %s : CU_STREAM_PER_THREAD"):format(p.name, p.name) or p.name
	end
	local call = ("%s(%s)"):format(base, table.concat(names, ", "))
	if f.stream then
		b("\treturn %s;", call)
	else
		b("\tbool outer = agc_per_thread;\n\tagc_per_thread = true;\n\tCUresult r = %s;\n" ..
			"\tagc_per_thread = outer;\n\treturn r;", call)
	end
end

function T.calls(g)
	local b = U.buffer()
	b([[
/* Generated from api/cuda.lua: the client's implementations of Driver functions.
 * call_cuX: written by hand (classes local and custom) or generated (auto, lowered).
 * A name that no class holds is declared as an object: whoever defines call_cuX must first list cuX in M.hand of
 * api/cuda.lua. */
#ifndef AG_GEN_CALLS_H
#define AG_GEN_CALLS_H

#include <stdbool.h>
#include "driver.h"

/* Set while a _ptds/_ptsz twin without a stream argument runs: the default stream is then the per-thread one. */
extern __thread bool agc_per_thread;

extern const struct cuX_is_not_listed_in_M_hand_of_api_cuda_lua AGC_UNLISTED;
]])
	for _, f in ipairs(g.cuda.functions) do
		if f.class == "refuse" then
			b("extern const struct cuX_is_not_listed_in_M_hand_of_api_cuda_lua call_%s;", f.name)
		else
			b("%s call_%s(%s);", f.ret.spell, f.name, U.parameters(f))
		end
	end
	b("\n#endif")
	return b:text()
end

function T.table(g)
	local b = U.buffer()
	b([[
/* Generated: this core's Driver table, the stubs of refused functions, the lowered ones. */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include "api/client/client.h"
#include "calls.h"

__thread bool agc_per_thread;

static CUresult refuse(const char *name, const char *why, atomic_bool *said)
{
	if (!atomic_exchange(said, true))
		agc_log("%s is not supported: %s", name, why);
	return CUDA_ERROR_NOT_SUPPORTED;
}
]])
	for _, f in ipairs(g.cuda.functions) do
		if f.class == "refuse" then
			b("static %s refuse_%s(%s)\n{\n\tstatic atomic_bool said;\n\t%s\n" ..
				"\treturn refuse(\"%s\", %s, &said);\n}\n", f.ret.spell, f.name,
				U.parameters(f), U.unused(f), f.name, U.quote(f.reason))
		elseif f.class == "lowered" then
			b("%s call_%s(%s)\n{", f.ret.spell, f.name, U.parameters(f))
			if f.base then twin_body(b, f, "call_" .. f.base) else b(f.lowering) end
			b("}\n")
		end
	end
	b("const struct ag_driver agc_own_table = {")
	for _, f in ipairs(g.cuda.functions) do b("\t.%s = %s_%s,", f.name, f.class == "refuse" and "refuse" or "call",
		f.name) end
	b("};")
	return b:text()
end

function T.exports(g)
	local b = U.buffer()
	b([[
/* Generated: every name that libcuda exports, through the table of the core that serves this process. */
#include <string.h>
#include "api/client/client.h"
#include "driver.h"

#pragma GCC visibility push(default)
]])
	for _, f in ipairs(g.cuda.functions) do
		b("%s %s(%s)\n{", f.ret.spell, f.name, U.parameters(f))
		if f.name == "cuGetExportTable" then
			b("\tstatic const CUuuid own = AG_OWN_LIBRARY_UUID;")
			b("\tif (%s && %s && !memcmp(%s, &own, sizeof own)) {", f.params[1].name, f.params[2].name,
				f.params[2].name)
			b("\t\t*%s = &own;\n\t\treturn CUDA_SUCCESS;\n\t}", f.params[1].name)
		end
		b("\treturn agc_table()->%s(%s);\n}\n", f.name, U.arguments(f))
	end
	b("#pragma GCC visibility pop")
	return b:text()
end

return T
