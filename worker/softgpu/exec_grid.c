/* exec_grid.c - grids: blocks, the thread pool, time slices.
 *
 * A block runs on one thread at a time; its warps take turns, each until it waits at a barrier, ends or used up its
 * time slice (counted in back-edges).  Threads take new blocks in order.  A block that only spins (its slices go
 * into volatile or atomic accesses) parks, and its thread starts the next one or goes on with another parked block:
 * so blocks that wait for each other make progress, all of them in a cooperative grid, and as many as a GPU would
 * hold in others.
 *
 * Several grids run at once.  The thread that called exec_grid works on its own grid; pool threads help the grid
 * with the fewest helpers, and look again after each block. */
#include <immintrin.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "exec_internal.h"

#define BUDGET 512               /* back-edges of one time slice */
#define SPIN_SHARE 12u           /* hurried accesses in a slice that make it count as spinning */
#define SPIN_ROUNDS 8u
#define LONG_ROUNDS 64u          /* cooperative blocks give way at least this often */
#define RESIDENT_BYTES (1ull << 30)
#define RESIDENT_MAX 2048u

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pool_work = PTHREAD_COND_INITIALIZER;
static struct grid *pool_grids;
static unsigned pool_threads;
static uint64_t executed;

unsigned exec_workers(void)
{
	static unsigned n;
	if (!n) {
		const char *s = getenv("AGILEOS_SOFTGPU_THREADS");
		long v = s ? strtol(s, NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
		n = v < 1 ? 1 : v > 64 ? 64 : (unsigned)v;
	}
	return n;
}

uint64_t exec_instructions(void)
{
	return __atomic_load_n(&executed, __ATOMIC_RELAXED);
}

/* --- blocks ------------------------------------------------------------------------------------- */

/* Frees the frames that only lanes m still keep. */
static void frames_drop(struct frame *f, uint32_t m)
{
	for (struct frame *up; f; f = up) {
		up = f->up;
		f->live &= ~m;
		if (!f->live)
			free(f);
	}
}

static void block_free(struct cta *c)
{
	for (uint32_t i = 0; i < c->nwarps; i++) {
		struct warp *w = &c->warps[i];
		for (struct frame *f = w->spare, *up; f; f = up) {
			up = f->up;
			free(f);
		}
		/* Of lanes that an error stopped: */
		if (w->active)
			frames_drop(w->frame, w->active);
		for (uint32_t k = 0; k < w->ng; k++)
			frames_drop(w->g[k].frame, w->g[k].mask);
	}
	free(c->warps);
	left_give(&c->shared_left);
	left_give(&c->local_left);
	free(c);
}

/* With the other blocks of its cluster. */
static void cta_free(struct cta *c)
{
	struct cluster *k = c->cluster;
	for (uint32_t r = k->n; r-- > 0;)
		if (k->cta[r])
			block_free(k->cta[r]);
	free(k);
}

static struct cta *block_new(struct grid *g)
{
	struct cta *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->grid = g;
	c->nthreads = g->nthreads;
	c->nwarps = g->nwarps;
	c->shared_size = g->shared_size;
	c->local_stride = g->local_stride;
	c->local_size = (size_t)g->local_stride * WARP * g->nwarps;
	size_t bytes = sizeof *c->warps * g->nwarps;
	c->warps = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	c->shared = left_take(LEFT_SHARED, g->shared_size + 128, &c->shared_left);
	c->local = c->local_size ? left_take(LEFT_LOCAL, c->local_size, &c->local_left) : NULL;
	if (!c->warps || !c->shared || (c->local_size && !c->local)) {
		c->nwarps = 0;
		block_free(c);
		return NULL;
	}
	memset(c->warps, 0, bytes);
	for (uint32_t i = 0; i < g->nwarps; i++) {
		struct warp *w = &c->warps[i];
		w->cta = c;
		w->index = i;
		w->base[1] = g->m->consts;
		w->local = c->local + (size_t)i * WARP * g->local_stride;
		for (uint32_t l = 0; l < WARP; l++) {
			uint32_t t = i * WARP + l;
			w->lane_off[l] = (uint64_t)l * g->local_stride;
			w->tid[0][l] = t % g->l->block[0];
			w->tid[1][l] = t / g->l->block[0] % g->l->block[1];
			w->tid[2][l] = t / g->l->block[0] / g->l->block[1];
		}
	}
	return c;
}

/* A cluster, by its first block. */
static struct cta *cta_new(struct grid *g)
{
	struct cta *c = block_new(g);
	struct cluster *k = c ? cluster_new(c, g->cluster[0] * g->cluster[1] * g->cluster[2]) : NULL;
	if (!k) {
		if (c)
			block_free(c);
		return NULL;
	}
	c->cluster = k;
	for (uint32_t r = 1; r < k->n; r++) {
		k->cta[r] = block_new(g);
		if (!k->cta[r]) {
			cta_free(c);
			return NULL;
		}
		k->cta[r]->cluster = k;
		k->cta[r]->rank = r;
	}
	return c;
}

/* Where the block of that rank is in cluster number `linear`. */
static void block_place(struct cta *c, uint64_t linear)
{
	const uint32_t *dim = c->grid->l->grid, *k = c->grid->cluster;
	uint64_t nx = dim[0] / k[0], ny = dim[1] / k[1];
	uint64_t at[3] = { linear % nx, linear / nx % ny, linear / nx / ny };
	c->cluster_ctaid[0] = c->rank % k[0];
	c->cluster_ctaid[1] = c->rank / k[0] % k[1];
	c->cluster_ctaid[2] = c->rank / k[0] / k[1];
	for (int i = 0; i < 3; i++)
		c->ctaid[i] = (uint32_t)at[i] * k[i] + c->cluster_ctaid[i];
	c->linear = c->ctaid[0] + dim[0] * (c->ctaid[1] + (uint64_t)dim[1] * c->ctaid[2]);
}

/* Sets the block to its first instruction; on the executing thread, since it may raise. */
static void block_start(struct cta *c)
{
	struct grid *g = c->grid;
	for (uint32_t i = 0; i < BARRIERS; i++)
		c->bar[i] = (struct barrier){ .all = true };
	for (uint32_t i = 0; i < c->nwarps; i++) {
		struct warp *w = &c->warps[i];
		uint32_t left = c->nthreads - i * WARP;
		w->live = left >= WARP ? FULL : (1u << left) - 1;
		w->ng = w->spins = w->slice = w->icount = 0;
		w->active = w->nactive = w->armed = 0;
		w->mem_op = NULL;
		exec_self->warp = w;
		struct frame *f = frame_new(w, g->f);
		f->live = w->live;
		warp_park(w, g->f->ops, f, w->live, G_RUN, 0);
	}
}

static void cta_start(struct cta *first)
{
	struct cluster *k = first->cluster;
	first->started = true;
	first->rounds = first->spin_rounds = 0;
	k->arrived = k->phase = 0;
	k->live = k->n * first->nthreads;
	/* All blocks of a cluster start together: none sees another that has not. */
	for (uint32_t r = 0; r < k->n; r++)
		k->cta[r]->live = k->cta[r]->nthreads;
	uint64_t linear = first->linear;
	for (uint32_t r = 0; r < k->n; r++) {
		block_place(k->cta[r], linear);
		block_start(k->cta[r]);
	}
}

enum cta_end { CTA_DONE, CTA_PARK, CTA_STOP };

static bool runnable(const struct warp *w)
{
	for (uint32_t i = 0; i < w->ng; i++)
		if (w->g[i].state == G_RUN)
			return true;
	return false;
}

/* One turn for each warp of the block; false when none could run. */
static bool block_round(struct cta *c, bool *spinning)
{
	bool ran = false;
	for (uint32_t i = 0; i < c->nwarps; i++) {
		struct warp *w = &c->warps[i];
		if (!w->ng || !runnable(w))
			continue;
		w->budget = BUDGET;
		w->spun = 0;
		exec_self->warp = w;
		warp_run(w);
		ran = true;
		if (w->budget >= 0 || w->spun < SPIN_SHARE)
			*spinning = false;
	}
	return ran;
}

static bool cta_round(struct cta *c, bool *spinning)
{
	bool ran = false;
	*spinning = true;
	for (uint32_t r = 0; r < c->cluster->n; r++)
		ran |= block_round(c->cluster->cta[r], spinning);
	return ran;
}

/* A thread of the cluster that has not exited. */
static struct warp *some_warp(const struct cluster *k)
{
	for (uint32_t r = 0; r < k->n; r++)
		for (uint32_t i = 0; k->cta[r]->live && i < k->cta[r]->nwarps; i++)
			if (k->cta[r]->warps[i].live)
				return &k->cta[r]->warps[i];
	return &k->cta[0]->warps[0];
}

static enum cta_end cta_run(struct cta *c)
{
	struct grid *g = c->grid;
	const volatile uint32_t *cancel = g->l->cancel;
	for (;;) {
		bool spinning;
		bool ran = cta_round(c, &spinning);
		if (!c->cluster->live)
			return CTA_DONE;
		if (g->stop)
			return CTA_STOP;
		struct warp *w = &c->warps[0];
		if (cancel && *cancel)
			exec_raise(w, NULL, 0, CUDA_ERROR_LAUNCH_TIMEOUT, 0, "cancelled");
		if (!ran) {
			w = some_warp(c->cluster);
			exec_raise(w, w->ng ? w->g[0].pc : NULL, lane_first(w->live), CUDA_ERROR_LAUNCH_TIMEOUT, 0,
			           "all threads of the block or cluster wait and none can wake them");
		}
		c->spin_rounds = spinning ? c->spin_rounds + 1 : 0;
		c->rounds++;
		if (g->l->cooperative ? spinning || c->rounds % LONG_ROUNDS == 0 : c->spin_rounds >= SPIN_ROUNDS)
			return CTA_PARK;
	}
}

/* A fault found by the processor: which lane's access was it? */
static void report_fault(struct exec_thread *t)
{
	struct warp *w = t->warp;
	uint32_t lane = w->mem_mask ? lane_first(w->mem_mask) : 0;
	char what[160];
	for (uint32_t m = w->mem_mask; m; m &= m - 1) {
		uint32_t l = lane_first(m);
		if (t->addr >= w->ptr[l] && t->addr < w->ptr[l] + w->mem_size) {
			lane = l;
			break;
		}
	}
	snprintf(what, sizeof what, "access of %u bytes at 0x%llx, where nothing is mapped", w->mem_size,
	         (unsigned long long)t->addr);
	exec_fault_fill(w, w->mem_op, lane, t->code, t->addr, what);
}

/* Runs a block on this thread until it ends, parks or fails. */
static enum cta_end cta_enter(struct cta *c)
{
	struct exec_thread self = { .warp = &c->warps[0] }, *outer = exec_self;
	enum cta_end end;
	uint32_t csr = _mm_getcsr();
	exec_self = &self;
	_mm_setcsr(MXCSR_RN);
	int why = sigsetjmp(self.env, 0);
	if (why == 0) {
		self.armed = true;
		if (!c->started)
			cta_start(c);
		end = cta_run(c);
	} else {
		if (why == 2)
			report_fault(exec_self);
		end = CTA_STOP;
	}
	exec_self = outer;
	_mm_setcsr(csr);
	return end;
}

/* --- grids -------------------------------------------------------------------------------------- */

/* A block to work on, or NULL. */
static struct cta *take(struct grid *g)
{
	struct cta *c = NULL;
	pthread_mutex_lock(&g->lock);
	if (!g->stop && g->next_cta < g->nctas && g->resident < g->max_resident) {
		c = g->free;
		if (c) {
			g->free = c->next;
		} else {
			c = cta_new(g);
			if (!c && !g->resident) {
				g->error = CUDA_ERROR_OUT_OF_MEMORY;
				g->stop = 1;
			}
			g->max_resident = c ? g->max_resident : g->resident;
		}
		if (c) {
			c->started = false;
			c->linear = g->next_cta++;
			g->resident++;
		}
	}
	if (!c && g->parked_head) {
		c = g->parked_head;
		g->parked_head = c->next;
		if (!g->parked_head)
			g->parked_tail = &g->parked_head;
	}
	pthread_mutex_unlock(&g->lock);
	return c;
}

static void put(struct grid *g, struct cta *c, enum cta_end end)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < c->nwarps * c->cluster->n; i++) {
		struct warp *w = &c->cluster->cta[i / c->nwarps]->warps[i % c->nwarps];
		n += w->icount;
		w->icount = 0;
	}
	__atomic_fetch_add(&executed, n, __ATOMIC_RELAXED);
	pthread_mutex_lock(&g->lock);
	if (end == CTA_PARK) {
		c->next = NULL;
		*g->parked_tail = c;
		g->parked_tail = &c->next;
		c = NULL;
	} else if (end == CTA_DONE) {
		g->resident--;
		c->next = g->free;
		g->free = c;
		c = NULL;
	} else {
		g->resident--;
	}
	pthread_mutex_unlock(&g->lock);
	if (c)
		cta_free(c);
}

static bool work_one(struct grid *g)
{
	struct cta *c = take(g);
	if (!c)
		return false;
	put(g, c, g->stop ? CTA_STOP : cta_enter(c));
	return true;
}

static struct grid *neediest(void)
{
	struct grid *best = NULL;
	for (struct grid *g = pool_grids; g; g = g->next)
		if (!g->stop && (g->next_cta < g->nctas || g->parked_head) && (!best || g->helpers < best->helpers))
			best = g;
	return best;
}

static void *pool_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&pool_lock);
	for (;;) {
		struct grid *g = neediest();
		if (!g) {
			pthread_cond_wait(&pool_work, &pool_lock);
			continue;
		}
		g->helpers++;
		pthread_mutex_unlock(&pool_lock);
		work_one(g);
		pthread_mutex_lock(&pool_lock);
		if (--g->helpers == 0)
			pthread_cond_broadcast(&g->idle);
	}
	return NULL;
}

static void pool_add(struct grid *g)
{
	pthread_mutex_lock(&pool_lock);
	while (pool_threads + 1 < exec_workers()) {
		pthread_t t;
		sigset_t all, old;
		sigfillset(&all);
		sigdelset(&all, SIGSEGV);
		sigdelset(&all, SIGBUS);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		int err = pthread_create(&t, NULL, pool_main, NULL);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (err)
			break;
		pthread_detach(t);
		pool_threads++;
	}
	g->next = pool_grids;
	pool_grids = g;
	pthread_cond_broadcast(&pool_work);
	pthread_mutex_unlock(&pool_lock);
}

/* Takes the grid from the pool and waits for its helpers. */
static void pool_remove(struct grid *g)
{
	pthread_mutex_lock(&pool_lock);
	while (g->helpers)
		pthread_cond_wait(&g->idle, &pool_lock);
	for (struct grid **p = &pool_grids; *p; p = &(*p)->next) {
		if (*p == g) {
			*p = g->next;
			break;
		}
	}
	pthread_mutex_unlock(&pool_lock);
}

static void grid_free(struct grid *g)
{
	for (struct cta *c = g->free, *n; c; c = n) {
		n = c->next;
		cta_free(c);
	}
	for (struct cta *c = g->parked_head, *n; c; c = n) {
		n = c->next;
		cta_free(c);
	}
	if (g->workspace)
		g->m->release(g->workspace, 256);
	free(g->params);
	pthread_mutex_destroy(&g->lock);
	pthread_cond_destroy(&g->idle);
}

static CUresult grid_init(struct grid *g, const struct exec_launch *l)
{
	const struct func *f = l->kernel->code;
	uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];
	for (int i = 0; i < 3; i++)
		if (!l->grid[i] || !l->block[i] || l->block[i] > 1024)
			return CUDA_ERROR_INVALID_VALUE;
	if (threads > 1024 || threads > l->kernel->max_threads || l->dyn_shared > 1u << 20)
		return CUDA_ERROR_INVALID_VALUE;
	uint64_t blocks = 1;
	for (int i = 0; i < 3; i++) {
		g->cluster[i] = l->cluster[i] ? l->cluster[i] : 1;
		blocks *= g->cluster[i];
		if (blocks > EXEC_CLUSTER_MAX || l->grid[i] % g->cluster[i])
			return CUDA_ERROR_INVALID_CLUSTER_SIZE;
	}
	g->l = l;
	g->f = f;
	g->m = f->module;
	g->nthreads = (uint32_t)threads;
	g->nwarps = (g->nthreads + WARP - 1) / WARP;
	g->nctas = (uint64_t)l->grid[0] * l->grid[1] * l->grid[2] / blocks;
	g->shared_size = (f->dyn_base + l->dyn_shared + 127) & ~127u;
	g->local_stride = (f->stack_bytes + (f->recursive || f->indirect ? STACK_EXTRA : 0) + 15) & ~15u;
	uint64_t bytes = blocks * (g->shared_size + (uint64_t)g->nwarps * (sizeof(struct warp) + f->reg_bytes));
	uint64_t most = RESIDENT_BYTES / bytes;
	g->max_resident = l->cooperative ? g->nctas : most < 64 ? 64 : most > RESIDENT_MAX ? RESIDENT_MAX : most;
	g->parked_tail = &g->parked_head;
	g->param_bytes = l->kernel->param_bytes;
	g->params = calloc(1, (size_t)g->param_bytes + 64);
	if (!g->params)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (g->param_bytes)
		memcpy(g->params, l->params, g->param_bytes);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->idle, NULL);
	if (l->cooperative) {
		g->workspace = g->m->alloc(256, 256);
		if (!g->workspace) {
			grid_free(g);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		memset((void *)(uintptr_t)g->workspace, 0, 256);
		*(uint32_t *)(uintptr_t)g->workspace = 256;
	}
	return CUDA_SUCCESS;
}

CUresult exec_grid(const struct exec_launch *l, struct exec_fault *fault)
{
	struct grid g = { 0 };
	exec_fault_install();
	CUresult r = grid_init(&g, l);
	if (r != CUDA_SUCCESS) {
		memset(fault, 0, sizeof *fault);
		snprintf(fault->what, sizeof fault->what, "launch of %s refused", l->kernel->name);
		return r;
	}
	bool shared = g.nctas > 1 && exec_workers() > 1;
	if (shared)
		pool_add(&g);
	/* A helper may park the last blocks just before it leaves: look again until nothing is left anywhere. */
	for (;;) {
		while (work_one(&g))
			;
		if (shared)
			pool_remove(&g);
		if (g.stop || (g.next_cta >= g.nctas && !g.parked_head))
			break;
		shared = false;
	}
	r = g.error;
	*fault = g.fault;
	grid_free(&g);
	return r;
}
