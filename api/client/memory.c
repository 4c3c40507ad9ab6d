/* memory.c - the client's memory: device blocks, pinned and managed host blocks, all carved locally out of what the
 * worker granted.
 *
 * Two range heaps (device, host) under one lock, and a hash table of live blocks for attributes and checks.  Small
 * blocks of host memory are mimalloc's (alloc/small.c), in segments that it takes from the host's ranges.  The worker
 * is asked for more in doubling steps and gets large idle tails of device memory back.  The functions of the API on
 * top of this are in memapi.c, pools in pool.c.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#define MIB (1ull << 20)
#define STEP_MIN   (32 * MIB)
#define STEP_MAX   (1024 * MIB)
#define HOST_STEP  (32 * MIB)
#define HOST_STEP_MAX (512 * MIB)
#define TRIM_FREE  (512 * MIB)
#define TRIM_KEEP  (64 * MIB)
#define TRIM_NS    200000000ull      /* no giving back within this time of a grant */
#define CONST_BASE (AG_WINDOW_BYTES / 4 * 3)     /* in the half of the window that is never used */
#define CONST_SPAN (1ull << 36)
#define GRANT_TRIES 4
#define HOARD      (256 * MIB)       /* free but busy memory beyond this is waited for rather than added to */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct range_heap *device, *host, *consts;
static uint64_t device_granted, last_grant, next_id = 1;

/* --- the table of live blocks ------------------------------------------------------------------------------------- */

static struct agc_block *table;      /* open addressing; addr 0 empty, 1 deleted */
static size_t slots, filled, blocks; /* filled counts deleted ones */

static size_t slot_of(uint64_t addr)
{
	return (size_t)((addr >> 6) * 0x9e3779b97f4a7c15ull >> 20) & (slots - 1);
}

static struct agc_block *table_get(uint64_t addr)
{
	for (size_t i = slots ? slot_of(addr) : 0; slots && table[i].addr; i = (i + 1) & (slots - 1))
		if (table[i].addr == addr)
			return &table[i];
	return NULL;
}

static void table_put(const struct agc_block *b)
{
	size_t i = slot_of(b->addr);
	while (table[i].addr > 1)
		i = (i + 1) & (slots - 1);
	filled += table[i].addr == 0;
	table[i] = *b;
	blocks++;
}

static bool table_room(void)
{
	if (slots && (filled + 1) * 4 <= slots * 3)
		return true;
	size_t old_slots = slots, want = 1024;
	while (want < blocks * 4)
		want *= 2;
	struct agc_block *old = table, *fresh = calloc(want, sizeof *fresh);
	if (!fresh)
		return false;
	table = fresh;
	slots = want;
	filled = blocks = 0;
	for (size_t i = 0; i < old_slots; i++)
		if (old[i].addr > 1)
			table_put(&old[i]);
	free(old);
	return true;
}

static void table_remove(struct agc_block *b)
{
	b->addr = 1;
	blocks--;
}

/* --- growth ------------------------------------------------------------------------------------------------------- */

static CUresult grant(uint64_t bytes, bool is_host, struct rep_grant *rep)
{
	struct msg_grant *m = agc_begin(AG_OP_grant, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->bytes = bytes;
	m->host = is_host;
	m->pad = 0;
	CUresult r = agc_call(m, rep, sizeof *rep, NULL, NULL);
	if (r == CUDA_SUCCESS && is_host && !agc_take_hostfd(rep->addr, rep->bytes))
		return CUDA_ERROR_OPERATING_SYSTEM;
	return r;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return n > UINT64_MAX - to ? UINT64_MAX / to * to : (n + to - 1) / to * to;
}

/* By half of what there is, so that chunks stay few; host memory is pinned when it is granted, so not by more. */
static CUresult grow_host(uint64_t need)
{
	struct rep_grant rep;
	uint64_t have = range_heap_total(host) / 2, step = have > HOST_STEP_MAX ? HOST_STEP_MAX : have;
	need = round_up(need, HOST_STEP);
	step = round_up(step, HOST_STEP);
	CUresult r = grant(step > need ? step : need, true, &rep);
	if (r == CUDA_ERROR_OUT_OF_MEMORY && step > need)
		r = grant(need, true, &rep);
	return r ? r : range_heap_add(host, rep.addr, rep.bytes) ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

/* Asks for as much again as was granted so far, within limits; for just the need when there is no more. */
static CUresult grow_device(uint64_t need)
{
	struct rep_grant rep;
	need = round_up(need, AG_GRANULE);
	uint64_t step = device_granted < STEP_MIN   ? STEP_MIN
			: device_granted > STEP_MAX ? STEP_MAX
						    : round_up(device_granted, AG_GRANULE);
	CUresult r = grant(step > need ? step : need, false, &rep);
	if (r == CUDA_ERROR_OUT_OF_MEMORY && step > need)
		r = grant(need, false, &rep);
	if (r)
		return r;
	device_granted += rep.bytes;
	last_grant = agc_now_ns();
	return range_heap_add(device, rep.addr, rep.bytes) ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

/* Returns a large idle tail to the worker, when there is much more free than used. */
static void trim_device(uint64_t keep, uint64_t least)
{
	uint64_t addr, bytes = least;
	if (!range_heap_trim(device, atomic_load(&agc_s.completed), keep, &addr, &bytes))
		return;
	struct msg_giveback *m = agc_begin(AG_OP_giveback, sizeof *m, 0);
	CUresult r = agc_error();
	if (m) {
		m->addr = addr;
		m->bytes = bytes;
		r = agc_call(m, NULL, 0, NULL, NULL);
	}
	if (r == CUDA_SUCCESS)
		device_granted -= bytes < device_granted ? bytes : device_granted;
	else
		range_heap_add(device, addr, bytes);    /* still ours */
}

static void trim_when_idle(void)
{
	uint64_t used = range_heap_used(device), spare = range_heap_total(device) - used;
	if (spare >= TRIM_FREE && spare > used && agc_now_ns() - last_grant > TRIM_NS)
		trim_device(TRIM_KEEP + used / 4, TRIM_FREE / 2);
}

/* --- allocation --------------------------------------------------------------------------------------------------- */

static uint64_t completed(void) { return atomic_load_explicit(&agc_s.completed, memory_order_relaxed); }

static uint64_t carve(struct range_heap *h, uint64_t bytes, uint64_t align)
{
	return range_alloc(h, bytes, align, completed());
}

/* Waits for all work, when that frees enough. */
static uint64_t carve_later(struct range_heap *h, uint64_t bytes, uint64_t align, CUresult *r)
{
	if (range_wait_for(h, bytes, align) == UINT64_MAX)
		return 0;
	CUresult w = agc_wait_all();
	uint64_t at = carve(h, bytes, align);
	*r = at ? CUDA_SUCCESS : w ? w : *r;
	return at;
}

/* A new grant may straddle a 4 GiB line; the next one begins behind it. */
static uint64_t carve_more(struct range_heap *h, uint64_t bytes, uint64_t align, CUresult *r)
{
	uint64_t at = 0, need = align > AG_GRANULE ? bytes + align : bytes;
	if (need < bytes) {
		*r = CUDA_ERROR_OUT_OF_MEMORY;
		return 0;
	}
	for (int i = 0; !at && i < GRANT_TRIES && *r == CUDA_SUCCESS; i++) {
		*r = h == device ? grow_device(need) : grow_host(need);
		at = *r ? 0 : carve(h, bytes, align);
	}
	return at;
}

/* What is free but still in use by work is waited for only when there is a lot of it, or nothing else left: a kernel
 * may run for as long as the program likes. */
static uint64_t alloc_locked(struct range_heap *h, uint64_t bytes, uint64_t align, CUresult *r)
{
	*r = CUDA_SUCCESS;
	uint64_t at = carve(h, bytes, align);
	if (!at && h == host && small_segments()) {
		small_collect(completed());
		at = carve(h, bytes, align);
	}
	if (!at && range_heap_total(h) - range_heap_used(h) > HOARD)
		at = carve_later(h, bytes, align, r);
	if (!at && *r == CUDA_SUCCESS)
		at = carve_more(h, bytes, align, r);
	if (!at && *r == CUDA_ERROR_OUT_OF_MEMORY)
		at = carve_later(h, bytes, align, r);
	if (!at && *r == CUDA_SUCCESS)
		*r = CUDA_ERROR_OUT_OF_MEMORY;
	return at;
}

/* A segment's range is freed again at once: what counts is that there is one. */
static uint64_t small_locked(uint64_t bytes, uint64_t align, CUresult *r)
{
	*r = CUDA_SUCCESS;
	uint64_t at = small_alloc(bytes, align, completed());
	uint64_t segment = at ? 0 : alloc_locked(host, SMALL_SEGMENT, SMALL_SEGMENT, r);
	if (segment) {
		range_free(host, segment, 0);
		at = small_alloc(bytes, align, completed());
		*r = at ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	}
	return at;
}

static CUresult block_alloc(struct range_heap *h, uint64_t bytes, uint64_t align, enum agc_block_kind kind,
			    uint32_t flags, uint64_t *addr)
{
	CUresult r = CUDA_ERROR_OUT_OF_MEMORY;
	bool small = h == host && kind != AGC_B_PRIVATE && bytes <= SMALL_MAX;
	pthread_mutex_lock(&lock);
	uint64_t at = !table_room() ? 0 : small ? small_locked(bytes, align, &r) : alloc_locked(h, bytes, align, &r);
	if (at) {
		struct agc_block b = { .addr = at,
				       .bytes = bytes,
				       .ctx = agc_t.ctx,
				       .id = next_id++,
				       .flags = flags,
				       .kind = (uint8_t)kind,
				       .small = small,
				       .preferred = AGC_NOWHERE,
				       .prefetched = AGC_NOWHERE };
		table_put(&b);
		*addr = at;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

static bool release(const struct agc_block *b, uint64_t busy)
{
	if (b->small)
		return small_free(b->addr, busy, completed());
	return range_free(agc_is_host((void *)(uintptr_t)b->addr) ? host : device, b->addr, busy);
}

static CUresult block_free(uint64_t addr, uint64_t busy)
{
	pthread_mutex_lock(&lock);
	struct agc_block *b = table_get(addr);
	CUresult r = b && release(b, busy) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	if (r == CUDA_SUCCESS) {
		table_remove(b);
		trim_when_idle();
	}
	pthread_mutex_unlock(&lock);
	return r;
}

CUresult agc_device_alloc(uint64_t bytes, uint64_t align, enum agc_block_kind kind, uint32_t flags, uint64_t *addr)
{
	return block_alloc(device, bytes, align, kind, flags, addr);
}

CUresult agc_host_block_alloc(uint64_t bytes, uint64_t align, enum agc_block_kind kind, uint32_t flags, uint64_t *addr)
{
	return block_alloc(host, bytes, align, kind, flags, addr);
}

static uint64_t busy_now(void)
{
	uint64_t work = agc_submitted();
	return work > atomic_load(&agc_s.completed) ? work : 0;
}

CUresult agc_device_free(uint64_t addr)
{
	return block_free(addr, busy_now());
}

void *agc_host_alloc(size_t bytes, size_t align)
{
	uint64_t addr = 0;
	return block_alloc(host, bytes, align, AGC_B_PRIVATE, 0, &addr) == CUDA_SUCCESS ? (void *)(uintptr_t)addr
											: NULL;
}

void agc_host_free(void *p)
{
	if (p)
		block_free((uint64_t)(uintptr_t)p, busy_now());
}

/* Words come in pages of their own: they are many, small, and live long. */
static struct word_page { struct word_page *next; } *spare_words;
static pthread_mutex_t words_lock = PTHREAD_MUTEX_INITIALIZER;
struct late_word { volatile uint64_t *word; uint64_t busy; struct late_word *next; };
static struct late_word *late_first, **late_end = &late_first;

/* Words given back while something could still store to them become spare once that is over. */
static void collect_late(void)
{
	uint64_t done = atomic_load(&agc_s.completed);
	while (late_first && late_first->busy <= done) {
		struct late_word *l = late_first;
		struct word_page *w = (struct word_page *)l->word;
		late_first = l->next;
		if (!late_first)
			late_end = &late_first;
		w->next = spare_words;
		spare_words = w;
		free(l);
	}
}

volatile uint64_t *agc_word_new(void)
{
	pthread_mutex_lock(&words_lock);
	collect_late();
	if (!spare_words) {
		uint8_t *page = agc_host_alloc(4096, 64);
		for (unsigned at = 0; page && at < 4096; at += 8) {
			struct word_page *w = (struct word_page *)(page + at);
			w->next = spare_words;
			spare_words = w;
		}
	}
	struct word_page *w = spare_words;
	if (w)
		spare_words = w->next;
	pthread_mutex_unlock(&words_lock);
	if (w)
		*(volatile uint64_t *)w = 0;
	return (volatile uint64_t *)w;
}

void agc_word_free(volatile uint64_t *w, uint64_t value)
{
	if (!w)
		return;
	bool idle = *w >= value;
	struct late_word *l = idle ? NULL : malloc(sizeof *l);
	if (!idle && !l)
		return;                  /* out of memory: the word is lost, never reused too early */
	pthread_mutex_lock(&words_lock);
	if (idle) {
		struct word_page *p = (struct word_page *)w;
		p->next = spare_words;
		spare_words = p;
	} else {
		*l = (struct late_word){ w, atomic_load(&agc_s.posted), NULL };
		*late_end = l;
		late_end = &l->next;
	}
	pthread_mutex_unlock(&words_lock);
}

/* --- looking up --------------------------------------------------------------------------------------------------- */

/* The memory of one block around addr, start and size: a range, or within mimalloc's segments, which are no blocks. */
static bool extent_of(uint64_t addr, uint64_t *start, uint64_t *bytes)
{
	if (!small_holds(addr))
		return range_find(device, addr, start, bytes) || range_find(host, addr, start, bytes);
	const struct agc_block *b = table_get(small_find(addr));
	if (!b || addr - b->addr >= b->bytes)
		return false;
	*start = b->addr;
	*bytes = b->bytes;
	return true;
}

bool agc_block_find(uint64_t addr, struct agc_block *out)
{
	uint64_t start, bytes;
	bool found = false;
	pthread_mutex_lock(&lock);
	if (device && extent_of(addr, &start, &bytes)) {
		const struct agc_block *b = table_get(start);
		if (b && addr - start < b->bytes) {
			*out = *b;
			found = true;
		}
	}
	pthread_mutex_unlock(&lock);
	return found;
}

bool agc_block_at(uint64_t addr, struct agc_block *out)
{
	pthread_mutex_lock(&lock);
	const struct agc_block *b = table_get(addr);
	if (b)
		*out = *b;
	pthread_mutex_unlock(&lock);
	return b != NULL;
}

bool agc_block_covers(uint64_t addr, uint64_t bytes)
{
	uint64_t start, size;
	pthread_mutex_lock(&lock);
	bool ok = extent_of(addr, &start, &size) && bytes <= size - (addr - start);
	pthread_mutex_unlock(&lock);
	return ok;
}

uint64_t agc_device_spare(void)
{
	pthread_mutex_lock(&lock);
	uint64_t n = range_heap_total(device) - range_heap_used(device);
	pthread_mutex_unlock(&lock);
	return n;
}

/* Replaces what is known of a live block; address and size stay. */
void agc_block_mark(const struct agc_block *news)
{
	pthread_mutex_lock(&lock);
	struct agc_block *b = table_get(news->addr);
	if (b && b->id == news->id)
		*b = *news;
	pthread_mutex_unlock(&lock);
}

/* Takes a block out of the table without freeing its range (it waits in a pool), or puts it back. */
bool agc_block_hide(uint64_t addr, struct agc_block *out)
{
	pthread_mutex_lock(&lock);
	struct agc_block *b = table_get(addr);
	if (b) {
		*out = *b;
		table_remove(b);
	}
	pthread_mutex_unlock(&lock);
	return b != NULL;
}

bool agc_block_show(const struct agc_block *b)
{
	pthread_mutex_lock(&lock);
	bool ok = table_room();
	if (ok) {
		struct agc_block copy = *b;
		copy.id = next_id++;
		table_put(&copy);
	}
	pthread_mutex_unlock(&lock);
	return ok;
}

void agc_range_release(uint64_t addr, uint64_t busy)
{
	pthread_mutex_lock(&lock);
	range_free(device, addr, busy);
	trim_when_idle();
	pthread_mutex_unlock(&lock);
}

void agc_memory_drop(struct agc_ctx *ctx)
{
	pthread_mutex_lock(&lock);
	uint64_t busy = busy_now();
	for (size_t i = 0; i < slots; i++) {
		struct agc_block *b = &table[i];
		if (b->addr <= 1 || b->kind == AGC_B_PRIVATE || b->kind == AGC_B_MODULE || b->kind == AGC_B_VMM ||
		    (ctx && b->ctx != ctx))
			continue;
		if (release(b, busy))
			table_remove(b);
	}
	pthread_mutex_unlock(&lock);
}

/* --- addresses of constant variables ------------------------------------------------------------------------------ */

uint64_t agc_const_reserve(uint64_t bytes)
{
	pthread_mutex_lock(&lock);
	uint64_t at = range_alloc(consts, bytes, 256, UINT64_MAX);
	pthread_mutex_unlock(&lock);
	return at;
}

void agc_const_release(uint64_t addr)
{
	pthread_mutex_lock(&lock);
	if (addr)
		range_free(consts, addr, 0);
	pthread_mutex_unlock(&lock);
}

bool agc_is_const(uint64_t addr)
{
	return addr - (agc_s.base + CONST_BASE) < CONST_SPAN;
}

/* --- a new session ------------------------------------------------------------------------------------------------ */

bool agc_memory_setup(void)
{
	const struct ag_extent *first = &agc_s.host[0];
	range_heap_free(device);
	range_heap_free(host);
	range_heap_free(consts);
	device = range_heap_new(512);
	host = range_heap_new(64);
	consts = range_heap_new(256);
	device_granted = 0;
	free(table);
	table = NULL;
	slots = filled = blocks = 0;
	spare_words = NULL;
	while (late_first) {
		struct late_word *l = late_first;
		late_first = l->next;
		free(l);
	}
	late_end = &late_first;
	return device && host && consts && small_open(host) && first->bytes > AG_HOST_FREE_OFF &&
	       range_heap_add(host, first->addr + AG_HOST_FREE_OFF, first->bytes - AG_HOST_FREE_OFF) == 0 &&
	       range_heap_add(consts, agc_s.base + CONST_BASE, CONST_SPAN) == 0;
}
