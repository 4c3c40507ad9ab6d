/* exec_simd.h - the vector handlers, made from exec_alu.def; included once per instruction set by exec_simd_sse2.c and
 * exec_simd_avx2.c, which differ in compiler flags and in the table's name only.  Everything here is static.
 *
 * Each handler has two loops: all 32 lanes, or all 32 computed and the inactive ones kept.  Operands never overlap
 * partly, a destination may be a source: ivdep. */
#include <immintrin.h>
#include "exec_internal.h"
#include "exec_math.h"

#define IVDEP _Pragma("GCC ivdep")

static const uint32_t lane_bit[WARP] __attribute__((aligned(64))) = {
	1u << 0, 1u << 1, 1u << 2, 1u << 3, 1u << 4, 1u << 5, 1u << 6, 1u << 7, 1u << 8, 1u << 9, 1u << 10, 1u << 11,
	1u << 12, 1u << 13, 1u << 14, 1u << 15, 1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21, 1u << 22,
	1u << 23, 1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31,
};

/* Per type T: storage of a lane (S_T), value (V_T), load (L_T), store (W_T), compare result (C_T). */
#define S_u16 uint32_t
#define S_s16 uint32_t
#define S_u32 uint32_t
#define S_s32 uint32_t
#define S_u64 uint64_t
#define S_s64 uint64_t
#define S_f32 float
#define S_f64 double
#define S_h uint32_t
#define S_q uint32_t
#define V_u16 uint16_t
#define V_s16 int16_t
#define V_u32 uint32_t
#define V_s32 int32_t
#define V_u64 uint64_t
#define V_s64 int64_t
#define V_f32 float
#define V_f64 double
#define V_h float
#define V_q float
#define L_u16(x) ((uint16_t)(x))
#define L_s16(x) ((int16_t)(x))
#define L_u32(x) (x)
#define L_s32(x) ((int32_t)(x))
#define L_u64(x) (x)
#define L_s64(x) ((int64_t)(x))
#define L_f32(x) (x)
#define L_f64(x) (x)
#define L_h(x) h2f(x)
#define L_q(x) b2f(x)
#define W_u16(x) ((uint32_t)(uint16_t)(x))
#define W_s16(x) ((uint32_t)(uint16_t)(x))
#define W_u32(x) ((uint32_t)(x))
#define W_s32(x) ((uint32_t)(x))
#define W_u64(x) ((uint64_t)(x))
#define W_s64(x) ((uint64_t)(x))
#define W_f32(x) f32_canon(x)
#define W_f64(x) (x)
#define W_h(x) f2h(x)
#define W_q(x) f2b(x)

#define DST(T) S_##T *d = (S_##T *)R64(w, o->d)
#define SRC(T, n) const S_##T *p##n = (const S_##T *)R64(w, o->n)
#define VAL(T, n) V_##T n = L_##T(p##n[l])
#define LOOPS(TD, VALS, E) \
	if (m == FULL) { \
		IVDEP for (int l = 0; l < WARP; l++) { VALS; d[l] = W_##TD(E); } \
	} else { \
		IVDEP for (int l = 0; l < WARP; l++) { VALS; S_##TD r = W_##TD(E); d[l] = (m & lane_bit[l]) ? r \
			: d[l]; } \
	} \
	return o + 1;
#define EACH(m, l) for (uint32_t m_ = (m), l = 0; m_ && (l = lane_first(m_), 1); m_ &= m_ - 1)
#define LOOPS_S(TD, VALS, E) \
	EACH(m, l) { VALS; d[l] = W_##TD(E); } \
	return o + 1;
#define HANDLER(n) static const struct op *h_##n(struct warp *w, const struct op *o, uint32_t m)

#define UN(n, TD, TA, E) HANDLER(n) { DST(TD); SRC(TA, a); LOOPS(TD, VAL(TA, a), E) }
#define BIN(n, TD, TA, TB, E) HANDLER(n) { DST(TD); SRC(TA, a); SRC(TB, b); LOOPS(TD, VAL(TA, a); VAL(TB, b), E) }
#define TER(n, TD, TA, TB, TC, E) HANDLER(n) { DST(TD); SRC(TA, a); SRC(TB, b); SRC(TC, c); \
	LOOPS(TD, VAL(TA, a); VAL(TB, b); VAL(TC, c), E) }
#define UNS(n, TD, TA, E) HANDLER(n) { DST(TD); SRC(TA, a); LOOPS_S(TD, VAL(TA, a), E) }
#define BINS(n, TD, TA, TB, E) HANDLER(n) { DST(TD); SRC(TA, a); SRC(TB, b); LOOPS_S(TD, VAL(TA, a); VAL(TB, b), E) }
#define TERS(n, TD, TA, TB, TC, E) HANDLER(n) { DST(TD); SRC(TA, a); SRC(TB, b); SRC(TC, c); \
	LOOPS_S(TD, VAL(TA, a); VAL(TB, b); VAL(TC, c), E) }

/* --- predicates --------------------------------------------------------------------------------- */

static inline uint32_t mask_of32(const int32_t *t)
{
	uint32_t r = 0;
#ifdef __AVX2__
	for (int i = 0; i < 4; i++)
		r |= (uint32_t)_mm256_movemask_ps(_mm256_load_ps((const float *)t + 8 * i)) << (8 * i);
#else
	for (int i = 0; i < 8; i++)
		r |= (uint32_t)_mm_movemask_ps(_mm_load_ps((const float *)t + 4 * i)) << (4 * i);
#endif
	return r;
}

static inline uint32_t mask_of64(const int64_t *t)
{
	uint32_t r = 0;
#ifdef __AVX2__
	for (int i = 0; i < 8; i++)
		r |= (uint32_t)_mm256_movemask_pd(_mm256_load_pd((const double *)t + 4 * i)) << (4 * i);
#else
	for (int i = 0; i < 16; i++)
		r |= (uint32_t)_mm_movemask_pd(_mm_load_pd((const double *)t + 2 * i)) << (2 * i);
#endif
	return r;
}

/* p|q of setp: r combined with the predicate operand c; d and e are predicate words, 0 where absent. */
static inline const struct op *setp_finish(struct warp *w, const struct op *o, uint32_t m, uint32_t r)
{
	uint32_t q = ~r;
	if (o->x != CB_NONE) {
		uint32_t c = PRED(w, o->c) ^ o->y;
		r = o->x == CB_AND ? r & c : o->x == CB_OR ? r | c : r ^ c;
		q = o->x == CB_AND ? q & c : o->x == CB_OR ? q | c : q ^ c;
	}
	if (o->d)
		PRED(w, o->d) = (PRED(w, o->d) & ~m) | (r & m);
	if (o->e)
		PRED(w, o->e) = (PRED(w, o->e) & ~m) | (q & m);
	return o + 1;
}

#define CT_u16 int32_t
#define CT_s16 int32_t
#define CT_u32 int32_t
#define CT_s32 int32_t
#define CT_f32 int32_t
#define CT_h int32_t
#define CT_q int32_t
#define CT_u64 int64_t
#define CT_s64 int64_t
#define CT_f64 int64_t
#define MASK_OF(t) _Generic((t), int32_t *: mask_of32, int64_t *: mask_of64)(t)
#define CMP(n, T, E) HANDLER(n) { SRC(T, a); SRC(T, b); CT_##T t[WARP] __attribute__((aligned(64))); \
	IVDEP for (int l = 0; l < WARP; l++) { VAL(T, a); VAL(T, b); t[l] = (E) ? -1 : 0; } \
	return setp_finish(w, o, m, MASK_OF(t)); }
#define HAND(n)
#include "exec_alu.def"
#undef UN
#undef BIN
#undef TER
#undef UNS
#undef BINS
#undef TERS
#undef CMP
#undef HAND

/* selp: which of a and b, by predicate c. */
HANDLER(selp_32)
{
	uint32_t *d = R32(w, o->d), s = PRED(w, o->c) ^ o->y;
	const uint32_t *a = R32(w, o->a), *b = R32(w, o->b);
	IVDEP for (int l = 0; l < WARP; l++) {
		uint32_t r = (s & lane_bit[l]) ? a[l] : b[l];
		d[l] = (m & lane_bit[l]) ? r : d[l];
	}
	return o + 1;
}

HANDLER(selp_64)
{
	uint64_t *d = R64(w, o->d);
	uint32_t s = PRED(w, o->c) ^ o->y;
	const uint64_t *a = R64(w, o->a), *b = R64(w, o->b);
	IVDEP for (int l = 0; l < WARP; l++) {
		uint64_t r = (s & lane_bit[l]) ? a[l] : b[l];
		d[l] = (m & lane_bit[l]) ? r : d[l];
	}
	return o + 1;
}

/* add, sub, mad with carries.  x: 1 carry in, 2 carry out, 4 subtract, 8 mad low half, 16 mad high half, 32 signed. */
#define CARRY(n, T, ST, HI_U, HI_S, MSB) HANDLER(n) { \
	T *d = (T *)R64(w, o->d); const T *pa = (const T *)R64(w, o->a), *pb = (const T *)R64(w, o->b), \
		*pc = (const T *)R64(w, o->c); \
	uint32_t cc = PRED(w, PRED_CC), out = cc; \
	EACH(m, l) { \
		T a = pa[l], b = pb[l], s, ci = (o->x & 1) ? (cc >> l) & 1 : 0; \
		bool co; \
		if (o->x & 24) { a = (o->x & 8) ? a * b : (o->x & 32) ? HI_S(a, b) : HI_U(a, b); b = pc[l]; } \
		if (o->x & 4) { s = a - b - ci; co = a < b || (a == b && ci); } \
		else { s = a + b + ci; co = s < a || (ci && s == a); } \
		d[l] = s; \
		out = (out & ~(1u << l)) | (uint32_t)co << l; \
	} \
	if (o->x & 2) PRED(w, PRED_CC) = out; \
	return o + 1; }
#define HI_U32(a, b) (uint32_t)(((uint64_t)(a) * (b)) >> 32)
#define HI_S32(a, b) (uint32_t)((uint64_t)((int64_t)(int32_t)(a) * (int32_t)(b)) >> 32)
#define HI_S64(a, b) smulhi64((int64_t)(a), (int64_t)(b))
CARRY(carry_32, uint32_t, int32_t, HI_U32, HI_S32, 31)
CARRY(carry_64, uint64_t, int64_t, umulhi64, HI_S64, 63)

#include "exec_mem.h"

#define UN(n, ...) [OP_##n] = h_##n,
#define BIN(n, ...) [OP_##n] = h_##n,
#define TER(n, ...) [OP_##n] = h_##n,
#define UNS(n, ...) [OP_##n] = h_##n,
#define BINS(n, ...) [OP_##n] = h_##n,
#define TERS(n, ...) [OP_##n] = h_##n,
#define CMP(n, ...) [OP_##n] = h_##n,
#define HAND(n) [OP_##n] = h_##n,
const op_fn SIMD_TABLE[OP_COUNT] = {
#include "exec_alu.def"
};
