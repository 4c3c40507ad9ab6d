/* exec_mem.c - where a device address lies in this process, lane by lane: the slow and precise companion of
 * exec_mem.h; and the handlers of asynchronous copies and mbarriers, which execute at once. */
#include <string.h>
#include "exec_internal.h"

#define EACH(m, l) for (uint32_t m_ = (m), l = 0; m_ && (l = lane_first(m_), 1); m_ &= m_ - 1)

static const uint64_t zeroes[16];

static const char *const access_name[] = { "load", "store", "atomic" };

static void bad(struct warp *w, const struct op *o, uint32_t lane, uint64_t addr, uint64_t len, const char *space)
	__attribute__((noreturn));
static void bad(struct warp *w, const struct op *o, uint32_t lane, uint64_t addr, uint64_t len, const char *space)
{
	exec_raise(w, o, lane, CUDA_ERROR_ILLEGAL_ADDRESS, addr, "%s of %llu bytes at %s 0x%llx, out of range",
	           access_name[o->e <= MA_ATOMIC ? o->e : 0], (unsigned long long)len, space, (unsigned long long)addr);
}

static bool inside(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

static uint64_t at(const void *p, uint64_t off)
{
	return (uint64_t)(uintptr_t)p + off;
}

static uint64_t global_at(struct warp *w, const struct op *o, uint32_t lane, uint64_t a, uint64_t len)
{
	if ((a >= SOFT_ARENA_BASE && inside(a - SOFT_ARENA_BASE, len, SOFT_ARENA_END - SOFT_ARENA_BASE))
			|| soft_host_range(a, len))
		return a;
	bad(w, o, lane, a, len, "global");
}

static uint64_t const_at(struct warp *w, uint64_t off, uint64_t len)
{
	const struct exec_module *m = w->cta->grid->m;
	return inside(off, len, m->const_bytes) ? m->const_addr + off : at(zeroes, 0);
}

static uint64_t param_at(struct warp *w, const struct op *o, uint32_t lane, uint64_t off, uint64_t len)
{
	struct grid *g = w->cta->grid;
	if (!inside(off, len, (g->param_bytes + 15u) & ~15u))
		bad(w, o, lane, off, len, "param");
	return at(g->params, off);
}

static uint64_t generic_at(struct warp *w, const struct op *o, uint32_t lane, uint64_t a, uint64_t len)
{
	if (a >= SOFT_ARENA_BASE || a < SOFT_SHARED_BASE)
		return global_at(w, o, lane, a, len);
	if (a - SOFT_SHARED_BASE < WINDOW_SIZE) {
		if (!inside(a - SOFT_SHARED_BASE, len, w->cta->shared_size))
			bad(w, o, lane, a, len, "generic (shared)");
		return at(w->cta->shared, a - SOFT_SHARED_BASE);
	}
	if (a - SOFT_SHARED_BASE < CLUSTER_WINDOW)
		return cluster_at(w, o, lane, a - SOFT_SHARED_BASE, len);
	if (a - SOFT_LOCAL_BASE < WINDOW_SIZE) {
		if (o->e == MA_ATOMIC)
			exec_raise(w, o, lane, CUDA_ERROR_INVALID_ADDRESS_SPACE, a, "atomic on local memory");
		if (!inside(a - SOFT_LOCAL_BASE, len, w->cta->local_stride))
			bad(w, o, lane, a, len, "generic (local)");
		return at(w->local, (uint64_t)lane * w->cta->local_stride + (a - SOFT_LOCAL_BASE));
	}
	if (a - SOFT_CONST_BASE < WINDOW_SIZE) {
		uint64_t off = a - SOFT_CONST_BASE;
		if (o->e != MA_LOAD)
			bad(w, o, lane, a, len, "generic (constant)");
		return off >= PARAM_WINDOW ? param_at(w, o, lane, off - PARAM_WINDOW, len) : const_at(w, off, len);
	}
	return global_at(w, o, lane, a, len);
}

static uint64_t lane_at(struct warp *w, const struct op *o, uint32_t lane, uint64_t a, uint64_t len)
{
	struct cta *c = w->cta;
	const struct frame *f = w->frame;
	switch (o->y) {
	case MC_SHARED32: case MC_SHARED64:
		if (!inside(a, len, c->shared_size))
			bad(w, o, lane, a, len, "shared");
		return at(c->shared, a);
	case MC_LOCAL32: case MC_LOCAL64:
		if (!inside(a, len, c->local_stride))
			bad(w, o, lane, a, len, "local");
		return at(w->local, (uint64_t)lane * c->local_stride + a);
	case MC_CONST32: case MC_CONST64:
		return const_at(w, a, len);
	case MC_PARAM32: case MC_PARAM64:
		return param_at(w, o, lane, a, len);
	case MC_FPARAM32: case MC_FPARAM64:
		if (!inside(a, len, f->f->par_bytes))
			bad(w, o, lane, a, len, "param");
		return at(f->par, (uint64_t)lane * f->f->par_bytes + a);
	case MC_CLUSTER32: case MC_CLUSTER64:
		return cluster_at(w, o, lane, a, len);
	case MC_GENERIC:
		return generic_at(w, o, lane, a, len);
	default:
		return global_at(w, o, lane, a, len);
	}
}

static bool base_is_64(uint32_t cls)
{
	return cls == MC_GLOBAL || (cls != MC_GLOBAL32 && (cls & 1));
}

void mem_slow(struct warp *w, const struct op *o, uint32_t m, unsigned size)
{
	bool wide = base_is_64(o->y);
	w->mem_op = o;
	w->mem_mask = m;
	w->mem_size = size;
	EACH(m, l) {
		uint64_t a = wide ? R64(w, o->a)[l] + (uint64_t)o->imm : (uint32_t)(R32(w, o->a)[l] + (uint32_t)o->imm);
		if (a & (size - 1))
			exec_raise(w, o, l, CUDA_ERROR_MISALIGNED_ADDRESS, a,
				"%s of %u bytes at 0x%llx, which is not aligned",
			           access_name[o->e <= MA_ATOMIC ? o->e : 0], size, (unsigned long long)a);
		w->ptr[l] = lane_at(w, o, l, a, size);
	}
}

void mem_resolve(struct warp *w, const struct op *o, uint32_t m, unsigned size)
{
	mem_slow(w, o, m, size);
}

/* Host address of [addr, addr+len) as a load by one lane sees it. */
void *mem_generic(struct warp *w, uint32_t lane, uint64_t addr, uint64_t len)
{
	static const struct op load = { .y = MC_GENERIC, .e = MA_LOAD };
	struct op o = load;
	o.line = w->mem_op ? w->mem_op->line : 0;
	uint64_t p = generic_at(w, &o, lane, addr, len);
	w->mem_mask = 1u << lane;
	w->mem_size = (uint32_t)len;
	w->ptr[lane] = p;
	return (void *)(uintptr_t)p;
}

/* A load from an address that is the same for all lanes: parameters and constants by name.  x: elements; c: bytes of
 * one, 256 for signed; b: bytes per lane of the registers, which are d or list. */
const struct op *op_ld_uniform(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t bytes = o->c & 255, lane = lane_first(m);
	const uint8_t *p = (const uint8_t *)(uintptr_t)lane_at(w, o, lane, (uint64_t)o->imm, (uint64_t)bytes * o->x);
	if ((uint64_t)o->imm & (bytes * o->x - 1))
		exec_raise(w, o, lane, CUDA_ERROR_MISALIGNED_ADDRESS, (uint64_t)o->imm,
			"load at %lld, which is not aligned", (long long)o->imm);
	for (uint32_t k = 0; k < o->x; k++) {
		uint32_t ref = o->x == 1 ? o->d : o->list[k];
		uint64_t v = 0;
		if (ref == REF_NONE)
			continue;
		memcpy(&v, p + k * bytes, bytes);
		if (o->c & 256)
			v = (uint64_t)((int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes));
		uint32_t *d = R32(w, ref);
		uint64_t *q = R64(w, ref);
		if (o->b == 4 && m == FULL) {
			for (int l = 0; l < WARP; l++)
				d[l] = (uint32_t)v;
		} else if (o->b == 4) {
			EACH(m, l) d[l] = (uint32_t)v;
		} else if (m == FULL) {
			for (int l = 0; l < WARP; l++)
				q[l] = v;
		} else {
			EACH(m, l) q[l] = v;
		}
	}
	return o + 1;
}

/* --- 128-bit registers -------------------------------------------------------------------------- */

const struct op *op_ld128(struct warp *w, const struct op *o, uint32_t m)
{
	mem_slow(w, o, m, 16);
	uint8_t *d = REF(w, o->d);
	EACH(m, l) memcpy(d + 16 * l, (const void *)(uintptr_t)w->ptr[l], 16);
	return o + 1;
}

const struct op *op_st128(struct warp *w, const struct op *o, uint32_t m)
{
	mem_slow(w, o, m, 16);
	const uint8_t *s = REF(w, o->b);
	EACH(m, l) memcpy((void *)(uintptr_t)w->ptr[l], s + 16 * l, 16);
	return o + 1;
}

/* Prefetches touch nothing: an address that is not mapped is no error on the hardware either. */
const struct op *op_prefetch(struct warp *w, const struct op *o, uint32_t m)
{
	(void)w;
	(void)m;
	return o + 1;
}

/* d (predicate) = is a (64-bit lanes if y & 1) an address in the window of space x. */
const struct op *op_isspacep(struct warp *w, const struct op *o, uint32_t m)
{
	uint32_t r = 0;
	EACH(m, l) {
		uint64_t a = (o->y & 1) ? R64(w, o->a)[l] : R32(w, o->a)[l];
		bool sh = a - SOFT_SHARED_BASE < WINDOW_SIZE, lo = a - SOFT_LOCAL_BASE < WINDOW_SIZE;
		bool co = a - SOFT_CONST_BASE < WINDOW_SIZE;
		bool cl = a - SOFT_SHARED_BASE < CLUSTER_WINDOW;
		bool in = o->x == PTX_SHARED ? sh : o->x == PTX_SHARED_CLUSTER ? cl : o->x == PTX_LOCAL ? lo
			: o->x == PTX_CONST ? co && a - SOFT_CONST_BASE < PARAM_WINDOW
			: o->x == PTX_PARAM ? co && a - SOFT_CONST_BASE >= PARAM_WINDOW : !cl && !lo && !co;
		r |= (uint32_t)in << l;
	}
	PRED(w, o->d) = (PRED(w, o->d) & ~m) | r;
	return o + 1;
}

/* --- asynchronous copies ------------------------------------------------------------------------- */

/* One lane's address from a register (lanes: 4 or 8 bytes) and an offset, as if by a load (store) of class cls. */
static uint8_t *lane_ptr(struct warp *w, const struct op *o, uint32_t l, const struct async_addr *a, uint64_t len,
	uint32_t kind)
{
	struct op t = *o;
	bool wide = base_is_64(a->cls);
	uint64_t v = wide ? R64(w, a->ref)[l] + (uint64_t)a->off : (uint32_t)(R32(w, a->ref)[l] + (uint32_t)a->off);
	t.y = a->cls;
	t.e = kind;
	uint64_t p = lane_at(w, &t, l, v, len);
	w->mem_op = o;
	w->mem_mask = 1u << l;
	w->mem_size = (uint32_t)len;
	w->ptr[l] = p;
	if (v & ((len & (len - 1)) == 0 && len <= 16 ? len - 1 : 0))
		exec_raise(w, o, l, CUDA_ERROR_MISALIGNED_ADDRESS, v, "asynchronous copy at 0x%llx, which is not "
			"aligned", (unsigned long long)v);
	return (uint8_t *)(uintptr_t)p;
}

/* cp.async: x bytes from src to dst; c, when not REF_NONE, how many of them are read, the rest become zero. */
const struct op *op_cp_async(struct warp *w, const struct op *o, uint32_t m)
{
	const struct async_copy *c = o->ext;
	EACH(m, l) {
		uint8_t buf[16] = { 0 };
		uint32_t n = o->c == REF_NONE ? o->x : R32(w, o->c)[l];
		n = n > o->x ? o->x : n;
		if (n)
			memcpy(buf, lane_ptr(w, o, l, &c->src, o->x, MA_LOAD), n);
		memcpy(lane_ptr(w, o, l, &c->dst, o->x, MA_STORE), buf, o->x);
	}
	return o + 1;
}

/* --- mbarrier ------------------------------------------------------------------------------------ */

/* The opaque 64 bits, as ptxas's code for init and pending_count lays them out: 1..20 the expected count and 43..62 the
 * pending one, both negative; 21..41 the bytes still to come; 63 the phase.  An H200 checks every step: more arrivals
 * than are pending (all lanes of an instruction count at once, before the phase can end), or bytes beyond 20 bits, are
 * a launch failure.  So is an arrival at memory that is 0, or was invalidated: nobody is pending there; and anything
 * but init and inval where all bits are set. */
#define MB_COUNT 0xfffffu
#define MB_TX_MAX ((1 << 20) - 1)
#define MB_PHASE 63
struct mbar { uint32_t pending, expected, phase; int64_t tx; };

static uint32_t mb_count(uint64_t negative) { return -(uint32_t)negative & MB_COUNT; }

static struct mbar mb_load(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return (struct mbar){ .pending = mb_count(v >> 43), .expected = mb_count(v >> 1), .phase = v >> MB_PHASE,
		.tx = (int64_t)(v << 22) >> 43 };
}

static uint64_t mb_pack(const struct mbar *b)
{
	return (uint64_t)mb_count(b->pending) << 43 | (uint64_t)mb_count(b->expected) << 1
		| ((uint64_t)b->tx & 0x1fffff) << 21 | (uint64_t)b->phase << MB_PHASE;
}

static void mb_store(uint8_t *p, const struct mbar *b)
{
	uint64_t v = mb_pack(b);
	memcpy(p, &v, 8);
}

/* The phase ends when nobody and nothing is missing. */
static void mb_turn(uint8_t *p)
{
	struct mbar b = mb_load(p);
	if (b.pending || b.tx)
		return;
	b.phase ^= 1;
	b.pending = b.expected;
	mb_store(p, &b);
}

static void mb_arrive(struct warp *w, const struct op *o, uint32_t l, struct mbar *b, uint32_t n)
{
	if (n > b->pending)
		exec_raise(w, o, l, CUDA_ERROR_LAUNCH_FAILED, 0, "%u arrive at an mbarrier where %u are pending", n,
			b->pending);
	b->pending -= n;
}

static void mb_tx(struct warp *w, const struct op *o, uint32_t l, struct mbar *b, int64_t n)
{
	if (n < -MB_TX_MAX || n > MB_TX_MAX || b->tx + n < -MB_TX_MAX || b->tx + n > MB_TX_MAX)
		exec_raise(w, o, l, CUDA_ERROR_LAUNCH_FAILED, 0, "%lld bytes more at an mbarrier with %lld pending",
			(long long)n, (long long)b->tx);
	b->tx += n;
}

static void mb_bytes(struct warp *w, const struct op *o, uint32_t l, const struct async_addr *a, int64_t n)
{
	uint8_t *p = lane_ptr(w, o, l, a, 8, MA_STORE);
	struct mbar b = mb_load(p);
	mb_tx(w, o, l, &b, n);
	mb_store(p, &b);
	mb_turn(p);
}

/* cp.async.bulk: c bytes from src to dst, then that many bytes arrive at the mbarrier, if there is one. */
const struct op *op_cp_bulk(struct warp *w, const struct op *o, uint32_t m)
{
	const struct async_copy *c = o->ext;
	EACH(m, l) {
		uint32_t n = R32(w, o->c)[l];
		if (n % 16)
			exec_raise(w, o, l, CUDA_ERROR_MISALIGNED_ADDRESS, n, "bulk copy of %u bytes", n);
		for (uint32_t i = 0; i < n; i += 16) {
			struct async_addr s = c->src, d = c->dst;
			uint8_t buf[16];
			s.off += i;
			d.off += i;
			memcpy(buf, lane_ptr(w, o, l, &s, 16, MA_LOAD), 16);
			memcpy(lane_ptr(w, o, l, &d, 16, MA_STORE), buf, 16);
		}
		if (c->has_bar)
			mb_bytes(w, o, l, &c->bar, -(int64_t)n);
	}
	return o + 1;
}

/* One lane's step of mode x by v, but for the end of the phase. */
static void mb_step(struct warp *w, const struct op *o, uint32_t l, struct mbar *b, uint32_t v)
{
	switch (o->x) {
	case MB_INIT: *b = (struct mbar){ .pending = v & MB_COUNT, .expected = v & MB_COUNT }; break;
	case MB_INVAL: *b = (struct mbar){ 0 }; break;
	case MB_EXPECT: mb_tx(w, o, l, b, v); break;
	case MB_COMPLETE: mb_tx(w, o, l, b, -(int64_t)v); break;
	case MB_ARRIVE: mb_arrive(w, o, l, b, v); break;
	/* Done by the copy, some time: an H200 lets it pass where the barrier is no more. */
	case MB_ARRIVE_COPY: b->pending -= b->pending != 0; break;
	case MB_ARRIVE_EXPECT:
		mb_tx(w, o, l, b, v);
		mb_arrive(w, o, l, b, 1);
		break;
	case MB_DROP_EXPECT:
		mb_tx(w, o, l, b, v);
		v = 1;
		/* fall through */
	case MB_DROP:
		mb_arrive(w, o, l, b, v);
		if (v > b->expected)
			exec_raise(w, o, l, CUDA_ERROR_LAUNCH_FAILED, 0, "%u drop out of an mbarrier of %u", v,
				b->expected);
		b->expected -= v;
		break;
	}
}

static bool mb_done(const struct op *o, const uint8_t *p, uint64_t v)
{
	return (o->x == MB_TEST ? v >> MB_PHASE : v & 1) != mb_load(p).phase;
}

/* x: MB_*; ext: the address (dst); b: count, parity or token; d: state, predicate or count. */
const struct op *op_mbarrier(struct warp *w, const struct op *o, uint32_t m)
{
	const struct async_copy *c = o->ext;
	uint32_t pred = 0;
	uint8_t *at[WARP] = { NULL };
	bool test = o->x == MB_TEST || o->x == MB_TEST_PARITY;
	bool checked = o->x != MB_INIT && o->x != MB_INVAL && o->x != MB_ARRIVE_COPY;
	static const uint8_t all_ones[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	EACH(m, l) {
		uint64_t v = o->b == REF_NONE ? 1 : o->z == 2 ? R64(w, o->b)[l] : R32(w, o->b)[l];
		if (o->x == MB_PENDING) {
			R32(w, o->d)[l] = 0x100000 - (v >> 43 & MB_COUNT);
			continue;
		}
		uint8_t *p = at[l] = lane_ptr(w, o, l, &c->dst, 8, MA_STORE);
		if (checked && !memcmp(p, all_ones, 8))
			exec_raise(w, o, l, CUDA_ERROR_LAUNCH_FAILED, 0, "an mbarrier of all ones");
		if (test) {
			pred |= (uint32_t)mb_done(o, p, v) << l;
			continue;
		}
		struct mbar b = mb_load(p);
		uint64_t token = mb_pack(&b);
		mb_step(w, o, l, &b, (uint32_t)v);
		mb_store(p, &b);
		if (o->d != REF_NONE)
			R64(w, o->d)[l] = token;
	}
	if (test) {
		PRED(w, o->d) = (PRED(w, o->d) & ~m) | pred;
		w->spins += 128;
		w->spun++;
		w->budget -= 16;
		return o + 1;
	}
	if (o->x == MB_INIT || o->x == MB_INVAL || o->x == MB_PENDING)
		return o + 1;
	EACH(m, l) {
		bool last = true;
		for (uint32_t k = l + 1; k < WARP; k++)
			last &= at[k] != at[l];
		if (last)
			mb_turn(at[l]);
	}
	return o + 1;
}
