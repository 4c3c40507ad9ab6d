/* driver_vmm.c - virtual memory management: windows, aliases, access rights, reference counts, sharing by descriptor,
 * host memory registered right above a reservation. */
#include <signal.h>
#include <sys/mman.h>
#include "direct.h"

#define WINDOW 0x210000000000ull
#define WINDOW_SIZE (1ull << 40)
enum { G = 2 << 20 };

static const CUmemAllocationProp device_prop = {
	.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 },
};
static const CUmemAccessDesc rw = {
	.location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0 }, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
};

static void window(void)
{
	start();
	CUdeviceptr w, other;
	CUmemGenericAllocationHandle h;
	size_t granularity, before, after, total;
	OK(cuMemGetAllocationGranularity(&granularity, &device_prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
	EXPECT(granularity == G);
	OK(cuMemGetInfo(&before, &total));
	OK(cuMemAddressReserve(&w, WINDOW_SIZE, G, WINDOW, 0));
	EXPECT(w == WINDOW);
	OK(cuMemAddressReserve(&other, G, 0, WINDOW + G, 0)); /* taken: another address is given */
	EXPECT(other < WINDOW || other >= WINDOW + WINDOW_SIZE);
	OK(cuMemAddressFree(other, G));
	OK(cuMemCreate(&h, 2 * G, &device_prop, 0));
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before - after == 2 * G);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, G + 4096, &device_prop, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemMap(w + 4096, G, 0, h, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemMap(w, 3 * G, 0, h, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemMap(w + WINDOW_SIZE - G, 2 * G, 0, h, 0));
	OK(cuMemMap(w + 4 * G, 2 * G, 0, h, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemMap(w + 5 * G, G, 0, h, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree(w, WINDOW_SIZE));
	OK(cuMemSetAccess(w + 4 * G, 2 * G, &rw, 1));
	OK(cuMemsetD32(w + 4 * G, 0x1234, 2 * G / 4));
	uint32_t x;
	OK(cuMemcpyDtoH(&x, w + 6 * G - 4, 4));
	EXPECT(x == 0x1234);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(&x, w + 6 * G - 2, 4));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(&x, w, 4));
	OK(cuMemRelease(h)); /* the mapping keeps the memory */
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before - after == 2 * G);
	OK(cuMemcpyDtoH(&x, w + 4 * G, 4));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(w + 4 * G, G));
	OK(cuMemUnmap(w + 4 * G, 2 * G));
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before == after);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(&x, w + 4 * G, 4));
#ifdef SOFT_DIRECT /* a real driver may crash on a stale handle */
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemRelease(h));
#endif
	OK(cuMemAddressFree(w, WINDOW_SIZE));
}

static void aliases(void)
{
	start();
	CUdeviceptr w;
	CUmemGenericAllocationHandle h;
	enum { TIMES = 512 };
	OK(cuMemAddressReserve(&w, WINDOW_SIZE, 0, WINDOW, 0));
	OK(cuMemCreate(&h, G, &device_prop, 0));
	for (int i = 0; i < TIMES; i++)
		OK(cuMemMap(w + (CUdeviceptr)i * G, G, 0, h, 0));
	OK(cuMemSetAccess(w, (size_t)TIMES * G, &rw, 1));
	OK(cuMemsetD32(w + 17ull * G, 0xfeed, G / 4));
	uint32_t x = 0;
	for (int i = 0; i < TIMES; i += 51) {
		OK(cuMemcpyDtoH(&x, w + (CUdeviceptr)i * G + 8, 4));
		EXPECT(x == 0xfeed);
	}
	CUmemGenericAllocationHandle again;
	OK(cuMemRetainAllocationHandle(&again, (void *)(w + 100ull * G)));
	EXPECT(again == h);
	OK(cuMemRelease(h));
	OK(cuMemUnmap(w, (size_t)TIMES * G));
	OK(cuMemMap(w, G, 0, again, 0));
	OK(cuMemSetAccess(w, G, &rw, 1));
	OK(cuMemcpyDtoH(&x, w, 4));
	EXPECT(x == 0xfeed);
	OK(cuMemUnmap(w, G));
	OK(cuMemRelease(again));
	OK(cuMemAddressFree(w, WINDOW_SIZE));
}

static void contiguous_mappings(void)
{
	start();
	CUdeviceptr w;
	CUmemGenericAllocationHandle h[4];
	static uint8_t in[4 * G], out[4 * G];
	OK(cuMemAddressReserve(&w, 16 * G, 0, 0, 0));
	for (int i = 0; i < 4; i++) {
		OK(cuMemCreate(&h[i], G, &device_prop, 0));
		OK(cuMemMap(w + (CUdeviceptr)i * G, G, 0, h[i], 0));
	}
	OK(cuMemSetAccess(w, 4 * G, &rw, 1));
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)(i >> 8 ^ i);
	OK(cuMemcpyHtoD(w, in, sizeof in));
	OK(cuMemcpyDtoH(out, w, sizeof out));
	EXPECT(!memcmp(in, out, sizeof in));
	OK(cuMemUnmap(w + G, G));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH(out, w, sizeof out));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(w, 4 * G));
	OK(cuMemcpyDtoH(out, w + 2 * G, 2 * G));
	OK(cuMemUnmap(w, G));
	OK(cuMemUnmap(w + 2 * G, 2 * G));
	OK(cuMemAddressFree(w, 16 * G));
	for (int i = 0; i < 4; i++)
		OK(cuMemRelease(h[i]));
}

static void access_rights(void)
{
	start();
	CUdeviceptr w;
	CUmemGenericAllocationHandle h;
	unsigned long long flags;
	uint32_t x = 1;
	OK(cuMemAddressReserve(&w, G, 0, 0, 0));
	OK(cuMemCreate(&h, G, &device_prop, 0));
	OK(cuMemMap(w, G, 0, h, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(w, &x, 4));
	OK(cuMemGetAccess(&flags, &rw.location, w));
	EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_NONE);
	OK(cuMemSetAccess(w, G, &rw, 1));
	OK(cuMemcpyHtoD(w, &x, 4));
	OK(cuMemGetAccess(&flags, &rw.location, w));
	EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
	OK(cuMemUnmap(w, G));
	OK(cuMemRelease(h));
	OK(cuMemAddressFree(w, G));
}

static void share(void)
{
	start();
	CUmemAllocationProp prop = device_prop;
	prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
	CUmemGenericAllocationHandle h, twin, plain;
	CUdeviceptr a, b;
	int fd = -1;
	OK(cuMemCreate(&h, 2 * G, &prop, 0));
	OK(cuMemCreate(&plain, G, &device_prop, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE,
		cuMemExportToShareableHandle(&fd, plain, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
	OK(cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
	EXPECT(fd >= 0);
	OK(cuMemImportFromShareableHandle(&twin, (void *)(intptr_t)fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
	close(fd);
	OK(cuMemAddressReserve(&a, 2 * G, 0, 0, 0));
	OK(cuMemAddressReserve(&b, 2 * G, 0, 0, 0));
	OK(cuMemMap(a, 2 * G, 0, h, 0));
	OK(cuMemMap(b, 2 * G, 0, twin, 0));
	OK(cuMemSetAccess(a, 2 * G, &rw, 1));
	OK(cuMemSetAccess(b, 2 * G, &rw, 1));
	OK(cuMemsetD32(a, 99, 2 * G / 4));
	uint32_t x = 0;
	OK(cuMemcpyDtoH(&x, b + G, 4));
	EXPECT(x == 99);
	OK(cuMemUnmap(a, 2 * G));
	OK(cuMemUnmap(b, 2 * G));
	OK(cuMemRelease(h));
	OK(cuMemRelease(twin));
	OK(cuMemRelease(plain));
}

/* The layout of a client's window: device granules below, registered host memory right above, one address space. */
static void host_above_window(void)
{
	start();
	CUdeviceptr w, d;
	size_t host_size = 8 * G;
	OK(cuMemAddressReserve(&w, WINDOW_SIZE / 2, 0, WINDOW, 0));
	EXPECT(w == WINDOW);
	int fd = memfd_create("host", 0);
	EXPECT(fd >= 0 && !ftruncate(fd, (off_t)host_size));
	void *want = (void *)(WINDOW + WINDOW_SIZE / 2);
	void *p = mmap(want, host_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	EXPECT(p == want);
	OK(cuMemHostRegister(p, host_size, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP));
	OK(cuMemHostGetDevicePointer(&d, p, 0));
	EXPECT(d == (CUdeviceptr)(uintptr_t)p);
	OK(cuMemsetD8(d + 1000, 0x42, 5000));
	OK(cuCtxSynchronize());
	EXPECT(((uint8_t *)p)[1000] == 0x42 && ((uint8_t *)p)[999] == 0);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister((char *)p + host_size, 4096, 0)); /* nothing mapped there */
	OK(cuMemHostUnregister(p));
	munmap(p, host_size);
	close(fd);
	OK(cuMemAddressFree(w, WINDOW_SIZE / 2));
}

static void many(void)
{
	start();
	enum { COUNT = 300 };
	CUdeviceptr w;
	CUmemGenericAllocationHandle h[COUNT];
	size_t before, after, total;
	OK(cuMemGetInfo(&before, &total));
	OK(cuMemAddressReserve(&w, (size_t)COUNT * G, 0, 0, 0));
	int n = 0;
	for (; n < COUNT && (size_t)(n + 8) * G < before; n++) {
		OK(cuMemCreate(&h[n], G, &device_prop, 0));
		OK(cuMemMap(w + (CUdeviceptr)n * G, G, 0, h[n], 0));
		OK(cuMemSetAccess(w + (CUdeviceptr)n * G, G, &rw, 1));
		OK(cuMemsetD32(w + (CUdeviceptr)n * G, (unsigned)n, 64));
	}
	for (int i = 0; i < n; i++) {
		uint32_t x;
		OK(cuMemcpyDtoH(&x, w + (CUdeviceptr)i * G + 128, 4));
		EXPECT(x == (uint32_t)i);
	}
	for (int i = 0; i < n; i++) {
		OK(cuMemUnmap(w + (CUdeviceptr)i * G, G));
		OK(cuMemRelease(h[i]));
	}
	OK(cuMemGetInfo(&after, &total));
	EXPECT(before == after);
}

static void bad_arguments(void)
{
	start();
	CUdeviceptr w;
	CUmemGenericAllocationHandle h;
	CUmemAllocationProp prop = device_prop;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&w, 0, 0, 0, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&w, 4096, 0, 0, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&w, G, 3 * G, 0, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&w, G, 0, 0, 1));
	GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemAddressReserve(&w, 1ull << 47, 0, 0, 0));
	prop.location.id = 77;
	GIVES(CUDA_ERROR_INVALID_DEVICE, cuMemCreate(&h, G, &prop, 0));
	prop = device_prop;
	prop.type = 0;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&h, G, &prop, 0));
	GIVES(CUDA_ERROR_OUT_OF_MEMORY, cuMemCreate(&h, 1ull << 44, &device_prop, 0));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(0x300000000000ull, G));
}

static const struct test_case cases[] = {
	{ "window", window },
	{ "aliases", aliases },
	{ "contiguous_mappings", contiguous_mappings },
	{ "access_rights", access_rights },
	{ "share", share },
	{ "host_above_window", host_above_window },
	{ "many", many },
	{ "bad_arguments", bad_arguments },
};

MAIN(cases)
