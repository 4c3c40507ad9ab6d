/* exec_decode_cvt.c - decode of cvt: every conversion is a chain of small steps through 32- and 64-bit lanes. */
#include "exec_decode.h"

struct val { uint32_t ref; unsigned width; bool is_signed; };

static uint32_t step(struct dec *d, unsigned width, uint32_t from, const char *name)
{
	uint32_t t = temp(d, width);
	emit_simd(d, t, from, 0, 0, "%s", name);
	return t;
}

static uint32_t csr_of(struct dec *d)
{
	return MXCSR_RN | (has(d, PTX_MOD_rz) ? MXCSR_RZ : has(d, PTX_MOD_rm) ? MXCSR_RM : has(d, PTX_MOD_rp)
		? MXCSR_RP : 0);
}

/* Integer operand of type t extended to a 4- or 8-byte lane. */
static struct val int_src(struct dec *d, enum ptx_type t)
{
	struct val v = { .width = lane_width(t), .is_signed = type_signed(t) };
	v.ref = src(d, opnd(d, 1), v.width);
	if (type_bytes(t) < 4) {
		uint32_t q = temp(d, 4);
		emit_simd(d, q, v.ref, 0, 0, "ext_%s_32", int_name(t));
		v.ref = q;
	}
	return v;
}

/* Writes v as integer type t. */
static void int_dst(struct dec *d, enum ptx_type t, struct val v)
{
	unsigned bytes = type_bytes(t), w = lane_width(t);
	uint32_t to = dst(d, opnd(d, 0), w, type_signed(t));
	if (w == 8) {
		emit_simd(d, to, v.ref, 0, 0, v.width == 8 ? "mov_64" : v.is_signed ? "ext_s32_64" : "ext_u32_64");
		return;
	}
	if (v.width == 8)
		v.ref = step(d, 4, v.ref, "trunc_64");
	if (bytes == 4)
		emit_simd(d, to, v.ref, 0, 0, "mov_32");
	else
		emit_simd(d, to, v.ref, 0, 0, "ext_%s_32", int_name(t));
}

/* Clamps v to the range of t. */
static struct val clamp(struct dec *d, enum ptx_type t, struct val v)
{
	bool ds = type_signed(t);
	uint32_t q;
	if (v.width == 8 && type_bytes(t) == 8) {
		if (v.is_signed == ds)
			return v;
		q = step(d, 8, v.ref, ds ? "sat_s64_u64" : "sat_u64_s64");
		return (struct val){ q, 8, ds };
	}
	if (v.width == 8) {
		q = temp(d, 4);
		emit_simd(d, q, v.ref, 0, 0, "sat_%s_%s", ds ? "s32" : "u32", v.is_signed ? "s64" : "u64");
		v = (struct val){ q, 4, ds };
	}
	if (type_bytes(t) == 8) {
		if (v.is_signed && !ds)
			v = (struct val){ step(d, 4, v.ref, "sat_u32_s32"), 4, false };
		return v;
	}
	if (type_bytes(t) == 4 && v.is_signed == ds)
		return v;
	q = temp(d, 4);
	emit_simd(d, q, v.ref, 0, 0, "sat_%s_%s", int_name(t), v.is_signed ? "s32" : "u32");
	return (struct val){ q, 4, ds };
}

static void int_to_float(struct dec *d, enum ptx_type dt, enum ptx_type st)
{
	struct val v = int_src(d, st);
	uint32_t to = dst(d, opnd(d, 0), lane_width(dt), false);
	if (dt == PTX_T_F16 || dt == PTX_T_BF16) {
		unsigned w = 8;
		if (v.width == 4)
			v.ref = step(d, 8, v.ref, v.is_signed ? "ext_s32_64" : "ext_u32_64");
		if (csr_of(d) != MXCSR_RN)
			fail(d, "this rounding");
		emit_scalar(d, "cvt_int_half", (v.is_signed ? 1 : 0) | (dt == PTX_T_BF16 ? 8 : 0), to, 4, 1, &v.ref,
			&w);
	} else {
		struct op *o = emit_simd(d, to, v.ref, 0, 0, "%c%u_%s", v.is_signed ? 's' : 'u', v.width * 8,
			float_name(dt));
		add_csr(o, csr_of(d));
	}
	if (has(d, PTX_MOD_sat))
		emit_simd(d, to, to, 0, 0, "sat_%s", float_name(dt));
}

static const char *integer_rounding(struct dec *d)
{
	return has(d, PTX_MOD_rni) ? "rni" : has(d, PTX_MOD_rzi) ? "rzi" : has(d, PTX_MOD_rmi) ? "rmi"
		: has(d, PTX_MOD_rpi) ? "rpi" : NULL;
}

/* Float operand as f32 or f64 lanes (f16 and bf16 become f32). */
static uint32_t float_src(struct dec *d, enum ptx_type st, enum ptx_type *as)
{
	uint32_t a = src_f(d, opnd(d, 1), st);
	*as = st == PTX_T_F64 ? PTX_T_F64 : PTX_T_F32;
	if (st == PTX_T_F16 || st == PTX_T_BF16)
		return step(d, 4, a, st == PTX_T_F16 ? "h_f32" : "q_f32");
	if (st == PTX_T_F32 && has(d, PTX_MOD_ftz))
		return step(d, 4, a, "ftz_f32");
	return a;
}

static void float_to_int(struct dec *d, enum ptx_type dt, enum ptx_type st)
{
	enum ptx_type t;
	uint32_t a = float_src(d, st, &t);
	const char *r = integer_rounding(d);
	bool s = type_signed(dt);
	if (!r) {
		fail(d, "a conversion without rounding");
		return;
	}
	if (!has(d, PTX_MOD_rzi)) {
		uint32_t q = temp(d, lane_width(t));
		emit_simd(d, q, a, 0, 0, "%s_%s", r, float_name(t));
		a = q;
	}
	struct val v = { .is_signed = s };
	if (type_bytes(dt) == 8) {
		if (t == PTX_T_F32)
			a = step(d, 8, a, "f32_f64");
		v.width = 8;
		v.ref = step(d, 8, a, s ? "f64_to_s64" : "f64_to_u64");
	} else {
		v.width = 4;
		v.ref = temp(d, 4);
		emit_simd(d, v.ref, a, 0, 0, "%s_to_%s", float_name(t), s ? "s32" : "u32");
		if (type_bytes(dt) < 4)
			v = clamp(d, dt, v);
	}
	int_dst(d, dt, v);
}

/* f32 lane `a` narrowed to f16 or bf16. */
static void narrow(struct dec *d, enum ptx_type dt, uint32_t to, uint32_t a)
{
	uint32_t dir = has(d, PTX_MOD_rz) ? 1 : has(d, PTX_MOD_rm) ? 2 : has(d, PTX_MOD_rp) ? 3 : 0;
	if (!dir && !has(d, PTX_MOD_relu) && !has(d, PTX_MOD_satfinite)) {
		emit_simd(d, to, a, 0, 0, dt == PTX_T_F16 ? "f32_h" : "f32_q");
	} else {
		unsigned w = 4;
		dir |= (dt == PTX_T_BF16 ? 8 : 0) | (has(d, PTX_MOD_relu) ? 64 : 0)
			| (has(d, PTX_MOD_satfinite) ? 128 : 0);
		emit_scalar(d, "cvt_half", dir, to, 4, 1, &a, &w);
	}
}

static void float_to_float(struct dec *d, enum ptx_type dt, enum ptx_type st)
{
	enum ptx_type t;
	uint32_t a = float_src(d, st, &t), to = dst(d, opnd(d, 0), lane_width(dt), false);
	const char *r = integer_rounding(d);
	if (r) {
		uint32_t q = temp(d, lane_width(t));
		emit_simd(d, q, a, 0, 0, "%s_%s", r, float_name(t));
		a = q;
	}
	if (dt == PTX_T_F64) {
		emit_simd(d, to, a, 0, 0, t == PTX_T_F64 ? "mov_64" : "f32_f64");
	} else if (dt == PTX_T_F32) {
		if (t == PTX_T_F64)
			add_csr(emit_simd(d, to, a, 0, 0, "f64_f32"), csr_of(d)
				| (has(d, PTX_MOD_ftz) ? MXCSR_FTZ : 0));
		else
			emit_simd(d, to, a, 0, 0, st == PTX_T_F32 ? "canon_f32" : "mov_32");
		if (has(d, PTX_MOD_relu))
			emit_simd(d, to, to, 0, 0, "relu_f32");
	} else if (t == PTX_T_F64) {
		if (csr_of(d) != MXCSR_RN)
			fail(d, "this rounding");
		emit_simd(d, to, a, 0, 0, dt == PTX_T_F16 ? "f64_h" : "f64_q");
	} else {
		narrow(d, dt, to, a);
	}
	if (has(d, PTX_MOD_sat))
		emit_simd(d, to, to, 0, 0, "sat_%s", float_name(dt));
}

static bool is_fp8x2(enum ptx_type t)
{
	return t == PTX_T_E4M3X2 || t == PTX_T_E5M2X2;
}

/* Conversions of pairs: two f32 to f16x2, bf16x2 or 8-bit floats; 8-bit floats to and from f16x2. */
static bool pairs(struct dec *d, enum ptx_type dt, enum ptx_type st)
{
	static const unsigned ws[2] = { 4, 4 };
	uint32_t r[2], dir = has(d, PTX_MOD_rz) ? 1 : 0, relu = has(d, PTX_MOD_relu);
	if ((dt == PTX_T_F16X2 || dt == PTX_T_BF16X2) && st == PTX_T_F32) {
		r[0] = src_f(d, opnd(d, 1), st);
		r[1] = src_f(d, opnd(d, 2), st);
		emit_scalar(d, "cvt_half2", dir | (dt == PTX_T_BF16X2 ? 8 : 0) | (relu ? 64 : 0)
			| (has(d, PTX_MOD_satfinite) ? 128 : 0), dst(d, opnd(d, 0), 4, false), 4, 2, r, ws);
	} else if (is_fp8x2(dt) && st == PTX_T_F32) {
		r[0] = src_f(d, opnd(d, 1), st);
		r[1] = src_f(d, opnd(d, 2), st);
		emit_scalar(d, "cvt_fp8x2", (dt == PTX_T_E5M2X2) | relu << 1, dst(d, opnd(d, 0), 4, false), 4, 2, r,
			ws);
	} else if (is_fp8x2(dt) && st == PTX_T_F16X2) {
		r[0] = src(d, opnd(d, 1), 4);
		emit_scalar(d, "cvt_fp8x2_h2", (dt == PTX_T_E5M2X2) | relu << 1, dst(d, opnd(d, 0), 4, false), 4, 1,
			r, ws);
	} else if (dt == PTX_T_F16X2 && is_fp8x2(st)) {
		r[0] = src(d, opnd(d, 1), 4);
		emit_scalar(d, "cvt_h2_fp8x2", (st == PTX_T_E5M2X2) | relu << 1, dst(d, opnd(d, 0), 4, false), 4, 1,
			r, ws);
	} else {
		return false;
	}
	return true;
}

/* cvt.pack.sat.u8.s32.b32 d, a, b, c */
static bool pack(struct dec *d)
{
	static const unsigned ws[3] = { 4, 4, 4 };
	enum ptx_type dt = d->i->type0;
	unsigned bytes = type_bytes(dt), n = bytes == 1 ? 3 : 2;
	uint32_t r[3];
	if (bytes != 1 && bytes != 2)
		return false;
	for (unsigned k = 0; k < n; k++)
		r[k] = src(d, opnd(d, k + 1), 4);
	emit_scalar(d, "cvt_pack", bytes * 8 | (type_signed(dt) ? 64 : 0), dst(d, opnd(d, 0), 4, false), 4, n, r, ws);
	return true;
}

static bool plain_int(enum ptx_type t)
{
	return (t >= PTX_T_B8 && t <= PTX_T_B64) || (t >= PTX_T_U8 && t <= PTX_T_S64);
}

static bool plain_float(enum ptx_type t)
{
	return t == PTX_T_F16 || t == PTX_T_BF16 || t == PTX_T_F32 || t == PTX_T_F64;
}

bool decode_cvt(struct dec *d)
{
	enum ptx_type dt = d->i->type0, st = d->i->type;
	unsigned types = 0;
	if (d->i->op != PTX_OP_cvt)
		return false;
	for (unsigned k = 0; k < d->i->nmods; k++)
		types += ptx_mod_type(d->i->mods[k]) != PTX_T_NONE;
	if (has(d, PTX_MOD_pack))
		return pack(d);
	if (types != 2 || has(d, PTX_MOD_rs) || (dt == PTX_T_TF32 && has(d, PTX_MOD_satfinite)))
		return false;
	if (plain_int(dt) && plain_int(st)) {
		struct val v = int_src(d, st);
		int_dst(d, dt, has(d, PTX_MOD_sat) ? clamp(d, dt, v) : v);
	} else if (plain_float(dt) && plain_int(st)) {
		int_to_float(d, dt, st);
	} else if (plain_int(dt) && plain_float(st)) {
		float_to_int(d, dt, st);
	} else if (plain_float(dt) && plain_float(st)) {
		float_to_float(d, dt, st);
	} else if (dt == PTX_T_TF32 && st == PTX_T_F32) {
		uint32_t a = src_f(d, opnd(d, 1), st);
		unsigned w = 4;
		emit_scalar(d, "cvt_tf32", has(d, PTX_MOD_rn) ? 1 : has(d, PTX_MOD_rz) ? 2 : 0,
			dst(d, opnd(d, 0), 4, false), 4, 1, &a, &w);
	} else {
		return pairs(d, dt, st);
	}
	return true;
}
