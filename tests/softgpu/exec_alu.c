/* exec_alu.c - every instruction of exec_alu_ops.def on edge cases and random bits, against C with fesetround or
 * wider types. */
#include <fenv.h>
#include <math.h>
#include "exec_harness.h"

#define N 4096

static float F(uint64_t a) { uint32_t u = (uint32_t)a; float v; memcpy(&v, &u, 4); return v; }
static double D(uint64_t a) { double v; memcpy(&v, &a, 8); return v; }
static uint64_t f(float v) { uint32_t u; memcpy(&u, &v, 4); return v != v ? 0x7fffffffu : u; }
static uint64_t d(double v) { uint64_t u; memcpy(&u, &v, 8); return v != v ? 0x7ff8000000000000ull : u; }
static uint64_t a64nan(uint64_t a) { (void)a; return 0x7ff8000000000000ull; }
#define RD(FE, T, E) ({ volatile T r_; fesetround(FE); r_ = (E); fesetround(FE_TONEAREST); r_; })
static uint32_t zbits(uint64_t a) { return (uint32_t)(a & 0x7f800000 ? a : a & 0x80000000u); }
static float Z(float v) { uint32_t u; memcpy(&u, &v, 4); return F(zbits(u)); }
static float SAT(float v) { return v > 0 ? (v < 1 ? v : 1) : 0; }
static float relu(float v) { return v > 0 ? v : v != v ? v : 0; }
static uint64_t sat32(int64_t v) { return (uint32_t)(v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : v); }
static int32_t s24(uint64_t a) { return (int32_t)((uint32_t)a << 8) >> 8; }
static uint64_t min16(uint64_t a, uint64_t b) { return (uint16_t)((int16_t)a < (int16_t)b ? a : b); }
static uint64_t relumax16(uint64_t a, uint64_t b)
{
	int16_t m = (int16_t)a > (int16_t)b ? (int16_t)a : (int16_t)b;
	return (uint16_t)(m < 0 ? 0 : m);
}
static uint64_t top(uint64_t a) { return a ? 63 - (uint64_t)__builtin_clzll(a) : 0xffffffffu; }
static uint64_t rev(uint64_t a, int n)
{
	uint64_t r = 0;
	for (int i = 0; i < n; i++)
		r |= (a >> i & 1) << (n - 1 - i);
	return r;
}
static uint64_t lut(uint64_t a, uint64_t b, uint64_t c, unsigned t)
{
	uint64_t r = 0;
	for (int i = 0; i < 32; i++)
		r |= (uint64_t)(t >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i;
	return r;
}
static uint64_t prmt(uint64_t a, uint64_t b, uint64_t c)
{
	uint8_t s[8];
	uint64_t r = 0;
	memcpy(s, &a, 4);
	memcpy(s + 4, &b, 4);
	for (int i = 0; i < 4; i++) {
		unsigned k = c >> (4 * i) & 15;
		uint64_t v = k & 8 ? (s[k & 7] & 0x80 ? 0xff : 0) : s[k];
		r |= v << (8 * i);
	}
	return r;
}
static uint64_t dp4(uint64_t a, uint64_t b, uint64_t c)
{
	for (int i = 0; i < 32; i += 8)
		c += (uint64_t)((int8_t)(a >> i) * (int)(uint8_t)(b >> i));
	return (uint32_t)c;
}
static uint64_t vabs4(uint64_t a, uint64_t b, uint64_t c)
{
	for (int i = 0; i < 32; i += 8)
		c += (uint64_t)abs((int)(uint8_t)(a >> i) - (int)(uint8_t)(b >> i));
	return (uint32_t)c;
}
static uint64_t minmax(uint64_t a, uint64_t b, int max)
{
	float x = F(a), y = F(b);
	if (x != x || y != y)
		return x != x ? (y != y ? 0x7fffffffu : b) : a;
	if (x == y)
		return (uint32_t)a == (uint32_t)b ? a : max ? 0 : 0x80000000u;
	return (x < y) != max ? a : b;
}
static uint64_t dminmax(uint64_t a, uint64_t b, int max)
{
	double x = D(a), y = D(b);
	if (x != x || y != y)
		return x != x ? (y != y ? d(x) : b) : a;
	if (x == y)
		return a == b ? a : max ? 0 : 1ull << 63;
	return (x < y) != max ? a : b;
}
static uint64_t xormin(uint64_t a, uint64_t b)
{
	uint64_t r = minmax(a & 0x7fffffff, b & 0x7fffffff, 0);
	return isnan(F(r)) ? 0x7fffffffu : (r & 0x7fffffff) | ((a ^ b) & 0x80000000u);
}
static uint64_t toint(double v, char s, int bits, int mode)
{
	double lo = s == 's' ? -ldexp(1, bits - 1) : 0, hi = s == 's' ? ldexp(1, bits - 1) - 1 : ldexp(1, bits) - 1;
	if (v != v)
		return 0;
	fesetround(mode);
	v = nearbyint(v);
	fesetround(FE_TONEAREST);
	v = v < lo ? lo : v > hi ? hi : v;
	uint64_t r = (uint64_t)(int64_t)v;
	return bits == 8 ? (s == 's' ? (uint32_t)r : (uint8_t)r) : bits == 16 ? (uint16_t)r : (uint32_t)r;
}
static uint64_t toint64(double v, char s)
{
	if (v != v)
		return 1ull << 63;
	if (s == 'u')
		return v <= 0 ? 0 : v >= 0x1p64 ? ~0ull : (uint64_t)v;
	return v >= 0x1p63 ? ~0ull >> 1 : v < -0x1p63 ? 1ull << 63 : (uint64_t)(int64_t)v;
}
/* A value with `p` bits of precision and `e` exponent bits, rounded by scaling: nothing of softgpu's bit tricks. */
static uint64_t tohalf(long double v, int p, int e, int mode)
{
	int bias = (1 << (e - 1)) - 1, x;
	uint64_t sign = signbit(v) ? 0x8000 : 0, inf = ((1u << e) - 1) << (p - 1);
	if (v != v)
		return 0x7fff;
	v = fabsl(v);
	if (v == 0 || isinf(v))
		return sign | (v == 0 ? 0 : inf);
	frexpl(v, &x);
	x = x - 1 < 1 - bias ? 1 - bias : x - 1;
	long double q = ldexpl(v, p - 1 - x);
	q = mode == FE_TOWARDZERO ? floorl(q) : rintl(q);
	uint64_t r = (uint64_t)q + ((uint64_t)(x + bias - 1) << (p - 1));
	return sign | (r >= inf ? (mode == FE_TOWARDZERO ? inf - 1 : inf) : r);
}
static double fromhalf(uint64_t a, int p, int e)
{
	int bias = (1 << (e - 1)) - 1;
	uint64_t x = a >> (p - 1) & ((1u << e) - 1), m = a & ((1u << (p - 1)) - 1);
	double v = x == (1u << e) - 1 ? (m ? NAN : INFINITY) : x ? ldexp((double)(m + (1u << (p - 1))),
		(int)x - bias - p + 1)
		: ldexp((double)m, 2 - bias - p);
	return a & 0x8000 ? -v : v;
}
static long double H(uint64_t a) { return fromhalf(a & 0xffff, 11, 5); }
static long double B(uint64_t a) { return fromhalf(a & 0xffff, 8, 8); }
/* The sum of two bf16 can need more than a long double's bits: then the small one only tips a tie. */
static uint64_t bsum(uint64_t a, uint64_t b)
{
	return tohalf(B(a) + B(b), 8, 8, FE_TONEAREST);
}
static int hnan(uint64_t a) { return (a & 0x7fff) > 0x7c00; }
static uint64_t tf32(uint64_t a)
{
	if (isnan(F(a)))
		return 0x7fffffffu;
	return isinf(F(a)) ? a : (a + 0x1000) & 0xffffe000u;
}

struct op { const char *text, *d, *a, *b, *c; uint64_t (*ref)(uint64_t a, uint64_t b, uint64_t c); };
#define OP(T, TD, TA, TB, TC, E) { T, TD, TA, TB, TC, ({ \
	uint64_t ref_(uint64_t a, uint64_t b, uint64_t c) { (void)a; (void)b; (void)c; return (uint64_t)(E); } \
	ref_; }) },

static unsigned bytes(const char *t)
{
	return strstr(t, "64") ? 8 : strstr(t, "16") ? 2 : 4;
}

static uint64_t pick(const char *t, int i)
{
	static const uint32_t fl[] = { 0, 0x80000000, 1, 0x80000001, 0x7fffff, 0x800000, 0x3f800000, 0xbf800000,
		0x3f800001, 0x7f7fffff,
		0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x4b000000, 0x4b800001, 0x3f000000,
		0x40200000, 0x4f000000,
		0xcf000000, 0x4effffff, 0x5f000000, 0x5effffff, 0x33000000, 0x477fe000, 0x477ff000, 0x38800000,
		0x387fc000, 0x33800000 };
	static const uint64_t ints[] = { 0, 1, 2, ~0ull, 0x7fffffff, 0x80000000, 0x7fffffffffffffff,
		0x8000000000000000, 0x7fff, 0x8000,
		0xff, 31, 32, 33, 63, 64, 0xffff, 3, 7, 0x1000000, 0x1000001, 0x7fffffbf, 0xffffff7f };
	uint64_t v, nf = sizeof fl / sizeof *fl, ni = sizeof ints / sizeof *ints;
	bool edge = i < (int)(nf * nf);
	unsigned k = (unsigned)i;
	if (t[0] == 'f' && bytes(t) == 4) {
		v = edge ? fl[k % nf] : rnd() % 3 ? 0x3f000000 + (rnd() & 0x83ffffff) : rnd();
	} else if (t[0] == 'f' && bytes(t) == 8) {
		double x = F(edge ? fl[k % nf] : rnd());
		memcpy(&v, &x, 8);
		v ^= edge && k % 3 ? 0 : (uint64_t)rnd() << 9 & 0x1fffffff;
		v = !edge && k % 4 == 0 ? (uint64_t)rnd() << 32 | rnd() : v;
	} else {
		v = edge ? ints[k % ni] : (uint64_t)rnd() << 32 | rnd();
		v = !edge && k % 3 == 0 ? v >> (rnd() & 63) : v;
	}
	return bytes(t) == 8 ? v : bytes(t) == 2 ? v & 0xffff : v & 0xffffffff;
}

static bool same(const char *t, uint64_t got, uint64_t want, uint64_t a)
{
	if (strcmp(t, "near")) {
		if (!strcmp(t, "f64") && D(want) != D(want))
			return D(got) != D(got);       /* which NaN is the operand's affair */
		return got == want;
	}
	float g = F(got), w = F(want);
	if (g != g || w != w)
		return g != g && w != w;
	if (isinf(g) || isinf(w) || fpclassify(F(a)) == FP_SUBNORMAL || fpclassify(w) == FP_SUBNORMAL)
		return g == w || fabsf(g - w) < 1e-37f || fpclassify(F(a)) == FP_SUBNORMAL;
	return fabs((double)g - w) <= fabs((double)w) * 0x1p-21 + 0x1p-126;
}

/* One kernel per instruction: operand arrays of 8-byte elements, the result widened into one. */
static void write_kernel(FILE *o, const struct op *p, int k)
{
	const char *dt = strcmp(p->d, "near") ? p->d : "f32", *types[3] = { p->a, p->b, p->c };
	fprintf(o, ".visible .entry k%d(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u64 po) {\n", k);
	fprintf(o, ".reg .b64 %%rd<8>; .reg .b32 %%r<4>, %%u, %%v; .reg .pred %%p, %%q, %%s0; .reg .b16 %%x, %%y;\n");
	fprintf(o, ".reg .%s %%d;\n", dt);
	fprintf(o, "mov.u32 %%r1, %%ctaid.x; mov.u32 %%r2, %%ntid.x; mov.u32 %%r3, %%tid.x; "
		"mad.lo.s32 %%r1, %%r1, %%r2, %%r3;\n"
	        "mul.wide.u32 %%rd4, %%r1, 8; setp.ge.u32 %%p, %%r1, 0;\n");
	for (int i = 0; i < 3; i++) {
		if (!*types[i])
			continue;
		fprintf(o, ".reg .%s %%%c; ld.param.u64 %%rd1, [p%c]; add.s64 %%rd1, %%rd1, %%rd4; "
			"ld.global.%s %%%c, [%%rd1];\n",
		        strcmp(types[i], "f16") ? types[i] : "b16", 'a' + i, 'a' + i,
		strcmp(types[i], "f16") ? types[i] : "b16", 'a' + i);
	}
	fprintf(o, "mov.b%u %%d, 0;\n", bytes(dt) * 8);
	for (const char *s = p->text; *s; s++) {
		if (s[0] == '%' && s[1] == 'r' && (s[2] == ',' || s[2] == ' ')) {
			fputs("%s0", o);
			s++;
		} else {
			fputc(*s, o);
		}
	}
	fprintf(o, "\nld.param.u64 %%rd1, [po]; add.s64 %%rd1, %%rd1, %%rd4; st.global.b%u [%%rd1], %%d; ret;\n}\n",
		bytes(dt) * 8);
}

static void run(const char *text, const struct op *ops, int n, const char *simd)
{
	setenv("AGILEOS_SOFTGPU_SIMD", simd, 1);
	struct exec_module *m = load_text(text);
	uint64_t *a = DEV(uint64_t, N), *b = DEV(uint64_t, N), *c = DEV(uint64_t, N), *r = DEV(uint64_t, N);
	for (int k = 0; k < n; k++) {
		const struct op *p = &ops[k];
		struct { void *a, *b, *c, *o; } args = { a, b, c, r };
		char name[32], what[160];
		int bad = 0, first = -1;
		for (int i = 0; i < N; i++) {
			a[i] = pick(p->a, i);
			b[i] = pick(*p->b ? p->b : "u32", i / 30);
			c[i] = pick(*p->c ? p->c : "u32", i * 7 % 900);
			r[i] = 0;
		}
		snprintf(name, sizeof name, "k%d", k);
		CUresult e = launch(m, name, (struct launch_opt){ .grid = { N / 128 }, .block = { 128 } }, &args,
			sizeof args);
		for (int i = 0; i < N && !e; i++) {
			if (!same(p->d, r[i], p->ref(a[i], b[i], c[i]), a[i])) {
				first = bad++ ? first : i;
			}
		}
		int i = first < 0 ? 0 : first;
		snprintf(what, sizeof what, "%s: %s", simd, p->text);
		check(!e && !bad, what, "error %d (%s), %d wrong, first f(%llx, %llx, %llx) = %llx, not %llx", e,
			fault.what, bad,
		      (unsigned long long)a[i], (unsigned long long)b[i], (unsigned long long)c[i],
		(unsigned long long)r[i], (unsigned long long)p->ref(a[i], b[i], c[i]));
	}
	exec_unload(m);
}

int main(void)
{
	const struct op ops[] = {
#include "exec_alu_ops.def"
	};
	int n = sizeof ops / sizeof *ops;
	char *text = NULL;
	size_t len = 0;
	FILE *o = open_memstream(&text, &len);
	fprintf(o, ".version 8.6\n.target sm_90\n.address_size 64\n");
	for (int k = 0; k < n; k++)
		write_kernel(o, &ops[k], k);
	fclose(o);
	run(text, ops, n, "avx2");
	run(text, ops, n, "sse2");
	free(text);
	return harness_end();
}
