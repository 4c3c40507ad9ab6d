/* meet.cu - threads of a warp that come to joins and barriers one after the other, from different places, or not at all
 * because they have ended. What each kernel must leave is a checksum that an H200 gave natively: PTX promises it only
 * for instructions of one kind, CUDA not at all for barriers on both sides of a branch. */
#include "tests/e2e/check.h"
#include "tests/guard/cu/meet.cu"

#define BARRIER() asm volatile("barrier.sync 0;" ::: "memory")

/* Odd lanes meet the even ones from a loop, these from three places. */
__global__ void loop_and_row(int *o, int n)
{
	__shared__ int count[8];
	int t = threadIdx.x, r = 0;
	if (t < 8) count[t] = 0;
	__syncthreads();
	if (t & 1) {
		for (int i = 0; i < n; i++) {
			atomicAdd(&count[i], 1);
			BARRIER();
			r = r * 7 + count[i];
		}
	} else {
		atomicAdd(&count[0], 1);
		BARRIER();
		r = r * 7 + count[0];
		atomicAdd(&count[1], 1);
		BARRIER();
		r = r * 7 + count[1];
		atomicAdd(&count[2], 1);
		BARRIER();
		r = r * 7 + count[2];
	}
	o[t] = r;
}

__global__ void if_else(int *o)
{
	__shared__ int count;
	int t = threadIdx.x;
	if (t == 0) count = 0;
	__syncthreads();
	if (t % 3 == 0) {
		atomicAdd(&count, 1);
		BARRIER();
		o[t] = count;
	} else {
		atomicAdd(&count, 2);
		BARRIER();
		o[t] = count * 3;
	}
}

__global__ void joins(int *o, int n)
{
	int t = threadIdx.x, r = 0;
	if (t & 1) {
		for (int i = 0; i < n; i++) r += __shfl_xor_sync(~0u, t, 1);
	} else {
		r += __shfl_xor_sync(~0u, t, 1);
		r = r * 3 + __shfl_xor_sync(~0u, t, 1);
		r = r * 5 + __shfl_xor_sync(~0u, t, 1);
	}
	o[t] = r;
}

/* A block's sum, as everybody writes it: shuffles, a barrier, shuffles of the first warp, a barrier. */
__global__ void block_sum(int *o, int n)
{
	__shared__ int s[32];
	int t = threadIdx.x, v = t;
	for (int i = 0; i < n; i++) {
		for (int d = 16; d; d /= 2) v += __shfl_down_sync(~0u, v, d);
		if (t % 32 == 0) s[t / 32] = v;
		__syncthreads();
		if (t < 32) {
			v = t < (int)blockDim.x / 32 ? s[t] : 0;
			for (int d = 16; d; d /= 2) v += __shfl_down_sync(~0u, v, d);
			if (t == 0) s[0] = v;
		}
		__syncthreads();
		v = s[0] % 1000 + t;
		__syncthreads();
	}
	o[t] = v;
}

enum { N = 1024 };
static int *device;

/* Runs what `launch` launches on the same numbers each time. */
template <class F> static void sums(const char *name, unsigned want, F launch)
{
	int h[N];
	unsigned sum = 0;
	char why[80];

	for (unsigned i = 0; i < N; i++) h[i] = (i * 2654435761u >> 20) & 255;
	MUST(cudaMemcpy(device, h, sizeof h, cudaMemcpyHostToDevice));
	launch();
	MUST(cudaGetLastError());
	MUST(cudaMemcpy(h, device, sizeof h, cudaMemcpyDeviceToHost));
	for (int i = 0; i < N; i++) sum = sum * 31 + h[i];
	snprintf(why, sizeof why, "sum %08x, not %08x", sum, want);
	e2e_case(name, sum == want, why);
}

int main()
{
	MUST(cudaMalloc(&device, N * sizeof *device));
	sums("some come late", 0x8e2930cf, [] { late<<<1, 32>>>(device); });
	sums("some come late, three warps", 0x8b9cbddf, [] { late<<<1, 96>>>(device); });
	sums("threads leave", 0x3ed580d7, [] { leaves<<<1, dim3(20, 5)>>>(device, 6); });
	sums("loops end early", 0x4196e6c7, [] { breaks<<<1, 64>>>(device, 40); });
	sums("one less each round", 0x27edaea7, [] { fewer<<<1, 64>>>(device); });
	sums("barriers of who is left", 0xda935e4b, [] { blocks<<<1, 256>>>(device, 6); });
	sums("under a predicate", 0x230a5d67, [] { predicated<<<1, 96>>>(device); });
	sums("matrices", 0xf52390bf, [] { matrices<<<1, 32>>>(device); });
	sums("barriers in a loop and in a row", 0xb34a8aa7, [] { loop_and_row<<<1, 64>>>(device, 3); });
	sums("barriers in a loop and in a row, 256", 0x5490a237, [] { loop_and_row<<<1, 256>>>(device, 3); });
	sums("barriers on both sides", 0x66f95daf, [] { if_else<<<1, 96>>>(device); });
	sums("shuffles on both sides", 0xf9510e47, [] { joins<<<1, 64>>>(device, 3); });
	sums("sum of a block", 0x5941a2b7, [] { block_sum<<<1, 256>>>(device, 20); });
	sums("sum of a whole block", 0xf1fc0200, [] { block_sum<<<1, 1024>>>(device, 20); });
	sums("dynamic memory", 0x02b6fe88, [] { dynamic<<<1, 128, 4096>>>(device, 1024); });
	MUST(cudaFree(device));
	return e2e_done();
}
