/* exec_decode_move.c - decode of mov (with packing), comparisons, selection. */
#include "exec_decode.h"

#define OP(d) ((d)->i->op)

/* --- mov ---------------------------------------------------------------------------------------- */

/* Element k of n of a value of `bytes` bytes, into `to` (4- or 8-byte lanes). */
static void extract(struct dec *d, uint32_t to, unsigned tw, uint32_t from, unsigned bytes, unsigned k, unsigned n)
{
	unsigned bits = bytes * 8 / n, ws[3] = { lane_width(bytes == 8 ? PTX_T_B64 : PTX_T_B32), 4, 4 };
	if (bytes == 8 && n == 2) {
		emit_simd(d, to, from, 0, 0, k ? "hi_64" : "trunc_64");
	} else if (bytes == 4 && n == 2) {
		emit_simd(d, to, from, 0, 0, k ? "hi_32" : "ext_u16_32");
	} else {
		uint32_t refs[3] = { from, constant(d, bits * k, 4), constant(d, bits, 4) };
		emit_scalar(d, bytes == 8 ? "bfe_u64" : "bfe_u32", 0, to, tw, 3, refs, ws);
	}
}

/* mov.b64 {a, b}, c */
static void unpack(struct dec *d, unsigned bytes)
{
	const struct ptx_operand *v = opnd(d, 0);
	unsigned n = v->nlist, ew = n && bytes / n <= 4 ? 4 : 8;
	if (bytes == 16) {
		uint32_t s = src(d, opnd(d, 1), 16);
		for (unsigned k = 0; k < n && n == 2; k++) {
			struct op *o = emit(d, op_half128);
			o->a = s;
			o->x = k;
			o->d = dst(d, &v->list[k], 8, false);
		}
		if (n != 2)
			fail(d, "this vector");
		return;
	}
	if (n != 2 && n != 4) {
		fail(d, "this vector");
		return;
	}
	uint32_t s = src(d, opnd(d, 1), bytes <= 4 ? 4 : 8), t = temp(d, bytes <= 4 ? 4 : 8);
	/* An element may be the source register itself: read from a copy. */
	emit_simd(d, t, s, 0, 0, bytes == 8 ? "mov_64" : "mov_32");
	for (unsigned k = 0; k < n; k++)
		if (v->list[k].kind != PTX_O_SINK)
			extract(d, dst(d, &v->list[k], ew, false), ew, t, bytes, k, n);
}

/* mov.b64 c, {a, b} */
static void pack(struct dec *d, unsigned bytes)
{
	const struct ptx_operand *v = opnd(d, 1);
	unsigned n = v->nlist, w = bytes <= 4 ? 4 : 8, ew = n && bytes / n <= 4 ? 4 : 8;
	uint32_t e[4];
	if ((n != 2 && n != 4) || (bytes == 16 && n != 2)) {
		fail(d, "this vector");
		return;
	}
	for (unsigned k = 0; k < n; k++)
		e[k] = src(d, &v->list[k], ew);
	if (bytes == 16) {
		struct op *o = emit(d, op_pack128);
		o->a = e[0];
		o->b = e[1];
		o->d = dst(d, opnd(d, 0), 16, false);
	} else if (n == 2 && bytes != 2) {
		emit_simd(d, dst(d, opnd(d, 0), w, false), e[0], e[1], 0, bytes == 8 ? "pack_64" : "pack_32");
	} else {
		uint32_t acc = constant(d, 0, w);
		unsigned bits = bytes * 8 / n, ws[4] = { w, w, 4, 4 };
		for (unsigned k = 0; k < n; k++) {
			uint32_t t = temp(d, w), x = e[k];
			if (w == 8) {
				x = temp(d, 8);
				emit_simd(d, x, e[k], 0, 0, "ext_u32_64");
			}
			uint32_t refs[4] = { x, acc, constant(d, bits * k, 4), constant(d, bits, 4) };
			emit_scalar(d, w == 8 ? "bfi_b64" : "bfi_b32", 0, t, w, 4, refs, ws);
			acc = t;
		}
		emit_simd(d, dst(d, opnd(d, 0), w, false), acc, 0, 0, w == 8 ? "mov_64" : "mov_32");
	}
}

static void mov(struct dec *d)
{
	enum ptx_type t = d->i->type;
	unsigned bytes = type_bytes(t), w = lane_width(t);
	if (t == PTX_T_PRED) {
		uint32_t n, a = pred_src(d, opnd(d, 1), &n), r = pred_dst(d, opnd(d, 0));
		struct op *o = r ? emit(d, op_pmov) : NULL;
		if (o) {
			o->d = r;
			o->a = a;
			o->z = n;
		}
	} else if (opnd(d, 0)->kind == PTX_O_VEC && opnd(d, 1)->kind != PTX_O_VEC) {
		unpack(d, bytes);
	} else if (opnd(d, 1)->kind == PTX_O_VEC && opnd(d, 0)->kind != PTX_O_VEC) {
		pack(d, bytes);
	} else if (opnd(d, 1)->kind == PTX_O_SREG && operand_width(d, opnd(d, 0))
		== lane_width(ptx_sreg_type(opnd(d, 1)->u.sreg))) {
		struct op *o = emit(d, op_sreg);
		o->d = dst(d, opnd(d, 0), operand_width(d, opnd(d, 0)), false);
		o->x = opnd(d, 1)->u.sreg;
		o->y = operand_width(d, opnd(d, 0)) / 4;
	} else if (w == 16) {
		struct op *o = emit(d, op_mov128);
		o->a = src(d, opnd(d, 1), 16);
		o->d = dst(d, opnd(d, 0), 16, false);
	} else {
		uint32_t a = src_f(d, opnd(d, 1), t == PTX_T_F64 || t == PTX_T_F32 ? t : bytes == 8 ? PTX_T_F64
			: PTX_T_F32);
		emit_simd(d, dst(d, opnd(d, 0), w, type_signed(t)), a, 0, 0, w == 8 ? "mov_64" : "mov_32");
	}
}

/* --- comparison --------------------------------------------------------------------------------- */

static const char *cmp_name(struct dec *d, bool *is_unsigned)
{
	static const struct { uint16_t mod; const char *name; bool u; } rows[] = {
		{ PTX_MOD_eq, "eq", false }, { PTX_MOD_ne, "ne", false }, { PTX_MOD_lt, "lt", false },
			{ PTX_MOD_le, "le", false },
		{ PTX_MOD_gt, "gt", false }, { PTX_MOD_ge, "ge", false }, { PTX_MOD_lo, "lt", true },
		{ PTX_MOD_ls, "le", true },
		{ PTX_MOD_hi, "gt", true }, { PTX_MOD_hs, "ge", true }, { PTX_MOD_equ, "equ", false },
		{ PTX_MOD_neu, "neu", false },
		{ PTX_MOD_ltu, "ltu", false }, { PTX_MOD_leu, "leu", false }, { PTX_MOD_gtu, "gtu", false },
		{ PTX_MOD_geu, "geu", false }, { PTX_MOD_num, "num", false }, { PTX_MOD_nan, "nan", false },
	};
	for (unsigned k = 0; k < sizeof rows / sizeof *rows; k++) {
		if (has(d, rows[k].mod)) {
			*is_unsigned = rows[k].u;
			return rows[k].name;
		}
	}
	fail(d, "this comparison");
	return "eq";
}

/* p (and q) = a cmp b, combined with the predicate operand at index k if a .and/.or/.xor is written. */
static void compare(struct dec *d, enum ptx_type t, uint32_t p, uint32_t q, uint32_t a, uint32_t b, unsigned k)
{
	bool u = false;
	const char *name = cmp_name(d, &u);
	uint32_t comb = has(d, PTX_MOD_and) ? CB_AND : has(d, PTX_MOD_or) ? CB_OR : has(d, PTX_MOD_xor) ? CB_XOR
		: CB_NONE;
	uint32_t neg = 0, c = comb ? pred_src(d, opnd(d, k), &neg) : 0;
	if (t == PTX_T_F16 && has(d, PTX_MOD_ftz)) {
		uint32_t x = temp(d, 4), y = temp(d, 4);
		emit_simd(d, x, a, 0, 0, "ftz_h");
		emit_simd(d, y, b, 0, 0, "ftz_h");
		a = x;
		b = y;
	}
	struct op *o = emit_simd(d, p, a, b, c, "%s_%s", name, type_float(t) ? float_name(t) : u ? uint_name(t)
		: int_name(t));
	o->e = q;
	o->x = comb;
	o->y = neg;
	if (t == PTX_T_F32 && has(d, PTX_MOD_ftz))
		add_csr(o, MXCSR_RN | MXCSR_FTZ);
}

static uint32_t cmp_src(struct dec *d, unsigned k, enum ptx_type t)
{
	return type_float(t) ? src_f(d, opnd(d, k), t) : src(d, opnd(d, k), lane_width(t));
}

/* Both halves of pairs compared: predicates p and q. */
static void compare_pairs(struct dec *d, uint32_t p, uint32_t q, uint32_t a, uint32_t b, unsigned k)
{
	enum ptx_type t = d->i->type == PTX_T_F16X2 ? PTX_T_F16 : PTX_T_BF16;
	for (unsigned h = 0; h < 2; h++) {
		uint32_t x = temp(d, 4), y = temp(d, 4);
		extract(d, x, 4, a, 4, h, 2);
		extract(d, y, 4, b, 4, h, 2);
		if (h ? q : p)
			compare(d, t, h ? q : p, 0, x, y, k);
	}
}

static void setp(struct dec *d)
{
	const struct ptx_operand *o = opnd(d, 0);
	bool pair = o->kind == PTX_O_PAIR;
	enum ptx_type t = d->i->type;
	uint32_t a = cmp_src(d, 1, t), b = cmp_src(d, 2, t);
	uint32_t p = pred_dst(d, pair ? &o->list[0] : o), q = pair ? pred_dst(d, &o->list[1]) : 0;
	if (t == PTX_T_F16X2 || t == PTX_T_BF16X2)
		compare_pairs(d, p, q, a, b, 3);
	else
		compare(d, t, p, q, a, b, 3);
}

static struct op *select_by(struct dec *d, uint32_t to, unsigned w, uint32_t a, uint32_t b, uint32_t p, uint32_t neg)
{
	struct op *o = emit_simd(d, to, a, b, p, w == 8 ? "selp_64" : "selp_32");
	o->y = neg;
	return o;
}

/* set: the comparison as a number, all ones or 1.0. */
static void set(struct dec *d)
{
	enum ptx_type dt = d->i->type0, t = d->i->type;
	uint32_t a = cmp_src(d, 1, t), b = cmp_src(d, 2, t), zero = constant(d, 0, 4), p = ptemp(d);
	if (t == PTX_T_F16X2 || t == PTX_T_BF16X2) {
		uint32_t q = ptemp(d), lo = temp(d, 4), hi = temp(d, 4);
		uint32_t one = dt == PTX_T_F16X2 ? 0x3c00 : dt == PTX_T_BF16X2 ? 0x3f80 : 0xffff;
		compare_pairs(d, p, q, a, b, 3);
		select_by(d, lo, 4, constant(d, one, 4), zero, p, 0);
		select_by(d, hi, 4, constant(d, one, 4), zero, q, 0);
		emit_simd(d, dst(d, opnd(d, 0), 4, false), lo, hi, 0, "pack_32");
		return;
	}
	uint32_t one = dt == PTX_T_F32 ? 0x3f800000u : dt == PTX_T_F16 ? 0x3c00u : dt == PTX_T_BF16 ? 0x3f80u
		: type_bytes(dt) == 2 ? 0xffffu : FULL;
	compare(d, t, p, 0, a, b, 3);
	select_by(d, dst(d, opnd(d, 0), 4, type_signed(dt)), 4, constant(d, one, 4), zero, p, 0);
}

static void selp(struct dec *d)
{
	enum ptx_type t = d->i->type;
	unsigned w = lane_width(t);
	uint32_t a = cmp_src(d, 1, t), b = cmp_src(d, 2, t), neg, p = pred_src(d, opnd(d, 3), &neg);
	select_by(d, dst(d, opnd(d, 0), w, type_signed(t)), w, a, b, p, neg);
}

/* slct: a where c is not negative, else b. */
static void slct(struct dec *d)
{
	enum ptx_type dt = d->i->type0, ct = d->i->type;
	unsigned w = lane_width(dt);
	uint32_t a = cmp_src(d, 1, dt), b = cmp_src(d, 2, dt), c = cmp_src(d, 3, ct), p = ptemp(d);
	struct op *o = emit_simd(d, p, c, constant(d, 0, 4), 0, ct == PTX_T_F32 ? "ge_f32" : "ge_s32");
	if (has(d, PTX_MOD_ftz))
		add_csr(o, MXCSR_RN | MXCSR_FTZ);
	select_by(d, dst(d, opnd(d, 0), w, false), w, a, b, p, 0);
}

bool decode_mov(struct dec *d)
{
	if (OP(d) != PTX_OP_mov)
		return false;
	mov(d);
	return true;
}

bool decode_cmp(struct dec *d)
{
	switch (OP(d)) {
	case PTX_OP_setp: setp(d); return true;
	case PTX_OP_set: set(d); return true;
	case PTX_OP_selp: selp(d); return true;
	case PTX_OP_slct: slct(d); return true;
	default: return false;
	}
}
