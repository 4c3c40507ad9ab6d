// corpus.cu - one kernel per way in which nvcc writes PTX: calls, tables, textures, tensor cores, assembly, debug data.
// Compiled to PTX only; nothing here is meant to compute anything.
#include <cstdio>
#include <cassert>
#include <cooperative_groups.h>
#include <mma.h>
#include <cuda_fp16.h>
namespace cg = cooperative_groups;
__constant__ float coef[64] = {1.f,2.f,3.5f};
__device__ int gtab[4] = {1,2,3,4};
__device__ int *gptr = &gtab[2];
__device__ char packed_[] = "hello";
struct __attribute__((packed)) PS { char c; const int *p; };
__device__ PS ps = { 'x', gtab };
__managed__ int mg = 7;
struct S { int a; double b; float c[3]; };
__device__ __noinline__ S addS(S x, S y)
{
	S r;
	r.a = x.a + y.a;
	r.b = x.b * y.b;
	for (int i = 0; i < 3; i++) r.c[i] = x.c[i] - y.c[i];
	return r;
}
typedef int (*fp)(int);
__device__ __noinline__ int f1(int x){return x*3;} __device__ __noinline__ int f2(int x){return x^5;}
__device__ fp table[2] = {f1,f2};
__global__ void vectorAdd(const float *a, const float *b, float *c, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) c[i] = a[i] + b[i];
}
__global__ void k_printf(int n){ printf("hi %d %f %s\n", n, 1.5*n, "x"); assert(n<5); }
__global__ void k_atom(int *p, unsigned long long *q, float *f)
{
	atomicAdd(p, 1);
	atomicCAS(p, 1, 2);
	atomicMax(q, 3ull);
	atomicAdd(f, 1.f);
	atomicExch(p, 3);
	atomicAdd_system(p, 4);
	__threadfence();
}
__global__ void k_shared(float *p)
{
	__shared__ float s[256];
	extern __shared__ float d[];
	s[threadIdx.x] = p[threadIdx.x];
	__syncthreads();
	d[threadIdx.x] = s[255 - threadIdx.x];
	__syncthreads();
	p[threadIdx.x] = d[threadIdx.x ^ 1] * coef[threadIdx.x & 63];
}
__global__ void k_tex(cudaTextureObject_t t, cudaSurfaceObject_t su, float4 *o)
{
	float4 v = tex2D<float4>(t, 0.5f, threadIdx.x);
	v.x += tex3D<float>(t, 1, 2, 3) + tex2DLod<float>(t, 1, 2, 3) + tex2DLayered<float>(t, 1, 2, 3);
	o[0] = v;
	surf2Dwrite(v, su, 16, 0);
	o[1] = surf2Dread<float4>(su, 0, 0);
}
__global__ void k_cg(int *p)
{
	auto g = cg::this_grid();
	auto b = cg::this_thread_block();
	auto w = cg::tiled_partition<32>(b);
	int v = w.shfl_down(p[threadIdx.x], 4);
	v += __ballot_sync(~0u, v > 3);
	v += __reduce_add_sync(~0u, v);
	g.sync();
	p[threadIdx.x] = v;
}
__global__ void k_wmma(half *a, half *b, float *c)
{
	using namespace nvcuda::wmma;
	fragment<matrix_a, 16, 16, 16, half, row_major> A;
	fragment<matrix_b, 16, 16, 16, half, col_major> B;
	fragment<accumulator, 16, 16, 16, float> C;
	fill_fragment(C, 0.f);
	load_matrix_sync(A, a, 16);
	load_matrix_sync(B, b, 16);
	mma_sync(C, A, B, C);
	store_matrix_sync(c, C, 16, mem_row_major);
}
__global__ void k_asm(int *p)
{
	int r;
	asm volatile("{ .reg .pred q; .reg .b32 t<3>; setp.gt.s32 q, %1, 0; mov.b32 t1, 5; @q add.s32 %0, %1, t1; "
		     "@!q mov.b32 %0, 0; }"
		     : "=r"(r)
		     : "r"(p[0]));
	unsigned long long c;
	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(c));
	asm volatile("{ L: add.s32 %0,%0,1; .reg .pred p; setp.lt.s32 p,%0,9; @p bra L; }" : "+r"(r));
	p[1] = r + (int)c;
}
__global__ void k_switch(int *p)
{
	switch (p[0] & 15) {
	case 0: p[1] = 5; break;
	case 1: p[2] = sin((double)p[3]); break;
	case 2: p[3] = 9; break;
	case 3: p[1] = p[7] / 3; break;
	case 4: p[4] = p[9] % 7; break;
	case 5: p[8] = 1; break;
	case 6:
		p[11] = 3;
		__syncthreads();
		break;
	case 7: p[12] = 44; break;
	case 8: p[1] = 7; break;
	case 9: p[3] = 2;
	}
}
__global__ void k_call(S *p, int i)
{
	p[0] = addS(p[1], p[2]);
	p[0].a += table[i](i);
	p[0].a += *gptr + mg + packed_[i] + ps.p[0];
}
__global__ void k_big(S s, int4 v, float*o){ o[0]=s.c[threadIdx.x%3]+v.x; }
__global__ void k_new(int n){ int*p=new int[n]; p[0]=1; delete[] p; void*q=malloc(8); free(q); }
__global__ void __launch_bounds__(128, 4) k_lb(double *d)
{
	d[0] = sqrt(d[1]) + exp(d[2]) + pow(d[3], d[4]);
	int loc[50];
	for (int i = 0; i < 50; i++) loc[i] = (int)d[i];
	d[5] = loc[(int)d[6]];
}
int main(){}
