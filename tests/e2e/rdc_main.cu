/* rdc_main.cu, rdc_other.cu - separate compilation: device functions and variables across translation units
 * (-rdc=true). */
#include "check.h"

extern __device__ int other_square(int);
extern __device__ int other_table[4];
extern __constant__ int other_const;
__device__ int mine = 3;
int *table_address(void);
void run_other(int *d);

__global__ void use(int *out)
{
	out[threadIdx.x] = other_square(threadIdx.x) + other_table[threadIdx.x & 3] + mine + other_const;
}

int main()
{
	int *d, h[8];
	MUST(cudaMalloc(&d, 32));
	use<<<1, 8>>>(d);
	MUST(cudaMemcpy(h, d, 32, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int i = 0; i < 8; i++) ok &= h[i] == i * i + 10 * (i & 3) + 3 + 9;
	e2e_case("call and variables in another unit", ok);
	run_other(d);
	MUST(cudaMemcpy(h, d, 32, cudaMemcpyDeviceToHost));
	e2e_case("kernel in another unit changes this unit's variable", h[0] == 4);
	MUST(cudaMemcpyFromSymbol(h, mine, 4));
	e2e_case("one copy of a variable", h[0] == 4);
	MUST(cudaMemcpy(h, table_address(), 16, cudaMemcpyDeviceToHost));
	e2e_case("symbol of another unit", h[3] == 30);
	return e2e_done();
}
