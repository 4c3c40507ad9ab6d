/* exec_decode_int.c - decode of integer, logic, shift and bit instructions. */
#include <string.h>
#include "exec_decode.h"

#define OP(d) ((d)->i->op)

/* d = name_T(a, b, c): all operands of one lane width. */
static void simple(struct dec *d, const char *name, const char *type, unsigned n)
{
	enum ptx_type t = d->i->type;
	unsigned w = lane_width(t);
	uint32_t r[3] = { 0 };
	for (unsigned k = 0; k < n; k++)
		r[k] = src(d, opnd(d, k + 1), w);
	emit_simd(d, dst(d, opnd(d, 0), w, type_signed(t)), r[0], r[1], r[2], "%s_%s", name, type);
}

/* Scalar fallback: destination of width dw, operands of the given widths. */
static void scalar(struct dec *d, const char *name, uint32_t x, unsigned dw, unsigned n, const unsigned *widths)
{
	uint32_t r[4];
	for (unsigned k = 0; k < n; k++)
		r[k] = src(d, opnd(d, k + 1), widths[k]);
	emit_scalar(d, name, x, dst(d, opnd(d, 0), dw, type_signed(d->i->type)), dw, n, r, widths);
}

static void packed(struct dec *d, uint32_t op, uint32_t flags, unsigned width, unsigned n)
{
	static const unsigned w[3] = { 4, 4, 4 };
	scalar(d, "packed", op | flags | width << 16, 4, n, w);
}

enum { PK_ADD, PK_SUB, PK_AVRG, PK_ABSDIFF, PK_MIN, PK_MAX };

static bool is_x2(enum ptx_type t)
{
	return t == PTX_T_U16X2 || t == PTX_T_S16X2;
}

static bool is_int(enum ptx_type t)
{
	return (t >= PTX_T_B8 && t <= PTX_T_B64) || (t >= PTX_T_U8 && t <= PTX_T_S64);
}

/* add, sub, addc, subc, and mad with .cc. */
static void carry(struct dec *d, uint32_t x, unsigned n)
{
	unsigned w = lane_width(d->i->type);
	uint32_t r[3] = { 0 };
	for (unsigned k = 0; k < n; k++)
		r[k] = src(d, opnd(d, k + 1), w);
	x |= has(d, PTX_MOD_cc) ? 2 : 0;
	emit_simd(d, dst(d, opnd(d, 0), w, type_signed(d->i->type)), r[0], r[1], n > 2 ? r[2] : r[1], "carry_%u",
		w * 8)->x = x;
}

static bool add_sub(struct dec *d)
{
	bool sub = OP(d) == PTX_OP_sub;
	enum ptx_type t = d->i->type;
	if (is_x2(t)) {
		packed(d, sub ? PK_SUB : PK_ADD, 0, 16, 2);
		return true;
	}
	if (!is_int(t))
		return false;
	if (has(d, PTX_MOD_cc))
		carry(d, sub ? 4 : 0, 2);
	else if (has(d, PTX_MOD_sat))
		simple(d, sub ? "sub_sat" : "add_sat", int_name(t), 2);
	else
		simple(d, sub ? "sub" : "add", uint_name(t), 2);
	return true;
}

/* mul and mad: the product may be twice as wide. */
static bool mul_mad(struct dec *d)
{
	enum ptx_type t = d->i->type;
	bool mad = OP(d) == PTX_OP_mad;
	unsigned w = lane_width(t), dw = w;
	const char *name = mad ? "mad" : "mul";
	if (!is_int(t))
		return false;
	if (has(d, PTX_MOD_cc)) {
		carry(d, (has(d, PTX_MOD_hi) ? 16 : 8) | (type_signed(t) ? 32 : 0), 3);
		return true;
	}
	if (has(d, PTX_MOD_wide))
		dw = type_bytes(t) == 2 ? 4 : 8;
	uint32_t a = src(d, opnd(d, 1), w), b = src(d, opnd(d, 2), w), c = mad ? src(d, opnd(d, 3), dw) : 0;
	uint32_t r = dst(d, opnd(d, 0), dw, type_signed(t));
	if (has(d, PTX_MOD_wide))
		emit_simd(d, r, a, b, c, "%s_wide_%s", name, int_name(t));
	else if (has(d, PTX_MOD_hi))
		emit_simd(d, r, a, b, c, "%s_hi_%s%s", name, has(d, PTX_MOD_sat) ? "sat_" : "", int_name(t));
	else
		emit_simd(d, r, a, b, c, "%s_lo_%s", name, uint_name(t));
	return true;
}

static void mul24_mad24(struct dec *d)
{
	enum ptx_type t = d->i->type;
	const char *half = has(d, PTX_MOD_hi) ? "hi" : "lo";
	bool mad = OP(d) == PTX_OP_mad24;
	uint32_t a = src(d, opnd(d, 1), 4), b = src(d, opnd(d, 2), 4), c = mad ? src(d, opnd(d, 3), 4) : 0;
	uint32_t r = dst(d, opnd(d, 0), 4, type_signed(t)), p = mad ? temp(d, 4) : r;
	emit_simd(d, p, a, b, 0, "mul24_%s_%s", half, int_name(t));
	if (mad)
		emit_simd(d, r, p, c, 0, has(d, PTX_MOD_sat) ? "add_sat_s32" : "add_u32");
}

static bool min_max(struct dec *d)
{
	enum ptx_type t = d->i->type;
	bool max = OP(d) == PTX_OP_max;
	if (is_x2(t)) {
		packed(d, max ? PK_MAX : PK_MIN, (t == PTX_T_S16X2 ? 8 | 16 | 32 : 0)
			| (has(d, PTX_MOD_relu) ? 256 : 0), 16, 2);
		return true;
	}
	if (!is_int(t))
		return false;
	simple(d, max ? "max" : "min", int_name(t), 2);
	if (has(d, PTX_MOD_relu)) {
		uint32_t r = d->ops[d->nops - 1].d;
		emit_simd(d, r, r, 0, 0, "relu_s32");
	}
	return true;
}

/* and, or, xor, not on predicates and bits. */
static void logic(struct dec *d)
{
	static const char *const names[] = { "and", "or", "xor" };
	unsigned k = OP(d) == PTX_OP_and ? 0 : OP(d) == PTX_OP_or ? 1 : 2;
	if (d->i->type == PTX_T_PRED) {
		uint32_t na, nb, a = pred_src(d, opnd(d, 1), &na), b = pred_src(d, opnd(d, 2), &nb),
			r = pred_dst(d, opnd(d, 0));
		if (!r)
			return;
		struct op *o = emit(d, op_plogic);
		o->x = CB_AND + k;
		o->d = r;
		o->a = a;
		o->b = b;
		o->y = na;
		o->z = nb;
		return;
	}
	simple(d, names[k], lane_width(d->i->type) == 8 ? "64" : "32", 2);
}

static void not_op(struct dec *d)
{
	if (d->i->type == PTX_T_PRED) {
		uint32_t n, a = pred_src(d, opnd(d, 1), &n), r = pred_dst(d, opnd(d, 0));
		if (!r)
			return;
		struct op *o = emit(d, op_pmov);
		o->d = r;
		o->a = a;
		o->z = ~n;
		return;
	}
	simple(d, ptx_op_name(OP(d)), type_bytes(d->i->type) == 8 ? "64" : type_bytes(d->i->type) == 4 ? "32" : "16",
		1);
}

static void shift(struct dec *d)
{
	enum ptx_type t = d->i->type;
	unsigned w = lane_width(t);
	uint32_t a = src(d, opnd(d, 1), w), b = src(d, opnd(d, 2), 4), r = dst(d, opnd(d, 0), w, type_signed(t));
	if (OP(d) == PTX_OP_shl)
		emit_simd(d, r, a, b, 0, "shl_%u", 8 * type_bytes(t));
	else
		emit_simd(d, r, a, b, 0, "shr_%s", int_name(t));
}

static void bits(struct dec *d, const char *name)
{
	enum ptx_type t = d->i->type;
	unsigned w = lane_width(t), ws[4] = { w, 4, 4, 4 };
	char key[24];
	switch (OP(d)) {
	case PTX_OP_bfe:
		strcpy(key, "bfe_");
		strcat(key, int_name(t));
		scalar(d, key, 0, w, 3, ws);
		break;
	case PTX_OP_bfi:
		ws[1] = w;
		scalar(d, w == 8 ? "bfi_b64" : "bfi_b32", 0, w, 4, ws);
		break;
	case PTX_OP_bfind:
		strcpy(key, "bfind_");
		strcat(key, int_name(t));
		scalar(d, key, has(d, PTX_MOD_shiftamt), 4, 1, ws);
		break;
	default:
		strcpy(key, name);
		strcat(key, w == 8 ? "_b64" : "_b32");
		scalar(d, key, 0, OP(d) == PTX_OP_brev ? w : 4, 1, ws);
	}
}

static uint32_t prmt_mode(struct dec *d)
{
	static const uint16_t mods[] = { PTX_MOD_f4e, PTX_MOD_b4e, PTX_MOD_rc8, PTX_MOD_ecl, PTX_MOD_ecr,
		PTX_MOD_rc16 };
	for (uint32_t k = 0; k < 6; k++)
		if (has(d, mods[k]))
			return k + 1;
	return 0;
}

/* lop3.b32 d, a, b, c, lut; lop3.or.b32 d|p, a, b, c, lut, q. */
static void lop3(struct dec *d)
{
	static const unsigned ws[3] = { 4, 4, 4 };
	const struct ptx_operand *o = opnd(d, 0), *lut = opnd(d, 4);
	bool pair = o->kind == PTX_O_PAIR;
	uint32_t r[3];
	for (unsigned k = 0; k < 3; k++)
		r[k] = src(d, opnd(d, k + 1), 4);
	if (lut->kind != PTX_O_IMM || lut->u.imm > 255) {
		fail(d, "this table");
		return;
	}
	uint32_t to = dst(d, pair ? &o->list[0] : o, 4, false);
	if (!pair) {
		emit_scalar(d, "lop3_b32", (uint32_t)lut->u.imm, to, 4, 3, r, ws);
		return;
	}
	uint32_t neg, q = pred_src(d, opnd(d, 5), &neg), p = pred_dst(d, &o->list[1]), t = temp(d, 4);
	emit_scalar(d, "lop3_b32", (uint32_t)lut->u.imm, t, 4, 3, r, ws);
	emit_simd(d, to, t, 0, 0, "mov_32");
	struct op *c = emit_simd(d, p, t, constant(d, 0, 4), q, "ne_u32");
	c->x = has(d, PTX_MOD_and) ? CB_AND : CB_OR;
	c->y = neg;
}

static void dot(struct dec *d)
{
	static const unsigned ws[3] = { 4, 4, 4 };
	uint32_t x = (type_signed(d->i->type0) ? 1 : 0) | (type_signed(d->i->type) ? 2 : 0)
		| (has(d, PTX_MOD_hi) ? 4 : 0);
	scalar(d, OP(d) == PTX_OP_dp4a ? "dp4a_32" : "dp2a_32", x, 4, 3, ws);
}

static void sad(struct dec *d)
{
	unsigned w = lane_width(d->i->type), ws[3] = { w, w, w };
	char key[16] = "sad_";
	strcat(key, int_name(d->i->type));
	scalar(d, key, 0, w, 3, ws);
}

/* vadd2, vabsdiff4 ...: elements in their natural places only. */
static void video(struct dec *d, uint32_t op, unsigned width)
{
	enum ptx_type ty[3];
	unsigned n = 0;
	for (unsigned k = 0; k < d->i->nmods && n < 3; k++)
		if (ptx_mod_type(d->i->mods[k]) != PTX_T_NONE)
			ty[n++] = ptx_mod_type(d->i->mods[k]);
	for (unsigned k = 0; k < d->i->nops; k++)
		if (d->i->ops[k].sel)
			fail(d, "element selectors");
	if (n != 3) {
		fail(d, "these types");
		return;
	}
	uint32_t x = (type_signed(ty[0]) ? 32 : 0) | (type_signed(ty[1]) ? 8 : 0) | (type_signed(ty[2]) ? 16 : 0);
	x |= (has(d, PTX_MOD_sat) ? 64 : 0) | (has(d, PTX_MOD_add) ? 128 : 0);
	packed(d, op, x, width, d->i->nops > 3 ? 3 : 2);
}

static bool decode_video(struct dec *d)
{
	switch (OP(d)) {
	case PTX_OP_vadd2: video(d, PK_ADD, 16); return true;
	case PTX_OP_vsub2: video(d, PK_SUB, 16); return true;
	case PTX_OP_vavrg2: video(d, PK_AVRG, 16); return true;
	case PTX_OP_vabsdiff2: video(d, PK_ABSDIFF, 16); return true;
	case PTX_OP_vmin2: video(d, PK_MIN, 16); return true;
	case PTX_OP_vmax2: video(d, PK_MAX, 16); return true;
	case PTX_OP_vadd4: video(d, PK_ADD, 8); return true;
	case PTX_OP_vsub4: video(d, PK_SUB, 8); return true;
	case PTX_OP_vavrg4: video(d, PK_AVRG, 8); return true;
	case PTX_OP_vabsdiff4: video(d, PK_ABSDIFF, 8); return true;
	case PTX_OP_vmin4: video(d, PK_MIN, 8); return true;
	case PTX_OP_vmax4: video(d, PK_MAX, 8); return true;
	default: return false;
	}
}

bool decode_int(struct dec *d)
{
	static const unsigned ws[4] = { 4, 4, 4, 4 };
	enum ptx_type t = d->i->type;
	switch (OP(d)) {
	case PTX_OP_add: case PTX_OP_sub: return add_sub(d);
	case PTX_OP_addc: carry(d, 1, 2); return true;
	case PTX_OP_subc: carry(d, 1 | 4, 2); return true;
	case PTX_OP_madc: carry(d, 1 | (has(d, PTX_MOD_hi) ? 16 : 8) | (type_signed(t) ? 32 : 0), 3); return true;
	case PTX_OP_mul: case PTX_OP_mad: return mul_mad(d);
	case PTX_OP_mul24: case PTX_OP_mad24: mul24_mad24(d); return true;
	case PTX_OP_sad: sad(d); return true;
	case PTX_OP_div: case PTX_OP_rem:
		if (!is_int(t))
			return false;
		simple(d, ptx_op_name(OP(d)), int_name(t), 2);
		return true;
	case PTX_OP_abs:
		if (!is_int(t))
			return false;
		simple(d, "abs", int_name(t), 1);
		return true;
	case PTX_OP_neg:
		if (!is_int(t))
			return false;
		simple(d, "neg", uint_name(t), 1);
		return true;
	case PTX_OP_min: case PTX_OP_max: return min_max(d);
	case PTX_OP_and: case PTX_OP_or: case PTX_OP_xor: logic(d); return true;
	case PTX_OP_not: case PTX_OP_cnot: not_op(d); return true;
	case PTX_OP_shl: case PTX_OP_shr: shift(d); return true;
	case PTX_OP_popc: case PTX_OP_clz: case PTX_OP_brev: case PTX_OP_bfe: case PTX_OP_bfi: case PTX_OP_bfind:
		bits(d, ptx_op_name(OP(d)));
		return true;
	case PTX_OP_fns: scalar(d, "fns_b32", 0, 4, 3, ws); return true;
	case PTX_OP_prmt: scalar(d, "prmt_b32", prmt_mode(d), 4, 3, ws); return true;
	case PTX_OP_shf:
		scalar(d, "shf_b32", (has(d, PTX_MOD_r) ? 1u : 0) | (has(d, PTX_MOD_wrap) ? 2u : 0), 4, 3, ws);
		return true;
	case PTX_OP_lop3: lop3(d); return true;
	case PTX_OP_szext:
		scalar(d, "szext_32", (has(d, PTX_MOD_wrap) ? 1u : 0) | (type_signed(t) ? 2u : 0), 4, 2, ws);
		return true;
	case PTX_OP_bmsk: scalar(d, "bmsk_b32", has(d, PTX_MOD_wrap), 4, 2, ws); return true;
	case PTX_OP_dp4a: case PTX_OP_dp2a: dot(d); return true;
	default: return decode_video(d);
	}
}
