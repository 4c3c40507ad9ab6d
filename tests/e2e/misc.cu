/* misc.cu - what programs call besides launching and copying: limits, priorities, managed memory's advice, peers, host
 * registration, configuration hints, entry points by name, launch attributes, event flags, and how errors are kept. */
#include "check.h"
#include <cuda.h>
#include <cuda_profiler_api.h>
#include <thread>
#include <vector>

__global__ void add(int *p, int v, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) p[i] += v;
}

enum { N = 1 << 16, BYTES = N * 4 };

/* The error must not reach the next case. */
#define FAILS(name, call) do { e2e_case(name, (call) != cudaSuccess, "succeeded"); cudaGetLastError(); } while (0)
#define FAILS_WITH(name, want, call) do { GIVES(name, want, call); cudaGetLastError(); } while (0)

static bool all(const int *p, int want)
{
	std::vector<int> h(N);
	MUST(cudaMemcpy(h.data(), p, BYTES, cudaMemcpyDefault));
	for (int v : h)
		if (v != want) return false;
	return true;
}

static void limits()
{
	size_t v = 0;
	struct { const char *name; cudaLimit limit; size_t value; } rows[] = {
		{ "stack limit", cudaLimitStackSize, 4096 },
		{ "printf limit", cudaLimitPrintfFifoSize, 4 << 20 },
		{ "heap limit", cudaLimitMallocHeapSize, 16 << 20 },
	};
	for (auto &r : rows) {
		MUST(cudaDeviceGetLimit(&v, r.limit));
		bool has = v > 0;
		MUST(cudaDeviceSetLimit(r.limit, r.value));
		MUST(cudaDeviceGetLimit(&v, r.limit));
		e2e_case(r.name, has && v >= r.value);
	}
	FAILS("no such limit", cudaDeviceSetLimit((cudaLimit)99, 1));
	FAILS("no such limit to get", cudaDeviceGetLimit(&v, (cudaLimit)99));
}

static void priorities()
{
	int least = -100, greatest = 100, p;
	unsigned flags;
	unsigned long long id, id2;
	cudaStream_t s, t;
	MUST(cudaDeviceGetStreamPriorityRange(&least, &greatest));
	e2e_case("priority range", greatest <= least && least == 0);
	MUST(cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, greatest));
	MUST(cudaStreamCreateWithPriority(&t, cudaStreamDefault, greatest - 10));
	MUST(cudaStreamGetPriority(s, &p));
	e2e_case("priority as asked", p == greatest);
	MUST(cudaStreamGetPriority(t, &p));
	e2e_case("priority within its range", p == greatest);
	MUST(cudaStreamGetFlags(s, &flags));
	e2e_case("stream flags", flags == cudaStreamNonBlocking);
	MUST(cudaStreamGetId(s, &id));
	MUST(cudaStreamGetId(t, &id2));
	e2e_case("stream ids differ", id != id2);
	FAILS_WITH("stream flag that does not exist", cudaErrorInvalidValue, cudaStreamCreateWithFlags(&t, 0x80));
	MUST(cudaStreamDestroy(s));
	MUST(cudaStreamDestroy(t));
}

static void managed()
{
	int *p, *d, what = -7;
	cudaStream_t s;
	cudaMemLocation dev = { cudaMemLocationTypeDevice, 0 }, host = { cudaMemLocationTypeHost, 0 };
	MUST(cudaStreamCreate(&s));
	MUST(cudaMallocManaged(&p, BYTES, cudaMemAttachHost));
	for (int i = 0; i < N; i++) p[i] = 1;
	MUST(cudaStreamAttachMemAsync(s, p, 0, cudaMemAttachSingle));
	MUST(cudaStreamSynchronize(s));
	add<<<N / 256, 256, 0, s>>>(p, 2, N);
	MUST(cudaStreamSynchronize(s));
	e2e_case("memory attached to a stream", p[0] == 3 && p[N - 1] == 3);
	MUST(cudaStreamAttachMemAsync(s, p, 0, cudaMemAttachGlobal));
	MUST(cudaMemPrefetchAsync(p, BYTES, dev, 0, s));
	add<<<N / 256, 256, 0, s>>>(p, 2, N);
	MUST(cudaMemPrefetchAsync(p, BYTES, host, 0, s));
	MUST(cudaStreamSynchronize(s));
	e2e_case("prefetched there and back", p[0] == 5 && p[N - 1] == 5);
	MUST(cudaMemAdvise(p, BYTES, cudaMemAdviseSetReadMostly, dev));
	MUST(cudaMemRangeGetAttribute(&what, 4, cudaMemRangeAttributeReadMostly, p, BYTES));
	e2e_case("mostly read", what == 1);
	MUST(cudaMemAdvise(p, BYTES, cudaMemAdviseUnsetReadMostly, dev));
	MUST(cudaMemRangeGetAttribute(&what, 4, cudaMemRangeAttributeReadMostly, p, BYTES));
	e2e_case("no longer mostly read", what == 0);
	MUST(cudaMemAdvise(p, BYTES, cudaMemAdviseSetPreferredLocation, dev));
	MUST(cudaMemRangeGetAttribute(&what, 4, cudaMemRangeAttributePreferredLocation, p, BYTES));
	e2e_case("preferred on the device", what == 0);
	MUST(cudaMemAdvise(p, BYTES, cudaMemAdviseUnsetPreferredLocation, dev));
	MUST(cudaMemAdvise(p, BYTES, cudaMemAdviseSetAccessedBy, dev));
	add<<<N / 256, 256, 0, s>>>(p, 1, N);
	MUST(cudaStreamSynchronize(s));
	e2e_case("advice changes no value", p[1] == 6);
	MUST(cudaMalloc(&d, BYTES));
	FAILS_WITH("no prefetch of device memory", cudaErrorInvalidValue, cudaMemPrefetchAsync(d, BYTES, dev, 0, s));
	FAILS_WITH("no advice of nothing", cudaErrorInvalidValue, cudaMemAdvise(p, 0, cudaMemAdviseSetReadMostly, dev));
	int *none = d;
	e2e_case("managed memory of nothing", cudaMallocManaged(&none, 0) == cudaSuccess);
	FAILS_WITH("no such kind of managed memory", cudaErrorInvalidValue, cudaMallocManaged(&d, 64, 0x80));
	MUST(cudaFree(d));
	MUST(cudaFree(p));
	MUST(cudaStreamDestroy(s));
}

static void peers()
{
	int *a, *b, can = -1, n;
	MUST(cudaGetDeviceCount(&n));
	MUST(cudaDeviceCanAccessPeer(&can, 0, 0));
	e2e_case("no device is its own peer", can == 0);
	FAILS_WITH("peer that does not exist", cudaErrorInvalidDevice, cudaDeviceCanAccessPeer(&can, 0, n));
	FAILS("access to oneself", cudaDeviceEnablePeerAccess(0, 0));
	FAILS("access to nobody", cudaDeviceEnablePeerAccess(n, 0));
	FAILS("end of access that never began", cudaDeviceDisablePeerAccess(0));
	MUST(cudaMalloc(&a, BYTES));
	MUST(cudaMalloc(&b, BYTES));
	MUST(cudaMemset(a, 0, BYTES));
	add<<<N / 256, 256>>>(a, 77, N);
	MUST(cudaMemcpyPeer(b, 0, a, 0, BYTES));
	e2e_case("copy between peers that are one", all(b, 77));
	MUST(cudaMemset(b, 0, BYTES));
	MUST(cudaMemcpyPeerAsync(b, 0, a, 0, BYTES, 0));
	MUST(cudaDeviceSynchronize());
	e2e_case("asynchronous copy between peers", all(b, 77));
	FAILS_WITH("copy to a peer that does not exist", cudaErrorInvalidDevice, cudaMemcpyPeer(b, n, a, 0, BYTES));
	MUST(cudaFree(a));
	MUST(cudaFree(b));
}

static void registration()
{
	int *p = (int *)aligned_alloc(4096, BYTES), *d, *q;
	unsigned flags = 0;
	cudaPointerAttributes a;
	int *dev;
	MUST(cudaMalloc(&dev, BYTES));
	for (unsigned f : { cudaHostRegisterDefault, cudaHostRegisterPortable }) {
		for (int i = 0; i < N; i++) p[i] = 3;
		MUST(cudaHostRegister(p, BYTES, f));
		MUST(cudaPointerGetAttributes(&a, p));
		MUST(cudaHostGetFlags(&flags, p));
		e2e_case("registered memory is the host's", a.type == cudaMemoryTypeHost && a.hostPointer == p);
		FAILS_WITH("registered twice", cudaErrorHostMemoryAlreadyRegistered, cudaHostRegister(p, BYTES, f));
		MUST(cudaMemcpyAsync(dev, p, BYTES, cudaMemcpyHostToDevice, 0));
		add<<<N / 256, 256>>>(dev, 4, N);
		MUST(cudaMemcpyAsync(p, dev, BYTES, cudaMemcpyDeviceToHost, 0));
		MUST(cudaDeviceSynchronize());
		e2e_case("copies of registered memory", p[0] == 7 && p[N - 1] == 7);
		MUST(cudaHostUnregister(p));
	}
	MUST(cudaFree(dev));
	FAILS_WITH("registered no longer", cudaErrorHostMemoryNotRegistered, cudaHostUnregister(p));
	FAILS_WITH("registered with a flag that does not exist", cudaErrorInvalidValue, cudaHostRegister(p, BYTES,
		0x1000));
	FAILS_WITH("registered at no length", cudaErrorInvalidValue, cudaHostRegister(p, 0, 0));
	free(p);
	for (unsigned f : { cudaHostAllocDefault, cudaHostAllocPortable, cudaHostAllocMapped,
		cudaHostAllocWriteCombined }) {
		MUST(cudaHostAlloc(&q, BYTES, f));
		memset(q, 0, BYTES);
		MUST(cudaHostGetDevicePointer(&d, q, 0));
		add<<<N / 256, 256>>>(d, 5, N);
		MUST(cudaDeviceSynchronize());
		char name[40];
		snprintf(name, sizeof name, "allocated with flags %u", f);
		e2e_case(name, q[0] == 5 && q[N - 1] == 5);
		MUST(cudaFreeHost(q));
	}
	FAILS_WITH("allocated with a flag that does not exist", cudaErrorInvalidValue, cudaHostAlloc(&q, BYTES,
		0x1000));
}

static void hints()
{
	cudaFuncAttributes a;
	const char *name = NULL;
	size_t bytes = 0, at = 99;
	for (cudaFuncCache c : { cudaFuncCachePreferNone, cudaFuncCachePreferShared, cudaFuncCachePreferL1,
		     cudaFuncCachePreferEqual }) {
		MUST(cudaFuncSetCacheConfig(add, c));
		MUST(cudaDeviceSetCacheConfig(c));
	}
	MUST(cudaFuncSetAttribute(add, cudaFuncAttributePreferredSharedMemoryCarveout, 50));
	MUST(cudaFuncGetAttributes(&a, add));
	e2e_case("carveout as set", a.preferredShmemCarveout == 50);
	FAILS_WITH("attribute that does not exist", cudaErrorInvalidValue,
		cudaFuncSetAttribute(add, (cudaFuncAttribute)99, 1));
	MUST(cudaFuncGetName(&name, (const void *)add));
	e2e_case("name of a kernel", name && strstr(name, "add"));
	MUST(cudaFuncGetParamInfo((const void *)add, 1, &at, &bytes));
	e2e_case("second parameter of a kernel", at == 8 && bytes == 4);
	MUST(cudaOccupancyAvailableDynamicSMemPerBlock(&bytes, add, 1, 256));
	e2e_case("shared memory left for one block", bytes >= 48 << 10);
	MUST(cudaProfilerStart());
	MUST(cudaProfilerStop());
	char bus[32];
	int v = -1;
	MUST(cudaDeviceGetPCIBusId(bus, sizeof bus, 0));
	MUST(cudaDeviceGetByPCIBusId(&v, bus));
	e2e_case("device by its bus id", v == 0);
	FAILS_WITH("device attribute that does not exist", cudaErrorInvalidValue,
		cudaDeviceGetAttribute(&v, (cudaDeviceAttr)9999, 0));
	FAILS_WITH("attribute of a device that does not exist", cudaErrorInvalidDevice,
		cudaDeviceGetAttribute(&v, cudaDevAttrWarpSize, 4711));
}

static void entry_points()
{
	void *f = NULL;
	cudaDriverEntryPointQueryResult q;
	MUST(cudaGetDriverEntryPointByVersion("cuMemsetD32Async", &f, 12000, cudaEnableDefault, &q));
	int *p;
	MUST(cudaMalloc(&p, BYTES));
	bool ok = f && q == cudaDriverEntryPointSuccess &&
		((CUresult (*)(CUdeviceptr, unsigned, size_t, CUstream))f)((CUdeviceptr)p, 9, N, NULL) == CUDA_SUCCESS;
	e2e_case("an entry point by name works", ok && all(p, 9));
	MUST(cudaGetDriverEntryPointByVersion("cuNoSuchThing", &f, 12000, cudaEnableDefault, &q));
	e2e_case("a name that does not exist", q == cudaDriverEntryPointSymbolNotFound && f == NULL);
	MUST(cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &f, 12000, cudaEnableDefault, &q));
	CUcontext ctx = NULL;
	e2e_case("the Runtime's context is current", f && ((CUresult (*)(CUcontext *))f)(&ctx) == CUDA_SUCCESS && ctx);
	MUST(cudaFree(p));
}

static void attributes()
{
	int *p, v = 3, n = N;
	cudaStream_t s;
	MUST(cudaStreamCreate(&s));
	MUST(cudaMalloc(&p, BYTES));
	MUST(cudaMemset(p, 0, BYTES));
	cudaLaunchConfig_t c = {};
	cudaLaunchAttribute at[2] = {};
	c.gridDim = dim3(N / 256), c.blockDim = dim3(256), c.stream = s, c.attrs = at;
	void *args[] = { &p, &v, &n };
	MUST(cudaLaunchKernelExC(&c, (const void *)add, args));
	at[0].id = cudaLaunchAttributePriority, at[0].val.priority = 0;
	c.numAttrs = 1;
	MUST(cudaLaunchKernelExC(&c, (const void *)add, args));
	MUST(cudaLaunchKernelEx(&c, add, p, 1, (int)N));
	at[0].id = cudaLaunchAttributeProgrammaticStreamSerialization,
		at[0].val.programmaticStreamSerializationAllowed = 1;
	MUST(cudaLaunchKernelExC(&c, (const void *)add, args));
	at[0].id = cudaLaunchAttributeCooperative, at[0].val.cooperative = 1;
	c.gridDim = dim3(4), n = 1024;
	MUST(cudaLaunchKernelExC(&c, (const void *)add, args));
	MUST(cudaStreamSynchronize(s));
	int h[2];
	MUST(cudaMemcpy(h, p + 1023, 8, cudaMemcpyDeviceToHost));
	e2e_case("launches with attributes", h[0] == 13 && h[1] == 10);
	FAILS("launch of no kernel", cudaLaunchKernelExC(&c, NULL, args));
	MUST(cudaLaunchKernel((const void *)add, dim3(N / 256), dim3(256), (n = N, args), 0, s));
	MUST(cudaStreamSynchronize(s));
	MUST(cudaMemcpy(h, p + 1023, 8, cudaMemcpyDeviceToHost));
	e2e_case("launch by hand", h[0] == 16 && h[1] == 13);
	MUST(cudaFree(p));
	MUST(cudaStreamDestroy(s));
}

static void events()
{
	cudaEvent_t e, f;
	float ms;
	for (unsigned flags : { cudaEventDefault, cudaEventBlockingSync, cudaEventDisableTiming,
		     cudaEventBlockingSync | cudaEventDisableTiming }) {
		MUST(cudaEventCreateWithFlags(&e, flags));
		bool fresh = cudaEventQuery(e) == cudaSuccess;
		MUST(cudaEventRecord(e));
		MUST(cudaEventSynchronize(e));
		e2e_case("event of some flags", fresh && cudaEventQuery(e) == cudaSuccess);
		MUST(cudaEventDestroy(e));
	}
	FAILS_WITH("event flag that does not exist", cudaErrorInvalidValue, cudaEventCreateWithFlags(&e, 0x80));
	FAILS_WITH("shared event with times", cudaErrorInvalidValue, cudaEventCreateWithFlags(&e,
		cudaEventInterprocess));
	MUST(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
	MUST(cudaEventCreate(&f));
	MUST(cudaEventRecord(e));
	MUST(cudaEventRecord(f));
	MUST(cudaEventSynchronize(f));
	FAILS_WITH("time of an event without", cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, e, f));
	MUST(cudaEventDestroy(e));
	MUST(cudaEventRecord(f));
	MUST(cudaEventDestroy(f));
	MUST(cudaDeviceSynchronize());
}

static void errors()
{
	void *p;
	int *q;
	GIVES("too much memory", cudaErrorMemoryAllocation, cudaMalloc(&p, 1ull << 46));
	GIVES("it is remembered", cudaErrorMemoryAllocation, cudaPeekAtLastError());
	MUST(cudaMalloc(&q, BYTES));
	GIVES("also over calls that succeed", cudaErrorMemoryAllocation, cudaPeekAtLastError());
	cudaError_t other = cudaErrorUnknown;
	std::thread([&] { other = cudaGetLastError(); }).join();
	e2e_case("each thread remembers its own", other == cudaSuccess);
	GIVES("until it is asked", cudaErrorMemoryAllocation, cudaGetLastError());
	GIVES("once", cudaSuccess, cudaGetLastError());
	FAILS_WITH("nothing to free", cudaErrorInvalidValue, cudaFree((char *)q + 4));
	FAILS_WITH("nowhere to copy to", cudaErrorInvalidValue, cudaMemcpy(NULL, q, 4, cudaMemcpyDeviceToHost));
	FAILS_WITH("no such direction", cudaErrorInvalidMemcpyDirection, cudaMemcpy(q, q, 4, (cudaMemcpyKind)9));
	FAILS_WITH("narrow pitch", cudaErrorInvalidPitchValue, cudaMemcpy2D(q, 4, q, 8, 8, 2,
		cudaMemcpyDeviceToDevice));
	FAILS_WITH("nowhere to put memory", cudaErrorInvalidValue, cudaMalloc((void **)NULL, 4));
	FAILS_WITH("no such device", cudaErrorInvalidDevice, cudaSetDevice(4711));
	MUST(cudaFree(NULL));
	MUST(cudaFreeHost(NULL));
	MUST(cudaMemcpy(q, q, 0, cudaMemcpyDeviceToDevice));
	add<<<1, 4096>>>(q, 1, N);
	GIVES("a bad launch is remembered", cudaErrorInvalidValue, cudaGetLastError());
	MUST(cudaMemset(q, 0, BYTES));
	add<<<N / 256, 256>>>(q, 1, N);
	e2e_case("and the next works", all(q, 1));
	e2e_case("error that does not exist", !strcmp(cudaGetErrorString((cudaError_t)54321),
		"unrecognized error code"));
	MUST(cudaFree(q));
	q = NULL;
}

static void driver()
{
	CUdevice dev;
	CUcontext a, b, now, old;
	CUstream s;
	size_t bytes = 0;
	int can = -1;
	const char *text = NULL;
	bool ok = !cuInit(0) && !cuDeviceGet(&dev, 0) && !cuDeviceTotalMem(&bytes, dev) && bytes > 64 << 20;
	ok = ok && !cuDeviceCanAccessPeer(&can, dev, dev) && can == 0;
	ok = ok && !cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text) && !strcmp(text, "out of memory");
	e2e_case("the Driver says the same", ok && !cuGetErrorName(CUDA_ERROR_NO_DEVICE, &text) &&
		!strcmp(text, "CUDA_ERROR_NO_DEVICE") && cuGetErrorString((CUresult)54321,
			&text) == CUDA_ERROR_INVALID_VALUE);
	ok = !cuCtxGetCurrent(&old) && !cuCtxCreate(&a, NULL, 0, dev) && !cuCtxCreate(&b, NULL, 0, dev);
	ok = ok && !cuCtxPopCurrent(&now) && now == b && !cuCtxGetCurrent(&now) && now == a && !cuCtxPushCurrent(b);
	ok = ok && !cuCtxGetCurrent(&now) && now == b && !cuStreamCreate(&s, CU_STREAM_NON_BLOCKING);
	ok = ok && !cuStreamSynchronize(s) && !cuStreamDestroy(s) && !cuCtxSynchronize();
	e2e_case("contexts on a stack", ok && !cuCtxPopCurrent(&now) && now == b && !cuCtxPopCurrent(&now) && now == a);
	e2e_case("contexts destroyed", !cuCtxDestroy(a) && !cuCtxDestroy(b) && !cuCtxGetCurrent(&now) && now == old);
	void *p;
	MUST(cudaMalloc(&p, 64));
	MUST(cudaFree(p));
}

int main()
{
	unsigned flags = 0;
	int runtime = 0, drv = 0;
	MUST(cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync));
	MUST(cudaFree(0));
	MUST(cudaGetDeviceFlags(&flags));
	e2e_case("device flags as set", (flags & cudaDeviceScheduleMask) == cudaDeviceScheduleBlockingSync);
	FAILS_WITH("device flag that does not exist", cudaErrorInvalidValue, cudaSetDeviceFlags(0x4000));
	MUST(cudaRuntimeGetVersion(&runtime));
	MUST(cudaDriverGetVersion(&drv));
	e2e_case("driver no older than the Runtime", runtime >= 12000 && drv >= runtime);
	limits();
	priorities();
	managed();
	peers();
	registration();
	hints();
	entry_points();
	attributes();
	events();
	errors();
	driver();
	MUST(cudaDeviceReset());
	peers();
	return e2e_done();
}
