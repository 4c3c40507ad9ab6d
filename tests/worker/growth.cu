/* growth.cu - a program that outgrows 4 GiB, by size and by allocating while its kernels run: pointers, variables and
 * constants stay what they were. An ordinary CUDA program; it needs 12 GiB of device memory that it hardly touches.
 */
#include <cstdio>
#include <cuda_runtime.h>

__constant__ int k[4];
__device__ int g = 5;

__global__ void spin(volatile int *p, int n)
{
	for (int i = 0; i < n; i++) *p = i;
}

__global__ void put(int *a, int *b, int *c)
{
	*a = 1 + k[0];
	*b = 2 + g;
	*c = *a + *b;
	g++;
}

static int bad;
static void result(const char *name, bool ok)
{
	printf(ok ? "ok growth.%s\n" : "not ok growth.%s: wrong result\n", name);
	bad |= !ok;
}
#define MUST(x) do { cudaError_t e_ = (x); if (e_) { \
	printf("not ok growth: %s: %s\n", #x, cudaGetErrorName(e_)); return 1; } } while (0)

int main()
{
	int *a, *b, *c, *d, h[3], kk[4] = { 7, 0, 0, 0 };
	const size_t far = (1ull << 30) + 7, pinned = 300u << 20, last = pinned / 4 - 1;
	MUST(cudaMalloc(&a, 16));
	MUST(cudaMemcpyToSymbol(k, kk, sizeof kk));
	put<<<1, 1>>>(a, a + 1, a + 2);
	MUST(cudaDeviceSynchronize());

	spin<<<1, 1>>>(a + 3, 10000000);
	MUST(cudaMalloc(&b, 64 << 20));
	put<<<1, 1>>>(a, b, b + 1);
	MUST(cudaMemcpy(h, b, 8, cudaMemcpyDeviceToHost));
	MUST(cudaMemcpy(h + 2, a + 3, 4, cudaMemcpyDeviceToHost));
	result("allocating under a running kernel", h[0] == 8 && h[1] == 16 && h[2] == 9999999);

	MUST(cudaMalloc(&c, 5ull << 30));
	put<<<1, 1>>>(a, b, c + far);
	MUST(cudaMemcpy(h, c + far, 4, cudaMemcpyDeviceToHost));
	MUST(cudaMemcpyFromSymbol(kk, g, 4));
	result("beyond 4 GiB", h[0] == 17 && kk[0] == 8);

	kk[0] = 100;
	MUST(cudaMemcpyToSymbol(k, kk, sizeof kk));
	MUST(cudaMallocHost(&d, pinned));
	put<<<1, 1>>>(a, b, d + last);
	MUST(cudaDeviceSynchronize());
	result("pinned memory grows, constants follow", d[last] == 111);

	MUST(cudaFree(c));
	MUST(cudaMalloc(&c, 6ull << 30));
	MUST(cudaMemset(c + far, 1, 4096));
	MUST(cudaMemcpy(h, c + far, 4, cudaMemcpyDeviceToHost));
	result("freed and larger again", h[0] == 0x1010101);
	MUST(cudaFree(c));
	MUST(cudaFreeHost(d));
	MUST(cudaFree(b));
	return bad;
}
