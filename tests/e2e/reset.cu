/* reset.cu - a device reset in the middle of a program: what was allocated is gone, and everything works again,
 * variables as at the start. */
#include "check.h"

__device__ int counter = 5;
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
	void *p, *pinned;
	cudaStream_t s;
	cudaEvent_t e;
	e2e_case("first run", next() == 5 && next() == 6);
	MUST(cudaMalloc(&p, 1 << 20));
	MUST(cudaMallocHost(&pinned, 1 << 20));
	MUST(cudaStreamCreate(&s));
	MUST(cudaEventCreate(&e));
	MUST(cudaMemsetAsync(p, 1, 1 << 20, s));
	MUST(cudaDeviceReset());
	e2e_case("memory is gone", cudaFree(p) == cudaErrorInvalidValue);
	cudaGetLastError();
	e2e_case("variables start again", next() == 5);
	MUST(cudaStreamCreate(&s));
	MUST(cudaStreamSynchronize(s));
	MUST(cudaStreamDestroy(s));
	MUST(cudaDeviceReset());
	MUST(cudaDeviceReset());
	e2e_case("after two resets", next() == 5);
	return e2e_done();
}
