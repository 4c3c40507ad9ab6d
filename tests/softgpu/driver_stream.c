/* driver_stream.c - streams, events, host functions and stream memory operations: order, concurrency with the host,
 * default-stream rules. */
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include "direct.h"

static volatile uint32_t *words;      /* pinned, read and written by host and streams */
static CUdeviceptr words_at;

static void begin(void)
{
	void *p;
	start();
	OK(cuMemAllocHost(&p, 4096));
	memset(p, 0, 4096);
	words = p;
	words_at = (CUdeviceptr)(uintptr_t)p;
}

static void host_runs_on(void)
{
	begin();
	CUstream s;
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuStreamWaitValue32(s, words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
	OK(cuStreamWriteValue32(s, words_at + 4, 7, 0));
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
	EXPECT(words[1] == 0);
	words[0] = 1;
	OK(cuStreamSynchronize(s));
	EXPECT(words[1] == 7);
	OK(cuStreamQuery(s));
	OK(cuStreamDestroy(s));
	GIVES(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(NULL, NULL));
}

static void events(void)
{
	begin();
	CUstream a, b;
	CUevent e, f, untimed;
	float ms = -1;
	OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	OK(cuEventCreate(&e, 0));
	OK(cuEventCreate(&f, 0));
	OK(cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
	OK(cuEventQuery(e));
	OK(cuEventSynchronize(e));
	GIVES(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, e, f));
	OK(cuStreamWaitValue32(a, words_at, 1, CU_STREAM_WAIT_VALUE_GEQ));
	OK(cuEventRecord(e, a));
	OK(cuStreamWaitEvent(b, e, 0));
	OK(cuStreamWriteValue32(b, words_at + 4, 5, 0));
	OK(cuEventRecord(f, b));
	GIVES(CUDA_ERROR_NOT_READY, cuEventQuery(e));
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(b));
	GIVES(CUDA_ERROR_NOT_READY, cuEventElapsedTime(&ms, e, f));
	usleep(20000);
	EXPECT(words[1] == 0);
	words[0] = 1;
	OK(cuEventSynchronize(f));
	EXPECT(words[1] == 5);
	OK(cuEventElapsedTime(&ms, e, f));
	EXPECT(ms >= 0 && ms < 1000);
	OK(cuEventRecord(untimed, a));
	OK(cuEventSynchronize(untimed));
	GIVES(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, e, untimed));
	/* recording again forgets the first record; destruction while pending is fine */
	words[0] = 0;
	OK(cuStreamWaitValue32(a, words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
	OK(cuEventRecord(e, a));
	OK(cuStreamWaitEvent(b, e, 0));
	OK(cuEventDestroy(e));
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(b));
	words[0] = 1;
	OK(cuStreamSynchronize(b));
	OK(cuStreamDestroy(a));
	OK(cuStreamDestroy(b));
}

static void elapsed_time_is_real(void)
{
	begin();
	CUevent e, f;
	float ms;
	OK(cuEventCreate(&e, 0));
	OK(cuEventCreate(&f, 0));
	CUstream s;
	OK(cuStreamCreate(&s, 0));
	OK(cuEventRecord(e, s));
	OK(cuStreamWaitValue32(s, words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
	OK(cuEventRecord(f, s));
	usleep(50000);
	words[0] = 1;
	OK(cuEventSynchronize(f));
	OK(cuEventElapsedTime(&ms, e, f));
	EXPECT(ms > 45 && ms < 5000);
}

static void legacy_stream_orders(void)
{
	begin();
	CUstream blocking, free_one;
	OK(cuStreamCreate(&blocking, 0));
	OK(cuStreamCreate(&free_one, CU_STREAM_NON_BLOCKING));
	/* blocking stream -> legacy stream -> blocking stream; the non-blocking one goes its way */
	OK(cuStreamWaitValue32(blocking, words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
	OK(cuStreamWriteValue32(NULL, words_at + 4, 1, 0));
	CUstream second;
	OK(cuStreamCreate(&second, 0));
	OK(cuStreamWriteValue32(second, words_at + 8, 1, 0));
	OK(cuStreamWriteValue32(free_one, words_at + 12, 1, 0));
	OK(cuStreamSynchronize(free_one));
	EXPECT(words[3] == 1);
	usleep(20000);
	EXPECT(words[1] == 0 && words[2] == 0);
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(NULL));
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(second));
	words[0] = 1;
	OK(cuStreamSynchronize(second));
	EXPECT(words[1] == 1 && words[2] == 1);
}

static void sync_copy_waits_for_blocking_streams(void)
{
	begin();
	CUstream s;
	CUdeviceptr d;
	uint32_t out = 0;
	OK(cuMemAlloc(&d, 4));
	OK(cuStreamCreate(&s, 0));
	OK(cuMemsetD32Async(d, 1, 1, s));
	OK(cuStreamWaitValue32(s, words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
	OK(cuMemsetD32Async(d, 2, 1, s));
	OK(cuStreamWriteValue32(s, words_at + 4, 9, 0));
	words[0] = 1;
	OK(cuMemcpyDtoH(&out, d, 4));
	EXPECT(out == 2 && words[1] == 9);
}

static void *other_thread(void *arg)
{
	CUcontext c = arg;
	if (cuCtxSetCurrent(c) || cuStreamWriteValue32(CU_STREAM_PER_THREAD, words_at + 4, 3, 0))
		return "failed";
	return cuStreamSynchronize(CU_STREAM_PER_THREAD) ? "failed" : NULL;
}

static void per_thread_streams(void)
{
	begin();
	CUcontext c;
	pthread_t t;
	void *result;
	OK(cuCtxGetCurrent(&c));
	OK(cuStreamWaitValue32(CU_STREAM_PER_THREAD, words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
	pthread_create(&t, NULL, other_thread, c);
	pthread_join(t, &result);
	EXPECT(result == NULL && words[1] == 3);
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(CU_STREAM_PER_THREAD));
	words[0] = 1;
	OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
}

#ifdef SOFT_DIRECT
static void nothing(void *data)
{
	(void)data;
}

static void *short_thread(void *arg)
{
	if (cuCtxSetCurrent(arg) || cuLaunchHostFunc(CU_STREAM_PER_THREAD, nothing, NULL))
		return "failed";
	return NULL;
}

static int thread_count(void)
{
	char line[256];
	int n = -1;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "Threads: %d", &n);
	if (f)
		fclose(f);
	return n;
}

/* Host threads come and go; what softgpu keeps for them goes too, after its work. */
static void per_thread_streams_end(void)
{
	begin();
	CUcontext c;
	OK(cuCtxGetCurrent(&c));
	for (int i = 0; i < 50; i++) {
		pthread_t t;
		void *result;
		pthread_create(&t, NULL, short_thread, c);
		pthread_join(t, &result);
		EXPECT(result == NULL);
	}
	OK(cuCtxSynchronize());
	double limit = test_seconds() + 5;
	while (thread_count() > 5 && test_seconds() < limit)
		usleep(1000);
	EXPECT(thread_count() <= 5);
}
#endif

static CUresult inner = CUDA_SUCCESS;
static int order[4], called;

static void note(void *data)
{
	size_t n;
	order[called++] = (int)(intptr_t)data;
	inner = cuMemGetInfo(&n, &n);
}

static void note_status(CUstream s, CUresult status, void *data)
{
	(void)s;
	order[called++] = status == CUDA_SUCCESS ? (int)(intptr_t)data : -1;
}

static void host_functions(void)
{
	begin();
	CUstream s;
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuStreamWaitValue32(s, words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
	OK(cuLaunchHostFunc(s, note, (void *)1));
	OK(cuStreamAddCallback(s, note_status, (void *)2, 0));
	OK(cuLaunchHostFunc(s, note, (void *)3));
	EXPECT(called == 0);
	words[0] = 1;
	OK(cuStreamSynchronize(s));
	EXPECT(called == 3 && order[0] == 1 && order[1] == 2 && order[2] == 3);
	EXPECT(inner == CUDA_ERROR_NOT_PERMITTED);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchHostFunc(s, NULL, NULL));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuStreamAddCallback(s, note_status, NULL, 5));
}

static void wait_conditions(void)
{
	begin();
	CUstream s;
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	static const struct { unsigned flags; uint32_t value, no, yes; } t[] = {
		{ CU_STREAM_WAIT_VALUE_GEQ, 5, 4, 6 }, { CU_STREAM_WAIT_VALUE_GEQ, 2, 0xfffffff0u, 3 },
		{ CU_STREAM_WAIT_VALUE_EQ, 5, 6, 5 }, { CU_STREAM_WAIT_VALUE_AND, 6, 9, 10 },
		{ CU_STREAM_WAIT_VALUE_NOR, 0xfffffff0u, 0xf, 0x7 },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		words[0] = t[i].no;
		OK(cuStreamWaitValue32(s, words_at, t[i].value, t[i].flags));
		usleep(3000);
		GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
		words[0] = t[i].yes;
		OK(cuStreamSynchronize(s));
	}
	volatile uint64_t *wide = (volatile uint64_t *)words;
	wide[0] = 1ull << 40;
	OK(cuStreamWaitValue64(s, words_at, (1ull << 40) + 1, CU_STREAM_WAIT_VALUE_GEQ));
	OK(cuStreamWriteValue64(s, words_at + 8, 0x123456789abcdefull, 0));
	wide[0] = 1ull << 41;
	OK(cuStreamSynchronize(s));
	EXPECT(wide[1] == 0x123456789abcdefull);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue32(s, words_at + 2, 0, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue64(s, words_at + 4, 0, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue32(s, 0x1000, 0, 0));
	CUstreamBatchMemOpParams b[3];
	memset(b, 0, sizeof b);
	b[0].writeValue = (struct CUstreamMemOpWriteValueParams_st){ .operation = CU_STREAM_MEM_OP_WRITE_VALUE_32,
		.address = words_at + 32, .value = 11 };
	b[1].waitValue = (struct CUstreamMemOpWaitValueParams_st){ .operation = CU_STREAM_MEM_OP_WAIT_VALUE_32,
		.address = words_at + 32, .value = 11, .flags = CU_STREAM_WAIT_VALUE_EQ };
	b[2].writeValue = (struct CUstreamMemOpWriteValueParams_st){ .operation = CU_STREAM_MEM_OP_WRITE_VALUE_64,
		.address = words_at + 40, .value64 = 12 };
	OK(cuStreamBatchMemOp(s, 3, b, 0));
	OK(cuStreamSynchronize(s));
	EXPECT(words[8] == 11 && words[10] == 12);
	b[0].operation = 99;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp(s, 3, b, 0));
}

#ifdef SOFT_DIRECT
static void *sleeper(void *arg)
{
	(void)arg;
	struct timespec limit = { 20, 0 };
	while (words[1] == 0)
		if (syscall(SYS_futex, &words[1], FUTEX_WAIT, 0, &limit, NULL, 0) < 0 && words[1] == 0)
			return "nobody woke";
	return NULL;
}

/* A completion word wakes whoever sleeps on it, in another process too: no private futex. */
static void write_wakes_futex(void)
{
	begin();
	pthread_t t;
	void *result;
	CUstream s;
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	pthread_create(&t, NULL, sleeper, NULL);
	usleep(20000);
	double from = test_seconds();
	OK(cuStreamWriteValue64(s, words_at, 1ull << 32, 0));
	OK(cuStreamWriteValue32(s, words_at + 4, 1, 0));
	pthread_join(t, &result);
	EXPECT(result == NULL && test_seconds() - from < 2);
}
#endif

static void many_streams(void)
{
	begin();
	enum { COUNT = 100 };
	CUstream s[COUNT];
	for (int i = 0; i < COUNT; i++) {
		OK(cuStreamCreateWithPriority(&s[i], CU_STREAM_NON_BLOCKING, -(i % 6)));
		OK(cuStreamWaitValue32(s[i], words_at, 1, CU_STREAM_WAIT_VALUE_EQ));
		OK(cuStreamWriteValue32(s[i], words_at + 16 + 4 * (CUdeviceptr)i, 1, 0));
	}
	int priority;
	OK(cuStreamGetPriority(s[4], &priority));
	EXPECT(priority == -4);
	for (int i = 0; i < COUNT; i += 2) /* destroyed streams finish their work */
		OK(cuStreamDestroy(s[i]));
	words[0] = 1;
	double limit = test_seconds() + 10;
	for (int i = 1; i < COUNT; i += 2)
		OK(cuStreamSynchronize(s[i]));
	for (int i = 0; i < COUNT; i++) {
		while (!words[4 + i] && test_seconds() < limit)
			usleep(1000);
		EXPECT(words[4 + i] == 1);
	}
	GIVES(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(&s[0], 8));
}

struct hammer { CUcontext c; int id; const char *error; };

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	CUstream s;
	CUevent e;
	CUdeviceptr d;
	h->error = "setup";
	if (cuCtxSetCurrent(h->c) || cuStreamCreate(&s, h->id % 2) || cuEventCreate(&e, 0))
		return NULL;
	for (uint32_t i = 0; i < 300; i++) {
		uint32_t out[64] = { 0 };
		h->error = "call";
		if (cuMemAlloc(&d, 256) || cuMemsetD32Async(d, i, 64, s) || cuEventRecord(e, s) ||
				cuMemcpyDtoHAsync(out, d, 256, s) || cuStreamSynchronize(s) || cuEventSynchronize(e))
			return NULL;
		h->error = "value";
		if (out[0] != i || out[63] != i)
			return NULL;
		h->error = "free";
		if (cuMemFree(d))
			return NULL;
	}
	h->error = cuEventDestroy(e) || cuStreamDestroy(s) ? "destroy" : NULL;
	return NULL;
}

static void threads(void)
{
	CUcontext c = start();
	pthread_t t[8];
	struct hammer h[8];
	for (int i = 0; i < 8; i++) {
		h[i] = (struct hammer){ c, i, NULL };
		pthread_create(&t[i], NULL, hammer, &h[i]);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		if (h[i].error)
			FAIL("thread %d: %s", i, h[i].error);
	}
}

/* --- everything at once ---
 *
 * Threads create and destroy streams, events, allocations and mappings, order their streams after each other through
 * shared events, and check what they wrote. */

enum { RACERS = 6, ROUNDS = 120, GRANULE = 2 << 20 };

static CUevent shared_events[RACERS];

static void add_one(void *data)
{
	__atomic_fetch_add((int *)data, 1, __ATOMIC_RELAXED);
}

static int mapping_round(uint32_t value, CUstream s)
{
	CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };
	CUmemAccessDesc rw = { .location = prop.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
	CUmemGenericAllocationHandle h;
	CUdeviceptr w;
	uint32_t out = 0;
	if (cuMemAddressReserve(&w, 4 * GRANULE, 0, 0, 0) || cuMemCreate(&h, GRANULE, &prop, 0) ||
			cuMemMap(w + GRANULE, GRANULE, 0, h, 0) || cuMemSetAccess(w + GRANULE, GRANULE, &rw, 1))
		return 1;
	if (cuMemsetD32Async(w + GRANULE + 4096, value, 64, s) || cuMemcpyDtoHAsync(&out, w + GRANULE + 4100, 4, s))
		return 2;
	if (cuStreamSynchronize(s) || out != value || cuMemUnmap(w + GRANULE, GRANULE) || cuMemRelease(h))
		return 3;
	return cuMemAddressFree(w, 4 * GRANULE) ? 4 : 0;
}

static void *racer(void *arg)
{
	struct hammer *h = arg;
	static const char *const steps[] = { "", "map", "copy", "unmap", "address" };
	h->error = "context";
	if (cuCtxSetCurrent(h->c))
		return NULL;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		CUstream s;
		CUevent e;
		int count = 0, step;
		h->error = "round";
		if (cuStreamCreate(&s, i & 1 ? CU_STREAM_NON_BLOCKING : 0) ||
		    cuEventCreate(&e, CU_EVENT_DISABLE_TIMING) ||
		    cuStreamWaitEvent(s, shared_events[(h->id + i) % RACERS], 0) ||
		    cuLaunchHostFunc(s, add_one, &count) || cuEventRecord(shared_events[h->id], s) ||
		    cuEventRecord(e, s))
			return NULL;
		step = mapping_round(i * 64 + (uint32_t)h->id, s);
		h->error = steps[step];
		if (step)
			return NULL;
		h->error = "host function";
		if (cuLaunchHostFunc(s, add_one, &count) || cuStreamDestroy(s) || cuEventSynchronize(e) ||
		    cuEventDestroy(e) || __atomic_load_n(&count, __ATOMIC_RELAXED) < 1)
			return NULL;
		h->error = "synchronize";
		if (cuCtxSynchronize() || __atomic_load_n(&count, __ATOMIC_RELAXED) != 2)
			return NULL;
	}
	h->error = NULL;
	return NULL;
}

static void race(void)
{
	CUcontext c = start();
	pthread_t t[RACERS];
	struct hammer h[RACERS];
	size_t before, after, total;
	OK(cuMemGetInfo(&before, &total));
	for (int i = 0; i < RACERS; i++)
		OK(cuEventCreate(&shared_events[i], CU_EVENT_DISABLE_TIMING));
	for (int i = 0; i < RACERS; i++) {
		h[i] = (struct hammer){ c, i, NULL };
		pthread_create(&t[i], NULL, racer, &h[i]);
	}
	for (int i = 0; i < RACERS; i++) {
		pthread_join(t[i], NULL);
		if (h[i].error)
			FAIL("thread %d: %s", i, h[i].error);
	}
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before == after);
}

#ifdef SOFT_DIRECT
static volatile int over;

static void *user_of_context(void *arg)
{
	uint32_t out[256];
	while (!over) {
		CUdeviceptr p;
		CUstream s;
		if (cuCtxSetCurrent(arg) || cuMemAlloc(&p, sizeof out))
			continue;
		if (!cuStreamCreate(&s, 0)) {
			cuMemsetD32Async(p, 5, 256, s);
			cuLaunchHostFunc(s, nothing, NULL);
			cuMemcpyDtoHAsync(out, p, sizeof out, s);
			cuStreamSynchronize(s);
			cuStreamDestroy(s);
		}
		cuMemFree(p);
	}
	return NULL;
}

/* A worker resets its context while other threads are inside calls: they get errors, nothing else. */
static void reset_under_load(void)
{
	CUcontext c = start(), again;
	pthread_t t[4];
	CUdeviceptr p;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, user_of_context, c);
	for (int i = 0; i < 30; i++) {
		usleep(5000);
		OK(cuDevicePrimaryCtxReset(0));
		OK(cuDevicePrimaryCtxRetain(&again, 0));
		EXPECT(again == c);
	}
	over = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	OK(cuDevicePrimaryCtxReset(0));
	OK(cuDevicePrimaryCtxRetain(&c, 0));
	OK(cuCtxSetCurrent(c));
	size_t n, total;
	OK(cuMemGetInfo(&n, &total));
	EXPECT(n == total);
	OK(cuMemAlloc(&p, 4096));
	OK(cuMemsetD8(p, 1, 4096));
	OK(cuCtxSynchronize());
}
#endif

static const struct test_case cases[] = {
	{ "host_runs_on", host_runs_on }, { "events", events }, { "elapsed_time_is_real", elapsed_time_is_real },
	{ "legacy_stream_orders", legacy_stream_orders },
	{ "sync_copy_waits_for_blocking_streams", sync_copy_waits_for_blocking_streams },
	{ "per_thread_streams", per_thread_streams }, { "host_functions", host_functions },
	{ "wait_conditions", wait_conditions },
#ifdef SOFT_DIRECT
	{ "write_wakes_futex", write_wakes_futex }, { "reset_under_load", reset_under_load },
	{ "per_thread_streams_end", per_thread_streams_end },
#endif
	{ "many_streams", many_streams }, { "threads", threads }, { "race", race },
};

MAIN(cases)
