/* runtime.cu - the trusted device functions that guarded kernels call (guard/runtime.def).
 *
 * Compiled to PTX when the guard is built and put in front of every guarded module.  Arguments come from client code
 * and are hostile: every pointer is checked against the window (or the kernel's own local memory) before it is
 * followed, every word in the window can change between two reads and is therefore read once, every loop has a bound.
 * */
#include "guard/device.h"

extern "C" {
__constant__ __align__(16) struct guard_desc ag_desc;
}

namespace {

constexpr unsigned MAX_ARGS = 32, MAX_STRING = 1024, MAX_RECORD = 8192, MAX_TRIES = 1 << 16;

/* Memory the caller may name: its window, and for strings and arguments of printf its local memory. */
struct own { uint32_t local_base, local_bytes; };

/* Not inlined, loops not unrolled: ptxas reads all of this for every module. */
#define SMALL __device__ __noinline__

SMALL uint64_t readable(uint64_t p, own o)
{
	uint64_t off = p - ag_desc.window_base;

	if (off < ag_desc.window_extent)
		return ag_desc.window_extent - off;
	if (o.local_bytes && __isLocal((const void *)p)) {
		uint64_t at = __cvta_generic_to_local((const void *)p) - o.local_base;

		return at < o.local_bytes ? o.local_bytes - at : 0;
	}
	return 0;
}

/* In loops that wait for another thread: their locks lie in the window, so the wait may be for ever. */
__device__ bool give_up(unsigned i)
{
	return (i & 63) == 63 && ag_desc.kill && *(const volatile uint32_t *)ag_desc.kill;
}

__device__ uint8_t byte_at(uint64_t p)
{
	return *(const volatile uint8_t *)p;
}

/* Bytes before the NUL, at most MAX_STRING - 1 and what may be read; -1 when nothing may. */
SMALL int string_length(uint64_t p, own o)
{
	uint64_t room = readable(p, o);
	int n = 0;

	if (!room)
		return -1;
#pragma unroll 1
	while (n < (int)MAX_STRING - 1 && (uint64_t)n < room && byte_at(p + n))
		n++;
	return n;
}

__device__ uint32_t padded(int len)
{
	return len < 0 ? 0 : ((uint32_t)len + 8) & ~7u;
}

/* --- the ring --- */

struct ring { volatile struct guard_printf *head; uint64_t data; uint32_t bytes; };

SMALL bool open_ring(ring *r)
{
	uint64_t at = ag_desc.printf_ring, off = at - ag_desc.window_base;
	uint32_t bytes;

	if (!at || off >= ag_desc.window_extent || ag_desc.window_extent - off < 24 || at % 8)
		return false;
	r->head = (volatile struct guard_printf *)at;
	r->data = at + 24;
	bytes = r->head->bytes;
	if (bytes < 64 || (bytes & (bytes - 1)) || bytes > ag_desc.window_extent - off - 24)
		return false;
	r->bytes = bytes;
	return true;
}

SMALL bool reserve(ring r, uint32_t bytes, uint64_t *start)
{
	unsigned long long *reserved = (unsigned long long *)&r.head->reserved;

#pragma unroll 1
	for (unsigned i = 0; i < MAX_TRIES; i++) {
		uint64_t was = r.head->reserved, used = was - r.head->consumed;

		if (used > r.bytes || bytes > r.bytes - used || was % 8 || give_up(i))
			break;
		if (atomicCAS(reserved, was, was + bytes) == was) {
			*start = was;
			return true;
		}
	}
	atomicAdd((unsigned *)&r.head->dropped, 1u);
	return false;
}

__device__ void put(const ring &r, uint64_t at, uint64_t word)
{
	*(volatile uint64_t *)(r.data + (at & (r.bytes - 1) & ~7ull)) = word;
}

SMALL void put_string(ring r, uint64_t at, uint64_t p, int len)
{
#pragma unroll 1
	for (uint32_t i = 0; i < padded(len); i += 8) {
		uint64_t word = 0;

#pragma unroll 1
		for (int j = 0; j < 8; j++)
			if ((int)i + j < len)
				word |= (uint64_t)byte_at(p + i + j) << (8 * j);
		put(r, at + i, word);
	}
}

__device__ void publish(const ring &r, uint64_t start, uint32_t bytes, uint32_t kind)
{
	__threadfence_system();
	put(r, start, (uint64_t)bytes | (uint64_t)kind << 32);
}

/* --- printf --- */

enum what { W_I32, W_U32, W_64, W_STRING };

struct scan { uint64_t fmt; int len, at; };

__device__ int next(scan *s)
{
	return s->at < s->len ? byte_at(s->fmt + s->at++) : 0;
}

/* The next argument that the format asks for; `star` counts those of `*` that come before their conversion's. */
SMALL bool next_argument(scan *s, unsigned *star, what *w, what *after)
{
	if (*star) {
		(*star)--;
		*w = *star ? W_I32 : *after;
		return true;
	}
#pragma unroll 1
	for (;;) {
		int c = next(s), longs = 0;
		unsigned stars = 0;

		if (!c)
			return false;
		if (c != '%')
			continue;
#pragma unroll 1
		for (c = next(s); c; c = next(s)) {
			if (c == '*')
				stars += stars < 2;
			else if (c == 'l' || c == 'j' || c == 'z' || c == 't' || c == 'L')
				longs = 1;
			else if (!(c >= '0' && c <= '9') && c != '-' && c != '+' && c != ' ' && c != '#' && c != '.'
				&& c != 'h')
				break;
		}
		switch (c) {
		case 'd': case 'i': *after = longs ? W_64 : W_I32; break;
		case 'c': *after = W_I32; break;
		case 'u': case 'o': case 'x': case 'X': *after = longs ? W_64 : W_U32; break;
		case 'p': case 'a': case 'A': case 'e': case 'E': case 'f': case 'F': case 'g': case 'G':
			*after = W_64;
			break;
		case 's': *after = W_STRING; break;
		case 0: return false;
		default: continue;      /* %% and what C does not define take nothing */
		}
		*star = stars;
		*w = stars ? W_I32 : *after;
		return true;
	}
}

struct argument { uint64_t value; int len; };   /* len: of a string, -1 unreadable, -2 no string */

__device__ int collect(scan s, uint64_t args, const own &o, argument *out)
{
	uint64_t room = readable(args, o), at = 0;
	unsigned star = 0;
	int n = 0;
	what w, after = W_I32;

#pragma unroll 1
	while (n < (int)MAX_ARGS && next_argument(&s, &star, &w, &after)) {
		uint32_t size = w == W_I32 || w == W_U32 ? 4 : 8;
		uint64_t value = 0;

		at = (at + size - 1) & ~(uint64_t)(size - 1);
		if (at + size > room || (args + at) % size)
			return -1;
		if (size == 4)
			value = *(const volatile uint32_t *)(args + at);
		else
			value = *(const volatile uint64_t *)(args + at);
		out[n].value = w == W_I32 ? (uint64_t)(int64_t)(int32_t)value : value;
		out[n++].len = w == W_STRING ? string_length(value, o) : -2;
		at += size;
	}
	return n;
}

} /* namespace */

extern "C" __device__ __noinline__ int ag_rt_printf(uint64_t fmt, uint64_t args, uint32_t local_base,
	uint32_t local_bytes)
{
	own o = { local_base, local_bytes };
	argument arg[MAX_ARGS];
	int len = string_length(fmt, o), n;
	uint32_t bytes, at;
	uint64_t start;
	ring r;

	if (len < 0 || !open_ring(&r))
		return -1;
	n = collect(scan{ fmt, len, 0 }, args, o, arg);
	if (n < 0)
		return -1;
	bytes = 16 + 8 * (uint32_t)n + padded(len);
#pragma unroll 1
	for (int i = 0; i < n; i++) {
		if (arg[i].len < -1)
			continue;
		if (bytes + padded(arg[i].len) > MAX_RECORD)
			arg[i].len = -1;
		bytes += padded(arg[i].len);
	}
	if (!reserve(r, bytes, &start))
		return -1;
	put(r, start + 8, (uint64_t)n);
	at = 16 + 8 * (uint32_t)n;
	put_string(r, start + at, fmt, len);
	at += padded(len);
#pragma unroll 1
	for (int i = 0; i < n; i++) {
		if (arg[i].len < -1) {
			put(r, start + 16 + 8 * i, arg[i].value);
			continue;
		}
		put(r, start + 16 + 8 * i, arg[i].len < 0 ? 0 : at);
		put_string(r, start + at, arg[i].value, arg[i].len);
		at += padded(arg[i].len);
	}
	publish(r, start, bytes, 0);
	return n;
}

extern "C" __device__ __noinline__ void ag_rt_assert(uint64_t message, uint64_t file, uint32_t line, uint64_t function)
{
	own none = { 0, 0 };
	uint64_t text[3] = { message, file, function }, start;
	uint32_t id[7] = { line, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z };
	uint32_t bytes = 16 + 8 * 10, at = bytes;
	int len[3];
	ring r;

	if (!open_ring(&r))
		return;
#pragma unroll 1
	for (int i = 0; i < 3; i++) {
		len[i] = string_length(text[i], none);
		bytes += padded(len[i]);
	}
	if (!reserve(r, bytes, &start))
		return;
	put(r, start + 8, 10);
#pragma unroll 1
	for (int i = 0; i < 3; i++) {
		put(r, start + 16 + 8 * i, len[i] < 0 ? 0 : at);
		put_string(r, start + at, text[i], len[i]);
		at += padded(len[i]);
	}
#pragma unroll 1
	for (int i = 0; i < 7; i++)
		put(r, start + 40 + 8 * i, id[i]);
	publish(r, start, bytes, 1);
}

/* --- faults --- */

extern "C" __device__ __noinline__ void ag_rt_report(uint32_t kernel, uint32_t packed, uint64_t addr)
{
	struct guard_records *all = (struct guard_records *)ag_desc.records;
	uint32_t code = packed >> GUARD_CODE_SHIFT, n;

	if (!all)
		return;
	/* Past the last record the count need not be exact, but must not come round to 0 again. */
	if (*(volatile uint32_t *)&all->count >= 1u << 30)
		return;
	n = atomicAdd(&all->count, 1u);
	if (n < GUARD_MAX_RECORDS) {
		volatile struct guard_record *rec = &all->rec[n];

		rec->kind = code == GUARD_CODE_TRAP ?
			GUARD_FAULT_TRAP : code == GUARD_CODE_ASSERT ? GUARD_FAULT_ASSERT :
			code >= GUARD_CODE_GATE ?
				GUARD_FAULT_GATE : addr & ((1u << code) - 1) ? GUARD_FAULT_ALIGN : GUARD_FAULT_ADDRESS;
		rec->client = ag_desc.client;
		rec->module = ag_desc.module;
		rec->kernel = kernel;
		rec->line = packed & ((1u << GUARD_CODE_SHIFT) - 1);
		rec->addr = addr;
		rec->ctaid[0] = blockIdx.x;
		rec->ctaid[1] = blockIdx.y;
		rec->ctaid[2] = blockIdx.z;
		rec->tid[0] = threadIdx.x;
		rec->tid[1] = threadIdx.y;
		rec->tid[2] = threadIdx.z;
		__threadfence_system();
		rec->valid = 1;
	}
	__threadfence_system();
	if (ag_desc.fault_word)
		*(volatile uint32_t *)ag_desc.fault_word = 1;
}

/* --- the heap --- */

namespace {

/* All of [p, p + n) in the window? */
__device__ bool in_window(uint64_t p, uint64_t n)
{
	uint64_t off = p - ag_desc.window_base;

	return off < ag_desc.window_extent && n <= ag_desc.window_extent - off;
}

__device__ volatile struct guard_heap *heap()
{
	uint64_t at = ag_desc.heap;

	return at && at % 8 == 0 && in_window(at,
		sizeof(struct guard_heap)) ? (volatile struct guard_heap *)at : nullptr;
}

__device__ uint64_t take(volatile struct guard_heap *h, uint64_t bytes)
{
	uint64_t prev = 0, at = h->free_list, next, end;

#pragma unroll 1
	for (int i = 0; i < 64 && at; i++) {            /* first fit among the latest 64 */
		uint64_t size, after;

		if (at % 16 || !in_window(at, 16))
			break;
		size = ((volatile uint64_t *)at)[0];
		after = ((volatile uint64_t *)at)[1];
		if (size >= bytes && size - bytes < bytes + 1024) {
			if (prev)
				((volatile uint64_t *)prev)[1] = after;
			else
				h->free_list = after;
			return at;
		}
		prev = at;
		at = after;
	}
	next = h->next;
	end = h->end;
	if (!next || next % 16 || next > end || bytes > end - next || !in_window(next, bytes))
		return 0;
	h->next = next + bytes;
	((volatile uint64_t *)next)[0] = bytes;
	return next;
}

} /* namespace */

/* The lock lies in the window, so its holder may never let go: give up in the end. */
extern "C" __device__ __noinline__ uint64_t ag_rt_malloc(uint64_t bytes)
{
	volatile struct guard_heap *h = heap();
	uint64_t at = 0;

	if (!h || !bytes || bytes > 1ull << 40)
		return 0;
	bytes = (bytes + 31) & ~15ull;
#pragma unroll 1
	for (unsigned i = 0; i < MAX_TRIES; i++) {
		bool got = atomicCAS((unsigned *)&h->lock, 0u, 1u) == 0;

		if (got) {
			__threadfence();
			at = take(h, bytes);
			__threadfence();
			atomicExch((unsigned *)&h->lock, 0u);
			break;
		}
		if (give_up(i))
			break;
	}
	return at ? at + 16 : 0;
}

extern "C" __device__ __noinline__ void ag_rt_free(uint64_t p)
{
	volatile struct guard_heap *h = heap();
	uint64_t at = p - 16;

	if (!h || !p || p % 16 || !in_window(at, 16))
		return;
#pragma unroll 1
	for (unsigned i = 0; i < MAX_TRIES; i++) {
		bool got = atomicCAS((unsigned *)&h->lock, 0u, 1u) == 0;

		if (got) {
			__threadfence();
			((volatile uint64_t *)at)[1] = h->free_list;
			h->free_list = at;
			__threadfence();
			atomicExch((unsigned *)&h->lock, 0u);
			break;
		}
		if (give_up(i))
			break;
	}
}

/* --- threads of a warp that meet --- */

namespace {

/* What a kernel that waits in hardware keeps of each of its warps, at the head of its shared object (guard.h, MEET). */
constexpr uint32_t RECORDS = 32, RECORD = 16, SITE = 8, START = 12;

__device__ uint32_t record_of(uint32_t head)
{
	uint32_t thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;

	return head + RECORDS + thread / 32 * RECORD;
}

__device__ uint32_t lane_bit()
{
	uint32_t lane;

	asm("mov.u32 %0, %%laneid;" : "=r"(lane));
	return 1u << lane;
}

__device__ bool killed()
{
	return ag_desc.kill && *(const volatile uint32_t *)ag_desc.kill;
}

/* The low half: who has come; the high half: who has left.  One word, so that all see them at one moment. */
__device__ uint64_t who(uint32_t rec)
{
	uint64_t w;

	asm volatile("ld.volatile.shared.u64 %0, [%1];" : "=l"(w) : "r"(rec) : "memory");
	return w;
}

__device__ uint64_t who_swap(uint32_t rec, uint64_t was, uint64_t now)
{
	uint64_t w;

	asm volatile("atom.shared.cas.b64 %0, [%1], %2, %3;" : "=l"(w) : "r"(rec), "l"(was), "l"(now) : "memory");
	return w;
}

__device__ void who_add(uint32_t rec, uint64_t bit)
{
	uint64_t was = who(rec), seen;

#pragma unroll 1
	while ((seen = who_swap(rec, was, was | bit)) != was)
		was = seen;
}

/* One instruction at a time gathers a warp's threads; the others wait until they have gone on. */
__device__ bool take_site(uint32_t rec, uint32_t site)
{
#pragma unroll 1
	for (;;) {
		uint32_t was;

		asm volatile("atom.shared.cas.b32 %0, [%1], 0, %2;" : "=r"(was) : "r"(rec + SITE), "r"(site)
			: "memory");
		if (!was || was == site)
			return true;
		if (killed())
			return false;
		__nanosleep(100);
	}
}

} /* namespace */

/* Waits until all threads of the warp that have not left are here, with the same `site`; which these are.  0: the
 * kernel is to end, and nobody counts on this thread.  A thread may go back on having come only as long as not all
 * have: whoever has seen that all have come will wait in hardware for each of them. */
extern "C" __device__ __noinline__ uint32_t ag_rt_meet(uint32_t head, uint32_t site)
{
	uint32_t rec = record_of(head), bit = lane_bit(), start, live;
	uint64_t w;

	asm volatile("ld.volatile.shared.u32 %0, [%1];" : "=r"(start) : "r"(rec + START) : "memory");
	if (!take_site(rec, site))
		return 0;
	who_add(rec, bit);
#pragma unroll 1
	for (;;) {
		w = who(rec);
		if (((uint32_t)w | (uint32_t)(w >> 32)) == start)
			break;
		if (killed() && who_swap(rec, w, w & ~(uint64_t)bit) == w)
			return 0;
		__nanosleep(20);
	}
	live = start & ~(uint32_t)(w >> 32);
	__syncwarp();
	if (bit == (live & (0 - live)))
		asm volatile("st.volatile.shared.u32 [%0], 0;\n\tst.volatile.shared.u32 [%1], 0;" : : "r"(rec),
			"r"(rec + SITE) : "memory");
	__syncwarp();
	return live;
}

/* This thread waits for no other one any more. */
extern "C" __device__ __noinline__ void ag_rt_leave(uint32_t head)
{
	who_add(record_of(head), (uint64_t)lane_bit() << 32);
}
