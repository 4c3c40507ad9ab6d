/* exec_math.h - number formats and the integer and float primitives that handlers share; header only, no state.
 * f16 and bf16 values are computed in f32 or f64 and rounded once: the wider format has at least 2p+2 bits, so that
 * the double rounding is innocuous for add, sub, mul, div and sqrt; fma goes through round-to-odd instead. */
#ifndef AG_SOFTGPU_EXEC_MATH_H
#define AG_SOFTGPU_EXEC_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define NAN_F32 0x7fffffffu

static inline uint32_t f32_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float bits_f32(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint64_t f64_bits(double f) { uint64_t u; memcpy(&u, &f, 8); return u; }
static inline double bits_f64(uint64_t u) { double f; memcpy(&f, &u, 8); return f; }

static inline float f32_canon(float f) { return f != f ? bits_f32(NAN_F32) : f; }
static inline uint32_t f32_ftz(uint32_t u) { return (u & 0x7f800000u) ? u : (u & 0x80000000u); }

/* --- f16, bf16 -------------------------------------------------------------------------------- */

static inline float h2f(uint32_t h)
{
	uint32_t o = (h & 0x7fffu) << 13, s = (h & 0x8000u) << 16;
	/* Exact: a power of two.  Integer steps for subnormals keep this independent of MXCSR.DAZ. */
	uint32_t norm = o + (112u << 23);
	float sub = (float)(int32_t)(h & 0x3ffu) * 0x1p-24f;
	uint32_t r = (h & 0x7c00u) ? norm : f32_bits(sub);
	r = (h & 0x7c00u) == 0x7c00u ? (o | 0x7f800000u) : r;
	return bits_f32(r | s);
}

static inline uint32_t f2h(float f)
{
	uint32_t x = f32_bits(f), s = (x >> 16) & 0x8000u;
	x &= 0x7fffffffu;
	uint32_t norm = (x + 0xfffu + ((x >> 13) & 1u) - (112u << 23)) >> 13;
	uint32_t sub = f32_bits(bits_f32(x) + 0.5f) - 0x3f000000u;  /* the ulp of 0.5 is f16's smallest subnormal */
	uint32_t r = x < 0x38800000u ? sub : norm;
	r = x >= 0x477ff000u ? 0x7c00u : r;
	return x > 0x7f800000u ? 0x7fffu : (r | s);
}

static inline float b2f(uint32_t b) { return bits_f32(b << 16); }

static inline uint32_t f2b(float f)
{
	uint32_t x = f32_bits(f);
	uint32_t r = (x + 0x7fffu + ((x >> 16) & 1u)) >> 16;
	return (x & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : r;
}

/* A double rounded to float so that a later rounding to a narrower format is right: toward odd. */
static inline float round_odd(double d)
{
	float f = (float)d;
	uint32_t u = f32_bits(f);
	if (!((double)f == d) && d == d && !(u & 1u)) {
		if ((u & 0x7fffffffu) == 0x7f800000u)
			return bits_f32(u - 1);
		double away = d < 0 ? -d : d, mag = f < 0 ? -(double)f : (double)f;
		u = mag < away ? u + 1 : u - 1;
	}
	return bits_f32(u);
}

/* a*b+c with a*b exact in double, rounded to odd in double and then in float. */
static inline float fma_odd(float a, float b, float c)
{
	double p = (double)a * b, s = p + c;
	double bb = s - p, err = (p - (s - bb)) + ((double)c - bb);
	uint64_t u = f64_bits(s);
	if (err != 0 && err == err && !(u & 1) && s - s == 0)
		s = bits_f64((err > 0) == (s > 0) ? u + 1 : u - 1);
	return round_odd(s);
}

static inline uint32_t h_fma(uint32_t a, uint32_t b, uint32_t c) { return f2h(fma_odd(h2f(a), h2f(b), h2f(c))); }
static inline uint32_t b_fma(uint32_t a, uint32_t b, uint32_t c) { return f2b(fma_odd(b2f(a), b2f(b), b2f(c))); }
static inline float f32_relu(float f) { return f > 0 ? f : f == f ? 0.0f : f; }

/* --- minimum and maximum: a NaN loses against a number, -0 is less than +0 ---------------------- */

static inline float f32_min(float a, float b)
{
	uint32_t ua = f32_bits(a), ub = f32_bits(b);
	uint32_t r = a < b ? ua : b < a ? ub : a == b ? (ua | ub) : a != a ? ub : ua;
	return f32_canon(bits_f32(r));
}

static inline float f32_max(float a, float b)
{
	uint32_t ua = f32_bits(a), ub = f32_bits(b);
	uint32_t r = a > b ? ua : b > a ? ub : a == b ? (ua & ub) : a != a ? ub : ua;
	return f32_canon(bits_f32(r));
}

static inline float f32_nan2(float a, float b, float r) { return a != a || b != b ? bits_f32(NAN_F32) : r; }
static inline float f32_abs(float a) { return bits_f32(f32_bits(a) & 0x7fffffffu); }
static inline float f32_xorsign(float a, float b, float r)
{
	uint32_t s = (f32_bits(a) ^ f32_bits(b)) & 0x80000000u;
	return r != r ? r : bits_f32((f32_bits(r) & 0x7fffffffu) | s);
}

static inline double f64_min(double a, double b)
{
	uint64_t ua = f64_bits(a), ub = f64_bits(b);
	return bits_f64(a < b ? ua : b < a ? ub : a == b ? (ua | ub) : a != a ? ub : ua);
}

static inline double f64_max(double a, double b)
{
	uint64_t ua = f64_bits(a), ub = f64_bits(b);
	return bits_f64(a > b ? ua : b > a ? ub : a == b ? (ua & ub) : a != a ? ub : ua);
}

/* --- float to integer: saturating, NaN as the ISA says ------------------------------------------ */

static inline uint32_t f32_s32(float a)
{
	return a >= 0x1p31f ? 0x7fffffffu : a < -0x1p31f ? 0x80000000u : a != a ? 0u : (uint32_t)(int32_t)a;
}

static inline uint32_t f32_u32(float a)
{
	return a >= 0x1p32f ? 0xffffffffu : a > -1.0f && a < 0x1p32f ? (uint32_t)(int64_t)a : 0u;
}

static inline uint64_t f64_s64(double a)
{
	if (a != a)
		return 1ull << 63;
	return a >= 0x1p63 ? ~0ull >> 1 : a < -0x1p63 ? 1ull << 63 : (uint64_t)(int64_t)a;
}

static inline uint64_t f64_u64(double a)
{
	if (a != a)
		return 1ull << 63;
	return a >= 0x1p64 ? ~0ull : a <= 0 ? 0 : (uint64_t)a;
}

static inline uint32_t f64_s32(double a)
{
	if (a != a)
		return 0x80000000u;
	return a >= 0x1p31 ? 0x7fffffffu : a <= -0x1p31 ? 0x80000000u : (uint32_t)(int32_t)a;
}

static inline uint32_t f64_u32(double a)
{
	if (a != a)
		return 0x80000000u;
	return a >= 0x1p32 ? 0xffffffffu : a <= 0 ? 0u : (uint32_t)(int64_t)a;
}

/* --- integers ----------------------------------------------------------------------------------- */

static inline uint32_t udiv32(uint32_t a, uint32_t b) { return b ? a / b : ~0u; }
static inline uint32_t urem32(uint32_t a, uint32_t b) { return b ? a % b : ~0u; }
static inline uint64_t udiv64(uint64_t a, uint64_t b) { return b ? a / b : ~0ull; }
static inline uint64_t urem64(uint64_t a, uint64_t b) { return b ? a % b : ~0ull; }
static inline uint32_t sdiv32(int32_t a, int32_t b)
{
	return !b ? ~0u : b == -1 ? 0u - (uint32_t)a : (uint32_t)(a / b);
}
static inline uint32_t srem32(int32_t a, int32_t b) { return !b ? ~0u : b == -1 ? 0u : (uint32_t)(a % b); }
static inline uint64_t sdiv64(int64_t a, int64_t b)
{
	return !b ? ~0ull : b == -1 ? 0ull - (uint64_t)a : (uint64_t)(a / b);
}
static inline uint64_t srem64(int64_t a, int64_t b) { return !b ? ~0ull : b == -1 ? 0ull : (uint64_t)(a % b); }

static inline uint64_t umulhi64(uint64_t a, uint64_t b) { return (uint64_t)(((unsigned __int128)a * b) >> 64); }
static inline uint64_t smulhi64(int64_t a, int64_t b) { return (uint64_t)(((__int128)a * b) >> 64); }
static inline int64_t clamp64(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }
static inline uint32_t sext(uint32_t v, unsigned bits) { return (uint32_t)((int32_t)(v << (32 - bits)) >> (32
	- bits)); }

#endif
