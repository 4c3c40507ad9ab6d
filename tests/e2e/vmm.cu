/* vmm.cu - virtual memory by hand: reserve, create, map, give access, move an allocation to another address, take
 * everything apart. */
#include "check.h"
#include <cuda.h>

#define DRV(call) do { CUresult r_ = (call); if (r_ != CUDA_SUCCESS) { const char *n_ = "?"; cuGetErrorName(r_, &n_); \
	printf("not ok %s:%d: %s: %s\n", __FILE__, __LINE__, #call, n_); exit(1); } } while (0)

__global__ void fill(unsigned *p, unsigned n, unsigned seed)
{
	unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) p[i] = i * 2654435761u + seed;
}

__global__ void differs(const unsigned *p, unsigned n, unsigned seed, unsigned *bad)
{
	unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n && p[i] != i * 2654435761u + seed) atomicAdd(bad, 1);
}

static bool holds(CUdeviceptr p, size_t bytes, unsigned seed)
{
	unsigned *bad, n = bytes / 4, h;
	MUST(cudaMalloc(&bad, 4));
	MUST(cudaMemset(bad, 0, 4));
	differs<<<(n + 255) / 256, 256>>>((unsigned *)p, n, seed, bad);
	MUST(cudaMemcpy(&h, bad, 4, cudaMemcpyDeviceToHost));
	MUST(cudaFree(bad));
	return h == 0;
}

int main()
{
	CUmemAllocationProp prop = {};
	CUmemGenericAllocationHandle a, b, again;
	CUmemAccessDesc access = {};
	CUdeviceptr va, vb;
	size_t grain;
	MUST(cudaFree(0));
	prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
	prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
	access.location = prop.location;
	access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	DRV(cuMemGetAllocationGranularity(&grain, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
	e2e_case("granularity", grain && grain % 65536 == 0);
	size_t n = grain;
	DRV(cuMemAddressReserve(&va, 3 * n, 0, 0, 0));
	DRV(cuMemCreate(&a, n, &prop, 0));
	DRV(cuMemCreate(&b, 2 * n, &prop, 0));
	e2e_case("odd size", cuMemCreate(&again, n + 1, &prop, 0) == CUDA_ERROR_INVALID_VALUE);
	DRV(cuMemMap(va, n, 0, a, 0));
	DRV(cuMemMap(va + n, 2 * n, 0, b, 0));
	e2e_case("mapped twice", cuMemMap(va, n, 0, a, 0) != CUDA_SUCCESS);
	DRV(cuMemSetAccess(va, 3 * n, &access, 1));
	unsigned words = 3 * n / 4;
	fill<<<(words + 255) / 256, 256>>>((unsigned *)va, words, 7);
	MUST(cudaDeviceSynchronize());
	e2e_case("two allocations, one range", holds(va, 3 * n, 7));
	unsigned long long flags = 0;
	DRV(cuMemGetAccess(&flags, &access.location, va + n));
	e2e_case("access", flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
	DRV(cuMemRetainAllocationHandle(&again, (void *)va));
	e2e_case("handle of an address", again == a);
	DRV(cuMemRelease(again));
	/* The first allocation moves: its contents go with it. */
	fill<<<(words / 3 + 255) / 256, 256>>>((unsigned *)va, words / 3, 99);
	DRV(cuMemAddressReserve(&vb, n, 0, 0, 0));
	MUST(cudaDeviceSynchronize());
	DRV(cuMemUnmap(va, n));
	DRV(cuMemMap(vb, n, 0, a, 0));
	DRV(cuMemSetAccess(vb, n, &access, 1));
	e2e_case("contents move with the allocation", holds(vb, n, 99));
	DRV(cuMemUnmap(vb, n));
	DRV(cuMemUnmap(va + n, 2 * n));
	DRV(cuMemRelease(a));
	DRV(cuMemRelease(b));
	DRV(cuMemAddressFree(va, 3 * n));
	DRV(cuMemAddressFree(vb, n));
	e2e_case("everything taken apart", cuMemRelease(a) != CUDA_SUCCESS);
	return e2e_done();
}
