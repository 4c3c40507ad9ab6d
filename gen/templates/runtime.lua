-- runtime.lua -> rt_calls.h, cudart_lowered.c, cudart_exports.c: the Runtime's functions, from public name to Driver
-- calls.
local U = require("gen.util")
local T = {}

function T.calls(g)
	local b = U.buffer()
	b([[
/* Generated from api/cudart.lua: the Runtime's implementations.
 * rt_cudaX: written by hand (classes local and custom) or generated (lowered).
 * A name that no class holds is declared as an object: whoever defines rt_cudaX must first list cudaX in M.hand of
 * api/cudart.lua. */
#ifndef AG_GEN_RT_CALLS_H
#define AG_GEN_RT_CALLS_H

#include <cuda_runtime_api.h>
#include <cuda_profiler_api.h>
]])
	for _, f in ipairs(g.cudart.functions) do
		if f.class == "refuse" then
			b("extern const struct cudaX_is_not_listed_in_M_hand_of_api_cudart_lua rt_%s;", f.name)
		else
			b("%s rt_%s(%s);", f.ret.spell, f.name, U.parameters(f))
		end
	end
	b("\n#endif")
	return b:text()
end

function T.lowered(g)
	local b = U.buffer()
	b([[
/* Generated from api/cudart.lua: the Runtime functions that are one or two Driver calls. */
#include <string.h>
#include "api/client/client.h"
#include "api/client/runtime.h"
#include "api/convert.h"
#include "driver.h"
#include "errors.h"
#include "rt_calls.h"
]])
	for _, f in ipairs(g.cudart.functions) do
		if f.class == "lowered" then
			b("%s rt_%s(%s)\n{\n%s\n}\n", f.ret.spell, f.name, U.parameters(f), f.lowering)
		end
	end
	return b:text()
end

local function refusal(name, reason, parameters, unused)
	return
		("cudaError_t %s(%s)\n{\n\tstatic atomic_bool said;\n%s\treturn refuse(\"%s\", %s, &said);\n}\n" ..
			""):format(name, parameters,
		unused ~= "" and "\t" .. unused .. "\n" or "", name, U.quote(reason))
end

local function twin(b, f)
	b("%s %s(%s)\n{", f.ret.spell, f.twin, U.parameters(f))
	local names = {}
	for i, p in ipairs(f.params) do
		names[i] = i == f.stream and ("%s ? %s : cudaStreamPerThread"):format(p.name, p.name) or p.name
	end
	b("\tbool outer = rt_per_thread_default;\n\trt_per_thread_default = true;")
	b("\t%s r = rt_%s(%s);\n\trt_per_thread_default = outer;\n\treturn r;\n}\n", f.ret.spell, f.name,
		table.concat(names, ", "))
end

function T.exports(g)
	local b = U.buffer()
	b([[
/* Generated: every name that libcudart declares, its per-thread twins, and the refused ones.
 * The names nvcc's host code calls (__cudaRegister...) are defined by hand in api/client/. */
#include <stdatomic.h>
#include <stdbool.h>
#include "api/client/client.h"
#include "api/client/runtime.h"
#include "rt_calls.h"

static cudaError_t refuse(const char *name, const char *why, atomic_bool *said)
{
	if (!atomic_exchange(said, true))
		agc_log("%s is not supported: %s", name, why);
	return rt_return(CUDA_ERROR_NOT_SUPPORTED);
}

#pragma GCC visibility push(default)
]])
	for _, f in ipairs(g.cudart.functions) do
		if f.class == "refuse" then
			b:raw(refusal(f.name, f.reason, U.parameters(f), U.unused(f)) .. "\n")
			if f.twin then
				b:raw(refusal(f.twin, f.reason, U.parameters(f), U.unused(f)) .. "\n")
			end
		else
			b("%s %s(%s)\n{\n\treturn rt_%s(%s);\n}\n", f.ret.spell, f.name, U.parameters(f), f.name,
				U.arguments(f))
			if f.twin then twin(b, f) end
		end
	end
	b("/* Declared in headers that need OpenGL, EGL or VDPAU; the arguments are not looked at. */")
	for _, name in ipairs(g.cudart.undeclared) do
		b("cudaError_t %s(void);", name)
		b:raw(refusal(name, "graphics interop", "void", "") .. "\n")
	end
	b("#pragma GCC visibility pop")
	return b:text()
end

return T
