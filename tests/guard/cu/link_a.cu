/* Two relocatable pieces: a function, a variable and a constant are defined in the other one. */
extern __device__ int shared_counter;
extern __constant__ float scale[4];
extern __device__ float twice(float *p, int n);
static __device__ int hidden = 1;
__device__ int exported = 5;

__global__ void first(float *o, int n)
{
	shared_counter += hidden;
	o[threadIdx.x] = twice(o, n) * scale[n & 3];
}
