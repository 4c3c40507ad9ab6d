/* two_library.cu - the library of two_main.cu: its own kernels and its own copy of the Runtime. */
#include "two.h"

__global__ void plus(int *p, int v, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) p[i] += v;
}

int *two_allocate(int n)
{
	int *p = nullptr;
	return cudaMalloc(&p, n * sizeof *p) || cudaMemset(p, 0, n * sizeof *p) ? nullptr : p;
}

cudaError_t two_add(int *p, int v, int n, cudaStream_t s)
{
	plus<<<(n + 255) / 256, 256, 0, s>>>(p, v, n);
	return cudaPeekAtLastError();
}

cudaError_t two_copy(int *host, const int *p, int n, cudaStream_t s)
{
	cudaError_t e = cudaMemcpyAsync(host, p, n * sizeof *p, cudaMemcpyDeviceToHost, s);
	return e ? e : cudaStreamSynchronize(s);
}

cudaError_t two_wait(cudaEvent_t e) { return cudaEventSynchronize(e); }
cudaError_t two_free(int *p) { return cudaFree(p); }
cudaError_t two_provoke() { return cudaSetDevice(4711); }
cudaError_t two_last_error() { return cudaGetLastError(); }
