/* pinned.cu - pinned and managed memory in many sizes, from many threads: kernels and the host share it byte by byte,
 * blocks are given back by other threads than took them, what is no block is refused. */
#include "check.h"
#include <atomic>
#include <thread>
#include <vector>

/* Every byte of the block and none beside it. */
__global__ void invert(unsigned char *p, size_t n)
{
	for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) p[i] ^= 0xff;
}

struct block { unsigned char *p; size_t bytes; unsigned char fill; bool managed; };

static const size_t sizes[] = { 1, 3, 64, 511, 512, 513, 1024, 4000, 4096, 10000, 65536, 100001, 1 << 20, 3000000 };

static cudaError_t take(block *b, size_t bytes, unsigned i)
{
	b->bytes = bytes;
	b->fill = (unsigned char)(i * 37 + 1);
	b->managed = i % 3 == 0;
	cudaError_t e = b->managed ? cudaMallocManaged(&b->p, bytes) : cudaMallocHost(&b->p, bytes);
	if (e == cudaSuccess) memset(b->p, b->fill, bytes);
	return e;
}

static cudaError_t give(const block &b) { return b.managed ? cudaFree(b.p) : cudaFreeHost(b.p); }

static bool all(const block &b, unsigned char want)
{
	for (size_t i = 0; i < b.bytes; i++)
		if (b.p[i] != want) return false;
	return true;
}

static void shared_with_kernels(void)
{
	std::vector<block> v;
	for (unsigned round = 0; round < 4; round++)
		for (size_t bytes : sizes) {
			block b;
			MUST(take(&b, bytes, (unsigned)v.size()));
			v.push_back(b);
		}
	for (size_t i = 0; i < v.size(); i += 2) invert<<<4, 64>>>(v[i].p, v[i].bytes);
	MUST(cudaDeviceSynchronize());
	bool ok = true;
	for (size_t i = 0; i < v.size(); i++) ok &= all(v[i], i % 2 ? v[i].fill : v[i].fill ^ 0xff);
	e2e_case("kernels write their block and no other", ok);
	cudaPointerAttributes a;
	ok = true;
	for (const block &b : v) {
		MUST(cudaPointerGetAttributes(&a, b.p + b.bytes - 1));
		ok &= a.type == (b.managed ? cudaMemoryTypeManaged : cudaMemoryTypeHost) &&
		      a.devicePointer == b.p + b.bytes - 1;
	}
	e2e_case("attributes of the last byte", ok);
	ok = true;
	for (size_t i = 0; i < v.size(); i += 3) ok &= give(v[i]) == cudaSuccess;
	for (size_t i = 0; i < v.size(); i++) ok &= i % 3 == 0 || all(v[i], i % 2 ? v[i].fill : v[i].fill ^ 0xff);
	for (size_t i = 0; i < v.size(); i++) ok &= i % 3 == 0 || give(v[i]) == cudaSuccess;
	e2e_case("freeing some leaves the others", ok);
}

static std::atomic<block *> left[32];
static std::atomic<int> wrong;

static void pass_on(unsigned seed)
{
	for (int i = 0; i < 60; i++) {
		seed = seed * 1664525u + 1013904223u;
		block *b = new block;
		if (take(b, 1 + (seed >> 8) % 40000, seed >> 4) != cudaSuccess) { wrong++; delete b; continue; }
		block *old = left[seed % 32].exchange(b);
		if (!old) continue;
		if (!all(*old, old->fill) || give(*old) != cudaSuccess) wrong++;
		delete old;
	}
}

static void between_threads(void)
{
	for (unsigned round = 0; round < 3; round++) {
		std::vector<std::thread> t;
		for (unsigned i = 0; i < 6; i++) t.emplace_back(pass_on, round * 6 + i);
		for (auto &x : t) x.join();
	}
	for (auto &l : left)
		if (block *b = l.exchange(nullptr)) {
			if (!all(*b, b->fill) || give(*b) != cudaSuccess) wrong++;
			delete b;
		}
	e2e_case("blocks pass between threads that end", wrong == 0);
}

static void refused(void)
{
	char *p, *own = (char *)malloc(4096);
	MUST(cudaMallocHost(&p, 1000));
	GIVES("free of the program's own memory", cudaErrorInvalidValue, cudaFreeHost(own));
	MUST(cudaFreeHost(p));
	GIVES("second free", cudaErrorInvalidValue, cudaFreeHost(p));
	(void)cudaGetLastError();
	char *q;
	bool ok = true;
	for (int i = 1; i < 200; i++) ok &= cudaMallocHost(&q, 50 * i) == cudaSuccess && cudaFreeHost(q) == cudaSuccess;
	e2e_case("allocation goes on", ok);
	free(own);
}

int main()
{
	shared_with_kernels();
	between_threads();
	refused();
	return e2e_done();
}
