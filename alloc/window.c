/* window.c - windows: the worker's side of a client's address range (layout in alloc.h).
 *
 * A window owns its reservations (struct piece: device address space, or a chunk of host memory), every mapping in them
 * (sink or granted), and the list of granted ranges that window_covers() searches.  One thread, its session's, uses it.
 *
 * Sink mappings are AG_SINK_BYTES each, but for the first AG_SINK_BYTES of a window, where they are granule by granule:
 * small grants come from there, larger ones take whole sink mappings.  A grant replaces exactly the mappings it takes,
 * because the driver unmaps only what was mapped as one.  The first granule is the worker's scratch for this client:
 * never granted, not covered.
 */
#include <cuda.h>
#include <stdlib.h>
#include <string.h>
#include "alloc.h"
#include "prim.h"

#define GIB (1ull << 30)
#define HOST_PIECES 8u     /* convertible pieces at the top of a region, at most this many ... */
#define HOST_PIECE_MAX GIB /* ... of at most this size */

struct piece { /* one reservation, or one host chunk; sorted by address */
	uint64_t addr, bytes;
	bool host;
	bool convertible; /* device space that a host chunk may replace */
	int fd;           /* host */
};

struct mapping {
	uint64_t addr, bytes, handle;
	bool sink;
}; /* sorted by address */
struct cover {
	uint64_t addr, end;
	bool host;
};

struct window {
	struct prim prim;
	uint64_t base, extent;
	uint64_t sink, sink_small, scratch;
	bool broken; /* a hole could not be filled again */
	struct piece *piece;
	size_t npiece, cpiece;
	struct mapping *map;
	size_t nmap, cmap;
	struct cover *cover;
	size_t ncover, ccover;
};

static bool reserve_room(void **v, size_t *cap, size_t need, size_t each)
{
	if (need <= *cap)
		return true;
	size_t want = *cap ? *cap * 2 : 64;
	if (want < need)
		want = need;
	void *p = realloc(*v, want * each);
	if (!p)
		return false;
	*v = p;
	*cap = want;
	return true;
}
#define ROOM(w, what, more) reserve_room((void **)&(w)->what, &(w)->c##what, (w)->n##what + (more), sizeof *(w)->what)

/* Index of the first mapping at or after addr. */
static size_t map_at(const struct window *w, uint64_t addr)
{
	size_t lo = 0, hi = w->nmap;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (w->map[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool map_insert(struct window *w, uint64_t addr, uint64_t bytes, uint64_t handle, bool sink)
{
	if (!ROOM(w, map, 1))
		return false;
	size_t i = map_at(w, addr);
	memmove(w->map + i + 1, w->map + i, (w->nmap - i) * sizeof *w->map);
	w->map[i] = (struct mapping){ addr, bytes, handle, sink };
	w->nmap++;
	return true;
}

static void map_erase(struct window *w, size_t i, size_t n)
{
	if (!n)
		return;
	memmove(w->map + i, w->map + i + n, (w->nmap - i - n) * sizeof *w->map);
	w->nmap -= n;
}

static bool piece_insert(struct window *w, struct piece p)
{
	if (!ROOM(w, piece, 1))
		return false;
	size_t i = w->npiece++;
	for (; i && w->piece[i - 1].addr > p.addr; i--)
		w->piece[i] = w->piece[i - 1];
	w->piece[i] = p;
	return true;
}

static void piece_erase(struct window *w, size_t i)
{
	memmove(w->piece + i, w->piece + i + 1, (w->npiece - i - 1) * sizeof *w->piece);
	w->npiece--;
}

/* Unmaps and forgets every mapping in [a, b), releasing granted memory. */
static int clear(struct window *w, uint64_t a, uint64_t b)
{
	size_t i = map_at(w, a), n = i;
	int r = 0;

	for (; n < w->nmap && w->map[n].addr < b; n++) {
		struct mapping *m = w->map + n;
		int q = prim_unmap(&w->prim, m->addr, m->bytes);
		if (q == 0 && !m->sink)
			q = prim_release(&w->prim, m->handle);
		r = r ? r : q;
	}
	map_erase(w, i, n - i);
	return r;
}

/* Maps the sink over [a, b), which has no mapping and lies in one reservation. */
static int fill(struct window *w, uint64_t a, uint64_t b)
{
	int r = 0;

	for (uint64_t at = a; at < b && !r;) {
		bool small = at < w->base + AG_SINK_BYTES || b - at < AG_SINK_BYTES;
		uint64_t n = small ? AG_GRANULE : AG_SINK_BYTES;
		uint64_t h = small ? w->sink_small : w->sink;
		r = prim_map(&w->prim, at, n, h);
		if (!r && !map_insert(w, at, n, h, true)) {
			prim_unmap(&w->prim, at, n);
			r = CUDA_ERROR_OUT_OF_MEMORY;
		}
		at += n;
	}
	if (!r)
		r = prim_access(&w->prim, a, b - a);
	if (r)
		clear(w, a, b);
	return r;
}

static int add_device_piece(struct window *w, uint64_t addr, uint64_t bytes, bool convertible)
{
	if (!bytes)
		return 0;
	int r = prim_reserve(&w->prim, addr, bytes);
	if (r)
		return r;
	if (!piece_insert(w, (struct piece){ addr, bytes, false, convertible, -1 })) {
		prim_unreserve(&w->prim, addr, bytes);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	return fill(w, addr, addr + bytes); /* a failure leaves the piece; drop_from() takes it */
}

static int add_host_piece(struct window *w, uint64_t addr, uint64_t bytes, int *fd)
{
	int r = prim_host_map(&w->prim, addr, bytes, fd);

	if (r)
		return r;
	if (!piece_insert(w, (struct piece){ addr, bytes, true, false, *fd })) {
		prim_host_unmap(&w->prim, addr, bytes, *fd);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	return 0;
}

/* Takes away every piece at or above addr. */
static int drop_from(struct window *w, uint64_t addr)
{
	int r = 0;

	while (w->npiece && w->piece[w->npiece - 1].addr >= addr) {
		struct piece p = w->piece[--w->npiece];
		if (p.host) {
			prim_host_unmap(&w->prim, p.addr, p.bytes, p.fd);
			continue;
		}
		int q = clear(w, p.addr, p.addr + p.bytes);
		if (!q)
			q = prim_unreserve(&w->prim, p.addr, p.bytes);
		r = r ? r : q;
	}
	return r;
}

/* Lays out [a, b): device space, then convertible pieces, then `host` bytes of host memory; then the slack beyond b. */
static int add_region(struct window *w, uint64_t a, uint64_t b, uint64_t host, int *fd)
{
	uint64_t top = b - host;
	uint64_t span = a == w->base ? b - a : (b - w->base) / 2; /* of the region, slack included */
	uint64_t each = span / 32 < HOST_PIECE_MAX ? span / 32 : HOST_PIECE_MAX;
	uint64_t floor = b - HOST_PIECES * each;
	uint64_t main_end = top;

	while (main_end >= floor + each && main_end - each > a)
		main_end -= each;
	int r = add_device_piece(w, a, main_end - a, false);
	for (uint64_t at = main_end; !r && at < top; at += each)
		r = add_device_piece(w, at, each, true);
	if (!r && host)
		r = add_host_piece(w, top, host, fd);
	if (!r)
		r = add_device_piece(w, b, AG_SINK_BYTES, false);
	if (r)
		drop_from(w, a);
	return r;
}

/* --- covers
 * ------------------------------------------------------------------------------------------------------------- */

static void cover_add(struct window *w, uint64_t addr, uint64_t bytes, bool host)
{
	struct cover *last = w->ncover ? w->cover + w->ncover - 1 : NULL;

	if (last && last->end == addr && last->host == host)
		last->end += bytes;
	else
		w->cover[w->ncover++] = (struct cover){ addr, addr + bytes, host };
}

/* Granted ranges in address order, neighbours merged. Room was reserved by cover_room(). */
static void cover_rebuild(struct window *w)
{
	size_t p = 0;

	w->ncover = 0;
	for (size_t i = 0; i <= w->nmap; i++) {
		uint64_t at = i < w->nmap ? w->map[i].addr : UINT64_MAX;
		for (; p < w->npiece && w->piece[p].addr < at; p++)
			if (w->piece[p].host)
				cover_add(w, w->piece[p].addr, w->piece[p].bytes, true);
		if (i < w->nmap && !w->map[i].sink && at != w->base)
			cover_add(w, at, w->map[i].bytes, false);
	}
}

static bool cover_room(struct window *w)
{
	size_t granted = 2;

	for (size_t i = 0; i < w->nmap; i++)
		granted += !w->map[i].sink;
	size_t need = granted + w->npiece + 4;
	return reserve_room((void **)&w->cover, &w->ccover, need, sizeof *w->cover);
}

static bool covered(const struct window *w, uint64_t addr, uint64_t bytes, bool host_only)
{
	size_t lo = 0, hi = w->ncover;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (w->cover[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == w->ncover || addr < w->cover[lo].addr || (host_only && !w->cover[lo].host))
		return false;
	return bytes <= w->cover[lo].end - addr;
}

bool window_covers(const struct window *w, uint64_t addr, uint64_t bytes) { return covered(w, addr, bytes, false); }

bool window_covers_host(const struct window *w, uint64_t addr, uint64_t bytes) { return covered(w, addr, bytes, true); }

/* --- opening
 * ------------------------------------------------------------------------------------------------------------ */

static uint64_t first_host_bytes(void)
{
	const char *e = getenv("AGILEOS_HOST_MB");
	uint64_t mb = e ? strtoull(e, NULL, 10) : 0;

	if (mb < 1 || mb > 3072)
		return AG_HOST_FIRST;
	return ((mb << 20) + AG_SINK_BYTES - 1) / AG_SINK_BYTES * AG_SINK_BYTES;
}

/* The first granule, mapped instead of the sink: scratch of the worker for this client. */
static int add_scratch(struct window *w)
{
	int r = prim_create(&w->prim, AG_GRANULE, &w->scratch);

	if (r)
		return r;
	r = prim_unmap(&w->prim, w->base, AG_GRANULE);
	if (!r)
		r = prim_map(&w->prim, w->base, AG_GRANULE, w->scratch);
	if (r) {
		map_erase(w, 0, 1);
		prim_release(&w->prim, w->scratch);
		return r;
	}
	w->map[0] = (struct mapping){ w->base, AG_GRANULE, w->scratch, false };
	r = prim_access(&w->prim, w->base, AG_GRANULE);
	return r ? r : prim_zero(&w->prim, w->base, AG_GRANULE);
}

int window_open(const struct ag_driver *d, unsigned k, struct window **out, int *host_fd)
{
	struct window *w = calloc(1, sizeof *w);

	if (!w || k >= AG_WINDOW_COUNT) {
		free(w);
		return w ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
	}
	w->base = AG_WINDOW_FIRST + k * AG_WINDOW_BYTES;
	int r = prim_open(&w->prim, d);
	if (!r)
		r = prim_create(&w->prim, AG_SINK_BYTES, &w->sink);
	if (!r)
		r = prim_create(&w->prim, AG_GRANULE, &w->sink_small);
	if (!r)
		r = add_region(w, w->base, w->base + AG_EXTENT_MIN, first_host_bytes(), host_fd);
	if (!r) {
		w->extent = AG_EXTENT_MIN;
		r = prim_zero(&w->prim, w->base + AG_SINK_BYTES, AG_SINK_BYTES);
	}
	if (!r)
		r = prim_zero(&w->prim, w->base, AG_GRANULE);
	if (!r)
		r = add_scratch(w);
	if (!r && !cover_room(w))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (r) {
		window_close(w);
		return r;
	}
	cover_rebuild(w);
	*out = w;
	return 0;
}

void window_empty(struct window *w)
{
	for (size_t i = w->npiece; i-- > 0;) {
		struct piece p = w->piece[i];
		if (p.host)
			continue;
		if (clear(w, p.addr, p.addr + p.bytes) || prim_unreserve(&w->prim, p.addr, p.bytes))
			w->broken = true;
		piece_erase(w, i);
	}
	if (w->sink_small)
		prim_release(&w->prim, w->sink_small);
	if (w->sink)
		prim_release(&w->prim, w->sink);
	w->sink_small = w->sink = 0;
	w->ncover = 0;
}

void window_close(struct window *w)
{
	window_empty(w);
	drop_from(w, 0);
	prim_close(&w->prim);
	free(w->piece);
	free(w->map);
	free(w->cover);
	free(w);
}

uint64_t window_base(const struct window *w) { return w->base; }

uint64_t window_extent(const struct window *w) { return w->extent; }

bool window_broken(const struct window *w) { return w->broken; }

struct window_stats window_stats(const struct window *w)
{
	struct window_stats s = { 0, 0, w->extent };

	for (size_t i = 0; i < w->ncover; i++)
		*(w->cover[i].host ? &s.host_bytes : &s.device_bytes) += w->cover[i].end - w->cover[i].addr;
	return s;
}

/* --- granting
 * ----------------------------------------------------------------------------------------------------------- */

static const struct piece *piece_of(const struct window *w, uint64_t addr)
{
	for (size_t i = 0; i < w->npiece; i++)
		if (addr >= w->piece[i].addr && addr - w->piece[i].addr < w->piece[i].bytes)
			return w->piece + i;
	return NULL;
}

/* The lowest run of adjacent sink mappings of size `each` in [from, extent), in one reservation, of exactly need bytes
 * (a multiple of each). */
static bool find_run(const struct window *w, uint64_t from, uint64_t need, uint64_t each, size_t *first)
{
	uint64_t end = w->base + w->extent, have = 0;
	const struct piece *p = NULL;

	for (size_t i = map_at(w, from); i < w->nmap && w->map[i].addr < end; i++) {
		const struct mapping *m = w->map + i;
		if (!m->sink || m->bytes != each) {
			have = 0;
			p = NULL;
			continue;
		}
		if (!p || m->addr - p->addr >= p->bytes) {
			p = piece_of(w, m->addr);
			have = 0;
		}
		have += m->bytes;
		if (have >= need) {
			*first = i + 1 - need / each;
			return true;
		}
	}
	return false;
}

/* Puts the new memory `handle` in place of the `n` sink mappings from index i. A failure restores them, or breaks the
 * window. */
static int replace(struct window *w, size_t i, size_t n, uint64_t bytes, uint64_t handle)
{
	uint64_t addr = w->map[i].addr;
	bool mapped = false;
	int r = 0;

	for (size_t j = 0; j < n && !r; j++)
		r = prim_unmap(&w->prim, w->map[i + j].addr, w->map[i + j].bytes);
	if (r) { /* which of them still stand is unknown */
		w->broken = true;
		return r;
	}
	r = prim_map(&w->prim, addr, bytes, handle);
	mapped = !r;
	if (!r)
		r = prim_access(&w->prim, addr, bytes);
	if (!r)
		r = prim_zero(&w->prim, addr, bytes);
	if (!r) {
		w->map[i] = (struct mapping){ addr, bytes, handle, false };
		map_erase(w, i + 1, n - 1);
		return 0;
	}
	if (mapped && prim_unmap(&w->prim, addr, bytes))
		w->broken = true;
	map_erase(w, i, n);
	if (!w->broken && fill(w, addr, addr + bytes))
		w->broken = true;
	return r;
}

/* Doubles the extent until a region has room; the old extent in *old, to be shrunk back to. */
static int extend(struct window *w, uint64_t need, uint64_t host, int *fd, uint64_t *old)
{
	*old = w->extent;
	while (w->extent < AG_EXTENT_MAX) {
		uint64_t a = w->base + w->extent, b = a + w->extent;
		bool fits = host ? host <= w->extent / 2 : need <= w->extent / 4 * 3 - AG_SINK_BYTES;
		int r = add_region(w, a + AG_SINK_BYTES, b, fits ? host : 0, fd);
		if (r)
			return r;
		w->extent *= 2;
		if (fits)
			return 0;
	}
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static void shrink(struct window *w, uint64_t old)
{
	if (old == w->extent)
		return;
	if (drop_from(w, w->base + old + AG_SINK_BYTES))
		w->broken = true;
	w->extent = old;
}

static int grant_device(struct window *w, uint64_t bytes, bool (*drain)(void *, unsigned), void *arg, uint64_t *addr,
                        uint64_t *got)
{
	uint64_t need = (bytes + AG_GRANULE - 1) / AG_GRANULE * AG_GRANULE, each = AG_GRANULE, handle = 0,
	         old = w->extent;
	size_t i = 0;
	bool found = need < AG_SINK_BYTES && find_run(w, w->base, need, each, &i);

	if (!found) {
		each = AG_SINK_BYTES;
		need = (bytes + each - 1) / each * each;
		found = find_run(w, w->base, need, each, &i);
	}
	int r = prim_create(&w->prim, need, &handle);
	if (r)
		return r;
	if (found && drain && !drain(arg, AG_DRAIN_MS))
		found = false;
	if (!found) {
		each = AG_SINK_BYTES;
		if (need % each) { /* the small size was for the first mappings only */
			prim_release(&w->prim, handle);
			need = (need + each - 1) / each * each;
			r = prim_create(&w->prim, need, &handle);
			if (r)
				return r;
		}
		r = extend(w, need, 0, NULL, &old);
		if (!r && !find_run(w, w->base + w->extent / 2 + AG_SINK_BYTES, need, each, &i))
			r = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (!r)
		*addr = w->map[i].addr;
	if (!r)
		r = replace(w, i, need / each, need, handle);
	if (r) {
		prim_release(&w->prim, handle);
		shrink(w, old);
		return r;
	}
	*got = need;
	return 0;
}

/* The highest run of convertible pieces with at least `need` bytes, all sink: indices [*lo, *hi]. */
static bool find_pieces(const struct window *w, uint64_t need, size_t *lo, size_t *hi)
{
	uint64_t have = 0, end = w->base + w->extent;

	for (size_t i = w->npiece; i-- > 0;) {
		const struct piece *p = w->piece + i;
		bool free_piece = p->convertible && p->addr < end;
		for (size_t m = map_at(w, p->addr); free_piece && m < w->nmap && w->map[m].addr - p->addr < p->bytes;
		     m++)
			free_piece = w->map[m].sink;
		if (!free_piece) {
			have = 0;
			continue;
		}
		if (!have)
			*hi = i;
		have += p->bytes;
		if (have >= need) {
			*lo = i;
			return true;
		}
	}
	return false;
}

static int convert(struct window *w, size_t lo, size_t hi, uint64_t *addr, uint64_t *got, int *fd)
{
	uint64_t a = w->piece[lo].addr, each = w->piece[lo].bytes, b = w->piece[hi].addr + w->piece[hi].bytes;
	int r = clear(w, a, b);

	for (size_t i = hi + 1; i-- > lo;) {
		if (!r)
			r = prim_unreserve(&w->prim, w->piece[i].addr, w->piece[i].bytes);
		if (!r)
			piece_erase(w, i);
	}
	if (r) {
		w->broken = true;
		return r;
	}
	r = add_host_piece(w, a, b - a, fd);
	for (uint64_t at = a; r && at < b && !w->broken; at += each)
		if (add_device_piece(w, at, each, true))
			w->broken = true;
	if (!r) {
		*addr = a;
		*got = b - a;
	}
	return r;
}

static int grant_host(struct window *w, uint64_t bytes, bool (*drain)(void *, unsigned), void *arg, uint64_t *addr,
                      uint64_t *got, int *fd)
{
	size_t lo = 0, hi = 0;
	uint64_t old = w->extent;

	if (find_pieces(w, bytes, &lo, &hi) && (!drain || drain(arg, AG_DRAIN_MS)))
		return convert(w, lo, hi, addr, got, fd);
	uint64_t need = (bytes + AG_SINK_BYTES - 1) / AG_SINK_BYTES * AG_SINK_BYTES;
	if (need < AG_HOST_BYTES)
		need = AG_HOST_BYTES;
	int r = extend(w, 0, need, fd, &old);
	if (r) {
		shrink(w, old);
		return r;
	}
	*addr = w->base + w->extent - need;
	*got = need;
	return 0;
}

int window_grant(struct window *w, uint64_t bytes, bool host, bool (*drain)(void *, unsigned ms), void *arg,
                 uint64_t *addr, uint64_t *got, int *host_fd)
{
	if (!bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (w->broken)
		return CUDA_ERROR_UNKNOWN;
	if (bytes > AG_EXTENT_MAX / 2 || !cover_room(w))
		return CUDA_ERROR_OUT_OF_MEMORY;
	int r = host ? grant_host(w, bytes, drain, arg, addr, got, host_fd)
	             : grant_device(w, bytes, drain, arg, addr, got);
	if (cover_room(w))
		cover_rebuild(w);
	else
		w->broken = true;
	return w->broken ? CUDA_ERROR_UNKNOWN : r;
}

int window_giveback(struct window *w, uint64_t addr, uint64_t bytes, bool (*drain)(void *, unsigned ms), void *arg)
{
	size_t i = map_at(w, addr), n = i;
	uint64_t end = addr;

	if (w->broken)
		return CUDA_ERROR_UNKNOWN;
	if (bytes > AG_WINDOW_BYTES || addr == w->base)
		return CUDA_ERROR_INVALID_VALUE;
	while (n < w->nmap && w->map[n].addr == end && !w->map[n].sink && end - addr < bytes)
		end += w->map[n++].bytes;
	if (!bytes || end - addr != bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (drain && !drain(arg, AG_DRAIN_MS))
		return CUDA_ERROR_NOT_READY;
	/* One grant at a time: a grant lies in one reservation, their union need not. */
	for (uint64_t at = addr; at < end;) {
		uint64_t size = w->map[map_at(w, at)].bytes;
		if (clear(w, at, at + size) || fill(w, at, at + size)) {
			w->broken = true;
			break;
		}
		at += size;
	}
	if (cover_room(w))
		cover_rebuild(w);
	else
		w->broken = true;
	return w->broken ? CUDA_ERROR_UNKNOWN : 0;
}
