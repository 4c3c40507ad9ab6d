/* barriers.cu - barriers of a block other than __syncthreads(), as a program sees them. The kernels are those that the
 * guard's own tests compare before and after rewriting. */
#include "tests/e2e/check.h"
#include "tests/guard/cu/barriers.cu"
#include <functional>
#include <vector>

static int *device;

/* Runs the kernel by one block and compares what each thread left with `want`. */
static void compare(const char *name, void (*kernel)(int *, int), dim3 block, int n, std::function<int(int)> want)
{
	int threads = block.x * block.y;
	std::vector<int> h(threads);
	bool ok = true;
	char why[100] = "";

	MUST(cudaMemset(device, 0xff, threads * 4));
	kernel<<<1, block>>>(device, n);
	MUST(cudaGetLastError());
	MUST(cudaMemcpy(h.data(), device, threads * 4, cudaMemcpyDeviceToHost));
	for (int i = 0; i < threads && ok; i++) {
		ok = h[i] == want(i);
		snprintf(why, sizeof why, "thread %d has %d, not %d", i, h[i], want(i));
	}
	e2e_case(name, ok, why);
}

static int squares(int n)
{
	int sum = 0;
	for (int i = 0; i < n; i++) sum += i * i;
	return sum;
}

static int half_sum(int me, int threads, int n)
{
	int half = threads / 2, which = me >= half, sum = 0;
	for (int i = 0; i < half; i++) sum += which * half + i;
	return sum * (n + which);
}

static int voted(int threads, int n)
{
	int sum = 0;
	for (int i = 0; i < n; i++) {
		int count = 0;
		for (int me = 0; me < threads; me++) count += me % (i + 2) == 0;
		sum = sum * 3 + count;
		sum = sum * 3 + (i % 2 == 0);
		sum = sum * 3 + (i % 2);
	}
	return sum;
}

static int left(int me, int threads, int n)
{
	int sum = 0;
	for (int i = 0; i < n + me / 32 % 5; i++) {
		int count = 0;
		for (int t = 0; t < threads; t++) count += n + t / 32 % 5 > i;
		sum = sum * 3 + count;
	}
	return sum;
}

static std::vector<int> passed_on(int threads, int n)
{
	std::vector<int> v(threads), next;
	for (int i = 0; i < threads; i++) v[i] = i;
	for (int r = 0; r < n; r++) {
		next = v;
		for (int i = 0; i < threads; i++)
			if (i < 8 || i >= 16) next[i] = v[i < 16 ? i : (i + 1) % threads] + 1;
		v = next;
	}
	return v;
}

int main()
{
	MUST(cudaMalloc(&device, 1 << 16));
	for (int threads : { 64, 256, 1024 }) {
		compare("producer and consumers", pipe, threads, 50, [](int i) { return i < 32 ? 0 : squares(50); });
		compare("each half its own", halves, threads, 20, [=](int i) { return half_sum(i, threads, 20); });
	}
	for (dim3 block : { dim3(50, 3), dim3(32), dim3(1024), dim3(7) }) {
		int threads = block.x * block.y;
		compare("votes", votes, block, 8, [=](int) { return voted(threads, 8); });
	}
	for (int threads : { 40, 100, 1000 })
		compare("threads end", leavers, threads, 3, [=](int i) { return left(i, threads, 3); });
	auto v = passed_on(80, 6);
	compare("a warp that is not whole", part, 80, 6, [&](int i) { return i >= 8 && i < 16 ? -1 : v[i]; });
	MUST(cudaDeviceSynchronize());
	MUST(cudaFree(device));
	return e2e_done();
}
