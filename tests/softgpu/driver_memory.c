/* driver_memory.c - memory of the Driver API: allocation, copies and fills of every kind, host memory, pools,
 * attributes. */
#include <sys/mman.h>
#include "direct.h"

enum { N = 1 << 20 };

static void init_and_device(void)
{
	int n, major, minor, value;
	CUdevice d;
	char name[64];
	CUcontext c = NULL;
	GIVES(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&n));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuInit(1));
	OK(cuInit(0));
	OK(cuDeviceGetCount(&n));
	EXPECT(n >= 1);
	OK(cuDeviceGet(&d, 0));
	GIVES(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&d, 1000));
	OK(cuDeviceGetName(name, sizeof name, 0));
	EXPECT(strlen(name) > 3);
	OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
	OK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));
	EXPECT(major == 9 && minor == 0);
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
	EXPECT(value == 132);
	OK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0));
	EXPECT(value == 227 * 1024);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuDeviceGetAttribute(&value, 9999, 0));
	OK(cuCtxGetCurrent(&c));
	EXPECT(c == NULL);
	CUdeviceptr p;
	GIVES(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc(&p, 16));
	const char *text = NULL;
	OK(cuGetErrorString(CUDA_ERROR_INVALID_VALUE, &text));
	EXPECT(!strcmp(text, "invalid argument"));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuGetErrorName(12345, &text));
	EXPECT(text == NULL);
}

static void contexts(void)
{
	CUcontext a, b, now;
	unsigned flags;
	int active;
	OK(cuInit(0));
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EXPECT(!active);
	OK(cuDevicePrimaryCtxRetain(&a, 0));
	OK(cuCtxCreate(&b, NULL, 0, 0));
	OK(cuCtxGetCurrent(&now));
	EXPECT(now == b && a != b);
	OK(cuCtxPushCurrent(a));
	OK(cuCtxPopCurrent(&now));
	EXPECT(now == a);
	CUdeviceptr p;
	OK(cuMemAlloc(&p, 100));
	OK(cuCtxDestroy(b));
	OK(cuCtxGetCurrent(&now));
	EXPECT(now == NULL);
#ifdef SOFT_DIRECT /* a real driver may crash on a stale handle */
	GIVES(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy(b));
#endif
	OK(cuCtxSetCurrent(a));
	size_t limit;
	OK(cuCtxGetLimit(&limit, CU_LIMIT_STACK_SIZE));
	EXPECT(limit == 1024);
	OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
	OK(cuCtxGetLimit(&limit, CU_LIMIT_STACK_SIZE));
	EXPECT(limit == 4096);
	int least, greatest;
	OK(cuCtxGetStreamPriorityRange(&least, &greatest));
	EXPECT(least == 0 && greatest == -5);
	OK(cuDevicePrimaryCtxRelease(0));
	GIVES(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease(0));
	GIVES(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuMemAlloc(&p, 100));
	OK(cuDevicePrimaryCtxRetain(&now, 0));
	EXPECT(now == a);
	OK(cuMemAlloc(&p, 100));
	OK(cuMemFree(p));
}

static void accounting(void)
{
	start();
	size_t before, after, total, base_free;
	CUdeviceptr p[64], big, base;
	OK(cuMemGetInfo(&before, &total));
	EXPECT(before <= total && total >= 16 << 20);
	for (int i = 0; i < 64; i++)
		OK(cuMemAlloc(&p[i], 1000));
	for (int i = 0; i < 64; i++)
		for (int j = 0; j < i; j++)
			EXPECT(p[i] >= p[j] + 1000 || p[j] >= p[i] + 1000);
	EXPECT(p[1] % 256 == 0);
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before - after == 2 << 20 || before == after);
	OK(cuMemAlloc(&big, 8 << 20));
	OK(cuMemGetInfo(&base_free, &total));
	EXPECT(after - base_free == 8 << 20);
	OK(cuMemGetAddressRange(&base, &base_free, big + 12345));
	EXPECT(base == big && base_free == 8 << 20);
	OK(cuMemFree(big));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree(big));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree(p[3] + 8));
	for (int i = 0; i < 64; i++)
		OK(cuMemFree(p[i]));
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before == after);
	GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&big, total + (1 << 20)));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(&big, 0));
	GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&big, (size_t)1 << 60));
	OK(cuMemFree(0));
}

static void exhaust(void)
{
	start();
	CUdeviceptr p[4096];
	size_t before, after, total, n = 0;
	OK(cuMemGetInfo(&before, &total));
	CUresult r = CUDA_SUCCESS;
	size_t step = total / 100 + (3 << 20);
	while (n < 4096 && !(r = cuMemAlloc(&p[n], step)))
		n++;
	EXPECT(r == CUDA_ERROR_OUT_OF_MEMORY && n > 10);
	for (size_t i = 0; i < n; i += 2)
		OK(cuMemFree(p[i]));
	CUdeviceptr whole; /* the free frames are in pieces, addresses need not be */
	OK(cuMemAlloc(&whole, step * (n / 4)));
	OK(cuMemsetD8(whole, 7, step * (n / 4)));
	OK(cuCtxSynchronize());
	OK(cuMemFree(whole));
	for (size_t i = 1; i < n; i += 2)
		OK(cuMemFree(p[i]));
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before == after);
}

static void linear_copies(void)
{
	start();
	static uint32_t in[N], out[N];
	CUdeviceptr a, b;
	for (uint32_t i = 0; i < N; i++)
		in[i] = i * 2654435761u;
	OK(cuMemAlloc(&a, sizeof in));
	OK(cuMemAlloc(&b, sizeof in));
	OK(cuMemcpyHtoD(a, in, sizeof in));
	OK(cuMemcpyDtoD(b, a, sizeof in));
	OK(cuMemcpyDtoH(out, b, sizeof in));
	EXPECT(!memcmp(in, out, sizeof in));
	memset(out, 0, sizeof out);
	OK(cuMemcpy((CUdeviceptr)(uintptr_t)out, a + 40, 4000));
	EXPECT(!memcmp(in + 10, out, 4000));
	OK(cuMemcpy(b, (CUdeviceptr)(uintptr_t)(in + 100), 400));
	OK(cuMemcpyDtoH(out, b, 404));
	EXPECT(!memcmp(in + 100, out, 400) && out[100] == in[100]);
	OK(cuMemcpyHtoD(a, NULL, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(a, in, sizeof in + 4096 * 1024));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD((CUdeviceptr)(uintptr_t)in, in, 16));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(out, 0, 16));
	OK(cuMemFree(a));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(out, a, 16));
	OK(cuMemcpyDtoH(out, b, 16));
}

static void async_pageable_source_is_taken(void)
{
	start();
	CUstream s;
	CUdeviceptr d;
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuMemAlloc(&d, N));
	for (size_t n = 64; n <= N; n *= 16) {
		uint8_t *in = malloc(n), *out = malloc(n);
		memset(in, 5, n);
		OK(cuMemcpyHtoDAsync(d, in, n, s));
		memset(in, 9, n);
		OK(cuMemcpyDtoHAsync(out, d, n, s));
		OK(cuStreamSynchronize(s));
		for (size_t i = 0; i < n; i++)
			EXPECT(out[i] == 5);
		free(in);
		free(out);
	}
}

static void boxes(void)
{
	start();
	enum { W = 100, H = 20, D = 5 };
	static uint8_t in[D][H][W], out[D][H][W];
	CUdeviceptr p;
	size_t pitch;
	for (int i = 0; i < D * H * W; i++)
		(&in[0][0][0])[i] = (uint8_t)(i * 7);
	OK(cuMemAllocPitch(&p, &pitch, W, H * D, 4));
	EXPECT(pitch >= W && pitch % 32 == 0);
	CUDA_MEMCPY3D c = {
		.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = in, .srcPitch = W, .srcHeight = H,
		.dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = p, .dstPitch = pitch, .dstHeight = H,
		.WidthInBytes = W, .Height = H, .Depth = D,
	};
	OK(cuMemcpy3D(&c));
	CUDA_MEMCPY3D back = {
		.srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = p, .srcPitch = pitch, .srcHeight = H,
		.srcXInBytes = 10, .srcY = 3, .srcZ = 1,
		.dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = out, .dstPitch = W, .dstHeight = H,
		.WidthInBytes = 50, .Height = 10, .Depth = 3,
	};
	OK(cuMemcpy3D(&back));
	for (int z = 0; z < 3; z++)
		for (int y = 0; y < 10; y++)
			EXPECT(!memcmp(out[z][y], &in[z + 1][y + 3][10], 50) && out[z][y][50] == 0);
	CUDA_MEMCPY2D flat = {
		.srcMemoryType = CU_MEMORYTYPE_UNIFIED, .srcDevice = p, .srcPitch = pitch, .srcY = 1,
		.dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = out, .dstPitch = W, .WidthInBytes = W, .Height = 2,
	};
	OK(cuMemcpy2D(&flat));
	EXPECT(!memcmp(out, in[0][1], 2 * W));
	flat.srcPitch = W - 1;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&flat));
	flat.srcPitch = pitch;
	flat.srcY = (size_t)1 << 60;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&flat));
	flat.srcY = H * D;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&flat));
	OK(cuMemFree(p));
}

static void fills(void)
{
	start();
	CUdeviceptr p;
	static uint32_t out[4096];
	OK(cuMemAlloc(&p, sizeof out));
	OK(cuMemsetD8(p, 0x11, sizeof out));
	OK(cuMemsetD16(p + 2, 0x2233, 1001));
	OK(cuMemsetD32(p + 8192, 0x44556677, 500));
	OK(cuMemsetD2D8(p + 12288, 64, 0x99, 10, 4));
	OK(cuMemsetD2D32(p + 14336, 64, 0xabcdef01, 2, 3));
	OK(cuMemcpyDtoH(out, p, sizeof out));
	const uint8_t *b = (const uint8_t *)out;
	EXPECT(b[0] == 0x11 && b[1] == 0x11 && b[2] == 0x33 && b[3] == 0x22 && b[2002] == 0x33 && b[2004] == 0x11);
	EXPECT(out[2048] == 0x44556677 && out[2547] == 0x44556677 && out[2548] == 0x11111111);
	for (int y = 0; y < 4; y++)
		EXPECT(b[12288 + 64 * y] == 0x99 && b[12288 + 64 * y + 9] == 0x99 && b[12288 + 64 * y + 10] == 0x11);
	EXPECT(out[3584] == 0xabcdef01 && out[3584 + 33] == 0xabcdef01 && out[3584 + 34] == 0x11111111);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(p + 1, 0, 4));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemsetD8(0x1234, 0, 4));
	OK(cuMemsetD8(p, 0, 0));
	for (unsigned n = 1; n < 600; n += 37) {
		OK(cuMemsetD8(p, 0, sizeof out));
		OK(cuMemsetD16(p, 0xbeef, n));
		OK(cuMemcpyDtoH(out, p, sizeof out));
		for (unsigned i = 0; i < 700; i++)
			EXPECT(((uint16_t *)out)[i] == (i < n ? 0xbeef : 0));
	}
}

static void host_memory(void)
{
	CUcontext c = start();
	uint8_t *p, *q;
	CUdeviceptr d;
	unsigned flags;
	CUmemorytype type;
	OK(cuMemAllocHost((void **)&p, 10000));
	OK(cuMemHostAlloc((void **)&q, 10000, CU_MEMHOSTALLOC_PORTABLE));
	memset(p, 3, 10000);
	OK(cuMemHostGetDevicePointer(&d, p + 5, 0));
	EXPECT(d == (CUdeviceptr)(uintptr_t)(p + 5));
	OK(cuMemHostGetFlags(&flags, q));
	EXPECT(flags & CU_MEMHOSTALLOC_PORTABLE);
	OK(cuMemcpy((CUdeviceptr)(uintptr_t)q, (CUdeviceptr)(uintptr_t)p, 10000));
	EXPECT(q[9999] == 3);
	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)p));
	EXPECT(type == CU_MEMORYTYPE_HOST);
	CUcontext owner;
	OK(cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, (CUdeviceptr)(uintptr_t)p));
	EXPECT(owner == c);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFree((CUdeviceptr)(uintptr_t)p));
	OK(cuMemFreeHost(p));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(p));
	OK(cuMemFreeHost(q));
}

static void registration(void)
{
	start();
	size_t size = 1 << 20;
	CUdeviceptr d, dev;
	uint8_t *p = aligned_alloc(4096, size);
	OK(cuMemAlloc(&dev, size));
	OK(cuMemHostRegister(p, size, CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_PORTABLE));
	GIVES(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(p + 4096, 4096, 0));
	OK(cuMemHostGetDevicePointer(&d, p, 0));
	EXPECT(d == (CUdeviceptr)(uintptr_t)p);
	OK(cuMemsetD8(d, 0x5a, size));
	OK(cuCtxSynchronize());
	EXPECT(p[0] == 0x5a && p[size - 1] == 0x5a);
	CUstream s;
	OK(cuStreamCreate(&s, 0));
	OK(cuMemcpyHtoDAsync(dev, p, size, s));
	OK(cuMemsetD8Async(d, 0, size, s));
	OK(cuMemcpyDtoHAsync(p, dev, size, s));
	OK(cuStreamSynchronize(s));
	EXPECT(p[12345] == 0x5a);
	OK(cuMemHostUnregister(p));
	GIVES(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(p));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemHostGetDevicePointer(&d, p, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister(NULL, 4096, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister(p, 0, 0));
	free(p);
}

static void managed(void)
{
	start();
	CUdeviceptr p;
	int is, value;
	OK(cuMemAllocManaged(&p, 100000, CU_MEM_ATTACH_GLOBAL));
	memset((void *)p, 1, 100000);
	OK(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_MANAGED, p));
	EXPECT(is == 1);
	OK(cuMemsetD8(p, 2, 100000));
	OK(cuCtxSynchronize());
	EXPECT(((uint8_t *)p)[99999] == 2);
	CUmemLocation device = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 };
	OK(cuMemAdvise(p, 100000, CU_MEM_ADVISE_SET_READ_MOSTLY, device));
	OK(cuMemRangeGetAttribute(&value, sizeof value, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 100000));
	EXPECT(value == 1);
	OK(cuMemPrefetchAsync(p, 100000, device, 0, NULL));
	OK(cuCtxSynchronize());
	OK(cuMemRangeGetAttribute(&value, sizeof value, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, p, 100000));
	EXPECT(value == 0);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&p, 100, 0));
	OK(cuMemFree(p));
}

static void pools(void)
{
	start();
	CUstream s;
	CUmemoryPool pool, own;
	CUdeviceptr p, q;
	cuuint64_t used, keep = UINT64_MAX;
	uint32_t out[256];
	OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	OK(cuDeviceGetDefaultMemPool(&pool, 0));
	OK(cuMemAllocAsync(&p, sizeof out, s));
	OK(cuMemsetD32Async(p, 0x77, 256, s));
	OK(cuMemcpyDtoHAsync(out, p, sizeof out, s));
	OK(cuStreamSynchronize(s));
	EXPECT(out[255] == 0x77);
	OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
	EXPECT(used >= sizeof out);
	OK(cuMemFreeAsync(p, s));
	OK(cuStreamSynchronize(s));
	OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
	EXPECT(used == 0);
	CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
		.location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 } };
	OK(cuMemPoolCreate(&own, &props));
	OK(cuMemPoolSetAttribute(own, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
	OK(cuMemAllocFromPoolAsync(&q, 4 << 20, own, s));
	CUmemoryPool of;
	OK(cuPointerGetAttribute(&of, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, q));
	EXPECT(of == own);
	OK(cuMemFreeAsync(q, s));
	OK(cuStreamSynchronize(s));
	OK(cuMemPoolGetAttribute(own, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &used));
	EXPECT(used >= 4 << 20);
	OK(cuMemPoolTrimTo(own, 0));
	OK(cuMemPoolGetAttribute(own, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &used));
	EXPECT(used == 0);
	OK(cuMemPoolDestroy(own));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAllocAsync(&p, 0, s));
}

static void pointer_attributes(void)
{
	start();
	CUdeviceptr p, start_addr = 1;
	size_t size = 1;
	int ordinal = 5, local;
	CUmemorytype type = 77;
	OK(cuMemAlloc(&p, 4000));
	CUpointer_attribute which[] = { CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
		CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, CU_POINTER_ATTRIBUTE_RANGE_SIZE };
	void *data[] = { &type, &ordinal, &start_addr, &size };
	OK(cuPointerGetAttributes(4, which, data, p + 17));
	EXPECT(type == CU_MEMORYTYPE_DEVICE && ordinal == 0 && start_addr == p && size == 4000);
	OK(cuPointerGetAttributes(4, which, data, (CUdeviceptr)(uintptr_t)&local));
	EXPECT(type == 0 && ordinal == CU_DEVICE_INVALID && start_addr == 0 && size == 0);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 0x100));
	void *host;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, p));
	OK(cuMemFree(p));
}

static const struct test_case cases[] = {
	{ "init_and_device", init_and_device }, { "contexts", contexts }, { "accounting", accounting },
	{ "exhaust", exhaust }, { "linear_copies", linear_copies },
	{ "async_pageable_source_is_taken", async_pageable_source_is_taken }, { "boxes", boxes }, { "fills", fills },
	{ "host_memory", host_memory }, { "registration", registration }, { "managed", managed }, { "pools", pools },
	{ "pointer_attributes", pointer_attributes },
};

MAIN(cases)
