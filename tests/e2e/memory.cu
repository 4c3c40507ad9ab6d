/* memory.cu - allocation, copies of every kind, fills, pitches, symbols, pinned and managed memory. */
#include "check.h"
#include <vector>

__device__ int dev_table[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
__device__ int *dev_pointer = &dev_table[2];
__constant__ float weights[16];
__managed__ int shared_counter = 5;
__device__ volatile int unset[3];

__global__ void scale(float *x, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) x[i] *= weights[i & 15];
}
__global__ void touch_table(int *out)
{
	out[threadIdx.x] = dev_table[threadIdx.x] + *dev_pointer;
	dev_table[threadIdx.x] *= 10;
}
__global__ void bump(int *p, int n) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) p[i] += i; }
__global__ void count(void) { atomicAdd(&shared_counter, 1); }

static void symbols(void)
{
	float w[16], back[16];
	int out[8], *d_out, table[8];
	for (int i = 0; i < 16; i++) w[i] = i + .5f;
	MUST(cudaMemcpyToSymbol(weights, w, sizeof w));
	MUST(cudaMemcpyFromSymbol(back, weights, sizeof back));
	e2e_case("constant symbol round trip", !memcmp(w, back, sizeof w));
	std::vector<float> x(1000, 2.f);
	float *d;
	MUST(cudaMalloc(&d, 4000));
	MUST(cudaMemcpy(d, x.data(), 4000, cudaMemcpyHostToDevice));
	scale<<<4, 256>>>(d, 1000);
	MUST(cudaMemcpy(x.data(), d, 4000, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int i = 0; i < 1000; i++) ok &= x[i] == 2.f * w[i & 15];
	e2e_case("constant memory in a kernel", ok);
	MUST(cudaMalloc(&d_out, sizeof out));
	touch_table<<<1, 8>>>(d_out);
	MUST(cudaMemcpy(out, d_out, sizeof out, cudaMemcpyDeviceToHost));
	ok = true;
	for (int i = 0; i < 8; i++) ok &= out[i] == i + 1 + 3;
	e2e_case("initialised variables and pointers to them", ok);
	MUST(cudaMemcpyFromSymbol(table, dev_table, sizeof table));
	ok = true;
	for (int i = 0; i < 8; i++) ok &= table[i] == 10 * (i + 1);
	e2e_case("kernel writes to a variable", ok);
	void *addr;
	size_t size;
	MUST(cudaGetSymbolAddress(&addr, dev_table));
	MUST(cudaGetSymbolSize(&size, dev_table));
	int one = 77;
	MUST(cudaMemcpy((int *)addr + 3, &one, 4, cudaMemcpyHostToDevice));
	MUST(cudaMemcpyFromSymbol(&one, dev_table, 4, 12));
	e2e_case("symbol address and size", size == 32 && one == 77);
	int zero[3] = { 1, 1, 1 };
	MUST(cudaMemcpyFromSymbol(zero, unset, sizeof zero));
	e2e_case("unset variable is zero", !zero[0] && !zero[1] && !zero[2]);
	GIVES("copy past a symbol", cudaErrorInvalidValue, cudaMemcpyToSymbol(weights, w, sizeof w, 4));
	GIVES("not a symbol", cudaErrorInvalidSymbol, cudaMemcpyToSymbol(out, w, 4));
	cudaGetLastError();
	MUST(cudaFree(d));
	MUST(cudaFree(d_out));
}

static void copies(void)
{
	const size_t n = 3 << 20; /* ints: larger than any staging buffer a runtime may use internally */
	std::vector<int> a(n), b(n);
	for (size_t i = 0; i < n; i++) a[i] = (int)(i * 2654435761u);
	int *d, *e;
	MUST(cudaMalloc(&d, n * 4));
	MUST(cudaMalloc(&e, n * 4));
	MUST(cudaMemcpy(d, a.data(), n * 4, cudaMemcpyHostToDevice));
	MUST(cudaMemcpy(e, d, n * 4, cudaMemcpyDeviceToDevice));
	MUST(cudaMemcpy(b.data(), e, n * 4, cudaMemcpyDefault));
	e2e_case("12 MiB there, across and back", a == b);
	MUST(cudaMemset(d, 0x5a, n * 4));
	MUST(cudaMemcpy(b.data(), d, n * 4, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (size_t i = 0; i < n; i++) ok &= b[i] == 0x5a5a5a5a;
	e2e_case("memset", ok);
	MUST(cudaMemcpy((char *)d + 13, a.data(), 999, cudaMemcpyHostToDevice));
	MUST(cudaMemcpy(b.data(), (char *)d + 13, 999, cudaMemcpyDeviceToHost));
	e2e_case("unaligned copy", !memcmp(a.data(), b.data(), 999));
	GIVES("copy past the allocation", cudaErrorInvalidValue,
	      cudaMemcpy((char *)d + n * 4 - 4 + (1ull << 36), a.data(), 8, cudaMemcpyHostToDevice));
	GIVES("wrong direction", cudaErrorInvalidMemcpyDirection, cudaMemcpy(d, a.data(), 4, (cudaMemcpyKind)9));
	GIVES("null destination", cudaErrorInvalidValue, cudaMemcpy(nullptr, a.data(), 4, cudaMemcpyHostToDevice));
	cudaGetLastError();
	e2e_case("last error is cleared", cudaGetLastError() == cudaSuccess);
	MUST(cudaFree(d));
	MUST(cudaFree(e));
	MUST(cudaFree(nullptr));
	GIVES("free of a wild pointer", cudaErrorInvalidValue, cudaFree((void *)0x1234));
	cudaGetLastError();
	GIVES("more memory than there is", cudaErrorMemoryAllocation, cudaMalloc(&d, 1ull << 45));
	cudaGetLastError();
}

static void pitched(void)
{
	const int w = 100, h = 37;
	size_t pitch;
	char *d;
	std::vector<char> a(w * h), b(w * h), rows(h * 128);
	for (int i = 0; i < w * h; i++) a[i] = (char)(i * 7);
	MUST(cudaMallocPitch(&d, &pitch, w, h));
	e2e_case("pitch", pitch >= (size_t)w && pitch % 32 == 0);
	MUST(cudaMemset2D(d, pitch, 3, w, h));
	MUST(cudaMemcpy2D(d, pitch, a.data(), w, w, h - 1, cudaMemcpyHostToDevice));
	MUST(cudaMemcpy2D(b.data(), w, d, pitch, w, h, cudaMemcpyDeviceToHost));
	bool ok = !memcmp(a.data(), b.data(), w * (h - 1));
	for (int x = 0; x < w; x++) ok &= b[(h - 1) * w + x] == 3;
	e2e_case("2-D fill and copies", ok);
	GIVES("2-D copy wider than its pitch", cudaErrorInvalidPitchValue,
	      cudaMemcpy2D(d, pitch, a.data(), 10, w, h, cudaMemcpyHostToDevice));
	cudaGetLastError();
	MUST(cudaFree(d));
	cudaPitchedPtr p;
	cudaExtent ext = make_cudaExtent(24, 5, 7);
	MUST(cudaMalloc3D(&p, ext));
	std::vector<char> v(24 * 5 * 7), u(24 * 5 * 7);
	for (size_t i = 0; i < v.size(); i++) v[i] = (char)(i * 3);
	cudaMemcpy3DParms c = {};
	c.srcPtr = make_cudaPitchedPtr(v.data(), 24, 24, 5);
	c.dstPtr = p;
	c.extent = ext;
	c.kind = cudaMemcpyHostToDevice;
	MUST(cudaMemcpy3D(&c));
	c.srcPtr = p;
	c.dstPtr = make_cudaPitchedPtr(u.data(), 24, 24, 5);
	c.kind = cudaMemcpyDeviceToHost;
	MUST(cudaMemcpy3D(&c));
	e2e_case("3-D copies", v == u);
	MUST(cudaFree(p.ptr));
}

static void host_memory(void)
{
	int *pinned, *mapped, *dev_view, *managed;
	MUST(cudaMallocHost(&pinned, 4096));
	MUST(cudaHostAlloc(&mapped, 4096, cudaHostAllocMapped));
	MUST(cudaMallocManaged(&managed, 4096));
	for (int i = 0; i < 1024; i++) pinned[i] = mapped[i] = managed[i] = i;
	MUST(cudaHostGetDevicePointer(&dev_view, mapped, 0));
	bump<<<4, 256>>>(dev_view, 1024);
	bump<<<4, 256>>>(managed, 1024);
	MUST(cudaDeviceSynchronize());
	bool ok = true;
	for (int i = 0; i < 1024; i++) ok &= mapped[i] == 2 * i && managed[i] == 2 * i;
	e2e_case("kernels on mapped and managed memory", ok);
	int *d;
	MUST(cudaMalloc(&d, 4096));
	cudaStream_t s;
	MUST(cudaStreamCreate(&s));
	MUST(cudaMemcpyAsync(d, pinned, 4096, cudaMemcpyHostToDevice, s));
	bump<<<4, 256, 0, s>>>(d, 1024);
	MUST(cudaMemcpyAsync(pinned, d, 4096, cudaMemcpyDeviceToHost, s));
	MUST(cudaStreamSynchronize(s));
	ok = true;
	for (int i = 0; i < 1024; i++) ok &= pinned[i] == 2 * i;
	e2e_case("asynchronous pinned copies in order", ok);
	cudaPointerAttributes a;
	MUST(cudaPointerGetAttributes(&a, d));
	ok = a.type == cudaMemoryTypeDevice && a.devicePointer == d;
	MUST(cudaPointerGetAttributes(&a, pinned));
	ok &= a.type == cudaMemoryTypeHost && a.hostPointer == pinned;
	MUST(cudaPointerGetAttributes(&a, managed));
	ok &= a.type == cudaMemoryTypeManaged;
	int on_stack;
	MUST(cudaPointerGetAttributes(&a, &on_stack));
	ok &= a.type == cudaMemoryTypeUnregistered;
	e2e_case("pointer attributes", ok);
	count<<<2, 32>>>();
	MUST(cudaDeviceSynchronize());
	e2e_case("managed variable", shared_counter == 5 + 64);
	std::vector<char> own(1 << 16, 1);
	MUST(cudaHostRegister(own.data(), own.size(), cudaHostRegisterDefault));
	MUST(cudaMemcpyAsync(d, own.data(), 4096, cudaMemcpyHostToDevice, s));
	MUST(cudaStreamSynchronize(s));
	MUST(cudaHostUnregister(own.data()));
	e2e_case("registered host memory", true);
	MUST(cudaStreamDestroy(s));
	MUST(cudaFree(d));
	MUST(cudaFreeHost(pinned));
	MUST(cudaFreeHost(mapped));
	MUST(cudaFree(managed));
}

static void churn(void)
{
	/* Blocks must not overlap, and freed memory must come back. */
	std::vector<unsigned char *> live;
	std::vector<size_t> size;
	bool ok = true;
	unsigned seed = 1;
	for (int i = 0; i < 400; i++) {
		seed = seed * 1664525 + 1013904223;
		if (live.size() > 40 || (seed >> 28) < 5) {
			if (live.empty()) continue;
			size_t k = seed % live.size();
			MUST(cudaFree(live[k]));
			live.erase(live.begin() + k);
			size.erase(size.begin() + k);
			continue;
		}
		size_t n = 1 + (seed >> 8) % (1 << ((seed >> 4) % 21));
		unsigned char *p;
		MUST(cudaMalloc(&p, n));
		ok &= (size_t)p % 256 == 0;
		for (size_t k = 0; k < live.size(); k++) ok &= p + n <= live[k] || live[k] + size[k] <= p;
		live.push_back(p);
		size.push_back(n);
	}
	for (auto p : live) MUST(cudaFree(p));
	e2e_case("400 allocations and frees", ok);
	int *a, *b;
	MUST(cudaMallocAsync(&a, 4096, 0));
	bump<<<4, 256>>>(a, 1024);
	MUST(cudaFreeAsync(a, 0));
	MUST(cudaMallocAsync(&b, 4096, 0));
	MUST(cudaMemsetAsync(b, 0, 4096, 0));
	MUST(cudaFreeAsync(b, 0));
	MUST(cudaStreamSynchronize(0));
	e2e_case("stream-ordered allocation", true);
	size_t free_bytes, total;
	MUST(cudaMemGetInfo(&free_bytes, &total));
	e2e_case("memory info", free_bytes <= total && total > (64 << 20));
}

int main()
{
	symbols();
	copies();
	pitched();
	host_memory();
	churn();
	return e2e_done();
}
