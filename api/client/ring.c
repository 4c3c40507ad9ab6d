/* ring.c - the producer's side of the ring: messages, slots for answers, and what happens when the worker is gone.
 *
 * One lock orders all messages of the process; it is held from agc_begin to agc_post or agc_call, while the message
 * is filled in place. Nothing in the ring is visible to the worker before `head` moves.  Slots are borrowed for the
 * length of one call. Every wait looks at the socket at most every 50 ms, so a dead worker ends each of them within a
 * second.
 */
#include "internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS     50
#define SPIN_NS     30000u
#define NEVER_POLL  (1ull << 63)

static _Atomic uint32_t producer;            /* 0 free, 1 taken, 2 taken and awaited */
static _Atomic uint64_t slot_map[AG_SLOTS / 64];
static uint32_t slot_seq[AG_SLOTS];          /* owned by whoever borrowed the slot */

__thread struct agc_tls agc_t;

uint64_t agc_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t agc_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	return agc_now_ns();
#endif
}

void agc_futex_wait(const volatile void *word, uint32_t value, uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
	syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0);
}

void agc_futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* --- the producer lock -------------------------------------------------------------------------------------------- */

static void lock(void)
{
	for (int i = 0; i < 200; i++) {
		uint32_t zero = 0;
		if (atomic_compare_exchange_weak_explicit(&producer, &zero, 1, memory_order_acquire,
							  memory_order_relaxed))
			return;
		agc_pause();
	}
	while (atomic_exchange_explicit(&producer, 2, memory_order_acquire) != 0)
		syscall(SYS_futex, &producer, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static void unlock(void)
{
	if (atomic_exchange_explicit(&producer, 0, memory_order_release) == 2)
		syscall(SYS_futex, &producer, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void agc_ring_reset(void)
{
	agc_s.pos = 0;
	atomic_store(&producer, 0);
	for (unsigned i = 0; i < AG_SLOTS / 64; i++)
		atomic_store(&slot_map[i], 0);
	for (unsigned i = 0; i < AG_SLOTS; i++)
		slot_seq[i] = 0;
	atomic_store(&agc_s.posted, 0);
	atomic_store(&agc_s.work, 0);
	atomic_store(&agc_s.completed, 0);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static bool gone(unsigned ms)
{
	return atomic_load_explicit(&agc_s.state, memory_order_relaxed) != AGC_LIVE || !agc_alive(ms);
}

/* Waits until `bytes` are free. */
static bool room(uint64_t bytes)
{
	struct ag_shm *shm = agc_s.shm;
	for (unsigned i = 0;
	     agc_s.pos + bytes - atomic_load_explicit(&shm->tail, memory_order_acquire) > AG_RING_BYTES; i++) {
		if (i < 2000) {
			agc_pause();
			continue;
		}
		if (gone(POLL_MS))
			return false;
		struct timespec t = { 0, i < 4000 ? 2000 : 50000 };
		nanosleep(&t, NULL);
	}
	return true;
}

static void ring_bell(void)
{
	struct ag_shm *shm = agc_s.shm;
	if (atomic_load(&shm->doorbell) && atomic_exchange(&shm->doorbell, 0))
		agc_futex_wake(&shm->doorbell);
}

void *agc_begin(uint16_t op, uint32_t fixed, uint32_t tail)
{
	if (agc_ready() || agc_t.in_callback)
		return NULL;
	uint64_t total = ((uint64_t)fixed + tail + 7) & ~7ull;
	if (total > AG_MSG_MAX)
		return NULL;
	if (gone(POLL_MS))
		return NULL;
	lock();
	uint64_t at = agc_s.pos & (AG_RING_BYTES - 1), left = AG_RING_BYTES - at;
	/* Never leave 8 bytes at the end: padding needs a whole head. */
	uint64_t pad = left < total || left == total + 8 ? left : 0;
	if (!room(total + pad)) {
		unlock();
		return NULL;
	}
	if (pad) {
		*(struct ag_head *)(agc_s.ring + at) = (struct ag_head){ (uint32_t)pad, AG_OP_pad, AG_NO_SLOT, 0, 0 };
		agc_s.pos += pad;
		at = 0;
	}
	struct ag_head *h = (struct ag_head *)(agc_s.ring + at);
	*h = (struct ag_head){ (uint32_t)total, op, AG_NO_SLOT, 0, tail };
	return h;
}

uint64_t agc_number(void)
{
	return atomic_load_explicit(&agc_s.posted, memory_order_relaxed) + 1;
}

/* Does the operation only manage objects?  What is not known to is taken for work that touches memory. */
static bool is_idle(uint16_t op)
{
	switch (op) {
	case AG_OP_grant:
	case AG_OP_giveback:
	case AG_OP_meminfo:
	case AG_OP_module_prepare:
	case AG_OP_module_load:
	case AG_OP_func_attr_set:
	case AG_OP_occupancy:
	case AG_OP_stream_create:
	case AG_OP_stream_destroy:
	case AG_OP_signal:
	case AG_OP_event_create:
	case AG_OP_event_destroy: case AG_OP_event_elapsed: case AG_OP_hostfunc_done: case AG_OP_fault: case AG_OP_nop:
		return true;
	default:
		return false;
	}
}

/* Publishes the message and lets the next producer in. */
static void publish(const struct ag_head *h)
{
	uint64_t number = agc_number();
	if (agc_t.touched) {
		atomic_store_explicit(&agc_t.touched->last, number, memory_order_relaxed);
		agc_t.touched = NULL;
	}
	agc_s.pos += h->bytes;
	atomic_store_explicit(&agc_s.posted, number, memory_order_relaxed);
	if (!is_idle(h->op))
		atomic_store_explicit(&agc_s.work, number, memory_order_relaxed);
	atomic_store(&agc_s.shm->head, agc_s.pos);      /* sequentially consistent: before the look at the doorbell */
	unlock();
	ring_bell();
}

CUresult agc_take_async_error(void)
{
	struct ag_shm *shm = agc_s.shm;
	if (__builtin_expect(atomic_load_explicit(&shm->async_error, memory_order_relaxed) == 0, 1))
		return CUDA_SUCCESS;
	return (CUresult)atomic_exchange(&shm->async_error, 0);
}

CUresult agc_post(void *msg)
{
	publish(msg);
	return agc_take_async_error();
}

void agc_post_quietly(void *msg)
{
	publish(msg);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static int slot_try(unsigned hint)
{
	for (unsigned k = 0; k < AG_SLOTS / 64; k++) {
		unsigned w = (hint / 64 + k) % (AG_SLOTS / 64);
		uint64_t map = atomic_load_explicit(&slot_map[w], memory_order_relaxed);
		while (~map) {
			unsigned bit =
				k == 0 && !(map >> (hint % 64) & 1) ? hint % 64 : (unsigned)__builtin_ctzll(~map);
			if (atomic_compare_exchange_weak_explicit(&slot_map[w], &map, map | 1ull << bit,
								  memory_order_acquire, memory_order_relaxed))
				return (int)(w * 64 + bit);
		}
	}
	return -1;
}

/* Under the producer lock; those who hold slots need no lock to give them back. */
static int slot_take(void)
{
	for (unsigned i = 0;; i++) {
		int s = slot_try(agc_t.slot_hint);
		if (s >= 0) {
			agc_t.slot_hint = (unsigned)s;
			return s;
		}
		if (gone(POLL_MS))
			return -1;
		struct timespec t = { 0, 20000 };
		if (i > 100)
			nanosleep(&t, NULL);
		else
			agc_pause();
	}
}

static void slot_give(unsigned s)
{
	atomic_fetch_and_explicit(&slot_map[s / 64], ~(1ull << s % 64), memory_order_release);
}

static bool slot_wait(struct ag_slot *slot, uint32_t seq)
{
	uint64_t start = 0;
	for (unsigned i = 1;; i++) {
		uint32_t done = atomic_load_explicit(&slot->done, memory_order_acquire);
		if (done == seq)
			return true;
		agc_pause();
		if (i % 64)
			continue;
		uint64_t now = agc_now_ns();
		if (!start)
			start = now;
		if (now - start < SPIN_NS)
			continue;
		atomic_store(&slot->waiting, 1);
		if (atomic_load(&slot->done) == done)
			agc_futex_wait(&slot->done, done, POLL_MS * 1000000ull);
		atomic_store_explicit(&slot->waiting, 0, memory_order_relaxed);
		if (atomic_load_explicit(&slot->done, memory_order_acquire) == seq)
			return true;
		if (gone(POLL_MS))
			return atomic_load_explicit(&slot->done, memory_order_acquire) == seq;
	}
}

CUresult agc_call(void *msg, void *rep, uint32_t rep_bytes, void *tail, uint32_t *tail_bytes)
{
	struct ag_head *h = msg;
	int s = slot_take();
	if (s < 0) {
		unlock();
		return agc_error();
	}
	uint32_t seq = ++slot_seq[s];
	h->slot = (uint16_t)s;
	h->seq = seq;
	publish(h);
	struct ag_slot *slot = &agc_s.shm->slot[s];
	if (!slot_wait(slot, seq))
		return agc_error();              /* the slot stays taken: its session is over */
	CUresult r = (CUresult)slot->status;
	const uint8_t *from = agc_s.replies + (size_t)s * AG_REPLY_BYTES;
	uint32_t got = slot->bytes <= AG_REPLY_BYTES ? slot->bytes : AG_REPLY_BYTES;
	if (r == CUDA_SUCCESS && got < rep_bytes)
		r = CUDA_ERROR_UNKNOWN;
	if (rep && r == CUDA_SUCCESS)
		__builtin_memcpy(rep, from, rep_bytes);
	if (tail_bytes) {
		uint32_t n = got > rep_bytes ? got - rep_bytes : 0;
		n = n < *tail_bytes ? n : *tail_bytes;
		__builtin_memcpy(tail, from + rep_bytes, n);
		*tail_bytes = n;
	}
	slot_give((unsigned)s);
	return r;
}
