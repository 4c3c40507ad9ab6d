/* bench_api.cu - what CUDA calls cost this program: an ordinary program, built once against each runtime and compared
 * by tests/bench/compare.lua. Prints `NAME VALUE UNIT` lines: medians of batches; latencies in us (less is better),
 * bandwidths in GB/s (more is better). */
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>
#include <cuda_runtime.h>

#define MUST(call) do { cudaError_t e_ = (call); if (e_ != cudaSuccess) { \
	fprintf(stderr, "bench_api: %s: %s\n", #call, cudaGetErrorString(e_)); exit(1); } } while (0)

__global__ void nothing() {}
__global__ void one(int *p) { *p += 1; }

static double now()
{
	return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/* Median over `batches` of the mean of `n` calls; `after` runs outside the timed part. */
static double median(
	int batches, int n, const std::function<void()> &f,
	const std::function<void()> &after = [] { MUST(cudaDeviceSynchronize()); })
{
	std::vector<double> t;
	for (int i = 0; i < n / 4 + 1; i++) f();
	after();
	for (int b = 0; b < batches; b++) {
		double t0 = now();
		for (int i = 0; i < n; i++) f();
		t.push_back((now() - t0) / n);
		after();
	}
	std::sort(t.begin(), t.end());
	return t[t.size() / 2];
}

static void show(const char *name, double v, const char *unit)
{
	printf("%-28s %12.3f %s\n", name, v, unit);
	fflush(stdout);
}

static void calls(int *d)
{
	cudaStream_t s;
	cudaEvent_t e;
	void *p;
	int dev;
	MUST(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
	MUST(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
	show("launch submit", median(40, 200, [] { nothing<<<1, 1>>>(); }), "us");
	show("launch with argument submit", median(40, 200, [&] { one<<<1, 1>>>(d); }), "us");
	show("launch sustained", median(5, 20000, [] { nothing<<<1, 1>>>(); }, [] {}), "us");
	MUST(cudaDeviceSynchronize());
	show("launch + synchronize", median(20, 500, [] { nothing<<<1, 1>>>(); cudaDeviceSynchronize(); }), "us");
	show("launch + stream synchronize",
	     median(20, 500,
		    [&] {
			    nothing<<<1, 1, 0, s>>>();
			    cudaStreamSynchronize(s);
		    }),
	     "us");
	show("synchronize idle", median(20, 1000, [] { cudaDeviceSynchronize(); }), "us");
	show("event record", median(40, 200, [&] { cudaEventRecord(e, s); }), "us");
	show("event query", median(20, 1000, [&] { cudaEventQuery(e); }), "us");
	show("stream query", median(20, 1000, [&] { cudaStreamQuery(s); }), "us");
	show("stream create + destroy",
	     median(10, 50,
		    [] {
			    cudaStream_t x;
			    cudaStreamCreate(&x);
			    cudaStreamDestroy(x);
		    }),
	     "us");
	show("event create + destroy",
	     median(10, 500,
		    [] {
			    cudaEvent_t x;
			    cudaEventCreate(&x);
			    cudaEventDestroy(x);
		    }),
	     "us");
	show("malloc + free 256 B", median(20, 200, [&] { cudaMalloc(&p, 256); cudaFree(p); }), "us");
	show("malloc + free 1 MiB", median(20, 200, [&] { cudaMalloc(&p, 1 << 20); cudaFree(p); }), "us");
	show("malloc + free 64 MiB", median(10, 20, [&] { cudaMalloc(&p, 64 << 20); cudaFree(p); }), "us");
	show("pinned malloc + free 64 B", median(20, 200, [&] { cudaMallocHost(&p, 64); cudaFreeHost(p); }), "us");
	show("pinned malloc + free 64 KiB", median(20, 200, [&] { cudaMallocHost(&p, 65536); cudaFreeHost(p); }), "us");
	show("pinned malloc + free 4 MiB", median(20, 50, [&] { cudaMallocHost(&p, 4 << 20); cudaFreeHost(p); }), "us");
	show("mallocAsync + freeAsync 1 MiB",
	     median(20, 200,
		    [&] {
			    cudaMallocAsync(&p, 1 << 20, s);
			    cudaFreeAsync(p, s);
		    }),
	     "us");
	show("get device", median(20, 10000, [&] { cudaGetDevice(&dev); }), "us");
	show("get last error", median(20, 10000, [] { cudaGetLastError(); }), "us");
	cudaPointerAttributes a;
	show("pointer attributes", median(20, 2000, [&] { cudaPointerGetAttributes(&a, d); }), "us");
	MUST(cudaEventDestroy(e));
	MUST(cudaStreamDestroy(s));
}

static void copies(void)
{
	char *d, *pinned;
	const size_t big = 256u << 20;
	std::vector<char> pageable(big, 1);
	MUST(cudaMalloc(&d, big));
	MUST(cudaMallocHost(&pinned, big));
	for (size_t i = 0; i < big; i += 4096) pinned[i] = 1;
	show("copy 4 KiB H2D", median(20, 200, [&] { cudaMemcpy(d, pageable.data(), 4096, cudaMemcpyHostToDevice); }),
	     "us");
	show("copy 4 KiB D2H", median(20, 200, [&] { cudaMemcpy(pageable.data(), d, 4096, cudaMemcpyDeviceToHost); }),
	     "us");
	show("copy async 64 B pinned",
	     median(20, 200, [&] { cudaMemcpyAsync(d, pinned, 64, cudaMemcpyHostToDevice); }), "us");
	show("memset async 4 KiB", median(20, 200, [&] { cudaMemsetAsync(d, 0, 4096); }), "us");
	auto rate = [&](const char *name, void *dst, const void *src, cudaMemcpyKind k) {
		double us = median(3, 2, [&] { cudaMemcpy(dst, src, big, k); cudaDeviceSynchronize(); });
		show(name, big / us / 1e3, "GB/s");
	};
	rate("256 MiB pageable H2D", d, pageable.data(), cudaMemcpyHostToDevice);
	rate("256 MiB pageable D2H", pageable.data(), d, cudaMemcpyDeviceToHost);
	rate("256 MiB pinned H2D", d, pinned, cudaMemcpyHostToDevice);
	rate("256 MiB pinned D2H", pinned, d, cudaMemcpyDeviceToHost);
	MUST(cudaFree(d));
	MUST(cudaFreeHost(pinned));
}

int main()
{
	int *d;
	double t0 = now();
	MUST(cudaFree(0));
	show("first call", (now() - t0) / 1e3, "ms");
	MUST(cudaMalloc(&d, 4));
	t0 = now();
	one<<<1, 1>>>(d);
	MUST(cudaDeviceSynchronize());
	show("first launch", (now() - t0) / 1e3, "ms");
	calls(d);
	copies();
	MUST(cudaFree(d));
	return 0;
}
