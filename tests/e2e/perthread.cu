/* perthread.cu - built with -default-stream per-thread: each thread's default stream is its own. */
#include "check.h"
#include <thread>
#include <vector>

__global__ void wait_for(volatile int *go, int *done)
{
	long long t = clock64();
	while (!*go && clock64() - t < 8000000000ll) {}
	*done = *go;
}
__global__ void release(int *go) { *go = 1; }

int main()
{
	int *go, *done, h = -1;
	MUST(cudaMalloc(&go, 4));
	MUST(cudaMalloc(&done, 4));
	MUST(cudaMemset(go, 0, 4));
	MUST(cudaDeviceSynchronize());
	release<<<1, 1>>>(done); /* both kernels loaded beforehand: lazy loading may wait for a running kernel */
	MUST(cudaMemset(done, 0, 4));
	MUST(cudaMemset(go, 1, 4));
	wait_for<<<1, 1>>>(go, done);
	MUST(cudaMemset(go, 0, 4));
	MUST(cudaDeviceSynchronize());
	/* With one shared default stream the second kernel could not run before the first ended. */
	std::thread waiter([&] { wait_for<<<1, 1>>>(go, done); });
	waiter.join();
	std::thread releaser([&] { release<<<1, 1>>>(go); cudaStreamSynchronize(0); });
	releaser.join();
	MUST(cudaDeviceSynchronize());
	MUST(cudaMemcpy(&h, done, 4, cudaMemcpyDeviceToHost));
	e2e_case("default streams of two threads run side by side", h == 1);
	std::vector<int> a(1000, 4), b(1000);
	int *d;
	MUST(cudaMalloc(&d, 4000));
	MUST(cudaMemcpyAsync(d, a.data(), 4000, cudaMemcpyHostToDevice, 0));
	MUST(cudaMemcpy(b.data(), d, 4000, cudaMemcpyDeviceToHost));
	e2e_case("copies in the thread's stream", a == b);
	return e2e_done();
}
