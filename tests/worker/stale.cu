/* stale.cu - a client that leaves words in shared and local memory, or looks for what others left; for stale_test.sh.
 *   stale leave   fills both in every block of a grid that covers the device
 *   stale look    how many words it finds there that somebody left, how many that are not zero, of how many
 * Its own grids follow each other, too: `stale both`. */
#include <cstdio>
#include <cstring>
#include <cuda_runtime.h>

enum { WORDS = 48 * 1024 / 4, LOCAL = 64, BLOCKS = 264, THREADS = 128, SECRET = 0x5ec2e75a };
struct Found { unsigned shared, local, other, looked; };

__global__ void leave(unsigned *out)
{
	extern __shared__ volatile unsigned s[];
	volatile unsigned l[LOCAL];
	for (unsigned i = threadIdx.x; i < WORDS; i += THREADS) s[i] = SECRET;
	for (unsigned i = 0; i < LOCAL; i++) l[(i * 7 + blockIdx.x) % LOCAL] = SECRET;
	if (l[threadIdx.x % LOCAL] != SECRET) atomicAdd(out, 1);
}

__global__ void look(Found *f)
{
	extern __shared__ volatile unsigned s[];
	volatile unsigned l[LOCAL];
	Found mine = { };
	for (unsigned i = threadIdx.x; i < WORDS; i += THREADS) {
		unsigned v = s[i];
		mine.shared += v == SECRET;
		mine.other += v != 0;
		mine.looked++;
	}
	for (unsigned i = 0; i < LOCAL; i++) {
		unsigned v = l[(i * 7 + blockIdx.x) % LOCAL];
		mine.local += v == SECRET;
		mine.other += v != 0;
		mine.looked++;
	}
	atomicAdd(&f->shared, mine.shared);
	atomicAdd(&f->local, mine.local);
	atomicAdd(&f->other, mine.other);
	atomicAdd(&f->looked, mine.looked);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "both";
	Found *d, h;
	if (cudaMalloc(&d, sizeof *d) || cudaMemset(d, 0, sizeof *d)) return printf("error: no memory\n"), 1;
	if (strcmp(what, "look")) leave<<<BLOCKS, THREADS, WORDS * 4>>>(&d->looked);
	if (strcmp(what, "leave")) look<<<BLOCKS, THREADS, WORDS * 4>>>(d);
	cudaError_t e = cudaMemcpy(&h, d, sizeof h, cudaMemcpyDeviceToHost);
	if (e) return printf("error: %s\n", cudaGetErrorName(e)), 1;
	printf("shared=%u local=%u nonzero=%u looked=%u\n", h.shared, h.local, h.other, h.looked);
	return 0;
}
