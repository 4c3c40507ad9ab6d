/* ring.c - the only reader of ring bytes.
 *
 * The client can change anything in the segment at any moment.  So: each 8-byte head word is read once, each message is
 * copied once into r->msg and its head is then replaced by what was judged; positions are the worker's own; `head` only
 * ever says how far the client claims to have written.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "msg.h"
#include "session.h"

#define SPIN_MIN_NS 2000u

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

/* The claimed bytes from tail on, or -1: more than the ring holds, or not whole words. */
static int64_t available(const struct ring *r)
{
	uint64_t n = atomic_load_explicit(&r->shm->head, memory_order_acquire) - r->tail;

	return n > r->bytes || n % 8 ? -1 : (int64_t)n;
}

static void consume(struct ring *r, uint32_t bytes)
{
	r->tail += bytes;
	atomic_store_explicit(&r->shm->tail, r->tail, memory_order_release);
}

enum ring_result ring_next(struct ring *r, const char **why)
{
	for (bool padded = false;; padded = true) {
		int64_t avail = available(r);
		if (avail == 0)
			return RING_EMPTY;
		uint32_t at = (uint32_t)r->tail & (r->bytes - 1), room = r->bytes - at;
		const uint8_t *p = r->base + at;
		uint64_t word;

		*why = "ring position out of range";
		if (avail < 8)
			return RING_BAD;
		word = __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
		uint32_t bytes = (uint32_t)word;
		uint16_t op = (uint16_t)(word >> 32);

		*why = "message length out of range";
		if (bytes < 8 || bytes % 8 || bytes > room || bytes > (uint64_t)avail)
			return RING_BAD;
		*why = "padding after padding"; /* without end, it would keep the session from looking up */
		if (op == AG_OP_pad) {
			if (padded)
				return RING_BAD;
			consume(r, bytes);
			continue;
		}
		*why = "message length out of range";
		if (bytes < sizeof(struct ag_head) || bytes > AG_MSG_MAX)
			return RING_BAD;
		memcpy(r->msg + 8, p + 8, bytes - 8);
		memcpy(r->msg, &word, 8);
		consume(r, bytes);
		const struct ag_head *h = (const struct ag_head *)r->msg;
		*why = "tail longer than its message";
		return h->tail <= bytes - sizeof *h ? RING_MESSAGE : RING_BAD;
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool anything(const struct ring *r)
{
	return atomic_load_explicit(&r->shm->head, memory_order_seq_cst) != r->tail;
}

/* How long to spin follows how long the last waits were: twice that while it stays below spin_max, else shorter each
 * time. */
static void adapt(struct ring *r, uint64_t waited)
{
	uint64_t want = waited < r->spin_max ? 2 * waited : r->spin_ns / 2;

	if (want > r->spin_max)
		want = r->spin_max;
	r->spin_ns = want > SPIN_MIN_NS ? (uint32_t)want : SPIN_MIN_NS;
}

bool ring_wait(struct ring *r, unsigned timeout_ms, const _Atomic int *stop)
{
	if (anything(r))
		return true;
	uint64_t start = now_ns(), end = start + r->spin_ns;
	do {
		for (int i = 0; i < 32; i++) {
			if (anything(r))
				return true;
			__builtin_ia32_pause();
		}
	} while (!*stop && now_ns() < end);

	struct timespec t = { timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000 };
	atomic_store_explicit(&r->shm->doorbell, 1, memory_order_seq_cst);
	if (!anything(r) && !*stop)
		futex(&r->shm->doorbell, FUTEX_WAIT, 1, &t);
	atomic_store_explicit(&r->shm->doorbell, 0, memory_order_relaxed);
	adapt(r, now_ns() - start);
	return anything(r);
}

void ring_wake(struct ag_shm *shm)
{
	atomic_store_explicit(&shm->doorbell, 0, memory_order_seq_cst);
	futex(&shm->doorbell, FUTEX_WAKE, 1, NULL);
}
