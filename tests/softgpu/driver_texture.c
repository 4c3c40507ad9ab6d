/* driver_texture.c - arrays, copies to and from them, texture and surface objects; with SOFT_DIRECT also what a kernel
 * would read through them, against the Programming Guide's formulas. */
#include <math.h>
#include "direct.h"
#ifdef SOFT_DIRECT
#include "worker/softgpu/soft_texture.h"
#endif

enum { W = 37, H = 11, D = 5 };

static void array_copies(void)
{
	start();
	CUarray a, b;
	static uint16_t in[H][W], out[H][W];
	CUDA_ARRAY_DESCRIPTOR d = { .Width = W, .Height = H, .Format = CU_AD_FORMAT_UNSIGNED_INT16, .NumChannels = 1 }, got;
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
	GIVES(CUDA_ERROR_INVALID_HANDLE, cuArrayDestroy(a));
}

static void volume(void)
{
	start();
	CUarray a;
	static float in[D][H][W], out[D][H][W];
	CUDA_ARRAY3D_DESCRIPTOR d = { .Width = W, .Height = H, .Depth = D, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1 };
	for (int i = 0; i < W * H * D; i++)
		(&in[0][0][0])[i] = (float)i;
	OK(cuArray3DCreate(&a, &d));
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = in, .srcPitch = sizeof in[0][0], .srcHeight = H,
		.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = sizeof in[0][0], .Height = H, .Depth = D };
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
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = data, .srcPitch = width * bytes,
		.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = width * bytes, .Height = height ? height : 1 };
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

#ifdef SOFT_DIRECT
static uint32_t bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, 4);
	return u;
}

static float read1(CUtexObject t, enum soft_shape shape, float x, float y)
{
	struct soft_fetch f = { .shape = shape, .coord = { bits(x), bits(y) } };
	uint32_t out[4];
	float v;
	EXPECT(soft_tex_fetch(t, &f, out));
	memcpy(&v, out, 4);
	return v;
}

static CUtexObject texture(CUarray a, CUfilter_mode filter, CUaddress_mode mode, unsigned flags)
{
	CUtexObject t;
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = a };
	CUDA_TEXTURE_DESC d = { .addressMode = { mode, mode, mode }, .filterMode = filter, .flags = flags,
		.borderColor = { 9, 9, 9, 9 } };
	OK(cuTexObjectCreate(&t, &r, &d, NULL));
	return t;
}

static void sampling(void)
{
	start();
	float data[3][4] = { { 0, 1, 2, 3 }, { 10, 11, 12, 13 }, { 20, 21, 22, 23 } };
	CUarray a = ramp(CU_AD_FORMAT_FLOAT, 4, 3, 4, data);
	CUtexObject t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
	EXPECT(read1(t, SOFT_2D, 1.9f, 2.1f) == 21 && read1(t, SOFT_2D, -5, 99) == 20 && read1(t, SOFT_2D, 7, 0) == 3);
	t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_BORDER, 0);
	EXPECT(read1(t, SOFT_2D, -0.1f, 1) == 9 && read1(t, SOFT_2D, 3.9f, 2.9f) == 23 && read1(t, SOFT_2D, 0, 3) == 9);
	t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_WRAP, CU_TRSF_NORMALIZED_COORDINATES);
	EXPECT(read1(t, SOFT_2D, 1.30f, 0) == 1 && read1(t, SOFT_2D, -0.01f, 0) == 3);
	t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_MIRROR, CU_TRSF_NORMALIZED_COORDINATES);
	EXPECT(read1(t, SOFT_2D, 1.10f, 0) == 3 && read1(t, SOFT_2D, -0.30f, 0) == 1);
	t = texture(a, CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_CLAMP, 0);
	EXPECT(read1(t, SOFT_2D, 1.5f, 0.5f) == 1 && read1(t, SOFT_2D, 2, 0.5f) == 1.5f && read1(t, SOFT_2D, 2, 1) == 6.5f);
	EXPECT(read1(t, SOFT_2D, 0, 0) == 0 && read1(t, SOFT_2D, 1.75f, 0.5f) == 1.25f);
	t = texture(a, CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_WRAP, CU_TRSF_NORMALIZED_COORDINATES);
	EXPECT(read1(t, SOFT_2D, 0, 0.5f / 3) == 1.5f); /* halfway between the last and the first */
	uint8_t bytes[4] = { 0, 51, 102, 255 };
	CUarray b = ramp(CU_AD_FORMAT_UNSIGNED_INT8, 4, 0, 1, bytes);
	t = texture(b, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
	EXPECT(fabsf(read1(t, SOFT_1D, 1.5f, 0) - 0.2f) < 1e-6f && read1(t, SOFT_1D, 3, 0) == 1);
	t = texture(b, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, CU_TRSF_READ_AS_INTEGER);
	EXPECT(bits(read1(t, SOFT_1D, 2.5f, 0)) == 102);
	uint32_t out[4], width;
	struct soft_fetch f = { .shape = SOFT_1D, .int_coords = true, .coord = { 3 } };
	EXPECT(soft_tex_fetch(t, &f, out) && out[0] == 255 && out[3] == 1);
	EXPECT(soft_tex_query(t, SOFT_Q_WIDTH, &width) && width == 4);
	f.shape = SOFT_A2D;
	EXPECT(!soft_tex_fetch(t, &f, out) && !soft_tex_fetch(0, &f, out) && !soft_tex_fetch(1ull << 40, &f, out));
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
	struct soft_fetch f = { .shape = SOFT_1D, .int_coords = true, .coord = { 63 } };
	uint32_t out[4];
	EXPECT(soft_tex_fetch(t, &f, out) && out[0] == bits(63));
	f.coord[0] = 64;
	EXPECT(soft_tex_fetch(t, &f, out) && out[0] == 0);
	f.coord[0] = (uint32_t)-1;
	EXPECT(soft_tex_fetch(t, &f, out) && out[0] == 0);
}

static void layers_cubes_surfaces(void)
{
	start();
	CUarray a;
	CUDA_ARRAY3D_DESCRIPTOR d = { .Width = 2, .Height = 2, .Depth = 6, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1,
		.Flags = CUDA_ARRAY3D_CUBEMAP };
	float faces[6][2][2];
	for (int i = 0; i < 24; i++)
		(&faces[0][0][0])[i] = (float)(i / 4);
	OK(cuArray3DCreate(&a, &d));
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = faces, .srcPitch = 8, .srcHeight = 2,
		.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = 8, .Height = 2, .Depth = 6 };
	OK(cuMemcpy3D(&c));
	CUtexObject t = texture(a, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
	static const float axis[6][3] = { { 1 }, { -1 }, { 0, 1 }, { 0, -1 }, { 0, 0, 1 }, { 0, 0, -1 } };
	uint32_t out[4];
	for (int i = 0; i < 6; i++) {
		struct soft_fetch f = { .shape = SOFT_CUBE, .coord = { bits(axis[i][0]), bits(axis[i][1]), bits(axis[i][2]) } };
		EXPECT(soft_tex_fetch(t, &f, out) && out[0] == bits((float)i));
	}
	d.Flags = CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST;
	OK(cuArray3DCreate(&a, &d));
	c.dstArray = a;
	OK(cuMemcpy3D(&c));
	t = texture(a, CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_CLAMP, 0);
	struct soft_fetch f = { .shape = SOFT_A2D, .coord = { 3, bits(1), bits(1) } };
	EXPECT(soft_tex_fetch(t, &f, out) && out[0] == bits(3));
	f.coord[0] = 77;
	EXPECT(soft_tex_fetch(t, &f, out) && out[0] == bits(5));
	CUsurfObject s;
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = a };
	OK(cuSurfObjectCreate(&s, &r));
	uint64_t addr;
	bool inside;
	EXPECT(soft_surf_address(s, SOFT_A2D, (int32_t[4]){ 4, 4, 1 }, 4, &addr, &inside) && inside);
	EXPECT(*(float *)addr == 4);
	EXPECT(soft_surf_address(s, SOFT_A2D, (int32_t[4]){ 4, 8, 1 }, 4, &addr, &inside) && !inside);
	EXPECT(!soft_surf_address(s, SOFT_2D, (int32_t[4]){ 0 }, 4, &addr, &inside));
	EXPECT(!soft_surf_address(t, SOFT_A2D, (int32_t[4]){ 0 }, 4, &addr, &inside));
}

static void mip_levels(void)
{
	start();
	CUmipmappedArray m;
	CUtexObject t;
	CUDA_ARRAY3D_DESCRIPTOR d = { .Width = 4, .Height = 4, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1 };
	OK(cuMipmappedArrayCreate(&m, &d, 3));
	for (unsigned l = 0; l < 3; l++) {
		CUarray a;
		float data[16];
		for (int i = 0; i < 16; i++)
			data[i] = (float)(100 * l);
		OK(cuMipmappedArrayGetLevel(&a, m, l));
		CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = data, .srcPitch = 16,
			.dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = a, .WidthInBytes = 16u >> l, .Height = 4u >> l };
		OK(cuMemcpy2D(&c));
	}
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY, .res.mipmap.hMipmappedArray = m };
	CUDA_TEXTURE_DESC s = { .flags = CU_TRSF_NORMALIZED_COORDINATES, .mipmapFilterMode = CU_TR_FILTER_MODE_LINEAR,
		.maxMipmapLevelClamp = 2 };
	OK(cuTexObjectCreate(&t, &r, &s, NULL));
	static const float level[] = { -1, 0, 0.5f, 1, 2, 9 }, want[] = { 0, 0, 50, 100, 200, 200 };
	for (int i = 0; i < 6; i++) {
		struct soft_fetch f = { .shape = SOFT_2D, .coord = { bits(0.5f), bits(0.5f) }, .level = level[i] };
		uint32_t out[4];
		EXPECT(soft_tex_fetch(t, &f, out) && out[0] == bits(want[i]));
	}
	OK(cuTexObjectDestroy(t));
	OK(cuMipmappedArrayDestroy(m));
}
#endif

static const struct test_case cases[] = {
	{ "array_copies", array_copies }, { "volume", volume }, { "objects", objects },
#ifdef SOFT_DIRECT
	{ "sampling", sampling }, { "linear_memory", linear_memory },
	{ "layers_cubes_surfaces", layers_cubes_surfaces }, { "mip_levels", mip_levels },
#endif
};

MAIN(cases)
