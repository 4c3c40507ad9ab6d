/* rdc_other.cu - the second unit of rdc_main.cu. */
#include "check.h"

extern __device__ int mine;
__device__ int other_table[4] = { 0, 10, 20, 30 };
__constant__ int other_const = 9;
static __device__ int helper(int x) { return x * x; }
__device__ int other_square(int x) { return helper(x); }
__global__ void change(int *out) { mine++; *out = mine; }

int *table_address(void)
{
	void *p;
	MUST(cudaGetSymbolAddress(&p, other_table));
	return (int *)p;
}

void run_other(int *d) { change<<<1, 1>>>(d); }
