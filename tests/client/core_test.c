/* core_test.c - the client's core against a worker that tests control (fake.h): ring, slots, waits, copies, memory,
 * death, fork. Each case runs in a process of its own, because a process has one session for life. */
#include "api/client/internal.h"
#include "fake.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define D (agc_table())
#define CHECK(c) do { if (!(c)) { printf("  line %d: %s\n", __LINE__, #c); return false; } } while (0)

static bool begin(void)
{
	CUcontext ctx;
	fake_start();
	CHECK(D->cuInit(0) == CUDA_SUCCESS);
	CHECK(D->cuDevicePrimaryCtxRetain(&ctx, 0) == CUDA_SUCCESS);
	CHECK(D->cuCtxSetCurrent(ctx) == CUDA_SUCCESS);
	return true;
}

/* --- cases -------------------------------------------------------------------------------------------------------- */

static bool before_init(void)
{
	int n;
	size_t bytes;
	CUdeviceptr p;
	CHECK(D->cuDeviceGetCount(&n) == CUDA_ERROR_NOT_INITIALIZED);
	CHECK(D->cuMemAlloc_v2(&p, 4) == CUDA_ERROR_NOT_INITIALIZED);
	CHECK(D->cuDriverGetVersion(&n) == CUDA_SUCCESS && n == 13000);
	CHECK(D->cuInit(1) == CUDA_ERROR_INVALID_VALUE);
	fake_start();
	CHECK(D->cuInit(0) == CUDA_SUCCESS && D->cuInit(0) == CUDA_SUCCESS);
	CHECK(D->cuMemAlloc_v2(&p, 4) == CUDA_ERROR_INVALID_CONTEXT);
	CHECK(D->cuMemGetInfo_v2(&bytes, &bytes) == CUDA_ERROR_INVALID_CONTEXT);
	return atomic_load(&fake.clients) == 1;
}

static bool refused(void)
{
	fake_start();
	atomic_store(&fake.refuse, 1);
	CHECK(D->cuInit(0) == CUDA_ERROR_NO_DEVICE);
	CHECK(D->cuInit(0) == CUDA_ERROR_NO_DEVICE);
	return true;
}

static bool other_version(void)
{
	fake_start();
	atomic_store(&fake.refuse, 2);
	CHECK(D->cuInit(0) != CUDA_SUCCESS);
	return true;
}

static bool closes_at_once(void)
{
	fake_start();
	atomic_store(&fake.refuse, 3);
	CHECK(D->cuInit(0) != CUDA_SUCCESS);
	return true;
}

static bool nobody_there(void)
{
	setenv(AG_SOCKET_ENV, "/tmp/agileos-no-such-socket", 1);
	CHECK(D->cuInit(0) == CUDA_ERROR_NO_DEVICE);
	return true;
}

/* The first two windows' addresses are taken in this process. */
static bool window_taken(void)
{
	for (int i = 0; i < 2; i++)
		CHECK(mmap((void *)(AG_WINDOW_FIRST + (uint64_t)i * AG_WINDOW_BYTES + 4096), 4096, PROT_NONE,
		           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED);
	CHECK(begin());
	CHECK(atomic_load(&fake.offers) == 3 && agc_window_base() == AG_WINDOW_FIRST + 2 * AG_WINDOW_BYTES);
	return true;
}

/* Messages of many sizes, for several times round the ring: each arrives once, whole, in order. */
static bool ring_wraps(void)
{
	CHECK(begin());
	uint64_t before = atomic_load(&fake.ops[AG_OP_nop]), n = 0;
	for (uint64_t bytes = 0; bytes < 40ull * AG_RING_BYTES; n++) {
		uint32_t tail = (uint32_t)(n * 2654435761u % 70000);
		void *m = agc_begin(AG_OP_nop, sizeof(struct msg_nop), tail);
		CHECK(m);
		memset((char *)m + sizeof(struct msg_nop), (int)n, tail);
		CHECK(agc_post(m) == CUDA_SUCCESS);
		bytes += tail;
	}
	CHECK(agc_sync_all() == CUDA_SUCCESS);
	void *m = agc_begin(AG_OP_nop, sizeof(struct msg_nop), 0);
	CHECK(agc_call(m, NULL, 0, NULL, NULL) == CUDA_SUCCESS);
	CHECK(atomic_load(&fake.ops[AG_OP_nop]) == before + n + 1 && atomic_load(&fake.bad) == 0 &&
	      atomic_load(&fake.pads) > 10);
	CHECK(!agc_begin(AG_OP_nop, sizeof(struct msg_nop), AG_MSG_MAX) && agc_error() == CUDA_ERROR_INVALID_VALUE);
	return true;
}

static void *unpause(void *arg)
{
	usleep(300000);
	atomic_store(&fake.paused, 0);
	return arg;
}

static bool ring_full(void)
{
	pthread_t t;
	CHECK(begin());
	atomic_store(&fake.paused, 1);
	pthread_create(&t, NULL, unpause, NULL);
	double start = test_seconds();
	for (int i = 0; i < 3 * (int)(AG_RING_BYTES / 65536); i++) {
		void *m = agc_begin(AG_OP_nop, sizeof(struct msg_nop), 65000);
		CHECK(m && agc_post(m) == CUDA_SUCCESS);
	}
	CHECK(test_seconds() - start > 0.2);
	pthread_join(t, NULL);
	CHECK(agc_sync_all() == CUDA_SUCCESS && atomic_load(&fake.bad) == 0);
	return true;
}

static _Atomic int failures;

static void *caller(void *arg)
{
	for (int i = 0; i < 20; i++) {
		void *m = agc_begin(AG_OP_nop, sizeof(struct msg_nop), 8);
		if (!m || agc_call(m, NULL, 0, NULL, NULL) != CUDA_SUCCESS)
			atomic_fetch_add(&failures, 1);
	}
	return arg;
}

/* More threads in calls than there are slots. */
static bool slots_run_out(void)
{
	pthread_t t[AG_SLOTS + 60], u;
	pthread_attr_t small;
	CHECK(begin());
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 << 10);
	atomic_store(&fake.paused, 1);
	for (unsigned i = 0; i < AG_SLOTS + 60; i++)
		CHECK(pthread_create(&t[i], &small, caller, NULL) == 0);
	pthread_create(&u, NULL, unpause, NULL);
	for (unsigned i = 0; i < AG_SLOTS + 60; i++)
		pthread_join(t[i], NULL);
	pthread_join(u, NULL);
	CHECK(atomic_load(&failures) == 0 && atomic_load(&fake.ops[AG_OP_nop]) == (AG_SLOTS + 60) * 20 &&
	      atomic_load(&fake.bad) == 0);
	return true;
}

static bool async_error_once(void)
{
	CUdeviceptr p;
	CHECK(begin());
	CHECK(D->cuMemAlloc_v2(&p, 4096) == CUDA_SUCCESS);
	atomic_store(&fake.fail_next, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
	/* Whichever call comes after the failure reports it, once. */
	CUresult r = D->cuMemsetD8Async(p, 1, 4096, NULL), w = D->cuCtxSynchronize();
	CHECK((r ? r : w) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES && (!r || !w));
	CHECK(D->cuCtxSynchronize() == CUDA_SUCCESS);
	return true;
}

static bool fault_sticks(void)
{
	CUdeviceptr p;
	CHECK(begin());
	CHECK(D->cuMemAlloc_v2(&p, 4096) == CUDA_SUCCESS);
	fake_fault(CUDA_ERROR_ILLEGAL_ADDRESS);
	CHECK(D->cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
	CHECK(D->cuMemsetD8_v2(p, 0, 1) == CUDA_ERROR_ILLEGAL_ADDRESS);
	CHECK(D->cuMemAlloc_v2(&p, 4096) == CUDA_ERROR_ILLEGAL_ADDRESS);
	CHECK(atomic_load(&fake.ops[AG_OP_fault]) == 1);
	return true;
}

/* --- copies ------------------------------------------------------------------------------------------------------- */

static uint64_t rng = 88172645463325252ull;
static uint64_t rnd(uint64_t n)
{
	return test_random(&rng) % n;
}

static bool copies(void)
{
	enum { MOST = 20 << 20 };
	uint8_t *a = malloc(MOST), *b = malloc(MOST), *pinned;
	CUdeviceptr d, e;
	CUstream s;
	CHECK(begin());
	CHECK(D->cuMemAlloc_v2(&d, MOST) == 0 && D->cuMemAlloc_v2(&e, MOST) == 0 &&
	      D->cuMemHostAlloc((void **)&pinned, MOST, 0) == 0);
	CHECK(D->cuStreamCreate(&s, CU_STREAM_NON_BLOCKING) == 0);
	for (size_t i = 0; i < MOST; i++)
		a[i] = (uint8_t)(i * 31 + i / 253);
	static const size_t size[] = { 1,      7,       64,      4096,          65536,         65537, 262144,
				       262145, 1000003, 4 << 20, (4 << 20) + 1, (8 << 20) + 5, MOST };
	for (size_t k = 0; k < sizeof size / sizeof *size; k++) {
		size_t n = size[k], off = rnd(MOST - n + 1);
		CUstream st = k % 2 ? s : NULL;
		memset(b, 0, n);
		CHECK(D->cuMemcpyHtoDAsync_v2(d + off, a + off, n, st) == 0);
		CHECK(D->cuMemcpyDtoDAsync_v2(e, d + off, n, st) == 0);
		CHECK(D->cuMemcpyDtoHAsync_v2(b, e, n, st) == 0);
		CHECK(memcmp(b, a + off, n) == 0);
		CHECK(D->cuMemcpyDtoHAsync_v2(pinned, e, n, st) == 0 && D->cuStreamSynchronize(st) == 0 &&
		      memcmp(pinned, a + off, n) == 0);
		CHECK(D->cuMemcpy((CUdeviceptr)(uintptr_t)b, (CUdeviceptr)(uintptr_t)pinned, n) == 0);
	}
	/* Many small ones: the source may change as soon as the call returns. */
	for (int i = 0; i < 20000; i++) {
		uint32_t v = (uint32_t)i * 2654435761u;
		CHECK(D->cuMemcpyHtoDAsync_v2(d + 4 * (CUdeviceptr)i, &v, 4, s) == 0);
	}
	CHECK(D->cuMemcpyDtoHAsync_v2(b, d, 80000, s) == 0);
	for (int i = 0; i < 20000; i++)
		CHECK(((uint32_t *)b)[i] == (uint32_t)i * 2654435761u);
	CHECK(D->cuMemcpyHtoD_v2(d + MOST - 8, a, 9) == CUDA_ERROR_INVALID_VALUE &&
	      D->cuMemcpyDtoH_v2(b, d - 512, 4) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemcpyHtoD_v2((CUdeviceptr)(uintptr_t)b, a, 4) == CUDA_ERROR_INVALID_VALUE &&
	      D->cuMemcpyHtoD_v2(d, a, 0) == 0);
	return true;
}

/* Shaped copies against loops. */
static bool shapes(void)
{
	enum { BOX = 3 << 20 };
	uint8_t *host = malloc(BOX), *want = malloc(BOX), *back = malloc(BOX);
	CUdeviceptr d;
	CHECK(begin());
	CHECK(D->cuMemAlloc_v2(&d, BOX) == 0);
	for (int i = 0; i < BOX; i++)
		host[i] = (uint8_t)rnd(256);
	for (int k = 0; k < 30; k++) {
		size_t w = 1 + rnd(k % 7 == 0 ? 300000 : 300), h = 1 + rnd(k % 7 == 0 ? 3 : 40), z = 1 + rnd(3),
		       hp = w + rnd(50), dp = w + rnd(70);
		size_t hh = h + rnd(3), dh = h + rnd(3);
		if (hp * hh * z > BOX || dp * dh * z > BOX)
			continue;
		CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
				    .srcHost = host,
				    .srcPitch = hp,
				    .srcHeight = hh,
				    .dstMemoryType = CU_MEMORYTYPE_DEVICE,
				    .dstDevice = d,
				    .dstPitch = dp,
				    .dstHeight = dh,
				    .WidthInBytes = w,
				    .Height = h,
				    .Depth = z };
		CHECK(D->cuMemsetD8_v2(d, 0xEE, BOX) == 0);
		memset(want, 0xEE, BOX);
		for (size_t zz = 0; zz < z; zz++)
			for (size_t y = 0; y < h; y++)
				memcpy(want + (zz * dh + y) * dp, host + (zz * hh + y) * hp, w);
		CHECK(D->cuMemcpy3D_v2(&c) == 0);
		CHECK(D->cuMemcpyDtoH_v2(back, d, BOX) == 0 && memcmp(back, want, BOX) == 0);
		/* And out again, into another shape. */
		CUDA_MEMCPY3D o = { .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
				    .dstDevice = (CUdeviceptr)(uintptr_t)back,
				    .dstPitch = hp,
				    .dstHeight = hh,
				    .srcMemoryType = CU_MEMORYTYPE_DEVICE,
				    .srcDevice = d,
				    .srcPitch = dp,
				    .srcHeight = dh,
				    .WidthInBytes = w,
				    .Height = h,
				    .Depth = z };
		memset(back, 0x11, BOX);
		memset(want, 0x11, BOX);
		for (size_t zz = 0; zz < z; zz++)
			for (size_t y = 0; y < h; y++)
				memcpy(want + (zz * hh + y) * hp, host + (zz * hh + y) * hp, w);
		CHECK(D->cuMemcpy3D_v2(&o) == 0 && memcmp(back, want, BOX) == 0);
	}
	CUDA_MEMCPY2D bad = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			      .srcHost = host,
			      .srcPitch = 8,
			      .dstMemoryType = CU_MEMORYTYPE_DEVICE,
			      .dstDevice = d,
			      .dstPitch = 64,
			      .WidthInBytes = 16,
			      .Height = 2 };
	CHECK(D->cuMemcpy2D_v2(&bad) == CUDA_ERROR_INVALID_VALUE);
	bad.srcPitch = 64;
	bad.Height = SIZE_MAX / 32;
	CHECK(D->cuMemcpy2D_v2(&bad) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemsetD32_v2(d + 2, 0, 1) == CUDA_ERROR_INVALID_VALUE &&
	      D->cuMemsetD2D16_v2(d, 32, 7, 17, 2) == CUDA_ERROR_INVALID_VALUE);
	return true;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static bool memory(void)
{
	CUdeviceptr p[100], q, base;
	size_t size, avail, total;
	CUmemorytype type;
	void *h;
	CHECK(begin());
	for (int i = 0; i < 100; i++) {
		CHECK(D->cuMemAlloc_v2(&p[i], (size_t)(i + 1) * 1000) == 0 && p[i] % 512 == 0);
		for (int k = 0; k < i; k++)
			CHECK(p[k] + (size_t)(k + 1) * 1000 <= p[i] || p[i] + (size_t)(i + 1) * 1000 <= p[k]);
	}
	CHECK(atomic_load(&fake.ops[AG_OP_grant]) == 1);
	CHECK(D->cuMemGetAddressRange_v2(&base, &size, p[50] + 77) == 0 && base == p[50] && size == 51000);
	CHECK(D->cuMemFree_v2(p[50] + 512) == CUDA_ERROR_INVALID_VALUE && D->cuMemFree_v2(p[50]) == 0 &&
	      D->cuMemFree_v2(p[50]) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemAlloc_v2(&q, FAKE_DEVICE * 2) == CUDA_ERROR_OUT_OF_MEMORY &&
	      D->cuMemAlloc_v2(&q, SIZE_MAX - 4096) == CUDA_ERROR_OUT_OF_MEMORY);
	CHECK(D->cuMemAlloc_v2(&q, 0) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemAlloc_v2(&q, FAKE_DEVICE - (64ull << 20)) == 0);        /* by exactly what there is */
	CHECK(D->cuMemGetInfo_v2(&avail, &total) == 0 && total == FAKE_DEVICE && avail < 64ull << 20);
	CHECK(D->cuMemHostAlloc(&h, 5000, CU_MEMHOSTALLOC_DEVICEMAP) == 0 &&
	      D->cuMemHostGetDevicePointer_v2(&base, h, 0) == 0);
	CHECK(base == (CUdeviceptr)(uintptr_t)h);
	memset(h, 5, 5000);
	CHECK(D->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, base + 4999) == 0 &&
	      type == CU_MEMORYTYPE_HOST);
	CHECK(D->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, q) == 0 &&
	      type == CU_MEMORYTYPE_DEVICE);
	CHECK(D->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)&type) ==
	      CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemFree_v2(base) == CUDA_ERROR_INVALID_VALUE && D->cuMemFreeHost(h) == 0 &&
	      D->cuMemFreeHost(h) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemHostRegister_v2(&rng, 8, 0) == 0 &&
	      D->cuMemHostRegister_v2(&rng, 8, 0) == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	CHECK(D->cuMemHostUnregister(&rng) == 0 &&
	      D->cuMemHostUnregister(&rng) == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
	return true;
}

/* A block freed in stream order serves the same stream at once, another only when the work is over. */
static bool pool_order(void)
{
	CUstream s, t;
	CUdeviceptr a, b, c;
	CHECK(begin());
	CHECK(D->cuStreamCreate(&s, CU_STREAM_NON_BLOCKING) == 0 && D->cuStreamCreate(&t, CU_STREAM_NON_BLOCKING) == 0);
	CHECK(D->cuMemAllocAsync(&a, 1 << 20, s) == 0 && D->cuMemsetD8Async(a, 1, 1 << 20, s) == 0 &&
	      D->cuMemFreeAsync(a, s) == 0);
	CHECK(D->cuMemAllocAsync(&b, 1 << 20, t) == 0 && b != a);
	CHECK(D->cuMemAllocAsync(&c, 1 << 20, s) == 0 && c == a && D->cuMemFreeAsync(c, s) == 0);
	CHECK(D->cuMemFreeAsync(c, s) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuCtxSynchronize() == 0 && D->cuMemAllocAsync(&c, 1 << 20, t) == 0 && c == a);
	return true;
}

static bool streams_events(void)
{
	CUstream s, none = (CUstream)(uintptr_t)0x1234567890abcdefull;
	CUevent e;
	CUdeviceptr p;
	CHECK(begin());
	CHECK(D->cuMemAlloc_v2(&p, 64) == 0 && D->cuStreamCreate(&s, 0) == 0 && D->cuEventCreate(&e, 0) == 0);
	CHECK(D->cuEventQuery(e) == 0 && D->cuEventSynchronize(e) == 0);
	atomic_store(&fake.no_signal, 1);
	CHECK(D->cuMemsetD8Async(p, 1, 64, s) == 0 && D->cuEventRecord(e, s) == 0);
	CHECK(D->cuEventQuery(e) == CUDA_ERROR_NOT_READY && D->cuStreamQuery(s) == CUDA_ERROR_NOT_READY &&
	      D->cuStreamQuery(s) == CUDA_ERROR_NOT_READY);
	uint64_t signals = atomic_load(&fake.ops[AG_OP_signal]);
	CHECK(D->cuStreamQuery(s) == CUDA_ERROR_NOT_READY && atomic_load(&fake.ops[AG_OP_signal]) == signals);
	atomic_store(&fake.no_signal, 0);
	CHECK(D->cuMemsetD8Async(p, 1, 64, s) == 0 && D->cuEventRecord(e, s) == 0);
	CHECK(D->cuEventSynchronize(e) == 0 && D->cuStreamSynchronize(s) == 0 && D->cuStreamQuery(s) == 0);
	signals = atomic_load(&fake.ops[AG_OP_signal]);
	for (int i = 0; i < 10; i++)
		CHECK(D->cuStreamSynchronize(s) == 0 && D->cuStreamQuery(s) == 0);
	CHECK(atomic_load(&fake.ops[AG_OP_signal]) == signals);         /* an idle stream costs no message */
	CHECK(D->cuStreamSynchronize(none) == CUDA_ERROR_INVALID_HANDLE &&
	      D->cuEventRecord((CUevent)none, s) == CUDA_ERROR_INVALID_HANDLE);
	CHECK(D->cuStreamDestroy_v2(s) == 0 && D->cuStreamDestroy_v2(s) == CUDA_ERROR_INVALID_HANDLE &&
	      D->cuEventDestroy_v2(e) == 0);
	CHECK(D->cuEventQuery(e) == CUDA_ERROR_INVALID_HANDLE);
	return true;
}

static _Atomic int called;
static CUresult inside;
static void host_function(void *arg)
{
	CUdeviceptr p;
	inside = D->cuMemAlloc_v2(&p, 64ull << 20);
	atomic_store(&called, *(int *)arg);
}

static bool host_functions(void)
{
	int arg = 42;
	CHECK(begin());
	CHECK(D->cuLaunchHostFunc(NULL, host_function, &arg) == 0);
	for (int i = 0; i < 1000 && !atomic_load(&called); i++)
		usleep(1000);
	CHECK(atomic_load(&called) == 42 && inside == CUDA_ERROR_NOT_PERMITTED);
	CHECK(D->cuCtxSynchronize() == 0);
	usleep(10000);
	CHECK(atomic_load(&fake.ops[AG_OP_hostfunc_done]) == 1);
	return true;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static _Atomic int returned;
static void *in_call(void *arg)
{
	void *m = agc_begin(AG_OP_nop, sizeof(struct msg_nop), 0);
	if (m && agc_call(m, NULL, 0, NULL, NULL) == CUDA_ERROR_SYSTEM_NOT_READY)
		atomic_fetch_add(&returned, 1);
	return arg;
}
static void *in_sync(void *arg)
{
	CUcontext c;
	if (D->cuDevicePrimaryCtxRetain(&c, 0) == 0 && D->cuCtxSetCurrent(c) == 0 &&
	    D->cuMemsetD8Async((CUdeviceptr)(uintptr_t)arg, 0, 4, NULL) == 0 &&
	    D->cuCtxSynchronize() == CUDA_ERROR_SYSTEM_NOT_READY)
		atomic_fetch_add(&returned, 1);
	return arg;
}

/* A worker that is killed: those who wait, and those who call later, get an error within a second. */
static bool worker_dies(void)
{
	pthread_t t[16];
	CUdeviceptr p;
	CHECK(begin());
	CHECK(D->cuMemAlloc_v2(&p, 4096) == 0);
	atomic_store(&fake.mute, 1);
	atomic_store(&fake.no_signal, 1);
	for (int i = 0; i < 16; i++)
		pthread_create(&t[i], NULL, i % 2 ? in_call : in_sync, (void *)(uintptr_t)p);
	usleep(200000);
	CHECK(atomic_load(&returned) == 0);
	double start = test_seconds();
	fake_hang_up();
	for (int i = 0; i < 16; i++)
		pthread_join(t[i], NULL);
	CHECK(test_seconds() - start < 1.0 && atomic_load(&returned) == 16);
	start = test_seconds();
	CHECK(D->cuMemAlloc_v2(&p, 4) == CUDA_ERROR_SYSTEM_NOT_READY &&
	      D->cuCtxSynchronize() == CUDA_ERROR_SYSTEM_NOT_READY);
	CHECK(D->cuInit(0) == CUDA_ERROR_SYSTEM_NOT_READY && test_seconds() - start < 0.1);
	return true;
}

static bool dies_while_full(void)
{
	CHECK(begin());
	atomic_store(&fake.paused, 1);
	double start = 0;
	for (int i = 0; i < 1000; i++) {
		if (i == 10) {
			usleep(1000);
			fake_hang_up();
			start = test_seconds();
		}
		void *m = agc_begin(AG_OP_nop, sizeof(struct msg_nop), 65000);
		if (!m)
			return agc_error() == CUDA_ERROR_SYSTEM_NOT_READY && test_seconds() - start < 1.0;
		agc_post(m);
	}
	return false;
}

static bool session_ended_by_worker(void)
{
	CUdeviceptr p;
	CHECK(begin());
	atomic_store(&((struct ag_shm *)(uintptr_t)agc_shm())->ended, CUDA_ERROR_CONTEXT_IS_DESTROYED);
	CHECK(D->cuMemAlloc_v2(&p, 1 << 20) == CUDA_ERROR_CONTEXT_IS_DESTROYED);
	return true;
}

static bool forks(void)
{
	int n, status;
	CUdeviceptr p;
	CHECK(begin());
	pid_t child = fork();
	if (child == 0)
		_exit(D->cuInit(0) == CUDA_ERROR_NOT_INITIALIZED &&
				      D->cuDeviceGetCount(&n) == CUDA_ERROR_NOT_INITIALIZED &&
				      D->cuMemAlloc_v2(&p, 4) == CUDA_ERROR_NOT_INITIALIZED &&
				      D->cuCtxSynchronize() == CUDA_ERROR_NOT_INITIALIZED
			      ? 0
			      : 1);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(D->cuMemAlloc_v2(&p, 4) == 0 && D->cuMemsetD8_v2(p, 1, 4) == 0 && D->cuCtxSynchronize() == 0);
	return true;
}

static bool many_threads(void)
{
	CHECK(begin());
	pthread_t t[8];
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, caller, NULL);
	for (int i = 0; i < 2000; i++) {
		CUdeviceptr p;
		CHECK(D->cuMemAlloc_v2(&p, 1 + rnd(100000)) == 0 && D->cuMemsetD8Async(p, 1, 1, NULL) == 0 &&
		      D->cuMemFree_v2(p) == 0);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	return atomic_load(&failures) == 0 && atomic_load(&fake.bad) == 0;
}

static const struct { const char *name; bool (*run)(void);
} cases[] = {
	{ "before_init", before_init },
	{ "refused", refused },
	{ "other_version", other_version },
	{ "closes_at_once", closes_at_once },
	{ "nobody_there", nobody_there },
	{ "window_taken", window_taken },
	{ "ring_wraps", ring_wraps },
	{ "ring_full", ring_full },
	{ "slots_run_out", slots_run_out },
	{ "async_error_once", async_error_once },
	{ "fault_sticks", fault_sticks },
	{ "copies", copies },
	{ "shapes", shapes },
	{ "memory", memory },
	{ "pool_order", pool_order },
	{ "streams_events", streams_events },
	{ "host_functions", host_functions },
	{ "worker_dies", worker_dies },
	{ "dies_while_full", dies_while_full },
	{ "session_ended_by_worker", session_ended_by_worker },
	{ "forks", forks },
	{ "many_threads", many_threads },
};

int main(int argc, char **argv)
{
	int failed = 0;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int status = 1;
		if (argc > 1 && strcmp(argv[1], cases[i].name))
			continue;
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			bool ok = cases[i].run();
			if (fake.path[0])
				unlink(fake.path);
			fflush(stdout);
			_exit(!ok);
		}
		if (waitpid(child, &status, 0) != child || status)
			printf("not ok %s: status %d\n", cases[i].name, status), failed++;
		else
			test_result(cases[i].name, NULL);
	}
	return failed != 0;
}
