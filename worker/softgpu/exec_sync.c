/* exec_sync.c - operations in which threads meet: shfl, vote, match, redux, elect, bar.warp.sync within a warp, and the
 * sixteen barriers of a block.
 *
 * A warp-synchronous op waits until every lane its member mask names has come or has exited.  Usually they are the
 * running group; then the op is a plain handler (fn2).  Otherwise the lanes park (G_SYNC) until sync_check() finds a
 * mask complete; lanes may come from different instructions of one kind with equal masks, then their source values
 * are collected first (w->sync_src).  Lanes in instructions of different kinds wait for each other for ever.
 *
 * Wrong masks, as an H200 takes them.  Where all that are named run together the machine code does not look at masks:
 * everybody there takes part, also who is not named (mask 0 is a whole warp's), and shfl and bar.warp.sync do not even
 * need equal ones.  Otherwise the lanes are collected by mask, and a lane that its own mask leaves out, or that waits
 * for another by a different mask while that one waits for it, is an illegal instruction. */
#include <string.h>
#include "exec_internal.h"
#include "exec_math.h"

/* op.c: member mask register (lanes), op.y: source class SRC_*, op.a: source. */

static bool takes_any_masks(const struct op *o)
{
	return o->fn2 == sync_shfl || o->fn2 == op_nop;
}

/* Raises for lanes m, about to wait: their masks are in w->sync_mm, as are those of all that wait already. */
static void check_masks(struct warp *w, const struct op *o, uint32_t m)
{
	const uint32_t *mm = w->sync_mm;
	uint32_t waiting = m;
	for (uint32_t i = 0; i < w->ng; i++)
		waiting |= w->g[i].state == G_SYNC ? w->g[i].mask : 0;
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		uint32_t l = lane_first(rest);
		if (!(mm[l] >> l & 1))
			exec_raise(w, o, l, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0, "lane %u is not in its mask 0x%08x", l,
				mm[l]);
		for (uint32_t other = mm[l] & waiting; other; other &= other - 1) {
			uint32_t k = lane_first(other);
			if (mm[k] != mm[l] && mm[k] >> l & 1)
				exec_raise(w, o, l, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0,
					"lanes %u and %u join by different masks: 0x%08x, 0x%08x", l, k, mm[l], mm[k]);
		}
	}
}

/* The masks of lanes m differ, or name lanes that are not here. */
static __attribute__((noinline)) const struct op *sync_apart(struct warp *w, const struct op *o, uint32_t m)
{
	const uint32_t *mm = R32(w, o->c);
	uint32_t named = 0;
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		w->sync_mm[lane_first(rest)] = mm[lane_first(rest)];
		named |= mm[lane_first(rest)];
	}
	if (!(named & w->live & ~m) && takes_any_masks(o)) {
		w->sync_all = m;
		return o->fn2(w, o, m);
	}
	check_masks(w, o, m);
	uint32_t others = w->active & ~m;
	warp_park(w, o, w->frame, m, G_SYNC, 0);
	if (others)
		warp_park(w, o + 1, w->frame, others, G_RUN, 0);
	sync_check(w);
	return warp_pick(w);
}

const struct op *op_sync(struct warp *w, const struct op *o, uint32_t m)
{
	const uint32_t *mm = R32(w, o->c);
	uint32_t first = mm[lane_first(m)], same = m;
	if (!(o->c & REF_CONST)) {
		same = 0;
		for (uint32_t l = 0; l < WARP; l++)
			same |= mm[l] == first ? 1u << l : 0;
	}
	if ((m & ~same) || (first & w->live & ~m))
		return sync_apart(w, o, m);
	w->sync_all = m;
	return o->fn2(w, o, m);
}

/* Runs the op of each group for its lanes of `set`, which together are complete. */
static void sync_complete(struct warp *w, uint32_t set)
{
	struct frame *saved = w->frame;
	uint8_t *base = w->base[0];
	uint32_t parts = 0;
	for (uint32_t i = 0; i < w->ng; i++)
		parts += w->g[i].state == G_SYNC && (w->g[i].mask & set);
	w->sync_all = set;
	if (parts > 1) {
		w->sync_pred = 0;
		for (uint32_t i = 0; i < w->ng; i++) {
			struct group *g = &w->g[i];
			uint32_t m = g->state == G_SYNC ? g->mask & set : 0;
			w->base[0] = g->frame->regs;
			for (; m; m &= m - 1) {
				uint32_t l = lane_first(m);
				if (g->pc->y == SRC_32)
					((uint32_t *)w->x)[l] = R32(w, g->pc->a)[l];
				else if (g->pc->y == SRC_64)
					w->x[l] = R64(w, g->pc->a)[l];
				else if (g->pc->y == SRC_PRED)
					w->sync_pred |= (PRED(w, g->pc->a) ^ g->pc->z) & (1u << l);
			}
		}
		w->sync_src = w->x;
	}
	for (uint32_t i = 0; i < w->ng;) {
		struct group *g = &w->g[i];
		uint32_t m = g->state == G_SYNC ? g->mask & set : 0;
		if (!m) {
			i++;
			continue;
		}
		const struct op *o = g->pc;
		struct frame *f = g->frame;
		g->mask &= ~m;
		if (!g->mask)
			*g = w->g[--w->ng];
		w->frame = f;
		w->base[0] = f->regs;
		o->fn2(w, o, m);
		warp_park(w, o + 1, f, m, G_RUN, 0);
		i = 0;
	}
	w->sync_src = NULL;
	w->frame = saved;
	w->base[0] = base;
}

static const struct op *sync_op(const struct warp *w, uint32_t lane)
{
	for (uint32_t i = 0; i < w->ng; i++)
		if (w->g[i].state == G_SYNC && w->g[i].mask >> lane & 1)
			return w->g[i].pc;
	return NULL;
}

/* Do two lanes wait for each other?  By equal masks, in operations of one kind. */
static bool sync_alike(const struct warp *w, uint32_t a, uint32_t b)
{
	const struct op *p = sync_op(w, a), *q = sync_op(w, b);
	return w->sync_mm[a] == w->sync_mm[b] && p->fn2 == q->fn2 && p->x == q->x;
}

/* After lanes came or exited: completes every member mask that has its lanes together. */
void sync_check(struct warp *w)
{
	uint32_t waiting = 0;
	for (uint32_t i = 0; i < w->ng; i++)
		waiting |= w->g[i].state == G_SYNC ? w->g[i].mask : 0;
	while (waiting) {
		uint32_t key = w->sync_mm[lane_first(waiting)], set = 0;
		for (uint32_t rest = waiting; rest; rest &= rest - 1)
			set |= sync_alike(w, lane_first(waiting), lane_first(rest)) ? 1u << lane_first(rest) : 0;
		if (!(key & w->live & ~set))
			sync_complete(w, set);
		waiting &= ~set;
	}
}

/* d = value, e = predicate word; x = mode, b = lane operand, list[0] = clamp and segment register. */
const struct op *sync_shfl(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t src[WARP], *d = o->d == REF_NONE ? NULL : R32(w, o->d), pr = 0;
	const uint32_t *b = R32(w, o->b), *c = R32(w, o->list[0]);
	memcpy(src, w->sync_src ? w->sync_src : R32(w, o->a), sizeof src);
	uint32_t out[WARP];
	for (uint32_t lane = 0; lane < WARP; lane++) {
		uint32_t bv = b[lane] & 31, cv = c[lane] & 31, seg = (c[lane] >> 8) & 31, j;
		uint32_t max = (lane & seg) | (cv & ~seg), min = lane & seg;
		bool ok;
		switch (o->x) {
		case SHFL_UP: j = lane - bv; ok = (int32_t)j >= (int32_t)max; break;
		case SHFL_DOWN: j = lane + bv; ok = j <= max; break;
		case SHFL_BFLY: j = lane ^ bv; ok = j <= max; break;
		default: j = min | (bv & ~seg); ok = j <= max; break;
		}
		j = ok ? j : lane;
		out[lane] = src[j & 31];
		pr |= (uint32_t)ok << lane;
	}
	for (uint32_t rest = d ? m : 0; rest; rest &= rest - 1)
		d[lane_first(rest)] = out[lane_first(rest)];
	if (o->e)
		PRED(w, o->e) = (PRED(w, o->e) & ~m) | (pr & m);
	return o + 1;
}

/* x = mode, a/z = predicate and its negation; d = predicate word, or register for ballot. */
const struct op *sync_vote(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t all = w->sync_all, p = (w->sync_src ? w->sync_pred : PRED(w, o->a) ^ o->z) & all;
	if (o->x == VOTE_BALLOT) {
		uint32_t *d = R32(w, o->d);
		for (uint32_t rest = m; rest; rest &= rest - 1)
			d[lane_first(rest)] = p;
		return o + 1;
	}
	bool r = o->x == VOTE_ALL ? p == all : o->x == VOTE_ANY ? p != 0 : p == all || !p;
	PRED(w, o->d) = (PRED(w, o->d) & ~m) | (r ? m : 0);
	return o + 1;
}

/* x: 0 any, 1 all; e: predicate word of match.all, 0 where absent; y: SRC_32 or SRC_64. */
const struct op *sync_match(struct warp *w, const struct op *o, uint32_t m)
{
	uint64_t v[WARP];
	const void *src = w->sync_src ? w->sync_src : REF(w, o->a);
	for (int l = 0; l < WARP; l++)
		v[l] = o->y == SRC_64 ? ((const uint64_t *)src)[l] : ((const uint32_t *)src)[l];
	uint32_t *d = o->d == REF_NONE ? NULL : R32(w, o->d), all = w->sync_all, pr = 0;
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		uint32_t lane = lane_first(rest), eq = 0;
		for (uint32_t l = 0; l < WARP; l++)
			eq |= (all >> l & 1 && v[l] == v[lane]) ? 1u << l : 0;
		if (o->x) {
			pr |= eq == all ? 1u << lane : 0;
			eq = eq == all ? all : 0;
		}
		if (d)
			d[lane] = eq;
	}
	if (o->e)
		PRED(w, o->e) = (PRED(w, o->e) & ~m) | pr;
	return o + 1;
}

static uint32_t redux_step(uint32_t mode, uint32_t r, uint32_t v)
{
	switch (mode) {
	case REDUX_ADD: return r + v;
	case REDUX_MIN_S: return (int32_t)v < (int32_t)r ? v : r;
	case REDUX_MAX_S: return (int32_t)v > (int32_t)r ? v : r;
	case REDUX_MIN_U: return v < r ? v : r;
	case REDUX_MAX_U: return v > r ? v : r;
	case REDUX_AND: return r & v;
	case REDUX_OR: return r | v;
	case REDUX_XOR: return r ^ v;
	case REDUX_FMIN: return f32_bits(f32_min(bits_f32(r), bits_f32(v)));
	default: return f32_bits(f32_max(bits_f32(r), bits_f32(v)));
	}
}

const struct op *sync_redux(struct warp *w, const struct op *o, uint32_t m)
{
	const uint32_t *v = w->sync_src ? w->sync_src : R32(w, o->a);
	uint32_t *d = R32(w, o->d), all = w->sync_all, r = v[lane_first(all)];
	for (uint32_t rest = all & (all - 1); rest; rest &= rest - 1)
		r = redux_step(o->x, r, v[lane_first(rest)]);
	for (uint32_t rest = m; rest; rest &= rest - 1)
		d[lane_first(rest)] = r;
	return o + 1;
}

const struct op *sync_elect(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t leader = lane_first(w->sync_all);
	if (o->d != REF_NONE)
		for (uint32_t rest = m; rest; rest &= rest - 1)
			R32(w, o->d)[lane_first(rest)] = leader;
	if (o->e)
		PRED(w, o->e) = (PRED(w, o->e) & ~m) | (1u << leader & m);
	return o + 1;
}

/* --- barriers of the block ----------------------------------------------------------------------- */

static void bar_result(struct warp *w, const struct group *g, const struct barrier *b)
{
	const struct op *o = g->pc;
	uint8_t *regs = g->frame->regs;
	(void)w;
	if (o->x == BAR_RED_POPC) {
		for (uint32_t rest = g->mask; rest; rest &= rest - 1)
			((uint32_t *)(regs + o->d))[lane_first(rest)] = b->pop;
	} else if (o->x == BAR_RED_AND || o->x == BAR_RED_OR) {
		bool r = o->x == BAR_RED_AND ? b->all : b->any;
		uint32_t *p = (uint32_t *)(regs + o->d);
		*p = (*p & ~g->mask) | (r ? g->mask : 0);
	}
}

/* Lets everybody who waits at barrier id go on, if all it waits for have come. */
static void bar_check(struct cta *c, uint32_t id)
{
	struct barrier *b = &c->bar[id];
	if (!b->arrived || b->arrived < (b->counted ? b->expected : c->live))
		return;
	for (uint32_t i = 0; i < c->nwarps; i++) {
		struct warp *w = &c->warps[i];
		for (uint32_t k = 0; k < w->ng; k++) {
			struct group *g = &w->g[k];
			if (g->state != G_BAR || g->bar != id)
				continue;
			bar_result(w, g, b);
			g->state = G_RUN;
			g->pc++;
		}
	}
	*b = (struct barrier){ .all = true };
}

void cta_threads_left(struct cta *c, uint32_t n)
{
	c->live -= n;
	for (uint32_t id = 0; id < BARRIERS && c->live; id++)
		if (c->bar[id].arrived && !c->bar[id].counted)
			bar_check(c, id);
}

static bool lanes_agree(const uint32_t *v, uint32_t m)
{
	uint32_t first = v[lane_first(m)];

	for (uint32_t rest = m; rest; rest &= rest - 1)
		if (v[lane_first(rest)] != first)
			return false;
	return true;
}

/* The barrier that the lanes of m name, or the fault that an H200 has for it: lanes that disagree, a count that is no
 * number of warps, and who comes otherwise than those who wait already: with another count or none, or for something
 * else than they (an arrival is like a sync). Of a number 4 bits matter, of a count 12. */
static struct barrier *bar_named(struct warp *w, const struct op *o, uint32_t m, uint32_t *id)
{
	uint32_t lane = lane_first(m), kind = o->x == BAR_ARRIVE ? BAR_SYNC : o->x, count = 0;
	bool agree = lanes_agree(R32(w, o->a), m) && (o->b == REF_NONE || lanes_agree(R32(w, o->b), m));

	*id = R32(w, o->a)[lane] % BARRIERS;
	if (o->b != REF_NONE)
		count = R32(w, o->b)[lane] & 0xfff;
	struct barrier *b = &w->cta->bar[*id];
	if (!agree || count % WARP || count >= 2048 || (o->x == BAR_ARRIVE && !count) ||
		(b->arrived && (b->kind != kind || b->expected != count)))
		exec_raise(w, o, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, 0, "barrier %u: threads disagree", *id);
	b->kind = (uint8_t)kind;
	b->counted = count != 0;
	b->expected = count;
	return b;
}

/* x: BAR_*; a: register of the barrier's number, b: of the thread count or REF_NONE; c/y: predicate and negation; d:
 * result. */
const struct op *op_bar(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t id, others = w->active & ~m, n = (uint32_t)__builtin_popcount(m);
	struct barrier *b = bar_named(w, o, m, &id);
	if (b->counted) {
		/* Counts are whole warps: lanes that do not exist or have exited come with the last ones. */
		if (!(w->live & ~m))
			n = WARP;
	}
	if (o->x >= BAR_RED_POPC) {
		uint32_t p = (PRED(w, o->c) ^ o->y) & m;
		b->all = b->arrived ? b->all && p == m : p == m;
		b->any |= p != 0;
		b->pop += (uint32_t)__builtin_popcount(p);
	}
	b->arrived += n;
	if (others)
		warp_park(w, o + 1, w->frame, others, G_RUN, 0);
	if (o->x == BAR_ARRIVE) {
		warp_park(w, o + 1, w->frame, m, G_RUN, 0);
		bar_check(w->cta, id);
		return warp_pick(w);
	}
	warp_park(w, o, w->frame, m, G_BAR, (uint8_t)id);
	warp_set_active(w, 0);
	bar_check(w->cta, id);
	return warp_pick(w);
}
