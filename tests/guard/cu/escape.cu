/* The address of a constant becomes generic: constants move to the data block. */
__constant__ int values[64] = { 1, 2, 3 };
__device__ const int *const where = &values[2];

__global__ void escape(int *o, const int *p, int n)
{
	const int *q = n & 1 ? values : p;
	o[0] = q[n] + values[n & 63] + *where;
}
