/* exec_mem.h - loads and stores of the vector handlers, included by exec_simd.h only.
 *
 * resolve() turns the address operand into 32 host addresses in w->ptr and checks space, bounds and alignment of all
 * active lanes at once; anything it does not like goes to mem_slow(), which decides lane by lane and raises the error.
 * op.y says how the address is formed (enum mem_class), op.imm is the constant offset, op.z is 1 for accesses
 * other threads are waiting for (volatile, acquire ...), which hurry the scheduler. */

#define ARENA_MASK (~(SOFT_ARENA_END - SOFT_ARENA_BASE - 1))
_Static_assert(((SOFT_ARENA_END - SOFT_ARENA_BASE) & (SOFT_ARENA_END - SOFT_ARENA_BASE - 1)) == 0, "power of two");

static const uint64_t lane_zero[WARP] __attribute__((aligned(64)));

/* Addresses base + offset in shared memory, from 32-bit registers.  False: out of bounds or not aligned. */
static inline bool shared32(struct warp *w, const struct op *o, uint32_t m, uint64_t size)
{
	const uint32_t *a = R32(w, o->a);
	uint32_t off = (uint32_t)o->imm, most = 0, bits = 0;
	uint64_t base = (uint64_t)(uintptr_t)w->cta->shared, *ptr = w->ptr;
	if (m == FULL) {
		IVDEP for (int l = 0; l < WARP; l++) {
			uint32_t v = a[l] + off;
			ptr[l] = base + v;
			bits |= v;
			most = v > most ? v : most;
		}
	} else {
		IVDEP for (int l = 0; l < WARP; l++) {
			uint32_t v = a[l] + off, u = (m & lane_bit[l]) ? v : 0;
			ptr[l] = base + v;
			bits |= u;
			most = u > most ? u : most;
		}
	}
	return most + size <= w->cta->shared_size && !(bits & (size - 1));
}

/* Shared and local memory by 64-bit registers, local by 32-bit ones; lanes are stride bytes apart in local memory. */
static inline bool windowed(struct warp *w, const struct op *o, uint32_t m, uint64_t size)
{
	bool local = o->y >= MC_LOCAL32, wide = o->y & 1;
	uint64_t base = (uint64_t)(uintptr_t)(local ? w->local : w->cta->shared), off = (uint64_t)o->imm, over = 0,
		bits = 0;
	uint64_t lim = (local ? w->cta->local_stride : w->cta->shared_size) - size, *ptr = w->ptr;
	const uint64_t *a = R64(w, o->a), *row = local ? w->lane_off : lane_zero;
	const uint32_t *a32 = R32(w, o->a);
	/* In bounds iff neither the offset nor limit - offset has its top bit set. */
	if (wide) {
		IVDEP for (int l = 0; l < WARP; l++) {
			uint64_t v = a[l] + off, u = (m & lane_bit[l]) ? v : 0;
			ptr[l] = base + row[l] + v;
			over |= u | (lim - u);
			bits |= u;
		}
	} else {
		IVDEP for (int l = 0; l < WARP; l++) {
			uint64_t v = (uint32_t)(a32[l] + (uint32_t)off), u = (m & lane_bit[l]) ? v : 0;
			ptr[l] = base + row[l] + v;
			over |= lim - u;
			bits |= u;
		}
	}
	return !(over >> 63) && !(bits & (size - 1));
}

static inline bool global64(struct warp *w, const struct op *o, uint32_t m, uint64_t size)
{
	const uint64_t *a = R64(w, o->a), off = (uint64_t)o->imm;
	uint64_t acc = 0, *ptr = w->ptr;
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
	return !(acc & (ARENA_MASK | (size - 1)));
}

static inline void resolve(struct warp *w, const struct op *o, uint32_t m, uint64_t size)
{
	bool ok;
	w->mem_op = o;
	w->mem_mask = m;
	w->mem_size = (uint32_t)size;
	if ((o->y | 1) == MC_GENERIC)
		ok = global64(w, o, m, size);
	else if (o->y == MC_SHARED32)
		ok = shared32(w, o, m, size);
	else
		ok = o->y <= MC_LOCAL64 && windowed(w, o, m, size);
	if (!ok)
		mem_slow(w, o, m, (unsigned)size);
}

#define UNROLL _Pragma("GCC unroll 8")

static inline void hurry(struct warp *w, const struct op *o)
{
	w->spins += o->z << 7;
	w->spun += o->z;
	w->budget -= (int32_t)(o->z << 4);
}

/* Are the 32 addresses those of neighbours, as in a[threadIdx.x]?  Then one copy serves all lanes. */
static inline bool neighbours(const uint64_t *ptr, uint64_t size)
{
	uint64_t first = ptr[0], acc = 0;
	if (ptr[WARP - 1] - first != (WARP - 1) * size)
		return false;
	IVDEP for (int l = 0; l < WARP; l++)
		acc |= ptr[l] ^ (first + (uint64_t)l * size);
	return acc == 0;
}

/* ET: element in memory; ST: lane of the register; CV: conversion between them. */
#define LOAD(n, ET, ST, CV) \
HANDLER(ld_##n) { \
	resolve(w, o, m, sizeof(ET)); \
	ST *d = (ST *)R64(w, o->d); \
	const uint64_t *ptr = w->ptr; \
	hurry(w, o); \
	if (m == FULL && neighbours(ptr, sizeof(ET))) { \
		const ET *p = (const ET *)(uintptr_t)ptr[0]; \
		IVDEP for (int l = 0; l < WARP; l++) d[l] = (ST)(CV)p[l]; \
	} else if (m == FULL) { \
		UNROLL for (int l = 0; l < WARP; l++) d[l] = (ST)(CV)*(const ET *)(uintptr_t)ptr[l]; \
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
	if (m == FULL && neighbours(ptr, sizeof(ET))) { \
		ET *p = (ET *)(uintptr_t)ptr[0]; \
		IVDEP for (int l = 0; l < WARP; l++) p[l] = (ET)s[l]; \
	} else if (m == FULL) { \
		UNROLL for (int l = 0; l < WARP; l++) *(ET *)(uintptr_t)ptr[l] = (ET)s[l]; \
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
