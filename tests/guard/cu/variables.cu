/* Variables of every state space, with initializers that hold addresses. */
__constant__ float coef[16] = { 1, 2, 3, 4 };
__constant__ int table[4] = { 5, 6, 7, 8 };
__device__ int counter = 7;
__device__ float big[1000];
__device__ int *pointer = &counter;
__device__ float *inside = &big[10];
__device__ __managed__ int managed = 3;
extern __shared__ float dynamic[];

__global__ void globals(float *o, int n)
{
	atomicAdd(&counter, 1);
	big[threadIdx.x] = o[threadIdx.x] + *pointer + inside[n] + managed;
	o[threadIdx.x] = coef[n & 15] + coef[3] + table[threadIdx.x & 3];
}

__global__ void dyn(float *o, int n)
{
	__shared__ double fixed[32];
	int t = threadIdx.x;
	for (int i = t; i < 256; i += blockDim.x)
		dynamic[i] = o[i];
	if (t < 32)
		fixed[t] = o[t];
	__syncthreads();
	float s = 0;
	for (int i = 0; i < n; i++)
		s += dynamic[(t + i) % n] + dynamic[i * 4] + dynamic[i * 4 + 1] + dynamic[i * 4 + 2];
	o[t] = s + fixed[n & 31];
}

__global__ void only_dyn(double2 *o)
{
	double2 *d = (double2 *)dynamic;
	d[threadIdx.x] = o[threadIdx.x];
	__syncthreads();
	o[threadIdx.x] = d[threadIdx.x ^ 1];
}

__global__ void locals(int *o, int n)
{
	int loc[32];
	for (int i = 0; i < 32; i++)
		loc[i] = o[i];
	for (int i = 0; i < n; i++)
		loc[(i * 7 + o[i]) & 31] += loc[i & 31];
	o[n] = loc[n & 31];
}

struct big_param { int a; double b; char c[240]; };

__global__ void by_value(const __grid_constant__ big_param p, int *o, int i)
{
	const char *q = p.c;
	o[0] = p.c[i];
	o[1] = q[i + o[2]] + p.a;
}

__global__ void by_copy(big_param p, int *o, int i)
{
	p.c[i] = 3;
	o[0] = p.c[i + 1] + (int)p.b;
}
