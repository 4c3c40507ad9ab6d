/* exec_decode.c - the core of decode: operands, temporaries, emission, and the walk over one function. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "exec_decode.h"

#define FRAME_MAX (64u << 20)
#define POOL_MAX (256ull << 20)

/* --- errors ------------------------------------------------------------------------------------- */

void load_fail(struct load *ld, uint32_t line, CUresult code, const char *fmt, ...)
{
	va_list ap;
	if (ld->code != CUDA_SUCCESS)
		return;
	ld->code = code;
	ld->err->line = line;
	va_start(ap, fmt);
	vsnprintf(ld->err->text, sizeof ld->err->text, fmt, ap);
	va_end(ap);
}

bool failed(const struct dec *d)
{
	return d->ld->code != CUDA_SUCCESS;
}

/* Complains about the current instruction: what it is, and what about it. */
void fail(struct dec *d, const char *fmt, ...)
{
	char name[128], why[128];
	size_t n = (size_t)snprintf(name, sizeof name, "%s", ptx_op_name(d->i->op));
	for (unsigned k = 0; k < d->i->nmods && n < sizeof name; k++)
		n += (size_t)snprintf(name + n, sizeof name - n, ".%s", ptx_mod_name(d->i->mods[k]));
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	load_fail(d->ld, d->i->line, CUDA_ERROR_NOT_SUPPORTED, "%s: softgpu does not execute %s", name, why);
}

/* --- types -------------------------------------------------------------------------------------- */

unsigned type_bytes(enum ptx_type t)
{
	return t == PTX_T_PRED ? 0 : ptx_type_bytes(t);
}

bool type_signed(enum ptx_type t)
{
	return t == PTX_T_S8 || t == PTX_T_S16 || t == PTX_T_S32 || t == PTX_T_S64;
}

bool type_float(enum ptx_type t)
{
	return t == PTX_T_F16 || t == PTX_T_BF16 || t == PTX_T_F32 || t == PTX_T_F64 || t == PTX_T_TF32;
}

unsigned lane_width(enum ptx_type t)
{
	unsigned b = type_bytes(t);
	return b <= 4 ? 4 : b;
}

const char *uint_name(enum ptx_type t)
{
	switch (type_bytes(t)) {
	case 1: return "u8";
	case 2: return "u16";
	case 4: return "u32";
	case 8: return "u64";
	default: return "none";
	}
}

const char *int_name(enum ptx_type t)
{
	switch (t) {
	case PTX_T_S8: return "s8";
	case PTX_T_S16: return "s16";
	case PTX_T_S32: return "s32";
	case PTX_T_S64: return "s64";
	default: return uint_name(t);
	}
}

const char *float_name(enum ptx_type t)
{
	switch (t) {
	case PTX_T_F16: return "h";
	case PTX_T_BF16: return "q";
	case PTX_T_F32: return "f32";
	case PTX_T_F64: return "f64";
	default: return "none";
	}
}

/* Every suffix is a type, a space the opcode takes, or in the list. */
bool mods_known(struct dec *d, unsigned n, const uint16_t *allowed)
{
	for (unsigned k = 0; k < d->i->nmods; k++) {
		bool ok = ptx_mod_type(d->i->mods[k]) != PTX_T_NONE;
		for (unsigned j = 0; j < n && !ok; j++)
			ok = allowed[j] == d->i->mods[k];
		if (!ok) {
			fail(d, "the suffix .%s here", ptx_mod_name(d->i->mods[k]));
			return false;
		}
	}
	return true;
}

/* --- variables ---------------------------------------------------------------------------------- */

static uint32_t var_hash(const struct ptx_var *v, uint32_t cap)
{
	return (uint32_t)(((uintptr_t)v >> 4) * 0x9e3779b97f4a7c15ull >> 32) & (cap - 1);
}

bool var_find(const struct var_map *m, const struct ptx_var *v, uint64_t *addr)
{
	if (!m->cap)
		return false;
	for (uint32_t h = var_hash(v, m->cap); m->slots[h].var; h = (h + 1) & (m->cap - 1)) {
		if (m->slots[h].var == v) {
			*addr = m->slots[h].addr;
			return true;
		}
	}
	return false;
}

bool var_add(struct var_map *m, const struct ptx_var *v, uint64_t addr)
{
	if (m->count * 2 >= m->cap) {
		struct var_map big = { .cap = m->cap ? m->cap * 2 : 64 };
		big.slots = calloc(big.cap, sizeof *big.slots);
		if (!big.slots)
			return false;
		for (uint32_t i = 0; i < m->cap; i++)
			if (m->slots[i].var)
				var_add(&big, m->slots[i].var, m->slots[i].addr);
		free(m->slots);
		*m = big;
	}
	uint32_t h = var_hash(v, m->cap);
	while (m->slots[h].var)
		h = (h + 1) & (m->cap - 1);
	m->slots[h] = (struct var_addr){ v, addr };
	m->count++;
	return true;
}

/* --- constants ---------------------------------------------------------------------------------- */

static bool pool_grow(struct const_pool *p)
{
	uint64_t cap = p->cap ? p->cap * 2 : 1u << 16;
	uint8_t *b = aligned_alloc(64, cap);
	if (!b || cap > POOL_MAX) {
		free(b);
		return false;
	}
	if (p->used)
		memcpy(b, p->bytes, p->used);
	free(p->bytes);
	p->bytes = b;
	p->cap = cap;
	return true;
}

static uint64_t pool_value(const struct const_pool *p, uint32_t slot, unsigned *width)
{
	uint64_t v;
	uint32_t off = (slot - 1) & ~1u;
	*width = (slot - 1) & 1 ? 8 : 4;
	if (*width == 8)
		memcpy(&v, p->bytes + off, 8);
	else
		v = *(const uint32_t *)(p->bytes + off);
	return v;
}

static uint32_t pool_hash(uint64_t v, unsigned width, uint32_t n)
{
	return (uint32_t)((v + width) * 0x9e3779b97f4a7c15ull >> 32) & (n - 1);
}

static bool pool_rehash(struct const_pool *p)
{
	uint32_t n = p->nslots ? p->nslots * 2 : 1024, *s = calloc(n, sizeof *s);
	if (!s)
		return false;
	for (uint32_t i = 0; i < p->nslots; i++) {
		if (!p->slots[i])
			continue;
		unsigned w;
		uint64_t v = pool_value(p, p->slots[i], &w);
		uint32_t h = pool_hash(v, w, n);
		while (s[h])
			h = (h + 1) & (n - 1);
		s[h] = p->slots[i];
	}
	free(p->slots);
	p->slots = s;
	p->nslots = n;
	return true;
}

/* A register whose 32 lanes hold v. */
uint32_t constant(struct dec *d, uint64_t v, unsigned width)
{
	struct const_pool *p = &d->ld->pool;
	if (width == 4)
		v = (uint32_t)v;
	if ((p->count * 2 >= p->nslots && !pool_rehash(p)) || (p->used + 512 > p->cap && !pool_grow(p))) {
		load_fail(d->ld, d->i->line, CUDA_ERROR_OUT_OF_MEMORY, "no memory for constants");
		return REF_CONST;
	}
	uint32_t h = pool_hash(v, width, p->nslots);
	for (; p->slots[h]; h = (h + 1) & (p->nslots - 1)) {
		unsigned w;
		if (pool_value(p, p->slots[h], &w) == v && w == width)
			return REF_CONST | ((p->slots[h] - 1) & ~1u);
	}
	uint32_t off = (uint32_t)p->used;
	for (int l = 0; l < WARP; l++) {
		if (width == 8)
			memcpy(p->bytes + off + 8 * l, &v, 8);
		else
			*(uint32_t *)(p->bytes + off + 4 * l) = (uint32_t)v;
	}
	p->used += width * WARP;
	p->slots[h] = (off | (width == 8)) + 1;
	p->count++;
	return REF_CONST | off;
}

/* --- temporaries -------------------------------------------------------------------------------- */

static uint32_t frame_take(struct dec *d, uint32_t bytes)
{
	uint32_t off = d->frame_bytes;
	if (off > FRAME_MAX) {
		load_fail(d->ld, d->pf->line, CUDA_ERROR_OUT_OF_MEMORY, "%s uses too many registers", d->pf->name);
		return 0;
	}
	d->frame_bytes += bytes;
	return off;
}

uint32_t temp(struct dec *d, unsigned width)
{
	unsigned k = width == 4 ? 0 : width == 8 ? 1 : 2;
	if (d->ntemp[k] == TEMPS) {
		fail(d, "so many operands");
		return d->temp[k][0];
	}
	if (d->ntemp[k] == d->temps_made[k])
		d->temp[k][d->temps_made[k]++] = frame_take(d, width * WARP);
	return d->temp[k][d->ntemp[k]++];
}

uint32_t ptemp(struct dec *d)
{
	if (d->nptemp == 4) {
		fail(d, "so many predicates");
		return d->ptemp[0];
	}
	return d->ptemp[d->nptemp++];
}

/* --- emission ----------------------------------------------------------------------------------- */

struct op *emit(struct dec *d, op_fn fn)
{
	static struct op nowhere;
	if (d->nops == d->cap) {
		uint32_t cap = d->cap ? d->cap * 2 : 256;
		struct op *p = realloc(d->ops, (size_t)cap * sizeof *p);
		if (!p) {
			load_fail(d->ld, 0, CUDA_ERROR_OUT_OF_MEMORY, "no memory for code");
			return &nowhere;
		}
		d->ops = p;
		d->cap = cap;
	}
	struct op *o = &d->ops[d->nops++];
	memset(o, 0, sizeof *o);
	o->fn = fn;
	o->line = d->i ? d->i->line : d->pf->line;
	if (d->i && d->i->has_pred) {
		o->p = d->reg_ref[d->i->pred];
		o->pneg = d->i->pred_neg ? FULL : 0;
	}
	return o;
}

#define UN(n, ...) #n,
#define BIN UN
#define TER UN
#define UNS UN
#define BINS UN
#define TERS UN
#define CMP UN
#define HAND(n) #n,
static const char *const simd_names[] = {
	"",
#include "exec_alu.def"
};
#define SIMD_HASH 2048u
static uint16_t simd_hash[SIMD_HASH];

static uint32_t name_hash(const char *s)
{
	uint32_t h = 2166136261u;
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h % SIMD_HASH;
}

static void simd_hash_fill(void)
{
	for (uint16_t i = 1; i < OP_COUNT; i++) {
		uint32_t h = name_hash(simd_names[i]);
		while (simd_hash[h])
			h = (h + 1) % SIMD_HASH;
		simd_hash[h] = i;
	}
}

static op_fn simd_vfind(struct dec *d, const char *fmt, va_list ap)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char name[64];
	pthread_once(&once, simd_hash_fill);
	vsnprintf(name, sizeof name, fmt, ap);
	for (uint32_t h = name_hash(name); simd_hash[h]; h = (h + 1) % SIMD_HASH)
		if (!strcmp(simd_names[simd_hash[h]], name))
			return d->simd[simd_hash[h]];
	return NULL;
}

op_fn simd_find(struct dec *d, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	op_fn fn = simd_vfind(d, fmt, ap);
	va_end(ap);
	return fn;
}

struct op *emit_simd(struct dec *d, uint32_t dref, uint32_t a, uint32_t b, uint32_t c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	op_fn fn = simd_vfind(d, fmt, ap);
	va_end(ap);
	if (!fn)
		fail(d, "this type");
	struct op *o = emit(d, fn);
	o->d = dref;
	o->a = a;
	o->b = b;
	o->c = c;
	return o;
}

struct op *emit_scalar(struct dec *d, const char *name, uint32_t x, uint32_t dref, unsigned dw, unsigned n,
	const uint32_t *refs, const unsigned *widths)
{
	struct op *o = emit(d, op_scalar);
	uint32_t *slots[4] = { &o->a, &o->b, &o->c, &o->e };
	o->sfn = exec_scalar_find(name);
	if (!o->sfn)
		fail(d, "this type");
	o->d = dref;
	o->x = dw / 4;
	o->y = x;
	for (unsigned k = 0; k < n; k++) {
		*slots[k] = refs[k];
		o->x |= (widths[k] / 4) << (2 + 2 * k);
	}
	return o;
}

void add_csr(struct op *o, uint32_t csr)
{
	if (csr == MXCSR_RN)
		return;
	o->fn2 = o->fn;
	o->fn = op_csr;
	o->z = csr;
}

/* --- operands ----------------------------------------------------------------------------------- */

const struct ptx_operand *opnd(struct dec *d, unsigned k)
{
	static const struct ptx_operand sink = { .kind = PTX_O_SINK };
	if (k < d->i->nops)
		return &d->i->ops[k];
	fail(d, "so few operands");
	return &sink;
}

unsigned operand_width(struct dec *d, const struct ptx_operand *o)
{
	if (o->kind == PTX_O_REG)
		return d->reg_width[o->u.reg];
	if (o->kind == PTX_O_SREG)
		return lane_width(ptx_sreg_type(o->u.sreg));
	return 8;
}

static uint32_t resize(struct dec *d, uint32_t ref, unsigned from, unsigned to, bool is_signed)
{
	uint32_t t = temp(d, to);
	if (from == 8 && to == 4)
		emit_simd(d, t, ref, 0, 0, "trunc_64");
	else if (from == 4 && to == 8)
		emit_simd(d, t, ref, 0, 0, is_signed ? "ext_s32_64" : "ext_u32_64");
	else
		fail(d, "a %u-byte register here", from);
	return t;
}

static uint32_t sreg_src(struct dec *d, const struct ptx_operand *o, unsigned width)
{
	unsigned own = lane_width(ptx_sreg_type(o->u.sreg));
	uint32_t t = temp(d, own);
	struct op *q = emit(d, op_sreg);
	q->d = t;
	q->x = o->u.sreg;
	q->y = own / 4;
	return own == width ? t : resize(d, t, own, width, false);
}

uint32_t src(struct dec *d, const struct ptx_operand *o, unsigned width)
{
	switch (o->kind) {
	case PTX_O_REG: {
		unsigned own = d->reg_width[o->u.reg];
		if (!own || (o->neg && own)) {
			fail(d, "this operand");
			return REF_CONST;
		}
		return own == width ? d->reg_ref[o->u.reg] : resize(d, d->reg_ref[o->u.reg], own, width,
			type_signed(d->i->type));
	}
	case PTX_O_IMM:
		return constant(d, o->u.imm, width);
	case PTX_O_FIMM:
		return constant(d, o->u.imm, width);
	case PTX_O_SREG:
		return sreg_src(d, o, width);
	case PTX_O_VAR:
		return var_ref(d, o->u.var, o->off, width);
	case PTX_O_FUNC: {
		const struct func *f = o->u.func->user;
		d->f->indirect = true;
		return constant(d, SOFT_CODE_BASE + 16ull * f->index, width);
	}
	case PTX_O_PARAM:
		if (o->u.param->reg)
			return d->reg_ref[o->u.param->reg - 1];
		return constant(d, param_off(d, o->u.param) + (uint64_t)o->off, width);
	default:
		fail(d, "this operand");
		return REF_CONST;
	}
}

/* An operand of a float instruction: decimal literals are doubles in the text. */
uint32_t src_f(struct dec *d, const struct ptx_operand *o, enum ptx_type t)
{
	if (o->kind != PTX_O_FIMM)
		return src(d, o, lane_width(t));
	float f;
	double g;
	if (o->is_f32) {
		uint32_t u = (uint32_t)o->u.imm;
		memcpy(&f, &u, 4);
		g = f;
	} else {
		memcpy(&g, &o->u.imm, 8);
		f = (float)g;
	}
	uint64_t bits = 0;
	if (t == PTX_T_F64)
		memcpy(&bits, &g, 8);
	else if (t == PTX_T_F32)
		memcpy(&bits, &f, 4);
	else
		fail(d, "a float literal of this type");
	if (o->is_f32 && t == PTX_T_F32)
		bits = (uint32_t)o->u.imm;
	return constant(d, bits, lane_width(t));
}

/* A destination; one of another size than the op writes is filled from a temporary after the op. */
uint32_t dst(struct dec *d, const struct ptx_operand *o, unsigned width, bool is_signed)
{
	if (o->kind == PTX_O_SINK)
		return temp(d, width);
	if (o->kind != PTX_O_REG || !d->reg_width[o->u.reg]) {
		fail(d, "this destination");
		return temp(d, width);
	}
	unsigned own = d->reg_width[o->u.reg];
	if (own == width)
		return d->reg_ref[o->u.reg];
	uint32_t t = temp(d, width);
	if (d->nfix == TEMPS || own == 16 || width == 16) {
		fail(d, "a destination of this size");
		return t;
	}
	d->fix[d->nfix].from = t;
	d->fix[d->nfix].to = d->reg_ref[o->u.reg];
	d->fix[d->nfix].from_width = (uint8_t)width;
	d->fix[d->nfix].to_width = (uint8_t)own;
	d->fix[d->nfix++].is_signed = is_signed;
	return t;
}

uint32_t pred_src(struct dec *d, const struct ptx_operand *o, uint32_t *neg)
{
	*neg = o->neg ? FULL : 0;
	if (o->kind == PTX_O_REG && !d->reg_width[o->u.reg])
		return d->reg_ref[o->u.reg];
	if (o->kind == PTX_O_IMM) {
		*neg ^= o->u.imm ? 0 : FULL;
		return PRED_TRUE;
	}
	if (o->kind == PTX_O_SREG && o->u.sreg == PTX_SR_is_explicit_cluster) {
		uint32_t p = ptemp(d);
		emit(d, op_explicit_cluster)->d = p;
		return p;
	}
	fail(d, "this predicate operand");
	return PRED_TRUE;
}

/* Frame offset of the predicate, 0 for a sink. */
uint32_t pred_dst(struct dec *d, const struct ptx_operand *o)
{
	if (o->kind == PTX_O_SINK)
		return 0;
	if (o->kind == PTX_O_REG && !d->reg_width[o->u.reg])
		return d->reg_ref[o->u.reg];
	fail(d, "this predicate destination");
	return 0;
}

/* --- functions ---------------------------------------------------------------------------------- */

static void decode_one(struct dec *d)
{
	d->first = d->nops;
	memset(d->ntemp, 0, sizeof d->ntemp);
	d->nptemp = d->nfix = 0;
	bool ok = decode_int(d) || decode_float(d) || decode_cmp(d) || decode_mov(d) || decode_cvt(d) || decode_mem(d)
		|| decode_async(d) || decode_ctl(d) || decode_sync(d) || decode_matrix(d) || decode_tex(d);
	if (!ok)
		fail(d, "this instruction");
	for (uint32_t k = 0; k < d->nfix; k++)
		emit_simd(d, d->fix[k].to, d->fix[k].from, 0, 0, d->fix[k].to_width == 4 ? "trunc_64"
			: d->fix[k].is_signed ? "ext_s32_64" : "ext_u32_64");
	if (d->nops == d->first)
		emit(d, op_nop);
	d->ops[d->first].count = FULL;
}

static bool place_registers(struct dec *d)
{
	const struct ptx_func *pf = d->pf;
	uint32_t top = PRED_FIRST;
	d->reg_ref = calloc((size_t)pf->nregs + 1, sizeof *d->reg_ref);
	d->reg_width = calloc((size_t)pf->nregs + 1, 1);
	d->inst_op = calloc((size_t)pf->ninsts + 1, sizeof *d->inst_op);
	d->body_off = calloc((size_t)pf->nbody_params + 1, sizeof *d->body_off);
	if (!d->reg_ref || !d->reg_width || !d->inst_op || !d->body_off)
		return false;
	for (uint32_t r = 0; r < pf->nregs; r++) {
		if (pf->regs[r].type == PTX_T_PRED) {
			d->reg_ref[r] = top;
			top += 4;
		}
	}
	for (int k = 0; k < 4; k++, top += 4)
		d->ptemp[k] = top;
	d->frame_bytes = (top + 63) & ~63u;
	for (uint32_t r = 0; r < pf->nregs; r++)
		d->reg_width[r] = pf->regs[r].type == PTX_T_PRED ? 0 : (uint8_t)lane_width(pf->regs[r].type);
	uint32_t counts[3] = { 0 }, base[3], *slot = calloc((size_t)pf->nregs + 1, sizeof *slot);
	bool shared = slot && share_registers(pf, d->reg_width, slot, counts, &d->f->need_regs);
	for (unsigned k = 0; k < 3 && shared; k++)
		base[k] = frame_take(d, counts[k] * (4u << k) * WARP);
	if (!slot)
		d->f->need_regs = pf->nregs;
	for (uint32_t r = 0; r < pf->nregs; r++) {
		uint32_t w = d->reg_width[r];
		if (w)
			d->reg_ref[r] = shared ? base[w / 8] + slot[r] * w * WARP : frame_take(d, w * WARP);
	}
	free(slot);
	return true;
}

/* Parameter block of a function: its formals in C layout, results and arguments, then the .param variables of its
 * calls. */
static void place_params(struct dec *d)
{
	const struct ptx_func *pf = d->pf;
	uint64_t top = pf->is_entry ? 0 : d->f->par_bytes;
	for (uint32_t k = 0; k < pf->nparams; k++)
		if (pf->params[k].reg)
			d->f->params[k].ref = d->reg_ref[pf->params[k].reg - 1];
	for (uint32_t k = 0; k < pf->nrets; k++)
		if (pf->rets[k].reg)
			d->f->rets[k].ref = d->reg_ref[pf->rets[k].reg - 1];
	for (uint32_t k = 0; k < pf->nbody_params; k++) {
		const struct ptx_param *p = &pf->body_params[k];
		uint64_t align = p->align > 16 ? p->align : 16;
		top = (top + align - 1) & ~(align - 1);
		d->body_off[k] = (uint32_t)top;
		top += p->size;
		if (top > 1u << 20) {
			load_fail(d->ld, pf->line, CUDA_ERROR_NOT_SUPPORTED,
				"%s: parameters of calls take more than 1 MiB", pf->name);
			return;
		}
	}
	d->f->par_bytes = (uint32_t)(top + 15) & ~15u;
}

static void place_locals(struct dec *d)
{
	const struct ptx_func *pf = d->pf;
	uint64_t top = 0;
	for (uint32_t k = 0; k < pf->nvars; k++) {
		const struct ptx_var *v = pf->vars[k];
		if (v->space != PTX_LOCAL)
			continue;
		top = (top + v->align - 1) & ~(uint64_t)(v->align - 1);
		if (!var_add(&d->locals, v, top))
			load_fail(d->ld, v->line, CUDA_ERROR_OUT_OF_MEMORY, "no memory");
		top += v->size;
		if (top > 512u << 10)
			load_fail(d->ld, v->line, CUDA_ERROR_INVALID_PTX, "%s: more than 512 KiB of local variables",
				pf->name);
	}
	d->f->local_bytes = (uint32_t)(top + 15) & ~15u;
}

static void finish_targets(struct dec *d)
{
	for (uint32_t k = 0; k < d->nops; k++) {
		struct op *o = &d->ops[k];
		if (o->fn == op_bra || o->fn == op_bra_back) {
			o->target = d->ops + d->inst_op[o->label];
		} else if (o->fn == op_brx) {
			struct jump_table *t = (struct jump_table *)o->table;
			for (uint32_t j = 0; j < t->n; j++)
				t->target[j] = d->ops + d->inst_op[(uintptr_t)t->target[j]];
		}
	}
}

CUresult decode_func(struct load *ld, struct func *f)
{
	struct dec d = { .ld = ld, .f = f, .pf = f->pf, .simd = exec_simd() };
	const struct ptx_func *pf = f->pf;
	if (!place_registers(&d)) {
		load_fail(ld, pf->line, CUDA_ERROR_OUT_OF_MEMORY, "no memory");
	} else {
		place_params(&d);
		place_locals(&d);
		if (pf->is_entry)
			shared_of_entry(&d);
	}
	for (uint32_t k = 0; k < pf->ninsts && !failed(&d); k++) {
		d.i = &pf->insts[k];
		d.inst_op[k] = d.nops;
		decode_one(&d);
	}
	if (!failed(&d)) {
		d.inst_op[pf->ninsts] = d.nops;
		d.i = NULL;
		emit(&d, op_ret)->count = FULL;
	}
	if (!failed(&d)) {
		f->ops = load_alloc(ld, (size_t)d.nops * sizeof *d.ops);
		if (f->ops) {
			memcpy(f->ops, d.ops, (size_t)d.nops * sizeof *d.ops);
			free(d.ops);
			d.ops = f->ops;
			f->nops = d.nops;
			f->reg_bytes = d.frame_bytes;
			finish_targets(&d);
			d.ops = NULL;
		}
	}
	free(d.ops);
	free(d.reg_ref);
	free(d.reg_width);
	free(d.inst_op);
	free(d.body_off);
	free(d.locals.slots);
	return ld->code;
}
