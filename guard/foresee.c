/* foresee.c - what the addresses of a loop will be, before its first round.
 *
 * Each register's value is followed through one round as an affine function of the round's number plus something
 * bounded; its parts are computed by code in front of the loop. Where an operation keeps that form only as long as
 * nothing wraps around, the code tests that; then it tests that the addresses of the first and the last round need no
 * fence, and so none between them does. */
#include "guard/strip.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_BOUND (1ull << 40)

/* --- values ---------------------------------------------------------------------------------- */

static struct opd lit(int64_t v)
{
	return (struct opd){ .imm = true, .v = v };
}

static struct opd in_reg(struct rname r)
{
	return (struct opd){ .r = r };
}

static bool is_zero(struct opd x)
{
	return x.imm && x.v == 0;
}

static struct rname opd_text(struct opd x)
{
	if (x.imm)
		snprintf(x.r.s, sizeof(x.r.s), "%" PRId64, x.v);
	return x.r;
}

static struct opd op2(struct loop *l, const char *op, unsigned bits, struct opd x, struct opd y)
{
	struct rname t = rw_temp(l->o, bits == 32 ? RW_R : RW_RD);

	rw_line(l->o, "%s%u %s, %s, %s;", op, bits, t.s, opd_text(x).s, opd_text(y).s);
	return in_reg(t);
}

static int64_t wrap(unsigned bits, uint64_t v)
{
	return bits == 32 ? (int32_t)v : (int64_t)v;
}

static struct opd plus(struct loop *l, unsigned bits, struct opd x, struct opd y)
{
	if (x.imm && y.imm)
		return lit(wrap(bits, (uint64_t)x.v + (uint64_t)y.v));
	if (is_zero(x) || is_zero(y))
		return is_zero(x) ? y : x;
	return op2(l, "add.s", bits, x, y);
}

static struct opd minus(struct loop *l, unsigned bits, struct opd x, struct opd y)
{
	if (y.imm)
		return plus(l, bits, x, lit(wrap(bits, 0 - (uint64_t)y.v)));
	return op2(l, "sub.s", bits, x, y);
}

static struct opd times(struct loop *l, unsigned bits, struct opd x, struct opd y)
{
	if (x.imm && y.imm)
		return lit(wrap(bits, (uint64_t)x.v * (uint64_t)y.v));
	if (is_zero(x) || is_zero(y))
		return lit(0);
	if ((x.imm && x.v == 1) || (y.imm && y.v == 1))
		return x.imm ? y : x;
	return op2(l, "mul.lo.s", bits, x, y);
}

static struct opd convert(struct loop *l, const char *op, enum rw_class c, struct opd x)
{
	struct rname t = rw_temp(l->o, c);

	rw_line(l->o, "%s %s, %s;", op, t.s, x.r.s);
	return in_reg(t);
}

static struct opd widen(struct loop *l, struct opd x, bool is_signed)
{
	if (x.imm)
		return lit(is_signed ? (int64_t)(int32_t)x.v : (int64_t)(uint32_t)x.v);
	return convert(l, is_signed ? "cvt.s64.s32" : "cvt.u64.u32", RW_RD, x);
}

static struct rw_value constant(unsigned bits, struct opd a)
{
	return (struct rw_value){ .known = true, .bits = (uint8_t)bits, .tz = 63, .a = a, .s = lit(0) };
}

static struct rw_value bounded(unsigned bits, uint64_t h)
{
	struct rw_value v = constant(bits, lit(0));

	v.h = h;
	v.tz = 0;
	return v;
}

static bool unchanging(const struct rw_value *v)
{
	return v->known && is_zero(v->s) && !v->h;
}

static bool only_bounded(const struct rw_value *v)
{
	return v->known && is_zero(v->s) && is_zero(v->a);
}

static const struct rw_value unknown;

/* x + last * s in 64 bits */
static struct opd at_end(struct loop *l, struct opd x, struct opd s)
{
	struct opd last = widen(l, in_reg(l->last), false);

	return plus(l, 64, x, times(l, 64, s, last));
}

/* Requires x + shift < limit, unsigned. */
static void require_below(struct loop *l, struct opd x, int64_t shift, uint64_t limit)
{
	struct opd y = plus(l, 64, x, lit(shift));

	if (y.imm)
		y = convert(l, "mov.b64", RW_RD, in_reg(opd_text(y)));
	rw_line(l->o, "setp.lt.and.u64 %s, %s, %" PRIu64 ", %s;", l->ok.s, y.r.s, limit, l->ok.s);
}

/* Zero or sign extension is affine too, as long as nothing wraps around on the way. */
static struct rw_value extend(struct loop *l, struct rw_value v, bool is_signed)
{
	int64_t shift = is_signed ? 1LL << 31 : 0;
	struct rw_value w = v;

	if (!v.known || v.bits != 32)
		return unknown;
	w.bits = 64;
	if (only_bounded(&v))
		return v.h < 1ull << 31 ? w : unknown;
	w.a = widen(l, v.a, is_signed);
	w.s = widen(l, v.s, true);
	if (unchanging(&v))
		return w;
	if (v.h >= 1ull << 31)
		return unknown;
	if (v.h)
		require_below(l, w.a, shift, (1ull << 32) - v.h);
	if (!is_zero(w.s))
		require_below(l, at_end(l, w.a, w.s), shift, (1ull << 32) - v.h);
	return w;
}

static struct rw_value sum(struct loop *l, struct rw_value x, struct rw_value y, bool sub)
{
	if (!x.known || !y.known || x.bits != y.bits || (sub && y.h) || x.h + y.h > MAX_BOUND)
		return unknown;
	x.a = sub ? minus(l, x.bits, x.a, y.a) : plus(l, x.bits, x.a, y.a);
	x.s = sub ? minus(l, x.bits, x.s, y.s) : plus(l, x.bits, x.s, y.s);
	x.h += y.h;
	x.tz = x.tz < y.tz ? x.tz : y.tz;
	return x;
}

static struct rw_value product(struct loop *l, struct rw_value x, struct rw_value y)
{
	if (unchanging(&x)) {
		struct rw_value t = x;

		x = y;
		y = t;
	}
	if (!x.known || !unchanging(&y) || x.bits != y.bits || (x.h && (!y.a.imm || y.a.v <= 0
		|| (uint64_t)y.a.v > MAX_BOUND / x.h)))
		return unknown;
	x.a = times(l, x.bits, x.a, y.a);
	x.s = times(l, x.bits, x.s, y.a);
	if (x.h) {
		x.h *= (uint64_t)y.a.v;
		x.tz += (uint8_t)__builtin_ctzll((uint64_t)y.a.v);
	}
	return x;
}

/* or, and, shr of values that do not change are computed; else only a bound is known. */
static struct rw_value bitwise(struct loop *l, const struct ptx_inst *in, struct rw_value x, struct rw_value y)
{
	static const char *const shr[] = { "shr.u", "shr.s" };
	bool is_signed = in->type == PTX_T_S32 || in->type == PTX_T_S64;
	unsigned bits = rw_int_bits(in, 0);
	struct rw_value v;

	if (unchanging(&x) && unchanging(&y))
		return constant(bits, op2(l, in->op == PTX_OP_or ? "or.b" : in->op == PTX_OP_and ? "and.b" :
			shr[is_signed], bits, x.a, y.a));
	switch (in->op) {
	case PTX_OP_or:
		if (!x.known || !y.known || (!only_bounded(&x) && !only_bounded(&y)) || x.h + y.h > MAX_BOUND)
			return unknown;
		v = only_bounded(&x) ? y : x;
		v.h = x.h + y.h;
		v.tz = x.tz < y.tz ? x.tz : y.tz;
		return v;
	case PTX_OP_and:
		if (!unchanging(&y) || !y.a.imm || y.a.v < 0)
			return unknown;
		v = bounded(bits, (uint64_t)y.a.v);
		v.tz = y.a.v ? (uint8_t)__builtin_ctzll((uint64_t)y.a.v) : 63;
		return v;
	default:
		if (is_signed || !y.a.imm || y.a.v < 1 || y.a.v >= (int64_t)bits || !unchanging(&y))
			return unknown;
		v = bounded(bits, (only_bounded(&x) ? x.h : bits == 32 ? UINT32_MAX : UINT64_MAX) >> y.a.v);
		return v.h <= MAX_BOUND ? v : unknown;
	}
}

static struct rw_value start_value(struct loop *l, uint32_t reg)
{
	unsigned cls = l->o->k->regs[reg].cls, bits = cls == RW_R ? 32 : 64;
	struct rw_value v = constant(bits, in_reg(rw_rn(l->o, reg)));
	struct addends s;

	if (cls != RW_R && cls != RW_RD)
		return unknown;
	if (!rw_loop_reg_of(l, reg)->defs)
		return v;
	if (!rw_loop_walk(l, reg, l->to - 1, &s) || s.base != reg)
		return unknown;
	v.s = lit(wrap(bits, (uint64_t)s.off));
	for (unsigned i = 0; i < s.n; i++) {
		struct opd x = in_reg(rw_rn(l->o, s.reg[i].reg));

		v.s = s.reg[i].neg ? minus(l, bits, v.s, x) : plus(l, bits, v.s, x);
	}
	return v;
}

static struct rw_value reg_value(struct loop *l, uint32_t reg)
{
	struct rw_loop_reg *r = rw_loop_reg_of(l, reg);

	if (!r->set) {
		r->v = start_value(l, reg);
		r->set = true;
	}
	return r->v;
}

static struct rw_value operand(struct loop *l, const struct ptx_operand *p, unsigned bits)
{
	if (p->kind == PTX_O_IMM)
		return constant(bits, lit(wrap(bits, p->u.imm)));
	if (p->kind != PTX_O_REG || p->neg)
		return unknown;
	return reg_value(l, p->u.reg);
}

static struct rw_value converted(struct loop *l, const struct ptx_inst *in)
{
	struct rw_value v;

	if (in->nmods != 2 || in->ops[1].kind != PTX_O_REG)
		return unknown;
	v = reg_value(l, in->ops[1].u.reg);
	if ((in->type0 == PTX_T_U64 || in->type0 == PTX_T_S64) && (in->type == PTX_T_U32 || in->type == PTX_T_S32))
		return extend(l, v, in->type == PTX_T_S32);
	if ((in->type0 == PTX_T_U32 || in->type0 == PTX_T_S32) && (in->type == PTX_T_U64 || in->type == PTX_T_S64)) {
		if (!v.known || v.bits != 64 || v.h >= 1ull << 32)
			return unknown;
		v.bits = 32;
		v.a = v.a.imm ? lit((int32_t)v.a.v) : convert(l, "cvt.u32.u64", RW_R, v.a);
		v.s = v.s.imm ? lit((int32_t)v.s.v) : convert(l, "cvt.u32.u64", RW_R, v.s);
		return v;
	}
	if ((in->type0 == PTX_T_U32 || in->type0 == PTX_T_S32 || in->type0 == PTX_T_U64) && (in->type == PTX_T_U8
		|| in->type == PTX_T_U16))
		return bounded(in->type0 == PTX_T_U64 ? 64 : 32, in->type == PTX_T_U8 ? 255 : 65535);
	return unknown;
}

static struct rw_value multiplied(struct loop *l, const struct ptx_inst *in)
{
	bool wide = rw_has(in, PTX_MOD_wide), is_signed = in->type == PTX_T_S32;
	unsigned bits = rw_int_bits(in, 1);
	struct rw_value x, y;

	if (!bits || (!wide && !rw_has(in, PTX_MOD_lo)))
		return unknown;
	x = operand(l, &in->ops[1], bits);
	y = operand(l, &in->ops[2], bits);
	if (wide) {
		if (!unchanging(&x) && !unchanging(&y))
			return unknown;
		x = extend(l, x, is_signed);
		y = extend(l, y, is_signed);
		bits = 64;
	}
	x = product(l, x, y);
	return in->op == PTX_OP_mad && x.known ? sum(l, x, operand(l, &in->ops[3], bits), false) : x;
}

static struct rw_value result(struct loop *l, const struct ptx_inst *in)
{
	unsigned bits = rw_int_bits(in, 0);
	struct rw_value x, y;

	if (in->has_pred || in->nops < 2)
		return unknown;
	switch (in->op) {
	case PTX_OP_mov: return bits && in->nops == 2 ? operand(l, &in->ops[1], bits) : unknown;
	case PTX_OP_mul: case PTX_OP_mad: return multiplied(l, in);
	case PTX_OP_cvt: return converted(l, in);
	case PTX_OP_ld:
		if (in->vec > 1 || (in->type != PTX_T_U8 && in->type != PTX_T_U16))
			return unknown;
		return bounded(32, in->type == PTX_T_U8 ? 255 : 65535);
	default: break;
	}
	if (!bits || in->nops != 3)
		return unknown;
	x = operand(l, &in->ops[1], bits);
	y = operand(l, &in->ops[2], in->op == PTX_OP_shl || in->op == PTX_OP_shr ? 32 : bits);
	switch (in->op) {
	case PTX_OP_add: case PTX_OP_sub: return sum(l, x, y, in->op == PTX_OP_sub);
	case PTX_OP_shl:
		if (!unchanging(&y) || !y.a.imm || y.a.v < 0 || y.a.v >= (int64_t)bits - 1)
			return unknown;
		return product(l, x, constant(bits, lit(1LL << y.a.v)));
	case PTX_OP_rem:
		if (!unchanging(&y) || !y.a.imm || y.a.v <= 0 || in->type == PTX_T_S32 || in->type == PTX_T_S64)
			return unknown;
		return bounded(bits, (uint64_t)y.a.v - 1);
	case PTX_OP_or: case PTX_OP_and: case PTX_OP_shr: return bitwise(l, in, x, y);
	default: return unknown;
	}
}

/* --- accesses -------------------------------------------------------------------------------- */

/* Requires that the fence would leave address x in the window. */
static bool require_inside(struct loop *l, struct opd x)
{
	struct rw_out *o = l->o;
	struct rname lo = rw_temp(o, RW_R), hi = rw_temp(o, RW_R), in;

	if (x.imm)
		return false;
	o->entry |= EN_GW | (o->rw->opt->wide ? EN_GM : 0);
	rw_line(o, "mov.b64 {%s, %s}, %s;", lo.s, hi.s, x.r.s);
	if (!o->rw->opt->wide) {
		rw_line(o, "setp.eq.and.u32 %s, %s, %%gw, %s;", l->ok.s, hi.s, l->ok.s);
		return true;
	}
	in = rw_temp(o, RW_R);
	rw_line(o, "lop3.b32 %s, %s, %%gm, %%gw, 234;", in.s, hi.s);
	rw_line(o, "setp.eq.and.u32 %s, %s, %s, %s;", l->ok.s, hi.s, in.s, l->ok.s);
	return true;
}

/* Requires that a + k * s is a multiple of w. */
static bool require_aligned(struct loop *l, unsigned bits, const struct rw_value *v, struct opd a, uint32_t w)
{
	struct opd x = a, low;

	if (w == 1)
		return true;
	if (a.imm || (v->h && v->tz < __builtin_ctz(w)) || (v->s.imm && v->s.v % w))
		return false;
	if (!v->s.imm)
		x = op2(l, "or.b", bits, x, v->s);
	low = op2(l, "and.b", bits, x, lit(w - 1));
	rw_line(l->o, "setp.eq.and.u%u %s, %s, 0, %s;", bits, l->ok.s, low.r.s, l->ok.s);
	return true;
}

static bool check_global(struct loop *l, const struct group *g, struct rw_value v)
{
	struct opd a, e;

	if (v.bits == 32)
		v = extend(l, v, false);
	if (!v.known || (v.s.imm && (v.s.v > INT32_MAX || v.s.v < INT32_MIN)))
		return false;
	a = plus(l, 64, v.a, lit(g->a));
	if (!require_inside(l, a) || !require_aligned(l, 64, &v, a, 1u << g->log2w))
		return false;
	if (v.h && !require_inside(l, plus(l, 64, a, lit((int64_t)v.h))))
		return false;
	if (is_zero(v.s))
		return true;
	if (!v.s.imm)
		require_below(l, v.s, 1LL << 32, 1ull << 33);
	e = at_end(l, a, v.s);
	return require_inside(l, e) && (!v.h || require_inside(l, plus(l, 64, e, lit((int64_t)v.h))));
}

/* Requires x <= limit, unsigned. */
static void require_within(struct loop *l, struct opd x, uint64_t h, struct opd limit)
{
	x = plus(l, 64, x, lit((int64_t)h));
	rw_line(l->o, "setp.le.and.u64 %s, %s, %s, %s;", l->ok.s, x.r.s, opd_text(limit).s, l->ok.s);
}

static bool check_small(struct loop *l, const struct group *g, struct rw_value v)
{
	struct rname base, limit;
	struct opd off, wide;

	if (v.bits == 64) {
		v.bits = 32;
		if (g->mask || !unchanging(&v) || v.a.imm)
			return false;
		v.a = convert(l, "cvt.u32.u64", RW_R, v.a);
	}
	if (!rw_fence_limit(l->o, g, &base, &limit))
		return false;
	off = minus(l, 32, plus(l, 32, v.a, lit(wrap(32, (uint64_t)g->a))), in_reg(base));
	if (!require_aligned(l, 32, &v, off, 1u << g->log2w))
		return false;
	rw_line(l->o, "setp.le.and.u32 %s, %s, %s, %s;", l->ok.s, off.r.s, limit.s, l->ok.s);
	if (unchanging(&v))
		return true;
	off = widen(l, off, false);
	wide = limit.s[0] == '%' ? widen(l, in_reg(limit), false) : in_reg(limit);
	if (v.h)
		require_within(l, off, v.h, wide);
	if (!is_zero(v.s))
		require_within(l, at_end(l, off, widen(l, v.s, true)), v.h, wide);
	return true;
}

/* The groups whose first access instruction i is: every access of a group has the same address register and value. */
static bool check_accesses(struct loop *l, uint32_t i, bool *done)
{
	struct rw_out *o = l->o;

	for (uint32_t n = 0; n < o->nacc; n++) {
		const struct access *a = &o->acc[n];
		const struct group *g = a->group != UINT32_MAX ? &o->groups[a->group] : NULL;
		struct rw_value v;

		if (a->inst != i || a->direct || done[a->group])
			continue;
		if (a->reg == UINT32_MAX || (a->where != AT_GLOBAL && a->where != AT_SHARED && a->where != AT_LOCAL
			&& a->where != AT_CONST))
			return false;
		v = reg_value(l, a->reg);
		if (!v.known || !(a->where == AT_GLOBAL ? check_global(l, g, v) : check_small(l, g, v)))
			return false;
		done[a->group] = true;
	}
	return true;
}

static void need(void *ctx, uint32_t reg, bool def)
{
	if (!def)
		rw_loop_reg_of(ctx, reg)->needed = true;
}

/* Marks the registers that addresses come from. */
static void mark_needed(struct loop *l)
{
	struct rw_out *o = l->o;

	for (uint32_t n = 0; n < o->nacc; n++)
		if (o->acc[n].reg != UINT32_MAX)
			rw_loop_reg_of(l, o->acc[n].reg)->needed = true;
	for (uint32_t i = l->to - 1; i-- > l->from + 1;) {
		const struct ptx_inst *in = rw_loop_inst(l, i);

		if (in->nops && in->ops[0].kind == PTX_O_REG && rw_mentions(in, in->ops[0].u.reg).def
			&& rw_loop_reg_of(l, in->ops[0].u.reg)->needed && in->op != PTX_OP_ld)
			rw_visit_regs(in, need, l);
	}
}

static void forget(void *ctx, uint32_t reg, bool def)
{
	if (def) {
		rw_loop_reg_of(ctx, reg)->v = unknown;
		rw_loop_reg_of(ctx, reg)->set = true;
	}
}

/* Emits the test of a whole strip's addresses into l->ok.  False: not all of them can be foreseen. */
bool rw_foresee(struct loop *l)
{
	struct rw_out *o = l->o;
	bool *done = rw_alloc(o->rw, o->ngroups + 1);

	mark_needed(l);
	/* what holds at the start of a round is asked for before anything is overwritten here */
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++) {
		const struct ptx_inst *in = rw_loop_inst(l, i);
		struct rw_value v = unknown;
		bool one = in->nops && in->ops[0].kind == PTX_O_REG && rw_mentions(in, in->ops[0].u.reg).def;

		if (!check_accesses(l, i, done))
			return false;
		if (one && rw_loop_reg_of(l, in->ops[0].u.reg)->needed)
			v = result(l, in);
		rw_visit_regs(in, forget, l);
		if (one)
			rw_loop_reg_of(l, in->ops[0].u.reg)->v = v;
	}
	return true;
}
