/* exec_cluster.c - thread-block clusters: their barrier, and the shared memory of other blocks.
 *
 * An address in .shared::cluster: bits 0 to 23 are the offset in a block's shared memory, bits 24 up are 0 for the
 * block that uses the address and its rank + 1 for another block, so that every address of .shared is one of
 * .shared::cluster.  Generic addresses are those after SOFT_SHARED_BASE.
 *
 * A block's shared memory may be used by others of its cluster only while the block runs: PTX leaves the rest
 * undefined and the hardware reports "cluster target block not present". */
#include <stdlib.h>
#include "exec_internal.h"

#define EACH(m, l) for (uint32_t m_ = (m), l = 0; m_ && (l = lane_first(m_), 1); m_ &= m_ - 1)

/* NULL without memory. */
struct cluster *cluster_new(struct cta *first, uint32_t n)
{
	struct cluster *k = calloc(1, sizeof *k);
	if (k) {
		k->n = n;
		k->cta[0] = first;
	}
	return k;
}

/* --- addresses ------------------------------------------------------------------------------------ */

static bool in_cluster_window(uint64_t a)
{
	return a - SOFT_SHARED_BASE < CLUSTER_WINDOW;
}

/* Host address of [a, a+len) of .shared::cluster. */
uint64_t cluster_at(struct warp *w, const struct op *o, uint32_t lane, uint64_t a, uint64_t len)
{
	struct cta *c = w->cta;
	uint64_t off = a % WINDOW_SIZE, top = a / WINDOW_SIZE;
	if (top) {
		if (top > c->cluster->n)
			exec_raise(w, o, lane, CUDA_ERROR_ILLEGAL_ADDRESS, a,
				   "no block of the cluster has address 0x%llx", (unsigned long long)a);
		c = c->cluster->cta[top - 1];
		if (!c->live)
			exec_raise(w, o, lane, CUDA_ERROR_LAUNCH_FAILED, a, "block %u of the cluster has ended",
				   c->rank);
	}
	if (off > c->shared_size || len > c->shared_size - off)
		exec_raise(w, o, lane, CUDA_ERROR_ILLEGAL_ADDRESS, a,
			   "access of %llu bytes at shared::cluster 0x%llx, out "
			   "of range",
			   (unsigned long long)len, (unsigned long long)a);
	return (uint64_t)(uintptr_t)c->shared + off;
}

/* d = the address in block b of the cluster that corresponds to a.  y: bytes of the address; z: generic. */
const struct op *op_mapa(struct warp *w, const struct op *o, uint32_t m)
{
	EACH(m, l) {
		uint64_t a = o->y == 8 ? R64(w, o->a)[l] : R32(w, o->a)[l];
		uint32_t rank = R32(w, o->b)[l];
		uint64_t top = rank == w->cta->rank ? 0 : rank < w->cta->cluster->n ? rank + 1 : EXEC_CLUSTER_MAX + 1;
		uint64_t r = a % WINDOW_SIZE + top * WINDOW_SIZE + (o->z ? SOFT_SHARED_BASE : 0);
		if (o->y == 8)
			R64(w, o->d)[l] = r;
		else
			R32(w, o->d)[l] = (uint32_t)r;
	}
	return o + 1;
}

/* d = rank of the block that address a belongs to. */
const struct op *op_ctarank(struct warp *w, const struct op *o, uint32_t m)
{
	EACH(m, l) {
		uint64_t a = o->y == 8 ? R64(w, o->a)[l] : R32(w, o->a)[l];
		if (o->z)
			a = in_cluster_window(a) ? a - SOFT_SHARED_BASE : 0;
		R32(w, o->d)[l] = a / WINDOW_SIZE ? (uint32_t)(a / WINDOW_SIZE - 1) : w->cta->rank;
	}
	return o + 1;
}

/* d (predicate) = was the launch one of clusters? */
const struct op *op_explicit_cluster(struct warp *w, const struct op *o, uint32_t m)
{
	PRED(w, o->d) = (PRED(w, o->d) & ~m) | (w->cta->grid->l->cluster[0] ? m : 0);
	return o + 1;
}

/* --- the barrier ----------------------------------------------------------------------------------- */

/* Ends the phase if every thread that has not exited arrived. */
static void phase_check(struct cluster *k)
{
	if (!k->arrived || k->arrived < k->live)
		return;
	k->phase++;
	k->arrived = 0;
	for (uint32_t r = 0; r < k->n; r++) {
		struct cta *c = k->cta[r];
		for (uint32_t i = 0; i < c->nwarps; i++) {
			struct warp *w = &c->warps[i];
			for (uint32_t j = 0; j < w->ng; j++) {
				struct group *g = &w->g[j];
				if (g->state != G_CLUSTER)
					continue;
				g->state = G_RUN;
				g->pc++;
				w->armed &= ~g->mask;
			}
		}
	}
}

static const struct op *arrive(struct warp *w, const struct op *o, uint32_t m)
{
	struct cluster *k = w->cta->cluster;
	if (w->armed & m)
		exec_raise(w, o, lane_first(w->armed & m), CUDA_ERROR_LAUNCH_FAILED, 0,
			"barrier.cluster.arrive twice without a wait");
	uint32_t others = w->active & ~m;
	w->armed |= m;
	EACH(m, l) w->arrived_in[l] = k->phase;
	k->arrived += (uint32_t)__builtin_popcount(m);
	if (others)
		warp_park(w, o + 1, w->frame, others, G_RUN, 0);
	warp_park(w, o + 1, w->frame, m, G_RUN, 0);
	warp_set_active(w, 0);
	phase_check(k);
	return warp_pick(w);
}

/* x: 0 arrive, 1 wait. */
const struct op *op_cluster(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t others = w->active & ~m, pending = 0;
	if (!o->x)
		return arrive(w, o, m);
	if (m & ~w->armed)
		exec_raise(w, o, lane_first(m & ~w->armed), CUDA_ERROR_LAUNCH_FAILED, 0,
			"barrier.cluster.wait without an arrive");
	EACH(m, l) pending |= w->arrived_in[l] == w->cta->cluster->phase ? 1u << l : 0;
	w->armed &= ~(m & ~pending);
	if (!pending)
		return o + 1;
	if (others | (m & ~pending))
		warp_park(w, o + 1, w->frame, others | (m & ~pending), G_RUN, 0);
	warp_park(w, o, w->frame, pending, G_CLUSTER, 0);
	warp_set_active(w, 0);
	return warp_pick(w);
}

/* Lanes m of w exit. */
void cluster_threads_left(struct warp *w, uint32_t m)
{
	struct cluster *k = w->cta->cluster;
	EACH(m & w->armed, l) k->arrived -= w->arrived_in[l] == k->phase;
	w->armed &= ~m;
	k->live -= (uint32_t)__builtin_popcount(m);
	phase_check(k);
}
