/* exec_matrix.c - matrix instructions against plain sums, textures and surfaces against the programming guide's
 * formulas. */
#include <math.h>
#include "exec_harness.h"
#include "worker/softgpu/exec_math.h"

static struct exec_module *m;

#define RUN(k, p) launch(m, k, (struct launch_opt){ .grid = { 1 }, .block = { 32 } }, &p, sizeof p)

/* --- matrices -------------------------------------------------------------------------------------- */

enum { HALF, BF16, BYTE, DOUBLE, TF32, FLOAT, INT };

static double get(const void *p, int type, int i)
{
	switch (type) {
	case HALF: return h2f(((const uint16_t *)p)[i]);
	case BF16: return b2f(((const uint16_t *)p)[i]);
	case BYTE: return ((const int8_t *)p)[i];
	case DOUBLE: return ((const double *)p)[i];
	case INT: return ((const int32_t *)p)[i];
	default: return ((const float *)p)[i];
	}
}

/* Small integers: every sum is exact in every type. */
static void fill(void *p, int type, int n)
{
	for (int i = 0; i < n; i++) {
		int v = (int)(rnd() % 15) - 7;
		switch (type) {
		case HALF: ((uint16_t *)p)[i] = (uint16_t)f2h((float)v); break;
		case BF16: ((uint16_t *)p)[i] = (uint16_t)f2b((float)v); break;
		case BYTE: ((int8_t *)p)[i] = (int8_t)v; break;
		case DOUBLE: ((double *)p)[i] = v; break;
		case INT: ((int32_t *)p)[i] = v; break;
		default: ((float *)p)[i] = (float)v;
		}
	}
}

static void test_wmma(void)
{
	static const struct { const char *name; int type, ctype, m, n, k; bool acol, bcol; } rows[] = {
		{ "wmma_half", HALF, FLOAT, 16, 16, 16, false, true }, { "wmma_half16", HALF, HALF, 32, 8, 16, true,
			false },
		{ "wmma_bf16", BF16, FLOAT, 8, 32, 16, false, false }, { "wmma_int", BYTE, INT, 16, 16, 16, false,
		true },
		{ "wmma_double", DOUBLE, DOUBLE, 8, 8, 4, false, true }, { "wmma_tf32", TF32, FLOAT, 16, 16, 8,
		false, true }, };
	void *a = DEV(double, 1024), *b = DEV(double, 1024), *c = DEV(double, 1024), *d = DEV(double, 1024);
	for (unsigned t = 0; t < sizeof rows / sizeof *rows; t++) {
		int M = rows[t].m, N = rows[t].n, K = rows[t].k, bad = 0;
		struct { void *a, *b, *c, *d; } p = { a, b, c, d };
		fill(a, rows[t].type, M * K);
		fill(b, rows[t].type, K * N);
		fill(c, rows[t].ctype, M * N);
		CUresult r = RUN(rows[t].name, p);
		for (int i = 0; i < M * N; i++) {
			double s = 2 * get(c, rows[t].ctype, i);
			for (int k = 0; k < K; k++)
				s += get(a, rows[t].type, rows[t].acol ? k * M + i / N : i / N * K + k)
					* get(b, rows[t].type, rows[t].bcol ? i % N * K + k : k * N + i % N);
			bad += s != get(d, rows[t].ctype, i);
		}
		check(!r && !bad, rows[t].name, "error %d (%s), %d wrong", r, fault.what, bad);
	}
}

static void test_mma(void)
{
	void *a = DEV(double, 512), *b = DEV(double, 512), *d = DEV(double, 512);
	struct { void *a, *b, *d; } p = { a, b, d };
	for (int bytes = 0; bytes < 2; bytes++) {
		int K = bytes ? 32 : 16, bad = 0, type = bytes ? BYTE : HALF;
		fill(a, type, 16 * K);
		fill(b, type, K * 8);
		CUresult r = RUN(bytes ? "mma_bytes" : "mma_half", p);
		for (int i = 0; i < 128; i++) {
			double s = !bytes;
			for (int k = 0; k < K; k++)
				s += get(a, type, i / 8 * K + k) * get(b, type, k * 8 + i % 8);
			bad += s != get(d, bytes ? INT : FLOAT, i);
		}
		check(!r && !bad, bytes ? "mma_m16n8k32_s8" : "ldmatrix_mma_m16n8k16", "error %d (%s), %d wrong", r,
			fault.what, bad);
	}
}

/* --- textures -------------------------------------------------------------------------------------- */

static struct exec_texture objects[8];

bool soft_texture(uint64_t handle, bool surface, struct exec_texture *out)
{
	if (!handle || handle > 8 || surface != (handle == 8))
		return false;
	*out = objects[handle - 1];
	return true;
}

static float texel(const uint8_t *p, int x, int y, int c) { return (float)p[(y * 8 + x) * 4 + c] / 255; }

static int wrap(int i, int n, int mode)
{
	if (mode == CU_TR_ADDRESS_MODE_WRAP)
		return ((i % n) + n) % n;
	if (mode == CU_TR_ADDRESS_MODE_MIRROR) {
		i = ((i % (2 * n)) + 2 * n) % (2 * n);
		return i < n ? i : 2 * n - 1 - i;
	}
	return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void test_sampling(void)
{
	uint8_t *p = (uint8_t *)DEV(uint32_t, 64);
	float *o = DEV(float, 128);
	for (int i = 0; i < 256; i++)
		p[i] = (uint8_t)rnd();
	objects[0] = (struct exec_texture){ .data = (uint64_t)(uintptr_t)p, .pitch = 32, .slice = 256, .width = 8,
		.height = 8, .bits = 8, .channels = 4, .kind = EXEC_TEXEL_UNSIGNED };
	for (int mode = 0; mode < 4; mode++) {
		for (int linear = 0; linear < 2; linear++) {
			struct exec_texture *t = &objects[0];
			char name[64];
			int bad = 0;
			t->linear = linear;
			t->normalized_coords = true;
			t->border[0] = 0.25f;
			for (int k = 0; k < 3; k++)
				t->address[k] = (uint8_t)mode;
			struct { uint64_t t; float *o; float x0, dx, y; } a = { 1, o, -1.0f, 0.1f, 0.3f };
			CUresult r = RUN("tex_2d", a);
			for (int i = 0; i < 32; i++) {
				float u = fmaf(a.dx, (float)i, a.x0);
				double x = (double)u * 8 - (linear ? 0.5 : 0),
					y = (double)a.y * 8 - (linear ? 0.5 : 0), want = 0;
				int ix = (int)floor(x), iy = (int)floor(y);
				for (int k = 0; k < (linear ? 4 : 1); k++) {
					int tx = ix + (k & 1), ty = iy + (k >> 1);
					double ax = floor((x - ix) * 256 + 0.5) / 256,
						ay = floor((y - iy) * 256 + 0.5) / 256;
					double g = linear ? (k & 1 ? ax : 1 - ax) * (k >> 1 ? ay : 1 - ay) : 1;
					bool out = mode == CU_TR_ADDRESS_MODE_BORDER
						&& (tx < 0 || tx > 7 || ty < 0 || ty > 7);
					want += g * (out ? 0.25f : texel(p, wrap(tx, 8, mode), wrap(ty, 8, mode), 0));
				}
				bad += fabs(o[4 * i] - want) > 1e-5;
			}
			snprintf(name, sizeof name, "tex_2d_mode%d_%s", mode, linear ? "linear" : "point");
			check(!r && !bad, name, "error %d (%s), %d wrong", r, fault.what, bad);
		}
	}
}

static void test_objects(void)
{
	int *v = DEV(int, 64), *o = DEV(int, 64), bad = 0;
	float *f = (float *)o;
	for (int i = 0; i < 64; i++)
		v[i] = i * i - 100;
	objects[1] = (struct exec_texture){ .data = (uint64_t)(uintptr_t)v, .width = 20, .bits = 32, .channels = 1,
		.kind = EXEC_TEXEL_SIGNED, .as_integer = true, .address = { CU_TR_ADDRESS_MODE_CLAMP } };
	struct { uint64_t t; void *o; } a = { 2, o };
	CUresult r = RUN("tex_fetch", a);
	for (int i = 0; i < 32; i++)
		bad += o[i] != v[i < 2 ? 0 : i > 21 ? 19 : i - 2];
	check(!r && !bad, "tex_1d_fetch", "error %d (%s), %d wrong", r, fault.what, bad);
	for (int i = 0; i < 64; i++)
		((float *)v)[i] = (float)i;
	objects[2] = (struct exec_texture){ .data = (uint64_t)(uintptr_t)v, .pitch = 16, .slice = 64, .width = 4,
		.height = 4, .depth = 4,
		.layered = true, .bits = 32, .channels = 1, .kind = EXEC_TEXEL_FLOAT, .address = { 1, 1, 1 } };
	a.t = 3;
	r = RUN("tex_layers", a);
	bad = 0;
	for (int i = 0; i < 32; i++)
		bad += f[i] != (float)i;
	check(!r && !bad, "tex_2d_layered", "error %d (%s), %d wrong", r, fault.what, bad);
	a.t = 7777;
	r = RUN("tex_layers", a);
	check(r == CUDA_ERROR_ILLEGAL_ADDRESS, "tex_no_object", "error %d", r);
	int *s = DEV(int, 32 * 4);
	for (int i = 0; i < 128; i++)
		s[i] = i;
	objects[7] = (struct exec_texture){ .data = (uint64_t)(uintptr_t)s, .pitch = 128, .slice = 512, .width = 32,
		.height = 4, .bits = 32, .channels = 1, .kind = EXEC_TEXEL_SIGNED };
	struct { uint64_t s; int w; } b = { 8, 0 };
	r = RUN("surface", b);
	bad = 0;
	for (int i = 0; i < 32; i++)
		bad += s[64 + i] != 32 + i + 1000;
	check(!r && !bad, "surface_read_write", "error %d (%s), %d wrong", r, fault.what, bad);
	b.w = 1;
	r = RUN("surface", b);
	check(r != CUDA_SUCCESS && fault.tid[0] == 31, "surface_out_of_range", "error %d thread %u", r, fault.tid[0]);
}

int main(void)
{
	m = load_file("build/tests/softgpu/exec_matrix_kernels.ptx");
	test_wmma();
	test_mma();
	test_sampling();
	test_objects();
	exec_unload(m);
	return harness_end();
}
