/* refusals.cu - launches one kernel and prints the name of what CUDA says of it. */
#include <cstdio>
#include <cuda_runtime.h>

__global__ void nothing() {}

int main()
{
	nothing<<<1, 1>>>();
	cudaError_t e = cudaGetLastError();
	printf("%s\n", cudaGetErrorName(e ? e : cudaDeviceSynchronize()));
	return 0;
}
