/* soft_memory.c - the device's physical memory, the arena's address space, and the map of known ranges.
 *
 * Physical memory is one memory file, handed out in 2 MiB frames; it is mapped where programs see it.  Freed frames
 * keep their content, as on hardware: whoever hands memory to another owner has to scrub it.  Exportable and
 * host-located allocations have a file of their own. Owns: the file, the frames' bitmap, the two maps. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "soft_internal.h"

static int dram = -1;
static uint64_t frames_total, frames_free, apart_bytes; /* apart: counted allocations with a file of their own */
static uint64_t *frame_used;                            /* bitmap */
static uint64_t frame_hint;
static struct soft_map spans;
struct soft_map soft_ranges;
static struct soft_pin *pins;

static uint64_t configured_memory(void)
{
	const char *text = getenv("AGILEOS_SOFTGPU_MEMORY");
	if (text && *text) {
		char *end;
		unsigned long long mib = strtoull(text, &end, 10);
		if (!*end && mib >= 16 && mib <= 1u << 24)
			return (uint64_t)mib << 20;
		soft_log("AGILEOS_SOFTGPU_MEMORY=%s is not a number of MiB from 16 up; ignored", text);
	}
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	return ram / 4 < (4ull << 30) ? ram / 4 : 4ull << 30;
}

CUresult soft_memory_init(void)
{
	frames_total = configured_memory() / SOFT_GRANULE;
	frame_used = calloc((frames_total + 63) / 64, sizeof *frame_used);
	if (!frame_used)
		return CUDA_ERROR_OUT_OF_MEMORY;
	dram = memfd_create("softgpu-memory", MFD_CLOEXEC);
	if (dram < 0 || ftruncate(dram, (off_t)(frames_total * SOFT_GRANULE))) {
		soft_log("no memory file of %llu MiB: %m", (unsigned long long)(frames_total * SOFT_GRANULE >> 20));
		free(frame_used);
		if (dram >= 0)
			close(dram);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	frames_free = frames_total;
	return CUDA_SUCCESS;
}

void soft_memory_info(uint64_t *free_bytes, uint64_t *total)
{
	*total = frames_total * SOFT_GRANULE;
	*free_bytes = frames_free * SOFT_GRANULE - apart_bytes;
}

/* --- frames --- */

static bool used(uint64_t f)
{
	return frame_used[f / 64] >> f % 64 & 1;
}

static void mark(struct soft_frames x, bool use)
{
	for (uint64_t f = x.first; f < x.first + x.count; f++)
		frame_used[f / 64] = (frame_used[f / 64] & ~(1ull << f % 64)) | (uint64_t)use << f % 64;
	frames_free += use ? -x.count : x.count;
}

/* The next run of free frames at or after `from`, at most `want` long. */
static struct soft_frames next_run(uint64_t from, uint64_t want)
{
	struct soft_frames x = { from, 0 };
	while (x.first < frames_total && used(x.first))
		x.first += x.first % 64 == 0 && frame_used[x.first / 64] == ~0ull ? 64 : 1;
	while (x.first + x.count < frames_total && x.count < want && !used(x.first + x.count))
		x.count++;
	return x;
}

/* Contiguous when possible, else in pieces; the caller knows that there are enough. */
static bool take_frames(struct soft_phys *p, uint64_t want)
{
	for (int pass = 0; pass < 2; pass++) {
		for (uint64_t at = pass ? 0 : frame_hint; at < frames_total;) {
			struct soft_frames x = next_run(at, want);
			if (x.count == want && (p->extents = malloc(sizeof x))) {
				p->extents[0] = x;
				p->nextents = 1;
				mark(x, true);
				frame_hint = (x.first + x.count) % frames_total;
				return true;
			}
			at = x.first + x.count + 1;
		}
	}
	uint32_t cap = 0;
	for (uint64_t at = 0; want;) {
		struct soft_frames x = next_run(at, want);
		if (p->nextents == cap) {
			cap = cap ? 2 * cap : 16;
			struct soft_frames *v = realloc(p->extents, cap * sizeof *v);
			if (!v)
				return false;
			p->extents = v;
		}
		p->extents[p->nextents++] = x;
		mark(x, true);
		want -= x.count;
		at = x.first + x.count;
	}
	return true;
}

static void phys_free(struct soft_obj *o)
{
	struct soft_phys *p = (struct soft_phys *)o;
	for (uint32_t i = 0; i < p->nextents; i++)
		mark(p->extents[i], false);
	if (p->fd >= 0 && p->counted)
		apart_bytes -= p->size;
	if (p->fd >= 0)
		close(p->fd);
	free(p->extents);
	free(p);
}

CUresult soft_phys_new(uint64_t size, const CUmemAllocationProp *prop, struct soft_phys **out)
{
	bool counted = !prop || prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE;
	bool own_file = !counted || (prop && prop->requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE);
	uint64_t free_bytes, total;
	soft_memory_info(&free_bytes, &total);
	if (size == 0 || (counted && size > free_bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	struct soft_phys *p = calloc(1, sizeof *p);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	soft_obj_init(&p->obj, SOFT_PHYS, phys_free);
	p->size = size;
	p->fd = -1;
	if (prop)
		p->prop = *prop;
	bool ok;
	if (own_file) {
		p->fd = memfd_create("softgpu-allocation", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ok = p->fd >= 0 && !ftruncate(p->fd, (off_t)size) &&
			!fcntl(p->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
		p->counted = ok && counted;
		if (p->counted)
			apart_bytes += size;
	} else {
		p->counted = true;
		ok = take_frames(p, size / SOFT_GRANULE);
	}
	if (!ok) {
		soft_unref(&p->obj);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*out = p;
	return CUDA_SUCCESS;
}

void soft_phys_drop(struct soft_phys *p)
{
	if (!p->handles)
		soft_obj_hide(&p->obj);
	if (!p->handles && !p->maps)
		soft_unref(&p->obj);
}

/* Huge pages where the system gives them to shared memory; where it does not, nothing is lost. */
static bool map_file(int fd, uint64_t offset, uint64_t addr, uint64_t size, int prot)
{
	if (mmap((void *)addr, size, prot, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED)
		return false;
	madvise((void *)addr, size, MADV_HUGEPAGE);
	return true;
}

bool soft_phys_map(const struct soft_phys *p, uint64_t offset, uint64_t addr, uint64_t size, int prot)
{
	if (p->fd >= 0)
		return map_file(p->fd, offset, addr, size, prot);
	for (uint32_t i = 0; i < p->nextents && size; i++) {
		uint64_t length = p->extents[i].count * SOFT_GRANULE;
		if (offset >= length) {
			offset -= length;
			continue;
		}
		uint64_t n = length - offset < size ? length - offset : size;
		if (!map_file(dram, p->extents[i].first * SOFT_GRANULE + offset, addr, n, prot))
			return false;
		offset = 0;
		addr += n;
		size -= n;
	}
	return true;
}

/* --- address space --- */

static struct soft_span *span_at_address(uint64_t at, uint64_t size)
{
	struct soft_span *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->e = (struct soft_extent){ at, size };
	void *want = (void *)at;
	void *got =
		mmap(want, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (got != want || !soft_map_add(&spans, &s->e)) {
		if (got != MAP_FAILED)
			munmap(got, size);
		free(s);
		return NULL;
	}
	return s;
}

struct soft_span *soft_span_new(uint64_t at, uint64_t size, uint64_t align)
{
	if (size == 0 || size > SOFT_ARENA_END - SOFT_ARENA_BASE)
		return NULL;
	bool inside = at >= SOFT_ARENA_BASE && at < SOFT_ARENA_END && size <= SOFT_ARENA_END - at;
	if (at)
		return inside && soft_map_free(&spans, at, size) ? span_at_address(at, size) : NULL;
	/* Something else of the process may sit in a gap (memory that is registered later): try the next one. */
	for (uint64_t lo = SOFT_DRIVER_BASE;; lo += size > (1ull << 30) ? size : 1ull << 30) {
		uint64_t gap = soft_map_gap(&spans, lo, SOFT_ARENA_END, size, align);
		if (!gap)
			return NULL;
		struct soft_span *s = span_at_address(gap, size);
		if (s)
			return s;
		lo = gap;
	}
}

void soft_span_free(struct soft_span *s)
{
	munmap((void *)s->e.base, s->e.size);
	soft_map_remove(&spans, &s->e);
	free(s);
}

struct soft_span *soft_span_at(uint64_t addr)
{
	return (struct soft_span *)soft_map_at(&spans, addr);
}

bool soft_span_clear(uint64_t base, uint64_t size)
{
	return mmap((void *)base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) !=
		MAP_FAILED;
}

/* --- known ranges --- */

bool soft_is_host(enum soft_type t)
{
	return t == SOFT_R_HOST || t == SOFT_R_REGISTERED;
}

struct soft_range *soft_range_at(uint64_t addr)
{
	return (struct soft_range *)soft_map_at(&soft_ranges, addr);
}

struct soft_range *soft_range_add(uint64_t base, uint64_t size, enum soft_type type, struct soft_ctx *ctx)
{
	struct soft_range *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->e = (struct soft_extent){ base, size };
	r->type = type;
	r->ctx = ctx;
	r->buffer_id = soft_next_id();
	r->access = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	if (soft_map_add(&soft_ranges, &r->e))
		return r;
	free(r);
	return NULL;
}

void soft_range_remove(struct soft_range *r)
{
	soft_wait_unpinned(r->e.base, r->e.size);
	soft_map_remove(&soft_ranges, &r->e);
	free(r);
}

bool soft_range_ok(uint64_t addr, uint64_t len, bool write)
{
	if (len > UINT64_MAX - addr)
		return false;
	CUmemAccess_flags need = write ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_READ;
	for (size_t i = soft_map_after(&soft_ranges, addr); len; i++) {
		struct soft_range *r = i < soft_ranges.n ? (struct soft_range *)soft_ranges.v[i] : NULL;
		if (!r || r->e.base > addr || (r->access & need) != need)
			return false;
		uint64_t rest = r->e.base + r->e.size - addr;
		if (rest >= len)
			return true;
		if (r->type != SOFT_R_VMM) /* only mappings of one reservation make one range together */
			return false;
		addr += rest;
		len -= rest;
	}
	return true;
}

void soft_pin(struct soft_pin *p, uint64_t base, uint64_t len)
{
	*p = (struct soft_pin){ base, base + len, pins };
	pins = p;
}

void soft_unpin(struct soft_pin *p)
{
	struct soft_pin **q = &pins;
	while (*q != p)
		q = &(*q)->next;
	*q = p->next;
}

void soft_wait_unpinned(uint64_t base, uint64_t len)
{
	for (struct soft_pin *p = pins; p;) {
		if (p->base < base + len && p->end > base) {
			soft_wait_progress();
			p = pins;
		} else {
			p = p->next;
		}
	}
}
