/* exec_misc.c - small handlers: rounding modes, scalar fallbacks, special registers, the stack, fences, predicate
 * logic. */
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "exec_internal.h"

#define EACH(m, l) for (uint32_t m_ = (m), l = 0; m_ && (l = lane_first(m_), 1); m_ &= m_ - 1)

/* $AGILEOS_SOFTGPU_SIMD=sse2 asks for the handlers every processor has. */
const op_fn *exec_simd(void)
{
	const char *want = getenv("AGILEOS_SOFTGPU_SIMD");
	if (want && !strcmp(want, "sse2"))
		return exec_simd_sse2;
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")
		? exec_simd_avx2 : exec_simd_sse2;
}

const struct op *op_nop(struct warp *w, const struct op *o, uint32_t m)
{
	(void)w;
	(void)m;
	return o + 1;
}

/* Runs fn2 with MXCSR z: a rounding mode, flush to zero. */
const struct op *op_csr(struct warp *w, const struct op *o, uint32_t m)
{
	_mm_setcsr(o->z);
	__asm__ volatile("" ::: "memory");
	const struct op *next = o->fn2(w, o, m);
	__asm__ volatile("" ::: "memory");
	_mm_setcsr(MXCSR_RN);
	return next;
}

/* sfn lane by lane.  x: two bits each for d, a, b, c, e: 0 absent, 1 32-bit, 2 64-bit lanes; y goes to sfn. */
const struct op *op_scalar(struct warp *w, const struct op *o, uint32_t m)
{
	const uint32_t refs[4] = { o->a, o->b, o->c, o->e };
	const uint8_t *src[4];
	unsigned kind[4];
	for (int i = 0; i < 4; i++) {
		kind[i] = o->x >> (2 + 2 * i) & 3;
		src[i] = kind[i] ? REF(w, refs[i]) : NULL;
	}
	EACH(m, l) {
		uint64_t v[4];
		for (int i = 0; i < 4; i++)
			v[i] = kind[i] == 1 ? ((const uint32_t *)src[i])[l] : kind[i] == 2
				? ((const uint64_t *)src[i])[l] : 0;
		uint64_t r = o->sfn(v, o->y);
		if ((o->x & 3) == 1)
			R32(w, o->d)[l] = (uint32_t)r;
		else
			R64(w, o->d)[l] = r;
	}
	return o + 1;
}

/* --- special registers -------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Values that are the same for all lanes. */
static uint64_t sreg_uniform(const struct warp *w, uint32_t s)
{
	const struct cta *c = w->cta;
	const struct grid *g = c->grid;
	const struct exec_launch *l = g->l;
	switch (s) {
	case PTX_SR_ntid_x: return l->block[0];
	case PTX_SR_ntid_y: return l->block[1];
	case PTX_SR_ntid_z: return l->block[2];
	case PTX_SR_ctaid_x: return c->ctaid[0];
	case PTX_SR_ctaid_y: return c->ctaid[1];
	case PTX_SR_ctaid_z: return c->ctaid[2];
	case PTX_SR_nctaid_x: return l->grid[0];
	case PTX_SR_nctaid_y: return l->grid[1];
	case PTX_SR_nctaid_z: return l->grid[2];
	case PTX_SR_clusterid_x: return c->ctaid[0] / g->cluster[0];
	case PTX_SR_clusterid_y: return c->ctaid[1] / g->cluster[1];
	case PTX_SR_clusterid_z: return c->ctaid[2] / g->cluster[2];
	case PTX_SR_nclusterid_x: return l->grid[0] / g->cluster[0];
	case PTX_SR_nclusterid_y: return l->grid[1] / g->cluster[1];
	case PTX_SR_nclusterid_z: return l->grid[2] / g->cluster[2];
	case PTX_SR_cluster_ctaid_x: return c->cluster_ctaid[0];
	case PTX_SR_cluster_ctaid_y: return c->cluster_ctaid[1];
	case PTX_SR_cluster_ctaid_z: return c->cluster_ctaid[2];
	case PTX_SR_cluster_nctaid_x: return g->cluster[0];
	case PTX_SR_cluster_nctaid_y: return g->cluster[1];
	case PTX_SR_cluster_nctaid_z: return g->cluster[2];
	case PTX_SR_cluster_ctarank: return c->rank;
	case PTX_SR_cluster_nctarank: return c->cluster->n;
	case PTX_SR_warpid: return w->index;
	case PTX_SR_nwarpid: return 64;
	case PTX_SR_smid: return c->linear % 132;
	case PTX_SR_nsmid: return 132;
	case PTX_SR_gridid: return l->grid_id;
	case PTX_SR_clock: return (uint32_t)__rdtsc();
	case PTX_SR_clock_hi: return __rdtsc() >> 32;
	case PTX_SR_clock64: return __rdtsc();
	case PTX_SR_globaltimer: return now_ns();
	case PTX_SR_globaltimer_lo: return (uint32_t)now_ns();
	case PTX_SR_globaltimer_hi: return now_ns() >> 32;
	case PTX_SR_envreg1: return g->workspace >> 32;
	case PTX_SR_envreg2: return (uint32_t)g->workspace;
	case PTX_SR_total_smem_size: case PTX_SR_aggr_smem_size: return c->shared_size;
	case PTX_SR_dynamic_smem_size: return l->dyn_shared;
	default: return 0;
	}
}

/* Lane numbers and lane masks, by lane. */
#define LANES4(F, l) F(l), F(l + 1), F(l + 2), F(l + 3)
#define LANES(F) { LANES4(F, 0), LANES4(F, 4), LANES4(F, 8), LANES4(F, 12), LANES4(F, 16), LANES4(F, 20), \
	LANES4(F, 24), \
	LANES4(F, 28) }
#define LANE_ID(l) (uint32_t)(l)
#define LANE_EQ(l) (uint32_t)(1ull << (l))
#define LANE_LT(l) (uint32_t)((1ull << (l)) - 1)
#define LANE_LE(l) (uint32_t)((2ull << (l)) - 1)
#define LANE_GE(l) (uint32_t)~((1ull << (l)) - 1)
#define LANE_GT(l) (uint32_t)~((2ull << (l)) - 1)
static const uint32_t *sreg_table(uint32_t s)
{
	static const uint32_t t[6][WARP] = { LANES(LANE_ID), LANES(LANE_EQ), LANES(LANE_LT), LANES(LANE_LE),
		LANES(LANE_GE), LANES(LANE_GT) };
	switch (s) {
	case PTX_SR_laneid: return t[0];
	case PTX_SR_lanemask_eq: return t[1];
	case PTX_SR_lanemask_lt: return t[2];
	case PTX_SR_lanemask_le: return t[3];
	case PTX_SR_lanemask_ge: return t[4];
	case PTX_SR_lanemask_gt: return t[5];
	default: return NULL;
	}
}

/* d = v for lanes m; y: 1 for 32-bit lanes, 2 for 64-bit lanes. */
static void put_uniform(struct warp *w, const struct op *o, uint32_t m, uint64_t v)
{
	uint32_t *d = R32(w, o->d);
	if (o->y == 1 && m == FULL) {
		for (int l = 0; l < WARP; l++)
			d[l] = (uint32_t)v;
		return;
	}
	EACH(m, l) {
		if (o->y == 1)
			d[l] = (uint32_t)v;
		else
			R64(w, o->d)[l] = v;
	}
}

/* x: the register. */
const struct op *op_sreg(struct warp *w, const struct op *o, uint32_t m)
{
	const uint32_t *v = o->x == PTX_SR_tid_x ? w->tid[0] : o->x == PTX_SR_tid_y ? w->tid[1]
		: o->x == PTX_SR_tid_z ? w->tid[2]
		: sreg_table(o->x);
	uint32_t *d = R32(w, o->d);
	if (!v)
		put_uniform(w, o, m, sreg_uniform(w, o->x));
	else if (m == FULL)
		memcpy(d, v, WARP * sizeof *d);
	else
		EACH(m, l) d[l] = v[l];
	return o + 1;
}

/* --- stack -------------------------------------------------------------------------------------- */

/* d = base of this frame's local variables + imm. */
const struct op *op_local_addr(struct warp *w, const struct op *o, uint32_t m)
{
	put_uniform(w, o, m, w->frame->local_base + (uint64_t)o->imm);
	return o + 1;
}

const struct op *op_dyn_base(struct warp *w, const struct op *o, uint32_t m)
{
	put_uniform(w, o, m, w->cta->grid->f->dyn_base + (uint64_t)o->imm);
	return o + 1;
}

/* a: size per lane (lanes z: 1 or 2), imm: alignment. */
const struct op *op_alloca(struct warp *w, const struct op *o, uint32_t m)
{
	uint64_t size = 0, align = (uint64_t)o->imm, top;
	EACH(m, l) {
		uint64_t s = o->z == 1 ? R32(w, o->a)[l] : R64(w, o->a)[l];
		size = s > size ? s : size;
	}
	top = ((uint64_t)w->frame->local_top + align - 1) & ~(align - 1);
	if (size > STACK_EXTRA || top + size > w->cta->local_stride)
		exec_raise(w, o, lane_first(m), CUDA_ERROR_HARDWARE_STACK_ERROR, 0, "alloca of %llu bytes",
			(unsigned long long)size);
	w->frame->local_top = (uint32_t)(top + size);
	put_uniform(w, o, m, top);
	return o + 1;
}

/* x: 0 stacksave into d, 1 stackrestore from a.  A restore by only some of the lanes frees nothing: the others may
 * hold memory above it. */
const struct op *op_stack(struct warp *w, const struct op *o, uint32_t m)
{
	if (!o->x) {
		put_uniform(w, o, m, w->frame->local_top);
	} else if (!(w->frame->live & ~m)) {
		uint64_t v = o->y == 1 ? R32(w, o->a)[lane_first(m)] : R64(w, o->a)[lane_first(m)];
		if (v < w->frame->local_top && v >= w->frame->local_base + w->frame->f->local_bytes)
			w->frame->local_top = (uint32_t)v;
	}
	return o + 1;
}

/* --- waiting ------------------------------------------------------------------------------------ */

/* A sleeping thread gives its time to whoever it waits for. */
const struct op *op_nanosleep(struct warp *w, const struct op *o, uint32_t m)
{
	(void)m;
	w->budget = 0;
	w->spins += 1u << 12;
	w->spun += 64;
	return o + 1;
}

const struct op *op_fence(struct warp *w, const struct op *o, uint32_t m)
{
	(void)w;
	(void)m;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return o + 1;
}

const struct op *op_activemask(struct warp *w, const struct op *o, uint32_t m)
{
	EACH(m, l) R32(w, o->d)[l] = m;
	return o + 1;
}

/* --- predicates as values ------------------------------------------------------------------------ */

/* d = a ^ z (mask words). */
const struct op *op_pmov(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t v = PRED(w, o->a) ^ o->z;
	PRED(w, o->d) = (PRED(w, o->d) & ~m) | (v & m);
	return o + 1;
}

/* d = a op b, each with its negation in y and z. */
const struct op *op_plogic(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t a = PRED(w, o->a) ^ o->y, b = PRED(w, o->b) ^ o->z;
	uint32_t v = o->x == CB_AND ? a & b : o->x == CB_OR ? a | b : a ^ b;
	PRED(w, o->d) = (PRED(w, o->d) & ~m) | (v & m);
	return o + 1;
}

/* --- 128-bit registers --------------------------------------------------------------------------- */

const struct op *op_mov128(struct warp *w, const struct op *o, uint32_t m)
{
	EACH(m, l) memmove(REF(w, o->d) + 16 * l, REF(w, o->a) + 16 * l, 16);
	return o + 1;
}

const struct op *op_pack128(struct warp *w, const struct op *o, uint32_t m)
{
	EACH(m, l) {
		uint64_t v[2] = { R64(w, o->a)[l], R64(w, o->b)[l] };
		memcpy(REF(w, o->d) + 16 * l, v, 16);
	}
	return o + 1;
}

/* x: 0 the lower half, 1 the upper. */
const struct op *op_half128(struct warp *w, const struct op *o, uint32_t m)
{
	EACH(m, l) memcpy(&R64(w, o->d)[l], REF(w, o->a) + 16 * l + 8 * o->x, 8);
	return o + 1;
}
