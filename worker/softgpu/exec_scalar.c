/* exec_scalar.c - operations that are computed lane by lane: bit fields, permutes, dot products, packed (video)
 * arithmetic, narrow float formats.  Each takes up to four operands v[] and the modifiers x that decode packed. */
#include <string.h>
#include "exec_internal.h"
#include "exec_math.h"

#define FN(n) static uint64_t s_##n(const uint64_t *v, uint32_t x)
#define UNUSED_X ((void)x)

/* --- bit fields --------------------------------------------------------------------------------- */

static uint64_t bfe(uint64_t a, uint32_t pos, uint32_t len, unsigned width, bool is_signed)
{
	unsigned msb = width - 1;
	pos &= 0xff;
	len &= 0xff;
	bool sbit = !is_signed || !len ? 0 : a >> (pos + len - 1 < msb ? pos + len - 1 : msb) & 1;
	uint64_t r = 0;
	for (unsigned i = 0; i <= msb; i++)
		r |= (uint64_t)(i < len && pos + i <= msb ? a >> (pos + i) & 1 : sbit) << i;
	return r;
}
FN(bfe_u32) { UNUSED_X; return bfe(v[0], (uint32_t)v[1], (uint32_t)v[2], 32, false); }
FN(bfe_s32) { UNUSED_X; return bfe(v[0], (uint32_t)v[1], (uint32_t)v[2], 32, true); }
FN(bfe_u64) { UNUSED_X; return bfe(v[0], (uint32_t)v[1], (uint32_t)v[2], 64, false); }
FN(bfe_s64) { UNUSED_X; return bfe(v[0], (uint32_t)v[1], (uint32_t)v[2], 64, true); }

static uint64_t bfi(uint64_t a, uint64_t b, uint32_t pos, uint32_t len, unsigned width)
{
	pos &= 0xff;
	len &= 0xff;
	if (pos >= width || !len)
		return b;
	uint64_t mask = (len >= 64 ? ~0ull : (1ull << len) - 1) << pos;
	return (b & ~mask) | (a << pos & mask);
}
FN(bfi_b32) { UNUSED_X; return (uint32_t)bfi(v[0], v[1], (uint32_t)v[2], (uint32_t)v[3], 32); }
FN(bfi_b64) { UNUSED_X; return bfi(v[0], v[1], (uint32_t)v[2], (uint32_t)v[3], 64); }

/* x: shiftamt */
static uint64_t bfind(uint64_t a, unsigned width, uint32_t x)
{
	if (!a)
		return 0xffffffffu;
	uint32_t bit = 63 - (uint32_t)__builtin_clzll(a);
	return x ? width - 1 - bit : bit;
}
FN(bfind_u32) { return bfind((uint32_t)v[0], 32, x); }
FN(bfind_s32) { return bfind((uint32_t)((int32_t)v[0] < 0 ? ~v[0] : v[0]), 32, x); }
FN(bfind_u64) { return bfind(v[0], 64, x); }
FN(bfind_s64) { return bfind((int64_t)v[0] < 0 ? ~v[0] : v[0], 64, x); }

static uint64_t brev64(uint64_t a)
{
	a = (a >> 1 & 0x5555555555555555ull) | (a & 0x5555555555555555ull) << 1;
	a = (a >> 2 & 0x3333333333333333ull) | (a & 0x3333333333333333ull) << 2;
	a = (a >> 4 & 0x0f0f0f0f0f0f0f0full) | (a & 0x0f0f0f0f0f0f0f0full) << 4;
	return __builtin_bswap64(a);
}
FN(brev_b32) { UNUSED_X; return brev64(v[0]) >> 32; }
FN(brev_b64) { UNUSED_X; return brev64(v[0]); }
FN(clz_b32) { UNUSED_X; return (uint32_t)v[0] ? (uint64_t)__builtin_clz((uint32_t)v[0]) : 32; }
FN(clz_b64) { UNUSED_X; return v[0] ? (uint64_t)__builtin_clzll(v[0]) : 64; }
FN(popc_b32) { UNUSED_X; return (uint64_t)__builtin_popcount((uint32_t)v[0]); }
FN(popc_b64) { UNUSED_X; return (uint64_t)__builtin_popcountll(v[0]); }

FN(fns_b32)
{
	uint32_t mask = (uint32_t)v[0], base = (uint32_t)v[1];
	int32_t n = (int32_t)v[2];
	int step = n < 0 ? -1 : 1, pos = (int)base;
	UNUSED_X;
	if (base > 31)
		return 0xffffffffu;
	if (n == 0)
		return mask >> base & 1 ? base : 0xffffffffu;
	for (int64_t left = n < 0 ? -(int64_t)n : n; pos >= 0 && pos < 32; pos += step)
		if (mask >> pos & 1 && --left == 0)
			return (uint32_t)pos;
	return 0xffffffffu;
}

/* x: 0 none, 1 f4e, 2 b4e, 3 rc8, 4 ecl, 5 ecr, 6 rc16 */
FN(prmt_b32)
{
	uint64_t ab = (uint32_t)v[0] | v[1] << 32;
	uint32_t sel = (uint32_t)v[2], s = sel & 3, r = 0;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t k, sign = 0;
		switch (x) {
		case 0: k = sel >> (4 * i) & 7; sign = sel >> (4 * i) & 8; break;
		case 1: k = s + i; break;
		case 2: k = (8 + s - i) & 7; break;
		case 3: k = s; break;
		case 4: k = s > i ? s : i; break;
		case 5: k = s < i ? s : i; break;
		default: k = (s & 1) * 2 + (i & 1); break;
		}
		uint32_t byte = (uint32_t)(ab >> (8 * k)) & 0xff;
		r |= (sign ? (byte & 0x80 ? 0xffu : 0u) : byte) << (8 * i);
	}
	return r;
}

/* x: 1 right, 2 wrap */
FN(shf_b32)
{
	uint32_t n = (uint32_t)v[2];
	uint64_t ab = (uint32_t)v[0] | v[1] << 32;
	n = (x & 2) ? n & 31 : n > 32 ? 32 : n;
	return (uint32_t)((x & 1) ? ab >> n : (ab << n) >> 32);
}

FN(lop3_b32)
{
	uint32_t a = (uint32_t)v[0], b = (uint32_t)v[1], c = (uint32_t)v[2], r = 0;
	for (unsigned i = 0; i < 8; i++)
		if (x >> i & 1)
			r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
	return r;
}

/* x: 1 wrap, 2 signed */
FN(szext_32)
{
	uint32_t n = (x & 1) ? (uint32_t)v[1] & 31 : (uint32_t)v[1] > 32 ? 32 : (uint32_t)v[1];
	if (n == 0)
		return 0;
	return (x & 2) ? sext((uint32_t)v[0], n) : n == 32 ? (uint32_t)v[0] : (uint32_t)v[0] & ((1u << n) - 1);
}
FN(bmsk_b32)
{
	uint32_t a = (uint32_t)v[0], b = (uint32_t)v[1];
	if (x) {
		a &= 31;
		b &= 31;
	} else {
		a = a > 32 ? 32 : a;
		b = b > 32 ? 32 : b;
	}
	uint64_t width = b >= 32 ? 0xffffffffull : (1ull << b) - 1;
	return (uint32_t)(width << a);
}

/* --- sums --------------------------------------------------------------------------------------- */

FN(sad_u16) { UNUSED_X; return (uint16_t)(v[2] + (v[0] < v[1] ? v[1] - v[0] : v[0] - v[1])); }
FN(sad_s16)
{
	int32_t a = (int16_t)v[0], b = (int16_t)v[1];
	UNUSED_X;
	return (uint16_t)(v[2] + (uint64_t)(a < b ? b - a : a - b));
}
FN(sad_u32) { UNUSED_X; return (uint32_t)(v[2] + (v[0] < v[1] ? v[1] - v[0] : v[0] - v[1])); }
FN(sad_s32)
{
	int64_t a = (int32_t)v[0], b = (int32_t)v[1];
	UNUSED_X;
	return (uint32_t)(v[2] + (uint64_t)(a < b ? b - a : a - b));
}
FN(sad_u64) { UNUSED_X; return v[2] + (v[0] < v[1] ? v[1] - v[0] : v[0] - v[1]); }
FN(sad_s64) { UNUSED_X; return v[2] + ((int64_t)v[0] < (int64_t)v[1] ? v[1] - v[0] : v[0] - v[1]); }

/* x: 1 a signed, 2 b signed, 4 upper half (dp2a.hi) */
static int32_t byte_of(uint64_t a, unsigned i, bool is_signed)
{
	return is_signed ? (int8_t)(a >> (8 * i)) : (int32_t)(uint8_t)(a >> (8 * i));
}
FN(dp4a_32)
{
	uint32_t r = (uint32_t)v[2];
	for (unsigned i = 0; i < 4; i++)
		r += (uint32_t)(byte_of(v[0], i, x & 1) * byte_of(v[1], i, x & 2));
	return r;
}
FN(dp2a_32)
{
	uint32_t r = (uint32_t)v[2];
	for (unsigned i = 0; i < 2; i++) {
		int32_t a = (x & 1) ? (int16_t)(v[0] >> (16 * i)) : (int32_t)(uint16_t)(v[0] >> (16 * i));
		r += (uint32_t)(a * byte_of(v[1], i + ((x & 4) ? 2 : 0), x & 2));
	}
	return r;
}

/* --- packed 2 x 16 and 4 x 8 bits ----------------------------------------------------------------- */

enum { PK_ADD, PK_SUB, PK_AVRG, PK_ABSDIFF, PK_MIN, PK_MAX };
static int64_t lane_op(uint32_t op, int64_t a, int64_t b)
{
	switch (op) {
	case PK_ADD: return a + b;
	case PK_SUB: return a - b;
	case PK_AVRG: return (a + b + (a + b >= 0)) >> 1;
	case PK_ABSDIFF: return a < b ? b - a : a - b;
	case PK_MIN: return a < b ? a : b;
	default: return a > b ? a : b;
	}
}
/* x: operation, 8 a signed, 16 b signed, 32 d signed, 64 saturate, 128 accumulate, 256 relu; bits 16..: element
 * width. */
FN(packed)
{
	unsigned width = x >> 16, n = 32 / width;
	uint32_t mask = width == 16 ? 0xffffu : 0xffu, r = (x & 128) ? (uint32_t)v[2] : 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t ua = (uint32_t)v[0] >> (width * i) & mask, ub = (uint32_t)v[1] >> (width * i) & mask;
		int64_t a = (x & 8) ? (int32_t)sext(ua, width) : (int64_t)ua,
			b = (x & 16) ? (int32_t)sext(ub, width) : (int64_t)ub;
		int64_t e = lane_op(x & 7, a, b);
		if (x & 256)
			e = e < 0 ? 0 : e;
		if (x & 64)
			e = (x & 32) ? clamp64(e, -(int64_t)(mask / 2) - 1, mask / 2) : clamp64(e, 0, mask);
		if (x & 128)
			r += (uint32_t)((x & 32) ? (int64_t)(int32_t)sext((uint32_t)e & mask, width) : e & mask);
		else
			r |= ((uint32_t)e & mask) << (width * i);
	}
	return r;
}

/* --- floats ------------------------------------------------------------------------------------- */

/* x: 0 finite, 1 infinite, 2 number, 3 notanumber, 4 normal, 5 subnormal */
static uint64_t testp(uint64_t exp, uint64_t frac, uint64_t top, uint32_t x)
{
	switch (x) {
	case 0: return exp != top;
	case 1: return exp == top && !frac;
	case 2: return exp != top || !frac;
	case 3: return exp == top && frac;
	case 4: return exp && exp != top;
	default: return !exp && frac;
	}
}
FN(testp_f32) { return testp(v[0] >> 23 & 0xff, v[0] & 0x7fffff, 0xff, x); }
FN(testp_f64) { return testp(v[0] >> 52 & 0x7ff, v[0] & ((1ull << 52) - 1), 0x7ff, x); }

/* f16 or bf16 pairs.  x: operation, 8 bf16, 16 ftz, 32 sat, 64 relu */
enum { H2_ADD, H2_SUB, H2_MUL, H2_MIN, H2_MAX, H2_MIN_NAN, H2_MAX_NAN, H2_FMA, H2_NEG = 256, H2_ABS, H2_EX2, H2_TANH };
static uint32_t half_op(uint32_t a, uint32_t b, uint32_t c, uint32_t x, uint32_t op)
{
	bool bf = x & 8;
	if ((x & 16) && !bf) {
		a = (a & 0x7c00) ? a : a & 0x8000;
		b = (b & 0x7c00) ? b : b & 0x8000;
		c = (c & 0x7c00) ? c : c & 0x8000;
	}
	float fa = bf ? b2f(a) : h2f(a), fb = bf ? b2f(b) : h2f(b), fc = bf ? b2f(c) : h2f(c), r = 0;
	switch (op) {
	case H2_ADD: r = fa + fb; break;
	case H2_SUB: r = fa - fb; break;
	case H2_MUL: r = fa * fb; break;
	case H2_MIN: r = f32_min(fa, fb); break;
	case H2_MAX: r = f32_max(fa, fb); break;
	case H2_MIN_NAN: r = f32_nan2(fa, fb, f32_min(fa, fb)); break;
	case H2_MAX_NAN: r = f32_nan2(fa, fb, f32_max(fa, fb)); break;
	case H2_FMA: r = fma_odd(fa, fb, fc); break;
	case H2_NEG: return a ^ 0x8000u;
	case H2_ABS: return a & 0x7fffu;
	case H2_EX2: r = exp2f(fa); break;
	default: r = tanhf(fa); break;
	}
	if (x & 32)
		r = r > 0 ? (r < 1 ? r : 1.0f) : 0.0f;
	if (x & 64)
		r = f32_relu(r);
	uint32_t h = bf ? f2b(r) : f2h(r);
	return (x & 16) && !bf && !(h & 0x7c00) ? h & 0x8000 : h;
}
static uint64_t pair(const uint64_t *v, uint32_t x, uint32_t op)
{
	uint32_t lo = half_op(v[0] & 0xffff, v[1] & 0xffff, v[2] & 0xffff, x, op);
	uint32_t hi = half_op((uint32_t)v[0] >> 16, (uint32_t)v[1] >> 16, (uint32_t)v[2] >> 16, x, op);
	return lo | hi << 16;
}
FN(half2) { return pair(v, x, x & 7); }
FN(half1) { return half_op((uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2], x, x & 7); }
FN(half2_un) { return pair(v, x & 0xf8, H2_NEG + (x >> 8)); }

/* f32 to f16 or bf16 in a chosen direction.  x: 0 rn, 1 rz, 2 rm, 3 rp; 8 bf16; 64 relu; 128 satfinite */
static uint32_t narrow(float f, uint32_t x)
{
	if (x & 64)
		f = f32_relu(f);
	bool bf = x & 8;
	uint32_t h = bf ? f2b(f) : f2h(f), inf = bf ? 0x7f80u : 0x7c00u;
	if (f == f && (x & 3)) {
		/* Step back where rounding to nearest went the wrong way. */
		float g = bf ? b2f(h) : h2f(h);
		bool neg = f32_bits(f) >> 31;
		bool up = (x & 3) == 3 || ((x & 3) == 1 && neg);      /* toward +inf */
		if (up ? g < f : g > f)
			h = up ? (h == 0x8000u ? 1u : neg ? h - 1 : h + 1) : (h == 0 ? 0x8001u : neg ? h + 1 : h - 1);
		if (neg && up && (h & 0x7fff) == 0)
			h = 0x8000u;
	}
	if ((x & 128) && (h & 0x7fff) == inf && f == f)
		h = (h & 0x8000u) | (inf - 1);
	return h;
}
FN(cvt_half) { return narrow(bits_f32((uint32_t)v[0]), x); }
/* cvt.x2: a is the upper half */
FN(cvt_half2) { return narrow(bits_f32((uint32_t)v[1]), x) | narrow(bits_f32((uint32_t)v[0]), x) << 16; }

/* cvt.rna.tf32.f32 (x: 0), rn (1), rz (2) */
FN(cvt_tf32)
{
	uint32_t u = (uint32_t)v[0];
	if ((u & 0x7fffffffu) > 0x7f800000u)
		return NAN_F32;
	if ((u & 0x7f800000u) == 0x7f800000u)
		return u;
	if (x == 0)
		u += 0x1000u;
	else if (x == 1)
		u += 0xfffu + (u >> 13 & 1);
	return u & ~0x1fffu;
}

/* --- 8-bit floats: e4m3 has no infinity, 0x7f is its NaN; e5m2 is f16's upper byte ----------------- */

static uint32_t f_to_fp8(float f, bool e5, bool relu)
{
	if (relu)
		f = f32_relu(f);
	uint32_t s = f32_bits(f) >> 24 & 0x80;
	if (f != f)
		return e5 ? 0x7f : 0x7f;
	double a = f < 0 ? -(double)f : f, max = e5 ? 57344.0 : 448.0;
	if (a >= max)
		return s | (e5 ? 0x7b : 0x7e);
	int man = e5 ? 2 : 3, bias = e5 ? 15 : 7, e;
	if (a == 0)
		return s;
	frexp(a, &e);
	e -= 1;
	e = e < 1 - bias ? 1 - bias : e;
	double q = nearbyint(ldexp(a, man - e));               /* ties to even */
	uint32_t r = (uint32_t)q + ((uint32_t)(e + bias - 1) << man);
	r = r > (e5 ? 0x7bu : 0x7eu) ? (e5 ? 0x7bu : 0x7eu) : r;
	return s | r;
}
static float fp8_to_f(uint32_t b, bool e5)
{
	if (e5)
		return h2f(b << 8);
	uint32_t e = b >> 3 & 15, m = b & 7;
	float r = (b & 0x7f) == 0x7f ? bits_f32(NAN_F32) : e ? ldexpf((float)(8 + m), (int)e - 10)
		: ldexpf((float)m, -9);
	return b & 0x80 ? -r : r;
}
/* x: 1 e5m2, 2 relu.  a is the upper one. */
FN(cvt_fp8x2)
{
	return f_to_fp8(bits_f32((uint32_t)v[1]), x & 1, x & 2) | f_to_fp8(bits_f32((uint32_t)v[0]), x & 1, x & 2) << 8;
}
FN(cvt_fp8x2_h2)
{
	return f_to_fp8(h2f(v[0] & 0xffff), x & 1, x & 2) | f_to_fp8(h2f((uint32_t)v[0] >> 16), x & 1, x & 2) << 8;
}
FN(cvt_h2_fp8x2)
{
	float lo = fp8_to_f(v[0] & 0xff, x & 1), hi = fp8_to_f(v[0] >> 8 & 0xff, x & 1);
	if (x & 2) {
		lo = f32_relu(lo);
		hi = f32_relu(hi);
	}
	return f2h(lo) | f2h(hi) << 16;
}

/* cvt.pack.sat: a and b become the upper and lower elements; c's bits move up for 8-bit ones.  x: width, 64 signed */
FN(cvt_pack)
{
	unsigned width = x & 31;
	int64_t max = (x & 64) ? (1ll << (width - 1)) - 1 : (1ll << width) - 1, min = (x & 64) ? -max - 1 : 0;
	uint32_t mask = (1u << width) - 1;
	uint32_t a = (uint32_t)clamp64((int32_t)v[0], min, max) & mask, b = (uint32_t)clamp64((int32_t)v[1], min,
		max) & mask;
	return (uint32_t)(width == 16 ? 0 : v[2] << (2 * width)) | a << width | b;
}

/* Signed or unsigned 64-bit integers to f16 and bf16: round once.  x: 1 signed, 8 bf16 */
FN(cvt_int_half)
{
	bool neg = (x & 1) && (int64_t)v[0] < 0;
	uint64_t u = neg ? 0 - v[0] : v[0];
	int shift = u ? 63 - __builtin_clzll(u) - 30 : 0;
	uint32_t keep = shift > 0 ? (uint32_t)(u >> shift) | ((u & ((1ull << shift) - 1)) != 0) : (uint32_t)u;
	float f = round_odd(ldexp((double)keep, shift > 0 ? shift : 0));
	return narrow(neg ? -f : f, x & 8);
}

#define ROW(n) { #n, s_##n },
static const struct { const char *name; scalar_fn fn; } table[] = {
	ROW(bfe_u32) ROW(bfe_s32) ROW(bfe_u64) ROW(bfe_s64) ROW(bfi_b32) ROW(bfi_b64) ROW(bfind_u32) ROW(bfind_s32)
	ROW(bfind_u64) ROW(bfind_s64) ROW(brev_b32) ROW(brev_b64) ROW(clz_b32) ROW(clz_b64) ROW(popc_b32) ROW(popc_b64)
	ROW(fns_b32) ROW(prmt_b32) ROW(shf_b32) ROW(lop3_b32) ROW(szext_32) ROW(bmsk_b32) ROW(sad_u16) ROW(sad_s16)
	ROW(sad_u32) ROW(sad_s32) ROW(sad_u64) ROW(sad_s64) ROW(dp4a_32) ROW(dp2a_32) ROW(packed) ROW(testp_f32)
	ROW(testp_f64) ROW(half1) ROW(half2) ROW(half2_un) ROW(cvt_half) ROW(cvt_half2) ROW(cvt_tf32) ROW(cvt_fp8x2)
	ROW(cvt_fp8x2_h2) ROW(cvt_h2_fp8x2) ROW(cvt_pack) ROW(cvt_int_half)
};

scalar_fn exec_scalar_find(const char *name)
{
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(table[i].name, name))
			return table[i].fn;
	return NULL;
}
