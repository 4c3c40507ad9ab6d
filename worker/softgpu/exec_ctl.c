/* exec_ctl.c - the running group of a warp and its parked groups: branches, calls, returns, exits and the loop that
 * executes ops.
 *
 * Order.  The deepest frame runs first and in it the lowest pc, so that code after a divergent branch is met together.
 * That alone would starve a lane that must leave a loop before the others can (a lock held inside one warp), so
 * back-edges taken while others are parked are counted; past SPINS_MAX the group that waited longest gets SLICE
 * back-edges. Atomic and volatile accesses count for many (hurry() in exec_mem.h): they are what lanes spin on. */
#include <string.h>
#include "exec_internal.h"

#define SPINS_MAX 4096u
#define SLICE 256u
#define NO_LIMIT ((const struct op *)UINTPTR_MAX)

void warp_set_active(struct warp *w, uint32_t mask)
{
	w->active = mask;
	w->nactive = (uint32_t)__builtin_popcount(mask);
}

static void enter(struct warp *w, struct frame *f)
{
	w->frame = f;
	w->base[0] = f->regs;
}

/* Adds lanes to the parked ones; running groups that wait at one place become one. */
void warp_park(struct warp *w, const struct op *pc, struct frame *f, uint32_t mask, enum group_state st, uint8_t bar)
{
	for (uint32_t i = 0; i < w->ng; i++) {
		struct group *g = &w->g[i];
		if (g->pc == pc && g->frame == f && g->state == st && g->bar == bar) {
			g->mask |= mask;
			return;
		}
	}
	w->g[w->ng++] = (struct group){ .pc = pc, .frame = f, .mask = mask, .state = (uint8_t)st, .bar = bar,
		.stamp = w->stamp++ };
}

/* Joins groups parked at pc, and finds the next place above pc where one waits. */
static const struct op *settle(struct warp *w, const struct op *pc)
{
	w->limit = NO_LIMIT;
	for (uint32_t i = 0; i < w->ng;) {
		struct group *g = &w->g[i];
		if (g->state == G_RUN && g->frame == w->frame) {
			if (g->pc == pc) {
				warp_set_active(w, w->active | g->mask);
				*g = w->g[--w->ng];
				continue;
			}
			if (g->pc > pc && g->pc < w->limit)
				w->limit = g->pc;
		}
		i++;
	}
	return pc;
}

static bool before(const struct group *a, const struct group *b)
{
	return a->frame->depth != b->frame->depth ? a->frame->depth > b->frame->depth : a->pc < b->pc;
}

/* Makes a parked group the running one; NULL when none can run. */
static const struct op *pick(struct warp *w, bool longest_waiting)
{
	struct group *best = NULL;
	warp_set_active(w, 0);
	w->limit = NO_LIMIT;
	for (uint32_t i = 0; i < w->ng; i++) {
		struct group *g = &w->g[i];
		if (g->state == G_RUN && (!best || (longest_waiting ? (int32_t)(g->stamp - best->stamp) < 0
				: before(g, best))))
			best = g;
	}
	if (!best)
		return NULL;
	const struct op *pc = best->pc;
	enter(w, best->frame);
	warp_set_active(w, best->mask);
	*best = w->g[--w->ng];
	return settle(w, pc);
}

const struct op *warp_pick(struct warp *w)
{
	w->slice = 0;
	return pick(w, false);
}

static const struct op *pick_longest_waiting(struct warp *w)
{
	w->spins = 0;
	w->slice = SLICE;
	return pick(w, true);
}

/* The running group goes on at pc, unless another has precedence. */
const struct op *warp_goto(struct warp *w, const struct op *pc)
{
	if (!w->ng)
		return pc;
	if (w->slice)
		return settle(w, pc);
	warp_park(w, pc, w->frame, w->active, G_RUN, 0);
	return pick(w, false);
}

static bool frames_differ(const struct warp *w)
{
	const struct frame *f = NULL;
	for (uint32_t i = 0; i < w->ng; i++) {
		if (w->g[i].state != G_RUN)
			continue;
		if (f && f != w->g[i].frame)
			return true;
		f = w->g[i].frame;
	}
	return false;
}

/* --- the loop ----------------------------------------------------------------------------------- */

void warp_run(struct warp *w)
{
	/* who gave way while it waited, in a call, must not come first again */
	const struct op *o = w->spins > SPINS_MAX && frames_differ(w) ? pick_longest_waiting(w) : warp_pick(w);
	uint64_t n = 0;
	while (o) {
		if (__builtin_expect(o >= w->limit, 0))
			o = settle(w, o);
		uint32_t m = w->active & (PRED(w, o->p) ^ o->pneg);
		n += w->nactive & o->count;
		o = m ? o->fn(w, o, m) : o + 1;
	}
	w->icount += n;
}

/* --- branches ----------------------------------------------------------------------------------- */

static const struct op *diverge(struct warp *w, const struct op *o, const struct op *target, uint32_t m)
{
	warp_park(w, o + 1, w->frame, w->active & ~m, G_RUN, 0);
	warp_set_active(w, m);
	return warp_goto(w, target);
}

const struct op *op_bra(struct warp *w, const struct op *o, uint32_t m)
{
	if (m != w->active)
		return diverge(w, o, o->target, m);
	return w->ng ? warp_goto(w, o->target) : o->target;
}

/* A time slice ended: everybody parks and the block's scheduler looks around. */
static const struct op *give_way(struct warp *w, const struct op *pc)
{
	warp_park(w, pc, w->frame, w->active, G_RUN, 0);
	warp_set_active(w, 0);
	return NULL;
}

static const struct op *rotate(struct warp *w, const struct op *pc)
{
	warp_park(w, pc, w->frame, w->active, G_RUN, 0);
	return pick_longest_waiting(w);
}

const struct op *op_bra_back(struct warp *w, const struct op *o, uint32_t m)
{
	const struct op *pc = o->target;
	if (m != w->active) {
		warp_park(w, o + 1, w->frame, w->active & ~m, G_RUN, 0);
		warp_set_active(w, m);
	}
	if (--w->budget < 0)
		return give_way(w, pc);
	if (!w->ng)
		return pc;
	if (w->slice)
		w->slice--;
	else if (++w->spins > SPINS_MAX)
		return rotate(w, pc);
	return warp_goto(w, pc);
}

/* Lanes whose index equals the first lane's go; the others execute the instruction again. */
const struct op *op_brx(struct warp *w, const struct op *o, uint32_t m)
{
	const uint32_t *idx = R32(w, o->a);
	uint32_t v = idx[lane_first(m)], same = 0, rest = w->active & ~m;
	if (v >= o->table->n)
		exec_raise(w, o, lane_first(m), CUDA_ERROR_INVALID_PC, 0, "brx.idx: index %u of %u", v, o->table->n);
	for (uint32_t l = 0; l < WARP; l++)
		same |= (m >> l & 1 && idx[l] == v) ? 1u << l : 0;
	if (rest)
		warp_park(w, o + 1, w->frame, rest, G_RUN, 0);
	if (m & ~same)
		warp_park(w, o, w->frame, m & ~same, G_RUN, 0);
	warp_set_active(w, same);
	if (--w->budget < 0)
		return give_way(w, o->table->target[v]);
	return warp_goto(w, o->table->target[v]);
}

/* --- frames ------------------------------------------------------------------------------------- */

struct frame *frame_new(struct warp *w, const struct func *f)
{
	struct frame **p = &w->spare, *fr;
	while (*p && (*p)->f != f)
		p = &(*p)->up;
	fr = *p;
	if (fr) {
		*p = fr->up;
	} else {
		size_t head = (sizeof *fr + 63) & ~(size_t)63, regs = (f->reg_bytes + 63) & ~(size_t)63;
		size_t total = head + regs + (size_t)f->par_bytes * WARP + 64;
		fr = aligned_alloc(64, (total + 63) & ~(size_t)63);
		if (!fr)
			exec_raise(w, NULL, 0, CUDA_ERROR_OUT_OF_MEMORY, 0, "no memory for the registers of %s",
				f->name);
		memset(fr, 0, (total + 63) & ~(size_t)63);
		fr->f = f;
		fr->regs = (uint8_t *)fr + head;
		fr->par = fr->regs + regs;
	}
	*(uint32_t *)fr->regs = FULL;
	fr->up = NULL;
	fr->call_op = NULL;
	fr->depth = fr->live = fr->local_base = 0;
	fr->local_top = f->local_bytes;
	return fr;
}

void frame_free(struct warp *w, struct frame *fr)
{
	fr->up = w->spare;
	w->spare = fr;
}

/* Copies one argument or result of lanes m. */
static void slot_copy(struct frame *to, const struct call_slot *d, struct frame *from, const struct call_slot *s,
                      const uint8_t *consts, uint32_t m)
{
	uint32_t n = d->size < s->size ? d->size : s->size;
	for (; m; m &= m - 1) {
		uint32_t l = lane_first(m);
		const uint8_t *src = s->ref == REF_NONE ? from->par + (size_t)l * from->f->par_bytes + s->off
			: ((s->ref & REF_CONST) ? consts + (s->ref & ~REF_CONST) : from->regs + s->ref)
			+ (size_t)l * s->lane_bytes;
		uint8_t *dst = d->ref == REF_NONE ? to->par + (size_t)l * to->f->par_bytes + d->off
			: to->regs + d->ref + (size_t)l * d->lane_bytes;
		memcpy(dst, src, n);
		if (d->ref != REF_NONE && n < d->lane_bytes)
			memset(dst + n, 0, d->lane_bytes - n);
	}
}

static const struct op *call_into(struct warp *w, const struct op *o, const struct func *f, uint32_t m, uint32_t again)
{
	struct frame *up = w->frame;
	const struct call *c = o->call;
	if (up->depth >= CALL_DEPTH_MAX || (uint64_t)up->local_top + f->local_bytes > w->cta->local_stride)
		exec_raise(w, o, lane_first(m), CUDA_ERROR_HARDWARE_STACK_ERROR, 0,
			"call of %s: the stack is exhausted", f->name);
	if (c->nargs != f->nparams || c->nrets != f->nrets)
		exec_raise(w, o, lane_first(m), CUDA_ERROR_INVALID_PC, 0, "call of %s: wrong number of arguments",
			f->name);
	struct frame *fr = frame_new(w, f);
	fr->up = up;
	fr->call_op = o;
	fr->live = m;
	fr->depth = up->depth + 1;
	fr->local_base = (up->local_top + 15) & ~15u;
	fr->local_top = fr->local_base + f->local_bytes;
	for (uint32_t i = 0; i < c->nargs; i++)
		slot_copy(fr, &f->params[i], up, &c->args[i], w->base[1], m);
	if (w->active & ~m & ~again)
		warp_park(w, o + 1, up, w->active & ~m & ~again, G_RUN, 0);
	if (again)
		warp_park(w, o, up, again, G_RUN, 0);
	warp_set_active(w, m);
	enter(w, fr);
	w->limit = NO_LIMIT;
	w->budget--;
	return f->ops;
}

/* Calls of functions that the driver provides. */
static const struct op *call_intrinsic(struct warp *w, const struct op *o, uint32_t m)
{
	const struct call *c = o->call;
	struct frame *fr = w->frame;
	w->mem_op = o;
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		uint32_t l = lane_first(rest);
		uint64_t a[5] = { 0 };
		for (uint32_t i = 0; i < c->nargs && i < 5; i++) {
			const struct call_slot *s = &c->args[i];
			const uint8_t *src = s->ref == REF_NONE ? fr->par + (size_t)l * fr->f->par_bytes + s->off
				: REF(w, s->ref) + (size_t)l * s->lane_bytes;
			memcpy(&a[i], src, s->size < 8 ? s->size : 8);
		}
		uint64_t result = 0;
		int32_t n = 0;
		if (c->intrinsic == INTR_VPRINTF) {
			exec_vprintf(w, l, a[0], a[1], &n);
			result = (uint64_t)(uint32_t)n;
		} else if (c->intrinsic == INTR_ASSERTFAIL) {
			exec_assertfail(w, l, a[0], a[1], (uint32_t)a[2], a[3]);
		} else if (c->intrinsic == INTR_MALLOC) {
			result = exec_heap_alloc(w->cta->grid->m, a[0]);
		} else if (c->intrinsic == INTR_FREE && a[0] && !exec_heap_free(a[0])) {
			exec_raise(w, o, l, CUDA_ERROR_LAUNCH_FAILED, a[0],
				"free of an address that malloc did not give");
		}
		if (c->nrets) {
			const struct call_slot *d = &c->rets[0];
			uint8_t *dst = d->ref == REF_NONE ? fr->par + (size_t)l * fr->f->par_bytes + d->off
				: fr->regs + d->ref + (size_t)l * d->lane_bytes;
			memcpy(dst, &result, d->size < 8 ? d->size : 8);
		}
	}
	if (c->intrinsic == INTR_ASSERTFAIL)
		exec_raise(w, o, lane_first(m), CUDA_ERROR_ASSERT, 0, "device-side assert");
	return o + 1;
}

const struct op *op_call(struct warp *w, const struct op *o, uint32_t m)
{
	if (o->call->intrinsic)
		return call_intrinsic(w, o, m);
	return call_into(w, o, o->call->callee, m, 0);
}

const struct op *op_call_reg(struct warp *w, const struct op *o, uint32_t m)
{
	const uint64_t *a = R64(w, o->a);
	const struct exec_module *mod = w->cta->grid->m;
	uint32_t lane = lane_first(m), same = 0;
	uint64_t v = a[lane], i = (v - SOFT_CODE_BASE) / 16;
	if (v < SOFT_CODE_BASE || v % 16 || i >= mod->nfuncs || !mod->funcs[i].ops || mod->funcs[i].pf->is_entry)
		exec_raise(w, o, lane, CUDA_ERROR_INVALID_PC, v, "call through 0x%llx, which is no function",
			(unsigned long long)v);
	for (uint32_t l = 0; l < WARP; l++)
		same |= (m >> l & 1 && a[l] == v) ? 1u << l : 0;
	return call_into(w, o, &mod->funcs[i], same, m & ~same);
}

/* --- leaving ------------------------------------------------------------------------------------ */

static void lanes_out(struct warp *w, struct frame *f, uint32_t m)
{
	while (f) {
		struct frame *up = f->up;
		f->live &= ~m;
		if (!f->live)
			frame_free(w, f);
		f = up;
	}
}

/* Lanes m of the running group exit. */
const struct op *warp_leave(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t rest = w->active & ~m;
	struct frame *f = w->frame;
	w->live &= ~m;
	if (rest)
		warp_park(w, o + 1, f, rest, G_RUN, 0);
	lanes_out(w, f, m);
	warp_set_active(w, 0);
	w->limit = NO_LIMIT;
	if (w->live && w->ng)
		sync_check(w);
	cta_threads_left(w->cta, (uint32_t)__builtin_popcount(m));
	cluster_threads_left(w, m);
	return w->ng ? warp_pick(w) : NULL;
}

const struct op *op_exit(struct warp *w, const struct op *o, uint32_t m)
{
	return warp_leave(w, o, m);
}

const struct op *op_ret(struct warp *w, const struct op *o, uint32_t m)
{
	struct frame *f = w->frame, *up = f->up;
	if (!up)
		return warp_leave(w, o, m);
	const struct op *site = f->call_op;
	for (uint32_t i = 0; i < f->f->nrets; i++)
		slot_copy(up, &site->call->rets[i], f, &f->f->rets[i], w->base[1], m);
	if (w->active & ~m)
		warp_park(w, o + 1, f, w->active & ~m, G_RUN, 0);
	f->live &= ~m;
	if (!f->live)
		frame_free(w, f);
	warp_set_active(w, m);
	enter(w, up);
	w->limit = NO_LIMIT;
	return warp_goto(w, site + 1);
}

/* x: 0 trap, 1 brkpt. */
const struct op *op_trap(struct warp *w, const struct op *o, uint32_t m)
{
	exec_raise(w, o, lane_first(m), CUDA_ERROR_LAUNCH_FAILED, 0, o->x ? "brkpt" : "trap");
}
