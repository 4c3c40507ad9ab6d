/* recover.cu - a device reset after a fault gives the process a fresh start.  No end-to-end program: NVIDIA's runtime
 * does not promise that (an H200 answered cudaErrorDevicesUnavailable to what came after the reset). */
#include "tests/e2e/check.h"

__device__ int counter = 5;
__global__ void wild(int *p) { *p = 1; }
__global__ void count(int *out) { *out = atomicAdd(&counter, 1); }

static int next(void)
{
	int *d, h = -1;
	MUST(cudaMalloc(&d, 4));
	count<<<1, 1>>>(d);
	MUST(cudaMemcpy(&h, d, 4, cudaMemcpyDeviceToHost));
	MUST(cudaFree(d));
	return h;
}

int main()
{
	void *p;
	int *kept;
	MUST(cudaMalloc(&kept, 4));
	wild<<<1, 1>>>((int *)16);
	GIVES("fault", cudaErrorIllegalAddress, cudaDeviceSynchronize());
	GIVES("fault stays", cudaErrorIllegalAddress, cudaMalloc(&p, 4));
	MUST(cudaDeviceReset());
	cudaGetLastError();
	e2e_case("after a fault and a reset", next() == 5);
	e2e_case("memory from before the fault is gone", cudaFree(kept) == cudaErrorInvalidValue);
	cudaGetLastError();
	MUST(cudaDeviceSynchronize());
	MUST(cudaStreamSynchronize(0));
	wild<<<1, 1>>>((int *)16);
	cudaDeviceReset(); /* may tell of it, or come before it */
	cudaGetLastError();
	e2e_case("after a reset with a fault under way", next() == 5);
	return e2e_done();
}
