/* exec_atom.c - atom and red: read-modify-write that is atomic against every thread of the process.  All orderings are
 * served by the strongest, which a locked instruction is anyway. */
#include <stdio.h>
#include <string.h>
#include "exec_internal.h"
#include "exec_math.h"

#define EACH(m, l) for (uint32_t m_ = (m), l = 0; m_ && (l = lane_first(m_), 1); m_ &= m_ - 1)

static void waited_for(struct warp *w)
{
	w->spins += 128;
	w->spun++;
	w->budget -= 16;
}

/* The lanes' memory (p), operands (b, c) and result (old); d may be absent. */
#define ATOM(n, T, BODY) \
static const struct op *atom_##n(struct warp *w, const struct op *o, uint32_t m) \
{ \
	mem_resolve(w, o, m, sizeof(T)); \
	T *d = o->d == REF_NONE ? NULL : (T *)R64(w, o->d); \
	const T *pb = (const T *)R64(w, o->b), *pc = (const T *)R64(w, o->c); \
	waited_for(w); \
	EACH(m, l) { \
		T *p = (T *)(uintptr_t)w->ptr[l], b = pb[l], c = pc[l], old; \
		(void)c; \
		BODY; \
		if (d) d[l] = old; \
	} \
	return o + 1; \
}
#define RMW(T, E) do { \
	T nw; \
	old = __atomic_load_n(p, __ATOMIC_RELAXED); \
	do nw = (E); while (!__atomic_compare_exchange_n(p, &old, nw, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)); \
} while (0)
#define INTS(T, ST, B) \
	ATOM(add_##B, T, old = __atomic_fetch_add(p, b, __ATOMIC_SEQ_CST)) \
	ATOM(and_##B, T, old = __atomic_fetch_and(p, b, __ATOMIC_SEQ_CST)) \
	ATOM(or_##B, T, old = __atomic_fetch_or(p, b, __ATOMIC_SEQ_CST)) \
	ATOM(xor_##B, T, old = __atomic_fetch_xor(p, b, __ATOMIC_SEQ_CST)) \
	ATOM(exch_##B, T, old = __atomic_exchange_n(p, b, __ATOMIC_SEQ_CST)) \
	ATOM(cas_##B, T, old = b; __atomic_compare_exchange_n(p, &old, c, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) \
	ATOM(min_u##B, T, RMW(T, old < b ? old : b)) ATOM(max_u##B, T, RMW(T, old > b ? old : b)) \
	ATOM(min_s##B, T, RMW(T, (ST)old < (ST)b ? old : b)) ATOM(max_s##B, T, RMW(T, (ST)old > (ST)b ? old : b)) \
	ATOM(inc_##B, T, RMW(T, old >= b ? 0 : old + 1)) ATOM(dec_##B, T, RMW(T, old == 0 || old > b ? b : old - 1))
INTS(uint32_t, int32_t, 32)
INTS(uint64_t, int64_t, 64)

static uint32_t fadd32(uint32_t a, uint32_t b) { return f32_bits(f32_canon(bits_f32(a) + bits_f32(b))); }
static uint64_t fadd64(uint64_t a, uint64_t b) { return f64_bits(bits_f64(a) + bits_f64(b)); }
/* Global memory's float adder flushes subnormals, shared memory's does not. */
ATOM(add_f32, uint32_t, RMW(uint32_t, fadd32(old, b)))
ATOM(add_ftz_f32, uint32_t, RMW(uint32_t, f32_ftz(fadd32(f32_ftz(old), f32_ftz(b)))))
ATOM(add_f64, uint64_t, RMW(uint64_t, fadd64(old, b)))

enum half_op { HALF_ADD, HALF_MIN, HALF_MAX };
static uint32_t half1(uint32_t a, uint32_t b, int op, bool bf)
{
	float x = bf ? b2f(a) : h2f(a), y = bf ? b2f(b) : h2f(b);
	float r = op == HALF_ADD ? x + y : op == HALF_MIN ? f32_min(x, y) : f32_max(x, y);
	return bf ? f2b(r) : f2h(r);
}
static uint32_t half2(uint32_t a, uint32_t b, int op, bool bf)
{
	return half1(a & 0xffff, b & 0xffff, op, bf) | half1(a >> 16, b >> 16, op, bf) << 16;
}
#define HALVES(n, OP) \
	ATOM(n##_f16x2, uint32_t, RMW(uint32_t, half2(old, b, OP, false))) \
	ATOM(n##_bf16x2, uint32_t, RMW(uint32_t, half2(old, b, OP, true)))
HALVES(add, HALF_ADD)
HALVES(min, HALF_MIN)
HALVES(max, HALF_MAX)

/* 16-bit forms: registers have 4-byte lanes. */
#define ATOM16(n, E) \
static const struct op *atom_##n(struct warp *w, const struct op *o, uint32_t m) \
{ \
	mem_resolve(w, o, m, 2); \
	uint32_t *d = o->d == REF_NONE ? NULL : R32(w, o->d); \
	const uint32_t *pb = R32(w, o->b), *pc = R32(w, o->c); \
	waited_for(w); \
	EACH(m, l) { \
		uint16_t *p = (uint16_t *)(uintptr_t)w->ptr[l], b = (uint16_t)pb[l], c = (uint16_t)pc[l], old; \
		(void)c; \
		E; \
		if (d) d[l] = old; \
	} \
	return o + 1; \
}
ATOM16(cas_16, old = b; __atomic_compare_exchange_n(p, &old, c, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
ATOM16(exch_16, old = __atomic_exchange_n(p, b, __ATOMIC_SEQ_CST))
ATOM16(add_f16, RMW(uint16_t, (uint16_t)half1(old, b, HALF_ADD, false)))
ATOM16(add_bf16, RMW(uint16_t, (uint16_t)half1(old, b, HALF_ADD, true)))

/* 128 bits: x 0 exch, 1 cas. */
__attribute__((target("cx16")))
static const struct op *atom_128(struct warp *w, const struct op *o, uint32_t m)
{
	typedef unsigned __int128 u128;
	mem_resolve(w, o, m, 16);
	waited_for(w);
	EACH(m, l) {
		u128 *p = (u128 *)(uintptr_t)w->ptr[l], b, c, old, was;
		memcpy(&b, REF(w, o->b) + 16 * l, 16);
		memcpy(&c, REF(w, o->x ? o->c : o->b) + 16 * l, 16);
		if (o->x) {
			old = __sync_val_compare_and_swap(p, b, c);
		} else {
			old = 0;
			while ((was = __sync_val_compare_and_swap(p, old, b)) != old)
				old = was;
		}
		if (o->d != REF_NONE)
			memcpy(REF(w, o->d) + 16 * l, &old, 16);
	}
	return o + 1;
}

/* Vectors of f32, f16x2 and so on: elements are atomic one by one, as on the hardware.  list: results (x of them,
 * REF_NONE where unwanted), then operands; z: the scalar op in vec_step. */
enum { VEC_F32, VEC_F16X2, VEC_BF16X2, VEC_F16, VEC_BF16 };
static const struct op *atom_vec(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t esize = o->z % 8 >= VEC_F16 ? 2 : 4, kind = o->z % 8, what = o->z / 8;
	mem_resolve(w, o, m, esize * o->x);
	waited_for(w);
	for (uint32_t k = 0; k < o->x; k++) {
		uint32_t *d = o->list[k] == REF_NONE ? NULL : R32(w, o->list[k]);
		const uint32_t *pb = R32(w, o->list[o->x + k]);
		EACH(m, l) {
			uint32_t b = pb[l], res;
			if (esize == 2) {
				uint16_t *p = (uint16_t *)(uintptr_t)w->ptr[l] + k, old;
				RMW(uint16_t, (uint16_t)half1(old, b & 0xffff, (int)what, kind == VEC_BF16));
				res = old;
			} else {
				uint32_t *p = (uint32_t *)(uintptr_t)w->ptr[l] + k, old;
				if (kind == VEC_F32)
					RMW(uint32_t, f32_ftz(fadd32(f32_ftz(old), f32_ftz(b))));
				else
					RMW(uint32_t, half2(old, b, (int)what, kind == VEC_BF16X2));
				res = old;
			}
			if (d)
				d[l] = res;
		}
	}
	return o + 1;
}

static const struct { const char *name; op_fn fn; unsigned size; } table[] = {
#define ROW(n, s) { #n, atom_##n, s },
#define ROWS(B, s) ROW(add_##B, s) ROW(and_##B, s) ROW(or_##B, s) ROW(xor_##B, s) ROW(exch_##B, s) ROW(cas_##B, s) \
	ROW(min_u##B, s) ROW(max_u##B, s) ROW(min_s##B, s) ROW(max_s##B, s) ROW(inc_##B, s) ROW(dec_##B, s)
	ROWS(32, 4) ROWS(64, 8)
	ROW(add_f32, 4) ROW(add_ftz_f32, 4) ROW(add_f64, 8)
	ROW(add_f16x2, 4) ROW(add_bf16x2, 4) ROW(min_f16x2, 4) ROW(min_bf16x2, 4) ROW(max_f16x2, 4) ROW(max_bf16x2, 4)
	ROW(cas_16, 2) ROW(exch_16, 2) ROW(add_f16, 2) ROW(add_bf16, 2)
	{ "exch_128", atom_128, 16 }, { "cas_128", atom_128, 16 },
};

/* Which operation the suffixes name: "add", "cas" ...; NULL if none. */
static const char *operation(const struct ptx_inst *i)
{
	static const uint16_t mods[] = { PTX_MOD_add, PTX_MOD_and, PTX_MOD_or, PTX_MOD_xor, PTX_MOD_exch,
		PTX_MOD_cas, PTX_MOD_min, PTX_MOD_max, PTX_MOD_inc, PTX_MOD_dec };
	for (unsigned k = 0; k < sizeof mods / sizeof *mods; k++)
		if (ptx_has_mod(i, mods[k]))
			return ptx_mod_name(mods[k]);
	return NULL;
}

op_fn exec_atom_fn(const struct ptx_inst *i, unsigned *size, const char **why)
{
	const char *name = operation(i), *t = ptx_type_name(i->type);
	char key[32];
	*why = "this atomic operation on this type";
	if (!name)
		return NULL;
	if (i->vec > 1) {
		*size = i->type == PTX_T_F16 || i->type == PTX_T_BF16 ? 2 : 4;
		bool ok = i->type == PTX_T_F32 ? !strcmp(name, "add") : i->type == PTX_T_F16X2
			|| i->type == PTX_T_BF16X2
			|| i->type == PTX_T_F16 || i->type == PTX_T_BF16;
		return ok && (!strcmp(name, "add") || !strcmp(name, "min") || !strcmp(name, "max")) ? atom_vec : NULL;
	}
	bool minmax = !strcmp(name, "min") || !strcmp(name, "max");
	if (i->type == PTX_T_F32 && i->space != PTX_SHARED && i->space != PTX_SHARED_CLUSTER)
		snprintf(key, sizeof key, "%s_ftz_f32", name);
	else if (t[0] == 'f' || (t[0] == 'b' && t[1] == 'f'))
		snprintf(key, sizeof key, "%s_%s", name, t);
	else if (minmax)
		snprintf(key, sizeof key, "%s_%s", name, t);
	else
		snprintf(key, sizeof key, "%s_%u", name, 8 * ptx_type_bytes(i->type));
	for (unsigned k = 0; k < sizeof table / sizeof *table; k++) {
		if (!strcmp(table[k].name, key)) {
			*size = table[k].size;
			return table[k].fn;
		}
	}
	return NULL;
}
