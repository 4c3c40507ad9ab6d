/* exec_mem.h - loads and stores of the vector handlers, included by exec_simd.h only.
 *
 * resolve() turns the address operand into 32 host addresses in w->ptr and checks space, bounds and alignment of all
 * active lanes at once; anything it does not like goes to mem_slow(), which decides lane by lane and raises the error.
 * op.y says how the address is formed (enum mem_class), op.imm is the constant offset, op.z is 1 for accesses
 * other threads are waiting for (volatile, acquire ...), which hurry the scheduler. */

#define ARENA_MASK (~(SOFT_ARENA_END - SOFT_ARENA_BASE - 1))
_Static_assert(((SOFT_ARENA_END - SOFT_ARENA_BASE) & (SOFT_ARENA_END - SOFT_ARENA_BASE - 1)) == 0, "power of two");

static inline void resolve(struct warp *w, const struct op *o, uint32_t m, uint64_t size)
{
	uint64_t *ptr = w->ptr, acc = 0, base, lim;
	w->mem_op = o;
	w->mem_mask = m;
	w->mem_size = (uint32_t)size;
	if ((o->y | 1) == MC_GENERIC) {
		const uint64_t *a = R64(w, o->a), off = (uint64_t)o->imm;
		if (m == FULL) {
			IVDEP for (int l = 0; l < WARP; l++) {
				uint64_t v = a[l] + off;
				ptr[l] = v;
				acc |= v - SOFT_ARENA_BASE;
			}
		} else {
			IVDEP for (int l = 0; l < WARP; l++) {
				uint64_t v = a[l] + off;
				ptr[l] = v;
				acc |= (m & lane_bit[l]) ? v - SOFT_ARENA_BASE : 0;
			}
		}
		if (acc & (ARENA_MASK | (size - 1)))
			mem_slow(w, o, m, (unsigned)size);
		return;
	}
	if (o->y > MC_LOCAL64) {
		mem_slow(w, o, m, (unsigned)size);
		return;
	}
	bool local = o->y >= MC_LOCAL32;
	uint64_t stride = local ? w->cta->local_stride : 0, off = (uint64_t)o->imm;
	base = (uint64_t)(uintptr_t)(local ? w->local : w->cta->shared);
	lim = (local ? stride : w->cta->shared_size) - size;
	/* In bounds iff neither the offset nor limit - offset has its top bit set. */
	if (o->y & 1) {
		const uint64_t *a = R64(w, o->a);
		IVDEP for (int l = 0; l < WARP; l++) {
			uint64_t v = a[l] + off;
			ptr[l] = base + (uint64_t)l * stride + v;
			acc |= (m & lane_bit[l]) ? ((v | (lim - v)) & (1ull << 63)) | (v & (size - 1)) : 0;
		}
	} else {
		const uint32_t *a = R32(w, o->a);
		IVDEP for (int l = 0; l < WARP; l++) {
			uint64_t v = (uint32_t)(a[l] + (uint32_t)off);
			ptr[l] = base + (uint64_t)l * stride + v;
			acc |= (m & lane_bit[l]) ? ((lim - v) & (1ull << 63)) | (v & (size - 1)) : 0;
		}
	}
	if (acc)
		mem_slow(w, o, m, (unsigned)size);
}

static inline void hurry(struct warp *w, const struct op *o)
{
	w->spins += o->z << 7;
	w->spun += o->z;
	w->budget -= (int32_t)(o->z << 4);
}

/* ET: element in memory; ST: lane of the register; CV: conversion between them. */
#define LOAD(n, ET, ST, CV) \
HANDLER(ld_##n) { \
	resolve(w, o, m, sizeof(ET)); \
	ST *d = (ST *)R64(w, o->d); \
	const uint64_t *ptr = w->ptr; \
	hurry(w, o); \
	if (m == FULL) { \
		for (int l = 0; l < WARP; l++) d[l] = (ST)(CV)*(const ET *)(uintptr_t)ptr[l]; \
	} else { \
		EACH(m, l) d[l] = (ST)(CV)*(const ET *)(uintptr_t)ptr[l]; \
	} \
	return o + 1; \
} \
HANDLER(ldv_##n) { \
	resolve(w, o, m, sizeof(ET) * o->x); \
	const uint64_t *ptr = w->ptr; \
	hurry(w, o); \
	for (uint32_t k = 0; k < o->x; k++) { \
		if (o->list[k] == REF_NONE) continue; \
		ST *d = (ST *)R64(w, o->list[k]); \
		EACH(m, l) d[l] = (ST)(CV)((const ET *)(uintptr_t)ptr[l])[k]; \
	} \
	return o + 1; \
}
LOAD(u8_32, uint8_t, uint32_t, uint32_t)
LOAD(s8_32, int8_t, uint32_t, int32_t)
LOAD(u16_32, uint16_t, uint32_t, uint32_t)
LOAD(s16_32, int16_t, uint32_t, int32_t)
LOAD(u32_32, uint32_t, uint32_t, uint32_t)
LOAD(u8_64, uint8_t, uint64_t, uint64_t)
LOAD(s8_64, int8_t, uint64_t, int64_t)
LOAD(u16_64, uint16_t, uint64_t, uint64_t)
LOAD(s16_64, int16_t, uint64_t, int64_t)
LOAD(u32_64, uint32_t, uint64_t, uint64_t)
LOAD(s32_64, int32_t, uint64_t, int64_t)
LOAD(u64_64, uint64_t, uint64_t, uint64_t)

#define STORE(n, ET, ST) \
HANDLER(st_##n) { \
	resolve(w, o, m, sizeof(ET)); \
	const ST *s = (const ST *)R64(w, o->b); \
	const uint64_t *ptr = w->ptr; \
	hurry(w, o); \
	if (m == FULL) { \
		for (int l = 0; l < WARP; l++) *(ET *)(uintptr_t)ptr[l] = (ET)s[l]; \
	} else { \
		EACH(m, l) *(ET *)(uintptr_t)ptr[l] = (ET)s[l]; \
	} \
	return o + 1; \
} \
HANDLER(stv_##n) { \
	resolve(w, o, m, sizeof(ET) * o->x); \
	const uint64_t *ptr = w->ptr; \
	hurry(w, o); \
	for (uint32_t k = 0; k < o->x; k++) { \
		const ST *s = (const ST *)R64(w, o->list[k]); \
		EACH(m, l) ((ET *)(uintptr_t)ptr[l])[k] = (ET)s[l]; \
	} \
	return o + 1; \
}
STORE(u8_32, uint8_t, uint32_t)
STORE(u16_32, uint16_t, uint32_t)
STORE(u32_32, uint32_t, uint32_t)
STORE(u8_64, uint8_t, uint64_t)
STORE(u16_64, uint16_t, uint64_t)
STORE(u32_64, uint32_t, uint64_t)
STORE(u64_64, uint64_t, uint64_t)
