/* driver_nomem.c - softgpu when memory runs out: the Nth request of malloc, calloc, realloc, mmap or pthread_create
 * fails, for every N of a scenario.  Each call then succeeds or says CUDA_ERROR_OUT_OF_MEMORY, nothing is lost, and
 * the scenario works afterwards. Linked with --wrap; softgpu only. */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include "direct.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off);

static long left = -1;   /* requests until one fails; -1: none fails */
static _Thread_local int armed;

static int fails(void)
{
	return armed && left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off)
{
	return fails() ? MAP_FAILED : __real_mmap(p, n, prot, flags, fd, off);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg)
{
	return fails() ? EAGAIN : __real_pthread_create(t, a, f, arg);
}

static int failures; /* calls that failed for want of memory in this run */

static int ok(CUresult r, int line)
{
	const char *name = "?";
	if (r == CUDA_SUCCESS)
		return 1;
	cuGetErrorName(r, &name);
	if (r != CUDA_ERROR_OUT_OF_MEMORY)
		FAIL("line %d: %s", line, name);
	failures++;
	return 0;
}

#define TRY(call) ok((call), __LINE__)

static void memory(void)
{
	CUdeviceptr a, b, c, m;
	void *h;
	if (TRY(cuMemAlloc(&a, 1000))) {
		if (TRY(cuMemAlloc(&b, 5 << 20))) {
			TRY(cuMemcpyDtoD(b, a, 1000));
			TRY(cuMemsetD32(a, 1, 250));
			OK(cuCtxSynchronize());
			OK(cuMemFree(b));
		}
		OK(cuMemFree(a));
	}
	if (TRY(cuMemAllocHost(&h, 100000)))
		OK(cuMemFreeHost(h));
	if (TRY(cuMemAllocManaged(&m, 100000, CU_MEM_ATTACH_GLOBAL)))
		OK(cuMemFree(m));
	static char page[8192] __attribute__((aligned(4096)));
	if (TRY(cuMemHostRegister(page, sizeof page, 0)))
		while (!TRY(cuMemHostUnregister(page)))
			;
	if (TRY(cuMemAllocAsync(&c, 3000, NULL)))
		while (!TRY(cuMemFreeAsync(c, NULL)))
			if (TRY(cuMemFree(c)))
				break;
	OK(cuCtxSynchronize());
}

static void vmm(void)
{
	enum { G = 2 << 20 };
	CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };
	CUmemAccessDesc rw = { .location = prop.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
	CUdeviceptr w;
	CUmemGenericAllocationHandle h;
	if (!TRY(cuMemAddressReserve(&w, 16 * G, 0, 0, 0)))
		return;
	if (TRY(cuMemCreate(&h, 3 * G, &prop, 0))) {
		if (TRY(cuMemMap(w, 3 * G, 0, h, 0))) {
			if (TRY(cuMemSetAccess(w, 3 * G, &rw, 1)))
				TRY(cuMemsetD8(w, 1, 3 * G));
			OK(cuCtxSynchronize());
			while (!TRY(cuMemUnmap(w, 3 * G)))
				;
		}
		OK(cuMemRelease(h));
	}
	OK(cuMemAddressFree(w, 16 * G));
}

static void nothing(void *data)
{
	(void)data;
}

static void streams(void)
{
	CUstream s, t;
	CUevent e;
	CUdeviceptr p;
	uint32_t out[64];
	if (!TRY(cuStreamCreate(&s, 0)))
		return;
	if (TRY(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING))) {
		if (TRY(cuEventCreate(&e, 0))) {
			TRY(cuLaunchHostFunc(s, nothing, NULL));
			TRY(cuEventRecord(e, s));
			TRY(cuStreamWaitEvent(t, e, 0));
			TRY(cuEventRecord(e, t));
			OK(cuEventDestroy(e));
		}
		OK(cuStreamDestroy(t));
	}
	if (TRY(cuMemAlloc(&p, 256))) {
		TRY(cuMemsetD32Async(p, 7, 64, s));
		TRY(cuMemcpyDtoHAsync(out, p, 256, s));
		TRY(cuStreamWriteValue32(s, p, 1, 0));
		while (!TRY(cuCtxSynchronize()))
			;
		OK(cuMemFree(p));
	}
	OK(cuStreamDestroy(s));
}

static void graphs(void)
{
	CUstream s;
	CUgraph g = NULL, clone;
	CUgraphExec x;
	CUdeviceptr p;
	if (!TRY(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING)))
		return;
	if (TRY(cuMemAlloc(&p, 256))) {
		if (TRY(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED))) {
			TRY(cuMemsetD8Async(p, 1, 256, s));
			TRY(cuLaunchHostFunc(s, nothing, NULL));
			TRY(cuMemsetD8Async(p, 2, 256, s));
			if (TRY(cuStreamEndCapture(s, &g))) {
				if (TRY(cuGraphClone(&clone, g)))
					OK(cuGraphDestroy(clone));
				if (TRY(cuGraphInstantiate(&x, g, 0))) {
					TRY(cuGraphLaunch(x, s));
					OK(cuStreamSynchronize(s));
					OK(cuGraphExecDestroy(x));
				}
				OK(cuGraphDestroy(g));
			}
		}
		OK(cuMemFree(p));
	}
	OK(cuStreamDestroy(s));
}

static void contexts(void)
{
	CUcontext old, c;
	CUdeviceptr p;
	OK(cuCtxGetCurrent(&old));
	if (!TRY(cuCtxCreate(&c, NULL, 0, 0)))
		return;
	TRY(cuMemAlloc(&p, 100000));
	OK(cuCtxDestroy(c));
	OK(cuCtxSetCurrent(old));
}

static void every_failure(void (*scenario)(void))
{
	start();
	size_t before, after, total;
	scenario(); /* what is made once and kept */
	OK(cuMemGetInfo(&before, &total));
	long n = 0, found = 0;
	for (;; n++) {
		failures = 0;
		left = n;
		armed = 1;
		scenario();
		armed = 0;
		int unused = left >= 0;
		left = -1;
		found += failures;
		OK(cuMemGetInfo(&after, &total));
		if (after != before)
			FAIL("request %ld: %zd bytes of device memory lost", n, before - after);
		if (unused)
			break;
	}
	EXPECT(n > 3 && found > 2 && failures == 0);
}

#define EVERY(name) static void name##_case(void) { every_failure(name); }
EVERY(memory)
EVERY(vmm)
EVERY(streams)
EVERY(graphs)
EVERY(contexts)

static const struct test_case cases[] = {
	{ "nomem_memory", memory_case }, { "nomem_vmm", vmm_case }, { "nomem_streams", streams_case },
	{ "nomem_graphs", graphs_case }, { "nomem_contexts", contexts_case },
};

MAIN(cases)
