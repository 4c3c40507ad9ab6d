/* rogue - knows the address of something that is not its own; reads it and overwrites it.
 *
 *   rogue NAME ADDRESS
 *
 * Prints one line `rogue NAME read=HEX result=ERROR`: what its kernel found at ADDRESS and what CUDA told it
 * afterwards. Always exits 0: what it got away with is for the caller to judge.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>

__global__ void attack(uint64_t *target, uint64_t *loot)
{
	*loot = *target;
	*target = 0xdeadbeefdeadbeefull;
}

int main(int argc, char **argv)
{
	if (argc != 3) { fprintf(stderr, "usage: rogue NAME ADDRESS\n"); return 2; }
	uint64_t *target = (uint64_t *)strtoull(argv[2], nullptr, 0), *loot = nullptr, got = 0;
	/* The loot lies in pinned host memory: it can be read even when the context is dead afterwards. */
	cudaError_t e = cudaHostAlloc(&loot, sizeof *loot, cudaHostAllocMapped);
	if (e == cudaSuccess) {
		*loot = 0;
		attack<<<1, 1>>>(target, loot);
		e = cudaDeviceSynchronize();
		got = *(volatile uint64_t *)loot;
	}
	printf("rogue %s read=%#llx result=%s\n", argv[1], (unsigned long long)got, cudaGetErrorName(e));
	return 0;
}
