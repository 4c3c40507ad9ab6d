/* small.c - small blocks of host memory: mimalloc divides segments that are ranges of the window (mimalloc.c).
 *
 * mimalloc keeps its own data in the segments, where the client's kernels can write.  What must not depend on that is
 * kept here: per segment, a bit for each place where a live block starts.  A free names one of those or is refused, a
 * block that mimalloc hands out must begin in a segment of ours where none starts, and a segment goes back only when
 * no block of it lives.  The owner keeps the sizes.
 */
#include "small.h"

#include <mimalloc.h>
#include <stdlib.h>

#define UNITS (SMALL_SEGMENT / SMALL_ALIGN)
#define WORDS (UNITS / 64)
#define LEAF  512u                       /* segments under one leaf of the index */
#define ROOT  (AG_WINDOW_BYTES / SMALL_SEGMENT / LEAF)

struct segment {
	uint64_t start[WORDS];           /* a block starts at this unit */
	uint64_t some[(WORDS + 63) / 64]; /* which words are not 0 */
	uint32_t live;
	uint64_t busy;                   /* of the blocks freed in it */
};
struct leaf { struct segment *segment[LEAF]; };

/* Freed blocks that work may still touch, oldest first. */
struct late { uint64_t addr, busy; struct late *next; };

static struct range_heap *ranges;
static struct leaf *root[ROOT];
static struct late *late_first, **late_end = &late_first;
static uint64_t window;                  /* whose segments these are: addresses above AG_WINDOW_BYTES */
static uint64_t now, live, segments;

static struct segment **place_of(uint64_t addr)
{
	uint64_t i = addr % AG_WINDOW_BYTES / SMALL_SEGMENT;
	return addr / AG_WINDOW_BYTES == window && root[i / LEAF] ? &root[i / LEAF]->segment[i % LEAF] : NULL;
}

static struct segment *segment_of(uint64_t addr)
{
	struct segment **s = place_of(addr);
	return s ? *s : NULL;
}

static unsigned unit_of(uint64_t addr) { return (unsigned)(addr % SMALL_SEGMENT / SMALL_ALIGN); }

/* --- segments ----------------------------------------------------------------------------------------------------- */

void *small_take(void)
{
	struct segment *s = calloc(1, sizeof *s);
	uint64_t at = s ? range_alloc(ranges, SMALL_SEGMENT, SMALL_SEGMENT, now) : 0;
	uint64_t leaf = at % AG_WINDOW_BYTES / SMALL_SEGMENT / LEAF;
	if (at && !root[leaf] && !(root[leaf] = calloc(1, sizeof *root[leaf]))) {
		range_free(ranges, at, 0);
		at = 0;
	}
	if (!at) {
		free(s);
		return NULL;
	}
	window = at / AG_WINDOW_BYTES;
	*place_of(at) = s;
	segments++;
	return (void *)(uintptr_t)at;
}

void small_give(void *segment)
{
	uint64_t at = (uint64_t)(uintptr_t)segment;
	struct segment *s = segment_of(at);
	if (!s || at % SMALL_SEGMENT || s->live)
		return;                  /* mimalloc was misled: the segment is lost to it, not to the blocks in it */
	*place_of(at) = NULL;
	segments--;
	range_free(ranges, at, s->busy > now ? s->busy : 0);
	free(s);
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

static void put_back(uint64_t addr, uint64_t busy)
{
	struct segment *s = segment_of(addr);
	if (s->busy < busy)
		s->busy = busy;
	s->live--;
	live--;
	mi_free((void *)(uintptr_t)addr);
}

/* Freed blocks whose work is over. */
static void put_back_late(uint64_t seq)
{
	if (now < seq)
		now = seq;
	while (late_first && late_first->busy <= now) {
		struct late *l = late_first;
		late_first = l->next;
		if (!late_first)
			late_end = &late_first;
		put_back(l->addr, l->busy);
		free(l);
	}
}

bool small_open(struct range_heap *over)
{
	if (live)
		return false;
	if (ranges)
		mi_collect(true);
	if (segments)
		return false;
	mi_option_set(mi_option_use_numa_nodes, 1);
	mi_option_set(mi_option_allow_decommit, 0);
	ranges = over;
	now = 0;
	return true;
}

/* Pages of blocks above 1 KiB begin at a multiple of 64 KiB, so a size that is a multiple of the alignment comes out
 * aligned; it is not relied on.  Not mi_malloc_aligned: it takes the same for granted of smaller powers of two. */
static uint64_t ask(uint64_t bytes, uint64_t align)
{
	bytes = (bytes + align - 1) / align * align;
	uint64_t at = bytes > 1024 ? (uint64_t)(uintptr_t)mi_malloc(bytes) : 0;
	if (at % align) {
		mi_free((void *)(uintptr_t)at);
		at = 0;
	}
	return at ? at : (uint64_t)(uintptr_t)mi_malloc_aligned_at(bytes, align, 0);
}

uint64_t small_alloc(uint64_t bytes, uint64_t align, uint64_t seq)
{
	put_back_late(seq);
	if (bytes > SMALL_MAX || align > 4096 || (align & (align - 1)))
		return 0;
	uint64_t at = ask(bytes ? bytes : 1, align < SMALL_ALIGN ? SMALL_ALIGN : align);
	struct segment *s = at ? segment_of(at) : NULL;
	unsigned u = unit_of(at), w = u / 64;
	if (!s || at % SMALL_ALIGN || (s->start[w] >> u % 64 & 1))
		return 0;
	s->start[w] |= 1ull << u % 64;
	s->some[w / 64] |= 1ull << w % 64;
	s->live++;
	live++;
	return at;
}

bool small_free(uint64_t addr, uint64_t busy_until, uint64_t seq)
{
	struct segment *s = segment_of(addr);
	unsigned u = unit_of(addr), w = u / 64;
	put_back_late(seq);
	if (!s || addr % SMALL_ALIGN || !(s->start[w] >> u % 64 & 1))
		return false;
	s->start[w] &= ~(1ull << u % 64);
	if (!s->start[w])
		s->some[w / 64] &= ~(1ull << w % 64);
	if (busy_until <= now) {
		put_back(addr, 0);
		return true;
	}
	struct late *l = malloc(sizeof *l);
	if (l) {                         /* else the block is lost, never reused too early */
		*l = (struct late){ addr, busy_until, NULL };
		*late_end = l;
		late_end = &l->next;
	}
	return true;
}

bool small_holds(uint64_t addr) { return segment_of(addr) != NULL; }

uint64_t small_find(uint64_t addr)
{
	struct segment *s = segment_of(addr);
	if (!s)
		return 0;
	unsigned u = unit_of(addr), w = u / 64;
	uint64_t bits = s->start[w] << (63 - u % 64);
	if (bits)
		return addr / SMALL_SEGMENT * SMALL_SEGMENT + (u - (unsigned)__builtin_clzll(bits)) * SMALL_ALIGN;
	for (unsigned i = w / 64 + 1; i-- > 0;) {
		uint64_t some = s->some[i];
		if (i == w / 64)
			some &= (1ull << w % 64) - 1;
		if (!some)
			continue;
		w = i * 64 + 63 - (unsigned)__builtin_clzll(some);
		u = w * 64 + 63 - (unsigned)__builtin_clzll(s->start[w]);
		return addr / SMALL_SEGMENT * SMALL_SEGMENT + (uint64_t)u * SMALL_ALIGN;
	}
	return 0;
}

void small_collect(uint64_t seq)
{
	put_back_late(seq);
	mi_collect(true);
}

uint64_t small_segments(void) { return segments; }
