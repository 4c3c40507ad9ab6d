/* range.c - first-class allocator over address ranges: the client's device memory and its host memory in the window.
 *
 * Best fit by (size, address) in a treap; neighbours by an address-ordered list; containment by a second treap.  Free
 * blocks never cross a 4 GiB line, so whatever is carved out of one does not either; only requests above 4 GiB join
 * several (slow path). Free neighbours merge when the same work keeps both busy; those that differ merge later, when
 * an allocation finds nothing, so that one small busy block does not make a large idle one unusable. The heap owns
 * its metadata (slabs); nothing here is thread safe.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* --- treaps ------------------------------------------------------------------------------------------------------- */

static bool before(const struct range_block *a, const struct range_block *b, int t)
{
	if (t == RANGE_BY_SIZE && a->bytes != b->bytes)
		return a->bytes < b->bytes;
	return a->addr < b->addr;
}

static void tree_split(struct range_block *n, const struct range_block *key, int t, struct range_block **l,
		       struct range_block **r)
{
	while (n) {
		if (before(n, key, t)) {
			*l = n;
			l = &n->link[t].right;
			n = *l;
		} else {
			*r = n;
			r = &n->link[t].left;
			n = *r;
		}
	}
	*l = *r = NULL;
}

static void tree_insert(struct range_heap *h, struct range_block *b, int t)
{
	struct range_block **at = &h->root[t];
	while (*at && (*at)->prio >= b->prio)
		at = before(b, *at, t) ? &(*at)->link[t].left : &(*at)->link[t].right;
	tree_split(*at, b, t, &b->link[t].left, &b->link[t].right);
	*at = b;
}

static void tree_remove(struct range_heap *h, struct range_block *b, int t)
{
	struct range_block **at = &h->root[t];
	while (*at != b)
		at = before(b, *at, t) ? &(*at)->link[t].left : &(*at)->link[t].right;
	struct range_block *l = b->link[t].left, *r = b->link[t].right;
	while (l && r) {
		if (l->prio >= r->prio) {
			*at = l;
			at = &l->link[t].right;
			l = *at;
		} else {
			*at = r;
			at = &r->link[t].left;
			r = *at;
		}
	}
	*at = l ? l : r;
}

/* The last block whose address is at most addr. */
static struct range_block *at_or_before(const struct range_heap *h, uint64_t addr)
{
	struct range_block *n = h->root[RANGE_BY_ADDR], *best = NULL;
	while (n) {
		if (n->addr <= addr) {
			best = n;
			n = n->link[RANGE_BY_ADDR].right;
		} else {
			n = n->link[RANGE_BY_ADDR].left;
		}
	}
	return best;
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

static struct range_block *block_new(struct range_heap *h, uint64_t addr, uint64_t bytes, uint64_t busy)
{
	if (!h->spare) {
		struct range_slab *s = malloc(sizeof *s);
		if (!s)
			return NULL;
		s->next = h->slabs;
		h->slabs = s;
		for (int i = 0; i < RANGE_SLAB; i++) {
			s->block[i].next = h->spare;
			h->spare = &s->block[i];
		}
	}
	struct range_block *b = h->spare;
	h->spare = b->next;
	h->rng ^= h->rng << 13;
	h->rng ^= h->rng >> 17;
	h->rng ^= h->rng << 5;
	*b = (struct range_block){ .addr = addr, .bytes = bytes, .busy = busy, .prio = h->rng, .free = true };
	return b;
}

static void block_drop(struct range_heap *h, struct range_block *b)
{
	b->next = h->spare;
	h->spare = b;
}

static void list_after(struct range_heap *h, struct range_block *prev, struct range_block *b)
{
	b->prev = prev;
	b->next = prev ? prev->next : h->first;
	*(b->next ? &b->next->prev : &h->last) = b;
	*(prev ? &prev->next : &h->first) = b;
}

static void list_remove(struct range_heap *h, struct range_block *b)
{
	*(b->prev ? &b->prev->next : &h->first) = b->next;
	*(b->next ? &b->next->prev : &h->last) = b->prev;
}

static bool touches(const struct range_block *a, const struct range_block *b)
{
	return a && b && a->addr + a->bytes == b->addr;
}

/* Removes a block from the heap altogether; free ones are taken out of the size treap by the caller. */
static void unlink_block(struct range_heap *h, struct range_block *b)
{
	tree_remove(h, b, RANGE_BY_ADDR);
	list_remove(h, b);
	block_drop(h, b);
}

static uint64_t busy_now(const struct range_heap *h, const struct range_block *b)
{
	return b->busy <= h->seen ? 0 : b->busy;
}

static bool may_merge(const struct range_heap *h, const struct range_block *a, const struct range_block *b)
{
	return touches(a, b) && a->free && b->free && b->addr % RANGE_LINE != 0 && busy_now(h, a) == busy_now(h, b);
}

/* Merges a free block (not in the size treap) with its free neighbours and enters it there. */
static struct range_block *settle(struct range_heap *h, struct range_block *b)
{
	if (may_merge(h, b, b->next)) {
		struct range_block *n = b->next;
		tree_remove(h, n, RANGE_BY_SIZE);
		b->bytes += n->bytes;
		unlink_block(h, n);
	}
	if (may_merge(h, b->prev, b)) {
		struct range_block *p = b->prev;
		tree_remove(h, p, RANGE_BY_SIZE);
		p->bytes += b->bytes;
		unlink_block(h, b);
		b = p;
	}
	b->busy = busy_now(h, b);
	tree_insert(h, b, RANGE_BY_SIZE);
	return b;
}

/* --- heaps -------------------------------------------------------------------------------------------------------- */

struct range_heap *range_heap_new(size_t align_min)
{
	struct range_heap *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->align_min = align_min;
	h->rng = 0x9e3779b9u;
	return h;
}

void range_heap_free(struct range_heap *h)
{
	if (!h)
		return;
	while (h->slabs) {
		struct range_slab *s = h->slabs;
		h->slabs = s->next;
		free(s);
	}
	free(h);
}

int range_heap_add(struct range_heap *h, uint64_t addr, uint64_t bytes)
{
	uint64_t end = addr + bytes;
	if (end < addr)
		return -1;
	addr = (addr + h->align_min - 1) / h->align_min * h->align_min;
	end = end / h->align_min * h->align_min;
	while (addr < end) {
		uint64_t line = addr / RANGE_LINE * RANGE_LINE + RANGE_LINE;
		uint64_t part = (line < end && line > addr ? line : end) - addr;
		struct range_block *b = block_new(h, addr, part, 0);
		if (!b)
			return -1;
		list_after(h, at_or_before(h, addr), b);
		tree_insert(h, b, RANGE_BY_ADDR);
		settle(h, b);
		h->total += part;
		addr += part;
	}
	return 0;
}

/* Where a request starts inside free space [addr, addr+bytes), or 0. */
static uint64_t place(uint64_t addr, uint64_t room, uint64_t bytes, uint64_t align)
{
	uint64_t at = (addr + align - 1) & ~(align - 1);
	if (at < addr || at - addr > room || room - (at - addr) < bytes)
		return 0;
	return at;
}

/* The first free block, in order of size then address, that holds the request and is idle at seq. */
static struct range_block *best_fit(const struct range_heap *h, uint64_t bytes, uint64_t align, uint64_t seq)
{
	struct range_block *stack[128];
	unsigned depth = 0;
	struct range_block *n = h->root[RANGE_BY_SIZE];
	while (n || depth) {
		while (n) {
			if (n->bytes < bytes) {
				n = n->link[RANGE_BY_SIZE].right;
				continue;
			}
			if (depth == sizeof stack / sizeof *stack)
				return NULL; /* a treap this deep does not happen; the slow path still finds memory */
			stack[depth++] = n;
			n = n->link[RANGE_BY_SIZE].left;
		}
		if (!depth)
			return NULL;
		n = stack[--depth];
		if (n->busy <= seq && place(n->addr, n->bytes, bytes, align))
			return n;
		n = n->link[RANGE_BY_SIZE].right;
	}
	return NULL;
}

/* Cuts the live block [at, at+bytes) out of free block b, which leaves the size treap. false: out of memory, nothing
 * changed. */
static bool carve(struct range_heap *h, struct range_block *b, uint64_t at, uint64_t bytes)
{
	uint64_t head = at - b->addr, rest = b->bytes - head - bytes;
	struct range_block *live = b, *after = NULL;
	if (head && !(live = block_new(h, at, bytes, 0)))
		return false;
	if (rest && !(after = block_new(h, at + bytes, rest, b->busy))) {
		if (head)
			block_drop(h, live);
		return false;
	}
	tree_remove(h, b, RANGE_BY_SIZE);
	if (head) {
		b->bytes = head;
		tree_insert(h, b, RANGE_BY_SIZE);
		list_after(h, b, live);
		tree_insert(h, live, RANGE_BY_ADDR);
	}
	live->bytes = bytes;
	live->free = false;
	live->busy = 0;
	if (rest) {
		list_after(h, live, after);
		tree_insert(h, after, RANGE_BY_ADDR);
		tree_insert(h, after, RANGE_BY_SIZE);
	}
	h->used += bytes;
	return true;
}

/* Merges all free neighbours that are idle at seq. */
static void coalesce(struct range_heap *h, uint64_t seq)
{
	if (h->seen < seq)
		h->seen = seq;
	for (struct range_block *b = h->first, *next; b; b = next) {
		next = b->next;
		if (!b->free || !may_merge(h, b, next))
			continue;
		tree_remove(h, b, RANGE_BY_SIZE);
		next = settle(h, b);
	}
}

/* A run of touching free blocks, idle at seq, that holds the request; `within`: none of it beyond a 4 GiB line.  Its
 * first block, or NULL. */
static struct range_block *find_run(const struct range_heap *h, uint64_t bytes, uint64_t align, uint64_t seq,
				    bool within, uint64_t *at)
{
	struct range_block *start = NULL, *prev = NULL;
	for (struct range_block *b = h->first; b; prev = b, b = b->next) {
		if (!b->free || b->busy > seq) {
			start = NULL;
			continue;
		}
		if (!start || !touches(prev, b) || (within && b->addr % RANGE_LINE == 0))
			start = b;
		*at = place(start->addr, b->addr + b->bytes - start->addr, bytes, align);
		if (*at)
			return start;
	}
	return NULL;
}

/* Joins the blocks that a request above 4 GiB covers into one, then carves. */
static bool carve_run(struct range_heap *h, struct range_block *first, uint64_t at, uint64_t bytes)
{
	while (first->addr + first->bytes <= at)
		first = first->next;
	tree_remove(h, first, RANGE_BY_SIZE);
	while (first->addr + first->bytes < at + bytes) {
		struct range_block *n = first->next;
		tree_remove(h, n, RANGE_BY_SIZE);
		first->bytes += n->bytes;
		unlink_block(h, n);
	}
	tree_insert(h, first, RANGE_BY_SIZE);
	return carve(h, first, at, bytes);
}

static uint64_t round_size(const struct range_heap *h, uint64_t bytes)
{
	if (bytes == 0)
		bytes = 1;
	return bytes > UINT64_MAX / 2 ? 0 : (bytes + h->align_min - 1) / h->align_min * h->align_min;
}

uint64_t range_alloc(struct range_heap *h, uint64_t bytes, uint64_t align, uint64_t seq)
{
	bytes = round_size(h, bytes);
	if (!bytes || (align & (align - 1)))
		return 0;
	if (align < h->align_min)
		align = h->align_min;
	if (h->seen < seq)
		h->seen = seq;
	if (bytes <= RANGE_LINE) {
		struct range_block *b = best_fit(h, bytes, align, seq);
		if (!b) {
			coalesce(h, seq);
			b = best_fit(h, bytes, align, seq);
		}
		uint64_t at = b ? place(b->addr, b->bytes, bytes, align) : 0;
		return b && carve(h, b, at, bytes) ? at : 0;
	}
	uint64_t at = 0;
	coalesce(h, seq);
	struct range_block *first = find_run(h, bytes, align, seq, false, &at);
	return first && carve_run(h, first, at, bytes) ? at : 0;
}

uint64_t range_wait_for(const struct range_heap *h, uint64_t bytes, uint64_t align)
{
	uint64_t lo = 0, hi = 0, at;
	bytes = round_size(h, bytes);
	if (!bytes || (align & (align - 1)))
		return UINT64_MAX;
	if (align < h->align_min)
		align = h->align_min;
	bool within = bytes <= RANGE_LINE;
	for (const struct range_block *b = h->first; b; b = b->next)
		if (b->free && b->busy > hi)
			hi = b->busy;
	if (!find_run(h, bytes, align, hi, within, &at))
		return UINT64_MAX;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		if (find_run(h, bytes, align, mid, within, &at))
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Splits a live block above 4 GiB at the lines it crosses, each part free and settled. */
static bool free_large(struct range_heap *h, struct range_block *b, uint64_t busy)
{
	while (range_crosses_line(b->addr, b->bytes)) {
		uint64_t line = (b->addr / RANGE_LINE + 1) * RANGE_LINE;
		struct range_block *rest = block_new(h, line, b->addr + b->bytes - line, busy);
		if (!rest)
			return false;
		rest->free = false;
		b->bytes = line - b->addr;
		list_after(h, b, rest);
		tree_insert(h, rest, RANGE_BY_ADDR);
		b->free = true;
		b->busy = busy;
		settle(h, b);
		b = rest;
	}
	b->free = true;
	b->busy = busy;
	settle(h, b);
	return true;
}

uint64_t range_free(struct range_heap *h, uint64_t addr, uint64_t busy_until)
{
	struct range_block *b = at_or_before(h, addr);
	if (!b || b->addr != addr || b->free)
		return 0;
	uint64_t bytes = b->bytes;
	/* Out of memory while splitting leaves a live rest: memory is lost to the heap, never handed out twice. */
	free_large(h, b, busy_until);
	h->used -= bytes;
	return bytes;
}

bool range_find(const struct range_heap *h, uint64_t addr, uint64_t *start, uint64_t *bytes)
{
	const struct range_block *b = at_or_before(h, addr);
	if (!b || b->free || addr - b->addr >= b->bytes)
		return false;
	*start = b->addr;
	*bytes = b->bytes;
	return true;
}

/* The last run of idle free memory that ends where granted memory ends: a region's tail. */
bool range_heap_trim(struct range_heap *h, uint64_t seq, uint64_t keep, uint64_t *addr, uint64_t *bytes)
{
	uint64_t least = *bytes ? *bytes : AG_GRANULE, room = h->total - h->used;
	coalesce(h, seq);
	for (struct range_block *b = h->last; b; b = b->prev) {
		if (!b->free || b->busy > seq || touches(b, b->next))
			continue;
		uint64_t end = b->addr + b->bytes, from = (b->addr + AG_GRANULE - 1) / AG_GRANULE * AG_GRANULE;
		if (end % AG_GRANULE || from >= end)
			continue;
		uint64_t spare = room > keep ? (room - keep) / AG_GRANULE * AG_GRANULE : 0;
		uint64_t take = end - from < spare ? end - from : spare;
		if (take < least || take == 0)
			continue;
		from = end - take;
		tree_remove(h, b, RANGE_BY_SIZE);
		b->bytes = from - b->addr;
		if (b->bytes)
			tree_insert(h, b, RANGE_BY_SIZE);
		else
			unlink_block(h, b);
		h->total -= take;
		*addr = from;
		*bytes = take;
		return true;
	}
	return false;
}

uint64_t range_heap_used(const struct range_heap *h) { return h->used; }
uint64_t range_heap_total(const struct range_heap *h) { return h->total; }

/* --- validity ----------------------------------------------------------------------------------------------------- */

static bool tree_valid(const struct range_block *n, int t, const struct range_block *lo, const struct range_block *hi,
		       uint64_t *count)
{
	if (!n)
		return true;
	if ((lo && !before(lo, n, t)) || (hi && !before(n, hi, t)) || (t == RANGE_BY_SIZE && !n->free))
		return false;
	const struct range_block *l = n->link[t].left, *r = n->link[t].right;
	if ((l && l->prio > n->prio) || (r && r->prio > n->prio))
		return false;
	(*count)++;
	return tree_valid(l, t, lo, n, count) && tree_valid(r, t, n, hi, count);
}

bool range_heap_is_valid(const struct range_heap *h)
{
	uint64_t all = 0, nfree = 0, live = 0, total = 0, seen[RANGE_TREES] = { 0, 0 };
	for (const struct range_block *b = h->first; b; b = b->next) {
		if (b->bytes == 0 || b->bytes % h->align_min || b->addr % h->align_min)
			return false;
		if (b->next && (b->next->prev != b || b->addr + b->bytes > b->next->addr))
			return false;
		if (b->free && range_crosses_line(b->addr, b->bytes))
			return false;
		if (!b->free && b->bytes <= RANGE_LINE && range_crosses_line(b->addr, b->bytes))
			return false;
		all++;
		nfree += b->free;
		live += b->free ? 0 : b->bytes;
		total += b->bytes;
	}
	if (!tree_valid(h->root[RANGE_BY_ADDR], RANGE_BY_ADDR, NULL, NULL, &seen[RANGE_BY_ADDR]) ||
	    !tree_valid(h->root[RANGE_BY_SIZE], RANGE_BY_SIZE, NULL, NULL, &seen[RANGE_BY_SIZE]))
		return false;
	return seen[RANGE_BY_ADDR] == all && seen[RANGE_BY_SIZE] == nfree && live == h->used && total == h->total;
}
