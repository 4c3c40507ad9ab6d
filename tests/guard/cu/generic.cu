/* Pointers whose space is known only at run time, and functions that take them. */
struct point { int a; double b; char c[24]; };

__noinline__ __device__ float helper(const float *x, int k, point p)
{
	float s = 0;
	for (int i = 0; i < k; i++)
		s += x[i] * p.c[i % 24];
	return s;
}

__noinline__ __device__ point make(int a)
{
	point p;
	p.a = a;
	p.b = a * 2.0;
	for (int i = 0; i < 24; i++)
		p.c[i] = a + i;
	return p;
}

__noinline__ __device__ void swap2(int *a, int *b)
{
	int t = *a;
	*a = *b;
	*b = t;
}

__global__ void calls(float *o, int n, point p)
{
	__shared__ float s[64];
	float l[8];
	point q = make(n);
	for (int i = 0; i < 8; i++)
		l[i] = o[i] + n;
	s[threadIdx.x & 63] = o[0];
	__syncthreads();
	o[64 + threadIdx.x] = helper(o, n, q) + helper(s, n, p) + helper(l, n & 7, q);
}

__global__ void swaps(int *o, int n)
{
	__shared__ int s[8];
	int l[4] = { o[0], o[1], o[2], o[3] };
	s[threadIdx.x & 7] = n;
	__syncthreads();
	swap2(&l[n & 3], &o[n]);
	swap2(&s[n & 7], &l[1]);
	int *p = n > 4 ? s : o;
	atomicAdd(p, 3);
	o[1] = l[2] + *(volatile int *)p;
}

__global__ void through_memory(int **pp, int n)
{
	__shared__ int s[8];
	__shared__ int *ps[8];
	ps[threadIdx.x & 7] = n & 1 ? s : pp[0];
	__syncthreads();
	*ps[n & 7] = 5;
	pp[1][0] = s[0];
}
