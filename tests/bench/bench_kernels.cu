/* bench_kernels.cu - kernels with one kind of memory access each: what the guard costs. Prints `NAME VALUE us` lines,
 * medians of event-timed launches; each result is checked, so that a faster wrong kernel is no result. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>
#include <cuda_runtime.h>

#define MUST(call) do { cudaError_t e_ = (call); if (e_ != cudaSuccess) { \
	fprintf(stderr, "bench_kernels: %s: %s\n", #call, cudaGetErrorString(e_)); exit(1); } } while (0)

__global__ void saxpy(float *y, const float *x, float a, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) y[i] = a * x[i] + y[i];
}
__global__ void saxpy4(float4 *y, const float4 *x, float a, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n) return;
	float4 p = x[i], q = y[i]; y[i] = make_float4(a * p.x + q.x, a * p.y + q.y, a * p.z + q.z, a * p.w + q.w);
}
__global__ void gather(float *y, const float *x, const int *at, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) y[i] = x[at[i]];
}
__global__ void chase(int *out, const int *next, int steps)
{
	int i = threadIdx.x;
	for (int k = 0; k < steps; k++) i = next[i];
	out[threadIdx.x] = i;
}
__global__ void l1_loop(float *out, const float *in, int rounds)
{
	float s = 0;
	const float *p = in + (threadIdx.x & 255);
	for (int k = 0; k < rounds; k++) s += p[(k & 7) * 256]; out[blockIdx.x * blockDim.x + threadIdx.x] = s;
}
__global__ void stencil(float *out, const float *in, int w, int h)
{
	int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
	if (x < 1 || y < 1 || x >= w - 1 || y >= h - 1) return;
	const float *p = in + (size_t)y * w + x;
	out[(size_t)y * w + x] = .2f * (p[0] + p[1] + p[-1] + p[w] + p[-w]);
}
__global__ void matmul_naive(float *c, const float *a, const float *b, int n)
{
	int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
	float s = 0; for (int k = 0; k < n; k++) s += a[y * n + k] * b[k * n + x]; c[y * n + x] = s;
}
__global__ void matmul_tiled(float *c, const float *a, const float *b, int n) { __shared__ float ta[32][32], tb[32][32];
	int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y; float s = 0;
	for (int t = 0; t < n; t += 32) {
		ta[threadIdx.y][threadIdx.x] = a[y * n + t + threadIdx.x];
		tb[threadIdx.y][threadIdx.x] = b[(t + threadIdx.y) * n + x];
		__syncthreads();
		for (int k = 0; k < 32; k++) s += ta[threadIdx.y][k] * tb[k][threadIdx.x];
		__syncthreads();
	}
	c[y * n + x] = s;
}
__global__ void histogram(int *bins, const unsigned char *in, int n)
{
	for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
		atomicAdd(&bins[in[i]], 1);
}
__global__ void tree(int *out, const int2 *node, const int *key, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n) return;
	int at = 0, k = key[i];
	for (int d = 0; d < 20; d++) { int2 v = node[at]; at = k & 1 << d ? v.y : v.x; } out[i] = at;
}
__global__ void reduce(float *out, const float *in, int n)
{
	__shared__ float s[256];
	float v = 0;
	for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) v += in[i];
	s[threadIdx.x] = v;
	__syncthreads();
	for (int k = 128; k; k >>= 1) {
		if (threadIdx.x < k) s[threadIdx.x] += s[threadIdx.x + k];
		__syncthreads();
	}
	if (!threadIdx.x) atomicAdd(out, s[0]);
}
/* Many short blocks with shared or local memory: what clearing that costs shows here. */
__global__ void transpose(float *out, const float *in, int w)
{
	__shared__ float s[32][33];
	int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
	for (int i = 0; i < 32; i += 8) s[threadIdx.y + i][threadIdx.x] = in[(size_t)(y + i) * w + x];
	__syncthreads();
	x = blockIdx.y * 32 + threadIdx.x, y = blockIdx.x * 32 + threadIdx.y;
	for (int i = 0; i < 32; i += 8) out[(size_t)(y + i) * w + x] = s[threadIdx.x][threadIdx.y + i];
}
__global__ void reverse(float *out, const float *in)
{
	extern __shared__ float d[];
	d[threadIdx.x * 40] = in[blockIdx.x * 256 + threadIdx.x];
	__syncthreads();
	out[blockIdx.x * 256 + threadIdx.x] = d[(255 - threadIdx.x) * 40];
}
__global__ void local_array(int *out, const int *in)
{
	int i = blockIdx.x * 256 + threadIdx.x, l[64];
	for (int k = 0; k < 64; k++) l[k] = in[i] + k;
	for (int k = 0; k < 16; k++) l[(i * 7 + k * 5) & 63] += l[(i + k) & 63];
	out[i] = l[i & 63];
}

static void timed(const char *name, int runs, const std::function<void()> &f)
{
	cudaEvent_t a, b;
	std::vector<float> t;
	MUST(cudaEventCreate(&a));
	MUST(cudaEventCreate(&b));
	f();
	for (int r = 0; r < runs; r++) {
		float ms;
		MUST(cudaEventRecord(a));
		f();
		MUST(cudaEventRecord(b));
		MUST(cudaEventSynchronize(b));
		MUST(cudaEventElapsedTime(&ms, a, b));
		t.push_back(ms * 1000);
	}
	MUST(cudaGetLastError());
	std::sort(t.begin(), t.end());
	printf("%-28s %12.3f us\n", name, t[t.size() / 2]);
	fflush(stdout);
	MUST(cudaEventDestroy(a));
	MUST(cudaEventDestroy(b));
}

static void check(const char *name, bool ok)
{
	if (!ok) {
		fprintf(stderr, "bench_kernels: %s: wrong result\n", name);
		exit(1);
	}
}

template <typename T> static T at(const T *d, size_t i)
{
	T v;
	MUST(cudaMemcpy(&v, d + i, sizeof v, cudaMemcpyDeviceToHost));
	return v;
}

int main(int argc, char **argv)
{
	int shift = argc > 1 ? atoi(argv[1]) : 0;      /* problem size, powers of two smaller */
	const int n = (1 << 26) >> shift, m = (2048 >> (shift / 2)), rep = shift > 6 ? 2 : 15;
	float *x, *y;
	int *idx, *out;
	std::vector<float> hx(n);
	std::vector<int> hi(n);
	for (int i = 0; i < n; i++) { hx[i] = (float)(i % 1013) / 1013.f; hi[i] = (int)(((long long)i * 7919) % n); }
	MUST(cudaMalloc(&x, 4ull * n));
	MUST(cudaMalloc(&y, 4ull * n));
	MUST(cudaMalloc(&idx, 4ull * n));
	MUST(cudaMalloc(&out, 4ull * n));
	MUST(cudaMemcpy(x, hx.data(), 4ull * n, cudaMemcpyHostToDevice));
	MUST(cudaMemcpy(idx, hi.data(), 4ull * n, cudaMemcpyHostToDevice));
	MUST(cudaMemset(y, 0, 4ull * n));
	int g = (n + 255) / 256;
	timed("saxpy", rep, [&] { saxpy<<<g, 256>>>(y, x, .5f, n); });
	check("saxpy", fabsf(at(y, 5) - (rep + 1) * .5f * hx[5]) < 1e-4f);
	timed("saxpy4", rep, [&] { saxpy4<<<(n / 4 + 255) / 256, 256>>>((float4 *)y, (float4 *)x, .5f, n / 4); });
	timed("gather", rep, [&] { gather<<<g, 256>>>(y, x, idx, n); });
	check("gather", at(y, 100) == hx[hi[100]]);
	timed("chase", rep, [&] { chase<<<1, 32>>>(out, idx, 20000 >> shift); });
	timed("L1 loop", rep, [&] { l1_loop<<<1056 >> (shift / 2), 256>>>(y, x, 4096 >> (shift / 2)); });
	int w = 8192 >> (shift / 2);
	timed("stencil", rep, [&] { stencil<<<dim3(w / 32, w / 8), dim3(32, 8)>>>(y, x, w, w); });
	timed("naive matmul", rep, [&] { matmul_naive<<<dim3(m / 32, m / 8), dim3(32, 8)>>>(y, x, x + m * m, m); });
	double s = 0;
	for (int k = 0; k < m; k++) s += (double)hx[3 * m + k] * hx[m * m + k * m + 7];
	check("naive matmul", fabs(at(y, 3 * (size_t)m + 7) - s) < 1e-3 * s);
	timed("tiled matmul", rep, [&] { matmul_tiled<<<dim3(m / 32, m / 32), dim3(32, 32)>>>(y, x, x + m * m, m); });
	check("tiled matmul", fabs(at(y, 3 * (size_t)m + 7) - s) < 1e-3 * s);
	MUST(cudaMemset(out, 0, 1024));
	timed("histogram", rep, [&] { histogram<<<1056, 256>>>(out, (unsigned char *)idx, n); });
	long long total = 0;
	for (int i = 0; i < 256; i++) total += at(out, i);
	check("histogram", total == (long long)n * (rep + 1));
	std::vector<int> tree_nodes(2 << 20);
	int nodes = (1 << 20) >> shift;
	for (int i = 0; i < nodes; i++) {
		tree_nodes[2 * i] = (2 * i + 1) % nodes;
		tree_nodes[2 * i + 1] = (2 * i + 2) % nodes;
	}
	MUST(cudaMemcpy(x, tree_nodes.data(), 8ull * nodes, cudaMemcpyHostToDevice));
	timed("tree walk", rep, [&] { tree<<<(n / 8 + 255) / 256, 256>>>(out, (int2 *)x, idx, n / 8); });
	MUST(cudaMemcpy(x, hx.data(), 4ull * n, cudaMemcpyHostToDevice));
	MUST(cudaMemset(y, 0, 4));
	timed("reduce", rep, [&] { reduce<<<1056, 256>>>(y, x, n); });
	timed("transpose", rep, [&] { transpose<<<dim3(w / 32, w / 32), dim3(32, 8)>>>(y, x, w); });
	check("transpose", at(y, 5 * (size_t)w + 3) == hx[3 * (size_t)w + 5]);
	timed("reverse in 48 KiB", rep, [&] { reverse<<<n / 1024, 256, 48 << 10>>>(y, x); });
	check("reverse in 48 KiB", at(y, 256 + 3) == hx[256 + 252]);
	timed("local array", rep, [&] { local_array<<<n / 4096, 256>>>(out, idx); });
	int l[64];
	for (int k = 0; k < 64; k++) l[k] = hi[261] + k;
	for (int k = 0; k < 16; k++) l[(261 * 7 + k * 5) & 63] += l[(261 + k) & 63];
	check("local array", at(out, 261) == l[261 & 63]);
	return 0;
}
