/* driver_launch.c - modules, launches, occupancy, errors that kill a context, graphs. */
#include <sys/mman.h>
#include "direct.h"

static const char ptx[] =
	".version 8.0\n.target sm_90\n.address_size 64\n"
	".visible .global .align 4 .u32 counter = 41;\n"
	".visible .const .align 4 .u32 factor[4] = {3, 5, 7, 9};\n"
	/* out[i] = in[i] * factor[0] + add, i < n */
	".visible .entry scale(.param .u64 out, .param .u64 in, .param .u32 n, .param .u32 add)\n{\n"
	" .reg .pred %p; .reg .b32 %r<8>; .reg .b64 %rd<6>;\n"
	" ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [add];\n"
	" mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x; mad.lo.s32 %r6, %r3, %r4, %r5;\n"
	" setp.ge.u32 %p, %r6, %r1; @%p bra DONE;\n"
	" mul.wide.u32 %rd3, %r6, 4; add.s64 %rd4, %rd2, %rd3; ld.global.u32 %r7, [%rd4];\n"
	" ld.const.u32 %r3, [factor]; mad.lo.u32 %r7, %r7, %r3, %r2;\n"
	" add.s64 %rd5, %rd1, %rd3; st.global.u32 [%rd5], %r7;\nDONE:\n ret;\n}\n"
	".visible .entry bump()\n{\n .reg .b32 %r<3>;\n atom.global.add.u32 %r1, [counter], 1;\n ret;\n}\n"
	".visible .entry store(.param .u64 p, .param .u32 v)\n{\n .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
	" ld.param.u64 %rd1, [p]; ld.param.u32 %r1, [v]; st.global.u32 [%rd1], %r1;\n ret;\n}\n"
	".visible .entry stop()\n{\n trap;\n}\n"
	/* waits until *flag is not 0, then adds 1 to *out */
	".visible .entry spin(.param .u64 flag, .param .u64 out)\n{\n .reg .pred %p; .reg .b32 %r<3>; .reg .b64 "
	"%rd<3>;\n"
	" ld.param.u64 %rd1, [flag]; ld.param.u64 %rd2, [out];\n"
	"AGAIN:\n ld.volatile.global.u32 %r1, [%rd1]; setp.eq.u32 %p, %r1, 0; @%p bra AGAIN;\n"
	" atom.global.add.u32 %r2, [%rd2], 1;\n ret;\n}\n"
	".visible .entry small() .maxntid 64, 1, 1\n{\n ret;\n}\n"
	".visible .entry exact() .reqntid 32, 2, 1\n{\n ret;\n}\n"
	".extern .shared .align 16 .b8 dyn[];\n"
	".visible .entry shared(.param .u64 out)\n{\n .reg .b32 %r<4>; .reg .b64 %rd<4>; .shared .align 4 .b8 "
	"fixed[1024];\n"
	" ld.param.u64 %rd1, [out]; mov.u32 %r1, %dynamic_smem_size; mov.u32 %r2, %tid.x;\n"
	" mov.u64 %rd2, fixed; st.shared.u32 [%rd2], %r1; ld.shared.u32 %r3, [%rd2]; st.global.u32 [%rd1], %r3;\n "
	"ret;\n}\n";

static CUmodule module;

static CUfunction kernel(const char *name)
{
	CUfunction f;
	OK(cuModuleGetFunction(&f, module, name));
	return f;
}

static void begin(void)
{
	start();
	OK(cuModuleLoadData(&module, ptx));
}

static void scale_once(CUfunction f, CUstream s, CUdeviceptr out, CUdeviceptr in, uint32_t n, uint32_t add)
{
	void *params[] = { &out, &in, &n, &add };
	OK(cuLaunchKernel(f, (n + 127) / 128, 1, 1, 128, 1, 1, 0, s, params, NULL));
}

static void launch(void)
{
	enum { N = 1000 };
	begin();
	CUdeviceptr in, out;
	uint32_t h[N], got[N + 1];
	CUfunction f = kernel("scale");
	for (uint32_t i = 0; i < N; i++)
		h[i] = i * i;
	OK(cuMemAlloc(&in, sizeof h));
	OK(cuMemAlloc(&out, sizeof got));
	OK(cuMemsetD8(out, 0xee, sizeof got));
	OK(cuMemcpyHtoD(in, h, sizeof h));
	scale_once(f, NULL, out, in, N, 11);
	OK(cuMemcpyDtoH(got, out, sizeof got));
	for (uint32_t i = 0; i < N; i++)
		EXPECT(got[i] == h[i] * 3 + 11);
	EXPECT(got[N] == 0xeeeeeeee);
	struct { CUdeviceptr out, in; uint32_t n, add; } packed = { out, in, N, 5 };
	size_t size = sizeof packed;
	void *extra[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
			  CU_LAUNCH_PARAM_END };
	OK(cuLaunchKernel(f, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
	OK(cuMemcpyDtoH(got, out, sizeof got));
	EXPECT(got[7] == 49 * 3 + 5);
	CUlaunchConfig config = {
		.gridDimX = 8, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 128, .blockDimY = 1, .blockDimZ = 1
	};
	uint32_t n = N, add = 6;
	void *params[] = { &out, &in, &n, &add };
	OK(cuLaunchKernelEx(&config, f, params, NULL));
	OK(cuMemcpyDtoH(got, out, sizeof got));
	EXPECT(got[8] == 64 * 3 + 6);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 8, 1, 1, 128, 1, 1, 0, NULL, params, extra));
	OK(cuModuleUnload(module));
}

static void modules(void)
{
	begin();
	CUfunction f;
	CUdeviceptr p;
	size_t size, offset;
	uint32_t value;
	int attribute;
	const char *name;
	OK(cuModuleGetGlobal(&p, &size, module, "counter"));
	EXPECT(size == 4);
	OK(cuMemcpyDtoH(&value, p, 4));
	EXPECT(value == 41);
	OK(cuLaunchKernel(kernel("bump"), 3, 1, 1, 64, 1, 1, 0, NULL, NULL, NULL));
	OK(cuMemcpyDtoH(&value, p, 4));
	EXPECT(value == 41 + 192);
	OK(cuModuleGetGlobal(&p, &size, module, "factor"));
	EXPECT(size == 16);
	value = 100;
	OK(cuMemcpyHtoD(p, &value, 4));
	CUdeviceptr io;
	OK(cuMemAlloc(&io, 8));
	OK(cuMemsetD32(io, 2, 1));
	scale_once(kernel("scale"), NULL, io + 4, io, 1, 1);
	OK(cuMemcpyDtoH(&value, io + 4, 4));
	EXPECT(value == 201);
	GIVES(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&f, module, "nothing"));
	GIVES(CUDA_ERROR_NOT_FOUND, cuModuleGetGlobal(&p, &size, module, "nothing"));
	f = kernel("scale");
	OK(cuFuncGetParamInfo(f, 3, &offset, &size));
	EXPECT(offset == 20 && size == 4);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuFuncGetParamInfo(f, 4, &offset, &size));
	OK(cuFuncGetName(&name, f));
	EXPECT(!strcmp(name, "scale"));
	OK(cuFuncGetAttribute(&attribute, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f));
	EXPECT(attribute == 1024);
	OK(cuFuncGetAttribute(&attribute, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel("small")));
	EXPECT(attribute == 64);
	OK(cuFuncGetAttribute(&attribute, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel("shared")));
	EXPECT(attribute == 1024);
	OK(cuFuncGetAttribute(&attribute, CU_FUNC_ATTRIBUTE_PTX_VERSION, f));
	EXPECT(attribute == 90);
	unsigned count;
	OK(cuModuleGetFunctionCount(&count, module));
	EXPECT(count == 8);
	char log[1024] = "";
	CUjit_option options[] = { CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES };
	void *values[] = { log, (void *)sizeof log };
	CUmodule bad;
	GIVES(CUDA_ERROR_INVALID_PTX,
	      cuModuleLoadDataEx(&bad, ".version 8.0\n.target sm_90\n.address_size 64\nrubbish\n", 2, options,
				 values));
	EXPECT(strstr(log, "line 4") && (size_t)values[1] > 10 && (size_t)values[1] < sizeof log);
	OK(cuModuleUnload(module));
#ifdef SOFT_DIRECT /* a real driver may crash on a stale handle */
	GIVES(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel((CUfunction)&count, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
#endif
}

static void libraries(void)
{
	start();
	CUlibrary l;
	CUkernel k;
	CUfunction f;
	CUdeviceptr p;
	size_t size;
	unsigned n;
	int threads;
	uint32_t value;
	OK(cuLibraryLoadData(&l, ptx, NULL, NULL, 0, NULL, NULL, 0));
	OK(cuLibraryGetKernelCount(&n, l));
	EXPECT(n == 8);
	OK(cuLibraryGetKernel(&k, l, "bump"));
	GIVES(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&k, l, "nothing"));
	OK(cuKernelGetFunction(&f, k));
	OK(cuKernelGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, k, 0));
	EXPECT(threads == 1024);
	OK(cuLibraryGetGlobal(&p, &size, l, "counter"));
	OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	OK(cuLaunchKernel((CUfunction)k, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	OK(cuMemcpyDtoH(&value, p, 4));
	EXPECT(value == 43);
	OK(cuLibraryUnload(l));
}

static CUresult try(const char *name, unsigned gx, unsigned gy, unsigned bx, unsigned by, unsigned bz, unsigned shared)
{
	static uint64_t arguments[8];
	void *params[] = { &arguments[0], &arguments[1], &arguments[2], &arguments[3] };
	return cuLaunchKernel(kernel(name), gx, gy, 1, bx, by, bz, shared, NULL, params, NULL);
}

static void bad_configurations(void)
{
	begin();
	OK(try("small", 1, 1, 64, 1, 1, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("bump", 0, 1, 1, 1, 1, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("bump", 1, 65536, 1, 1, 1, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("bump", 1, 1, 1025, 1, 1, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("bump", 1, 1, 32, 64, 1, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("bump", 1, 1, 1, 1, 65, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("small", 1, 1, 65, 1, 1, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("exact", 1, 1, 64, 1, 1, 0));
	OK(try("exact", 1, 1, 32, 2, 1, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, try("bump", 1, 1, 1, 1, 1, 48 * 1024 + 1));
	CUfunction f = kernel("shared");
	CUdeviceptr p;
	void *params[] = { &p };
	uint32_t value;
	OK(cuMemAlloc(&p, 4));
	OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 227 * 1024 - 1024));
	GIVES(CUDA_ERROR_INVALID_VALUE,
	      cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 227 * 1024));
	OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 200 * 1024, NULL, params, NULL));
	OK(cuMemcpyDtoH(&value, p, 4));
	EXPECT(value == 200 * 1024);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 227 * 1024, NULL, params, NULL));
	GIVES(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
		cuLaunchCooperativeKernel(kernel("bump"), 132 * 32 + 1, 1, 1, 32, 1, 1, 0, NULL, NULL));
	OK(cuLaunchCooperativeKernel(kernel("bump"), 132, 1, 1, 32, 1, 1, 0, NULL, NULL));
	OK(cuCtxSynchronize());
}

static size_t no_shared(int block)
{
	return block > 0 ? 0 : 1;
}

static void occupancy(void)
{
	begin();
	int n, grid, block;
	size_t bytes;
	CUfunction f = kernel("bump");
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, 1024, 0));
	EXPECT(n == 2);
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, 256, 0));
	EXPECT(n == 8);
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, 32, 0));
	EXPECT(n == 32);
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, 64, 100 * 1024));
	EXPECT(n == 2);
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, kernel("shared"), 128, 40 * 1024));
	EXPECT(n == 5);
	OK(cuOccupancyMaxPotentialBlockSize(&grid, &block, f, no_shared, 0, 0));
	EXPECT(block == 1024 && grid == 264);
	OK(cuOccupancyMaxPotentialBlockSize(&grid, &block, kernel("small"), NULL, 0, 0));
	EXPECT(block == 64 && grid == 132 * 32);
	OK(cuOccupancyAvailableDynamicSMemPerBlock(&bytes, f, 2, 1024));
	EXPECT(bytes > 100 * 1024 && bytes <= 113 * 1024 + 512);
}

static void concurrent_with_host(void)
{
	begin();
	volatile uint32_t *flag;
	CUdeviceptr out, flag_at;
	CUstream a, b;
	uint32_t value;
	OK(cuMemAllocHost((void **)&flag, 64));
	flag[0] = flag[1] = 0;
	flag_at = (CUdeviceptr)(uintptr_t)flag;
	OK(cuMemAlloc(&out, 4));
	OK(cuMemsetD32(out, 0, 1));
	OK(cuCtxSynchronize());
	OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	void *params[] = { &flag_at, &out };
	OK(cuLaunchKernel(kernel("spin"), 1, 1, 1, 1, 1, 1, 0, a, params, NULL));
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	CUdeviceptr second = flag_at + 4;
	uint32_t seven = 7;
	void *store[] = { &second, &seven };
	OK(cuLaunchKernel(kernel("store"), 1, 1, 1, 1, 1, 1, 0, b, store, NULL)); /* runs beside the one that waits */
	OK(cuStreamSynchronize(b));
	EXPECT(flag[1] == 7);
	GIVES(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	OK(cuModuleUnload(module)); /* the grid keeps what it needs */
	flag[0] = 1;
	OK(cuStreamSynchronize(a));
	OK(cuMemcpyDtoH(&value, out, 4));
	EXPECT(value == 1);
}

static void host_pointers_in_kernels(void)
{
	begin();
	uint32_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CUdeviceptr d;
	uint32_t v = 77;
	void *params[] = { &d, &v };
	OK(cuMemHostRegister(p, 8192, CU_MEMHOSTREGISTER_DEVICEMAP));
	OK(cuMemHostGetDevicePointer(&d, p, 0));
	OK(cuLaunchKernel(kernel("store"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	OK(cuCtxSynchronize());
	EXPECT(p[0] == 77);
	d += 8188;
	OK(cuLaunchKernel(kernel("store"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	OK(cuCtxSynchronize());
	EXPECT(p[2047] == 77);
	OK(cuMemHostUnregister(p));
	OK(cuLaunchKernel(kernel("store"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

/* --- what kills a context --- */

static void store_at(CUdeviceptr at, CUresult want)
{
	uint32_t v = 1;
	void *params[] = { &at, &v };
	CUdeviceptr p;
	CUstream s;
	CUevent e;
	size_t n;
	int devices;
	CUfunction f = kernel("store");
	OK(cuMemAlloc(&p, 64));
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuEventCreate(&e, 0));
	OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, s, params, NULL));
	CUresult later = cuEventRecord(e, s); /* either it is queued behind the fault, or the fault was seen already */
	EXPECT(later == CUDA_SUCCESS || later == want);
	GIVES(want, cuStreamSynchronize(s));
	GIVES(want, cuCtxSynchronize());
	GIVES(want, cuMemAlloc(&p, 64));
	GIVES(want, cuMemcpyDtoH(&v, p, 4));
	GIVES(want, cuMemGetInfo(&n, &n));
	GIVES(want, cuStreamQuery(NULL));
	GIVES(want, cuEventQuery(e));
	GIVES(want, cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	CUcontext c;
	OK(cuCtxGetCurrent(&c));
	OK(cuCtxSetCurrent(c));
	OK(cuDeviceGetCount(&devices));
}

static void fault_null(void)
{
	begin();
	store_at(0, CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void fault_wild(void)
{
	begin();
	store_at(0x234567890000ull, CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void fault_misaligned(void)
{
	begin();
	CUdeviceptr p;
	OK(cuMemAlloc(&p, 64));
	store_at(p + 2, CUDA_ERROR_MISALIGNED_ADDRESS);
}

static void fault_freed(void)
{
	begin();
	CUdeviceptr p;
	OK(cuMemAlloc(&p, 64 << 20));
	CUdeviceptr at = p + (32 << 20);
	uint32_t v = 1;
	void *params[] = { &at, &v };
	OK(cuLaunchKernel(kernel("store"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	OK(cuCtxSynchronize());
	OK(cuMemFree(p));
	store_at(p + (32 << 20), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void fault_unmapped(void)
{
	begin();
	CUdeviceptr w;
	OK(cuMemAddressReserve(&w, 64 << 20, 0, 0, 0));
	store_at(w, CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void fault_trap(void)
{
	begin();
	OK(cuLaunchKernel(kernel("stop"), 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
	GIVES(CUDA_ERROR_LAUNCH_FAILED, cuCtxSynchronize());
	GIVES(CUDA_ERROR_LAUNCH_FAILED, cuCtxSynchronize());
}

static int told;

static void tell(CUstream s, CUresult status, void *data)
{
	(void)s;
	(void)data;
	told = (int)status;
}

static void fault_drops_what_is_queued(void)
{
	begin();
	volatile uint32_t *word;
	CUstream a, b;
	CUdeviceptr nowhere = 0, at;
	uint32_t v = 1;
	void *params[] = { &nowhere, &v };
	OK(cuMemAllocHost((void **)&word, 64));
	word[0] = word[1] = 0;
	at = (CUdeviceptr)(uintptr_t)word;
	CUfunction store = kernel("store");
	OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	OK(cuStreamWaitValue32(b, at, 1, CU_STREAM_WAIT_VALUE_EQ)); /* for ever */
	OK(cuStreamWriteValue32(b, at + 4, 1, 0));
	OK(cuStreamAddCallback(b, tell, NULL, 0));
	OK(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, a, params, NULL));
	GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(a));
	GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(b));
	GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
	EXPECT(word[1] == 0);
#ifdef SOFT_DIRECT
	double limit = test_seconds() + 5;
	while (told != CUDA_ERROR_ILLEGAL_ADDRESS && test_seconds() < limit)
		usleep(1000);
	EXPECT(told == CUDA_ERROR_ILLEGAL_ADDRESS);
#endif
}

#ifdef SOFT_DIRECT
/* softgpu's own promise: a reset makes the device usable again in the same process. */
static void reset_after_fault(void)
{
	begin();
	CUdeviceptr nowhere = 0, p;
	uint32_t v = 1;
	size_t before, after, total;
	CUcontext c;
	void *params[] = { &nowhere, &v };
	OK(cuMemGetInfo(&before, &total));
	OK(cuMemAlloc(&p, 32 << 20));
	OK(cuLaunchKernel(kernel("store"), 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
	GIVES(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
	OK(cuDevicePrimaryCtxReset(0));
	OK(cuDevicePrimaryCtxRetain(&c, 0));
	OK(cuCtxSetCurrent(c));
	OK(cuMemGetInfo(&after, &total));
	EXPECT(after >= before && after <= before + (2 << 20));
	OK(cuModuleLoadData(&module, ptx));
	OK(cuLaunchKernel(kernel("bump"), 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	OK(cuCtxSynchronize());
}

/* Destroying a context ends the grids that run in it. */
static void destroy_while_running(void)
{
	CUcontext c;
	start();
	OK(cuCtxCreate(&c, NULL, 0, 0));
	OK(cuModuleLoadData(&module, ptx));
	CUdeviceptr flag;
	OK(cuMemAlloc(&flag, 8));
	OK(cuMemsetD8(flag, 0, 8));
	void *params[] = { &flag, &flag };
	OK(cuLaunchKernel(kernel("spin"), 4, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
	usleep(20000);
	double from = test_seconds();
	OK(cuCtxDestroy(c));
	EXPECT(test_seconds() - from < 5);
}
#endif

/* --- graphs --- */

static void capture(void)
{
	begin();
	CUstream s, side;
	CUevent fork_event, join_event;
	CUgraph g;
	CUgraphExec x;
	CUdeviceptr a, b, p;
	CUstreamCaptureStatus status;
	uint32_t in[64], out[64] = { 0 };
	size_t n;
	for (uint32_t i = 0; i < 64; i++)
		in[i] = i;
	OK(cuMemAlloc(&a, sizeof in));
	OK(cuMemAlloc(&b, sizeof in));
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
	OK(cuEventCreate(&fork_event, CU_EVENT_DISABLE_TIMING));
	OK(cuEventCreate(&join_event, CU_EVENT_DISABLE_TIMING));
	CUfunction f = kernel("scale"), bump = kernel("bump");
	OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	GIVES(CUDA_ERROR_ILLEGAL_STATE, cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	OK(cuMemcpyHtoDAsync(a, in, sizeof in, s));
	scale_once(f, s, b, a, 64, 1);
	OK(cuEventRecord(fork_event, s));
	OK(cuStreamWaitEvent(side, fork_event, 0));
	OK(cuStreamIsCapturing(side, &status));
	EXPECT(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
	OK(cuLaunchKernel(bump, 1, 1, 1, 1, 1, 1, 0, side, NULL, NULL));
	OK(cuEventRecord(join_event, side));
	scale_once(f, s, b, b, 64, 0);
	OK(cuStreamWaitEvent(s, join_event, 0));
	OK(cuMemcpyDtoHAsync(out, b, sizeof out, s));
	OK(cuStreamEndCapture(s, &g));
	EXPECT(out[5] == 0);
	OK(cuGraphGetNodes(g, NULL, &n));
	EXPECT(n == 5);
	OK(cuGraphGetRootNodes(g, NULL, &n));
	EXPECT(n == 1);
	OK(cuGraphInstantiate(&x, g, 0));
	OK(cuGraphDestroy(g));
	for (int i = 0; i < 3; i++)
		OK(cuGraphLaunch(x, s));
	OK(cuStreamSynchronize(s));
	EXPECT(out[5] == (5 * 3 + 1) * 3);
	OK(cuModuleGetGlobal(&p, &n, module, "counter"));
	uint32_t value;
	OK(cuMemcpyDtoH(&value, p, 4));
	EXPECT(value == 44);
	OK(cuGraphExecDestroy(x));
}

static void capture_errors(void)
{
	begin();
	CUstream s, blocking, other;
	CUgraph g = (CUgraph)1;
	CUdeviceptr p;
	CUevent e;
	OK(cuMemAlloc(&p, 64));
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
	OK(cuStreamCreate(&blocking, 0));
	OK(cuEventCreate(&e, 0));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamBeginCapture(NULL, CU_STREAM_CAPTURE_MODE_RELAXED));
	OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamSynchronize(s));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuMemsetD8Async(p, 0, 64, s));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &g));
	EXPECT(g == NULL);
	OK(cuMemsetD8Async(p, 0, 64, s));
	OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	OK(cuMemsetD8Async(p, 0, 64, s));
	OK(cuEventRecord(e, s));
	GIVES(CUDA_ERROR_CAPTURED_EVENT, cuEventQuery(e));
	OK(cuStreamWaitEvent(other, e, 0));
	OK(cuMemsetD8Async(p, 0, 64, other));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, cuStreamEndCapture(s, &g));
	OK(cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuMemsetD8Async(p, 0, 64, NULL));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(blocking, &g));
	OK(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	CUdeviceptr q;
	GIVES(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemAlloc(&q, 64));
	GIVES(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &g));
	GIVES(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(s, &g));
}

static int calls;

static void count_call(void *data)
{
	calls += (int)(intptr_t)data;
}

static void built_graph(void)
{
	begin();
	CUgraph g, clone;
	CUgraphExec x;
	CUgraphNode set, run, host, back, empty;
	CUdeviceptr p;
	CUcontext c;
	CUstream s;
	uint32_t out = 0, v = 9;
	size_t n;
	OK(cuCtxGetCurrent(&c));
	OK(cuStreamCreate(&s, 0));
	OK(cuMemAlloc(&p, 4));
	OK(cuGraphCreate(&g, 0));
	CUDA_MEMSET_NODE_PARAMS fill = { .dst = p, .value = 2, .elementSize = 4, .width = 1, .height = 1 };
	OK(cuGraphAddMemsetNode(&set, g, NULL, 0, &fill, c));
	uint32_t one = 1, add = 4;
	void *params[] = { &p, &p, &one, &add };
	CUDA_KERNEL_NODE_PARAMS k = { .func = kernel("scale"),
				      .gridDimX = 1,
				      .gridDimY = 1,
				      .gridDimZ = 1,
				      .blockDimX = 32,
				      .blockDimY = 1,
				      .blockDimZ = 1,
				      .kernelParams = params };
	OK(cuGraphAddKernelNode(&run, g, &set, 1, &k));
	CUDA_HOST_NODE_PARAMS h = { .fn = count_call, .userData = (void *)1 };
	OK(cuGraphAddHostNode(&host, g, NULL, 0, &h));
	OK(cuGraphAddDependencies(g, &run, &host, NULL, 1));
	CUDA_MEMCPY3D copy = { .srcMemoryType = CU_MEMORYTYPE_DEVICE,
			       .srcDevice = p,
			       .dstMemoryType = CU_MEMORYTYPE_HOST,
			       .dstHost = &out,
			       .WidthInBytes = 4,
			       .Height = 1,
			       .Depth = 1 };
	OK(cuGraphAddMemcpyNode(&back, g, &host, 1, &copy, c));
	OK(cuGraphAddEmptyNode(&empty, g, &back, 1));
	OK(cuGraphGetEdges(g, NULL, NULL, NULL, &n));
	EXPECT(n == 4);
	OK(cuGraphInstantiate(&x, g, 0));
	OK(cuGraphLaunch(x, s));
	OK(cuStreamSynchronize(s));
	EXPECT(out == 2 * 3 + 4 && calls == 1);
	fill.value = 10;
	OK(cuGraphExecMemsetNodeSetParams(x, set, &fill, c));
	OK(cuGraphLaunch(x, s));
	OK(cuStreamSynchronize(s));
	EXPECT(out == 10 * 3 + 4 && calls == 2);
	OK(cuGraphNodeSetEnabled(x, run, 0));
	OK(cuGraphLaunch(x, s));
	OK(cuStreamSynchronize(s));
	EXPECT(out == 10);
	CUDA_KERNEL_NODE_PARAMS got;
	OK(cuGraphKernelNodeGetParams(run, &got));
	EXPECT(got.blockDimX == 32 && *(uint32_t *)got.kernelParams[3] == 4);
	OK(cuGraphClone(&clone, g));
	params[3] = &v;
	OK(cuGraphKernelNodeSetParams(run, &k));
	CUgraphExecUpdateResultInfo info;
	OK(cuGraphExecUpdate(x, g, &info));
	OK(cuGraphNodeSetEnabled(x, run, 1));
	OK(cuGraphLaunch(x, s));
	OK(cuStreamSynchronize(s));
	EXPECT(out == 2 * 3 + 9);
	OK(cuGraphDestroyNode(empty));
	GIVES(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate(x, g, &info));
	EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
	OK(cuGraphAddDependencies(g, &back, &set, NULL, 1)); /* a cycle */
	CUgraphExec bad;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuGraphInstantiate(&bad, g, 0));
	OK(cuGraphDestroy(g));
	OK(cuGraphDestroy(clone));
	OK(cuGraphExecDestroy(x));
}

static void graph_events(void)
{
	begin();
	CUgraph g, parent;
	CUgraphExec x;
	CUgraphNode a, b, child;
	CUevent e;
	CUstream s, t;
	CUdeviceptr p;
	CUcontext c;
	uint32_t out = 0;
	OK(cuCtxGetCurrent(&c));
	OK(cuMemAlloc(&p, 4));
	OK(cuEventCreate(&e, 0));
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	OK(cuGraphCreate(&g, 0));
	CUDA_MEMSET_NODE_PARAMS fill = { .dst = p, .value = 6, .elementSize = 4, .width = 1, .height = 1 };
	OK(cuGraphAddMemsetNode(&a, g, NULL, 0, &fill, c));
	OK(cuGraphAddEventRecordNode(&b, g, &a, 1, e));
	OK(cuGraphCreate(&parent, 0));
	OK(cuGraphAddChildGraphNode(&child, parent, NULL, 0, g));
	OK(cuGraphInstantiate(&x, parent, 0));
	OK(cuGraphLaunch(x, s));
	OK(cuStreamWaitEvent(t, e, 0));
	OK(cuMemcpyDtoHAsync(&out, p, 4, t));
	OK(cuStreamSynchronize(t));
	EXPECT(out == 6);
	OK(cuEventSynchronize(e));
	CUgraph other;
	CUgraphNode set, record;
	OK(cuGraphCreate(&other, 0));
	fill.value = 7;
	OK(cuGraphAddMemsetNode(&set, other, NULL, 0, &fill, c));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuGraphExecChildGraphNodeSetParams(x, child, other));
	OK(cuGraphAddEventRecordNode(&record, other, &set, 1, e));
	OK(cuGraphExecChildGraphNodeSetParams(x, child, other));
	OK(cuGraphLaunch(x, s));
	OK(cuEventSynchronize(e));
	OK(cuMemcpyDtoH(&out, p, 4));
	EXPECT(out == 7);
}

static const struct test_case cases[] = {
	{ "launch", launch }, { "modules", modules }, { "libraries", libraries },
	{ "bad_configurations", bad_configurations }, { "occupancy", occupancy },
	{ "concurrent_with_host", concurrent_with_host }, { "host_pointers_in_kernels", host_pointers_in_kernels },
	{ "fault_null", fault_null }, { "fault_wild", fault_wild }, { "fault_misaligned", fault_misaligned },
	{ "fault_freed", fault_freed }, { "fault_unmapped", fault_unmapped }, { "fault_trap", fault_trap },
	{ "fault_drops_what_is_queued", fault_drops_what_is_queued },
#ifdef SOFT_DIRECT
	{ "reset_after_fault", reset_after_fault }, { "destroy_while_running", destroy_while_running },
#endif
	{ "capture", capture }, { "capture_errors", capture_errors }, { "built_graph", built_graph },
	{ "graph_events", graph_events },
};

MAIN(cases)
