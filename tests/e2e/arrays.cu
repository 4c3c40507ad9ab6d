/* arrays.cu - arrays of one, two and three dimensions and layers: copies to, from and between them; textures over
 * arrays, linear and pitched memory with each filter, address mode and read mode; surface objects. */
#include "check.h"
#include <cmath>
#include <vector>

enum { W = 40, H = 12, D = 5 };
static float *out, *back;                  /* device and host: W * H * D results */

static void fetch(int n)
{
	MUST(cudaGetLastError());
	MUST(cudaMemcpy(back, out, n * sizeof *back, cudaMemcpyDeviceToHost));
}

static bool same(const std::vector<float> &want, float tolerance = 0)
{
	for (size_t i = 0; i < want.size(); i++)
		if (!(std::fabs(back[i] - want[i]) <= tolerance)) {
			printf("# [%zu] = %g, expected %g\n", i, back[i], want[i]);
			return false;
		}
	return true;
}

static cudaTextureObject_t texture(const cudaResourceDesc &r, cudaTextureFilterMode filter, cudaTextureReadMode read,
	bool normal, cudaTextureAddressMode mode = cudaAddressModeClamp)
{
	cudaTextureObject_t t;
	cudaTextureDesc d = {};
	d.addressMode[0] = d.addressMode[1] = d.addressMode[2] = mode;
	d.filterMode = filter;
	d.readMode = read;
	d.normalizedCoords = normal;
	MUST(cudaCreateTextureObject(&t, &r, &d, NULL));
	return t;
}

static cudaResourceDesc of(cudaArray_t a)
{
	cudaResourceDesc r = {};
	r.resType = cudaResourceTypeArray;
	r.res.array.array = a;
	return r;
}

/* --- copies ------------------------------------------------------------------------------------- */

static void copies2d()
{
	cudaArray_t a, b;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<short2>();
	std::vector<short2> h(W * H), g(W * H);
	for (int i = 0; i < W * H; i++) h[i] = make_short2(i, -i);
	size_t row = W * sizeof(short2);
	MUST(cudaMallocArray(&a, &c, W, H));
	MUST(cudaMallocArray(&b, &c, W, H));
	MUST(cudaMemcpy2DToArray(a, 0, 0, h.data(), row, row, H, cudaMemcpyHostToDevice));
	MUST(cudaMemcpy2DArrayToArray(b, 0, 0, a, 0, 0, row, H));
	MUST(cudaMemcpy2DFromArray(g.data(), row, b, 0, 0, row, H, cudaMemcpyDeviceToHost));
	e2e_case("2-D array there, across and back", !memcmp(h.data(), g.data(), W * H * sizeof(short2)));
	/* A box inside: 7 x 3 elements at (5, 2). */
	short2 box[3][7], got[3][7];
	for (int i = 0; i < 21; i++) box[i / 7][i % 7] = make_short2(1000 + i, i);
	MUST(cudaMemcpy2DToArray(a, 5 * sizeof(short2), 2, box, sizeof box[0], sizeof box[0], 3,
		cudaMemcpyHostToDevice));
	MUST(cudaMemcpy2DFromArray(got, sizeof got[0], a, 5 * sizeof(short2), 2, sizeof got[0], 3,
		cudaMemcpyDeviceToHost));
	e2e_case("box of an array", !memcmp(box, got, sizeof box));
	MUST(cudaMemcpy2DFromArray(g.data(), row, a, 0, 0, row, H, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++) {
			bool in = x >= 5 && x < 12 && y >= 2 && y < 5;
			ok = ok && g[y * W + x].x == (in ? 1000 + (y - 2) * 7 + x - 5 : y * W + x);
		}
	e2e_case("nothing beside the box", ok);
	short2 *pitched;
	size_t pitch;
	cudaStream_t s;
	MUST(cudaStreamCreate(&s));
	MUST(cudaMallocPitch(&pitched, &pitch, row, H));
	MUST(cudaMemcpy2DFromArrayAsync(pitched, pitch, a, 0, 0, row, H, cudaMemcpyDeviceToDevice, s));
	MUST(cudaMemcpy2DToArrayAsync(b, 0, 0, pitched, pitch, row, H, cudaMemcpyDeviceToDevice, s));
	std::vector<short2> k(W * H);
	MUST(cudaMemcpy2DFromArrayAsync(k.data(), row, b, 0, 0, row, H, cudaMemcpyDefault, s));
	MUST(cudaStreamSynchronize(s));
	e2e_case("asynchronous copies through pitched memory", !memcmp(k.data(), g.data(), W * H * sizeof(short2)));
	MUST(cudaMemcpyToArray(a, 0, 0, h.data(), row * H, cudaMemcpyHostToDevice));
	MUST(cudaMemcpyFromArray(g.data(), a, 0, 0, row * H, cudaMemcpyDeviceToHost));
	e2e_case("whole array as one run of bytes", !memcmp(h.data(), g.data(), row * H));
	GIVES("copy past an array", cudaErrorInvalidValue,
		cudaMemcpy2DToArray(a, 8, 0, h.data(), row, row, H, cudaMemcpyHostToDevice));
	GIVES("copy below an array", cudaErrorInvalidValue,
		cudaMemcpy2DToArray(a, 0, 1, h.data(), row, row, H, cudaMemcpyHostToDevice));
	cudaGetLastError();
	MUST(cudaStreamDestroy(s));
	MUST(cudaFree(pitched));
	MUST(cudaFreeArray(a));
	MUST(cudaFreeArray(b));
	MUST(cudaFreeArray(NULL));
	c = cudaCreateChannelDesc(32, 32, 32, 0, cudaChannelFormatKindFloat);
	e2e_case("no array of three channels", cudaMallocArray(&a, &c, W, H) != cudaSuccess);
	cudaGetLastError();
}

__global__ void read3d(cudaTextureObject_t t, float *o, int w, int h, int d)
{
	for (int i = threadIdx.x; i < w * h * d; i += blockDim.x)
		o[i] = tex3D<float>(t, i % w + .5f, i / w % h + .5f, i / (w * h) + .5f);
}

static void copies3d()
{
	cudaArray_t a, b;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<float>(), got;
	cudaExtent all = make_cudaExtent(W, H, D), is;
	unsigned flags;
	std::vector<float> h(W * H * D);
	for (int i = 0; i < W * H * D; i++) h[i] = i * .5f;
	MUST(cudaMalloc3DArray(&a, &c, all));
	MUST(cudaMalloc3DArray(&b, &c, all, cudaArraySurfaceLoadStore));
	MUST(cudaArrayGetInfo(&got, &is, &flags, b));
	e2e_case("what a 3-D array says of itself", is.width == W && is.height == H && is.depth == D && got.x == 32 &&
		got.y == 0 && got.f == cudaChannelFormatKindFloat && flags == cudaArraySurfaceLoadStore);
	cudaMemcpy3DParms p = {};
	p.srcPtr = make_cudaPitchedPtr(h.data(), W * sizeof(float), W, H);
	p.dstArray = a;
	p.extent = all;
	p.kind = cudaMemcpyHostToDevice;
	MUST(cudaMemcpy3D(&p));
	cudaTextureObject_t t = texture(of(a), cudaFilterModePoint, cudaReadModeElementType, false);
	read3d<<<1, 256>>>(t, out, W, H, D);
	fetch(W * H * D);
	e2e_case("3-D array through a texture", same(h));
	MUST(cudaDestroyTextureObject(t));
	/* Array to array: a box moves; then out into pitched device memory, then home. */
	p = {};
	p.srcArray = a, p.dstArray = b, p.extent = all, p.kind = cudaMemcpyDeviceToDevice;
	MUST(cudaMemcpy3D(&p));
	p.srcPos = make_cudaPos(0, 0, 0), p.dstPos = make_cudaPos(10, 4, 2), p.extent = make_cudaExtent(6, 3, 2);
	MUST(cudaMemcpy3D(&p));
	cudaPitchedPtr dev;
	MUST(cudaMalloc3D(&dev, make_cudaExtent(W * sizeof(float), H, D)));
	p = {};
	p.srcArray = b, p.dstPtr = dev, p.extent = all, p.kind = cudaMemcpyDeviceToDevice;
	MUST(cudaMemcpy3DAsync(&p, 0));
	std::vector<float> g(W * H * D);
	p = {};
	p.srcPtr = dev, p.dstPtr = make_cudaPitchedPtr(g.data(), W * sizeof(float), W, H),
		p.kind = cudaMemcpyDeviceToHost;
	p.extent = make_cudaExtent(W * sizeof(float), H, D);
	MUST(cudaMemcpy3D(&p));
	bool ok = true;
	for (int i = 0; i < W * H * D; i++) {
		int x = i % W, y = i / W % H, z = i / (W * H);
		bool in = x >= 10 && x < 16 && y >= 4 && y < 7 && z >= 2 && z < 4;
		ok = ok && g[i] == (in ? h[((z - 2) * H + y - 4) * W + x - 10] : h[i]);
	}
	e2e_case("3-D boxes between arrays and pitched memory", ok);
	MUST(cudaFree(dev.ptr));
	MUST(cudaFreeArray(a));
	MUST(cudaFreeArray(b));
}

/* --- textures ------------------------------------------------------------------------------------- */

__global__ void read1d(cudaTextureObject_t t, float *o, float start, float step, int n)
{
	int i = threadIdx.x;
	if (i < n) o[i] = tex1D<float>(t, start + i * step);
}

static void modes1d()
{
	cudaArray_t a;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<float>();
	float v[8] = { 1, 2, 4, 8, 16, 32, 64, 128 };
	MUST(cudaMallocArray(&a, &c, 8));
	MUST(cudaMemcpyToArray(a, 0, 0, v, sizeof v, cudaMemcpyHostToDevice));
	cudaResourceDesc r = of(a);
	struct { const char *name; cudaTextureAddressMode mode; bool normal; std::vector<float> want; } rows[] = {
		{ "clamped address", cudaAddressModeClamp, false, { 1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 128, 128, 128,
			128 } },
		{ "border address", cudaAddressModeBorder, false, { 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0 } },
		{ "wrapped address", cudaAddressModeWrap, true, { 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4 } },
		{ "mirrored address", cudaAddressModeMirror, true, { 4, 2, 1, 1, 2, 4, 8, 16, 32, 64, 128, 128, 64,
			32 } },
	};
	for (auto &w : rows) {
		cudaTextureObject_t t = texture(r, cudaFilterModePoint, cudaReadModeElementType, w.normal, w.mode);
		read1d<<<1, 32>>>(t, out, w.normal ? -2.5f / 8 : -2.5f, w.normal ? 1.f / 8 : 1.f, 14);
		fetch(14);
		e2e_case(w.name, same(w.want));
		MUST(cudaDestroyTextureObject(t));
	}
	cudaTextureObject_t t = texture(r, cudaFilterModeLinear, cudaReadModeElementType, false);
	read1d<<<1, 32>>>(t, out, 0, .5f, 17);
	fetch(17);
	e2e_case("linear filter", same({ 1, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 128 }));
	read1d<<<1, 32>>>(t, out, 1.75f, 1, 6);
	fetch(6);
	e2e_case("linear filter, a quarter", same({ 2.5, 5, 10, 20, 40, 80 }));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFreeArray(a));
}

__global__ void read2d(cudaTextureObject_t t, float *o, int w, int h, float sx, float sy, float dx, float dy)
{
	for (int i = threadIdx.x; i < w * h; i += blockDim.x)
		o[i] = tex2D<float>(t, (i % w + dx) * sx, (i / w + dy) * sy);
}

__global__ void read_uchar4(cudaTextureObject_t t, float *o)
{
	float4 v = tex2D<float4>(t, threadIdx.x + .5f, .5f);
	o[threadIdx.x * 4] = v.x, o[threadIdx.x * 4 + 1] = v.y, o[threadIdx.x * 4 + 2] = v.z,
		o[threadIdx.x * 4 + 3] = v.w;
}

__global__ void read_ints(cudaTextureObject_t t, float *o)
{
	int2 v = tex2D<int2>(t, threadIdx.x, threadIdx.y);
	o[threadIdx.y * blockDim.x + threadIdx.x] = v.x * 1000.f + v.y;
}

static void textures2d()
{
	cudaArray_t a;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<float>();
	std::vector<float> h(W * H), mid(W * H);
	for (int i = 0; i < W * H; i++) h[i] = (float)(i % W) + 100.f * (i / W);
	for (int i = 0; i < W * H; i++) mid[i] = std::fmin(i % W + .5f, W - 1.f) + 100.f * std::fmin(i / W + .5f,
		H - 1.f);
	MUST(cudaMallocArray(&a, &c, W, H));
	MUST(cudaMemcpy2DToArray(a, 0, 0, h.data(), W * 4, W * 4, H, cudaMemcpyHostToDevice));
	cudaTextureObject_t t = texture(of(a), cudaFilterModePoint, cudaReadModeElementType, false);
	read2d<<<1, 256>>>(t, out, W, H, 1, 1, .25f, .75f);
	fetch(W * H);
	e2e_case("2-D texture, nearest", same(h));
	MUST(cudaDestroyTextureObject(t));
	t = texture(of(a), cudaFilterModeLinear, cudaReadModeElementType, true);
	read2d<<<1, 256>>>(t, out, W, H, 1.f / W, 1.f / H, 1, 1);
	fetch(W * H);
	e2e_case("2-D texture, linear, normalised", same(mid, 1.f));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFreeArray(a));

	uchar4 bytes[3] = { { 0, 255, 51, 102 }, { 255, 0, 204, 153 }, { 1, 2, 3, 4 } };
	c = cudaCreateChannelDesc<uchar4>();
	MUST(cudaMallocArray(&a, &c, 3, 1));
	MUST(cudaMemcpy2DToArray(a, 0, 0, bytes, sizeof bytes, sizeof bytes, 1, cudaMemcpyHostToDevice));
	t = texture(of(a), cudaFilterModePoint, cudaReadModeNormalizedFloat, false);
	read_uchar4<<<1, 3>>>(t, out);
	fetch(12);
	e2e_case("bytes read as fractions",
		same({ 0, 1, .2f, .4f, 1, 0, .8f, .6f, 1 / 255.f, 2 / 255.f, 3 / 255.f, 4 / 255.f }, 1e-6f));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFreeArray(a));

	int2 pairs[6] = { { 1, 2 }, { -3, 4 }, { 5, -6 }, { 7, 8 }, { 9, 10 }, { 11, 12 } };
	c = cudaCreateChannelDesc<int2>();
	MUST(cudaMallocArray(&a, &c, 3, 2));
	MUST(cudaMemcpy2DToArray(a, 0, 0, pairs, 24, 24, 2, cudaMemcpyHostToDevice));
	t = texture(of(a), cudaFilterModePoint, cudaReadModeElementType, false);
	read_ints<<<1, dim3(3, 2)>>>(t, out);
	fetch(6);
	e2e_case("pairs of integers", same({ 1002, -2996, 4994, 7008, 9010, 11012 }));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFreeArray(a));
}

__global__ void fetch1d(cudaTextureObject_t t, float *o, int n)
{
	for (int i = threadIdx.x; i < n; i += blockDim.x) o[i] = tex1Dfetch<float>(t, i);
}

__global__ void fetch4(cudaTextureObject_t t, float *o, int n)
{
	for (int i = threadIdx.x; i < n; i += blockDim.x) {
		float4 v = tex1Dfetch<float4>(t, i);
		o[i] = v.x + v.y * 10 + v.z * 100 + v.w * 1000;
	}
}

static void linear_memory()
{
	std::vector<float> h(W * H);
	float *d;
	size_t pitch;
	for (int i = 0; i < W * H; i++) h[i] = (float)(i % 9);
	MUST(cudaMalloc(&d, W * H * 4));
	MUST(cudaMemcpy(d, h.data(), W * H * 4, cudaMemcpyHostToDevice));
	cudaResourceDesc r = {};
	r.resType = cudaResourceTypeLinear;
	r.res.linear.devPtr = d;
	r.res.linear.desc = cudaCreateChannelDesc<float>();
	r.res.linear.sizeInBytes = W * H * 4;
	cudaTextureObject_t t = texture(r, cudaFilterModePoint, cudaReadModeElementType, false);
	fetch1d<<<1, 128>>>(t, out, W * H);
	fetch(W * H);
	e2e_case("texture over linear memory", same(h));
	MUST(cudaMemset(d, 0, 8));
	h[0] = h[1] = 0;
	fetch1d<<<1, 128>>>(t, out, W * H);
	fetch(W * H);
	e2e_case("the next kernel sees what changed", same(h));
	fetch1d<<<1, 32>>>(t, out, W * H + 4);
	fetch(W * H + 4);
	e2e_case("zero past its end", back[W * H] == 0 && back[W * H + 3] == 0);
	MUST(cudaDestroyTextureObject(t));
	r.res.linear.desc = cudaCreateChannelDesc<float4>();
	t = texture(r, cudaFilterModePoint, cudaReadModeElementType, false);
	fetch4<<<1, 128>>>(t, out, W * H / 4);
	fetch(W * H / 4);
	std::vector<float> four(W * H / 4);
	for (int i = 0; i < W * H / 4; i++)
		four[i] = h[4 * i] + h[4 * i + 1] * 10 + h[4 * i + 2] * 100 + h[4 * i + 3] * 1000;
	e2e_case("vectors from linear memory", same(four));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFree(d));

	for (int i = 0; i < W * H; i++) h[i] = (float)(i / W) * 3 + (i % W);
	MUST(cudaMallocPitch(&d, &pitch, W * 4, H));
	MUST(cudaMemcpy2D(d, pitch, h.data(), W * 4, W * 4, H, cudaMemcpyHostToDevice));
	r = {};
	r.resType = cudaResourceTypePitch2D;
	r.res.pitch2D.devPtr = d;
	r.res.pitch2D.desc = cudaCreateChannelDesc<float>();
	r.res.pitch2D.width = W, r.res.pitch2D.height = H, r.res.pitch2D.pitchInBytes = pitch;
	t = texture(r, cudaFilterModeLinear, cudaReadModeElementType, false);
	read2d<<<1, 128>>>(t, out, W, H, 1, 1, .5f, .5f);
	fetch(W * H);
	e2e_case("texture over pitched memory", same(h));
	read2d<<<1, 128>>>(t, out, W - 1, H - 1, 1, 1, 1, 1);
	fetch((W - 1) * (H - 1));
	std::vector<float> mid((W - 1) * (H - 1));
	for (size_t i = 0; i < mid.size(); i++) mid[i] = (float)(i / (W - 1)) * 3 + (i % (W - 1)) + 2;
	e2e_case("pitched memory, linear filter", same(mid, .02f));
	MUST(cudaDestroyTextureObject(t));
	r.res.pitch2D.devPtr = (char *)d + 4;
	cudaTextureDesc td = {};
	e2e_case("texture over unaligned memory", cudaCreateTextureObject(&t, &r, &td, NULL) != cudaSuccess);
	cudaGetLastError();
	MUST(cudaFree(d));
}

__global__ void read_layers(cudaTextureObject_t t, float *o, int w, int h)
{
	for (int i = threadIdx.x; i < w * h; i += blockDim.x)
		o[blockIdx.x * w * h + i] = tex2DLayered<float>(t, i % w + .5f, i / w + .5f, blockIdx.x);
}

__global__ void gather(cudaTextureObject_t t, float *o)
{
	float4 v = tex2Dgather<float4>(t, 2.f, 2.f, 0);
	o[0] = v.x, o[1] = v.y, o[2] = v.z, o[3] = v.w;
}

static void layers()
{
	cudaArray_t a;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<float>();
	std::vector<float> h(W * H * 3);
	for (int i = 0; i < W * H * 3; i++) h[i] = (float)(i * 7 % 1000);
	MUST(cudaMalloc3DArray(&a, &c, make_cudaExtent(W, H, 3), cudaArrayLayered));
	cudaMemcpy3DParms p = {};
	p.srcPtr = make_cudaPitchedPtr(h.data(), W * 4, W, H);
	p.dstArray = a, p.extent = make_cudaExtent(W, H, 3), p.kind = cudaMemcpyHostToDevice;
	MUST(cudaMemcpy3D(&p));
	cudaTextureObject_t t = texture(of(a), cudaFilterModePoint, cudaReadModeElementType, false);
	read_layers<<<3, 128>>>(t, out, W, H);
	fetch(W * H * 3);
	e2e_case("layered texture", same(h));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFreeArray(a));
	float g[16];
	for (int i = 0; i < 16; i++) g[i] = (float)i;
	MUST(cudaMallocArray(&a, &c, 4, 4, cudaArrayTextureGather));
	MUST(cudaMemcpy2DToArray(a, 0, 0, g, 16, 16, 4, cudaMemcpyHostToDevice));
	t = texture(of(a), cudaFilterModePoint, cudaReadModeElementType, false);
	gather<<<1, 1>>>(t, out);
	fetch(4);
	e2e_case("four texels gathered", same({ 9, 10, 6, 5 }));
	MUST(cudaDestroyTextureObject(t));
	MUST(cudaFreeArray(a));
}

/* --- surfaces ------------------------------------------------------------------------------------- */

static void surfaces()
{
	cudaArray_t a;
	cudaSurfaceObject_t s;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<float>();
	MUST(cudaMallocArray(&a, &c, W, H, cudaArraySurfaceLoadStore));
	cudaResourceDesc r = of(a), said = {};
	MUST(cudaCreateSurfaceObject(&s, &r));
	MUST(cudaGetSurfaceObjectResourceDesc(&said, s));
	e2e_case("what a surface says of itself", said.resType == cudaResourceTypeArray && said.res.array.array == a);
	MUST(cudaDestroySurfaceObject(s));
	MUST(cudaFreeArray(a));
}

int main()
{
	back = (float *)malloc(W * H * D * sizeof *back);
	MUST(cudaMalloc(&out, W * H * D * sizeof *out));
	copies2d();
	copies3d();
	modes1d();
	textures2d();
	linear_memory();
	layers();
	surfaces();
	MUST(cudaFree(out));
	free(back);
	return e2e_done();
}
