/* surfaces.cu - surface objects: reads and writes of each size in arrays of each shape, what lies outside, and the same
 * array seen by copies and by a texture. */
#include "check.h"
#include <vector>

enum { W = 24, H = 6, D = 4 };

static cudaResourceDesc of(cudaArray_t a)
{
	cudaResourceDesc r = {};
	r.resType = cudaResourceTypeArray;
	r.res.array.array = a;
	return r;
}

static cudaSurfaceObject_t surface(cudaArray_t a)
{
	cudaSurfaceObject_t s;
	cudaResourceDesc r = of(a);
	MUST(cudaCreateSurfaceObject(&s, &r));
	return s;
}

static void settled()
{
	MUST(cudaGetLastError());
	MUST(cudaDeviceSynchronize());
}

/* --- elements of each size ------------------------------------------------------------------------ */

/* Shape 0 to 4: 1-D, 2-D, 3-D, layers of one and of two dimensions; 5: faces of a cube. */
template <int SHAPE, class T> __device__ T get(cudaSurfaceObject_t s, int x, int y, int z)
{
	x *= sizeof(T);
	if constexpr (SHAPE == 0) return surf1Dread<T>(s, x);
	if constexpr (SHAPE == 1) return surf2Dread<T>(s, x, y);
	if constexpr (SHAPE == 2) return surf3Dread<T>(s, x, y, z);
	if constexpr (SHAPE == 3) return surf1DLayeredread<T>(s, x, z);
	if constexpr (SHAPE == 4) return surf2DLayeredread<T>(s, x, y, z);
	if constexpr (SHAPE == 5) return surfCubemapread<T>(s, x, y, z);
}

template <int SHAPE, class T> __device__ void put(T v, cudaSurfaceObject_t s, int x, int y, int z)
{
	x *= sizeof(T);
	if constexpr (SHAPE == 0) surf1Dwrite(v, s, x);
	if constexpr (SHAPE == 1) surf2Dwrite(v, s, x, y);
	if constexpr (SHAPE == 2) surf3Dwrite(v, s, x, y, z);
	if constexpr (SHAPE == 3) surf1DLayeredwrite(v, s, x, z);
	if constexpr (SHAPE == 4) surf2DLayeredwrite(v, s, x, y, z);
	if constexpr (SHAPE == 5) surfCubemapwrite(v, s, x, y, z);
}

/* From one surface to another, turned round, each byte changed by one bit. */
template <int SHAPE, class T> __global__ void turn(cudaSurfaceObject_t from, cudaSurfaceObject_t to, int w, int h,
	int d)
{
	for (int i = threadIdx.x; i < w * h * d; i += blockDim.x) {
		int x = i % w, y = i / w % h, z = i / (w * h);
		T v = get<SHAPE, T>(from, x, y, z);
		unsigned char *b = (unsigned char *)&v;
		for (unsigned k = 0; k < sizeof v; k++) b[k] ^= 1;
		put<SHAPE, T>(v, to, w - 1 - x, h - 1 - y, d - 1 - z);
	}
}

static void copy3d(cudaArray_t a, void *host, size_t element, cudaExtent e, bool in)
{
	cudaMemcpy3DParms p = {};
	cudaPitchedPtr h = make_cudaPitchedPtr(host, e.width * element, e.width, e.height ? e.height : 1);
	p.extent = make_cudaExtent(e.width, e.height ? e.height : 1, e.depth ? e.depth : 1);
	p.kind = in ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
	if (in) p.srcPtr = h, p.dstArray = a;
	else p.srcArray = a, p.dstPtr = h;
	MUST(cudaMemcpy3D(&p));
}

template <int SHAPE, class T> static bool turned()
{
	static const unsigned flags[] = { 0, 0, 0, cudaArrayLayered, cudaArrayLayered, cudaArrayCubemap };
	const cudaExtent extents[] = { { W, 0, 0 }, { W, H, 0 }, { W, H, D }, { W, 0, D }, { W, H, D }, { W, W, 6 } };
	cudaExtent e = extents[SHAPE];
	int w = (int)e.width, h = e.height ? (int)e.height : 1, d = e.depth ? (int)e.depth : 1;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<T>();
	cudaArray_t a, b;
	MUST(cudaMalloc3DArray(&a, &c, e, flags[SHAPE] | cudaArraySurfaceLoadStore));
	MUST(cudaMalloc3DArray(&b, &c, e, flags[SHAPE] | cudaArraySurfaceLoadStore));
	size_t n = (size_t)w * h * d;
	std::vector<T> in(n), out(n);
	unsigned char *bytes = (unsigned char *)in.data();
	for (size_t i = 0; i < n * sizeof(T); i++) bytes[i] = (unsigned char)(i * 7 + i / 251);
	copy3d(a, in.data(), sizeof(T), e, true);
	cudaSurfaceObject_t from = surface(a), to = surface(b);
	turn<SHAPE, T><<<1, 128>>>(from, to, w, h, d);
	settled();
	copy3d(b, out.data(), sizeof(T), e, false);
	bool ok = true;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < sizeof(T); k++)
			ok = ok && ((unsigned char *)&out[n - 1 - i])[k] == (bytes[i * sizeof(T) + k] ^ 1);
	MUST(cudaDestroySurfaceObject(from));
	MUST(cudaDestroySurfaceObject(to));
	MUST(cudaFreeArray(a));
	MUST(cudaFreeArray(b));
	return ok;
}

template <int SHAPE> static void sizes(const char *shape)
{
	char name[80];
#define SIZE(T) snprintf(name, sizeof name, "%s: %zu bytes (" #T ")", shape, sizeof(T)); \
	e2e_case(name, turned<SHAPE, T>())
	SIZE(unsigned char);
	SIZE(short);
	SIZE(uchar2);
	SIZE(float);
	SIZE(uchar4);
	SIZE(float2);
	SIZE(ushort4);
	SIZE(int4);
#undef SIZE
}

/* --- outside -------------------------------------------------------------------------------------- */

__global__ void beyond(cudaSurfaceObject_t s, int *o)
{
	int i = threadIdx.x;                    /* from 4 elements before the row to 4 after it; also rows */
	o[i] = surf2Dread<int>(s, (i - 4) * 4, 1, cudaBoundaryModeZero);
	o[16 + i] = surf2Dread<int>(s, (i - 4) * 4, 1, cudaBoundaryModeClamp);
	o[32 + i] = surf2Dread<int>(s, 8, i - 4, cudaBoundaryModeZero);
	o[48 + i] = surf2Dread<int>(s, 8, i - 4, cudaBoundaryModeClamp);
}

__global__ void write_beyond(cudaSurfaceObject_t s)
{
	int i = threadIdx.x;
	if (i < 4 || i >= 12) {
		surf2Dwrite(99, s, (i - 4) * 4, 1, cudaBoundaryModeZero);
		surf2Dwrite(99, s, 8, i - 4, cudaBoundaryModeZero);
	}
	if (i == 0)
		surf2Dwrite(77, s, -400, 1000, cudaBoundaryModeClamp);
}

static void outside()
{
	int h[64], *o, *back = (int *)malloc(64 * sizeof *back);
	cudaArray_t a;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<int>();
	for (int i = 0; i < 64; i++) h[i] = 1 + i;
	MUST(cudaMalloc(&o, 64 * sizeof *o));
	MUST(cudaMallocArray(&a, &c, 8, 8, cudaArraySurfaceLoadStore));
	MUST(cudaMemcpy2DToArray(a, 0, 0, h, 32, 32, 8, cudaMemcpyHostToDevice));
	cudaSurfaceObject_t s = surface(a);
	beyond<<<1, 16>>>(s, o);
	settled();
	MUST(cudaMemcpy(back, o, 64 * sizeof *o, cudaMemcpyDeviceToHost));
	bool zero = true, clamp = true, rows = true, clamped_rows = true;
	for (int i = 0; i < 16; i++) {
		int k = i - 4, near = k < 0 ? 0 : k > 7 ? 7 : k;
		bool in = k >= 0 && k < 8;
		zero = zero && back[i] == (in ? h[8 + k] : 0);
		clamp = clamp && back[16 + i] == h[8 + near];
		rows = rows && back[32 + i] == (in ? h[k * 8 + 2] : 0);
		clamped_rows = clamped_rows && back[48 + i] == h[near * 8 + 2];
	}
	e2e_case("zero beside a row", zero);
	e2e_case("the nearest element beside a row", clamp);
	e2e_case("zero above and below", rows);
	e2e_case("the nearest row above and below", clamped_rows);
	write_beyond<<<1, 16>>>(s);
	settled();
	MUST(cudaMemcpy2DFromArray(back, 32, a, 0, 0, 32, 8, cudaMemcpyDeviceToHost));
	h[56] = 77;                             /* the corner nearest to (-100, 1000) */
	e2e_case("writes outside change nothing, clamped ones the nearest element", !memcmp(back, h, sizeof h));
	MUST(cudaDestroySurfaceObject(s));
	MUST(cudaFreeArray(a));
	MUST(cudaFree(o));
	free(back);
}

/* --- beside other things -------------------------------------------------------------------------- */

__global__ void fill(cudaSurfaceObject_t s, int w, int h)
{
	for (int i = threadIdx.x; i < w * h; i += blockDim.x)
		surf2Dwrite(i * .25f, s, i % w * 4, i / w);
}

__global__ void sample(cudaTextureObject_t t, float *o, int w, int h)
{
	for (int i = threadIdx.x; i < w * h; i += blockDim.x) o[i] = tex2D<float>(t, i % w + .5f, i / w + .5f);
}

/* An array that is a surface and a texture; both handles at once. */
static void textures()
{
	float *o;
	std::vector<float> copied(W * H), sampled(W * H);
	cudaArray_t a;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<float>();
	MUST(cudaMalloc(&o, W * H * sizeof *o));
	MUST(cudaMallocArray(&a, &c, W, H, cudaArraySurfaceLoadStore));
	cudaSurfaceObject_t s = surface(a);
	cudaTextureObject_t t;
	cudaResourceDesc r = of(a);
	cudaTextureDesc d = {};
	MUST(cudaCreateTextureObject(&t, &r, &d, NULL));
	fill<<<1, 64>>>(s, W, H);
	sample<<<1, 64>>>(t, o, W, H);
	settled();
	MUST(cudaMemcpy2DFromArray(copied.data(), W * 4, a, 0, 0, W * 4, H, cudaMemcpyDeviceToHost));
	MUST(cudaMemcpy(sampled.data(), o, W * H * 4, cudaMemcpyDeviceToHost));
	bool ok = true, same = true;
	for (int i = 0; i < W * H; i++) ok = ok && copied[i] == i * .25f, same = same && sampled[i] == i * .25f;
	e2e_case("written by a kernel, copied", ok);
	e2e_case("written by a kernel, sampled by the next", same);
	MUST(cudaDestroySurfaceObject(s));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFreeArray(a));
	MUST(cudaFree(o));
}

__global__ void add_one(cudaSurfaceObject_t *s, int n)
{
	int i = blockIdx.x;
	if (i < n) surf1Dwrite(surf1Dread<int>(s[i], threadIdx.x * 4) + i, s[i], threadIdx.x * 4);
}

/* Many surfaces, their handles in memory; some go, others come in their place. */
static void many()
{
	enum { N = 40 };
	cudaArray_t a[N];
	cudaSurfaceObject_t s[N], *dev;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<int>();
	MUST(cudaMalloc(&dev, sizeof s));
	for (int i = 0; i < N; i++) {
		int zero[8] = {};
		MUST(cudaMallocArray(&a[i], &c, 8, 0, cudaArraySurfaceLoadStore));
		MUST(cudaMemcpy2DToArray(a[i], 0, 0, zero, sizeof zero, sizeof zero, 1, cudaMemcpyHostToDevice));
		s[i] = surface(a[i]);
	}
	bool ok = true;
	for (int round = 1; round <= 3; round++) {
		MUST(cudaMemcpy(dev, s, sizeof s, cudaMemcpyHostToDevice));
		add_one<<<N, 8>>>(dev, N);
		settled();
		for (int i = 0; i < N; i++) {
			int got[8];
			MUST(cudaMemcpy2DFromArray(got, sizeof got, a[i], 0, 0, sizeof got, 1,
				cudaMemcpyDeviceToHost));
			for (int k = 0; k < 8; k++) ok = ok && got[k] == round * i;
		}
		for (int i = 0; i < N; i += 3) MUST(cudaDestroySurfaceObject(s[i]));
		for (int i = 0; i < N; i += 3) s[i] = surface(a[i]);
	}
	e2e_case("forty surfaces, some made anew", ok);
	for (int i = 0; i < N; i++) {
		MUST(cudaDestroySurfaceObject(s[i]));
		MUST(cudaFreeArray(a[i]));
	}
	MUST(cudaFree(dev));
}

int main()
{
	sizes<0>("1-D");
	sizes<1>("2-D");
	sizes<2>("3-D");
	sizes<3>("1-D layers");
	sizes<4>("2-D layers");
	sizes<5>("cube");
	outside();
	textures();
	many();
	return e2e_done();
}
