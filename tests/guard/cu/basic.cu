/* Global and shared memory, atomics, barriers, loops: what most kernels are made of. */
__global__ void saxpy(float a, const float *x, float *y, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		y[i] = a * x[i] + y[i];
}

__global__ void __launch_bounds__(256, 2) reduce(const float *x, float *out, int n)
{
	__shared__ float s[256];
	int t = threadIdx.x;
	float v = 0;
	for (int i = t; i < n; i += blockDim.x)
		v += x[i];
	s[t] = v;
	__syncthreads();
	for (int k = 128; k > 0; k >>= 1) {
		if (t < k)
			s[t] += s[t + k];
		__syncthreads();
	}
	if (t == 0)
		atomicAdd(out, s[0]);
}

__global__ void matmul(const float *a, const float *b, float *c, int n)
{
	__shared__ float as[16][16], bs[16][16];
	int x = threadIdx.x, y = threadIdx.y, col = blockIdx.x * 16 + x, row = blockIdx.y * 16 + y;
	float sum = 0;
	for (int k = 0; k < n; k += 16) {
		as[y][x] = a[row * n + k + x];
		bs[y][x] = b[(k + y) * n + col];
		__syncthreads();
		for (int i = 0; i < 16; i++)
			sum += as[y][i] * bs[i][x];
		__syncthreads();
	}
	c[row * n + col] = sum;
}

__global__ void vectors(const float4 *__restrict__ g, float4 *f, double2 *d, uchar4 *c, short2 *s)
{
	float4 v = g[threadIdx.x];
	v.x += 1;
	f[threadIdx.x] = v;
	d[threadIdx.x].y = v.y;
	c[threadIdx.x].z += 3;
	s[threadIdx.x].x = s[threadIdx.x].y;
	((volatile int *)c)[1] = 4;
	__threadfence();
	__threadfence_system();
}

__global__ void atomics(int *o, unsigned long long *l, double *d, unsigned short *h)
{
	__shared__ int s[4];
	for (int i = threadIdx.x; i < 4; i += blockDim.x)
		s[i] = 0;
	__syncthreads();
	atomicAdd(&s[o[0] & 3], 1);
	atomicMax(o + 1, s[1]);
	atomicCAS(o + 2, 1, 2);
	atomicExch(l, 4ull);
	atomicAdd(d, 1.0);
	atomicInc((unsigned *)o + 5, 7u);
	atomicAnd(o + 6, 3);
	atomicCAS(h, (unsigned short)1, (unsigned short)2);
	o[threadIdx.x] = s[threadIdx.x & 3];
}

__global__ void fill(char *p, long n)
{
	for (long i = threadIdx.x; i < n; i += blockDim.x)
		p[i] = (char)i;
}
