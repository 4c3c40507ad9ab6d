/* ptx58.cu - what single instructions compute, each beside a reference on the host: bits, permutations, carries, packed
 * and narrow arithmetic, halves, approximations, warps, fences, asynchronous copies and a matrix multiplication. */
#include "check.h"
#include <cmath>
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <mma.h>
#include <vector>

enum { N = 512 };
static uint32_t *din, *dout, in[3 * N];

static uint32_t rnd()
{
	static uint32_t x = 2463534242u;
	x ^= x << 13, x ^= x >> 17, x ^= x << 5;
	return x;
}

/* Runs f over N triples; each gives `W` words. */
template <typename F> __global__ void each(F f, const uint32_t *in, uint32_t *out, int w)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	f(in[3 * i], in[3 * i + 1], in[3 * i + 2], out + i * w);
}

enum { MAX_W = 4 };
template <typename D, typename H> static void compare(const char *name, D device, H host, int w = 1)
{
	static uint32_t got[N * MAX_W];
	MUST(cudaMemset(dout, 0xcd, sizeof got));
	each<<<N / 64, 64>>>(device, din, dout, w);
	MUST(cudaGetLastError());
	MUST(cudaMemcpy(got, dout, sizeof got, cudaMemcpyDeviceToHost));
	char why[200] = "";
	bool ok = true;
	for (int i = 0; i < N && ok; i++) {
		uint32_t want[MAX_W] = {};
		host(in[3 * i], in[3 * i + 1], in[3 * i + 2], want);
		for (int k = 0; k < w && ok; k++) {
			ok = got[i * w + k] == want[k];
			snprintf(why, sizeof why, "of %08x %08x %08x [%d]: %08x, expected %08x", in[3 * i],
				in[3 * i + 1],
				in[3 * i + 2], k, got[i * w + k], want[k]);
		}
	}
	e2e_case(name, ok, why);
}

#define DEV [=] __device__ (uint32_t a, uint32_t b, uint32_t c, uint32_t *o)
#define HOST [=] (uint32_t a, uint32_t b, uint32_t c, uint32_t *o)

/* One instruction of three 32-bit sources. */
#define ASM3(text) DEV { uint32_t r; asm volatile(text " %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c)); *o = r; }
#define ASM1(text) DEV { uint32_t r; asm volatile(text " %0, %1;" : "=r"(r) : "r"(a)); *o = r; }

static uint32_t prmt(uint32_t a, uint32_t b, uint32_t c)
{
	uint64_t x = (uint64_t)b << 32 | a;
	uint32_t r = 0;
	for (int i = 0; i < 4; i++) {
		uint32_t s = c >> 4 * i & 15, byte = x >> 8 * (s & 7) & 255;
		r |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
	}
	return r;
}

static void bits()
{
	compare("popc", ASM1("popc.b32"), HOST { *o = __builtin_popcount(a); });
	compare("clz", DEV { *o = __clz(a & b & c); }, HOST { a &= b & c; *o = a ? __builtin_clz(a) : 32; });
	compare("brev", ASM1("brev.b32"), HOST { uint32_t r = 0; for (int i = 0; i < 32;
		i++) r |= (a >> i & 1) << (31 - i); *o = r; });
	compare("bfind", ASM1("bfind.u32"), HOST { *o = a ? 31 - __builtin_clz(a) : ~0u; });
	compare("bfind.s32", ASM1("bfind.s32"), HOST { uint32_t v = (int)a < 0 ? ~a : a;
		*o = v ? 31 - __builtin_clz(v) : ~0u; });
	compare("bfind.shiftamt", ASM1("bfind.shiftamt.u32"), HOST { *o = a ? __builtin_clz(a) : ~0u; });
	compare("ffs", DEV { *o = __ffs(a & b); }, HOST { *o = __builtin_ffs(a & b); });
	compare("bfe.u32", DEV { uint32_t r, p = b & 31, n = c % 33;
		asm volatile("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(a),
		"r"(p), "r"(n)); *o = r; }, HOST { uint32_t p = b & 31, n = c % 33;
			*o = (uint64_t)a >> p & ((1ull << n) - 1); });
	compare("bfe.s32", DEV { int r; uint32_t p = b & 31, n = c % 33;
		asm volatile("bfe.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(a),
		"r"(p), "r"(n)); *o = r; }, HOST { uint32_t p = b & 31, n = c % 33; int64_t v = (int64_t)(int)a >> p;
		*o = n ? (uint32_t)((int64_t)((uint64_t)v << (64 - n)) >> (64 - n)) : 0; });
	compare("bfi", DEV { uint32_t r, p = c & 31, n = (c >> 8) % 33;
		asm volatile("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r)
		: "r"(a), "r"(b), "r"(p), "r"(n)); *o = r; }, HOST { uint32_t p = c & 31, n = (c >> 8) % 33;
		uint32_t m = (uint32_t)(((1ull << n) - 1) << p); *o = (b & ~m) | (a << p & m); });
	compare("prmt", ASM3("prmt.b32"), HOST { *o = prmt(a, b, c); });
	compare("shf.l.wrap", ASM3("shf.l.wrap.b32"), HOST {
		*o = (uint32_t)(((uint64_t)b << 32 | a) << (c & 31) >> 32); });
	compare("shf.r.wrap", ASM3("shf.r.wrap.b32"), HOST { *o = (uint32_t)(((uint64_t)b << 32 | a) >> (c & 31)); });
	compare("shf.r.clamp", DEV { *o = __funnelshift_rc(a, b, c & 63); }, HOST { c &= 63;
		*o = (uint32_t)(((uint64_t)b << 32 | a) >> (c < 32 ? c : 32)); });
	compare("lop3", DEV { uint32_t r, s;
		asm("lop3.b32 %0, %2, %3, %4, 0xe8;\n\tlop3.b32 %1, %2, %3, %4, 0x96;" : "=r"(r),
		"=r"(s) : "r"(a), "r"(b), "r"(c)); o[0] = r; o[1] = s; }, HOST { o[0] = (a & b) | (a & c) | (b & c);
		o[1] = a ^ b ^ c; }, 2);
	compare("shl and shr past 31", DEV { uint32_t r, s; int t;
		asm("shl.b32 %0, %3, %4;\n\tshr.u32 %1, %3, %4;\n\tshr.s32 %2, %3, %4;"
		: "=r"(r), "=r"(s), "=r"(t) : "r"(a), "r"(b & 63)); o[0] = r, o[1] = s, o[2] = t; }, HOST { b &= 63;
		o[0] = b < 32 ? a << b : 0; o[1] = b < 32 ? a >> b : 0; o[2] = (int)a >> (b < 32 ? b : 31); }, 3);
}

static uint32_t dot4(uint32_t a, uint32_t b, uint32_t c, bool sign)
{
	for (int i = 0; i < 4; i++) {
		int x = a >> 8 * i & 255, y = b >> 8 * i & 255;
		c += sign ? (int8_t)x * (int8_t)y : x * y;
	}
	return c;
}

static void integers()
{
	compare("dp4a.u32", ASM3("dp4a.u32.u32"), HOST { *o = dot4(a, b, c, false); });
	compare("dp4a.s32", DEV { *o = __dp4a((int)a, (int)b, (int)c); }, HOST { *o = dot4(a, b, c, true); });
	compare("dp2a.lo", DEV { *o = __dp2a_lo((int)a, (int)b, (int)c); }, HOST {
		*o = c + (int16_t)a * (int8_t)b + (int16_t)(a >> 16) * (int8_t)(b >> 8); });
	compare("vabsdiff4", DEV { uint32_t r; asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(r) : "r"(a),
		"r"(b), "r"(c));
		*o = r; }, HOST { for (int i = 0; i < 32; i += 8) c += abs((int)(a >> i & 255) - (int)(b >> i & 255));
			*o = c; });
	compare("sad", DEV { *o = __usad(a, b, c); }, HOST { *o = (a > b ? a - b : b - a) + c; });
	compare("mulhi", DEV { o[0] = __umulhi(a, b); o[1] = __mulhi((int)a, (int)b);
		}, HOST { o[0] = (uint64_t)a * b >> 32;
		o[1] = (uint64_t)((int64_t)(int)a * (int)b) >> 32; }, 2);
	compare("mul24", DEV { o[0] = __umul24(a, b); o[1] = __mul24((int)a, (int)b);
		}, HOST { o[0] = (a & 0xffffff) * (b & 0xffffff);
		o[1] = ((int)(a << 8) >> 8) * (uint32_t)((int)(b << 8) >> 8); }, 2);
	compare("division", DEV { b |= 1; o[0] = a / b; o[1] = a % b; o[2] = (int)a / (int)(b | 2);
		o[3] = (int)a % (int)(b | 2); },
		HOST { b |= 1; o[0] = a / b; o[1] = a % b; o[2] = (int64_t)(int)a / (int)(b | 2);
		o[3] = (int64_t)(int)a % (int)(b | 2); }, 4);
	compare("wide division", DEV { uint64_t x = (uint64_t)a << 32 | b, q = x / (c | 1); o[0] = q, o[1] = q >> 32;
		o[2] = x % (c | 1); },
		HOST { uint64_t x = (uint64_t)a << 32 | b, q = x / (c | 1); o[0] = q, o[1] = q >> 32;
			o[2] = x % (c | 1); }, 3);
	/* 128-bit sum of {a, b, c, a} and {c, a, b, b}, in carries. */
	compare("addc chain", DEV { uint32_t r0, r1, r2, r3; asm("add.cc.u32 %0, %4, %6;\n\taddc.cc.u32 %1, %5, %4;\n\t"
		"addc.cc.u32 %2, %6, %5;\n\taddc.u32 %3, %4, %5;" : "=&r"(r0), "=&r"(r1), "=&r"(r2),
			"=&r"(r3) : "r"(a), "r"(b), "r"(c));
		o[0] = r0, o[1] = r1, o[2] = r2, o[3] = r3; }, HOST { uint32_t x[4] = { a, b, c, a }, y[4] = { c, a, b,
			b };
		for (uint64_t i = 0, t = 0; i < 4; i++, t >>= 32) o[i] = t += (uint64_t)x[i] + y[i]; }, 4);
	compare("subc chain", DEV { uint32_t r0, r1, r2;
		asm("sub.cc.u32 %0, %3, %5;\n\tsubc.cc.u32 %1, %4, %3;\n\tsubc.u32 %2, %5, %4;"
		: "=&r"(r0), "=&r"(r1), "=&r"(r2) : "r"(a), "r"(b), "r"(c)); o[0] = r0, o[1] = r1, o[2] = r2; }, HOST {
		uint32_t x[3] = { a, b, c }, y[3] = { c, a, b }; uint32_t borrow = 0;
		for (int i = 0; i < 3; i++) { uint64_t t = (uint64_t)x[i] - y[i] - borrow; o[i] = t; borrow = t >> 63;
			} }, 3);
	/* a * {b, c} as 96 bits. */
	compare("madc chain", DEV { uint32_t r0, r1, r2; asm("mul.lo.u32 %0, %3, %4;\n\tmul.hi.u32 %1, %3, %4;\n\t"
		"mad.lo.cc.u32 %1, %3, %5, %1;\n\tmadc.hi.u32 %2, %3, %5, 0;" : "=&r"(r0), "=&r"(r1),
			"=&r"(r2) : "r"(a), "r"(b), "r"(c));
		o[0] = r0, o[1] = r1, o[2] = r2;
			}, HOST { uint64_t lo = (uint64_t)a * b, hi = (uint64_t)a * c + (lo >> 32);
		o[0] = lo, o[1] = hi, o[2] = hi >> 32; }, 3);
	compare("saturation and extremes", DEV { int r; asm("add.sat.s32 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
		o[0] = r;
		o[1] = min((int)a, (int)b); o[2] = max(a, b); o[3] = abs((int)a);
			}, HOST { int64_t s = (int64_t)(int)a + (int)b;
		o[0] = s > INT32_MAX ? INT32_MAX : s < INT32_MIN ? INT32_MIN : s; o[1] = (int)a < (int)b ? a : b;
		o[2] = a > b ? a : b; o[3] = (int)a < 0 ? -a : a; }, 4);
	compare("slct, selp, set", DEV { uint32_t r, s;
		asm("slct.u32.s32 %0, %2, %3, %4;\n\tset.lt.u32.s32 %1, %2, %3;" : "=r"(r), "=r"(s)
		: "r"(a), "r"(b), "r"(c)); o[0] = r, o[1] = s, o[2] = a < b ? c : b;
			}, HOST { o[0] = (int)c >= 0 ? a : b;
		o[1] = (int)a < (int)b ? ~0u : 0; o[2] = a < b ? c : b; }, 3);
}

__host__ __device__ static float as_float(uint32_t a) { float f; memcpy(&f, &a, 4); return f; }
__host__ __device__ static uint32_t as_bits(float f) { uint32_t a; memcpy(&a, &f, 4); return a; }
/* A finite number of moderate size. */
__host__ __device__ static float tame(uint32_t a) {
	return as_float((a & 0x807fffff) | (0x7c - 8 + (a >> 23 & 15)) << 23); }

static void floats()
{
	compare("copysign", DEV { *o = __float_as_uint(copysignf(tame(a), tame(b)));
		}, HOST { *o = as_bits(copysignf(tame(a), tame(b))); });
	compare("fma, four roundings of sums", DEV { float x = tame(a), y = tame(b);
		o[0] = __float_as_uint(__fmaf_rn(x, y, tame(c)));
		o[1] = __float_as_uint(__fadd_rn(x, y)); o[2] = __float2int_rz(x * 100);
			o[3] = __float2int_rn(y * 100); }, HOST {
		float x = tame(a), y = tame(b); o[0] = as_bits(fmaf(x, y, tame(c))); o[1] = as_bits(x + y);
			o[2] = (int)(x * 100);
		o[3] = (int)rintf(y * 100); }, 4);
	compare("division and roots, rounded", DEV { float x = tame(a), y = tame(b);
		o[0] = __float_as_uint(__fdiv_rn(x, y));
		o[1] = __float_as_uint(__fsqrt_rn(fabsf(x))); o[2] = __float_as_uint(__frcp_rn(y));
			}, HOST { float x = tame(a), y = tame(b);
		o[0] = as_bits(x / y); o[1] = as_bits(sqrtf(fabsf(x))); o[2] = as_bits(1 / y); }, 3);
	compare("testp, isnan, minmax", DEV { float x = as_float(a | 0x7f800000), y = tame(b); o[0] = isnan(x);
		o[1] = isinf(x);
		o[2] = __float_as_uint(fminf(x, y)); o[3] = __float_as_uint(floorf(y));
			}, HOST { float x = as_float(a | 0x7f800000), y = tame(b);
		o[0] = std::isnan(x); o[1] = std::isinf(x); o[2] = as_bits(std::isnan(x) || y < x ? y : x);
		o[3] = as_bits(floorf(y)); }, 4);
	compare("doubles", DEV { double x = tame(a), y = tame(b), z = __fma_rn(x, y, (double)tame(c));
		uint64_t u = __double_as_longlong(z / y);
		o[0] = u, o[1] = u >> 32; o[2] = __float_as_uint(__double2float_rn(z));
			o[3] = (uint32_t)__double2ll_rz(z * 1000); }, HOST {
		double x = tame(a), y = tame(b), z = fma(x, y, (double)tame(c)), q = z / y; uint64_t u;
			memcpy(&u, &q, 8); o[0] = u, o[1] = u >> 32;
		o[2] = as_bits((float)z); o[3] = (uint32_t)(long long)(z * 1000); }, 4);
}

/* The largest error of an approximation, relative or absolute as the ISA states it. */
template <typename D, typename H> static void approximates(const char *name, D device, H host, double relative,
	double absolute)
{
	static uint32_t got[N * MAX_W];
	each<<<N / 64, 64>>>(device, din, dout, 1);
	MUST(cudaGetLastError());
	MUST(cudaMemcpy(got, dout, sizeof got, cudaMemcpyDeviceToHost));
	char why[200] = "";
	bool ok = true;
	for (int i = 0; i < N && ok; i++) {
		double want = host(tame(in[3 * i])), is = as_float(got[i]);
		ok = fabs(is - want) <= relative * fabs(want) + absolute;
		snprintf(why, sizeof why, "of %g: %.9g, expected %.9g", tame(in[3 * i]), is, want);
	}
	e2e_case(name, ok, why);
}
#define APPROX(text, x) DEV { float r, v = x; asm volatile(text " %0, %1;" : "=f"(r) : "f"(v)); \
	*o = __float_as_uint(r); }

static void approximations()
{
	approximates("sin.approx", APPROX("sin.approx.f32", sinf(tame(a)) * 3.1f), [](float v) {
		return sin(sinf(v) * 3.1f); }, 0, 1e-6);
	approximates("cos.approx", APPROX("cos.approx.f32", sinf(tame(a)) * 3.1f), [](float v) {
		return cos(sinf(v) * 3.1f); }, 0, 1e-6);
	approximates("ex2.approx", APPROX("ex2.approx.f32", tame(a)), [](float v) { return exp2((double)v); }, 4e-7, 0);
	approximates("lg2.approx", APPROX("lg2.approx.f32", fabsf(tame(a))), [](float v) {
		return log2(fabs((double)v)); }, 4e-7, 3e-7);
	approximates("rcp.approx", APPROX("rcp.approx.f32", tame(a)), [](float v) { return 1 / (double)v; }, 2e-7, 0);
	approximates("rsqrt.approx", APPROX("rsqrt.approx.f32", fabsf(tame(a))), [](float v) {
		return 1 / sqrt(fabs((double)v)); }, 3e-7, 0);
	approximates("sqrt.approx", APPROX("sqrt.approx.f32", fabsf(tame(a))), [](float v) {
		return sqrt(fabs((double)v)); }, 3e-7, 0);
	approximates("tanh.approx", APPROX("tanh.approx.f32", tame(a)), [](float v) { return tanh((double)v);
		}, 1e-3, 0);
}

static void halves()
{
	compare("halves", DEV { __half x = __float2half_rn(tame(a)), y = __float2half_rn(tame(b)),
		z = __float2half_rn(tame(c));
		o[0] = __half_as_ushort(__hadd(x, y)); o[1] = __half_as_ushort(__hmul(x, y));
			o[2] = __half_as_ushort(__hfma(x, y, z));
		o[3] = __hlt(x, y) | __half_as_ushort(__hneg(z)) << 1; }, HOST {
		__half x = __float2half_rn(tame(a)), y = __float2half_rn(tame(b)), z = __float2half_rn(tame(c));
		float f = __half2float(x), g = __half2float(y), h = __half2float(z);
		o[0] = __half_as_ushort(__double2half((double)f + g));
			o[1] = __half_as_ushort(__double2half((double)f * g));
		o[2] = __half_as_ushort(__double2half((double)f * g + h));
			o[3] = (f < g) | __half_as_ushort(__float2half_rn(-h)) << 1; }, 4);
	compare("pairs of halves", DEV { __half2 x = __floats2half2_rn(tame(a), tame(b)),
		y = __floats2half2_rn(tame(c), tame(a));
		__half2 r = __hfma2(x, y, y), s = __hmul2(x, y); memcpy(o, &r, 4); memcpy(o + 1, &s, 4);
			}, HOST { float x[2] = { tame(a), tame(b) },
		y[2] = { tame(c), tame(a) }; o[0] = o[1] = 0; for (int i = 0; i < 2;
			i++) { double f = __half2float(__float2half_rn(x[i])),
		g = __half2float(__float2half_rn(y[i]));
			o[0] |= (uint32_t)__half_as_ushort(__double2half(f * g + g)) << 16 * i;
		o[1] |= (uint32_t)__half_as_ushort(__double2half(f * g)) << 16 * i; } }, 2);
	compare("bfloat16", DEV { __nv_bfloat16 x = __float2bfloat16_rn(tame(a)), y = __float2bfloat16_rn(tame(b)),
		z = __float2bfloat16_rn(tame(c));
		o[0] = __bfloat16_as_ushort(x); o[1] = __bfloat16_as_ushort(__hadd(x, y));
			o[2] = __bfloat16_as_ushort(__hmul(x, y));
		o[3] = __bfloat16_as_ushort(__hfma(x, y, z)); }, HOST {
		__nv_bfloat16 x = __float2bfloat16_rn(tame(a)), y = __float2bfloat16_rn(tame(b)),
			z = __float2bfloat16_rn(tame(c));
		double f = __bfloat162float(x), g = __bfloat162float(y), h = __bfloat162float(z);
		o[0] = __bfloat16_as_ushort(x); o[1] = __bfloat16_as_ushort(__double2bfloat16(f + g));
		o[2] = __bfloat16_as_ushort(__double2bfloat16(f * g));
			o[3] = __bfloat16_as_ushort(__double2bfloat16(f * g + h)); }, 4);
}

__global__ void warps(const uint32_t *in, uint32_t *out)
{
	uint32_t lane = threadIdx.x, v = in[lane], k = v & 3;
	uint32_t *o = out + lane * 16;
	o[0] = __reduce_add_sync(~0u, v), o[1] = __reduce_min_sync(~0u, v), o[2] = __reduce_max_sync(~0u, (int)v);
	o[3] = __reduce_and_sync(~0u, v | 0xff), o[4] = __reduce_or_sync(~0u, v & 0xff), o[5] = __reduce_xor_sync(~0u,
		v);
	o[6] = __match_any_sync(~0u, k);
	int same;
	o[7] = __match_all_sync(~0u, 7, &same), o[8] = same;
	o[9] = __shfl_xor_sync(~0u, v, 5), o[10] = __shfl_up_sync(~0u, v, 3, 8), o[11] = __shfl_sync(~0u, v, lane * 7,
		16);
	if (k == 1) o[12] = __activemask();
	else o[12] = 0;
	__syncwarp();
	o[13] = __ballot_sync(~0u, v & 4), o[14] = __all_sync(~0u, lane < 32);
	uint32_t lt;
	asm("mov.u32 %0, %%lanemask_lt;" : "=r"(lt));
	o[15] = lt;
}

static void warp()
{
	uint32_t got[32][16], sum = 0, lo = ~0u, all = ~0u, any = 0, x = 0, votes = 0, match[4] = {};
	int hi = INT32_MIN;
	bool ok = true;
	warps<<<1, 32>>>(din, dout);
	MUST(cudaMemcpy(got, dout, sizeof got, cudaMemcpyDeviceToHost));
	for (int i = 0; i < 32; i++) {
		uint32_t v = in[i];
		sum += v, lo = v < lo ? v : lo, hi = (int)v > hi ? (int)v : hi, all &= v | 0xff, any |= v & 0xff,
			x ^= v;
		votes |= (v >> 2 & 1) << i, match[v & 3] |= 1u << i;
	}
	for (int i = 0; i < 32; i++) {
		uint32_t *g = got[i], v = in[i];
		ok = ok && g[0] == sum && g[1] == lo && g[2] == (uint32_t)hi && g[3] == all && g[4] == any && g[5] == x;
	}
	e2e_case("redux", ok);
	ok = true;
	for (int i = 0; i < 32; i++) ok = ok && got[i][6] == match[in[i] & 3] && got[i][7] == ~0u && got[i][8] == 1;
	e2e_case("match", ok);
	ok = true;
	for (int i = 0; i < 32; i++)
		ok = ok && got[i][9] == in[i ^ 5] && got[i][10] == in[(i & 7) < 3 ? i : i - 3]
			&& got[i][11] == in[(i & 16) | (i * 7 & 15)];
	e2e_case("shfl", ok);
	ok = true;
	for (int i = 0; i < 32; i++) {
		uint32_t active = got[i][12], me = 1u << i;
		ok = ok && ((in[i] & 3) == 1 ? (active & me) && !(active & ~match[1]) : active == 0);
		ok = ok && got[i][13] == votes && got[i][14] == 1 && got[i][15] == me - 1;
	}
	e2e_case("activemask, vote, lane masks", ok);
}

/* Each block adds to its left neighbour's number once that is published. */
__global__ void chain(volatile int *value, volatile int *flag)
{
	if (threadIdx.x == 0) {
		int b = blockIdx.x;
		if (b) while (!flag[b - 1]) __nanosleep(100);
		__threadfence();
		value[b] = (b ? value[b - 1] : 0) + b;
		__threadfence();
		flag[b] = 1;
		__threadfence_system();
		__threadfence_block();
		asm volatile("fence.acq_rel.gpu;" ::: "memory");
		asm volatile("fence.sc.sys;" ::: "memory");
	}
}

__global__ void staged(const int4 *in, int *out)
{
	__shared__ int4 s[2][64];
	int t = threadIdx.x, sum = 0;
	__pipeline_memcpy_async(&s[0][t], &in[t], sizeof(int4));
	__pipeline_commit();
	for (int i = 0; i < 4; i++) {
		if (i < 3) __pipeline_memcpy_async(&s[(i + 1) & 1][t], &in[(i + 1) * 64 + t], sizeof(int4));
		__pipeline_commit();
		__pipeline_wait_prior(1);
		__syncthreads();
		int4 v = s[i & 1][63 - t];
		sum += v.x + 3 * v.y + 5 * v.z + 7 * v.w;
		__syncthreads();
	}
	out[t] = sum;
}

static void memory()
{
	int *d = (int *)dout, h[96];
	MUST(cudaMemset(d, 0, sizeof h));
	chain<<<32, 32>>>(d, d + 32);
	MUST(cudaMemcpy(h, d, sizeof h, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int b = 0; b < 32; b++) ok = ok && h[b] == b * (b + 1) / 2 && h[32 + b] == 1;
	e2e_case("fences and nanosleep", ok);
	staged<<<1, 64>>>((const int4 *)din, d);
	MUST(cudaMemcpy(h, d, sizeof h, cudaMemcpyDeviceToHost));
	ok = true;
	for (int t = 0; t < 64; t++) {
		uint32_t sum = 0;
		for (int i = 0; i < 4; i++) {
			const uint32_t *v = in + 4 * (i * 64 + 63 - t);
			sum += v[0] + 3 * v[1] + 5 * v[2] + 7 * v[3];
		}
		ok = ok && (uint32_t)h[t] == sum;
	}
	e2e_case("asynchronous copies into shared memory", ok);
}

template <typename T> __global__ void multiply(const T *a, const T *b, float *c, int k)
{
	using namespace nvcuda;
	wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::row_major> fa;
	wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::col_major> fb;
	wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
	wmma::fill_fragment(fc, 0.f);
	for (int i = 0; i < k; i += 16) {
		wmma::load_matrix_sync(fa, a + i, k);
		wmma::load_matrix_sync(fb, b + i, k);
		wmma::mma_sync(fc, fa, fb, fc);
	}
	for (int i = 0; i < fc.num_elements; i++) fc.x[i] *= 2;
	wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
}

template <typename T> static void matrices(const char *name)
{
	enum { K = 48 };
	std::vector<T> a(16 * K), b(16 * K);
	for (int i = 0; i < 16 * K; i++) a[i] = (T)(float)((int)(rnd() % 17) - 8),
		b[i] = (T)(float)((int)(rnd() % 9) - 4);
	T *da, *db;
	float c[256], *dc = (float *)dout;
	MUST(cudaMalloc(&da, sizeof(T) * a.size()));
	MUST(cudaMalloc(&db, sizeof(T) * b.size()));
	MUST(cudaMemcpy(da, a.data(), sizeof(T) * a.size(), cudaMemcpyHostToDevice));
	MUST(cudaMemcpy(db, b.data(), sizeof(T) * b.size(), cudaMemcpyHostToDevice));
	multiply<T><<<1, 32>>>(da, db, dc, K);
	MUST(cudaGetLastError());
	MUST(cudaMemcpy(c, dc, sizeof c, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int i = 0; i < 256; i++) {
		float s = 0;
		for (int k = 0; k < K; k++) s += (float)a[i / 16 * K + k] * (float)b[i % 16 * K + k];
		ok = ok && c[i] == 2 * s;
	}
	e2e_case(name, ok);
	MUST(cudaFree(da));
	MUST(cudaFree(db));
}

int main()
{
	static const uint32_t edges[] = { 0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x8000, 31, 32 };
	for (int i = 0; i < 3 * N; i++) in[i] = i < 192 ? edges[(i / 3 >> i % 3 * 2) % 8] : rnd();
	for (int i = 192; i < 3 * N; i += 5) in[i] >>= rnd() % 32;
	MUST(cudaMalloc(&din, sizeof in));
	MUST(cudaMalloc(&dout, N * MAX_W * 4));
	MUST(cudaMemcpy(din, in, sizeof in, cudaMemcpyHostToDevice));
	bits();
	integers();
	floats();
	approximations();
	halves();
	warp();
	memory();
	matrices<__half>("wmma of halves");
	matrices<__nv_bfloat16>("wmma of bfloat16");
	MUST(cudaFree(din));
	MUST(cudaFree(dout));
	return e2e_done();
}
