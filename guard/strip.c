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
#include "guard/strip.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- the block ------------------------------------------------------------------------------- */

struct rw_loop_reg *rw_loop_reg_of(struct loop *l, uint32_t reg)
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
		rw_loop_reg_of(ctx, reg)->defs++;
}

static void seek_reg(void *ctx, uint32_t reg, bool def)
{
	struct seek *s = ctx;

	if (reg == s->reg)
		*(def ? &s->def : &s->use) = true;
}

struct seek rw_mentions(const struct ptx_inst *in, uint32_t reg)
{
	struct seek s = { .reg = reg };

	rw_visit_regs(in, seek_reg, &s);
	return s;
}

const struct ptx_inst *rw_loop_inst(const struct loop *l, uint32_t i)
{
	return &l->o->k->insts[i];
}

/* Threads of a warp must come to it by the same copy of the loop, even if they are not together when it is chosen. */
static bool joins_threads(const struct ptx_inst *in)
{
	return rw_joins_warp(in) || in->op == PTX_OP_activemask ||
		(in->op == PTX_OP_barrier && !rw_has(in, PTX_MOD_aligned));
}

static bool fits_in_strip(const struct rw_out *o, const struct ptx_inst *in)
{
	enum rw_opclass cls;

	if (in->op == RW_OP_LABEL || in->op == RW_OP_CALL || in->op == RW_OP_DIE || in->op == RW_OP_NOUNROLL)
		return false;
	cls = rw_op(in->op)->cls;
	if (o->k->meet && rw_waits(in) && (o->warp != WARP_HERE || !rw_joins_warp(in)))
		return false;                           /* needs a check, which is a branch */
	if (cls == RW_C_BAR && rw_has(in, PTX_MOD_cluster))
		return false;
	/* needs all of a warp's threads in one copy, and where masks are -1 they cannot agree on one (warp.c) */
	if (o->rw->opt->report && o->warp == WARP_ALL && (cls == RW_C_BAR || cls == RW_C_WMMA || in->op == PTX_OP_mma))
		return false;
	/* matrices in memory: their addresses cannot be foreseen yet */
	if (o->rw->opt->report && (joins_threads(in) || (cls == RW_C_WMMA && !rw_has(in, PTX_MOD_mma))))
		return false;
	switch (cls) {
	case RW_C_BRA: case RW_C_BRX: case RW_C_CALL: case RW_C_RET: case RW_C_TRAP: case RW_C_SLEEP:
		return false;
	default:
		return true;
	}
}

static bool is_candidate(struct loop *l)
{
	const struct rw_out *o = l->o;
	const struct ptx_inst *first = rw_loop_inst(l, l->from), *last = rw_loop_inst(l, l->to - 1);

	if (!o->rw->opt->poll || !o->rw->opt->fence || l->to - l->from < 3 || l->to - l->from > MAX_BODY
		|| first->op != RW_OP_LABEL || last->op != PTX_OP_bra || !last->has_pred
		|| last->ops[0].u.label != first->ops[0].u.label)
		return false;
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++)
		if (!fits_in_strip(o, rw_loop_inst(l, i)))
			return false;
	return true;
}

/* An integer type of 32 or 64 bits, the only suffix beside `more` others. */
unsigned rw_int_bits(const struct ptx_inst *in, unsigned more)
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
	return p->kind == PTX_O_REG && !p->neg && !rw_loop_reg_of(l, p->u.reg)->defs;
}

/* One step back from `reg`, which `in` defines: the operand it goes on with; NULL where it is no sum. */
static const struct ptx_operand *back(struct loop *l, const struct ptx_inst *in, struct addends *s)
{
	const struct ptx_operand *x = &in->ops[1], *y = in->nops > 2 ? &in->ops[2] : NULL;
	bool sub = in->op == PTX_OP_sub;

	if (in->has_pred || !rw_int_bits(in, 0))
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
bool rw_loop_walk(struct loop *l, uint32_t reg, uint32_t pos, struct addends *s)
{
	*s = (struct addends){ .base = reg };
	while (pos-- > l->from + 1) {
		const struct ptx_operand *next;

		if (!rw_mentions(rw_loop_inst(l, pos), s->base).def)
			continue;
		next = back(l, rw_loop_inst(l, pos), s);
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
	const struct ptx_inst *bra = rw_loop_inst(l, l->to - 1);
	uint32_t found = 0;

	for (uint32_t i = l->from + 1; i + 1 < l->to; i++) {
		struct seek s = rw_mentions(rw_loop_inst(l, i), bra->pred);

		if (s.def && found)
			return false;
		if (s.def)
			found = i;
	}
	l->trip.setp = found;
	return found && rw_loop_inst(l, found)->op == PTX_OP_setp && !rw_loop_inst(l, found)->has_pred
		&& rw_loop_inst(l, found)->ops[0].kind == PTX_O_REG && rw_loop_inst(l, found)->nops == 3;
}

static void mark_movable(struct loop *l)
{
	const struct ptx_inst *setp = rw_loop_inst(l, l->trip.setp);

	l->trip.movable = true;
	for (uint32_t i = l->from + 1; i + 1 < l->to; i++) {
		if (i != l->trip.setp && rw_mentions(rw_loop_inst(l, i), setp->ops[0].u.reg).use)
			l->trip.movable = false;
		for (unsigned k = 1; k < 3 && i > l->trip.setp; k++)
			if (setp->ops[k].kind == PTX_O_REG && rw_mentions(rw_loop_inst(l, i), setp->ops[k].u.reg).def)
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
	in = rw_loop_inst(l, t->setp);
	t->bits = rw_int_bits(in, 1);
	t->cmp = comparison(in);
	t->is_signed = in->type == PTX_T_S32 || in->type == PTX_T_S64;
	if (!t->bits || !t->cmp)
		return false;
	if (in->ops[a].kind != PTX_O_REG || is_invariant(l, &in->ops[a])) {
		a = 2;
		b = 1;
		t->cmp = swapped(t->cmp);
	}
	if (rw_loop_inst(l, l->to - 1)->pred_neg)
		t->cmp = inverse(t->cmp);
	t->end = in->ops[b];
	if (in->ops[a].kind != PTX_O_REG || in->ops[a].neg || (t->end.kind != PTX_O_IMM && !is_invariant(l, &t->end)))
		return false;
	if (!rw_loop_walk(l, in->ops[a].u.reg, t->setp, &at) || at.n || !rw_loop_walk(l, at.base, l->to - 1, &per) ||
	    per.n || per.base != at.base || !per.off)
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

/* --- the loop -------------------------------------------------------------------------------- */

static void put_label(struct loop *l, uint32_t label)
{
	rw_buf_fmt(l->o->rw, &l->o->rw->body, "$L%" PRIu32 ":\n", label);
}

static void branch_if(struct loop *l, bool goes_on, uint32_t to)
{
	const struct ptx_inst *bra = rw_loop_inst(l, l->to - 1);

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
	struct rname mask;

	if (l->o->warp == WARP_ALL) /* each its own: there is nothing in the loop that needs them all */
		return;
	mask = rw_warp_here(l->o);
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
	if (!rw_foresee(l)) {
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
		rw_visit_regs(rw_loop_inst(&l, i), count_def, &l);
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
		branch_if(&l, true, rw_label_number(o, rw_loop_inst(&l, from)->ops[0].u.label));
	}
	return true;
}
