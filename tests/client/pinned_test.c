/* pinned_test.c - pinned and managed memory through the Driver's functions, against the worker of fake.h: what is known
 * of a block from every address in it, what must be refused, threads, forks, memory that runs out and comes back. Each
 * case runs in a process of its own, because a process has one session for life. */
#include "api/client/internal.h"
#include "fake.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define D (agc_table())
#define CHECK(c) do { if (!(c)) { printf("  line %d: %s\n", __LINE__, #c); return false; } } while (0)
#define MIB (1ull << 20)

#if defined(__SANITIZE_ADDRESS__)
#define end_child _exit                  /* it would look for leaks in a process with threads missing */
#else
#define end_child exit
#endif

static CUcontext context;

static bool begin(void)
{
	fake_start();
	CHECK(D->cuInit(0) == CUDA_SUCCESS);
	CHECK(D->cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
	CHECK(D->cuCtxSetCurrent(context) == CUDA_SUCCESS);
	return true;
}

static CUdeviceptr at(void *p) { return (CUdeviceptr)(uintptr_t)p; }

/* --- what is known of a block ------------------------------------------------------------------------------------- */

static const size_t sizes[] = { 1, 64, 511, 512, 1000, 1024, 4095, 4096, 5000, 70000, 131073, 1 << 20, (1 << 20) + 1,
				5 << 20 };
#define NSIZES (sizeof sizes / sizeof *sizes)

static bool known_at(CUdeviceptr p, CUdeviceptr start, size_t bytes, CUmemorytype type, bool managed)
{
	CUdeviceptr base;
	CUmemorytype got;
	size_t size;
	bool flag;
	void *host;
	CHECK(D->cuMemGetAddressRange_v2(&base, &size, p) == 0 && base == start && size == bytes);
	CHECK(D->cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p) == 0 && base == start);
	CHECK(D->cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, p) == 0 && size == bytes);
	CHECK(D->cuPointerGetAttribute(&got, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p) == 0 && got == type);
	CHECK(D->cuPointerGetAttribute(&flag, CU_POINTER_ATTRIBUTE_IS_MANAGED, p) == 0 && flag == managed);
	CHECK(D->cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, p) == 0 && at(host) == p);
	return true;
}

static bool attributes(void)
{
	void *h[NSIZES];
	CUdeviceptr m[NSIZES], d;
	unsigned flags;
	CHECK(begin());
	for (size_t i = 0; i < NSIZES; i++) {
		CHECK(D->cuMemHostAlloc(&h[i], sizes[i], i % 2 ? CU_MEMHOSTALLOC_WRITECOMBINED : 0) == 0);
		CHECK(D->cuMemAllocManaged(&m[i], sizes[i], CU_MEM_ATTACH_GLOBAL) == 0);
		CHECK(m[i] % (sizes[i] < 4096 ? 512 : 4096) == 0 && at(h[i]) % (sizes[i] < 4096 ? 64 : 4096) == 0);
		memset(h[i], (int)i, sizes[i]);
		memset((void *)(uintptr_t)m[i], (int)~i, sizes[i]);
	}
	for (size_t i = 0; i < NSIZES; i++) {
		size_t inside[] = { 0, sizes[i] / 2, sizes[i] - 1 };
		for (int k = 0; k < 3; k++) {
			CHECK(known_at(at(h[i]) + inside[k], at(h[i]), sizes[i], CU_MEMORYTYPE_HOST, false));
			CHECK(known_at(m[i] + inside[k], m[i], sizes[i], CU_MEMORYTYPE_DEVICE, true));
			CHECK(((uint8_t *)h[i])[inside[k]] == (uint8_t)i);
			CHECK(((uint8_t *)(uintptr_t)m[i])[inside[k]] == (uint8_t)~i);
		}
		CHECK(D->cuMemHostGetFlags(&flags, h[i]) == 0);
		CHECK(flags == (CU_MEMHOSTALLOC_DEVICEMAP | (i % 2 ? CU_MEMHOSTALLOC_WRITECOMBINED : 0)));
		CHECK(D->cuMemHostGetFlags(&flags, (void *)(uintptr_t)m[i]) == CUDA_ERROR_INVALID_VALUE);
		CHECK(D->cuMemHostGetDevicePointer_v2(&d, h[i], 0) == 0 && d == at(h[i]));
	}
	for (size_t i = 0; i < NSIZES; i++)
		CHECK(D->cuMemFreeHost(h[i]) == 0 && D->cuMemFree_v2(m[i]) == 0);
	return true;
}

/* Ranges of calls end where the block does, not where its neighbour in the heap does. */
static bool ranges(void)
{
	void *a, *b;
	CHECK(begin());
	CHECK(D->cuMemAllocHost_v2(&a, 2048) == 0 && D->cuMemAllocHost_v2(&b, 2048) == 0);
	CHECK(D->cuMemsetD8_v2(at(a), 1, 2048) == 0 && D->cuMemsetD8_v2(at(a) + 2000, 1, 48) == 0);
	CHECK(D->cuMemsetD8_v2(at(a), 1, 2049) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemsetD8_v2(at(a) + 2047, 1, 2) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemcpyDtoD_v2(at(b), at(a), 2048) == 0 && D->cuCtxSynchronize() == 0 && ((char *)b)[2047] == 1);
	CHECK(D->cuMemcpyDtoD_v2(at(b), at(a), 2049) == CUDA_ERROR_INVALID_VALUE);
	uint64_t segment = at(a) / SMALL_SEGMENT * SMALL_SEGMENT;       /* the heap's own data */
	CHECK(D->cuMemsetD8_v2(segment, 1, 8) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemGetAddressRange_v2(NULL, NULL, segment) == CUDA_ERROR_NOT_FOUND);
	CHECK(D->cuMemFreeHost(b) == 0 && D->cuMemsetD8_v2(at(b), 1, 8) == CUDA_ERROR_INVALID_VALUE);
	return true;
}

static bool refusals(void)
{
	void *h, *big, *other = malloc(4096), *p;
	CUdeviceptr m, d;
	unsigned flags;
	CHECK(begin());
	CHECK(D->cuMemAllocHost_v2(&h, 3000) == 0 && D->cuMemAllocHost_v2(&big, 3 * MIB) == 0);
	CHECK(D->cuMemAllocManaged(&m, 3000, CU_MEM_ATTACH_GLOBAL) == 0 && D->cuMemAlloc_v2(&d, 3000) == 0);
	void *bad[] = { (char *)h + 512, (char *)h + 1, (char *)h - 512, (char *)big + 4096, other, &flags,
			(void *)(uintptr_t)(at(h) / SMALL_SEGMENT * SMALL_SEGMENT), (void *)(uintptr_t)m,
			(void *)(uintptr_t)d, (char *)h + AG_WINDOW_BYTES };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(D->cuMemFreeHost(bad[i]) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemFree_v2(at(h)) == CUDA_ERROR_INVALID_VALUE &&
	      D->cuMemFree_v2(m + 512) == CUDA_ERROR_INVALID_VALUE);
	CHECK(D->cuMemFreeHost(h) == 0 && D->cuMemFreeHost(big) == 0 && D->cuMemFree_v2(m) == 0);
	CHECK(D->cuMemFreeHost(h) == CUDA_ERROR_INVALID_VALUE && D->cuMemFreeHost(big) == CUDA_ERROR_INVALID_VALUE &&
	      D->cuMemFree_v2(m) == CUDA_ERROR_INVALID_VALUE && D->cuMemHostGetFlags(&flags, h) != 0);
	/* The heap is none the worse. */
	for (int i = 0; i < 1000; i++)
		CHECK(D->cuMemAllocHost_v2(&p, 100 + 7 * i) == 0 && memset(p, i, 100 + 7 * i) &&
		      D->cuMemFreeHost(p) == 0);
	CHECK(D->cuMemHostAlloc(&p, 16, 0x1000) == CUDA_ERROR_INVALID_VALUE && D->cuMemHostAlloc(NULL, 16, 0) != 0);
	CHECK(D->cuMemAllocManaged(&m, 0, CU_MEM_ATTACH_GLOBAL) == CUDA_ERROR_INVALID_VALUE);
	free(other);
	return true;
}

/* --- memory ends, and comes back -----------------------------------------------------------------------------------
 */

static void *many[200000];

static bool exhaust(size_t bytes, size_t least)
{
	size_t n = 0;
	CUresult r;
	while ((r = D->cuMemAllocHost_v2(&many[n], bytes)) == 0)
		memset(many[n++], 0x5a, bytes > 64 ? 64 : bytes);
	CHECK(r == CUDA_ERROR_OUT_OF_MEMORY && n * bytes >= least);
	/* Every second one first: what stays must not be harmed by what goes. */
	for (size_t i = 0; i < n; i += 2)
		CHECK(D->cuMemFreeHost(many[i]) == 0);
	for (size_t i = 1; i < n; i += 2)
		CHECK(*(uint8_t *)many[i] == 0x5a && D->cuMemFreeHost(many[i]) == 0);
	return true;
}

static bool runs_out(void)
{
	void *p;
	CHECK(begin());
	CHECK(exhaust(MIB, FAKE_HOST / 2) && exhaust(100000, FAKE_HOST / 2) && exhaust(5000, FAKE_HOST / 4));
	/* What mimalloc held is there for one large block again. */
	CHECK(D->cuMemAllocHost_v2(&p, FAKE_HOST / 8 * 7) == 0);
	CHECK(exhaust(MIB, 2 * MIB) && D->cuMemFreeHost(p) == 0);
	CHECK(D->cuMemAllocHost_v2(&p, SIZE_MAX - 100) == CUDA_ERROR_OUT_OF_MEMORY &&
	      D->cuMemAllocHost_v2(&p, 2 * FAKE_HOST) == CUDA_ERROR_OUT_OF_MEMORY);
	return exhaust(MIB, FAKE_HOST / 2);
}

/* The end of a context frees what it had. */
static bool reset(void)
{
	void *h;
	CUdeviceptr base;
	CHECK(begin());
	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 30; i++)
			CHECK(D->cuMemAllocHost_v2(&h, 100000) == 0);
		CHECK(D->cuDevicePrimaryCtxReset_v2(0) == 0);
		CHECK(D->cuDevicePrimaryCtxRetain(&context, 0) == 0 && D->cuCtxSetCurrent(context) == 0);
		CHECK(D->cuMemGetAddressRange_v2(&base, NULL, at(h)) == CUDA_ERROR_NOT_FOUND &&
		      D->cuMemFreeHost(h) == CUDA_ERROR_INVALID_VALUE);
	}
	return true;
}

/* --- threads and forks ---------------------------------------------------------------------------------------------
 */

static void *_Atomic slot[64];
static _Atomic int wrong;

/* Takes whatever another thread left, frees it, leaves a block of its own; then ends. */
static void *pass_on(void *arg)
{
	uint32_t x = (uint32_t)(uintptr_t)arg * 2654435761u + 1;
	if (D->cuCtxSetCurrent(context))
		wrong++;
	for (int i = 0; i < 300; i++) {
		void *mine;
		x = x * 1664525u + 1013904223u;
		size_t bytes = 8 + (x >> 8) % 60000;
		if (D->cuMemAllocHost_v2(&mine, bytes)) {
			wrong++;
			continue;
		}
		memset(mine, (int)x, bytes);
		*(uint32_t *)mine = (uint32_t)bytes;
		void *old = atomic_exchange(&slot[(x >> 4) % 64], mine);
		if (!old)
			continue;
		CUdeviceptr base;
		size_t size;
		if (D->cuMemGetAddressRange_v2(&base, &size, at(old)) || size != *(uint32_t *)old ||
		    D->cuMemFreeHost(old))
			wrong++;
	}
	return NULL;
}

static bool threads(void)
{
	pthread_t t[8];
	CHECK(begin());
	for (uintptr_t round = 0; round < 4; round++) {
		for (uintptr_t i = 0; i < 8; i++)
			CHECK(pthread_create(&t[i], NULL, pass_on, (void *)(round * 8 + i)) == 0);
		for (int i = 0; i < 8; i++)
			pthread_join(t[i], NULL);
	}
	for (int i = 0; i < 64; i++)
		CHECK(!slot[i] || D->cuMemFreeHost(slot[i]) == 0);
	return wrong == 0;
}

static _Atomic bool stop;
static void *churn(void *arg)
{
	void *p;
	D->cuCtxSetCurrent(context);
	while (!stop)
		if (D->cuMemAllocHost_v2(&p, 3000) || D->cuMemFreeHost(p))
			wrong++;
	return arg;
}

/* A child shares the memory but not the session: it can neither take nor give, and its end disturbs nothing. */
static bool forks(void)
{
	pthread_t t;
	void *h, *p;
	CHECK(begin());
	CHECK(D->cuMemAllocHost_v2(&h, 4000) == 0);
	memset(h, 7, 4000);
	CHECK(pthread_create(&t, NULL, churn, NULL) == 0);
	for (int i = 0; i < 30; i++) {
		int status;
		pid_t child = fork();
		if (child == 0) {
			alarm(20);
			end_child(D->cuMemAllocHost_v2(&p, 100) == CUDA_ERROR_NOT_INITIALIZED &&
					     D->cuMemFreeHost(h) == CUDA_ERROR_NOT_INITIALIZED && ((char *)h)[3999] == 7
				     ? 0
				     : 1);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
	stop = true;
	pthread_join(t, NULL);
	CHECK(wrong == 0 && ((char *)h)[0] == 7 && D->cuMemFreeHost(h) == 0);
	CHECK(D->cuMemAllocHost_v2(&p, 100) == 0 && D->cuMemFreeHost(p) == 0);
	return true;
}

static const struct { const char *name; bool (*run)(void); } cases[] = {
	{ "attributes", attributes },
	{ "ranges", ranges },
	{ "refusals", refusals },
	{ "runs_out", runs_out },
	{ "reset", reset },
	{ "threads", threads },
	{ "forks", forks },
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
		bool ok = waitpid(child, &status, 0) == child && status == 0;
		printf(ok ? "ok pinned %s\n" : "not ok pinned %s: status %d\n", cases[i].name, status);
		failed += !ok;
	}
	return failed != 0;
}
