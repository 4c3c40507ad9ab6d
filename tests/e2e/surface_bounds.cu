/* surface_bounds.cu - what accesses outside of a surface reach, in arrays of each shape, with accesses narrower than an
 * element, as wide, and wider: nothing but that array, which stands between others; and what the boundary mode says.
 * Indexes of layers outside read and write no other array; which layer, if any, is the hardware's affair. */
#include "check.h"
#include <climits>
#include <vector>

enum { ROW = 48, H = 6, D = 4, ARRAYS = 5, MINE = 2 };
enum { ONE, TWO, THREE, LAYERS_ONE, LAYERS_TWO, CUBE };
enum { FOREIGN, NOT_ZERO, NOT_NEAREST, COUNTS };
struct extent { int row, h, d; };

/* Which array: the high nibble of each byte. */
__host__ __device__ static unsigned char at(int array, int x, int y, int z)
{
	return (unsigned char)((array + 1) << 4 | ((x + 3 * y + 5 * z) & 15));
}

template <int SHAPE, cudaSurfaceBoundaryMode MODE, class T>
__device__ T get(cudaSurfaceObject_t s, int x, int y, int z)
{
	if constexpr (SHAPE == ONE) return surf1Dread<T>(s, x, MODE);
	if constexpr (SHAPE == TWO) return surf2Dread<T>(s, x, y, MODE);
	if constexpr (SHAPE == THREE) return surf3Dread<T>(s, x, y, z, MODE);
	if constexpr (SHAPE == LAYERS_ONE) return surf1DLayeredread<T>(s, x, z, MODE);
	if constexpr (SHAPE == LAYERS_TWO) return surf2DLayeredread<T>(s, x, y, z, MODE);
	if constexpr (SHAPE == CUBE) return surfCubemapread<T>(s, x, y, z, MODE);
}

template <int SHAPE, cudaSurfaceBoundaryMode MODE, class T>
__device__ void put(T v, cudaSurfaceObject_t s, int x, int y, int z)
{
	if constexpr (SHAPE == ONE) surf1Dwrite(v, s, x, MODE);
	if constexpr (SHAPE == TWO) surf2Dwrite(v, s, x, y, MODE);
	if constexpr (SHAPE == THREE) surf3Dwrite(v, s, x, y, z, MODE);
	if constexpr (SHAPE == LAYERS_ONE) surf1DLayeredwrite(v, s, x, z, MODE);
	if constexpr (SHAPE == LAYERS_TWO) surf2DLayeredwrite(v, s, x, y, z, MODE);
	if constexpr (SHAPE == CUBE) surfCubemapwrite(v, s, x, y, z, MODE);
}

/* Places in, beside and far from n: a multiple of 16 for x, which is then aligned for all accesses. */
enum { PLACES = 16 };
__device__ static int place(int i, int n, int step)
{
	const int p[PLACES] = { 0, n - step, n, n + step, 2 * n, 4 * n, 8 * n, 16 * n - step, 16 * n, 65536, 1 << 20,
		INT_MAX - step + 1, -step, -n, -65536, INT_MIN };
	return p[i];
}

__device__ static bool within(int v, int n) { return v >= 0 && v < n; }
__device__ static int nearest(int v, int n) { return v < 0 ? 0 : v < n ? v : n - 1; }

/* The point of a thread: which coordinates exist, and whether one is outside other than the layer. */
template <int SHAPE> struct point {
	int x, y, z;
	bool layered, out, layer_out;
	__device__ point(unsigned i, extent e)
	{
		x = place(i % PLACES, e.row, 16);
		y = SHAPE == ONE || SHAPE == LAYERS_ONE ? 0 : place(i / PLACES % PLACES, e.h, 1);
		z = SHAPE == ONE || SHAPE == TWO ? 0 : place(i / (PLACES * PLACES), e.d, 1);
		layered = SHAPE >= LAYERS_ONE;
		layer_out = layered && !within(z, e.d);
		out = !within(x, e.row) || !within(y, e.h) || (!layered && !within(z, e.d));
	}
};

template <int SHAPE, class T> __global__ void look(cudaSurfaceObject_t s, extent e, unsigned *counts)
{
	point<SHAPE> p(blockIdx.x * blockDim.x + threadIdx.x, e);
	T zero = get<SHAPE, cudaBoundaryModeZero, T>(s, p.x, p.y, p.z);
	T clamped = get<SHAPE, cudaBoundaryModeClamp, T>(s, p.x, p.y, p.z);
	const unsigned char *a = (const unsigned char *)&zero, *b = (const unsigned char *)&clamped;
	int x = nearest(p.x, e.row - (int)sizeof(T) + 1), y = nearest(p.y, e.h), z = nearest(p.z, e.d);
	for (int k = 0; k < (int)sizeof(T); k++) {
		if ((a[k] && a[k] >> 4 != MINE + 1) || (b[k] && b[k] >> 4 != MINE + 1)) atomicAdd(&counts[FOREIGN], 1);
		if (p.layer_out) continue;
		if (a[k] != (p.out ? 0 : at(MINE, x + k, y, z))) atomicAdd(&counts[NOT_ZERO], 1);
		if (b[k] != at(MINE, x + k, y, z)) atomicAdd(&counts[NOT_NEAREST], 1);
	}
}

/* How 0: outside, other than by the layer, and ignored; 1: any, by either mode. */
template <int SHAPE, class T> __global__ void spoil(cudaSurfaceObject_t s, extent e, int how)
{
	point<SHAPE> p(blockIdx.x * blockDim.x + threadIdx.x, e);
	T v;
	for (int k = 0; k < (int)sizeof v; k++) ((unsigned char *)&v)[k] = 0xff;
	if (how || p.out) put<SHAPE, cudaBoundaryModeZero, T>(v, s, p.x, p.y, p.z);
	if (how) put<SHAPE, cudaBoundaryModeClamp, T>(v, s, p.x, p.y, p.z);
}

/* --- arrays side by side ---------------------------------------------------------------------------- */

template <int SHAPE, class E> struct side_by_side {
	extent e;
	cudaArray_t a[ARRAYS];
	cudaSurfaceObject_t s;

	void copy(int i, unsigned char *host, bool in)
	{
		cudaMemcpy3DParms p = {};
		cudaPitchedPtr h = make_cudaPitchedPtr(host, e.row, e.row / sizeof(E), e.h);
		p.extent = make_cudaExtent(e.row / sizeof(E), e.h, e.d);
		p.kind = in ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
		if (in) p.srcPtr = h, p.dstArray = a[i];
		else p.srcArray = a[i], p.dstPtr = h;
		MUST(cudaMemcpy3D(&p));
	}
	std::vector<unsigned char> contents(int i)
	{
		std::vector<unsigned char> v;
		for (int z = 0; z < e.d; z++)
			for (int y = 0; y < e.h; y++)
				for (int x = 0; x < e.row; x++) v.push_back(at(i, x, y, z));
		return v;
	}
	bool untouched(int i)
	{
		std::vector<unsigned char> want = contents(i), is(want.size());
		copy(i, is.data(), false);
		return is == want;
	}
	bool others_untouched()
	{
		bool ok = true;
		for (int i = 0; i < ARRAYS; i++) ok = ok && (i == MINE || untouched(i));
		return ok;
	}
	side_by_side(int row)
	{
		static const unsigned flags[] = { 0, 0, 0, cudaArrayLayered, cudaArrayLayered, cudaArrayCubemap };
		bool flat = SHAPE == ONE || SHAPE == LAYERS_ONE;
		int w = row / (int)sizeof(E);
		cudaChannelFormatDesc c = cudaCreateChannelDesc<E>();
		e = { row, flat ? 1 : SHAPE == CUBE ? w : H, SHAPE == ONE || SHAPE == TWO ? 1 : SHAPE == CUBE ? 6 : D };
		for (int i = 0; i < ARRAYS; i++)
			MUST(cudaMalloc3DArray(&a[i], &c, make_cudaExtent(w, flat ? 0 : e.h, e.d == 1 ? 0 : e.d),
				flags[SHAPE] | cudaArraySurfaceLoadStore));
		for (int i = 0; i < ARRAYS; i++) copy(i, contents(i).data(), true);
		cudaResourceDesc r = {};
		r.resType = cudaResourceTypeArray;
		r.res.array.array = a[MINE];
		MUST(cudaCreateSurfaceObject(&s, &r));
	}
	~side_by_side()
	{
		MUST(cudaDestroySurfaceObject(s));
		for (int i = 0; i < ARRAYS; i++) MUST(cudaFreeArray(a[i]));
	}
};

template <int SHAPE, class E, class T> static void width(const char *shape, int row)
{
	side_by_side<SHAPE, E> arrays(row);
	int blocks = SHAPE == ONE || SHAPE == TWO ? 1 : PLACES;
	unsigned *counts, back[COUNTS];
	char what[120], name[200];
	snprintf(what, sizeof what, "%s, rows of %d bytes, elements of %zu, accesses of %zu", shape, row, sizeof(E),
		sizeof(T));
#define CASE(says, ok) snprintf(name, sizeof name, "%s: %s", what, says); e2e_case(name, ok)
	MUST(cudaMalloc(&counts, sizeof back));
	MUST(cudaMemset(counts, 0, sizeof back));
	look<SHAPE, T><<<blocks, PLACES * PLACES>>>(arrays.s, arrays.e, counts);
	MUST(cudaGetLastError());
	MUST(cudaDeviceSynchronize());
	MUST(cudaMemcpy(back, counts, sizeof back, cudaMemcpyDeviceToHost));
	CASE("reads reach no other array", !back[FOREIGN]);
	CASE("zero outside", !back[NOT_ZERO]);
	CASE("the nearest access outside", !back[NOT_NEAREST]);
	spoil<SHAPE, T><<<blocks, PLACES * PLACES>>>(arrays.s, arrays.e, 0);
	MUST(cudaGetLastError());
	MUST(cudaDeviceSynchronize());
	CASE("ignored writes change nothing", arrays.untouched(MINE) && arrays.others_untouched());
	spoil<SHAPE, T><<<blocks, PLACES * PLACES>>>(arrays.s, arrays.e, 1);
	MUST(cudaGetLastError());
	MUST(cudaDeviceSynchronize());
	CASE("writes reach no other array", arrays.others_untouched() && !arrays.untouched(MINE));
	MUST(cudaFree(counts));
#undef CASE
}

template <int SHAPE> static void shape(const char *name)
{
	width<SHAPE, unsigned char, unsigned char>(name, ROW);
	width<SHAPE, unsigned char, uint4>(name, ROW);
	width<SHAPE, unsigned, unsigned char>(name, ROW);
	width<SHAPE, unsigned, unsigned>(name, ROW);
	width<SHAPE, unsigned, uint4>(name, ROW);
	width<SHAPE, uint4, unsigned short>(name, ROW);
	width<SHAPE, uint4, uint4>(name, ROW);
	width<SHAPE, uint4, uint2>(name, 1008);
	if (SHAPE != CUBE) width<SHAPE, unsigned char, uint2>(name, 1008);
}

int main()
{
	shape<ONE>("1-D");
	shape<TWO>("2-D");
	shape<THREE>("3-D");
	shape<LAYERS_ONE>("1-D layers");
	shape<LAYERS_TWO>("2-D layers");
	shape<CUBE>("cube");
	return e2e_done();
}
