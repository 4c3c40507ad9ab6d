/* kernels.cu - what kernels do: shared memory, atomics, warps, launch errors, attributes, occupancy, cooperative
 * grids, local memory. */
#include "check.h"
#include <cooperative_groups.h>
#include <cmath>
#include <vector>
namespace cg = cooperative_groups;

__global__ void reverse(int *p) { extern __shared__ int s[]; __shared__ int t[256]; int i = threadIdx.x;
	s[i] = p[i]; t[i] = 2 * p[i]; __syncthreads(); p[i] = s[blockDim.x - 1 - i] + t[i]; }
__global__ void big_shared(char *out, int n)
{
	extern __shared__ char big[];
	for (int i = threadIdx.x; i < n; i += blockDim.x) big[i] = (char)i;
	__syncthreads();
	if (!threadIdx.x) { int s = 0; for (int i = 0; i < n; i++) s += big[i]; *(int *)out = s; }
}
__global__ void warp_ops(int *out) { int v = threadIdx.x; for (int k = 16; k; k /= 2) v += __shfl_down_sync(~0u, v, k);
	unsigned b = __ballot_sync(~0u, threadIdx.x & 1);
	int any = __any_sync(~0u, threadIdx.x == 9);
	if (threadIdx.x == 0) {
		out[0] = v;
		out[1] = (int)b;
		out[2] = any;
		out[3] = __popc(b);
	}
}
__global__ void atomics(int *i, float *f, double *d, unsigned long long *u)
{
	atomicAdd(i, 1);
	atomicMax(i + 1, (int)threadIdx.x);
	atomicAdd(f, .5f);
	atomicAdd(d, .25);
	atomicCAS(u, 0ull, (unsigned long long)threadIdx.x + 1);
	atomicOr(i + 2, 1 << (threadIdx.x & 31));
	atomicExch(i + 3, 5);
}
__global__ void __launch_bounds__(128) bounded(int *p) { *p = 1; }
__global__ void grid_sum(int *part, int *out, int n)
{
	cg::grid_group g = cg::this_grid();
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (threadIdx.x == 0) part[blockIdx.x] = blockIdx.x + 1;
	g.sync();
	if (i == 0) {
		int s = 0;
		for (int k = 0; k < gridDim.x; k++) s += part[k];
		*out = s;
	}
	g.sync(); if (threadIdx.x == 0) part[blockIdx.x] = *out; (void)n;
}
__global__ void stack_user(int *out, int n)
{
	int a[64];
	for (int i = 0; i < 64; i++) a[i] = i * n;
	int s = 0;
	for (int i = 0; i < n; i++) s += a[(i * 7) & 63];
	out[threadIdx.x] = s + a[threadIdx.x & 63];
}
__device__ __noinline__ int helper(int a, int b) { return a > b ? a * 3 + b : b * 5 - a; }
struct pack { double d; int i; char c[5]; short s; };
__global__ void structs(pack p, pack *out) { *out = p; out->i = helper(p.i, 10); out->d = sqrt(p.d) + __sinf(0.f); }
__global__ void math(float *o, float x)
{
	o[0] = sinf(x);
	o[1] = expf(x);
	o[2] = logf(x);
	o[3] = powf(x, 1.7f);
	o[4] = x / 3.f;
	o[5] = sqrtf(x);
	o[6] = rsqrtf(x);
	o[7] = tanhf(x);
	o[8] = fmodf(10.f, x); o[9] = (float)cos((double)x);
}
__global__ void early(int *p)
{
	if (threadIdx.x >= 16) return;
	__syncwarp(0xffff);
	atomicAdd(p, __popc(__activemask()) == 16);
}
__global__ void empty() {}

static void launches(void)
{
	int *d;
	MUST(cudaMalloc(&d, 4096));
	GIVES("no threads", cudaErrorInvalidValue, (empty<<<1, 0>>>(), cudaGetLastError()));
	GIVES("too many threads", cudaErrorInvalidValue, (empty<<<1, 2048>>>(), cudaGetLastError()));
	GIVES("grid too high", cudaErrorInvalidValue, (empty<<<dim3(1, 70000), 1>>>(), cudaGetLastError()));
	GIVES("too much shared memory", cudaErrorInvalidValue,
	      (big_shared<<<1, 32, 100000>>>((char *)d, 100000), cudaGetLastError()));
	MUST(cudaFuncSetAttribute(big_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 100000));
	big_shared<<<1, 128, 100000>>>((char *)d, 100000);
	int sum, want = 0;
	MUST(cudaMemcpy(&sum, d, 4, cudaMemcpyDeviceToHost));
	for (int i = 0; i < 100000; i++) want += (signed char)i;
	e2e_case("opt-in shared memory", sum == want);
	e2e_case("more threads than launch bounds", (bounded<<<1, 256>>>(d), cudaGetLastError()) != cudaSuccess);
	cudaFuncAttributes a;
	MUST(cudaFuncGetAttributes(&a, reverse));
	e2e_case("function attributes", a.sharedSizeBytes == 1024 && a.maxThreadsPerBlock == 1024 && a.numRegs > 0);
	MUST(cudaFuncGetAttributes(&a, bounded));
	e2e_case("launch bounds attribute", a.maxThreadsPerBlock == 128);
	int blocks, size, grid;
	MUST(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, empty, 256, 0));
	e2e_case("occupancy", blocks == 8);
	MUST(cudaOccupancyMaxPotentialBlockSize(&grid, &size, empty, 0, 0));
	e2e_case("potential block size", size == 1024 && grid > 0);
	MUST(cudaFree(d));
}

static void compute(void)
{
	int h[256], *d;
	for (int i = 0; i < 256; i++) h[i] = i;
	MUST(cudaMalloc(&d, 4096));
	MUST(cudaMemcpy(d, h, 1024, cudaMemcpyHostToDevice));
	reverse<<<1, 256, 1024>>>(d);
	MUST(cudaMemcpy(h, d, 1024, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int i = 0; i < 256; i++) ok &= h[i] == 255 - i + 2 * i;
	e2e_case("static and dynamic shared memory", ok);
	warp_ops<<<1, 32>>>(d);
	MUST(cudaMemcpy(h, d, 16, cudaMemcpyDeviceToHost));
	e2e_case("shuffle and vote", h[0] == 496 && h[1] == (int)0xaaaaaaaa && h[2] == 1 && h[3] == 16);
	MUST(cudaMemset(d, 0, 4096));
	atomics<<<8, 96>>>(d, (float *)(d + 4), (double *)(d + 6), (unsigned long long *)(d + 8));
	MUST(cudaMemcpy(h, d, 48, cudaMemcpyDeviceToHost));
	double dd;
	float ff;
	memcpy(&ff, h + 4, 4);
	memcpy(&dd, h + 6, 8);
	e2e_case("atomics",
		 h[0] == 768 && h[1] == 95 && h[2] == -1 && h[3] == 5 && ff == 384.f && dd == 192. && h[8] != 0);
	stack_user<<<1, 64>>>(d, 5);
	MUST(cudaMemcpy(h, d, 256, cudaMemcpyDeviceToHost));
	ok = true;
	for (int t = 0; t < 64; t++) {
		int s = 0;
		for (int i = 0; i < 5; i++) s += ((i * 7) & 63) * 5;
		ok &= h[t] == s + t * 5;
	}
	e2e_case("local arrays", ok);
	pack p = { 9., 4, "abcd", -3 }, q, *dp;
	MUST(cudaMalloc(&dp, sizeof p));
	structs<<<1, 1>>>(p, dp);
	MUST(cudaMemcpy(&q, dp, sizeof q, cudaMemcpyDeviceToHost));
	e2e_case("struct parameters and a call",
		 q.d == 3. && q.i == 10 * 5 - 4 && !memcmp(q.c, "abcd", 5) && q.s == -3);
	MUST(cudaMemset(d, 0, 4));
	early<<<1, 32>>>(d);
	MUST(cudaMemcpy(h, d, 4, cudaMemcpyDeviceToHost));
	e2e_case("half a warp returns early", h[0] == 16);
	float o[10], x = 1.3f;
	math<<<1, 1>>>((float *)d, x);
	MUST(cudaMemcpy(o, d, 40, cudaMemcpyDeviceToHost));
	float w[10] = { sinf(x),  expf(x),	  logf(x),  powf(x, 1.7f),  x / 3.f,
			sqrtf(x), 1.f / sqrtf(x), tanhf(x), fmodf(10.f, x), (float)cos((double)x) };
	ok = o[4] == w[4] && o[5] == w[5];
	for (int i = 0; i < 10; i++) ok &= fabsf(o[i] - w[i]) <= 4e-6f * fabsf(w[i]);
	e2e_case("mathematical functions", ok);
	MUST(cudaFree(d));
	MUST(cudaFree(dp));
}

static void cooperative(void)
{
	int *part, *out, h[16], n = 16;
	MUST(cudaMalloc(&part, 64));
	MUST(cudaMalloc(&out, 4));
	void *args[] = { &part, &out, &n };
	MUST(cudaLaunchCooperativeKernel((void *)grid_sum, dim3(16), dim3(64), args, 0, 0));
	MUST(cudaMemcpy(h, part, 64, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int i = 0; i < 16; i++) ok &= h[i] == 136;
	e2e_case("grid-wide synchronisation", ok);
	GIVES("cooperative launch that cannot be resident", cudaErrorCooperativeLaunchTooLarge,
	      cudaLaunchCooperativeKernel((void *)grid_sum, dim3(1000000), dim3(64), args, 0, 0));
	cudaGetLastError();
	MUST(cudaFree(part));
	MUST(cudaFree(out));
}

static void device(void)
{
	int n = 0, v = 0, cur = -1;
	cudaDeviceProp p;
	MUST(cudaGetDeviceCount(&n));
	MUST(cudaGetDevice(&cur));
	MUST(cudaGetDeviceProperties(&p, 0));
	MUST(cudaDeviceGetAttribute(&v, cudaDevAttrMultiProcessorCount, 0));
	e2e_case("device properties", n >= 1 && cur == 0 && p.warpSize == 32 && p.multiProcessorCount == v &&
					      p.major >= 7 && p.maxThreadsPerBlock == 1024 && p.name[0] &&
					      p.totalGlobalMem > (64 << 20));
	GIVES("no such device", cudaErrorInvalidDevice, cudaSetDevice(n));
	GIVES("error is remembered", cudaErrorInvalidDevice, cudaGetLastError());
	e2e_case("error names", !strcmp(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation") &&
					!strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory") &&
					!strcmp(cudaGetErrorString(cudaSuccess), "no error"));
	int rv = 0, dv = 0;
	MUST(cudaRuntimeGetVersion(&rv));
	MUST(cudaDriverGetVersion(&dv));
	e2e_case("versions", rv == CUDART_VERSION && dv >= rv);
}

int main()
{
	device();
	launches();
	compute();
	cooperative();
	return e2e_done();
}
