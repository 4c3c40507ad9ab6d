/* exec_load.c - a parsed module made executable: places variables, decodes functions, writes initializers, and
 * answers questions about kernels and symbols.  Everything decode allocates hangs off exec_module.chunks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "exec_decode.h"

/* The calling convention's: ptxas gives no fewer to a function with a call that it did not inline. */
#define CALL_REGS 24u

struct chunk { struct chunk *next; uint64_t pad; };

void *load_alloc(struct load *ld, size_t bytes)
{
	struct chunk *c = aligned_alloc(16, (sizeof *c + bytes + 15) & ~(size_t)15);
	if (!c) {
		load_fail(ld, 0, CUDA_ERROR_OUT_OF_MEMORY, "no memory for the module");
		return NULL;
	}
	c->next = ld->m->chunks;
	ld->m->chunks = c;
	memset(c + 1, 0, bytes);
	return c + 1;
}

/* --- variables ---------------------------------------------------------------------------------- */

typedef void (*var_fn)(struct load *ld, const struct ptx_var *v);

static void each_variable(struct load *ld, var_fn fn)
{
	const struct ptx_module *p = ld->m->ptx;
	for (uint32_t i = 0; i < p->nvars; i++)
		fn(ld, p->vars[i]);
	for (uint32_t i = 0; i < p->nfuncs; i++)
		for (uint32_t k = 0; k < p->funcs[i]->nvars; k++)
			fn(ld, p->funcs[i]->vars[k]);
}

static bool placed(const struct ptx_var *v)
{
	return (v->space == PTX_GLOBAL || v->space == PTX_CONST) && v->linkage != PTX_L_EXTERN
		&& v->type != PTX_T_TEXREF && v->type != PTX_T_SAMPLERREF && v->type != PTX_T_SURFREF;
}

static void measure(struct load *ld, const struct ptx_var *v)
{
	uint64_t *top = v->space == PTX_CONST ? &ld->m->const_bytes : &ld->m->global_bytes;
	if (!placed(v))
		return;
	uint64_t align = v->align < 16 ? 16 : v->align;
	*top = (*top + align - 1) & ~(align - 1);
	if (v->size > (1ull << 40) || *top > (1ull << 40)) {
		load_fail(ld, v->line, CUDA_ERROR_OUT_OF_MEMORY, "variables are too large");
		return;
	}
	if (!var_add(&ld->vars, v, *top))
		load_fail(ld, v->line, CUDA_ERROR_OUT_OF_MEMORY, "no memory");
	*top += v->size;
	ld->m->nsymbols++;
}

/* Addresses seen by code: global variables by address, constant ones by offset in the bank. */
static void relocate(struct load *ld, const struct ptx_var *v)
{
	struct exec_module *m = ld->m;
	uint64_t off;
	if (!placed(v) || !var_find(&ld->vars, v, &off))
		return;
	struct exec_symbol *s = &m->symbols[m->nsymbols++];
	bool c = v->space == PTX_CONST;
	*s = (struct exec_symbol){ .name = v->name, .addr = (c ? m->const_addr : m->global_addr) + off, .size = v->size,
		.is_const = c, .is_managed = v->managed };
	if (c)
		return;
	for (uint32_t k = 0; k < ld->vars.cap; k++)
		if (ld->vars.slots[k].var == v)
			ld->vars.slots[k].addr = m->global_addr + off;
}

static const struct ptx_var *find_var(const struct ptx_module *p, const char *name)
{
	for (uint32_t i = 0; i < p->nvars; i++)
		if (!strcmp(p->vars[i]->name, name))
			return p->vars[i];
	for (uint32_t i = 0; i < p->nfuncs; i++)
		for (uint32_t k = 0; k < p->funcs[i]->nvars; k++)
			if (!strcmp(p->funcs[i]->vars[k]->name, name))
				return p->funcs[i]->vars[k];
	return NULL;
}

static bool symbol_value(struct load *ld, const struct ptx_reloc *r, uint64_t *v)
{
	struct exec_module *m = ld->m;
	for (uint32_t i = 0; i < m->nfuncs; i++) {
		if (!strcmp(m->funcs[i].name, r->sym)) {
			*v = SOFT_CODE_BASE + 16ull * i;
			return true;
		}
	}
	const struct ptx_var *t = find_var(m->ptx, r->sym);
	if (!t || !var_find(&ld->vars, t, v))
		return false;
	if (r->generic && t->space == PTX_CONST)
		*v += SOFT_CONST_BASE;
	if (r->generic && t->space == PTX_SHARED)
		*v += SOFT_SHARED_BASE;
	return true;
}

static void initialize(struct load *ld, const struct ptx_var *v)
{
	uint64_t addr;
	if (!placed(v) || !var_find(&ld->vars, v, &addr))
		return;
	uint8_t *p = (uint8_t *)(uintptr_t)(v->space == PTX_CONST ? ld->m->const_addr + addr : addr);
	if (v->init && v->init_size <= v->size)
		memcpy(p, v->init, v->init_size);
	for (uint32_t k = 0; k < v->nrelocs; k++) {
		const struct ptx_reloc *r = &v->relocs[k];
		uint64_t value;
		if (!symbol_value(ld, r, &value)) {
			load_fail(ld, v->line, CUDA_ERROR_INVALID_PTX, "unresolved symbol %s in the initializer of "
				"%s", r->sym, v->name);
			return;
		}
		value = (value + (uint64_t)r->addend) >> (8 * r->shift);
		if (r->offset > v->size || r->width > v->size - r->offset || r->width > 8) {
			load_fail(ld, v->line, CUDA_ERROR_INVALID_PTX, "initializer of %s is too long", v->name);
			return;
		}
		memcpy(p + r->offset, &value, r->width);
	}
}

static void place_variables(struct load *ld)
{
	struct exec_module *m = ld->m;
	each_variable(ld, measure);
	m->symbols = load_alloc(ld, (m->nsymbols + 1) * sizeof *m->symbols);
	if (ld->code != CUDA_SUCCESS)
		return;
	if (m->global_bytes)
		m->global_addr = m->alloc(m->global_bytes, 256);
	if (m->const_bytes)
		m->const_addr = m->alloc(m->const_bytes, 256);
	if ((m->global_bytes && !m->global_addr) || (m->const_bytes && !m->const_addr)) {
		load_fail(ld, 0, CUDA_ERROR_OUT_OF_MEMORY, "no memory for variables");
		return;
	}
	m->nsymbols = 0;
	each_variable(ld, relocate);
}

/* --- functions ---------------------------------------------------------------------------------- */

static void describe(struct load *ld, struct func *f)
{
	const struct ptx_func *pf = f->pf;
	struct call_slot *s = load_alloc(ld, (pf->nparams + pf->nrets + 1) * sizeof *s);
	if (!s)
		return;
	uint64_t rets = 0;
	for (uint32_t k = 0; k < pf->nrets; k++)
		rets = pf->rets[k].offset + pf->rets[k].size > rets ? pf->rets[k].offset + pf->rets[k].size : rets;
	if (pf->param_bytes > 65536 || rets > 65536) {
		load_fail(ld, pf->line, CUDA_ERROR_INVALID_PTX, "%s: too many bytes of parameters", pf->name);
		return;
	}
	f->ret_base = (uint32_t)(pf->param_bytes + 15) & ~15u;
	f->par_bytes = f->ret_base + ((uint32_t)(rets + 15) & ~15u);
	f->params = s;
	f->rets = s + pf->nparams;
	f->nparams = pf->nparams;
	f->nrets = pf->nrets;
	for (uint32_t k = 0; k < pf->nparams + pf->nrets; k++, s++) {
		bool ret = k >= pf->nparams;
		const struct ptx_param *p = ret ? &pf->rets[k - pf->nparams] : &pf->params[k];
		*s = (struct call_slot){ .size = (uint32_t)p->size, .off = (uint32_t)p->offset + (ret ? f->ret_base
			: 0), .ref = REF_NONE };
		if (p->reg)
			/* its register is known once the body is decoded */
			s->lane_bytes = s->size = lane_width(p->type);
	}
}

/* Stack depth over the call graph; marks what can recurse, and chains too long to tell. */
static void stack_depth(struct func *f, unsigned depth)
{
	uint32_t deepest = 0;
	f->visit = 1;
	if (f->calls && f->need_regs < CALL_REGS)
		f->need_regs = CALL_REGS;
	for (uint32_t k = 0; k < f->ncallees; k++) {
		struct func *c = (struct func *)f->callees[k];
		if (c->visit == 1 || depth > 500) {
			f->recursive = true;
			continue;
		}
		if (!c->visit)
			stack_depth(c, depth + 1);
		deepest = c->stack_bytes > deepest ? c->stack_bytes : deepest;
		f->need_regs = c->need_regs > f->need_regs ? c->need_regs : f->need_regs;
		f->recursive |= c->recursive;
		f->indirect |= c->indirect;
	}
	f->stack_bytes = f->local_bytes + 16 + deepest;
	f->stack_bytes = f->ncallees || f->local_bytes ? f->stack_bytes : 0;
	f->visit = 2;
}

static void describe_kernel(struct load *ld, struct func *f)
{
	const struct ptx_func *pf = f->pf;
	const struct ptx_module *p = ld->m->ptx;
	struct exec_kernel *k = &f->kernel;
	uint32_t *offs = load_alloc(ld, (2 * pf->nparams + 1) * sizeof *offs), threads = 1;
	if (!offs)
		return;
	for (uint32_t i = 0; i < pf->nparams; i++) {
		offs[i] = (uint32_t)pf->params[i].offset;
		offs[pf->nparams + i] = (uint32_t)pf->params[i].size;
	}
	const uint32_t *max = pf->reqntid[0] ? pf->reqntid : pf->maxntid;
	for (int i = 0; i < 3; i++) {
		threads *= max[i] ? (max[i] > 1024 ? 1024 : max[i]) : 1;
		k->reqntid[i] = pf->reqntid[0] ? (pf->reqntid[i] ? pf->reqntid[i] : 1) : 0;
	}
	*k = (struct exec_kernel){ .name = f->name, .param_bytes = (uint32_t)pf->param_bytes, .nparams = pf->nparams,
		.param_offset = offs, .param_size = offs + pf->nparams, .static_shared = f->static_shared,
		.local_bytes = f->stack_bytes, .const_bytes = (uint32_t)ld->m->const_bytes,
		.max_threads = max[0] ? (threads > 1024 ? 1024 : threads) : 1024,
		.reqntid = { k->reqntid[0], k->reqntid[1], k->reqntid[2] },
		.explicit_cluster = pf->explicit_cluster, .max_cluster_rank = pf->maxclusterrank,
		.ptx_version = p->version_major * 10 + p->version_minor, .binary_version = (int)p->target_sm,
		.module = ld->m, .code = f };
	for (int i = 0; i < 3 && pf->reqnctapercluster[0]; i++)
		k->cluster[i] = pf->reqnctapercluster[i] ? pf->reqnctapercluster[i] : 1;
	uint32_t regs = f->need_regs > 255 ? 255 : f->need_regs;
	k->num_regs = pf->maxnreg && regs > pf->maxnreg ? pf->maxnreg : regs;
	if (k->max_threads * k->num_regs > 65536)
		k->num_regs = 65536 / k->max_threads;
	ld->m->kernels[ld->m->nkernels++] = k;
}

static void load_functions(struct load *ld)
{
	struct exec_module *m = ld->m;
	const struct ptx_module *p = m->ptx;
	m->nfuncs = p->nfuncs;
	m->funcs = load_alloc(ld, (p->nfuncs + 1) * sizeof *m->funcs);
	m->kernels = load_alloc(ld, (p->nfuncs + 1) * sizeof *m->kernels);
	if (!m->funcs || !m->kernels)
		return;
	for (uint32_t i = 0; i < p->nfuncs; i++) {
		struct func *f = &m->funcs[i];
		f->pf = p->funcs[i];
		f->name = f->pf->name;
		f->index = i;
		f->module = m;
		p->funcs[i]->user = f;
		describe(ld, f);
	}
	place_variables(ld);
	layout_shared(ld);
	for (uint32_t i = 0; i < p->nfuncs && ld->code == CUDA_SUCCESS; i++)
		if (p->funcs[i]->has_body)
			decode_func(ld, &m->funcs[i]);
	for (uint32_t i = 0; i < p->nfuncs && ld->code == CUDA_SUCCESS; i++) {
		struct func *f = &m->funcs[i];
		if (f->visit == 0)
			stack_depth(f, 0);
		if (f->pf->is_entry && f->ops)
			describe_kernel(ld, f);
	}
}

CUresult exec_load(struct ptx_module *ptx, uint64_t (*alloc)(uint64_t size, uint64_t align),
                   void (*release)(uint64_t addr, uint64_t size), struct exec_module **out, struct ptx_error *err)
{
	struct exec_module *m = calloc(1, sizeof *m);
	struct load ld = { .m = m, .err = err };
	*out = NULL;
	memset(err, 0, sizeof *err);
	if (!m) {
		ptx_free(ptx);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	m->ptx = ptx;
	m->alloc = alloc;
	m->release = release;
	load_functions(&ld);
	if (ld.code == CUDA_SUCCESS)
		each_variable(&ld, initialize);
	m->consts = ld.pool.bytes;
	m->consts_bytes = ld.pool.used;
	free(ld.pool.slots);
	free(ld.vars.slots);
	if (ld.code != CUDA_SUCCESS) {
		m->uses_heap = false;
		exec_unload(m);
		return ld.code;
	}
	if (m->uses_heap)
		exec_heap_retain(m);
	*out = m;
	return CUDA_SUCCESS;
}

void exec_unload(struct exec_module *m)
{
	if (!m)
		return;
	if (m->uses_heap)
		exec_heap_release(m);
	if (m->global_addr)
		m->release(m->global_addr, m->global_bytes);
	if (m->const_addr)
		m->release(m->const_addr, m->const_bytes);
	for (struct chunk *c = m->chunks, *n; c; c = n) {
		n = c->next;
		free(c);
	}
	free(m->consts);
	ptx_free(m->ptx);
	free(m);
}

/* --- questions ---------------------------------------------------------------------------------- */

uint32_t exec_kernel_count(const struct exec_module *m)
{
	return m->nkernels;
}

const struct exec_kernel *exec_kernel_at(const struct exec_module *m, uint32_t i)
{
	return i < m->nkernels ? m->kernels[i] : NULL;
}

const struct exec_kernel *exec_find_kernel(const struct exec_module *m, const char *name)
{
	for (uint32_t i = 0; i < m->nkernels; i++)
		if (!strcmp(m->kernels[i]->name, name))
			return m->kernels[i];
	return NULL;
}

const struct exec_symbol *exec_find_symbol(const struct exec_module *m, const char *name)
{
	for (uint32_t i = 0; i < m->nsymbols; i++)
		if (!strcmp(m->symbols[i].name, name))
			return &m->symbols[i];
	return NULL;
}
