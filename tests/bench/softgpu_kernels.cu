// softgpu_kernels.cu - what bench_softgpu.c measures.
extern "C" __global__ void saxpy(const float *x, float *y, float a, int n)
{
	for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
		y[i] = a * x[i] + y[i];
}

extern "C" __global__ void stencil(const float *in, float *out, int w, int h)
{
	int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
	if (x > 0 && y > 0 && x < w - 1 && y < h - 1)
		out[y * w + x] = 0.2f * (in[y * w + x] + in[y * w + x - 1] + in[y * w + x + 1] + in[(y - 1) * w + x]
			+ in[(y + 1) * w + x]);
}

extern "C" __global__ void matmul(const float *A, const float *B, float *C, int n)
{
	__shared__ float As[16][16], Bs[16][16];
	int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * 16 + ty, col = blockIdx.x * 16 + tx;
	float s = 0;
	for (int k = 0; k < n / 16; k++) {
		As[ty][tx] = A[row * n + k * 16 + tx];
		Bs[ty][tx] = B[(k * 16 + ty) * n + col];
		__syncthreads();
		for (int j = 0; j < 16; j++)
			s += As[ty][j] * Bs[j][tx];
		__syncthreads();
	}
	C[row * n + col] = s;
}

extern "C" __global__ void hash(unsigned *o, int rounds)
{
	unsigned h = blockIdx.x * blockDim.x + threadIdx.x + 1;
	for (int i = 0; i < rounds; i++) {
		h ^= h << 13;
		h ^= h >> 17;
		h ^= h << 5;
		h = h * 0x9e3779b1u + i;
	}
	o[blockIdx.x * blockDim.x + threadIdx.x] = h;
}

extern "C" __global__ void mandelbrot(int *o, int w, int limit)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x, n = 0;
	float x = -2 + 3.f * (i % w) / w, y = -1 + 2.f * (i / w) / w, a = 0, b = 0;
	while (n < limit && a * a + b * b < 4) {
		float t = a * a - b * b + x;
		b = 2 * a * b + y;
		a = t;
		n++;
	}
	o[i] = n;
}
