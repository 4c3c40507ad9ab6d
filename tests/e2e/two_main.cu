/* two_main.cu - a program with the static Runtime beside a library with the shared one: one device, one set of
 * pointers, streams and events, whoever made them. */
#include "check.h"
#include "two.h"
#include <thread>
#include <vector>

__global__ void twice(int *p, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) p[i] *= 2;
}

enum { N = 10000 };

static bool all(const int *d, int want)
{
	std::vector<int> h(N);
	MUST(cudaMemcpy(h.data(), d, N * 4, cudaMemcpyDeviceToHost));
	for (int v : h)
		if (v != want) return false;
	return true;
}

int main()
{
	int *mine, *theirs = two_allocate(N), *pinned;
	cudaStream_t s;
	cudaEvent_t e;
	if (!theirs) {
		e2e_case("the library's allocation", false, cudaGetErrorName(two_last_error()));
		return e2e_done();
	}
	MUST(cudaMalloc(&mine, N * 4));
	e2e_case("two blocks are two", mine + N <= theirs || theirs + N <= mine);
	MUST(cudaStreamCreate(&s));
	MUST(cudaEventCreate(&e));
	MUST(cudaMemsetAsync(mine, 0, N * 4, s));
	/* Interleaved on one stream: 0, +3, *2, +4. */
	e2e_case("the library launches on our stream", two_add(mine, 3, N, s) == cudaSuccess);
	twice<<<(N + 255) / 256, 256, 0, s>>>(mine, N);
	two_add(mine, 4, N, s);
	MUST(cudaStreamSynchronize(s));
	e2e_case("in order", all(mine, 10));
	two_add(theirs, 7, N, NULL);
	twice<<<(N + 255) / 256, 256>>>(theirs, N);
	e2e_case("we launch on its memory", all(theirs, 14));
	MUST(cudaEventRecord(e, s));
	e2e_case("it waits for our event", two_wait(e) == cudaSuccess && cudaEventQuery(e) == cudaSuccess);
	cudaPointerAttributes a;
	MUST(cudaPointerGetAttributes(&a, theirs));
	e2e_case("its memory is known to us", a.type == cudaMemoryTypeDevice);
	MUST(cudaMallocHost(&pinned, N * 4));
	e2e_case("it fills our host memory", two_copy(pinned, mine, N, s) == cudaSuccess && pinned[N - 1] == 10);
	/* The last error belongs to each Runtime. */
	e2e_case("its error", two_provoke() == cudaErrorInvalidDevice);
	e2e_case("is not ours", cudaGetLastError() == cudaSuccess);
	e2e_case("but its own", two_last_error() == cudaErrorInvalidDevice);
	bool ok[4] = {};
	std::vector<std::thread> t;
	for (int k = 0; k < 4; k++)
		t.emplace_back([k, &ok] {
			int *p = two_allocate(N);
			ok[k] = p && two_add(p, k, N, NULL) == cudaSuccess;
			twice<<<(N + 255) / 256, 256>>>(p, N);
			ok[k] = ok[k] && all(p, 2 * k) && cudaFree(p) == cudaSuccess;
		});
	for (auto &x : t) x.join();
	e2e_case("from four threads", ok[0] && ok[1] && ok[2] && ok[3]);
	e2e_case("each frees what the other made", cudaFree(theirs) == cudaSuccess && two_free(mine) == cudaSuccess);
	MUST(cudaFreeHost(pinned));
	MUST(cudaEventDestroy(e));
	MUST(cudaStreamDestroy(s));
	return e2e_done();
}
