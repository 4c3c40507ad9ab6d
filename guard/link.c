/* link.c - several relocatable pieces become one module.
 *
 * Every variable and function reference is resolved to its one definition.  Only names with .visible, .weak or .common
 * linkage meet across pieces; what has no linkage stays its piece's own.  An extern that no piece defines is refused by
 * name, unless it is one of the functions that the guard provides. */
#include "guard/rewrite.h"
#include <string.h>

struct rw_name { struct rw_name *next; const char *name; struct rw_var *var; struct rw_func *func; };
struct rw_varslot { const struct ptx_var *key; struct rw_var *val; };

static uint64_t hash_str(const char *s)
{
	uint64_t h = 1469598103934665603u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211u;
	return h ^ h >> 29;
}

static struct rw_name *name_of(struct rw *rw, const char *name)
{
	struct rw_name **at = &rw->names[hash_str(name) & (rw->nnames_cap - 1)];

	for (struct rw_name *n = *at; n; n = n->next)
		if (!strcmp(n->name, name))
			return n;
	struct rw_name *n = rw_alloc(rw, sizeof(*n));

	n->name = name;
	n->next = *at;
	return *at = n;
}

static struct rw_varslot *slot_of(struct rw *rw, const struct ptx_var *v)
{
	uint32_t i = (uint32_t)(((uintptr_t)v >> 4) * 0x9E3779B97F4A7C15u >> 32) & (rw->varmap_cap - 1);

	while (rw->varmap[i].key && rw->varmap[i].key != v)
		i = (i + 1) & (rw->varmap_cap - 1);
	return &rw->varmap[i];
}

struct rw_var *rw_var_of(struct rw *rw, const struct ptx_var *v)
{
	return slot_of(rw, v)->val;
}

static struct rw_var *add_var(struct rw *rw, struct ptx_var *v, uint32_t piece)
{
	struct rw_var *x = rw_alloc(rw, sizeof(*x));

	x->v = v;
	x->piece = piece;
	RW_ROOM(&rw->arena, rw->vars, rw->nvars, rw->cap_vars);
	rw->vars[rw->nvars++] = x;
	return x;
}

static void bind_var(struct rw *rw, struct ptx_var *v, struct rw_var *def)
{
	struct rw_varslot *s = slot_of(rw, v);

	s->key = v;
	s->val = def;
}

static bool global_linkage(enum ptx_linkage l)
{
	return l == PTX_L_VISIBLE || l == PTX_L_WEAK || l == PTX_L_COMMON;
}

static bool is_dynamic(const struct ptx_var *v)
{
	return v->space == PTX_SHARED && v->linkage == PTX_L_EXTERN;
}

/* First walk: definitions. */
static void define_var(struct rw *rw, struct ptx_var *v, uint32_t piece)
{
	struct rw_name *n;

	if (v->linkage == PTX_L_EXTERN && !is_dynamic(v))
		return;
	if (!global_linkage(v->linkage)) {
		bind_var(rw, v, add_var(rw, v, piece));
		return;
	}
	n = name_of(rw, v->name);
	if (n->var) {
		struct ptx_var *first = n->var->v;

		if (v->linkage == PTX_L_VISIBLE && first->linkage == PTX_L_VISIBLE)
			rw_refuse(rw, v->line, "variable '%s' is defined twice", v->name);
		if (first->space != v->space || (first->size != v->size && v->linkage != PTX_L_COMMON))
			rw_refuse(rw, v->line, "variable '%s' is declared differently in two pieces", v->name);
		if (v->linkage == PTX_L_VISIBLE || v->size > first->size || (v->init && !first->init
			&& first->linkage == PTX_L_COMMON))
			n->var->v = v;
	} else {
		n->var = add_var(rw, v, piece);
	}
	bind_var(rw, v, n->var);
}

struct rw_func *rw_func_of(struct ptx_func *f)
{
	return f->user;
}

/* A gate may come with a body, for where there is no such service; here the service is meant. */
static bool is_gate(struct rw *rw, struct ptx_func *f)
{
	const struct rw_callee *c = f->is_entry ? NULL : rw_gate(rw, f->name);
	struct rw_func *x;

	if (!c)
		return false;
	bool fits = f->nparams == c->nparams && f->nrets == (c->ret != PTX_T_NONE);

	for (uint32_t i = 0; fits && i < f->nparams; i++)
		fits = f->params[i].size == ptx_type_bytes(c->params[i]);
	if (fits && f->nrets)
		fits = f->rets[0].size == ptx_type_bytes(c->ret);
	if (!fits)
		rw_refuse(rw, f->line, "gate '%s' is declared with another prototype than the service's", f->name);
	x = rw_alloc(rw, sizeof(*x));
	x->callee = c;
	f->user = x;
	return true;
}

static void define_func(struct rw *rw, struct ptx_func *f, uint32_t piece)
{
	struct rw_func *x;
	struct rw_name *n;

	if (is_gate(rw, f) || !f->has_body)
		return;
	x = rw_alloc(rw, sizeof(*x));
	x->def = f;
	x->piece = piece;
	f->user = x;
	if (!global_linkage(f->linkage))
		return;
	n = name_of(rw, f->name);
	if (n->func && f->linkage == PTX_L_VISIBLE && n->func->def->linkage == PTX_L_VISIBLE)
		rw_refuse(rw, f->line, "function '%s' is defined twice", f->name);
	if (n->func && n->func->def->is_entry != f->is_entry)
		rw_refuse(rw, f->line, "'%s' is a kernel in one piece and a function in another", f->name);
	if (!n->func || (f->linkage == PTX_L_VISIBLE && n->func->def->linkage != PTX_L_VISIBLE)) {
		n->func = x;
	} else {
		f->user = n->func;
	}
}

/* Second walk: references. */
static void resolve_var(struct rw *rw, struct ptx_var *v)
{
	struct rw_name *n;

	if (v->linkage != PTX_L_EXTERN || is_dynamic(v))
		return;
	n = name_of(rw, v->name);
	if (!n->var)
		rw_refuse(rw, v->line, "variable '%s' is extern and no piece defines it", v->name);
	if (n->var->v->space != v->space)
		rw_refuse(rw, v->line, "variable '%s' is declared in another state space than it is defined in",
			v->name);
	bind_var(rw, v, n->var);
}

static void resolve_func(struct rw *rw, struct ptx_func *f)
{
	struct rw_name *n;
	struct rw_func *x;

	if (f->user && rw_func_of(f)->callee)
		return;
	if (f->has_body) {
		if (global_linkage(f->linkage))
			f->user = name_of(rw, f->name)->func;   /* a weak one may have lost to another piece's */
		return;
	}
	n = name_of(rw, f->name);
	if (n->func) {
		f->user = n->func;
		return;
	}
	x = rw_alloc(rw, sizeof(*x));       /* refused when it is called: nvcc declares more than it uses */
	x->callee = rw_extern(f->name);
	f->user = x;
}

static void check_entry(struct rw *rw, const struct ptx_func *f)
{
	if (f->param_bytes > 32764)
		rw_refuse(rw, f->line, "kernel '%s' has more parameter bytes than a launch can carry", f->name);
	for (uint32_t i = 0; i < f->nparams; i++)
		if (ptx_type_bytes(f->params[i].type) == 0)
			rw_refuse(rw, f->line, "kernel '%s' has a texture or surface reference parameter", f->name);
}

static void add_kernel(struct rw *rw, struct ptx_func *f, uint32_t piece)
{
	struct rw_kernel *k = rw_alloc(rw, sizeof(*k));

	check_entry(rw, f);
	k->rw = rw;
	k->src = f;
	k->piece = piece;
	k->index = rw->nkernels;
	RW_ROOM(&rw->arena, rw->kernels, rw->nkernels, rw->cap_kernels);
	rw->kernels[rw->nkernels++] = k;
}

struct rw_func *rw_func_named(struct rw *rw, uint32_t piece, const char *name)
{
	struct ptx_module *m = rw->pieces[piece].m;

	for (uint32_t i = 0; i < m->nfuncs; i++)
		if (!strcmp(m->funcs[i]->name, name))
			return rw_func_of(m->funcs[i]);
	return NULL;
}

static void take_address(struct rw *rw, struct rw_func *f)
{
	if (!f || !f->def || f->def->is_entry || f->id)
		return;
	RW_ROOM(&rw->arena, rw->taken, rw->ntaken, rw->cap_taken);
	rw->taken[rw->ntaken++] = f;
	f->id = rw->ntaken;
}

/* A function's address is a number of ours: an indirect call compares it with those of all functions it may mean. */
static void number_functions(struct rw *rw)
{
	for (uint32_t p = 0; p < rw->npieces; p++) {
		struct ptx_module *m = rw->pieces[p].m;

		for (uint32_t f = 0; f < m->nfuncs; f++)
			for (uint32_t i = 0; i < m->funcs[f]->ninsts; i++) {
				const struct ptx_inst *in = &m->funcs[f]->insts[i];

				if (in->op == PTX_OP_mov && in->nops > 1 && in->ops[1].kind == PTX_O_FUNC)
					take_address(rw, rw_func_of(in->ops[1].u.func));
			}
	}
	for (uint32_t i = 0; i < rw->nvars; i++)
		for (uint32_t r = 0; r < rw->vars[i]->v->nrelocs; r++)
			if (!rw_var_named(rw, rw->vars[i]->piece, rw->vars[i]->v->relocs[r].sym))
				take_address(rw, rw_func_named(rw, rw->vars[i]->piece, rw->vars[i]->v->relocs[r].sym));
}

void rw_link(struct rw *rw)
{
	uint64_t names = 16, vars = 16;

	for (uint32_t p = 0; p < rw->npieces; p++) {
		struct ptx_module *m = rw->pieces[p].m;

		names += m->nvars + m->nfuncs;
		vars += m->nvars;
		for (uint32_t i = 0; i < m->nfuncs; i++)
			vars += m->funcs[i]->nvars;
	}
	for (rw->nnames_cap = 16; rw->nnames_cap < names; rw->nnames_cap *= 2)
		;
	for (rw->varmap_cap = 16; rw->varmap_cap < vars * 2; rw->varmap_cap *= 2)
		;
	rw->names = rw_alloc(rw, rw->nnames_cap * sizeof(*rw->names));
	rw->varmap = rw_alloc(rw, rw->varmap_cap * sizeof(*rw->varmap));
	for (rw->piece = 0; rw->piece < rw->npieces; rw->piece++) {
		struct ptx_module *m = rw->pieces[rw->piece].m;

		for (uint32_t i = 0; i < m->nvars; i++)
			define_var(rw, m->vars[i], rw->piece);
		for (uint32_t i = 0; i < m->nfuncs; i++) {
			define_func(rw, m->funcs[i], rw->piece);
			for (uint32_t j = 0; j < m->funcs[i]->nvars; j++)
				bind_var(rw, m->funcs[i]->vars[j], add_var(rw, m->funcs[i]->vars[j], rw->piece));
		}
	}
	for (rw->piece = 0; rw->piece < rw->npieces; rw->piece++) {
		struct ptx_module *m = rw->pieces[rw->piece].m;

		for (uint32_t i = 0; i < m->nvars; i++)
			resolve_var(rw, m->vars[i]);
		for (uint32_t i = 0; i < m->nfuncs; i++)
			resolve_func(rw, m->funcs[i]);
		for (uint32_t i = 0; i < m->nfuncs; i++)
			if (m->funcs[i]->is_entry && m->funcs[i]->has_body
				&& rw_func_of(m->funcs[i])->def == m->funcs[i])
				add_kernel(rw, m->funcs[i], rw->piece);
	}
	rw->piece = 0;
	number_functions(rw);
}

/* The variable an initializer names: functions' own first would need a scope the text no longer has; names are
 * unique. */
struct rw_var *rw_var_named(struct rw *rw, uint32_t piece, const char *name)
{
	struct ptx_module *m = rw->pieces[piece].m;

	for (uint32_t i = 0; i < m->nvars; i++)
		if (!strcmp(m->vars[i]->name, name))
			return rw_var_of(rw, m->vars[i]);
	for (uint32_t f = 0; f < m->nfuncs; f++)
		for (uint32_t i = 0; i < m->funcs[f]->nvars; i++)
			if (!strcmp(m->funcs[f]->vars[i]->name, name))
				return rw_var_of(rw, m->funcs[f]->vars[i]);
	return NULL;
}
