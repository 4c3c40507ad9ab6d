// exec_matrix_kernels.cu - matrix and texture kernels for exec_matrix.c.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
using namespace nvcuda;

template <class T, class A, class C, int M, int N, int K, class LA, class LB>
__device__ void multiply(const A *a, const A *b, const C *c, C *d, int lda, int ldb)
{
	wmma::fragment<wmma::matrix_a, M, N, K, T, LA> fa;
	wmma::fragment<wmma::matrix_b, M, N, K, T, LB> fb;
	wmma::fragment<wmma::accumulator, M, N, K, C> fc, fd;
	wmma::load_matrix_sync(fa, a, lda);
	wmma::load_matrix_sync(fb, b, ldb);
	wmma::load_matrix_sync(fc, c, N, wmma::mem_row_major);
	wmma::mma_sync(fd, fa, fb, fc);
	for (int i = 0; i < fd.num_elements; i++)
		fd.x[i] = fd.x[i] + fc.x[i];
	wmma::store_matrix_sync(d, fd, N, wmma::mem_row_major);
}

extern "C" __global__ void wmma_half(const half *a, const half *b, const float *c, float *d)
{
	multiply<half, half, float, 16, 16, 16, wmma::row_major, wmma::col_major>(a, b, c, d, 16, 16);
}
extern "C" __global__ void wmma_half16(const half *a, const half *b, const half *c, half *d)
{
	multiply<half, half, half, 32, 8, 16, wmma::col_major, wmma::row_major>(a, b, c, d, 32, 8);
}
extern "C" __global__ void wmma_bf16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, const float *c, float *d)
{
	__shared__ __nv_bfloat16 s[8 * 16];
	for (int i = threadIdx.x; i < 8 * 16; i += 32)
		s[i] = a[i];
	__syncwarp();
	multiply<__nv_bfloat16, __nv_bfloat16, float, 8, 32, 16, wmma::row_major, wmma::row_major>(s, b, c, d, 16, 32);
}
extern "C" __global__ void wmma_int(const signed char *a, const signed char *b, const int *c, int *d)
{
	multiply<signed char, signed char, int, 16, 16, 16, wmma::row_major, wmma::col_major>(a, b, c, d, 16, 16);
}
extern "C" __global__ void wmma_double(const double *a, const double *b, const double *c, double *d)
{
	multiply<double, double, double, 8, 8, 4, wmma::row_major, wmma::col_major>(a, b, c, d, 4, 4);
}
extern "C" __global__ void wmma_tf32(const float *a, const float *b, const float *c, float *d)
{
	multiply<wmma::precision::tf32, float, float, 16, 16, 8, wmma::row_major, wmma::col_major>(a, b, c, d, 8, 8);
}

// One 16 x 8 x 16 product of halves by ldmatrix and mma, the way libraries do it.
extern "C" __global__ void mma_half(const half *a, const half *b, float *d)
{
	__shared__ __align__(16) half sa[16 * 16], sb[16 * 8];
	int t = threadIdx.x;
	for (int i = t; i < 256; i += 32)
		sa[i] = a[i];
	for (int i = t; i < 128; i += 32)
		sb[i] = b[i];
	__syncwarp();
	unsigned ra[4], rb[2], pa = (unsigned)__cvta_generic_to_shared(sa + t % 16 * 16 + t / 16 * 8);
	unsigned pb = (unsigned)__cvta_generic_to_shared(sb + t % 16 * 8);
	float c[4] = { 1, 1, 1, 1 };
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		: "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(pa));
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(rb[0]),
		"=r"(rb[1]) : "r"(pb));
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
		"{%0,%1,%2,%3};"
		: "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]),
		"r"(rb[0]), "r"(rb[1]));
	for (int i = 0; i < 4; i++)
		d[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = c[i];
}

// 16 x 8 x 32 product of bytes; fragments filled by the documented layout.
extern "C" __global__ void mma_bytes(const signed char *a, const signed char *b, int *d)
{
	int t = threadIdx.x, g = t / 4, q = t % 4;
	unsigned ra[4], rb[2];
	int c[4] = { 0, 0, 0, 0 };
	for (int j = 0; j < 4; j++)
		ra[j] = *(const unsigned *)(a + (g + j % 2 * 8) * 32 + q * 4 + j / 2 * 16);
	for (int j = 0; j < 2; j++) {
		rb[j] = 0;
		for (int e = 0; e < 4; e++)
			rb[j] |= (unsigned)(unsigned char)b[(q * 4 + e + j * 16) * 8 + g] << (8 * e);
	}
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
		"{%0,%1,%2,%3};"
		: "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3]) : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]),
		"r"(rb[0]), "r"(rb[1]));
	for (int i = 0; i < 4; i++)
		d[(g + i / 2 * 8) * 8 + q * 2 + i % 2] = c[i];
}

extern "C" __global__ void tex_2d(cudaTextureObject_t t, float4 *o, float x0, float dx, float y)
{
	o[threadIdx.x] = tex2D<float4>(t, x0 + dx * threadIdx.x, y);
}
extern "C" __global__ void tex_fetch(cudaTextureObject_t t, int *o)
{
	o[threadIdx.x] = tex1Dfetch<int>(t, (int)threadIdx.x - 2);
}
extern "C" __global__ void tex_layers(cudaTextureObject_t t, float *o)
{
	o[threadIdx.x] = tex2DLayered<float>(t, threadIdx.x % 4 + 0.5f, threadIdx.x / 4 % 4 + 0.5f, threadIdx.x / 16);
}
extern "C" __global__ void surface(cudaSurfaceObject_t s, int w)
{
	int x = threadIdx.x, v = surf2Dread<int>(s, x * 4, 1);
	surf2Dwrite(v + 1000, s, x * 4, 2);
	if (w)
		surf2Dwrite(1, s, (x + w) * 4, 0);
}
