/* fatbin_kernel.cu - what the fat binaries of fatbin_test.c hold. Long enough that every compressor has something to
 * do. */
__device__ int counter;
__constant__ float table[64];

template <int R> __device__ float mix(float x)
{
#pragma unroll
	for (int i = 0; i < R; i++)
		x = x * table[i & 63] + (float)i;
	return x;
}

extern "C" __global__ void kernel_one(float *p, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		p[i] = mix<40>(p[i]) + counter;
}

extern "C" __global__ void kernel_two(double *p)
{
	p[threadIdx.x] += mix<13>((float)p[threadIdx.x]);
}
