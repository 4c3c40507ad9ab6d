/* driver_texture.c - arrays, copies to and from them, texture and surface objects, and what a kernel reads through them
 * (CUDA Programming Guide, "Texture Fetching"). */
#include <math.h>
#include "direct.h"

enum { W = 37, H = 11, D = 5 };

static void array_copies(void)
{
	start();
	CUarray a, b;
	static uint16_t in[H][W], out[H][W];
	CUDA_ARRAY_DESCRIPTOR d = { .Width = W,
				    .Height = H,
				    .Format = CU_AD_FORMAT_UNSIGNED_INT16,
				    .NumChannels = 1 },
			      got;
	for (int i = 0; i < W * H; i++)
		in[i / W][i % W] = (uint16_t)(i * 77);
	OK(cuArrayCreate(&a, &d));
	OK(cuArrayCreate(&b, &d));
	OK(cuArrayGetDescriptor(&got, a));
	EXPECT(got.Width == W && got.Height == H && got.Format == d.Format && got.NumChannels == 1);
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = in, .srcPitch = sizeof in[0],
		.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = sizeof in[0], .Height = H };
	OK(cuMemcpy2D(&c));
	CUDA_MEMCPY2D between = { .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = a, .srcY = 2, .srcXInBytes = 4,
		.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = b, .WidthInBytes = 20, .Height = 5 };
	OK(cuMemcpy2D(&between));
	CUDA_MEMCPY2D back = { .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = b, .dstMemoryType = CU_MEMORYTYPE_HOST,
		.dstHost = out, .dstPitch = sizeof out[0], .WidthInBytes = 20, .Height = 5 };
	OK(cuMemcpy2D(&back));
	for (int y = 0; y < 5; y++)
		EXPECT(!memcmp(out[y], &in[y + 2][2], 20));
	back.srcY = H - 3;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&back));
	OK(cuMemcpyHtoA(a, 6, in[3], 10));
	OK(cuMemcpyAtoH(out, a, 6, 10));
	EXPECT(!memcmp(out, in[3], 10));
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyAtoH(out, a, 6, sizeof in[0]));
	d.NumChannels = 3;
	CUarray bad;
	GIVES(CUDA_ERROR_INVALID_VALUE, cuArrayCreate(&bad, &d));
	OK(cuArrayDestroy(a));
	OK(cuArrayDestroy(b));
#ifdef SOFT_DIRECT /* a real driver may crash on a stale handle */
	GIVES(CUDA_ERROR_INVALID_HANDLE, cuArrayDestroy(a));
#endif
}

static void volume(void)
{
	start();
	CUarray a;
	static float in[D][H][W], out[D][H][W];
	CUDA_ARRAY3D_DESCRIPTOR d = {
		.Width = W, .Height = H, .Depth = D, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1
	};
	for (int i = 0; i < W * H * D; i++)
		(&in[0][0][0])[i] = (float)i;
	OK(cuArray3DCreate(&a, &d));
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			    .srcHost = in,
			    .srcPitch = sizeof in[0][0],
			    .srcHeight = H,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			    .dstArray = a,
			    .WidthInBytes = sizeof in[0][0],
			    .Height = H,
			    .Depth = D };
	OK(cuMemcpy3D(&c));
	CUDA_MEMCPY3D back = { .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = a, .srcZ = 2, .srcY = 1,
		.dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = out, .dstPitch = sizeof in[0][0], .dstHeight = H,
		.WidthInBytes = sizeof in[0][0], .Height = 4, .Depth = 3 };
	OK(cuMemcpy3D(&back));
	for (int z = 0; z < 3; z++)
		for (int y = 0; y < 4; y++)
			EXPECT(!memcmp(out[z][y], in[z + 2][y + 1], sizeof in[0][0]));
	OK(cuArrayDestroy(a));
}

static CUarray ramp(CUarray_format format, unsigned width, unsigned height, unsigned bytes, const void *data)
{
	CUarray a;
	CUDA_ARRAY_DESCRIPTOR d = { .Width = width, .Height = height, .Format = format, .NumChannels = 1 };
	OK(cuArrayCreate(&a, &d));
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			    .srcHost = data,
			    .srcPitch = width * bytes,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			    .dstArray = a,
			    .WidthInBytes = width * bytes,
			    .Height = height ? height : 1 };
	OK(cuMemcpy2D(&c));
	return a;
}

static void objects(void)
{
	start();
	float data[16] = { 0 };
	CUarray a = ramp(CU_AD_FORMAT_FLOAT, 4, 4, 4, data);
	CUtexObject t;
	CUsurfObject s;
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = a }, r2;
	CUDA_TEXTURE_DESC d = { .filterMode = CU_TR_FILTER_MODE_LINEAR, .maxAnisotropy = 1 }, d2;
	OK(cuTexObjectCreate(&t, &r, &d, NULL));
	EXPECT(t != 0);
	OK(cuTexObjectGetResourceDesc(&r2, t));
	OK(cuTexObjectGetTextureDesc(&d2, t));
	EXPECT(r2.res.array.hArray == a && d2.filterMode == CU_TR_FILTER_MODE_LINEAR);
	OK(cuTexObjectDestroy(t));
	CUdeviceptr p;
	OK(cuMemAlloc(&p, 4096));
	CUDA_RESOURCE_DESC lin = { .resType = CU_RESOURCE_TYPE_LINEAR, .res.linear = { .devPtr = p, .numChannels = 1,
		.format = CU_AD_FORMAT_FLOAT, .sizeInBytes = 4096 } };
	OK(cuTexObjectCreate(&t, &lin, &d, NULL));
	OK(cuTexObjectDestroy(t));
	CUDA_ARRAY3D_DESCRIPTOR e = { .Width = 8, .Height = 8, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1,
		.Flags = CUDA_ARRAY3D_SURFACE_LDST };
	CUarray b;
	OK(cuArray3DCreate(&b, &e));
	r.res.array.hArray = b;
	OK(cuSurfObjectCreate(&s, &r));
	OK(cuSurfObjectDestroy(s));
	CUmipmappedArray m;
	OK(cuMipmappedArrayCreate(&m, &e, 3));
	OK(cuMipmappedArrayGetLevel(&b, m, 2));
	CUDA_ARRAY_DESCRIPTOR got;
	OK(cuArrayGetDescriptor(&got, b));
	EXPECT(got.Width == 2 && got.Height == 2);
	GIVES(CUDA_ERROR_INVALID_VALUE, cuMipmappedArrayGetLevel(&b, m, 3));
	OK(cuMipmappedArrayDestroy(m));
}

/* out[4*i..] = texture at coordinates xyz[4*i..]; one kernel per shape and type. */
#define FETCH(name, shape, result, coordtype, coords)                                                         \
	".visible .entry " name "(.param .u64 t, .param .u64 xyz, .param .u64 out)\n{\n"                       \
	" .reg .b32 %r<9>; .reg ." coordtype " %c<5>; .reg .b64 %rd<6>; .reg .b32 %l;\n"                       \
	" ld.param.u64 %rd1, [t]; ld.param.u64 %rd2, [xyz]; ld.param.u64 %rd3, [out];\n"                       \
	" mov.u32 %r5, %tid.x; mul.wide.u32 %rd4, %r5, 16; add.s64 %rd2, %rd2, %rd4; add.s64 %rd3, %rd3, %rd4;\n" \
	" ld.global." coordtype " %c1, [%rd2]; ld.global." coordtype " %c2, [%rd2+4];\n"                       \
	" ld.global." coordtype " %c3, [%rd2+8]; ld.global.b32 %l, [%rd2+12];\n"                               \
	" tex." shape ".v4." result "." coordtype " {%r1, %r2, %r3, %r4}, [%rd1, {" coords "}];\n"             \
	" st.global.v4.b32 [%rd3], {%r1, %r2, %r3, %r4};\n ret;\n}\n"

static const char ptx[] = ".version 8.0\n.target sm_90\n.address_size 64\n" FETCH("f1", "1d", "f32", "f32", "%c1")
	FETCH("f2", "2d", "f32", "f32", "%c1, %c2") FETCH("i1", "1d", "u32", "s32", "%c1")
		FETCH("u1", "1d", "u32", "f32", "%c1") FETCH("if1", "1d", "f32", "s32", "%c1")
			FETCH("f3", "3d", "f32", "f32", "%c1, %c2, %c3, %c3")
				FETCH("a2", "a2d", "f32", "f32", "%l, %c1, %c2, %c2")
					FETCH("cube", "cube", "f32", "f32", "%c1, %c2, %c3, %c3")
	/* every element of a float surface: v -> v + 100 */
	".visible .entry bump(.param .u64 s)\n{\n .reg .b32 %r<9>; .reg .f32 %f<3>; .reg .b64 %rd<2>;\n"
	" ld.param.u64 %rd1, [s]; mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; shl.b32 %r3, %r1, 2;\n"
	" suld.b.2d.b32.trap {%r4}, [%rd1, {%r3, %r2}]; mov.b32 %f1, %r4; add.f32 %f1, %f1, 0f42C80000; mov.b32 %r4, "
	"%f1;\n"
	" sust.b.2d.b32.trap [%rd1, {%r3, %r2}], {%r4};\n ret;\n}\n";

enum { MOST = 16 };

union word { float f; uint32_t u; int32_t i; };
struct at { union word x, y, z; uint32_t layer; };

static union word out[MOST][4];

/* Reads a texture at n places with a kernel. */
static void fetch(const char *name, CUtexObject t, const struct at *places, unsigned n)
{
	static CUmodule m;
	CUfunction f;
	CUdeviceptr in, result;
	if (!m)
		OK(cuModuleLoadData(&m, ptx));
	OK(cuModuleGetFunction(&f, m, name));
	OK(cuMemAlloc(&in, sizeof *places * n));
	OK(cuMemAlloc(&result, sizeof out));
	OK(cuMemcpyHtoD(in, places, sizeof *places * n));
	void *params[] = { &t, &in, &result };
	OK(cuLaunchKernel(f, 1, 1, 1, n, 1, 1, 0, NULL, params, NULL));
	OK(cuMemcpyDtoH(out, result, sizeof out[0] * n));
	OK(cuMemFree(in));
	OK(cuMemFree(result));
}

#define XY(a, b) { .x.f = (a), .y.f = (b) }
#define FETCHES(kernel, t, ...)                                                    \
	do {                                                                       \
		const struct at places_[] = { __VA_ARGS__ };                       \
		fetch(kernel, t, places_, sizeof places_ / sizeof *places_);       \
	} while (0)

static CUtexObject texture(CUarray a, CUfilter_mode filter, CUaddress_mode mode, unsigned flags)
{
	CUtexObject t;
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = a };
	CUDA_TEXTURE_DESC d = { .addressMode = { mode, mode, mode }, .filterMode = filter, .flags = flags,
		.borderColor = { 9, 9, 9, 9 } };
	OK(cuTexObjectCreate(&t, &r, &d, NULL));
	return t;
}

static void nearest(void)
{
	start();
	float data[3][4] = { { 0, 1, 2, 3 }, { 10, 11, 12, 13 }, { 20, 21, 22, 23 } };
	CUarray a = ramp(CU_AD_FORMAT_FLOAT, 4, 3, 4, data);
	CUtexObject t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
	FETCHES("f2", t, XY(1.9f, 2.1f), XY(-5, 99), XY(7, 0));
	EXPECT(out[0][0].f == 21 && out[1][0].f == 20 && out[2][0].f == 3);
	t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_BORDER, 0);
	FETCHES("f2", t, XY(-0.1f, 1), XY(3.9f, 2.9f), XY(0, 3));
	EXPECT(out[0][0].f == 9 && out[1][0].f == 23 && out[2][0].f == 9);
	t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_WRAP, CU_TRSF_NORMALIZED_COORDINATES);
	FETCHES("f2", t, XY(1.30f, 0), XY(-0.01f, 0));
	EXPECT(out[0][0].f == 1 && out[1][0].f == 3);
	t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_MIRROR, CU_TRSF_NORMALIZED_COORDINATES);
	FETCHES("f2", t, XY(1.10f, 0), XY(-0.30f, 0));
	EXPECT(out[0][0].f == 3 && out[1][0].f == 1);
}

static void linear(void)
{
	start();
	float data[3][4] = { { 0, 1, 2, 3 }, { 10, 11, 12, 13 }, { 20, 21, 22, 23 } };
	CUarray a = ramp(CU_AD_FORMAT_FLOAT, 4, 3, 4, data);
	CUtexObject t = texture(a, CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_CLAMP, 0);
	FETCHES("f2", t, XY(1.5f, 0.5f), XY(2, 0.5f), XY(2, 1), XY(0, 0), XY(1.75f, 0.5f));
	EXPECT(out[0][0].f == 1 && out[1][0].f == 1.5f && out[2][0].f == 6.5f && out[3][0].f == 0 &&
	       out[4][0].f == 1.25f);
	t = texture(a, CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_WRAP, CU_TRSF_NORMALIZED_COORDINATES);
	FETCHES("f2", t, XY(0, 0.5f / 3));
	EXPECT(out[0][0].f == 1.5f); /* halfway between the last and the first */
}

/* What an H200 answers in one dimension, with 0 around it: half of what the row alone would give. */
static void linear_border(void)
{
	start();
	float data[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	CUDA_ARRAY_DESCRIPTOR d = { .Width = 8, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1 };
	CUDA_TEXTURE_DESC how = { .addressMode = { 3, 3, 3 }, .filterMode = CU_TR_FILTER_MODE_LINEAR };
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY };
	CUtexObject t;
	OK(cuArrayCreate(&r.res.array.hArray, &d));
	OK(cuMemcpyHtoA(r.res.array.hArray, 0, data, sizeof data));
	OK(cuTexObjectCreate(&t, &r, &how, NULL));
	FETCHES("f1", t, XY(-0.5f, 0), XY(0, 0), XY(0.25f, 0), XY(0.5f, 0), XY(7.5f, 0), XY(7.75f, 0), XY(8, 0),
		XY(9, 0));
	static const float want[] = { 0, 0.25f, 0.375f, 0.5f, 4, 3, 2, 0 };
	for (unsigned i = 0; i < 8; i++)
		EXPECT(out[i][0].f == want[i]);
}

static void integers(void)
{
	start();
	uint8_t bytes[4] = { 0, 51, 102, 255 };
	CUarray b = ramp(CU_AD_FORMAT_UNSIGNED_INT8, 4, 0, 1, bytes);
	CUtexObject t = texture(b, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
	FETCHES("f1", t, XY(1.5f, 0), XY(3, 0));
	EXPECT(fabsf(out[0][0].f - 0.2f) < 1e-6f && out[1][0].f == 1);
	t = texture(b, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, CU_TRSF_READ_AS_INTEGER);
	FETCHES("u1", t, XY(2.5f, 0), XY(99, 0));
	EXPECT(out[0][0].u == 102 && out[1][0].u == 255);
	FETCHES("i1", t, { .x.i = 3 }, { .x.i = 1 });
	EXPECT(out[0][0].u == 255 && out[1][0].u == 51);
}

static void linear_memory(void)
{
	start();
	CUdeviceptr p;
	CUtexObject t;
	float data[64];
	for (int i = 0; i < 64; i++)
		data[i] = (float)i;
	OK(cuMemAlloc(&p, sizeof data));
	OK(cuMemcpyHtoD(p, data, sizeof data));
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_LINEAR, .res.linear = { .devPtr = p, .numChannels = 1,
		.format = CU_AD_FORMAT_FLOAT, .sizeInBytes = sizeof data } };
	CUDA_TEXTURE_DESC d = { 0 };
	OK(cuTexObjectCreate(&t, &r, &d, NULL));
	FETCHES("if1", t, { .x.i = 63 }, { .x.i = 0 }, { .x.i = 64 }, { .x.i = -1 });
	EXPECT(out[0][0].f == 63 && out[1][0].f == 0 && out[2][0].f == 0 && out[3][0].f == 0);
}

static CUarray six_planes(unsigned flags)
{
	CUarray a;
	CUDA_ARRAY3D_DESCRIPTOR d = {
		.Width = 2, .Height = 2, .Depth = 6, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1, .Flags = flags
	};
	float planes[6][2][2];
	for (int i = 0; i < 24; i++)
		(&planes[0][0][0])[i] = (float)(i / 4);
	OK(cuArray3DCreate(&a, &d));
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = planes, .srcPitch = 8, .srcHeight = 2,
		.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = 8, .Height = 2, .Depth = 6 };
	OK(cuMemcpy3D(&c));
	return a;
}

static void layers_cubes_volumes(void)
{
	start();
	CUtexObject t = texture(six_planes(CUDA_ARRAY3D_CUBEMAP), CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
	FETCHES("cube", t, { .x.f = 1 }, { .x.f = -1 }, { .y.f = 1 }, { .y.f = -1 }, { .z.f = 1 }, { .z.f = -1 });
	for (int i = 0; i < 6; i++)
		EXPECT(out[i][0].f == (float)i);
	t = texture(six_planes(CUDA_ARRAY3D_LAYERED), CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_CLAMP, 0);
	FETCHES("a2", t, { .x.f = 1, .y.f = 1, .layer = 3 }, { .x.f = 1, .y.f = 1, .layer = 77 });
	EXPECT(out[0][0].f == 3 && out[1][0].f == 5);
	t = texture(six_planes(0), CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_CLAMP, 0);
	FETCHES("f3", t, { .x.f = 1, .y.f = 1, .z.f = 2 }, { .x.f = 1, .y.f = 1, .z.f = 2.5f });
	EXPECT(out[0][0].f == 1.5f && out[1][0].f == 2);
}

static void surfaces(void)
{
	start();
	CUarray a;
	CUsurfObject s;
	CUmodule m;
	CUfunction f;
	float data[4][8];
	CUDA_ARRAY3D_DESCRIPTOR d = { .Width = 8, .Height = 4, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1,
		.Flags = CUDA_ARRAY3D_SURFACE_LDST };
	for (int i = 0; i < 32; i++)
		data[i / 8][i % 8] = (float)i;
	OK(cuArray3DCreate(&a, &d));
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = data, .srcPitch = sizeof data[0],
		.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = sizeof data[0], .Height = 4 };
	OK(cuMemcpy2D(&c));
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = a };
	OK(cuSurfObjectCreate(&s, &r));
	OK(cuModuleLoadData(&m, ptx));
	OK(cuModuleGetFunction(&f, m, "bump"));
	void *params[] = { &s };
	OK(cuLaunchKernel(f, 1, 1, 1, 8, 4, 1, 0, NULL, params, NULL));
	OK(cuMemcpyAtoH(data, a, 0, sizeof data[0]));
	for (int i = 0; i < 8; i++)
		EXPECT(data[0][i] == (float)i + 100);
}

static const struct test_case cases[] = {
	{ "array_copies", array_copies }, { "volume", volume }, { "objects", objects },
	{ "nearest", nearest }, { "linear", linear }, { "linear_border", linear_border }, { "integers", integers },
	{ "linear_memory", linear_memory },
	{ "layers_cubes_volumes", layers_cubes_volumes }, { "surfaces", surfaces },
};

MAIN(cases)
