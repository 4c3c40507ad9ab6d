/* strip.c - innermost counted loops, cut into strips.
 *
 * A loop that is one block and whose number of rounds can be computed runs in strips of up to MAX_STRIP rounds: the
 * strip's loop has a counter of ours and no poll, and the poll stands behind it, so the compiler can unroll and
 * pipeline it as it would the client's. Where violations are to be reported, what the addresses of all rounds can be
 * is computed before the first: an address that is an affine function of the round plus something bounded lies between
 * those of the first and the last round. If all of them need no fence, the strips have no comparisons; if not, or for
 * a few rounds only, the loop's second copy runs, with all of them and a poll each round. Nothing here makes an access
 * safe: both copies are fenced, and the verifier knows the form of the counter (guard.h). What is wrong here would
 * lose a report or a round.
 *
 *     $L3:    rounds = ...                            the client's label
 *             rounds < 8, or an address would need its fence:  bra $L9
 *     $L7:    counter = min(rounds, 256)
 *     $L8:    body
 *             counter -= 1;  counter > 0:  bra $L8
 *             rounds -= 256; poll;  rounds > 0:  bra $L7
 *             the client's condition, !condition:  bra $L10
 *     $L9:    body, comparisons, poll;  condition:  bra $L9
 *     $L10: */
#include "guard/emit.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STRIP = 256, STRIP_LINES = 16384, MAX_BODY = 400, MIN_ROUNDS = 8, MAX_REGS = 200000, MAX_ADDENDS = 12,
	MAX_ROUNDS = 1 << 29 };         /* times a step below 2^33 is no wrap around */
#define MAX_BOUND (1ull << 40)

/* A number known only to the code: a literal or a register. */
struct opd { bool imm; int64_t v; struct rname r; };

/* What a register holds in round k: a + k * s + u, 0 <= u <= h, u a multiple of 2^tz; mod 2^bits. */
struct rw_value { bool known; uint8_t bits, tz; struct opd a, s; uint64_t h; };

struct rw_loop_reg { uint32_t stamp, defs; bool needed, set; struct rw_value v; };

struct addends { uint32_t base; int64_t off; unsigned n; struct { uint32_t reg; bool neg; } reg[MAX_ADDENDS]; };

struct trip { uint32_t setp, iv; int64_t step, off; struct ptx_operand end; enum ptx_mod cmp; bool is_signed, movable;
	unsigned bits; };

struct loop {
	struct rw_out *o;
	uint32_t from, to, stamp;       /* the block, its label and its branch included */
	struct trip trip;
	struct rname rounds, last;      /* at least that many, and less one */
	struct rname ok;                /* predicate: no access needs its fence */
};

/* --- the block ------------------------------------------------------------------------------- */

static struct rw_loop_reg *reg_of(struct loop *l, uint32_t reg)
{
	struct rw_loop_reg *r = &l->o->loop_regs[reg];

	if (r->stamp != l->stamp) {
		memset(r, 0, sizeof(*r));
		r->stamp = l->stamp;
	}
	return r;
}

static void count_def(void *ctx, uint32_t reg, bool def)
{
	if (def)
		reg_of(ctx, reg)->defs++;
}

struct seek { uint32_t reg; bool def, use; };

static void seek_reg(void *ctx, uint32_t reg, bool def)
{
	struct seek *s = ctx;

	if (reg == s->reg)
		*(def ? &s->def : &s->use) = true;
}

static struct seek mentions(const struct ptx_inst *in, uint32_t reg)
{
	struct seek s = { .reg = reg };

	rw_visit_regs(in, seek_reg, &s);
	return s;
}

static const struct ptx_inst *inst(const struct loop *l, uint32_t i)
{
	return &l->o->k->insts[i];
}

/* Threads of a warp must come to it together, by the same copy of the loop, wherever they are when the copy is chosen. */
static bool joins_threads(const struct ptx_inst *in)
{
	switch (in->op) {
	case PTX_OP_shfl: case PTX_OP_vote: case PTX_OP_match: case PTX_OP_redux: case PTX_OP_elect:
	case PTX_OP_activemask:
		return true;
	case PTX_OP_barrier: return !rw_has(in, PTX_MOD_aligned);
	case PTX_OP_bar: return rw_has(in, PTX_MOD_warp);
	default: return false;
	}
}

static bool fits_in_strip(const struct rw_out *o, const struct ptx_inst *in)
{
	if (in->op == RW_OP_LABEL || in->op == RW_OP_CALL || in->op == RW_OP_DIE || in->op == RW_OP_NOUNROLL)
		return false;
	if ((rw_op(in->op)->cls == RW_C_BAR && rw_has(in, PTX_MOD_cluster)) || (o->rw->opt->report && joins_threads(in)))
		return false;
	switch (rw_op(in->op)->cls) {
	case RW_C_BRA: case RW_C_BRX: case RW_C_CALL: case RW_C_RET: case RW_C_TRAP: case RW_C_SLEEP: case RW_C_MBAR:
		return false;
	default:
		return true;
	}
}

static bool is_candidate(struct loop *l)
{
	const struct rw_out *o = l->o;
	const struct ptx_inst *first = inst(l, l->from), *last = inst(l, l->to - 1);

	if (!o->rw->opt->poll || !o->rw->opt->fence || l->to - l->from < 3 || l->to - l->from > MAX_BODY
		|| first->op != RW_OP_LABEL || last->op != PTX_OP_bra || !last->has_pred
		|| last->ops[0].u.label != first->ops[0].u.label)
		return false;
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++)
		if (!fits_in_strip(o, inst(l, i)))
			return false;
	return true;
}

/* An integer type of 32 or 64 bits, the only suffix beside `more` others. */
static unsigned int_bits(const struct ptx_inst *in, unsigned more)
{
	if (in->nmods != 1 + more)
		return 0;
	switch (in->type) {
	case PTX_T_U32: case PTX_T_S32: case PTX_T_B32: return 32;
	case PTX_T_U64: case PTX_T_S64: case PTX_T_B64: return 64;
	default: return 0;
	}
}

static bool is_invariant(struct loop *l, const struct ptx_operand *p)
{
	return p->kind == PTX_O_REG && !p->neg && !reg_of(l, p->u.reg)->defs;
}

/* One step back from `reg`, which `in` defines: the operand it goes on with; NULL where it is no sum. */
static const struct ptx_operand *back(struct loop *l, const struct ptx_inst *in, struct addends *s)
{
	const struct ptx_operand *x = &in->ops[1], *y = in->nops > 2 ? &in->ops[2] : NULL;
	bool sub = in->op == PTX_OP_sub;

	if (in->has_pred || !int_bits(in, 0))
		return NULL;
	if (in->op == PTX_OP_mov && in->nops == 2 && x->kind == PTX_O_REG)
		return x;
	if ((in->op != PTX_OP_add && !sub) || in->nops != 3)
		return NULL;
	if (!sub && (x->kind == PTX_O_IMM || is_invariant(l, x))) {
		const struct ptx_operand *t = x;

		x = y;
		y = t;
	}
	if (x->kind != PTX_O_REG)
		return NULL;
	if (y->kind == PTX_O_IMM && (int64_t)y->u.imm > -(1LL << 31) && (int64_t)y->u.imm < 1LL << 31) {
		s->off += sub ? -(int64_t)y->u.imm : (int64_t)y->u.imm;
		return x;
	}
	if (!is_invariant(l, y) || s->n == MAX_ADDENDS)
		return NULL;
	s->reg[s->n].reg = y->u.reg;
	s->reg[s->n++].neg = sub;
	return x;
}

/* The value of reg before instruction pos as that of another at the start of the round, plus what does not change. */
static bool walk(struct loop *l, uint32_t reg, uint32_t pos, struct addends *s)
{
	*s = (struct addends){ .base = reg };
	while (pos-- > l->from + 1) {
		const struct ptx_operand *next;

		if (!mentions(inst(l, pos), s->base).def)
			continue;
		next = back(l, inst(l, pos), s);
		if (!next || next->neg)
			return false;
		s->base = next->u.reg;
	}
	return true;
}

/* --- how many rounds ------------------------------------------------------------------------- */

static enum ptx_mod inverse(enum ptx_mod m)
{
	switch (m) {
	case PTX_MOD_eq: return PTX_MOD_ne;
	case PTX_MOD_ne: return PTX_MOD_eq;
	case PTX_MOD_lt: return PTX_MOD_ge;
	case PTX_MOD_le: return PTX_MOD_gt;
	case PTX_MOD_gt: return PTX_MOD_le;
	default: return PTX_MOD_lt;
	}
}

static enum ptx_mod swapped(enum ptx_mod m)
{
	switch (m) {
	case PTX_MOD_lt: return PTX_MOD_gt;
	case PTX_MOD_le: return PTX_MOD_ge;
	case PTX_MOD_gt: return PTX_MOD_lt;
	case PTX_MOD_ge: return PTX_MOD_le;
	default: return m;
	}
}

/* The comparison that the loop goes on by, or 0. */
static enum ptx_mod comparison(const struct ptx_inst *in)
{
	static const struct { uint16_t mod, as; } names[] = {
		{ PTX_MOD_eq, PTX_MOD_eq }, { PTX_MOD_ne, PTX_MOD_ne }, { PTX_MOD_lt, PTX_MOD_lt },
		{ PTX_MOD_le, PTX_MOD_le }, { PTX_MOD_gt, PTX_MOD_gt }, { PTX_MOD_ge, PTX_MOD_ge },
		{ PTX_MOD_lo, PTX_MOD_lt }, { PTX_MOD_ls, PTX_MOD_le }, { PTX_MOD_hi, PTX_MOD_gt },
		{ PTX_MOD_hs, PTX_MOD_ge },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (in->mods[0] == names[i].mod)
			return names[i].as;
	return 0;
}

/* The branch's predicate has one definition, in the middle, and nothing else reads it. */
static bool find_setp(struct loop *l)
{
	const struct ptx_inst *bra = inst(l, l->to - 1);
	uint32_t found = 0;

	for (uint32_t i = l->from + 1; i + 1 < l->to; i++) {
		struct seek s = mentions(inst(l, i), bra->pred);

		if (s.def && found)
			return false;
		if (s.def)
			found = i;
	}
	l->trip.setp = found;
	return found && inst(l, found)->op == PTX_OP_setp && !inst(l, found)->has_pred
		&& inst(l, found)->ops[0].kind == PTX_O_REG && inst(l, found)->nops == 3;
}

static void mark_movable(struct loop *l)
{
	const struct ptx_inst *setp = inst(l, l->trip.setp);

	l->trip.movable = true;
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++) {
		if (i != l->trip.setp && mentions(inst(l, i), setp->ops[0].u.reg).use)
			l->trip.movable = false;
		for (unsigned k = 1; k < 3 && i > l->trip.setp; k++)
			if (setp->ops[k].kind == PTX_O_REG && mentions(inst(l, i), setp->ops[k].u.reg).def)
				l->trip.movable = false;
	}
}

static bool find_trip(struct loop *l)
{
	struct trip *t = &l->trip;
	const struct ptx_inst *in;
	struct addends at, per;
	unsigned a = 1, b = 2;

	if (!find_setp(l))
		return false;
	in = inst(l, t->setp);
	t->bits = int_bits(in, 1);
	t->cmp = comparison(in);
	t->is_signed = in->type == PTX_T_S32 || in->type == PTX_T_S64;
	if (!t->bits || !t->cmp)
		return false;
	if (in->ops[a].kind != PTX_O_REG || is_invariant(l, &in->ops[a])) {
		a = 2;
		b = 1;
		t->cmp = swapped(t->cmp);
	}
	if (inst(l, l->to - 1)->pred_neg)
		t->cmp = inverse(t->cmp);
	t->end = in->ops[b];
	if (in->ops[a].kind != PTX_O_REG || in->ops[a].neg || (t->end.kind != PTX_O_IMM && !is_invariant(l, &t->end)))
		return false;
	if (!walk(l, in->ops[a].u.reg, t->setp, &at) || at.n || !walk(l, at.base, l->to - 1, &per) || per.n
		|| per.base != at.base || !per.off)
		return false;
	t->iv = at.base;
	t->off = at.off;
	t->step = per.off;
	if (t->bits == 64 && (t->step & -t->step) != t->step && (t->step & -t->step) != -t->step)
		return false;
	mark_movable(l);
	switch (t->cmp) {
	case PTX_MOD_ne: return true;
	case PTX_MOD_lt: case PTX_MOD_le: return t->step > 0;
	case PTX_MOD_gt: case PTX_MOD_ge: return t->step < 0;
	default: return false;
	}
}

/* Of the value that is compared first, v: |end - v|, less one where equal ends the loop. */
static struct rname distance(struct loop *l, struct rname v, const char *end)
{
	struct rw_out *o = l->o;
	const struct trip *t = &l->trip;
	enum rw_class c = t->bits == 32 ? RW_R : RW_RD;
	struct rname d = rw_temp(o, c), e;

	if (t->step > 0)
		rw_line(o, "sub.s%u %s, %s, %s;", t->bits, d.s, end, v.s);
	else
		rw_line(o, "sub.s%u %s, %s, %s;", t->bits, d.s, v.s, end);
	if (t->cmp != PTX_MOD_lt && t->cmp != PTX_MOD_gt)
		return d;
	e = rw_temp(o, c);
	rw_line(o, "add.s%u %s, %s, -1;", t->bits, e.s, d.s);
	return e;
}

/* l->last: how often the loop goes on for certain, and, but for very long loops and those that miss their end, no more
 * often: threads that stay together in the client's loop must in this one. With d the distance and s the step's size:
 * d / s times until it is equal; else, if it goes on at all, d / s + 1 times. l->rounds is one more. */
static void emit_rounds(struct loop *l)
{
	struct rw_out *o = l->o;
	const struct trip *t = &l->trip;
	enum rw_class c = t->bits == 32 ? RW_R : RW_RD;
	uint64_t size = (uint64_t)(t->step < 0 ? -t->step : t->step);
	struct rname v = rw_temp(o, c), q = rw_temp(o, c), n = rw_temp(o, c), d;
	char end[32];

	if (t->end.kind == PTX_O_IMM)
		snprintf(end, sizeof(end), "%" PRId64, t->bits == 32 ? (int64_t)(int32_t)t->end.u.imm :
			(int64_t)t->end.u.imm);
	else
		snprintf(end, sizeof(end), "%s", rw_rn(o, t->end.u.reg).s);
	rw_line(o, "add.s%u %s, %s, %" PRId64 ";", t->bits, v.s, rw_rn(o, t->iv).s, t->off);
	d = distance(l, v, end);
	if (size & (size - 1))
		rw_line(o, "div.u%u %s, %s, %" PRIu64 ";", t->bits, q.s, d.s, size);
	else
		rw_line(o, "shr.u%u %s, %s, %d;", t->bits, q.s, d.s, __builtin_ctzll(size));
	rw_line(o, "min.u%u %s, %s, %d;", t->bits, n.s, q.s, MAX_ROUNDS - 2);
	if (t->bits == 64) {
		q = rw_temp(o, RW_R);
		rw_line(o, "cvt.u32.u64 %s, %s;", q.s, n.s);
		n = q;
	}
	if (t->cmp != PTX_MOD_ne) {
		struct rname p = rw_temp(o, RW_P), more = rw_temp(o, RW_R);

		q = rw_temp(o, RW_R);
		rw_line(o, "setp.%s.%c%u %s, %s, %s;", ptx_mod_name(t->cmp), t->is_signed ? 's' : 'u', t->bits, p.s,
			v.s, end);
		rw_line(o, "add.s32 %s, %s, 1;", more.s, n.s);
		rw_line(o, "selp.b32 %s, %s, 0, %s;", q.s, more.s, p.s);
		n = q;
	}
	l->last = n;
	l->rounds = rw_temp(o, RW_R);
	rw_line(o, "add.s32 %s, %s, 1;", l->rounds.s, n.s);
}

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
	unsigned bits = int_bits(in, 0);
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
	if (!reg_of(l, reg)->defs)
		return v;
	if (!walk(l, reg, l->to - 1, &s) || s.base != reg)
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
	struct rw_loop_reg *r = reg_of(l, reg);

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
	unsigned bits = int_bits(in, 1);
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
	unsigned bits = int_bits(in, 0);
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
		reg_of(ctx, reg)->needed = true;
}

/* Marks the registers that addresses come from. */
static void mark_needed(struct loop *l)
{
	struct rw_out *o = l->o;

	for (uint32_t n = 0; n < o->nacc; n++)
		if (o->acc[n].reg != UINT32_MAX)
			reg_of(l, o->acc[n].reg)->needed = true;
	for (uint32_t i = l->to - 1; i-- > l->from + 1;) {
		const struct ptx_inst *in = inst(l, i);

		if (in->nops && in->ops[0].kind == PTX_O_REG && mentions(in, in->ops[0].u.reg).def
			&& reg_of(l, in->ops[0].u.reg)->needed && in->op != PTX_OP_ld)
			rw_visit_regs(in, need, l);
	}
}

static void forget(void *ctx, uint32_t reg, bool def)
{
	if (def) {
		reg_of(ctx, reg)->v = unknown;
		reg_of(ctx, reg)->set = true;
	}
}

/* Emits the test of a whole strip's addresses into l->ok.  False: not all of them can be foreseen. */
static bool foresee(struct loop *l)
{
	struct rw_out *o = l->o;
	bool *done = rw_alloc(o->rw, o->ngroups + 1);

	mark_needed(l);
	/* what holds at the start of a round is asked for before anything is overwritten here */
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++) {
		const struct ptx_inst *in = inst(l, i);
		struct rw_value v = unknown;
		bool one = in->nops && in->ops[0].kind == PTX_O_REG && mentions(in, in->ops[0].u.reg).def;

		if (!check_accesses(l, i, done))
			return false;
		if (one && reg_of(l, in->ops[0].u.reg)->needed)
			v = result(l, in);
		rw_visit_regs(in, forget, l);
		if (one)
			reg_of(l, in->ops[0].u.reg)->v = v;
	}
	return true;
}

/* --- the loop -------------------------------------------------------------------------------- */

static void put_label(struct loop *l, uint32_t label)
{
	rw_buf_fmt(l->o->rw, &l->o->rw->body, "$L%" PRIu32 ":\n", label);
}

static void branch_if(struct loop *l, bool goes_on, uint32_t to)
{
	const struct ptx_inst *bra = inst(l, l->to - 1);

	rw_line(l->o, "@%s%s bra $L%" PRIu32 ";", bra->pred_neg == goes_on ? "!" : "", rw_rn(l->o, bra->pred).s, to);
}

/* Puts the line that sets the counter before the strip's loop, whose length is known by now. Returns its limit. */
static uint32_t set_counter(struct loop *l, size_t at, uint32_t counter)
{
	struct rw_buf *b = &l->o->rw->body;
	uint32_t lines = 0, most;
	char line[96];
	size_t n, len = b->len;

	for (size_t i = at; i < len; i++)
		lines += b->p[i] == '\n';
	most = STRIP_LINES / (lines + 1);
	most = most > MAX_STRIP ? MAX_STRIP : most < 1 ? 1 : most;
	n = (size_t)snprintf(line, sizeof(line), "\tmin.u32 %%gn_%" PRIu32 ", %s, %" PRIu32 ";\n", counter, l->rounds.s,
		most);
	rw_buf_add(l->o->rw, b, line, n);
	memmove(b->p + at + n, b->p + at, len - at);
	memcpy(b->p + at, line, n);
	return most;
}

static void fast_loop(struct loop *l)
{
	struct rw_out *o = l->o;
	uint32_t counter = rw_inv(o, INV_GN, 0), strip = rw_fresh_label(o), label = rw_fresh_label(o), most;
	struct rname more = rw_temp(o, RW_P);
	size_t at;

	o->entry |= EN_POLL;
	o->quiet = true;
	put_label(l, strip);
	at = o->rw->body.len;
	put_label(l, label);
	rw_fence_plan(o, l->from, l->to);
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++)
		if (i != l->trip.setp || !l->trip.movable)
			rw_print_inst(o, i);
	rw_line(o, "add.s32 %%gn_%" PRIu32 ", %%gn_%" PRIu32 ", -1;", counter, counter);
	rw_line(o, "setp.gt.s32 %%gq, %%gn_%" PRIu32 ", 0;", counter);
	rw_line(o, "@%%gq bra $L%" PRIu32 ";", label);
	most = set_counter(l, at, counter);
	o->quiet = false;
	rw_line(o, "sub.s32 %s, %s, %" PRIu32 ";", l->rounds.s, l->rounds.s, most);
	rw_line(o, "setp.gt.s32 %s, %s, 0;", more.s, l->rounds.s);
	rw_poll(o);
	rw_line(o, "@%s bra $L%" PRIu32 ";", more.s, strip);
	if (l->trip.movable)
		rw_print_inst(o, l->trip.setp);
}

static void slow_loop(struct loop *l, uint32_t slow, uint32_t end)
{
	struct rw_out *o = l->o;

	branch_if(l, false, end);
	put_label(l, slow);
	rw_fence_plan(o, l->from, l->to);
	o->at_once = true;
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++)
		rw_print_inst(o, i);
	o->at_once = false;
	rw_poll(o);
	branch_if(l, true, slow);
	put_label(l, end);
}

/* Threads that are together choose the same copy: one with a barrier or a matrix in it needs them all. */
static void together(struct loop *l)
{
	struct rname mask = rw_temp(l->o, RW_R);

	rw_line(l->o, "activemask.b32 %s;", mask.s);
	rw_line(l->o, "vote.sync.all.pred %s, %s, %s;", l->ok.s, l->ok.s, mask.s);
}

/* Everything up to the strips. False: it cannot be had, and nothing was printed. */
static bool head_of(struct loop *l, uint32_t slow)
{
	struct rw_out *o = l->o;
	size_t before = o->rw->body.len;
	struct rname few;

	rw_print_inst(o, l->from);
	emit_rounds(l);
	if (!o->rw->opt->report)
		return true;
	few = rw_temp(o, RW_P);
	l->ok = rw_temp(o, RW_P);
	rw_line(o, "setp.lt.u32 %s, %s, %d;", few.s, l->rounds.s, MIN_ROUNDS);
	rw_line(o, "@%s bra $L%" PRIu32 ";", few.s, slow);
	rw_line(o, "setp.ge.u32 %s, %s, %d;", l->ok.s, l->rounds.s, MIN_ROUNDS);
	rw_fence_plan(o, l->from, l->to);
	if (!foresee(l)) {
		o->rw->body.len = before;
		o->rw->body.p[before] = 0;
		return false;
	}
	together(l);
	rw_line(o, "@!%s bra $L%" PRIu32 ";", l->ok.s, slow);
	return true;
}

bool rw_strip(struct rw_out *o, uint32_t from, uint32_t to)
{
	struct loop l = { .o = o, .from = from, .to = to };
	uint32_t slow, end;

	if (!is_candidate(&l) || (!o->loop_regs && o->k->nregs > MAX_REGS))
		return false;
	if (!o->loop_regs)
		o->loop_regs = rw_alloc(o->rw, (o->k->nregs + 1) * sizeof(*o->loop_regs));
	l.stamp = ++o->loop_stamp;
	for (uint32_t i = from; i < to; i++)
		rw_visit_regs(inst(&l, i), count_def, &l);
	if (!find_trip(&l))
		return false;
	slow = rw_fresh_label(o);
	end = rw_fresh_label(o);
	if (!head_of(&l, slow))
		return false;
	fast_loop(&l);
	if (o->rw->opt->report) {
		slow_loop(&l, slow, end);
	} else {
		rw_poll(o);
		branch_if(&l, true, rw_label_number(o, inst(&l, from)->ops[0].u.label));
	}
	return true;
}
