/* exec_matrix.c - matrix instructions: wmma, mma, ldmatrix, stmatrix, movmatrix.
 *
 * The fragments of mma and ldmatrix lie as the ISA documents: with g = lane / 4, t = lane % 4 and w elements per
 * 32-bit register, register j of A holds row g + 8 * (j % 2), columns t * w + 4 * w * (j / 2) ...; of B rows t * w +
 * 4 * w * j ..., column g; of the accumulator row g + 8 * (j / 2), column 2 * t + j % 2.  wmma's are ours to choose:
 * elements in row order, lane after lane. Products are exact, sums are made in f32 (f64, s32), in order of k. */
#include <string.h>
#include "exec_decode.h"
#include "exec_math.h"

enum which { FRAG_A, FRAG_B, FRAG_C, FRAG_D };

struct frag {
	uint8_t type;                /* enum ptx_type of an element */
	uint8_t nregs, lane_bytes;
	uint8_t rows, cols;
	bool wmma, col_major;        /* col_major: in memory */
	uint8_t which;
	uint32_t reg[16];
};

struct matrix {
	struct frag f[4];
	uint8_t m, n, k;
	bool saturate, trans;
	uint32_t stride, nmat;       /* stride: register, or REF_NONE; nmat: matrices of ldmatrix */
};

static unsigned bits_of(enum ptx_type t)
{
	return t == PTX_T_S4 || t == PTX_T_U4 ? 4 : t == PTX_T_TF32 ? 32 : type_bytes(t) * 8;
}

/* --- elements ----------------------------------------------------------------------------------- */

static double to_number(enum ptx_type t, uint64_t v)
{
	switch (t) {
	case PTX_T_F16: return h2f((uint32_t)v);
	case PTX_T_BF16: return b2f((uint32_t)v);
	case PTX_T_TF32: return bits_f32((uint32_t)v & 0xffffe000u);
	case PTX_T_F32: return bits_f32((uint32_t)v);
	case PTX_T_F64: return bits_f64(v);
	case PTX_T_S8: return (int8_t)v;
	case PTX_T_S4: return (int32_t)sext((uint32_t)v, 4);
	case PTX_T_S32: return (int32_t)v;
	default: return (double)v;
	}
}

static uint64_t from_number(enum ptx_type t, double v)
{
	switch (t) {
	case PTX_T_F16: return f2h((float)v);
	case PTX_T_F32: return f32_bits(f32_canon((float)v));
	case PTX_T_F64: return f64_bits(v);
	default: return (uint64_t)(int64_t)v;
	}
}

/* Where element e of a lane lies in the matrix. */
static void place(const struct frag *f, uint32_t lane, uint32_t e, uint32_t *row, uint32_t *col)
{
	uint32_t per = 32 / bits_of(f->type), g = lane / 4, t = lane % 4;
	if (f->wmma) {
		uint32_t total = (uint32_t)f->rows * f->cols / WARP, i = lane * total + e % total;
		*row = i / f->cols;
		*col = i % f->cols;
		return;
	}
	per = per ? per : 1;
	uint32_t j = e / per, in = e % per;
	if (f->which == FRAG_A) {
		*row = g + (f->rows == 16 ? 8 * (j & 1) : 0);
		*col = t * per + in + 4 * per * (f->rows == 16 ? j >> 1 : j);
	} else if (f->which == FRAG_B) {
		*row = t * per + in + 4 * per * j;
		*col = g;
	} else {
		*row = g + 8 * (e >> 1);
		*col = 2 * t + (e & 1);
	}
}

/* Elements per lane that matter: a wmma f16 fragment holds each twice. */
static uint32_t count(const struct frag *f)
{
	return (uint32_t)f->rows * f->cols / WARP;
}

static uint64_t element(struct warp *w, const struct frag *f, uint32_t lane, uint32_t e)
{
	unsigned bits = bits_of(f->type);
	if (bits == 64)
		return R64(w, f->reg[e])[lane];
	uint32_t per = 32 / bits, v = R32(w, f->reg[e / per])[lane];
	return bits == 32 ? v : v >> (bits * (e % per)) & ((1u << bits) - 1);
}

static void set_element(struct warp *w, const struct frag *f, uint32_t lane, uint32_t e, uint64_t v)
{
	unsigned bits = bits_of(f->type);
	if (bits == 64) {
		R64(w, f->reg[e])[lane] = v;
		return;
	}
	uint32_t per = 32 / bits, copies = f->nregs * per / count(f), mask = bits == 32 ? FULL : (1u << bits) - 1;
	for (uint32_t c = 0; c < (copies ? copies : 1); c++) {
		uint32_t at = e + c * count(f), *r = &R32(w, f->reg[at / per])[lane], s = bits * (at % per);
		*r = (*r & ~(mask << s)) | ((uint32_t)v & mask) << s;
	}
}

/* --- multiply ------------------------------------------------------------------------------------ */

#define DIM 32
struct values { double v[DIM][DIM]; };

static void gather(struct warp *w, const struct frag *f, struct values *x)
{
	for (uint32_t lane = 0; lane < WARP; lane++) {
		for (uint32_t e = 0; e < count(f); e++) {
			uint32_t r, c;
			place(f, lane, e, &r, &c);
			x->v[r][c] = to_number(f->type, element(w, f, lane, e));
		}
	}
}

static double dot(const struct matrix *x, const struct values *a, const struct values *b, double c, uint32_t i,
	uint32_t j)
{
	enum ptx_type t = x->f[FRAG_A].type;
	if (t == PTX_T_F64) {
		for (uint32_t k = 0; k < x->k; k++)
			c = fma(a->v[i][k], b->v[k][j], c);
	} else if (t == PTX_T_F16 || t == PTX_T_BF16 || t == PTX_T_TF32) {
		float s = (float)c;
		for (uint32_t k = 0; k < x->k; k++)
			s = (float)(a->v[i][k] * b->v[k][j] + s);
		c = s;
	} else {
		int64_t s = (int64_t)c;
		for (uint32_t k = 0; k < x->k; k++)
			s += (int64_t)a->v[i][k] * (int64_t)b->v[k][j];
		c = (double)(x->saturate ? clamp64(s, INT32_MIN, INT32_MAX) : (int64_t)(int32_t)(uint32_t)s);
	}
	return c;
}

static const struct op *op_mma(struct warp *w, const struct op *o, uint32_t m)
{
	static __thread struct values a, b, c;
	const struct matrix *x = o->ext;
	const struct frag *d = &x->f[FRAG_D];
	gather(w, &x->f[FRAG_A], &a);
	gather(w, &x->f[FRAG_B], &b);
	gather(w, &x->f[FRAG_C], &c);
	for (uint32_t lane = 0; lane < WARP; lane++) {
		for (uint32_t e = 0; e < count(d) && m >> lane & 1; e++) {
			uint32_t i, j;
			place(d, lane, e, &i, &j);
			set_element(w, d, lane, e, from_number(d->type, dot(x, &a, &b, c.v[i][j], i, j)));
		}
	}
	return o + 1;
}

/* --- memory -------------------------------------------------------------------------------------- */

/* wmma.load and wmma.store: x 0 load, 1 store; the address as in other memory ops. */
static const struct op *op_wmma_mem(struct warp *w, const struct op *o, uint32_t m)
{
	const struct matrix *x = o->ext;
	const struct frag *f = &x->f[o->x ? FRAG_D : FRAG_A];
	uint32_t bytes = bits_of(f->type) / 8;
	for (uint32_t e = 0; e < count(f); e++) {
		uint64_t off[WARP];
		for (uint32_t rest = m; rest; rest &= rest - 1) {
			uint32_t lane = lane_first(rest), r, c;
			uint64_t ld = x->stride != REF_NONE ? R32(w, x->stride)[lane] : f->col_major ? f->rows
				: f->cols;
			place(f, lane, e, &r, &c);
			off[lane] = (f->col_major ? c * ld + r : r * ld + c) * bytes;
		}
		/* Each lane's element by the ordinary path: same checks, same faults. */
		struct op t = *o;
		for (uint32_t rest = m; rest; rest &= rest - 1) {
			uint32_t lane = lane_first(rest);
			t.imm = o->imm + (int64_t)off[lane];
			mem_resolve(w, &t, 1u << lane, bytes);
			w->mem_op = o;
			void *p = (void *)(uintptr_t)w->ptr[lane];
			uint64_t v = 0;
			if (o->x) {
				v = element(w, f, lane, e);
				memcpy(p, &v, bytes);
			} else {
				memcpy(&v, p, bytes);
				set_element(w, f, lane, e, v);
			}
		}
	}
	return o + 1;
}

/* ldmatrix and stmatrix of 8 x 8 matrices of 16 bits: row r of matrix i is at the address of lane 8 * i + r.  x:
 * store. */
static const struct op *op_matrix_rows(struct warp *w, const struct op *o, uint32_t m)
{
	const struct matrix *x = o->ext;
	const struct frag *f = &x->f[FRAG_A];
	uint32_t out[4][WARP];
	uint16_t *row[WARP];
	(void)m;
	mem_resolve(w, o, x->nmat == 4 ? FULL : (1u << (8 * x->nmat)) - 1, 16);
	for (uint32_t lane = 0; lane < 8 * x->nmat; lane++)
		row[lane] = (uint16_t *)(uintptr_t)w->ptr[lane];
	for (uint32_t i = 0; i < x->nmat; i++) {
		for (uint32_t lane = 0; lane < WARP; lane++) {
			uint32_t v = o->x ? R32(w, f->reg[i])[lane] : 0;
			for (uint32_t e = 0; e < 2; e++) {
				uint32_t r = lane / 4, c = lane % 4 * 2 + e;
				uint16_t *p = x->trans ? &row[8 * i + c][r] : &row[8 * i + r][c];
				if (o->x)
					*p = (uint16_t)(v >> (16 * e));
				else
					v |= (uint32_t)*p << (16 * e);
			}
			out[i][lane] = v;
		}
	}
	for (uint32_t i = 0; i < x->nmat && !o->x; i++)
		memcpy(R32(w, f->reg[i]), out[i], sizeof out[i]);
	return o + 1;
}

/* movmatrix: d = a transposed. */
static const struct op *op_transpose(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t v[WARP], *d = R32(w, o->d);
	(void)m;
	memcpy(v, R32(w, o->a), sizeof v);
	for (uint32_t lane = 0; lane < WARP; lane++) {
		d[lane] = 0;
		for (uint32_t e = 0; e < 2; e++) {
			uint32_t r = lane % 4 * 2 + e, c = lane / 4;
			d[lane] |= (v[4 * r + c / 2] >> (16 * (c & 1)) & 0xffff) << (16 * e);
		}
	}
	return o + 1;
}

/* --- decode -------------------------------------------------------------------------------------- */

static bool shape(struct dec *d, struct matrix *x)
{
	static const struct { uint16_t mod; uint8_t m, n, k; } rows[] = {
		{ PTX_MOD_m8n8k4, 8, 8, 4 }, { PTX_MOD_m8n8k16, 8, 8, 16 }, { PTX_MOD_m8n8k32, 8, 8, 32 },
			{ PTX_MOD_m8n32k16, 8, 32, 16 },
		{ PTX_MOD_m16n8k4, 16, 8, 4 }, { PTX_MOD_m16n8k8, 16, 8, 8 }, { PTX_MOD_m16n8k16, 16, 8, 16 },
		{ PTX_MOD_m16n8k32, 16, 8, 32 }, { PTX_MOD_m16n16k8, 16, 16, 8 }, { PTX_MOD_m16n16k16, 16, 16, 16 },
		{ PTX_MOD_m32n8k16, 32, 8, 16 },
	};
	for (unsigned k = 0; k < sizeof rows / sizeof *rows; k++) {
		if (has(d, rows[k].mod)) {
			x->m = rows[k].m;
			x->n = rows[k].n;
			x->k = rows[k].k;
			return true;
		}
	}
	return false;
}

static bool frag(struct dec *d, struct frag *f, const struct ptx_operand *o, enum ptx_type t, enum which w, bool is_dst)
{
	const struct ptx_operand *e = o->kind == PTX_O_VEC ? o->list : o;
	unsigned n = o->kind == PTX_O_VEC ? o->nlist : 1, bits = bits_of(t);
	f->type = (uint8_t)t;
	f->which = (uint8_t)w;
	if (!bits || n > 16 || (f->rows * f->cols * bits) / WARP > n * (bits == 64 ? 64 : 32))
		return false;
	f->nregs = (uint8_t)n;
	f->lane_bytes = bits == 64 ? 8 : 4;
	for (unsigned k = 0; k < n; k++)
		f->reg[k] = is_dst ? dst(d, &e[k], f->lane_bytes, false) : t == PTX_T_F64 || t == PTX_T_F32
			? src_f(d, &e[k], t)
			: src(d, &e[k], f->lane_bytes);
	return true;
}

static void dims(struct matrix *x, struct frag *f, enum which w, bool wmma)
{
	f->rows = w == FRAG_B ? x->k : x->m;
	f->cols = w == FRAG_A ? x->k : x->n;
	f->wmma = wmma;
}

static void emit_sync(struct dec *d, op_fn fn, const struct matrix *x, struct op **out)
{
	uint32_t all = constant(d, FULL, 4);
	struct op *o = emit(d, op_sync);
	o->fn2 = fn;
	o->c = all;
	o->y = SRC_NONE;
	o->ext = x;
	*out = o;
}

/* The types written: those of d, a, b and c, or the first n of them. */
static unsigned types_of(struct dec *d, enum ptx_type *t, unsigned n)
{
	unsigned k = 0;
	for (unsigned j = 0; j < d->i->nmods && k < n; j++)
		if (ptx_mod_type(d->i->mods[j]) != PTX_T_NONE)
			t[k++] = ptx_mod_type(d->i->mods[j]);
	return k;
}

static bool multiply(struct dec *d, bool wmma)
{
	struct matrix *x = load_alloc(d->ld, sizeof *x);
	enum ptx_type t[4];
	unsigned n = types_of(d, t, 4);
	struct op *o;
	if (!x || !shape(d, x) || has(d, PTX_MOD_sp) || has(d, PTX_MOD_block_scale) || has(d, PTX_MOD_xor)
			|| has(d, PTX_MOD_and))
		return false;
	/* wmma of halves writes only the accumulators' types: d and c. */
	enum ptx_type td = t[0], ta = n == 4 ? t[1] : PTX_T_F16, tb = n == 4 ? t[2] : PTX_T_F16,
		tc = n == 4 ? t[3] : t[1];
	if ((n != 4 && (n != 2 || !wmma)) || (!wmma && ta == PTX_T_F16 && x->m == 8))
		return false;
	if (!wmma && (bits_of(ta) != bits_of(tb) || x->k < 4 * (bits_of(ta) >= 32 ? 1 : 32 / bits_of(ta))))
		return false;
	const enum ptx_type tt[4] = { ta, tb, tc, td };
	static const unsigned operand[4] = { 1, 2, 3, 0 };
	for (unsigned k = 0; k < 4; k++) {
		dims(x, &x->f[k], k, wmma);
		if (!frag(d, &x->f[k], opnd(d, operand[k]), tt[k], k, k == FRAG_D))
			return false;
	}
	x->saturate = has(d, PTX_MOD_satfinite);
	emit_sync(d, op_mma, x, &o);
	return true;
}

static bool wmma_memory(struct dec *d, bool store)
{
	struct matrix *x = load_alloc(d->ld, sizeof *x);
	enum which w = has(d, PTX_MOD_a) ? FRAG_A : has(d, PTX_MOD_b) ? FRAG_B : FRAG_C;
	unsigned ai = store ? 0 : 1, fi = store ? 1 : 0;
	enum ptx_type t = d->i->type;
	uint32_t ref, cls;
	int64_t off;
	struct op *o;
	if (!x || !shape(d, x) || bits_of(t) < 8)
		return false;
	struct frag *f = &x->f[store ? FRAG_D : FRAG_A];
	dims(x, f, w, true);
	f->col_major = has(d, PTX_MOD_col);
	if (!frag(d, f, opnd(d, fi), t, w, !store))
		return false;
	address(d, opnd(d, ai), d->i->space, &ref, &cls, &off);
	x->stride = d->i->nops > 2 ? src(d, opnd(d, 2), 4) : REF_NONE;
	emit_sync(d, op_wmma_mem, x, &o);
	o->x = store;
	o->a = ref;
	o->y = cls;
	o->imm = off;
	o->e = store ? MA_STORE : MA_LOAD;
	return true;
}

static bool rows(struct dec *d, bool store)
{
	struct matrix *x = load_alloc(d->ld, sizeof *x);
	unsigned ai = store ? 0 : 1, fi = store ? 1 : 0;
	uint32_t ref, cls;
	int64_t off;
	struct op *o;
	if (!x || !has(d, PTX_MOD_m8n8) || d->i->type != PTX_T_B16)
		return false;
	x->nmat = has(d, PTX_MOD_x4) ? 4 : has(d, PTX_MOD_x2) ? 2 : 1;
	x->trans = has(d, PTX_MOD_trans);
	struct frag *f = &x->f[FRAG_A];
	f->rows = 8;
	f->cols = (uint8_t)(8 * x->nmat);
	if (!frag(d, f, opnd(d, fi), PTX_T_B16, FRAG_A, !store) || f->nregs != x->nmat)
		return false;
	address(d, opnd(d, ai), d->i->space == PTX_GENERIC ? PTX_GENERIC : PTX_SHARED, &ref, &cls, &off);
	emit_sync(d, op_matrix_rows, x, &o);
	o->x = store;
	o->a = ref;
	o->y = cls;
	o->imm = off;
	o->e = store ? MA_STORE : MA_LOAD;
	return true;
}

bool decode_matrix(struct dec *d)
{
	struct op *o;
	uint32_t a, r;
	switch (d->i->op) {
	case PTX_OP_wmma:
		return has(d, PTX_MOD_load) ? wmma_memory(d, false) : has(d, PTX_MOD_store) ? wmma_memory(d, true)
			: multiply(d, true);
	case PTX_OP_mma: return multiply(d, false);
	case PTX_OP_ldmatrix: return rows(d, false);
	case PTX_OP_stmatrix: return rows(d, true);
	case PTX_OP_movmatrix:
		a = src(d, opnd(d, 1), 4);
		r = dst(d, opnd(d, 0), 4, false);
		emit_sync(d, op_transpose, NULL, &o);
		o->a = a;
		o->d = r;
		return true;
	default: return false;
	}
}
