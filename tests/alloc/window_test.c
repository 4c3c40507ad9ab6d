/* window_test.c - windows on a fake driver that knows every mapping, and (with WINDOW_ON_SOFT) on softgpu.
 *
 * The fake holds the rules the design rests on: everything in [base, extent + slack) is mapped at all times while
 * kernels may run, what is granted was scrubbed after it was mapped, nothing is unmapped in part or while the session
 * is busy, nothing is left behind. Every driver call fails once. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "alloc/alloc.h"
#include "driver.h"
#include "tests/test.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define BASE (AG_WINDOW_FIRST + 3 * AG_WINDOW_BYTES)

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			return #cond;                                                                                  \
	} while (0)

/* --- the fake ------------------------------------------------------------------------------------ */

enum what { RESERVED, MAPPED, HOST };
struct span {
	enum what what;
	uint64_t addr, bytes, handle;
	bool access, zeroed;
};

static struct {
	struct span v[65536];
	unsigned n;
	uint64_t handles, live_handles, streams;
	uint64_t memory;      /* bytes that may still be created */
	uint64_t size[65536]; /* by handle */
	long calls, fail_at;
	bool busy;          /* the session's kernels run */
	const char *broken; /* first rule broken */
} f;

static CUresult rule(const char *why)
{
	if (!f.broken)
		f.broken = why;
	return CUDA_ERROR_INVALID_VALUE;
}

static bool fails(void) { return ++f.calls == f.fail_at; }

static struct span *at(enum what what, uint64_t addr)
{
	for (unsigned i = 0; i < f.n; i++)
		if (f.v[i].what == what && addr - f.v[i].addr < f.v[i].bytes)
			return f.v + i;
	return NULL;
}

static bool overlaps(enum what what, uint64_t addr, uint64_t bytes)
{
	for (unsigned i = 0; i < f.n; i++)
		if (f.v[i].what == what && addr < f.v[i].addr + f.v[i].bytes && f.v[i].addr < addr + bytes)
			return true;
	return false;
}

static void add(struct span s)
{
	if (f.n == sizeof f.v / sizeof *f.v)
		abort();
	f.v[f.n++] = s;
}

static void gone(struct span *s) { *s = f.v[--f.n]; }

static CUresult fake_device(CUdevice *d)
{
	*d = 0;
	return CUDA_SUCCESS;
}

static CUresult fake_stream(CUstream *s, unsigned flags)
{
	if (fails())
		return CUDA_ERROR_OUT_OF_MEMORY;
	f.streams++;
	*s = (CUstream)&f;
	return flags == CU_STREAM_NON_BLOCKING ? CUDA_SUCCESS : rule("a blocking stream");
}

static CUresult fake_stream_destroy(CUstream s)
{
	(void)s;
	f.streams--;
	return CUDA_SUCCESS;
}

static CUresult fake_sync(CUstream s)
{
	(void)s;
	return CUDA_SUCCESS;
}

static CUresult fake_reserve(CUdeviceptr *p, size_t bytes, size_t align, CUdeviceptr want, unsigned long long flags)
{
	(void)align, (void)flags;
	if (fails())
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (overlaps(RESERVED, want, bytes) || overlaps(HOST, want, bytes))
		return rule("reserved twice");
	add((struct span){ RESERVED, want, bytes, 0, false, false });
	*p = want;
	return CUDA_SUCCESS;
}

static CUresult fake_unreserve(CUdeviceptr p, size_t bytes)
{
	struct span *s = at(RESERVED, p);

	if (!s || s->addr != p || s->bytes != bytes)
		return rule("unreserved in part");
	if (overlaps(MAPPED, p, bytes))
		return rule("unreserved while mapped");
	gone(s);
	return CUDA_SUCCESS;
}

static CUresult fake_create(CUmemGenericAllocationHandle *h, size_t bytes, const CUmemAllocationProp *prop,
                            unsigned long long flags)
{
	(void)prop, (void)flags;
	if (fails() || bytes > f.memory)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*h = ++f.handles;
	f.size[*h % 65536] = bytes;
	f.memory -= bytes;
	f.live_handles++;
	return CUDA_SUCCESS;
}

static CUresult fake_release(CUmemGenericAllocationHandle h)
{
	f.live_handles--;
	f.memory += f.size[h % 65536];
	return CUDA_SUCCESS;
}

static CUresult fake_map(CUdeviceptr p, size_t bytes, size_t off, CUmemGenericAllocationHandle h,
                         unsigned long long flags)
{
	struct span *r = at(RESERVED, p);

	(void)flags;
	if (fails())
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (off || bytes != f.size[h % 65536])
		return rule("mapped in part");
	if (!r || p + bytes > r->addr + r->bytes)
		return rule("mapped across reservations");
	if (overlaps(MAPPED, p, bytes))
		return rule("mapped twice");
	add((struct span){ MAPPED, p, bytes, h, false, false });
	return CUDA_SUCCESS;
}

static CUresult fake_unmap(CUdeviceptr p, size_t bytes)
{
	struct span *s = at(MAPPED, p);

	if (!s || s->addr != p || s->bytes != bytes)
		return rule("unmapped in part");
	if (f.busy && p < BASE + AG_EXTENT_MIN + AG_SINK_BYTES)
		return rule("unmapped under running kernels");
	gone(s);
	return CUDA_SUCCESS;
}

static CUresult fake_access(CUdeviceptr p, size_t bytes, const CUmemAccessDesc *d, size_t n)
{
	(void)d, (void)n;
	if (fails())
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (uint64_t a = p; a < p + bytes;) {
		struct span *s = at(MAPPED, a);
		if (!s)
			return rule("access to a hole");
		s->access = true;
		a = s->addr + s->bytes;
	}
	return CUDA_SUCCESS;
}

static CUresult fake_zero(CUdeviceptr p, unsigned v, size_t n, CUstream st)
{
	struct span *s = at(MAPPED, p);

	(void)st;
	if (fails())
		return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	if (v || !s || !s->access || s->addr != p || s->bytes != n * 4)
		return rule("scrubbed the wrong memory");
	s->zeroed = true;
	return CUDA_SUCCESS;
}

static CUresult fake_register(void *p, size_t bytes, unsigned flags)
{
	(void)flags;
	if (fails())
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (overlaps(RESERVED, (uint64_t)p, bytes) || overlaps(HOST, (uint64_t)p, bytes))
		return rule("host memory over device addresses");
	add((struct span){ HOST, (uint64_t)p, bytes, 0, true, true });
	return CUDA_SUCCESS;
}

static CUresult fake_unregister(void *p)
{
	struct span *s = at(HOST, (uint64_t)p);

	if (!s)
		return rule("unregistered twice");
	gone(s);
	return CUDA_SUCCESS;
}

static CUresult fake_pointer(CUdeviceptr *d, void *p, unsigned flags)
{
	(void)flags;
	*d = (CUdeviceptr)p;
	return CUDA_SUCCESS;
}

static struct ag_driver fake(uint64_t memory)
{
	struct ag_driver d;

	memset(&d, 0, sizeof d);
	memset(&f, 0, sizeof f);
	f.memory = memory;
	d.cuCtxGetDevice = fake_device;
	d.cuStreamCreate = fake_stream;
	d.cuStreamDestroy_v2 = fake_stream_destroy;
	d.cuStreamSynchronize = fake_sync;
	d.cuMemAddressReserve = fake_reserve;
	d.cuMemAddressFree = fake_unreserve;
	d.cuMemCreate = fake_create;
	d.cuMemRelease = fake_release;
	d.cuMemMap = fake_map;
	d.cuMemUnmap = fake_unmap;
	d.cuMemSetAccess = fake_access;
	d.cuMemsetD32Async = fake_zero;
	d.cuMemHostRegister_v2 = fake_register;
	d.cuMemHostUnregister = fake_unregister;
	d.cuMemHostGetDevicePointer_v2 = fake_pointer;
	return d;
}

/* Is every byte of the extent and its slack mapped and accessible, and all that is granted scrubbed? */
static const char *whole(const struct window *w)
{
	uint64_t end = window_base(w) + window_extent(w) + AG_SINK_BYTES;

	if (f.broken)
		return f.broken;
	for (uint64_t a = window_base(w); a < end;) {
		struct span *s = at(MAPPED, a);
		if (!s)
			s = at(HOST, a);
		if (!s || !s->access)
			return "a hole";
		if (window_covers(w, a, 1) && !s->zeroed)
			return "granted, not scrubbed";
		a = s->addr + s->bytes;
	}
	return NULL;
}

static bool idle(void *arg, unsigned ms)
{
	(void)ms;
	return !*(bool *)arg;
}

/* --- cases ---------------------------------------------------------------------------------------- */

static const char *layout(void)
{
	struct ag_driver d = fake(64 * GIB);
	struct window *w = NULL;
	int fd = -1;

	EXPECT(window_open(&d, 3, &w, &fd) == 0 && fd >= 0);
	EXPECT(window_base(w) == BASE && window_extent(w) == AG_EXTENT_MIN);
	EXPECT(!whole(w));
	uint64_t host = BASE + AG_EXTENT_MIN - AG_HOST_FIRST;
	EXPECT(window_covers_host(w, host, AG_HOST_FIRST));
	EXPECT(!window_covers_host(w, host, AG_HOST_FIRST + 1));
	EXPECT(!window_covers_host(w, host - 1, 2));
	EXPECT(!window_covers(w, BASE, 1) && !window_covers(w, BASE + 4 * MIB, 1));
	EXPECT(!window_covers(w, host + 8, UINT64_MAX) && !window_covers(w, UINT64_MAX - 3, 8) &&
	       !window_covers(w, 0, 1));
	EXPECT(window_covers(w, host, 0) && !window_covers(w, host - 1, 0) &&
	       !window_covers(w, host + AG_HOST_FIRST, 0));
	EXPECT(ftruncate(fd, 4096) != 0);
	*(volatile char *)host = 1;
	window_close(w);
	EXPECT(!f.broken && f.n == 0 && f.live_handles == 0 && f.streams == 0);
	EXPECT(msync((void *)host, 4096, MS_ASYNC) != 0);
	return NULL;
}

static const char *grants(void)
{
	struct ag_driver d = fake(64 * GIB);
	struct window *w = NULL;
	int fd = -1;
	bool busy = false;
	uint64_t a, b, c, na, nb, nc;

	EXPECT(window_open(&d, 3, &w, &fd) == 0);
	EXPECT(window_grant(w, 1, false, idle, &busy, &a, &na, NULL) == 0);
	EXPECT(a == BASE + AG_GRANULE && na == AG_GRANULE);
	EXPECT(window_grant(w, 5 * MIB, false, idle, &busy, &b, &nb, NULL) == 0);
	EXPECT(b == a + na && nb == 6 * MIB && !whole(w));
	EXPECT(window_covers(w, a, na + nb) && !window_covers(w, a, na + nb + 1));
	EXPECT(window_grant(w, 100 * MIB, false, idle, &busy, &c, &nc, NULL) == 0);
	EXPECT(nc == 128 * MIB && window_covers(w, c, nc) && window_extent(w) == AG_EXTENT_MIN && !whole(w));
	EXPECT(window_giveback(w, b + AG_GRANULE, nb - AG_GRANULE, idle, &busy) == CUDA_ERROR_INVALID_VALUE);
	EXPECT(window_giveback(w, BASE, AG_GRANULE, idle, &busy) == CUDA_ERROR_INVALID_VALUE);
	EXPECT(window_giveback(w, a, UINT64_MAX, idle, &busy) == CUDA_ERROR_INVALID_VALUE);
	busy = true;
	EXPECT(window_giveback(w, a, na + nb, idle, &busy) == CUDA_ERROR_NOT_READY && window_covers(w, a, na + nb));
	busy = false;
	EXPECT(window_giveback(w, a, na + nb, idle, &busy) == 0);
	EXPECT(!window_covers(w, a, 1) && !whole(w) && f.live_handles == 4);
	EXPECT(window_grant(w, 2 * MIB, false, idle, &busy, &b, &nb, NULL) == 0 && b == a);
	EXPECT(window_grant(w, 1000 * GIB, false, idle, &busy, &b, &nb, NULL) == CUDA_ERROR_OUT_OF_MEMORY);
	EXPECT(window_grant(w, 65 * GIB, false, idle, &busy, &b, &nb, NULL) == CUDA_ERROR_OUT_OF_MEMORY);
	EXPECT(window_grant(w, UINT64_MAX, false, idle, &busy, &b, &nb, NULL) == CUDA_ERROR_OUT_OF_MEMORY);
	EXPECT(window_grant(w, 0, false, idle, &busy, &b, &nb, NULL) == CUDA_ERROR_INVALID_VALUE);
	EXPECT(window_extent(w) == AG_EXTENT_MIN && !whole(w));
	for (uint64_t n = 1; n < 32; n += 5) {
		EXPECT(window_grant(w, n * GIB, false, idle, &busy, &b, &nb, NULL) == 0 && nb == n * GIB && !whole(w));
		EXPECT(window_covers(w, b, nb) && window_giveback(w, b, nb, idle, &busy) == 0 &&
		       !window_covers(w, b, nb));
	}
	window_close(w);
	EXPECT(!f.broken && f.n == 0 && f.live_handles == 0);
	return NULL;
}

/* While kernels run nothing that they can see changes: the window grows instead. */
static const char *growth(void)
{
	struct ag_driver d = fake(200 * GIB);
	struct window *w = NULL;
	int fd = -1, fd2 = -1;
	bool busy = true;
	uint64_t a, n;

	EXPECT(window_open(&d, 3, &w, &fd) == 0);
	f.busy = true;
	EXPECT(window_grant(w, 2 * MIB, false, idle, &busy, &a, &n, NULL) == 0);
	EXPECT(a == BASE + AG_EXTENT_MIN + AG_SINK_BYTES && n == AG_SINK_BYTES &&
	       window_extent(w) == 2 * AG_EXTENT_MIN && !whole(w));
	f.busy = busy = false;
	EXPECT(window_grant(w, 40 * GIB, false, idle, &busy, &a, &n, NULL) == 0);
	EXPECT(window_extent(w) == 128 * GIB && window_covers(w, a, 40 * GIB) && !whole(w));
	EXPECT(window_grant(w, 100 * MIB, true, idle, &busy, &a, &n, &fd2) == 0 && fd2 >= 0 && fd2 != fd);
	EXPECT(n >= 100 * MIB && window_covers_host(w, a, n) && window_extent(w) == 128 * GIB && !whole(w));
	EXPECT(window_stats(w).host_bytes == n + AG_HOST_FIRST);
	busy = true;
	f.busy = true;
	EXPECT(window_grant(w, 100 * MIB, true, idle, &busy, &a, &n, &fd2) == 0);
	EXPECT(window_extent(w) == 256 * GIB && window_covers_host(w, a, n) && !whole(w));
	f.busy = false;
	window_close(w);
	EXPECT(!f.broken && f.n == 0);
	return NULL;
}

static const char *narrow_host(void)
{
	struct ag_driver d = fake(64 * GIB);
	struct window *w = NULL;
	int fd = -1, fd2 = -1;
	bool busy = false;
	uint64_t a, n;

	EXPECT(window_open(&d, 3, &w, &fd) == 0);
	EXPECT(window_grant(w, 200 * MIB, true, idle, &busy, &a, &n, &fd2) == 0);
	EXPECT(window_extent(w) == AG_EXTENT_MIN && n == 256 * MIB && a == BASE + AG_EXTENT_MIN - AG_HOST_FIRST - n &&
	       !whole(w));
	((volatile char *)a)[n - 1] = 1;
	EXPECT(window_grant(w, 2000 * MIB, true, idle, &busy, &a, &n, &fd2) == 0);
	EXPECT(window_extent(w) == 2 * AG_EXTENT_MIN && !whole(w));
	window_close(w);
	EXPECT(!f.broken && f.n == 0);
	return NULL;
}

/* The same steps with each driver call failing once: never a hole, never a leak, and an error is an error. */
static const char *every_failure(void)
{
	for (long n = 1;; n++) {
		struct ag_driver d = fake(64 * GIB);
		struct window *w = NULL;
		int fd = -1, r;
		bool busy = false;
		uint64_t a, got;

		f.fail_at = n;
		r = window_open(&d, 3, &w, &fd);
		if (r) {
			EXPECT(f.calls >= n && !f.broken && f.n == 0 && f.live_handles == 0 && f.streams == 0);
			continue;
		}
		r = window_grant(w, 6 * MIB, false, idle, &busy, &a, &got, NULL);
		if (!window_broken(w) && whole(w))
			return whole(w);
		EXPECT(r == 0 || f.calls >= n);
		window_grant(w, 5 * GIB, false, idle, &busy, &a, &got, NULL);
		if (!window_broken(w) && whole(w))
			return whole(w);
		window_grant(w, 100 * MIB, true, idle, &busy, &a, &got, &fd);
		if (!window_broken(w) && whole(w))
			return whole(w);
		window_giveback(w, BASE + AG_GRANULE, 6 * MIB, idle, &busy);
		if (!window_broken(w) && whole(w))
			return whole(w);
		bool past = f.calls < n;
		window_close(w);
		EXPECT(!f.broken && f.n == 0 && f.live_handles == 0);
		if (past)
			return n > 100 ? NULL : "too few calls were made to fail";
	}
}

#ifdef WINDOW_ON_SOFT
/* The same window on softgpu: what is granted is memory, zeroed even when its last owner wrote it, and shared with the
 * host where it should be. */
static const char *on_softgpu(void)
{
	struct ag_driver d;
	CUdevice dev;
	CUcontext ctx;
	struct window *w[2];
	int fd;
	uint64_t a, n;
	static uint32_t buf[1 << 19], want[1 << 19];
	CUstream st;

	ag_driver_load_soft(&d);
	EXPECT(d.cuInit(0) == 0 && d.cuDeviceGet(&dev, 0) == 0 && d.cuDevicePrimaryCtxRetain(&ctx, dev) == 0 &&
	       d.cuCtxSetCurrent(ctx) == 0);
	EXPECT(d.cuStreamCreate(&st, CU_STREAM_NON_BLOCKING) == 0);
	for (int round = 0; round < 2; round++) {
		for (unsigned k = 0; k < 2; k++) {
			EXPECT(window_open(&d, k, &w[k], &fd) == 0);
			EXPECT(window_grant(w[k], 2 * MIB, false, NULL, NULL, &a, &n, NULL) == 0);
			memset(buf, 0xff, sizeof buf);
			EXPECT(d.cuMemcpyDtoHAsync_v2(buf, a, sizeof buf, st) == 0 && d.cuStreamSynchronize(st) == 0);
			EXPECT(memcmp(buf, want, sizeof buf) == 0);
			EXPECT(d.cuMemsetD32Async(a, 0x5eed0000 + k, n / 4, st) == 0 && d.cuStreamSynchronize(st) == 0);
			uint64_t host = window_base(w[k]) + AG_EXTENT_MIN - AG_HOST_FIRST;
			EXPECT(d.cuMemcpyAsync(host, a, 4096, st) == 0 && d.cuStreamSynchronize(st) == 0);
			EXPECT(*(volatile uint32_t *)host == 0x5eed0000 + k);
			EXPECT(d.cuStreamWriteValue64_v2(st, host + 8, 77, 0) == 0 && d.cuStreamSynchronize(st) == 0);
			EXPECT(*(volatile uint64_t *)(host + 8) == 77);
		}
		/* The whole extent is there: sink, and the slack beyond it. */
		EXPECT(d.cuMemsetD32Async(window_base(w[0]) + 2 * GIB, 1, MIB, st) == 0);
		EXPECT(d.cuMemsetD32Async(window_base(w[0]) + AG_EXTENT_MIN, 1, 1024, st) == 0 &&
		       d.cuStreamSynchronize(st) == 0);
		EXPECT(window_grant(w[0], 200 * MIB, true, NULL, NULL, &a, &n, &fd) == 0);
		EXPECT(d.cuMemsetD32Async(a + n - 4096, 9, 1024, st) == 0 && d.cuStreamSynchronize(st) == 0);
		EXPECT(((volatile uint32_t *)(a + n - 4096))[1023] == 9);
		window_close(w[0]);
		window_close(w[1]);
	}
	return NULL;
}
#endif

int main(void)
{
	test_result("window.layout", layout());
	test_result("window.grants", grants());
	test_result("window.growth", growth());
	test_result("window.narrow_host", narrow_host());
	test_result("window.every_failure", every_failure());
#ifdef WINDOW_ON_SOFT
	test_result("window.on_softgpu", on_softgpu());
#endif
	return test_failures != 0;
}
