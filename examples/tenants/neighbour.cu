/* neighbour - a second tenant: keeps a secret in device memory, works on it, and checks it until told to stop.
 *
 *   neighbour ADDRESS_FILE STOP_FILE
 *
 * Writes the device address of its data to ADDRESS_FILE, then loops: one kernel advances every word by a known rule,
 * another run on the CPU says what must be there. Ends when STOP_FILE exists: exit 0 when no word was ever wrong.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <unistd.h>
#include <cuda_runtime.h>

#define CUDA(call) do { cudaError_t e_ = (call); if (e_ != cudaSuccess) { \
	fprintf(stderr, "neighbour: %s: %s\n", #call, cudaGetErrorString(e_)); exit(2); } } while (0)

constexpr uint64_t SECRET = 0x6e65696768626f75ull; /* "neighbou" */

__host__ __device__ inline uint64_t next(uint64_t v, uint32_t i) { return v * 6364136223846793005ull + 2 * i + 1; }

__global__ void advance(uint64_t *data, uint32_t n)
{
	uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i > 0 && i < n) data[i] = next(data[i], i); /* word 0 stays the secret */
}

int main(int argc, char **argv)
{
	if (argc != 3) { fprintf(stderr, "usage: neighbour ADDRESS_FILE STOP_FILE\n"); return 2; }
	const uint32_t n = 1 << 14;
	std::vector<uint64_t> want(n), got(n);
	for (uint32_t i = 0; i < n; i++) want[i] = i ? i * 0x9e3779b97f4a7c15ull : SECRET;
	uint64_t *d;
	CUDA(cudaMalloc(&d, n * sizeof *d));
	CUDA(cudaMemcpy(d, want.data(), n * sizeof *d, cudaMemcpyHostToDevice));
	FILE *f = fopen(argv[1], "w");
	if (!f || fprintf(f, "%p\n", (void *)d) < 0 || fclose(f)) { perror(argv[1]); return 2; }

	uint64_t rounds = 0, wrong = 0;
	for (bool last = false; !last; rounds++) {
		last = access(argv[2], F_OK) == 0;
		advance<<<(n + 255) / 256, 256>>>(d, n);
		CUDA(cudaMemcpy(got.data(), d, n * sizeof *d, cudaMemcpyDeviceToHost));
		for (uint32_t i = 0; i < n; i++) {
			if (i) want[i] = next(want[i], i);
			if (got[i] != want[i]) {
				if (!wrong++)
					fprintf(stderr, "neighbour: word %u is %#llx, should be %#llx\n", i,
						(unsigned long long)got[i], (unsigned long long)want[i]);
				want[i] = got[i];
			}
		}
		if (!last) usleep(2000);
	}
	CUDA(cudaFree(d));
	printf("neighbour: %llu rounds, %llu words wrong\n", (unsigned long long)rounds, (unsigned long long)wrong);
	return wrong ? 1 : 0;
}
