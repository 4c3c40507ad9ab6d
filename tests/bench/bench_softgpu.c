/* bench_softgpu.c - thread-instructions per second and core of softgpu's processor on five small kernels.
 * Printed, not asserted: `make bench-softgpu`. */
#include <time.h>
#include "tests/softgpu/exec_harness.h"

static struct exec_module *m;

static double now(clockid_t which)
{
	struct timespec t;
	clock_gettime(which, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Repeats the launch for about a second. */
static void measure(const char *name, struct launch_opt o, const void *p, size_t size)
{
	uint64_t n0 = exec_instructions();
	double t0 = now(CLOCK_MONOTONIC), c0 = now(CLOCK_PROCESS_CPUTIME_ID), t;
	int runs = 0;
	do {
		CUresult r = launch(m, name, o, p, size);
		if (r != CUDA_SUCCESS) {
			printf("%s: error %d: %s\n", name, r, fault.what);
			exit(1);
		}
		runs++;
	} while ((t = now(CLOCK_MONOTONIC) - t0) < 1);
	/* Per second of processor time, so that a busy machine does not count. */
	double rate = (double)(exec_instructions() - n0) / (now(CLOCK_PROCESS_CPUTIME_ID) - c0);
	printf("%-12s %8.1f M thread-instructions/s per core (%u cores, %d launches, %.2f ms each)\n", name,
		rate / 1e6, exec_workers(), runs, t / runs * 1e3);
}

int main(void)
{
	enum { N = 1 << 20, W = 1024, M = 256 };
	m = load_file("build/tests/bench/softgpu_kernels.ptx");
	float *x = DEV(float, N), *y = DEV(float, N), *z = DEV(float, N);
	for (int i = 0; i < N; i++) {
		x[i] = (float)i;
		y[i] = 1;
	}
	struct { float *x, *y; float a; int n; } saxpy = { x, y, 1e-6f, N };
	struct { float *x, *y; int w, h; } stencil = { x, y, W, N / W };
	struct { float *x, *y, *z; int n; } matmul = { x, y, z, M };
	struct { float *z; int rounds; } hash = { z, 256 };
	struct { float *z; int w, limit; } mandel = { z, 256, 256 };
	measure("saxpy", (struct launch_opt){ .grid = { 256 }, .block = { 256 } }, &saxpy, sizeof saxpy);
	measure("stencil", (struct launch_opt){ .grid = { W / 32, N / W / 8 }, .block = { 32, 8 } }, &stencil,
		sizeof stencil);
	measure("matmul", (struct launch_opt){ .grid = { M / 16, M / 16 }, .block = { 16, 16 } }, &matmul,
		sizeof matmul);
	measure("hash", (struct launch_opt){ .grid = { 256 }, .block = { 256 } }, &hash, sizeof hash);
	measure("mandelbrot", (struct launch_opt){ .grid = { 256 }, .block = { 256 } }, &mandel, sizeof mandel);
	exec_unload(m);
	return 0;
}
