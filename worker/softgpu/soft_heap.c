/* soft_heap.c - allocation inside device memory the way the driver does it: 2 MiB blocks cut into pieces of 512 bytes;
 * above 1 MiB an allocation gets frames of its own.  A block is unmapped when its last piece goes, and not before: an
 * access a little past a small allocation hits a neighbour here, as it does on hardware.
 * Owns: blocks, their spans and frames.  Ranges belong to the map of ranges until soft_heap_release. */
#include <sys/mman.h>
#include "soft_internal.h"

enum { UNIT = 512, UNITS = SOFT_GRANULE / UNIT };

struct soft_block {
	struct soft_block *next;
	struct soft_heap *heap;
	struct soft_span *span;
	struct soft_phys *phys;
	unsigned live, units_free;
	bool whole;                     /* one allocation only */
	uint8_t used[UNITS];            /* a byte per unit: found with memchr */
};

struct soft_heap {
	struct soft_block *blocks;
	uint64_t reserved, keep;
};

struct soft_heap *soft_heap_new(void)
{
	return calloc(1, sizeof(struct soft_heap));
}

uint64_t soft_heap_reserved(const struct soft_heap *h)
{
	return h->reserved;
}

static void block_free(struct soft_block *b)
{
	struct soft_block **p = &b->heap->blocks;
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	b->heap->reserved -= b->phys->size;
	soft_span_free(b->span);
	b->phys->maps = 0;
	soft_phys_drop(b->phys);
	free(b);
}

static CUresult block_new(struct soft_heap *h, uint64_t size, bool whole, struct soft_block **out)
{
	struct soft_block *b = calloc(1, sizeof *b);
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	CUresult r = soft_phys_new(size, NULL, &b->phys);
	if (r) {
		free(b);
		return r;
	}
	b->phys->maps = 1;
	soft_obj_hide(&b->phys->obj);
	b->span = soft_span_new(0, size, SOFT_GRANULE);
	if (!b->span || !soft_phys_map(b->phys, 0, b->span->e.base, size, PROT_READ | PROT_WRITE)) {
		if (b->span)
			soft_span_free(b->span);
		b->phys->maps = 0;
		soft_phys_drop(b->phys);
		free(b);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	b->heap = h;
	b->whole = whole;
	b->units_free = whole ? 0 : UNITS;
	b->next = h->blocks;
	h->blocks = b;
	h->reserved += size;
	*out = b;
	return CUDA_SUCCESS;
}

/* First run of `want` free units whose start is a multiple of `step`; UNITS when there is none. */
static unsigned find_run(const struct soft_block *b, unsigned want, unsigned step)
{
	for (unsigned at = 0; at + want <= UNITS;) {
		const uint8_t *busy = memchr(b->used + at, 1, want);
		if (!busy)
			return at;
		at = (unsigned)(busy - b->used) + 1;
		const uint8_t *gap = memchr(b->used + at, 0, UNITS - at);
		if (!gap)
			break;
		at = ((unsigned)(gap - b->used) + step - 1) / step * step;
	}
	return UNITS;
}

static CUresult place(struct soft_heap *h, uint64_t size, uint64_t align, struct soft_block **block, uint64_t *addr)
{
	if (size > SOFT_GRANULE / 2) {
		uint64_t whole = (size + SOFT_GRANULE - 1) / SOFT_GRANULE * SOFT_GRANULE;
		for (struct soft_block *b = h->blocks; b; b = b->next) {
			if (b->whole && !b->live && b->phys->size == whole) {
				*block = b;
				*addr = b->span->e.base;
				return CUDA_SUCCESS;
			}
		}
		CUresult r = block_new(h, whole, true, block);
		if (!r)
			*addr = (*block)->span->e.base;
		return r;
	}
	unsigned want = (unsigned)((size + UNIT - 1) / UNIT), step = (unsigned)(align > UNIT ? align / UNIT : 1),
		 at = UNITS;
	struct soft_block *b;
	for (b = h->blocks; b; b = b->next)
		if (b->units_free >= want && (at = find_run(b, want, step)) < UNITS)
			break;
	if (!b) {
		CUresult r = block_new(h, SOFT_GRANULE, false, &b);
		if (r)
			return r;
		at = 0;
	}
	memset(b->used + at, 1, want);
	b->units_free -= want;
	*block = b;
	*addr = b->span->e.base + (uint64_t)at * UNIT;
	return CUDA_SUCCESS;
}

static void give_back(struct soft_block *b, uint64_t addr, uint64_t size)
{
	if (!b->whole) {
		unsigned n = (unsigned)((size + UNIT - 1) / UNIT);
		memset(b->used + (addr - b->span->e.base) / UNIT, 0, n);
		b->units_free += n;
	}
	if (!b->live && b->heap->reserved > b->heap->keep)
		block_free(b);
}

CUresult soft_heap_alloc(struct soft_heap *h, uint64_t size, uint64_t align, enum soft_type type, struct soft_ctx *c,
	struct soft_range **out)
{
	if (size == 0 || align > SOFT_GRANULE)
		return CUDA_ERROR_INVALID_VALUE;
	if (size > SOFT_ARENA_END - SOFT_DRIVER_BASE)
		return CUDA_ERROR_OUT_OF_MEMORY;
	struct soft_block *b;
	uint64_t addr;
	CUresult r = place(h, size, align, &b, &addr);
	if (r)
		return r;
	struct soft_range *range = soft_range_add(addr, size, type, c);
	if (!range) {
		give_back(b, addr, size);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	b->live++;
	range->block = b;
	*out = range;
	return CUDA_SUCCESS;
}

void soft_heap_release(struct soft_range *r)
{
	struct soft_block *b = r->block;
	uint64_t addr = r->e.base, size = r->e.size;
	soft_range_remove(r);
	b->live--;
	give_back(b, addr, size);
}

void soft_heap_trim(struct soft_heap *h, uint64_t keep)
{
	for (struct soft_block *b = h->blocks, *next; b && h->reserved > keep; b = next) {
		next = b->next;
		if (!b->live)
			block_free(b);
	}
}

void soft_heap_keep(struct soft_heap *h, uint64_t keep)
{
	h->keep = keep;
}

void soft_heap_free(struct soft_heap *h)
{
	for (size_t i = soft_ranges.n; i-- > 0;) {
		struct soft_range *r = (struct soft_range *)soft_ranges.v[i];
		if (!r->block || r->block->heap != h)
			continue;
		soft_heap_release(r);
		if (i > soft_ranges.n)
			i = soft_ranges.n;
	}
	h->keep = 0;
	soft_heap_trim(h, 0);
	free(h);
}
