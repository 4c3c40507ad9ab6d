/* exec_decode_float.c - decode of floating point arithmetic: f32, f64, f16, bf16 and their pairs. */
#include <string.h>
#include "exec_decode.h"

#define OP(d) ((d)->i->op)

static uint32_t csr_of(struct dec *d, bool ftz)
{
	uint32_t c = MXCSR_RN;
	c |= has(d, PTX_MOD_rz) ? MXCSR_RZ : has(d, PTX_MOD_rm) ? MXCSR_RM : has(d, PTX_MOD_rp) ? MXCSR_RP : 0;
	return c | (ftz && has(d, PTX_MOD_ftz) ? MXCSR_FTZ : 0);
}

/* .sat and .relu after the op, .ftz of an op that only moves bits. */
static void after(struct dec *d, uint32_t r, const char *t, bool flush)
{
	if (flush && has(d, PTX_MOD_ftz))
		emit_simd(d, r, r, 0, 0, "ftz_%s", t);
	if (has(d, PTX_MOD_sat))
		emit_simd(d, r, r, 0, 0, "sat_%s", t);
	if (has(d, PTX_MOD_relu))
		emit_simd(d, r, r, 0, 0, "relu_%s", t);
}

/* d = name_T(operands) in the rounding mode of the suffixes. */
static void arith(struct dec *d, const char *name, unsigned n)
{
	enum ptx_type t = d->i->type;
	uint32_t r[3] = { 0 }, to;
	const char *tn = float_name(t);
	bool half = t == PTX_T_F16 || t == PTX_T_BF16;
	for (unsigned k = 0; k < n; k++) {
		r[k] = src_f(d, opnd(d, k + 1), t);
		if (half && has(d, PTX_MOD_ftz)) {
			uint32_t q = temp(d, 4);
			emit_simd(d, q, r[k], 0, 0, "ftz_%s", tn);
			r[k] = q;
		}
	}
	to = dst(d, opnd(d, 0), lane_width(t), false);
	struct op *o = emit_simd(d, to, r[0], r[1], r[2], "%s_%s", name, tn);
	if (!half)
		add_csr(o, csr_of(d, t == PTX_T_F32));
	after(d, to, tn, half);
}

/* Bits move, nothing is rounded: abs, neg, min, max, copysign. */
static void bitwise(struct dec *d, const char *name, unsigned n)
{
	enum ptx_type t = d->i->type;
	uint32_t r[2] = { 0 }, to;
	for (unsigned k = 0; k < n; k++)
		r[k] = src_f(d, opnd(d, k + 1), t);
	to = dst(d, opnd(d, 0), lane_width(t), false);
	emit_simd(d, to, r[0], r[1], 0, "%s_%s", name, float_name(t));
	after(d, to, float_name(t), t != PTX_T_F64);
}

/* Approximations: computed to nearest, subnormals flushed when .ftz says so. */
static void approx(struct dec *d, const char *name)
{
	enum ptx_type t = d->i->type;
	uint32_t a = src_f(d, opnd(d, 1), t), to = dst(d, opnd(d, 0), lane_width(t), false);
	const char *tn = float_name(t);
	if (has(d, PTX_MOD_ftz)) {
		uint32_t q = temp(d, lane_width(t));
		emit_simd(d, q, a, 0, 0, "ftz_%s", tn);
		a = q;
	}
	emit_simd(d, to, a, 0, 0, "%s_%s", name, tn);
	after(d, to, tn, true);
}

/* Pairs of f16 or bf16. */
static void pairs(struct dec *d, uint32_t op, unsigned n)
{
	static const unsigned ws[3] = { 4, 4, 4 };
	uint32_t r[3], x = op;
	for (unsigned k = 0; k < n; k++)
		r[k] = src(d, opnd(d, k + 1), 4);
	x |= (d->i->type == PTX_T_BF16X2 ? 8 : 0) | (has(d, PTX_MOD_ftz) ? 16 : 0) | (has(d, PTX_MOD_sat) ? 32 : 0)
		| (has(d, PTX_MOD_relu) ? 64 : 0);
	emit_scalar(d, op > 7 ? "half2_un" : "half2", op > 7 ? (x & 0xff) | (op - 256) << 8 : x,
		dst(d, opnd(d, 0), 4, false), 4, n, r, ws);
}

enum { H2_ADD, H2_SUB, H2_MUL, H2_MIN, H2_MAX, H2_MIN_NAN, H2_MAX_NAN, H2_FMA, H2_NEG = 256, H2_ABS, H2_EX2, H2_TANH };

static bool decode_pairs(struct dec *d)
{
	bool nan = has(d, PTX_MOD_NaN);
	if (has(d, PTX_MOD_xorsign) || has(d, PTX_MOD_oob))
		return false;
	switch (OP(d)) {
	case PTX_OP_add: pairs(d, H2_ADD, 2); return true;
	case PTX_OP_sub: pairs(d, H2_SUB, 2); return true;
	case PTX_OP_mul: pairs(d, H2_MUL, 2); return true;
	case PTX_OP_fma: pairs(d, H2_FMA, 3); return true;
	case PTX_OP_min: pairs(d, nan ? H2_MIN_NAN : H2_MIN, 2); return true;
	case PTX_OP_max: pairs(d, nan ? H2_MAX_NAN : H2_MAX, 2); return true;
	case PTX_OP_neg: pairs(d, H2_NEG, 1); return true;
	case PTX_OP_abs: pairs(d, H2_ABS, 1); return true;
	case PTX_OP_ex2: pairs(d, H2_EX2, 1); return true;
	case PTX_OP_tanh: pairs(d, H2_TANH, 1); return true;
	default: return false;
	}
}

static void min_max(struct dec *d)
{
	static const char *const names[2][4] = {
		{ "min", "min_nan", "min_xs", "min_nan_xs" }, { "max", "max_nan", "max_xs", "max_nan_xs" } };
	unsigned k = (has(d, PTX_MOD_NaN) ? 1 : 0) | (has(d, PTX_MOD_xorsign) ? 2 : 0);
	const char *name = names[OP(d) == PTX_OP_max][k];
	enum ptx_type t = d->i->type;
	if (d->i->nops < 4) {
		bitwise(d, name, 2);
		return;
	}
	uint32_t a = src_f(d, opnd(d, 1), t), b = src_f(d, opnd(d, 2), t), c = src_f(d, opnd(d, 3), t),
		q = temp(d, lane_width(t));
	uint32_t to = dst(d, opnd(d, 0), lane_width(t), false);
	emit_simd(d, q, a, b, 0, "%s_%s", name, float_name(t));
	emit_simd(d, to, q, c, 0, "%s_%s", name, float_name(t));
	after(d, to, float_name(t), true);
}

static void testp(struct dec *d)
{
	static const uint16_t kinds[] = { PTX_MOD_finite, PTX_MOD_infinite, PTX_MOD_number, PTX_MOD_notanumber,
		PTX_MOD_normal, PTX_MOD_subnormal };
	enum ptx_type t = d->i->type;
	unsigned w = lane_width(t);
	uint32_t x = 0, a = src_f(d, opnd(d, 1), t), q = temp(d, 4), p = pred_dst(d, opnd(d, 0));
	while (x < 5 && !has(d, kinds[x]))
		x++;
	emit_scalar(d, w == 8 ? "testp_f64" : "testp_f32", x, q, 4, 1, &a, &w);
	emit_simd(d, p, q, constant(d, 0, 4), 0, "ne_u32");
}

static void div_op(struct dec *d)
{
	bool rounded = has(d, PTX_MOD_rn) || has(d, PTX_MOD_rz) || has(d, PTX_MOD_rm) || has(d, PTX_MOD_rp);
	arith(d, !rounded && has(d, PTX_MOD_approx) ? "div_approx" : "div", 2);
}

static void rcp_op(struct dec *d)
{
	if (d->i->type == PTX_T_F64 && has(d, PTX_MOD_approx))
		approx(d, "rcp_approx");
	else
		arith(d, "rcp", 1);
}

bool decode_float(struct dec *d)
{
	enum ptx_type t = d->i->type;
	if (t == PTX_T_F16X2 || t == PTX_T_BF16X2)
		return decode_pairs(d);
	if (OP(d) != PTX_OP_testp && !(t == PTX_T_F32 || t == PTX_T_F64 || t == PTX_T_F16 || t == PTX_T_BF16))
		return false;
	if (has(d, PTX_MOD_rs) || has(d, PTX_MOD_oob))
		return false;
	switch (OP(d)) {
	case PTX_OP_add: arith(d, "add", 2); return true;
	case PTX_OP_sub: arith(d, "sub", 2); return true;
	case PTX_OP_mul: arith(d, "mul", 2); return true;
	case PTX_OP_mad: case PTX_OP_fma: arith(d, "fma", 3); return true;
	case PTX_OP_div: div_op(d); return true;
	case PTX_OP_rcp: rcp_op(d); return true;
	case PTX_OP_sqrt: arith(d, "sqrt", 1); return true;
	case PTX_OP_rsqrt: approx(d, t == PTX_T_F64 && has(d, PTX_MOD_ftz) ? "rsqrt_approx" : "rsqrt"); return true;
	case PTX_OP_sin: case PTX_OP_cos: case PTX_OP_lg2: case PTX_OP_ex2: case PTX_OP_tanh:
		approx(d, ptx_op_name(OP(d)));
		return true;
	case PTX_OP_neg: bitwise(d, "neg", 1); return true;
	case PTX_OP_abs: bitwise(d, "abs", 1); return true;
	case PTX_OP_min: case PTX_OP_max: min_max(d); return true;
	case PTX_OP_copysign: bitwise(d, "copysign", 2); return true;
	case PTX_OP_testp: testp(d); return true;
	default: return false;
	}
}
