/* exec_decode_mem.c - decode of memory instructions: address operands, ld, st, atom, red, cvta, asynchronous copies,
 * mbarriers; and the layout of shared memory. */
#include <string.h>
#include "exec_decode.h"

#define OP(d) ((d)->i->op)

/* --- variables ---------------------------------------------------------------------------------- */

/* A register holding the address of v (in its own space) plus off. */
uint32_t var_ref(struct dec *d, const struct ptx_var *v, int64_t off, unsigned width)
{
	uint64_t addr;
	struct op *o;
	if (v->space == PTX_LOCAL && var_find(&d->locals, v, &addr)) {
		if (d->pf->is_entry)
			return constant(d, addr + (uint64_t)off, width);
		uint32_t t = temp(d, width);
		o = emit(d, op_local_addr);
		o->d = t;
		o->y = width / 4;
		o->imm = (int64_t)addr + off;
		return t;
	}
	if (v->space == PTX_SHARED && v->unsized && !d->pf->is_entry) {
		uint32_t t = temp(d, width);
		o = emit(d, op_dyn_base);
		o->d = t;
		o->y = width / 4;
		o->imm = off;
		return t;
	}
	if (v->space == PTX_SHARED && v->unsized)
		return constant(d, d->f->dyn_base + (uint64_t)off, width);
	if (!var_find(&d->locals, v, &addr) && !var_find(&d->ld->vars, v, &addr)) {
		load_fail(d->ld, d->i->line, CUDA_ERROR_INVALID_PTX, "unresolved variable %s", v->name);
		return REF_CONST;
	}
	return constant(d, addr + (uint64_t)off, width);
}

uint64_t param_off(struct dec *d, const struct ptx_param *p)
{
	return !p->is_formal ? d->body_off[p->index] : p->offset + (p->is_ret ? d->f->ret_base : 0);
}

static uint32_t class_of(struct dec *d, enum ptx_space s, bool wide)
{
	switch (s) {
	case PTX_SHARED: return MC_SHARED32 + wide;
	case PTX_SHARED_CLUSTER: return MC_CLUSTER32 + wide;
	case PTX_LOCAL: return MC_LOCAL32 + wide;
	case PTX_CONST: return MC_CONST32 + wide;
	case PTX_PARAM: return (d->pf->is_entry ? MC_PARAM32 : MC_FPARAM32) + wide;
	case PTX_GLOBAL: return wide ? MC_GLOBAL : MC_GLOBAL32;
	case PTX_GENERIC:
		if (!wide)
			fail(d, "a 32-bit generic address");
		return MC_GENERIC;
	default: fail(d, "this state space"); return MC_GENERIC;
	}
}

/* Memory operand [base + off]: a register, how to read it, and the constant offset. */
void address(struct dec *d, const struct ptx_operand *o, enum ptx_space space, uint32_t *ref, uint32_t *cls,
	int64_t *off)
{
	struct ptx_operand base = *o;
	base.off = 0;
	*off = o->off;
	*ref = constant(d, 0, 8);
	*cls = MC_GENERIC;
	if (o->kind == PTX_O_ADDR)
		base.kind = o->base;
	if (base.kind == PTX_O_REG) {
		unsigned w = d->reg_width[o->u.reg];
		if (w != 4 && w != 8) {
			fail(d, "this address register");
			return;
		}
		*ref = d->reg_ref[o->u.reg];
		*cls = class_of(d, space, w == 8);
	} else if (base.kind == PTX_O_VAR) {
		const struct ptx_var *v = o->u.var;
		enum ptx_space s = space == PTX_GENERIC ? v->space : space;
		*cls = class_of(d, s, true);
		*ref = var_ref(d, v, o->off, 8);
		*off = 0;
	} else if (base.kind == PTX_O_PARAM) {
		const struct ptx_param *p = o->u.param;
		*cls = p->is_formal && d->pf->is_entry ? MC_PARAM64 : MC_FPARAM64;
		*off += (int64_t)param_off(d, p);
	} else if (base.kind == PTX_O_NONE || base.kind == PTX_O_IMM) {
		*cls = class_of(d, space, true);
		if (base.kind == PTX_O_IMM)
			*off += (int64_t)o->u.imm;
	} else {
		fail(d, "this address");
	}
}

/* --- ld, st ------------------------------------------------------------------------------------- */

static bool waited_for(struct dec *d)
{
	return has(d, PTX_MOD_volatile) || has(d, PTX_MOD_relaxed) || has(d, PTX_MOD_acquire) || has(d, PTX_MOD_release)
		|| has(d, PTX_MOD_mmio) || has(d, PTX_MOD_cv);
}

static uint32_t *new_list(struct dec *d, uint32_t n)
{
	static uint32_t nowhere[PTX_MAX_VEC + 8];
	uint32_t *l = load_alloc(d->ld, n * sizeof *l);
	return l ? l : nowhere;
}

/* Element type in memory, as the handlers' names say it. */
static const char *elem(enum ptx_type t, bool wide)
{
	unsigned b = type_bytes(t);
	bool s = type_signed(t);
	if (b == 4)
		return wide && s ? "s32" : "u32";
	return b == 1 ? (s ? "s8" : "u8") : b == 2 ? (s ? "s16" : "u16") : "u64";
}

/* A param by-value register formal read with ld.param, or written with st.param. */
static const struct ptx_param *reg_param(const struct ptx_operand *o)
{
	return o->kind == PTX_O_ADDR && o->base == PTX_O_PARAM && o->u.param->reg ? o->u.param : NULL;
}

static bool vector_ok(struct dec *d, const struct ptx_operand *v, unsigned n)
{
	if ((n > 1) != (v->kind == PTX_O_VEC) || (n > 1 && v->nlist != n)) {
		fail(d, "this vector");
		return false;
	}
	return true;
}

static void ld(struct dec *d)
{
	const struct ptx_operand *to = opnd(d, 0);
	enum ptx_type t = d->i->type;
	unsigned n = d->i->vec;
	uint32_t ref, cls, list[8];
	uint64_t var_at = 0;
	int64_t off;
	if (reg_param(opnd(d, 1))) {
		fail(d, "a register parameter");
		return;
	}
	address(d, opnd(d, 1), d->i->space, &ref, &cls, &off);
	if (!vector_ok(d, to, n) || n > 8)
		return;
	struct op *o;
	if (type_bytes(t) == 16) {
		uint32_t r = dst(d, to, 16, false);
		o = emit(d, op_ld128);
		o->d = r;
	} else {
		/* All registers of a vector load have one width, unless some are wider than the type needs. */
		unsigned w = n == 1 && to->kind == PTX_O_REG && operand_width(d, to) ? operand_width(d, to)
			: lane_width(t);
		if (w == 16)
			w = 8;
		for (unsigned k = 0; k < n; k++) {
			const struct ptx_operand *e = n == 1 ? to : &to->list[k];
			list[k] = n > 1 && e->kind == PTX_O_SINK ? REF_NONE : dst(d, e, w, type_signed(t));
		}
		bool fixed = (ref & REF_CONST) && (cls == MC_PARAM64 || cls == MC_CONST64)
			&& opnd(d, 1)->base != PTX_O_REG;
		o = emit_simd(d, list[0], ref, 0, 0, "%s_%s_%u", n > 1 ? "ldv" : "ld", elem(t, w == 8), w * 8);
		if (fixed && opnd(d, 1)->base == PTX_O_VAR)
			fixed = var_find(&d->ld->vars, opnd(d, 1)->u.var, &var_at);
		if (fixed) {
			o->fn = op_ld_uniform;
			off += (int64_t)var_at + (opnd(d, 1)->base == PTX_O_VAR ? opnd(d, 1)->off : 0);
			o->x = 1;
			o->b = w;
			o->c = type_bytes(t) | (type_signed(t) ? 256 : 0);
		}
		if (n > 1) {
			uint32_t *l = new_list(d, n);
			memcpy(l, list, n * sizeof *l);
			o->list = l;
			o->x = n;
		}
	}
	o->a = ref;
	o->y = cls;
	o->imm = off;
	o->e = MA_LOAD;
	o->z = waited_for(d) && cls != MC_LOCAL32 && cls != MC_LOCAL64;
}

static uint32_t store_src(struct dec *d, const struct ptx_operand *e, enum ptx_type t, unsigned *w)
{
	unsigned own = e->kind == PTX_O_REG ? operand_width(d, e) : 0;
	*w = type_bytes(t) == 8 ? 8 : own == 8 ? 8 : 4;
	return type_float(t) && e->kind == PTX_O_FIMM ? src_f(d, e, t) : src(d, e, *w);
}

static void st(struct dec *d)
{
	const struct ptx_operand *from = opnd(d, 1);
	enum ptx_type t = d->i->type;
	unsigned n = d->i->vec, w = 4;
	uint32_t ref, cls, list[8];
	int64_t off;
	address(d, opnd(d, 0), d->i->space, &ref, &cls, &off);
	if (cls == MC_CONST32 || cls == MC_CONST64 || cls == MC_PARAM32 || (cls == MC_PARAM64 && d->pf->is_entry))
		fail(d, "a store to this space");
	if (!vector_ok(d, from, n) || n > 8)
		return;
	struct op *o;
	if (type_bytes(t) == 16) {
		uint32_t b = src(d, from, 16);
		o = emit(d, op_st128);
		o->b = b;
	} else {
		for (unsigned k = 0; k < n; k++) {
			unsigned wk;
			list[k] = store_src(d, n == 1 ? from : &from->list[k], t, &wk);
			if (k && wk != w) {
				fail(d, "a vector of mixed registers");
				return;
			}
			w = wk;
		}
		static const char *const names[] = { "", "u8", "u16", "", "u32", "", "", "", "u64" };
		o = emit_simd(d, 0, ref, list[0], 0, "%s_%s_%u", n > 1 ? "stv" : "st", names[type_bytes(t)], w * 8);
		if (n > 1) {
			uint32_t *l = new_list(d, n);
			memcpy(l, list, n * sizeof *l);
			o->list = l;
			o->x = n;
		}
	}
	o->a = ref;
	o->y = cls;
	o->imm = off;
	o->e = MA_STORE;
	o->z = 0;
}

/* --- atom, red ---------------------------------------------------------------------------------- */

static void atom_vector(struct dec *d, op_fn fn, unsigned ai)
{
	static const struct { enum ptx_type t; uint32_t kind; } kinds[] = { { PTX_T_F32, 0 }, { PTX_T_F16X2, 1 },
		{ PTX_T_BF16X2, 2 },
		{ PTX_T_F16, 3 }, { PTX_T_BF16, 4 } };
	unsigned n = d->i->vec;
	const struct ptx_operand *b = opnd(d, ai + 1), *to = ai ? opnd(d, 0) : NULL;
	uint32_t ref, cls, *list = new_list(d, 2 * n), z = 0;
	int64_t off;
	address(d, opnd(d, ai), d->i->space, &ref, &cls, &off);
	if (b->kind != PTX_O_VEC || b->nlist != n || n > 8 || (to && to->kind != PTX_O_VEC && to->kind != PTX_O_SINK)) {
		fail(d, "this vector");
		return;
	}
	for (unsigned k = 0; k < n; k++) {
		list[k] = to && to->kind == PTX_O_VEC && k < to->nlist ? dst(d, &to->list[k], 4, false) : REF_NONE;
		list[n + k] = src(d, &b->list[k], 4);
	}
	for (unsigned k = 0; k < 5; k++)
		z = kinds[k].t == d->i->type ? kinds[k].kind : z;
	struct op *o = emit(d, fn);
	o->list = list;
	o->x = n;
	o->z = z + 8 * (has(d, PTX_MOD_min) ? 1u : has(d, PTX_MOD_max) ? 2u : 0u);
	o->a = ref;
	o->y = cls;
	o->imm = off;
	o->e = MA_ATOMIC;
}

static void atom(struct dec *d)
{
	unsigned ai = OP(d) == PTX_OP_atom, size, w;
	const char *why;
	op_fn fn = exec_atom_fn(d->i, &size, &why);
	uint32_t ref, cls;
	int64_t off;
	if (!fn) {
		fail(d, "%s", why);
		return;
	}
	if (d->i->vec > 1) {
		atom_vector(d, fn, ai);
		return;
	}
	w = size <= 4 ? 4 : size;
	address(d, opnd(d, ai), d->i->space, &ref, &cls, &off);
	uint32_t b = type_float(d->i->type) ? src_f(d, opnd(d, ai + 1), d->i->type) : src(d, opnd(d, ai + 1), w), c = b;
	bool cas = has(d, PTX_MOD_cas);
	if (cas)
		c = src(d, opnd(d, ai + 2), w);
	uint32_t to = ai && opnd(d, 0)->kind != PTX_O_SINK ? dst(d, opnd(d, 0), w, type_signed(d->i->type)) : REF_NONE;
	struct op *o = emit(d, fn);
	o->d = to;
	o->a = ref;
	o->b = b;
	o->c = c;
	o->x = cas;
	o->y = cls;
	o->imm = off;
	o->e = MA_ATOMIC;
}

/* --- addresses as values ------------------------------------------------------------------------- */

static bool window(enum ptx_space s, uint64_t *base)
{
	switch (s) {
	case PTX_GLOBAL: *base = 0; return true;
	case PTX_SHARED: case PTX_SHARED_CLUSTER: *base = SOFT_SHARED_BASE; return true;
	case PTX_LOCAL: *base = SOFT_LOCAL_BASE; return true;
	case PTX_CONST: *base = SOFT_CONST_BASE; return true;
	case PTX_PARAM: *base = SOFT_CONST_BASE + PARAM_WINDOW; return true;
	default: return false;
	}
}

static void cvta(struct dec *d)
{
	uint64_t base;
	if (!window(d->i->space, &base)) {
		fail(d, "this space");
		return;
	}
	if (d->i->space == PTX_PARAM && !d->pf->is_entry)
		fail(d, "the address of a function's parameter");
	uint32_t a = src(d, opnd(d, 1), 8), r = dst(d, opnd(d, 0), 8, false);
	emit_simd(d, r, a, constant(d, has(d, PTX_MOD_to) ? 0 - base : base, 8), 0, base ? "add_u64" : "mov_64");
}

static void isspacep(struct dec *d)
{
	unsigned w = operand_width(d, opnd(d, 1));
	uint32_t a = src(d, opnd(d, 1), w), p = pred_dst(d, opnd(d, 0));
	struct op *o = emit(d, op_isspacep);
	o->d = p;
	o->a = a;
	o->x = d->i->space;
	o->y = w == 8;
}

static void mapa(struct dec *d)
{
	unsigned w = lane_width(d->i->type);
	uint32_t a = src(d, opnd(d, 1), w), b = src(d, opnd(d, 2), 4), r = dst(d, opnd(d, 0), w, false);
	struct op *o = emit(d, op_mapa);
	o->d = r;
	o->a = a;
	o->b = b;
	o->y = w;
	o->z = d->i->space == PTX_GENERIC;
}

static void getctarank(struct dec *d)
{
	unsigned w = lane_width(d->i->type);
	uint32_t a = src(d, opnd(d, 1), w), r = dst(d, opnd(d, 0), 4, false);
	struct op *o = emit(d, op_ctarank);
	o->d = r;
	o->a = a;
	o->y = w;
	o->z = d->i->space == PTX_GENERIC;
}

bool decode_mem(struct dec *d)
{
	switch (OP(d)) {
	case PTX_OP_ld: case PTX_OP_ldu: ld(d); return true;
	case PTX_OP_st:
		if (has(d, PTX_MOD_async))
			return false;
		st(d);
		return true;
	case PTX_OP_atom: atom(d); return true;
	case PTX_OP_red:
		if (has(d, PTX_MOD_async))
			return false;
		atom(d);
		return true;
	case PTX_OP_cvta: cvta(d); return true;
	case PTX_OP_isspacep: isspacep(d); return true;
	case PTX_OP_mapa: mapa(d); return true;
	case PTX_OP_getctarank: getctarank(d); return true;
	case PTX_OP_prefetch: case PTX_OP_prefetchu: case PTX_OP_applypriority: case PTX_OP_discard:
		emit(d, op_prefetch);
		return true;
	case PTX_OP_createpolicy:
		emit_simd(d, dst(d, opnd(d, 0), 8, false), constant(d, 0, 8), 0, 0, "mov_64");
		return true;
	default: return false;
	}
}

/* --- asynchronous copies and mbarriers ------------------------------------------------------------ */

static void async_address(struct dec *d, const struct ptx_operand *o, enum ptx_space s, struct async_addr *a)
{
	address(d, o, s, &a->ref, &a->cls, &a->off);
}

static struct async_copy *new_copy(struct dec *d)
{
	static struct async_copy nowhere;
	struct async_copy *c = load_alloc(d->ld, sizeof *c);
	if (!c)
		return &nowhere;
	*c = (struct async_copy){ 0 };
	return c;
}

/* cp.async.ca.shared.global [dst], [src], size{, src-size or ignore-src}{, policy} */
static bool cp_async(struct dec *d)
{
	struct async_copy *c = new_copy(d);
	unsigned n_ops = d->i->nops - has(d, PTX_MOD_L2_cache_hint);
	const struct ptx_operand *size = opnd(d, 2), *used = n_ops > 3 ? opnd(d, 3) : NULL;
	uint32_t n = REF_NONE;
	if (size->kind != PTX_O_IMM || (size->u.imm != 4 && size->u.imm != 8 && size->u.imm != 16))
		return false;
	async_address(d, opnd(d, 0), PTX_SHARED, &c->dst);
	async_address(d, opnd(d, 1), PTX_GLOBAL, &c->src);
	if (used && used->kind == PTX_O_REG && !operand_width(d, used)) {
		uint32_t neg, p = pred_src(d, used, &neg);
		n = temp(d, 4);
		emit_simd(d, n, constant(d, 0, 4), constant(d, size->u.imm, 4), p, "selp_32")->y = neg;
	} else if (used) {
		n = src(d, used, 4);
	}
	struct op *o = emit(d, op_cp_async);
	o->ext = c;
	o->x = (uint32_t)size->u.imm;
	o->c = n;
	return true;
}

static bool cp(struct dec *d)
{
	if (has(d, PTX_MOD_commit_group) || has(d, PTX_MOD_wait_group) || has(d, PTX_MOD_wait_all)) {
		emit(d, op_nop);
		return true;
	}
	if (has(d, PTX_MOD_tensor) || has(d, PTX_MOD_reduce) || has(d, PTX_MOD_multicast_cluster)
			|| has(d, PTX_MOD_cp_mask))
		return false;
	struct async_copy *c;
	struct op *o;
	if (has(d, PTX_MOD_mbarrier)) {
		/* The copies are done: without .noinc the arrival and the expected one cancel out. */
		if (!has(d, PTX_MOD_noinc)) {
			emit(d, op_nop);
			return true;
		}
		c = new_copy(d);
		async_address(d, opnd(d, 0), d->i->space, &c->dst);
		o = emit(d, op_mbarrier);
		o->x = MB_ARRIVE_COPY;
		o->b = o->d = REF_NONE;
		o->ext = c;
		return true;
	}
	if (!has(d, PTX_MOD_bulk))
		return has(d, PTX_MOD_async) && cp_async(d);
	if (has(d, PTX_MOD_prefetch)) {
		emit(d, op_prefetch);
		return true;
	}
	bool to_global = d->i->space == PTX_GLOBAL;
	c = new_copy(d);
	async_address(d, opnd(d, 0), to_global ? PTX_GLOBAL : PTX_SHARED, &c->dst);
	async_address(d, opnd(d, 1), to_global || !has(d, PTX_MOD_global) ? PTX_SHARED : PTX_GLOBAL, &c->src);
	uint32_t n = src(d, opnd(d, 2), 4);
	if (has(d, PTX_MOD_mbarrier_complete_tx_bytes)) {
		c->has_bar = true;
		async_address(d, opnd(d, 3), PTX_SHARED, &c->bar);
	}
	o = emit(d, op_cp_bulk);
	o->ext = c;
	o->c = n;
	return true;
}

static bool mbarrier(struct dec *d)
{
	bool arrive = has(d, PTX_MOD_arrive), drop = has(d, PTX_MOD_arrive_drop), tx = has(d, PTX_MOD_expect_tx);
	bool test = has(d, PTX_MOD_test_wait) || has(d, PTX_MOD_try_wait), token = test && !has(d, PTX_MOD_parity);
	unsigned ai = test || ((arrive || drop) && d->i->nops > 1 && opnd(d, 0)->kind != PTX_O_ADDR) ? 1 : 0;
	uint32_t mode = has(d, PTX_MOD_init) ? MB_INIT : has(d, PTX_MOD_inval) ? MB_INVAL
		: drop ? (tx ? MB_DROP_EXPECT : MB_DROP) : arrive ? (tx ? MB_ARRIVE_EXPECT : MB_ARRIVE)
		: tx ? MB_EXPECT : has(d, PTX_MOD_complete_tx) ? MB_COMPLETE
		: token ? MB_TEST : test ? MB_TEST_PARITY : MB_PENDING;
	uint32_t b = REF_NONE, to = REF_NONE;
	struct async_copy *c = new_copy(d);
	if (mode == MB_PENDING) {
		b = src(d, opnd(d, 1), 8);
		to = dst(d, opnd(d, 0), 4, false);
	} else {
		/* With no space given the address is generic. */
		async_address(d, opnd(d, ai), d->i->space, &c->dst);
		if (d->i->nops > ai + 1)
			b = src(d, opnd(d, ai + 1), token ? 8 : 4);
		if (test)
			to = pred_dst(d, opnd(d, 0));
		else if (ai && opnd(d, 0)->kind != PTX_O_SINK)
			to = dst(d, opnd(d, 0), 8, false);
	}
	struct op *o = emit(d, op_mbarrier);
	o->x = mode;
	o->z = token || mode == MB_PENDING ? 2 : 1;
	o->b = b;
	o->d = to;
	o->ext = c;
	return true;
}

bool decode_async(struct dec *d)
{
	switch (OP(d)) {
	case PTX_OP_cp: return cp(d);
	case PTX_OP_mbarrier: return mbarrier(d);
	default: return false;
	}
}

/* --- layout of shared memory ---------------------------------------------------------------------- */

static void each_var(const struct ptx_operand *ops, unsigned n, void (*fn)(void *arg, const struct ptx_var *v),
	void *arg)
{
	for (unsigned k = 0; k < n; k++) {
		const struct ptx_operand *o = &ops[k];
		if (o->kind == PTX_O_VAR || (o->kind == PTX_O_ADDR && o->base == PTX_O_VAR))
			fn(arg, o->u.var);
		else if (o->kind == PTX_O_VEC || o->kind == PTX_O_LIST || o->kind == PTX_O_PAIR || o->kind == PTX_O_TEX)
			each_var(o->list, o->nlist, fn, arg);
	}
}

static uint64_t place(struct load *ld, struct var_map *map, const struct ptx_var *v, uint64_t top)
{
	top = (top + v->align - 1) & ~(uint64_t)(v->align - 1);
	if (!var_add(map, v, top))
		load_fail(ld, v->line, CUDA_ERROR_OUT_OF_MEMORY, "no memory");
	if (v->size > (1u << 24) || top + v->size > (1u << 24)) {
		load_fail(ld, v->line, CUDA_ERROR_INVALID_PTX, "too much shared memory");
		return top;
	}
	return top + v->size;
}

static void common_var(void *arg, const struct ptx_var *v)
{
	struct load *ld = arg;
	uint64_t addr;
	if (v->space == PTX_SHARED && !v->unsized && !var_find(&ld->vars, v, &addr))
		ld->common_shared = (uint32_t)place(ld, &ld->vars, v, ld->common_shared);
}

/* Shared variables that functions name lie first, at the same place for every kernel that calls. */
void layout_shared(struct load *ld)
{
	for (uint32_t k = 0; k < ld->m->nfuncs; k++) {
		const struct ptx_func *pf = ld->m->funcs[k].pf;
		for (uint32_t j = 0; !pf->is_entry && j < pf->ninsts; j++)
			each_var(pf->insts[j].ops, pf->insts[j].nops, common_var, ld);
	}
}

struct entry_scan { struct dec *d; uint64_t top, dyn_align; };

static void entry_var(void *arg, const struct ptx_var *v)
{
	struct entry_scan *s = arg;
	uint64_t addr;
	if (v->space != PTX_SHARED)
		return;
	if (v->unsized) {
		s->dyn_align = v->align > s->dyn_align ? v->align : s->dyn_align;
		return;
	}
	if (var_find(&s->d->locals, v, &addr) || (s->d->calls_out && var_find(&s->d->ld->vars, v, &addr)))
		return;
	s->top = place(s->d->ld, &s->d->locals, v, s->top);
}

bool shared_of_entry(struct dec *d)
{
	const struct ptx_func *pf = d->pf;
	for (uint32_t j = 0; j < pf->ninsts; j++)
		if (pf->insts[j].op == PTX_OP_call && !(pf->insts[j].ops[1].kind == PTX_O_FUNC
				&& intrinsic_of(pf->insts[j].ops[1].u.func->name)))
			d->calls_out = true;
	struct entry_scan s = { d, d->calls_out ? d->ld->common_shared : 0, 16 };
	for (uint32_t j = 0; j < pf->ninsts; j++)
		each_var(pf->insts[j].ops, pf->insts[j].nops, entry_var, &s);
	d->f->static_shared = (uint32_t)s.top;
	d->f->dyn_base = (uint32_t)((s.top + s.dyn_align - 1) & ~(s.dyn_align - 1));
	return true;
}
