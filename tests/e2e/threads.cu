/* threads.cu - many threads of one program at once: own streams, memory, pageable copies, events, host functions. */
#include "check.h"
#include <atomic>
#include <thread>
#include <vector>

__global__ void add(int *p, int n, int v)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) p[i] += v;
}

static std::atomic<int> wrong, called;
static void note(void *arg) { called += *(int *)arg; }

#define OK(call) do { cudaError_t e_ = (call); if (e_ != cudaSuccess) { wrong++; \
	fprintf(stderr, "%s: %s\n", #call, cudaGetErrorName(e_)); return; } } while (0)

static void work(int id)
{
	unsigned seed = id * 7919 + 1;
	cudaStream_t s;
	cudaEvent_t e;
	int one = 1;
	OK(cudaStreamCreateWithFlags(&s, id % 2 ? cudaStreamNonBlocking : cudaStreamDefault));
	OK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
	for (int round = 0; round < 12; round++) {
		int n = 1 + (seed = seed * 1103515245u + 12345u) % 50000, *d;
		std::vector<int> a(n), b(n, -1);
		for (int i = 0; i < n; i++) a[i] = i ^ id;
		if (round % 3) OK(cudaMalloc(&d, n * sizeof(int)));
		else OK(cudaMallocAsync(&d, n * sizeof(int), s));
		OK(cudaMemcpyAsync(d, a.data(), n * sizeof(int), cudaMemcpyHostToDevice, s));
		add<<<(n + 127) / 128, 128, 0, s>>>(d, n, id);
		add<<<(n + 127) / 128, 128, 0, s>>>(d, n, round);
		OK(cudaGetLastError());
		OK(cudaLaunchHostFunc(s, note, &one));
		OK(cudaMemcpyAsync(b.data(), d, n * sizeof(int), cudaMemcpyDeviceToHost, s));
		OK(cudaEventRecord(e, s));
		OK(cudaEventSynchronize(e));
		for (int i = 0; i < n; i++)
			if (b[i] != (i ^ id) + id + round) { wrong++; break; }
		if (round % 3) OK(cudaFree(d));
		else OK(cudaFreeAsync(d, s));
	}
	OK(cudaStreamSynchronize(s));
	OK(cudaStreamDestroy(s));
	OK(cudaEventDestroy(e));
}

int main()
{
	std::vector<std::thread> t;
	for (int i = 0; i < 8; i++) t.emplace_back(work, i);
	for (auto &x : t) x.join();
	MUST(cudaDeviceSynchronize());
	e2e_case("eight threads", wrong == 0);
	e2e_case("host functions of all", called == 8 * 12);
	return e2e_done();
}
