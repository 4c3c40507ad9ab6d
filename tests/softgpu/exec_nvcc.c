/* exec_nvcc.c - runs exec_kernels.cu as nvcc compiled it on softgpu's processor and compares with C. */
#include <math.h>
#include <unistd.h>
#include "exec_harness.h"

static struct exec_module *m;

#define RUN(k, g, b, p) launch(m, k, (struct launch_opt){ .grid = { g }, .block = { b } }, &p, sizeof p)

static void test_matmul(void)
{
	enum { N = 64 };
	float *a = DEV(float, N * N), *b = DEV(float, N * N), *c = DEV(float, N * N);
	int bad = 0;
	for (int i = 0; i < N * N; i++) {
		a[i] = (float)(rnd() % 1000) / 37;
		b[i] = (float)(rnd() % 1000) / 53;
	}
	struct { float *a, *b, *c; int n; } p = { a, b, c, N };
	CUresult r = launch(m, "matmul", (struct launch_opt){ .grid = { N / 16, N / 16 }, .block = { 16, 16 } }, &p,
		sizeof p);
	for (int i = 0; i < N * N; i++) {
		float s = 0;
		for (int k = 0; k < N; k++)
			s = fmaf(a[i / N * N + k], b[k * N + i % N], s);
		bad += s != c[i];
	}
	check(r == 0 && !bad, "matmul", "error %d (%s), %d wrong", r, fault.what, bad);
}

static void test_locks(void)
{
	static const char *const names[] = { "lock_polite", "lock_rude" };
	for (int k = 0; k < 2; k++) {
		int *v = DEV(int, 2);
		struct { int *lock, *count; } p = { v, v + 1 };
		CUresult r = RUN(names[k], 4, 64, p);
		check(r == 0 && v[1] == 256 && v[0] == 0, names[k], "error %d (%s), count %d", r, fault.what, v[1]);
	}
}

static void test_waits(void)
{
	int *flag = DEV(int, 64), *out = DEV(int, 64);
	struct { int *f, *o; } p = { flag, out };
	CUresult r = RUN("wait_lane", 1, 128, p);
	check(r == 0 && out[0] == 42 && out[3] == 45, "wait_lane", "error %d (%s), %d %d", r, fault.what, out[0],
		out[3]);
	memset(flag, 0, 256);
	r = RUN("wait_warp", 1, 256, p);
	check(r == 0 && out[31] == 7, "wait_warp", "error %d (%s), %d", r, fault.what, out[31]);
	memset(flag, 0, 256);
	r = RUN("wait_later_block", 40, 32, p);
	check(r == 0 && out[0] == 40, "wait_later_block", "error %d (%s), %d", r, fault.what, out[0]);
}

static void test_gridsync(void)
{
	unsigned *v = DEV(unsigned, 64);
	struct { unsigned *p; int rounds; } p = { v, 20 };
	struct launch_opt o = { .grid = { 48 }, .block = { 96 }, .cooperative = true };
	CUresult r = launch(m, "gridsync", o, &p, sizeof p);
	check(r == 0 && v[0] == 48 && v[19] == 48 && v[20] == 0, "gridsync", "error %d (%s), %u early", r,
		fault.what, v[20]);
	o.cooperative = false;
	r = launch(m, "gridsync", o, &p, sizeof p);
	check(r == CUDA_ERROR_LAUNCH_FAILED, "gridsync_not_cooperative", "error %d", r);
}

static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static void test_calls(void)
{
	int *o = DEV(int, 256), bad = 0;
	struct { int *o; } p = { o };
	CUresult r = RUN("recursion", 1, 64, p);
	for (int i = 0; i < 64; i++)
		bad += o[i] != fib(i % 14);
	check(r == 0 && !bad, "recursion", "error %d (%s), %d wrong", r, fault.what, bad);
	r = RUN("overflow", 1, 32, p);
	check(r == CUDA_ERROR_HARDWARE_STACK_ERROR, "stack_overflow", "error %d", r);
	r = RUN("indirect", 1, 96, p);
	bad = 0;
	for (int i = 0; i < 96; i++)
		bad += o[i] != (i % 3 == 0 ? i * 3 : i % 3 == 1 ? i + 100 : -i);
	check(r == 0 && !bad, "indirect_calls", "error %d (%s), %d wrong", r, fault.what, bad);
	struct { int *o; uint64_t t; } q = { o, 0x1234560 };
	r = RUN("wild_call", 1, 32, q);
	check(r == CUDA_ERROR_INVALID_PC && fault.addr == 0x1234560, "wild_call", "error %d", r);
	r = RUN("virtuals", 1, 64, p);
	bad = 0;
	for (int i = 0; i < 64; i++)
		bad += o[i] != (i & 1 ? 2 * i : 1);
	check(r == 0 && !bad, "virtuals_new_delete", "error %d (%s), %d wrong", r, fault.what, bad);
	struct blob { int k; double d[3]; char c; } *b = DEV(struct blob, 32);
	struct { struct blob *p; struct blob q; } s = { b, { 0, { 10, 20, 30 }, 0 } };
	for (int i = 0; i < 32; i++)
		b[i] = (struct blob){ i, { 1, 2, 3 }, 'x' };
	r = RUN("structs", 1, 32, s);
	bad = 0;
	for (int i = 0; i < 32; i++) {
		struct blob e = { -i, { 1, 2, 3 }, (char)('x' ^ i) };
		e.d[i % 3] += i;
		e.d[(i + 1) % 3] += s.q.d[i % 3];
		bad += b[i].k != e.k || memcmp(b[i].d, e.d, sizeof e.d) || b[i].c != e.c;
	}
	check(r == 0 && !bad, "structs_by_value", "error %d (%s), %d wrong", r, fault.what, bad);
}

static char printed[4096];
static size_t printed_len;
static void capture(const char *s, size_t n)
{
	memcpy(printed + printed_len, s, n);
	printed_len += n;
}

static void test_output(void)
{
	struct { int a; double d; } p = { -5, 2.5 };
	exec_printf = capture;
	CUresult r = RUN("print", 1, 32, p);
	check(r == 0 && !strcmp(printed, "t3 a=-5 d=2.500 str     7|8    |-9 z 0x10%\n"), "printf", "error %d: %s",
		r, printed);
	int *v = DEV(int, 64), fd[2], saved = dup(2);
	char text[1024] = "";
	v[40] = 3;
	struct { int *p; } q = { v };
	fflush(stderr);
	if (pipe(fd) || dup2(fd[1], 2) < 0)
		exit(1);
	r = RUN("asserts", 1, 64, q);
	dup2(saved, 2);
	close(fd[1]);
	ssize_t n = read(fd[0], text, sizeof text - 1);
	check(r == CUDA_ERROR_ASSERT && fault.tid[0] == 40 && n > 0 && strstr(text,
		"block: [0,0,0], thread: [40,0,0] Assertion `"
	      "p[threadIdx.x] < 3` failed.") && strstr(text, "exec_kernels.cu:"), "assert",
	"error %d, thread %u: %s", r, fault.tid[0], text);
}

static void test_warp(void)
{
	int *o = DEV(int, 4096), *in = DEV(int, 4096), bad = 0, sum = 0;
	struct { int *o; } p = { o };
	CUresult r = RUN("coalesced", 1, 32, p);
	for (int i = 0; i < 32; i++) {
		bad += o[i] != (i % 3 == 0 ? 11000 + i / 3 : -21);
		bad += o[i + 32] != (i % 3 == 0 ? 30 : 21);
	}
	check(r == 0 && !bad, "coalesced_groups", "error %d (%s), %d wrong", r, fault.what, bad);
	r = RUN("split_shuffle", 1, 32, p);
	bad = 0;
	for (int i = 0; i < 32; i++)
		bad += o[i] != (i & 1 ? (i - 1) * 100 : (i + 1) * 10) || o[i + 32] != 0x42108421;
	check(r == 0 && !bad, "shuffle_from_two_branches", "error %d (%s), %d wrong", r, fault.what, bad);
	for (int i = 0; i < 4000; i++)
		sum += in[i] = (int)(rnd() % 1000) - 500;
	struct { int *in, *out; int n; } q = { in, o, 4000 };
	o[0] = 0;
	r = RUN("reduce", 1, 256, q);
	check(r == 0 && o[0] == sum, "cg_reduce", "error %d (%s), %d not %d", r, fault.what, o[0], sum);
	r = RUN("votes", 1, 96, p);
	bad = 0;
	for (int i = 0; i < 96; i++)
		bad += o[i] != 32 || o[i + 96] != 3 || o[i + 192] != (i < 64 ? 4 : 0) + (i >= 64 ? 2 : 0) + 1;
	check(r == 0 && !bad, "votes", "error %d (%s), %d wrong: %d %d %d", r, fault.what, bad, o[0], o[96], o[192]);
	struct { int *d; int n; } s = { in, 100 };
	for (int i = 0; i < 100; i++)
		in[i] = i;
	r = launch(m, "scan", (struct launch_opt){ .grid = { 1 }, .block = { 100 }, .shared = 400 }, &s, sizeof s);
	bad = 0;
	for (int i = 0; i < 100; i++)
		bad += in[i] != i * (i + 1) / 2;
	check(r == 0 && !bad, "scan_partial_warp", "error %d (%s), %d wrong", r, fault.what, bad);
}

static void test_atomics(void)
{
	enum { N = 50000 };
	unsigned *d = DEV(unsigned, N), *h = DEV(unsigned, 256), ref[256] = { 0 }, bad = 0;
	for (int i = 0; i < N; i++)
		ref[(d[i] = rnd()) & 255]++;
	struct { unsigned *d, *h; int n; } p = { d, h, N };
	CUresult r = RUN("histogram", 8, 128, p);
	for (int i = 0; i < 256; i++)
		bad += h[i] != ref[i];
	check(r == 0 && !bad, "histogram", "error %d (%s), %u wrong", r, fault.what, bad);
	int *i = DEV(int, 4), T = 1024;
	unsigned *u = DEV(unsigned, 8), x = 0;
	uint64_t *l = DEV(uint64_t, 2);
	float *f = DEV(float, 1);
	double *e = DEV(double, 1);
	uint16_t *hh = DEV(uint16_t, 2);
	u[0] = ~0u;
	for (int t = 0; t < T; t++)
		x ^= (unsigned)t;
	struct { int *i; unsigned *u; uint64_t *l; float *f; double *d; uint16_t *h; } q = { i, u, l, f, e, hh };
	r = RUN("atomics", 8, 128, q);
	check(r == 0 && i[0] == T * (T - 1) / 2 && i[1] == -(T - 1) && i[2] == T - 1, "atomics_int", "error %d (%s)",
		r, fault.what);
	check(u[0] == 0 && u[1] == ~0u && u[2] == x && u[3] == 1024 % 100 && u[5] < 1024, "atomics_bits", "%u", u[3]);
	check(u[4] == (100 - 1024 % 100) % 100, "atomic_dec", "%u", u[4]);
	check(l[0] == (uint64_t)(T * (T - 1) / 2) << 20 && l[1] == 1023ull << 33, "atomics_64", "%llx",
		(unsigned long long)l[0]);
	check(*f == 1024 && *e == 512 && hh[0] == 0x6000 && hh[1] == 0x6400, "atomics_float", "%g %g %x %x", *f, *e,
		hh[0], hh[1]);
}

static void test_memory(void)
{
	int *o = DEV(int, 256), bad = 0;
	float *f = (float *)o;
	struct { float *o; int k; } p = { f, 3 };
	CUresult r = RUN("constants", 1, 32, p);
	for (int i = 0; i < 32; i++)
		bad += f[i] != (float)((i + 3) % 8 + 1) + 84;
	const struct exec_symbol *s = exec_find_symbol(m, "gvar"), *c = exec_find_symbol(m, "coef");
	check(r == 0 && !bad && s && c && *(int *)(uintptr_t)s->addr == 42 && c->is_const && c->size == 32, "constants",
	      "error %d (%s), %d wrong", r, fault.what, bad);
	struct { int *o; int n; } q = { o, 100 };
	r = RUN("locals", 1, 64, q);
	bad = 0;
	for (int t = 0; t < 64; t++) {
		int e = 0;
		for (int i = 0; i < 100; i++)
			e += ((i * 7 + t) & 63) * t;
		bad += o[t] != e;
	}
	check(r == 0 && !bad, "locals", "error %d (%s), %d wrong", r, fault.what, bad);
}

static void test_branches(void)
{
	enum { W = 64 };
	int *o = DEV(int, W * W), bad = 0;
	struct { int *o; int w; } p = { o, W };
	CUresult r = RUN("switches", 1, 96, p);
	for (int t = 0; t < 96; t++) {
		const int e[9] = { t * 3, t + 7, t ^ 55, t - 9, t * t, ~t, t << 3, t / 3, 1 };
		bad += o[t] != e[t % 9];
	}
	check(r == 0 && !bad, "switches", "error %d (%s), %d wrong", r, fault.what, bad);
	r = RUN("mandel", W * W / 128, 128, p);
	bad = 0;
	for (int i = 0; i < W * W; i++) {
		volatile float x = -2 + 3.f * (float)(i % W) / W, y = -1 + 2.f * (float)(i / W) / W, a = 0, b = 0;
		int n = 0;
		while (n < 256) {
			volatile float aa = a * a, bb = b * b, s = aa + bb, t = aa - bb, u = 2 * a;
			if (!(s < 4))
				break;
			t += x;
			u *= b;
			b = u + y;
			a = t;
			n++;
		}
		bad += o[i] != n;
	}
	check(r == 0 && bad < 8, "mandelbrot", "error %d (%s), %d wrong", r, fault.what, bad);
}

static void test_faults(void)
{
	int *v = DEV(int, 1024);
	struct { int *p; int i; } p = { v, 1 << 20 };
	CUresult r = RUN("write_at", 1, 64, p);
	check(r == CUDA_ERROR_ILLEGAL_ADDRESS && fault.addr == (uint64_t)(uintptr_t)(v + (1 << 20)) && fault.line
		&& !fault.tid[0],
	      "unmapped_page", "error %d addr %llx line %u", r, (unsigned long long)fault.addr, fault.line);
	p.i = 1024 - 40;
	r = launch(m, "write_at", (struct launch_opt){ .grid = { 1 }, .block = { 64 } }, &p, sizeof p);
	check(r == CUDA_ERROR_ILLEGAL_ADDRESS && fault.tid[0] == 40, "unmapped_page_thread", "error %d thread %u", r,
		fault.tid[0]);
	struct { int *p; } q = { NULL };
	r = RUN("write_one", 3, 64, q);
	check(r == CUDA_ERROR_ILLEGAL_ADDRESS && fault.tid[0] == 37 && !fault.addr, "null_pointer",
		"error %d thread %u", r, fault.tid[0]);
	static int host[64];
	host_range_addr = (uint64_t)(uintptr_t)host;
	host_range_len = sizeof host;
	q.p = host;
	r = RUN("write_one", 1, 64, q);
	check(r == 0 && host[0] == 1, "registered_host_memory", "error %d (%s)", r, fault.what);
	r = RUN("traps", 2, 32, q);
	check(r == CUDA_ERROR_LAUNCH_FAILED && fault.tid[0] == 5, "trap", "error %d", r);
	q.p = v;
	r = RUN("misaligned", 1, 32, q);
	check(r == CUDA_ERROR_MISALIGNED_ADDRESS && fault.tid[0] == 1, "misaligned", "error %d", r);
	p.i = 1 << 12;
	r = RUN("shared_at", 1, 32, p);
	check(r == CUDA_ERROR_ILLEGAL_ADDRESS, "shared_out_of_range", "error %d", r);
	r = RUN("stuck", 1, 64, q);
	check(r == CUDA_ERROR_LAUNCH_TIMEOUT, "barrier_nobody_completes", "error %d", r);
	static volatile uint32_t cancel = 1;
	v[0] = 0;
	r = launch(m, "forever", (struct launch_opt){ .grid = { 4 }, .block = { 64 }, .cancel = &cancel }, &q,
		sizeof q);
	check(r == CUDA_ERROR_LAUNCH_TIMEOUT, "cancel", "error %d", r);
}

static void test_math(void)
{
	enum { N = 2000 };
	float *a = DEV(float, N), *o = DEV(float, 6 * N);
	double *b = DEV(double, N), *e = DEV(double, 6 * N), worst = 0, dworst = 0;
	for (int i = 0; i < N; i++)
		b[i] = a[i] = ((float)i - N / 2) / 40 + 0.001f;
	struct { void *a, *o; int n; } p = { a, o, N }, q = { b, e, N };
	CUresult r = RUN("fmath", (N + 255) / 256, 256, p), s = RUN("dmath", (N + 255) / 256, 256, q);
	for (int i = 0; i < N; i++) {
		double x = a[i], y = fabs(x);
		const double ref[6] = { sin(x), exp(x), log((double)(fabsf(a[i]) + 1)), pow(y, 1.3f), tanh(x), erf(x) };
		const double dref[6] = { sin(x), exp(x), log(y + 1), pow(y, 1.3), 1 / x, sqrt(y) / 3 };
		for (int k = 0; k < 6; k++) {
			worst = fmax(worst, fabs(o[i + k * N] - ref[k]) / (fabs(ref[k]) + 1e-30));
			dworst = fmax(dworst, fabs(e[i + k * N] - dref[k]) / (fabs(dref[k]) + 1e-300));
		}
	}
	check(r == 0 && worst < 1e-5, "float_math_library", "error %d (%s), off by %g", r, fault.what, worst);
	check(s == 0 && dworst < 1e-13, "double_math_library", "error %d (%s), off by %g", s, fault.what, dworst);
}

int main(void)
{
	m = load_file("build/tests/softgpu/exec_kernels.ptx");
	test_matmul();
	test_branches();
	test_memory();
	test_warp();
	test_atomics();
	test_locks();
	test_waits();
	test_gridsync();
	test_calls();
	test_output();
	test_math();
	test_faults();
	exec_unload(m);
	return harness_end();
}
