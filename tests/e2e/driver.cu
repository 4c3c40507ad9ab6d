/* driver.cu - the Driver API beside the Runtime in one program: modules from PTX text, both launch forms, contexts,
 * shared pointers. */
#include "check.h"
#include <cuda.h>
#include <cstddef>
#include <vector>

static const char ptx[] =
	".version 7.0\n.target sm_70\n.address_size 64\n"
	".visible .global .align 4 .u32 bias = 100;\n"
	".visible .entry add(.param .u64 a, .param .u64 b, .param .u32 n)\n{\n"
	"\t.reg .pred %p<2>; .reg .b32 %r<10>; .reg .b64 %rd<8>;\n"
	"\tld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u32 %r1, [n];\n"
	"\tcvta.to.global.u64 %rd1, %rd1; cvta.to.global.u64 %rd2, %rd2;\n"
	"\tmov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x; mad.lo.s32 %r5, %r2, %r3, %r4;\n"
	"\tsetp.ge.u32 %p1, %r5, %r1;\n\t@%p1 bra done;\n"
	"\tmul.wide.u32 %rd3, %r5, 4; add.u64 %rd4, %rd1, %rd3; add.u64 %rd5, %rd2, %rd3;\n"
	"\tld.global.u32 %r6, [%rd4]; ld.global.u32 %r7, [%rd5]; ld.global.u32 %r8, [bias];\n"
	"\tadd.u32 %r6, %r6, %r7; add.u32 %r6, %r6, %r8; st.global.u32 [%rd4], %r6;\n"
	"done:\n\tret;\n}\n";

#define DRV(call) do { CUresult r_ = (call); if (r_) { const char *n_ = "?"; cuGetErrorName(r_, &n_); \
	printf("not ok %s:%d: %s: %s\n", __FILE__, __LINE__, #call, n_); exit(1); } } while (0)

int main()
{
	const unsigned n = 1000;
	CUdevice dev;
	CUcontext ctx, cur;
	CUmodule mod;
	CUfunction f;
	CUdeviceptr a, bias;
	size_t bytes;
	int major, *b;
	char name[100];
	DRV(cuInit(0));
	DRV(cuDeviceGet(&dev, 0));
	DRV(cuDeviceGetName(name, sizeof name, dev));
	DRV(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, dev));
	DRV(cuCtxCreate(&ctx, NULL, 0, dev));
	DRV(cuCtxGetCurrent(&cur));
	e2e_case("device and context", name[0] && major >= 7 && cur == ctx);
	DRV(cuModuleLoadData(&mod, ptx));
	DRV(cuModuleGetFunction(&f, mod, "add"));
	DRV(cuModuleGetGlobal(&bias, &bytes, mod, "bias"));
	e2e_case("module variable", bytes == 4);
	std::vector<unsigned> x(n), y(n), z(n);
	for (unsigned i = 0; i < n; i++) { x[i] = i; y[i] = 3 * i; }
	DRV(cuMemAlloc(&a, n * 4));
	MUST(cudaMalloc(&b, n * 4)); /* the Runtime works in the context the Driver made current */
	DRV(cuMemcpyHtoD(a, x.data(), n * 4));
	MUST(cudaMemcpy(b, y.data(), n * 4, cudaMemcpyHostToDevice));
	void *args[] = { &a, &b, (void *)&n };
	DRV(cuLaunchKernel(f, (n + 127) / 128, 1, 1, 128, 1, 1, 0, NULL, args, NULL));
	DRV(cuMemsetD32(bias, 1, 1));
	struct packed_args { CUdeviceptr a; int *b; unsigned n; } packed = { a, b, n };
	size_t packed_bytes =
		offsetof(packed_args, n) + sizeof n; /* exactly the parameters: trailing padding is refused */
	void *extra[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &packed_bytes,
			  CU_LAUNCH_PARAM_END };
	DRV(cuLaunchKernel(f, (n + 127) / 128, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
	packed_bytes = sizeof packed;
	e2e_case("parameter buffer of another size",
		 cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, 0, NULL, NULL, extra) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
	DRV(cuCtxSynchronize());
	DRV(cuMemcpyDtoH(z.data(), a, n * 4));
	bool ok = true;
	for (unsigned i = 0; i < n; i++) ok &= z[i] == 7 * i + 101;
	e2e_case("both launch forms, a changed variable", ok);
	CUfunction none;
	e2e_case("no such function", cuModuleGetFunction(&none, mod, "nothing") == CUDA_ERROR_NOT_FOUND);
	CUmodule bad;
	e2e_case("bad PTX", cuModuleLoadData(&bad, ".version 7.0\n.target sm_70\n.address_size 64\nnonsense\n") ==
				    CUDA_ERROR_INVALID_PTX);
	e2e_case("launch of nothing",
		 cuLaunchKernel(f, 0, 1, 1, 1, 1, 1, 0, NULL, args, NULL) == CUDA_ERROR_INVALID_VALUE);
	DRV(cuModuleUnload(mod));
	DRV(cuMemFree(a));
	MUST(cudaFree(b));
	DRV(cuCtxDestroy(ctx));
	DRV(cuCtxGetCurrent(&cur));
	e2e_case("context destroyed", cur == NULL);
	return e2e_done();
}
