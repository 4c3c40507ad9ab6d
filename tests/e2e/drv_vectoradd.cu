/* drv_vectoradd.cu - the Driver API alone: PTX text, a module, device memory, copies, one launch, the sum checked. */
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>

static const char ptx[] =
	".version 8.0\n.target sm_70\n.address_size 64\n"
	".visible .entry add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n{\n"
	"\t.reg .pred %p<2>;\n\t.reg .f32 %f<4>;\n\t.reg .b32 %r<6>;\n\t.reg .b64 %rd<11>;\n"
	"\tld.param.u64 %rd1, [a];\n\tld.param.u64 %rd2, [b];\n\tld.param.u64 %rd3, [c];\n\tld.param.u32 %r2, [n];\n"
	"\tmov.u32 %r3, %ctaid.x;\n\tmov.u32 %r4, %ntid.x;\n\tmov.u32 %r5, %tid.x;\n\tmad.lo.s32 %r1, %r3, %r4, "
	"%r5;\n"
	"\tsetp.ge.u32 %p1, %r1, %r2;\n\t@%p1 bra DONE;\n"
	"\tcvta.to.global.u64 %rd4, %rd1;\n\tmul.wide.u32 %rd5, %r1, 4;\n\tadd.s64 %rd6, %rd4, %rd5;\n"
	"\tcvta.to.global.u64 %rd7, %rd2;\n\tadd.s64 %rd8, %rd7, %rd5;\n"
	"\tld.global.f32 %f1, [%rd6];\n\tld.global.f32 %f2, [%rd8];\n\tadd.f32 %f3, %f1, %f2;\n"
	"\tcvta.to.global.u64 %rd9, %rd3;\n\tadd.s64 %rd10, %rd9, %rd5;\n\tst.global.f32 [%rd10], "
	"%f3;\nDONE:\n\tret;\n}\n";

#define N 100003

static void must(CUresult r, const char *what)
{
	const char *name = "?";
	if (r == CUDA_SUCCESS)
		return;
	cuGetErrorName(r, &name);
	printf("not ok drv_vectoradd: %s: %s\n", what, name);
	exit(1);
}

int main(void)
{
	CUcontext ctx;
	CUdevice dev;
	CUmodule module;
	CUfunction f;
	CUdeviceptr d[3];
	float *h = (float *)malloc(3 * N * sizeof *h);
	unsigned n = N;
	must(cuInit(0), "cuInit");
	must(cuDeviceGet(&dev, 0), "cuDeviceGet");
	must(cuDevicePrimaryCtxRetain(&ctx, dev), "cuDevicePrimaryCtxRetain");
	must(cuCtxSetCurrent(ctx), "cuCtxSetCurrent");
	must(cuModuleLoadData(&module, ptx), "cuModuleLoadData");
	must(cuModuleGetFunction(&f, module, "add"), "cuModuleGetFunction");
	for (int i = 0; i < 3; i++)
		must(cuMemAlloc(&d[i], N * sizeof *h), "cuMemAlloc");
	for (int i = 0; i < 2 * N; i++)
		h[i] = (float)(i % 1009);
	must(cuMemcpyHtoD(d[0], h, N * sizeof *h), "cuMemcpyHtoD");
	must(cuMemcpyHtoD(d[1], h + N, N * sizeof *h), "cuMemcpyHtoD");
	void *params[] = { &d[0], &d[1], &d[2], &n };
	must(cuLaunchKernel(f, (N + 255) / 256, 1, 1, 256, 1, 1, 0, NULL, params, NULL), "cuLaunchKernel");
	must(cuMemcpyDtoH(h + 2 * N, d[2], N * sizeof *h), "cuMemcpyDtoH");
	for (int i = 0; i < N; i++)
		if (h[2 * N + i] != h[i] + h[N + i]) {
			printf("not ok drv_vectoradd: element %d is %f\n", i, h[2 * N + i]);
			return 1;
		}
	for (int i = 0; i < 3; i++)
		must(cuMemFree(d[i]), "cuMemFree");
	must(cuModuleUnload(module), "cuModuleUnload");
	must(cuDevicePrimaryCtxRelease(dev), "cuDevicePrimaryCtxRelease");
	free(h);
	printf("ok drv_vectoradd\n");
	return 0;
}
