/* callee.c - what guarded code may call: the runtime (runtime.def) and the gates the worker named. */
#include "guard/rewrite.h"
#include <string.h>

static const struct rw_callee runtime[] = {
#define RT(n, r, np, ...) { .name = #n, .ptx_name = #n, .nparams = np, .params = { __VA_ARGS__ }, .ret = PTX_T_##r },
#include "guard/runtime.def"
#undef RT
};

const struct rw_callee *rw_runtime(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(runtime); i++)
		if (!strcmp(runtime[i].name, name))
			return &runtime[i];
	return NULL;
}

/* A gate's name reaches the text, so it must be an identifier of ours to choose: letters, digits, underscores. */
static bool plain_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	return n > 0 && n < 64 && !s[n];
}

const struct rw_callee *rw_extern(const char *name)
{
	static const char *const known[][2] = {
		{ "vprintf", "ag_rt_printf" }, { "__assertfail", "ag_rt_assert" }, { "malloc", "ag_rt_malloc" },
			{ "free", "ag_rt_free" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(known[i][0], name))
			return rw_runtime(known[i][1]);
	return NULL;
}

const struct rw_callee *rw_gate(struct rw *rw, const char *name)
{
	for (uint32_t i = 0; i < rw->opt->ngates; i++) {
		const struct guard_gate *g = &rw->opt->gates[i];

		if (!strcmp(g->name, name) && plain_name(name) && g->nparams <= ARRAY_LEN(g->params)) {
			struct rw_callee *c = rw_alloc(rw, sizeof(*c));
			char *ptx = rw_alloc(rw, strlen(name) + 6);

			memcpy(ptx, "gate_", 5);
			memcpy(ptx + 5, name, strlen(name));
			*c = (struct rw_callee){ .name = g->name, .ptx_name = ptx, .nparams = g->nparams,
				.ret = g->ret, .bit = i + 1 };
			for (unsigned p = 0; p < g->nparams; p++)
				c->params[p] = g->params[p];
			return c;
		}
	}
	return NULL;
}

void rw_use_callee(struct rw *rw, const struct rw_callee *c)
{
	if (c->bit)
		rw->gates_used[c->bit - 1] = 1;
	else
		rw->callees_used |= 1u << (c - runtime);
}

uint32_t rw_runtime_count(void)
{
	return ARRAY_LEN(runtime);
}

const struct rw_callee *rw_runtime_at(uint32_t i)
{
	return &runtime[i];
}
