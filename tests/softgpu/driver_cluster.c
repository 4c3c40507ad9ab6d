/* driver_cluster.c - launches of thread-block clusters, their attributes, errors and occupancy. */
#include "direct.h"

/* out[block] = 100 * blocks of the cluster + rank of the neighbour, as that wrote it in its shared memory */
#define BODY "\n{\n .reg .b32 %r<9>; .reg .b64 %rd<4>; .shared .align 4 .u32 s;\n" \
	" ld.param.u64 %rd1, [out]; mov.u32 %r1, %cluster_ctarank; mov.u32 %r2, %cluster_nctarank; mov.u32 %r3, s;\n" \
	" st.shared.u32 [%r3], %r1; barrier.cluster.arrive; barrier.cluster.wait;\n" \
	" add.u32 %r4, %r1, 1; rem.u32 %r4, %r4, %r2; mapa.shared::cluster.u32 %r5, %r3, %r4;\n" \
	" ld.shared::cluster.u32 %r6, [%r5]; mad.lo.u32 %r6, %r2, 100, %r6; barrier.cluster.arrive;\n" \
	" mov.u32 %r7, %ctaid.x; mul.wide.u32 %rd2, %r7, 4; add.u64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r6;\n" \
	" barrier.cluster.wait; ret;\n}\n"
static const char ptx[] =
	".version 8.0\n.target sm_90\n.address_size 64\n"
	".visible .entry any(.param .u64 out)" BODY
	".visible .entry four(.param .u64 out) .reqnctapercluster 4, 1, 1" BODY
	".visible .entry asks(.param .u64 out) .explicitcluster" BODY
	".visible .entry small(.param .u64 out) .explicitcluster .maxclusterrank 4" BODY;

static CUmodule module;
static CUdeviceptr out;

static CUfunction kernel(const char *name)
{
	CUfunction f;
	OK(cuModuleGetFunction(&f, module, name));
	return f;
}

static void begin(void)
{
	start();
	OK(cuModuleLoadData(&module, ptx));
	OK(cuMemAlloc(&out, 4096));
	OK(cuMemsetD8(out, 0, 4096));
}

/* x 0: without the attribute. */
static CUresult go(CUfunction f, unsigned grid, unsigned x, unsigned y)
{
	CUlaunchAttribute a = { .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = { x, y, 1 } };
	CUlaunchConfig c = { .gridDimX = grid,
			     .gridDimY = 1,
			     .gridDimZ = 1,
			     .blockDimX = 32,
			     .blockDimY = 1,
			     .blockDimZ = 1,
			     .attrs = &a,
			     .numAttrs = x != 0 };
	void *params[] = { &out };
	return cuLaunchKernelEx(&c, f, params, NULL);
}

static void expect_size(unsigned grid, unsigned n)
{
	uint32_t got[64];
	OK(cuMemcpyDtoH(got, out, sizeof got));
	for (unsigned i = 0; i < grid; i++)
		EXPECT(got[i] == 100 * n + (i + 1) % n);
}

static void launches(void)
{
	begin();
	OK(go(kernel("any"), 16, 0, 0));
	expect_size(16, 1);
	for (unsigned n = 1; n <= 8; n *= 2) {
		OK(go(kernel("any"), 16, n, 1));
		expect_size(16, n);
	}
	OK(go(kernel("four"), 16, 0, 0));
	expect_size(16, 4);
	OK(go(kernel("four"), 16, 4, 1));
	OK(go(kernel("asks"), 16, 2, 1));
	expect_size(16, 2);
	CUfunction f = kernel("any");
	OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
	OK(go(f, 32, 16, 1));
	expect_size(32, 16);
}

static void refusals(void)
{
	begin();
	EXPECT(go(kernel("any"), 15, 4, 1) != CUDA_SUCCESS);
	GIVES(CUDA_ERROR_INVALID_CLUSTER_SIZE, go(kernel("any"), 16, 16, 1));
	EXPECT(go(kernel("any"), 16, 2, 2) != CUDA_SUCCESS);
	EXPECT(go(kernel("four"), 16, 2, 1) != CUDA_SUCCESS);
	EXPECT(go(kernel("four"), 6, 0, 0) != CUDA_SUCCESS);
	EXPECT(go(kernel("small"), 16, 8, 1) != CUDA_SUCCESS);
	OK(go(kernel("small"), 16, 4, 1));
	expect_size(16, 4);
}

static void attributes(void)
{
	int v;
	begin();
	OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, kernel("four")));
	EXPECT(v == 4);
	OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, kernel("four")));
	EXPECT(v == 1);
	OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, kernel("any")));
	EXPECT(v == 0);
	OK(cuFuncGetAttribute(&v, CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, kernel("asks")));
	EXPECT(v == 1);
}

static void occupancy(void)
{
	int n, size;
	begin();
	CUlaunchAttribute a = { .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = { 2, 1, 1 } };
	CUlaunchConfig c = { .gridDimX = 64,
			     .gridDimY = 1,
			     .gridDimZ = 1,
			     .blockDimX = 1024,
			     .blockDimY = 1,
			     .blockDimZ = 1,
			     .attrs = &a,
			     .numAttrs = 1 };
	CUfunction f = kernel("any");
	OK(cuOccupancyMaxActiveClusters(&n, f, &c));
	EXPECT(n >= 32 && n <= 132);
	int before = n;
	a.value.clusterDim.x = 8;
	OK(cuOccupancyMaxActiveClusters(&n, f, &c));
	EXPECT(n >= 1 && n <= before / 4 + 1);
	c.numAttrs = 0;
	OK(cuOccupancyMaxPotentialClusterSize(&size, f, &c));
	EXPECT(size == 8);
	OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
	OK(cuOccupancyMaxPotentialClusterSize(&size, f, &c));
	EXPECT(size == 16);
}

static const struct test_case cases[] = {
	{ "launches", launches }, { "refusals", refusals }, { "attributes", attributes }, { "occupancy", occupancy },
};

MAIN(cases)
