/* The other piece; `hidden` is not the first one's. */
__device__ int shared_counter = 9;
__constant__ float scale[4] = { 1, 2, 3, 4 };
static __device__ int hidden = 2;
extern __device__ int exported;
__device__ int *link = &exported;

__device__ float twice(float *p, int n)
{
	hidden++;
	return p[n] * 2 + *link + exported;
}

__global__ void second(int *o)
{
	o[0] = hidden + shared_counter;
}
