// exec_kernels.cu - kernels as nvcc compiles them, for exec_nvcc.c: every one is an ordinary CUDA kernel.
#include <cassert>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cstdio>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace cg = cooperative_groups;

extern "C" __global__ void gridsync(unsigned *p, int rounds)
{
	auto g = cg::this_grid();
	for (int r = 0; r < rounds; r++) {
		if (threadIdx.x == 0)
			atomicAdd(&p[r], 1u);
		g.sync();
		if (threadIdx.x == 0 && p[r] != gridDim.x)
			atomicAdd(&p[rounds], 1u);
	}
}

extern "C" __global__ void matmul(const float *A, const float *B, float *C, int n)
{
	__shared__ float As[16][16], Bs[16][16];
	int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * 16 + ty, col = blockIdx.x * 16 + tx;
	float s = 0;
	for (int k = 0; k < n / 16; k++) {
		As[ty][tx] = A[row * n + k * 16 + tx];
		Bs[ty][tx] = B[(k * 16 + ty) * n + col];
		__syncthreads();
#pragma unroll
		for (int j = 0; j < 16; j++)
			s = fmaf(As[ty][j], Bs[j][tx], s);
		__syncthreads();
	}
	C[row * n + col] = s;
}

// A lock taken by every lane: the usual form, and the one that needs independent thread scheduling.
extern "C" __global__ void lock_polite(int *lock, int *count)
{
	bool done = false;
	while (!done) {
		if (atomicCAS(lock, 0, 1) == 0) {
			*(volatile int *)count = *(volatile int *)count + 1;
			__threadfence();
			atomicExch(lock, 0);
			done = true;
		}
	}
}

extern "C" __global__ void lock_rude(int *lock, int *count)
{
	while (atomicCAS(lock, 0, 1) != 0)
		;
	*(volatile int *)count = *(volatile int *)count + 1;
	__threadfence();
	atomicExch(lock, 0);
}

// Lane 0 waits for what lane 31 writes, in different branches.
extern "C" __global__ void wait_lane(volatile int *flag, int *out)
{
	if (threadIdx.x % 32 == 0) {
		while (flag[threadIdx.x / 32] == 0)
			;
		out[threadIdx.x / 32] = flag[threadIdx.x / 32] + 1;
	} else if (threadIdx.x % 32 == 31) {
		flag[threadIdx.x / 32] = 41 + threadIdx.x / 32;
	}
}

// Warp 0 waits for the last warp, without a barrier.
extern "C" __global__ void wait_warp(volatile int *flag, int *out)
{
	if (threadIdx.x < 32) {
		while (*flag == 0)
			;
		out[threadIdx.x] = *flag;
	} else if (threadIdx.x == blockDim.x - 1) {
		*flag = 7;
	}
}

// Block i waits for block i + 1, which starts later.
extern "C" __global__ void wait_later_block(volatile int *flag, int *out)
{
	if (threadIdx.x == 0) {
		int b = blockIdx.x;
		if (b + 1 < gridDim.x)
			while (flag[b + 1] == 0)
				;
		out[b] = b + 1 < gridDim.x ? out[b + 1] + 1 : 1;
		__threadfence();
		flag[b] = 1;
	}
}

__device__ __noinline__ int fib(int n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

extern "C" __global__ void recursion(int *o)
{
	o[threadIdx.x] = fib(threadIdx.x % 14);
}

__device__ __noinline__ int endless(int n, int *p)
{
	volatile int a[16];
	a[n & 15] = n;
	int r = endless(n + 1, p) + a[(n + 1) & 15];
	*p = r;
	return r;
}

extern "C" __global__ void overflow(int *p)
{
	p[1] = endless(p[0], p);
}

extern "C" __global__ void print(int a, double d)
{
	if (threadIdx.x == 3)
		printf("t%d a=%d d=%.3f %s %5u|%-5d|%lld %c %p%%\n", threadIdx.x, a, d, "str", 7u, 8, (long long)-9,
			'z', (void *)16);
}

extern "C" __global__ void asserts(int *p)
{
	assert(p[threadIdx.x] < 3);
	p[threadIdx.x]++;
}

typedef int (*fn)(int);
__device__ int times3(int x) { return x * 3; }
__device__ int plus100(int x) { return x + 100; }
__device__ int minus(int x) { return -x; }
__device__ fn table[3] = { times3, plus100, minus };

extern "C" __global__ void indirect(int *o)
{
	o[threadIdx.x] = table[threadIdx.x % 3](threadIdx.x);
}

extern "C" __global__ void wild_call(int *o, unsigned long long target)
{
	o[threadIdx.x] = ((fn)target)(threadIdx.x);
}

struct base { virtual __device__ int v(int) { return 1; } };
struct derived : base {
	int k;
	__device__ derived(int k) : k(k) {}
	__device__ int v(int x) override { return x * k; }
};

extern "C" __global__ void virtuals(int *o)
{
	base *b = threadIdx.x & 1 ? (base *)new derived(threadIdx.x) : new base;
	o[threadIdx.x] = b->v(2);
	delete b;
}

extern "C" __global__ void reduce(const int *in, int *out, int n)
{
	auto b = cg::this_thread_block();
	auto w = cg::tiled_partition<32>(b);
	int s = 0;
	for (int i = b.thread_rank(); i < n; i += b.size())
		s += in[i];
	s = cg::reduce(w, s, cg::plus<int>());
	if (w.thread_rank() == 0)
		atomicAdd(out, s);
}

extern "C" __global__ void coalesced(int *o)
{
	int t = threadIdx.x;
	if (t % 3 == 0) {
		auto a = cg::coalesced_threads();
		o[t] = a.size() * 1000 + a.thread_rank();
		o[t + 32] = a.shfl(t, a.size() - 1);
	} else {
		auto a = cg::coalesced_threads();
		o[t] = -(int)a.size();
		o[t + 32] = __reduce_add_sync(__activemask(), 1);
	}
}

// One member mask, reached from two branches.
extern "C" __global__ void split_shuffle(int *o)
{
	int t = threadIdx.x, v;
	if (t & 1)
		v = __shfl_xor_sync(0xffffffffu, t * 10, 1);
	else
		v = __shfl_xor_sync(0xffffffffu, t * 100, 1);
	o[t] = v;
	o[t + 32] = __ballot_sync(0xffffffffu, t % 5 == 0);
}

extern "C" __global__ void scan(int *d, int n)
{
	extern __shared__ int s[];
	int t = threadIdx.x;
	s[t] = d[t];
	__syncthreads();
	for (int o = 1; o < n; o *= 2) {
		int v = t >= o ? s[t - o] : 0;
		__syncthreads();
		s[t] += v;
		__syncthreads();
	}
	d[t] = s[t];
}

extern "C" __global__ void votes(int *o)
{
	int t = threadIdx.x;
	o[t] = __syncthreads_count(t % 3 == 0);
	o[t + blockDim.x] = __syncthreads_and(t < 1000) * 2 + __syncthreads_or(t == 17);
	o[t + 2 * blockDim.x] = __all_sync(~0u, t < 64) * 4 + __any_sync(~0u,
		t == 70) * 2 + (__match_any_sync(~0u, t / 4) == 0xfu << (t % 32 / 4 * 4));
}

extern "C" __global__ void histogram(const unsigned *d, unsigned *h, int n)
{
	__shared__ unsigned s[256];
	for (int i = threadIdx.x; i < 256; i += blockDim.x)
		s[i] = 0;
	__syncthreads();
	for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
		atomicAdd(&s[d[i] & 255], 1u);
	__syncthreads();
	for (int i = threadIdx.x; i < 256; i += blockDim.x)
		atomicAdd(&h[i], s[i]);
}

extern "C" __global__ void atomics(int *i, unsigned *u, unsigned long long *l, float *f, double *d, __half2 *h)
{
	int t = blockIdx.x * blockDim.x + threadIdx.x;
	atomicAdd(&i[0], t);
	atomicMin(&i[1], -t);
	atomicMax(&i[2], t);
	atomicAnd(&u[0], ~(1u << (t % 32)));
	atomicOr(&u[1], 1u << (t % 32));
	atomicXor(&u[2], t);
	atomicInc(&u[3], 99);
	atomicDec(&u[4], 99);
	atomicExch(&u[5], t);
	atomicAdd(l, (unsigned long long)t << 20);
	atomicMax(&l[1], (unsigned long long)t << 33);
	atomicAdd(f, 1.0f);
	atomicAdd(d, 0.5);
	if (t < 512)
		atomicAdd(h, __floats2half2_rn(1, 2));
}

__constant__ float coef[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
__device__ int gvar = 42;
__device__ const int *gptr = &gvar;

extern "C" __global__ void constants(float *o, int k)
{
	o[threadIdx.x] = coef[(threadIdx.x + k) & 7] + gvar + *gptr;
}

extern "C" __global__ void locals(int *o, int n)
{
	int a[64];
	for (int i = 0; i < 64; i++)
		a[i] = i * threadIdx.x;
	int s = 0;
	for (int i = 0; i < n; i++)
		s += a[(i * 7 + threadIdx.x) & 63];
	o[threadIdx.x] = s;
}

extern "C" __global__ void switches(int *o)
{
	int t = threadIdx.x, r;
	switch (t % 9) {
	case 0: r = t * 3; break;
	case 1: r = t + 7; break;
	case 2: r = t ^ 55; break;
	case 3: r = t - 9; break;
	case 4: r = t * t; break;
	case 5: r = ~t; break;
	case 6: r = t << 3; break;
	case 7: r = t / 3; break;
	default: r = 1;
	}
	o[t] = r;
}

extern "C" __global__ void mandel(int *o, int w)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	float x = -2 + 3.f * (i % w) / w, y = -1 + 2.f * (i / w) / w, a = 0, b = 0;
	int n = 0;
	while (n < 256 && __fadd_rn(__fmul_rn(a, a), __fmul_rn(b, b)) < 4) {
		float t = __fadd_rn(__fsub_rn(__fmul_rn(a, a), __fmul_rn(b, b)), x);
		b = __fadd_rn(__fmul_rn(__fmul_rn(2, a), b), y);
		a = t;
		n++;
	}
	o[i] = n;
}

extern "C" __global__ void write_at(int *p, int i) { p[i + threadIdx.x] = 1; }
extern "C" __global__ void write_one(int *p) { if (threadIdx.x == 37) *p = 1; }
extern "C" __global__ void traps() { if (threadIdx.x == 5) __trap(); }
extern "C" __global__ void misaligned(char *p) { *(int *)(p + threadIdx.x) = 1; }
extern "C" __global__ void shared_at(int *o, int i)
{
	__shared__ int s[32];
	s[threadIdx.x] = threadIdx.x;
	__syncthreads();
	o[threadIdx.x] = s[i + threadIdx.x];
}
extern "C" __global__ void forever(volatile int *p) { while (*p == 0) ; }
extern "C" __global__ void stuck(int *p)
{
	if (threadIdx.x < 32)
		asm volatile("bar.sync 1, 64;" ::: "memory");
	p[threadIdx.x] = 1;
}

extern "C" __global__ void fmath(const float *a, float *o, int n)
{
	int i = threadIdx.x + blockIdx.x * blockDim.x;
	if (i < n) {
		o[i] = sinf(a[i]);
		o[i + n] = expf(a[i]);
		o[i + 2 * n] = logf(fabsf(a[i]) + 1);
		o[i + 3 * n] = powf(fabsf(a[i]), 1.3f);
		o[i + 4 * n] = tanhf(a[i]);
		o[i + 5 * n] = erff(a[i]);
	}
}

extern "C" __global__ void dmath(const double *a, double *o, int n)
{
	int i = threadIdx.x + blockIdx.x * blockDim.x;
	if (i < n) {
		o[i] = sin(a[i]);
		o[i + n] = exp(a[i]);
		o[i + 2 * n] = log(fabs(a[i]) + 1);
		o[i + 3 * n] = pow(fabs(a[i]), 1.3);
		o[i + 4 * n] = 1 / a[i];
		o[i + 5 * n] = sqrt(fabs(a[i])) / 3;
	}
}

struct blob { int k; double d[3]; char c; };
__device__ __noinline__ blob shuffle_blob(blob b, int i) { b.d[i % 3] += b.k; b.c ^= i; b.k = -b.k; return b; }
extern "C" __global__ void structs(blob *p, const __grid_constant__ blob q)
{
	blob r = shuffle_blob(p[threadIdx.x], threadIdx.x);
	const double *d = q.d;
	r.d[(threadIdx.x + 1) % 3] += d[threadIdx.x % 3];
	p[threadIdx.x] = r;
}

extern "C" __global__ void halves(const __half2 *a, const __half2 *b, __half2 *o, const __nv_bfloat162 *c,
	__nv_bfloat162 *e)
{
	int i = threadIdx.x;
	o[i] = __hfma2(a[i], b[i], __hadd2(a[i], b[i]));
	e[i] = __hfma2(c[i], c[i], c[i]);
}
