/* soft_memop.c - stream memory operations: writes of words, waits for words, batches of both.
 *
 * A write also wakes whoever sleeps on the low 32 bits with a futex (shared between processes), and a wait sleeps so,
 * with a bound, because a kernel's or a processor's plain store wakes nobody. */
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "soft_internal.h"

enum { MAX_BATCH = 256, SPINS = 64, FIRST_SLEEP_NS = 20000, LONGEST_SLEEP_NS = 1000000 };

struct memop {
	struct soft_op op;
	unsigned n;
	struct word {
		uint64_t addr, value;
		unsigned flags;
		bool wait, wide, barrier;
	} words[];
};

static bool satisfied(const struct word *w, uint64_t now)
{
	switch (w->flags & 3) {
	case CU_STREAM_WAIT_VALUE_GEQ:
		return w->wide ? (int64_t)(now - w->value) >= 0 : (int32_t)((uint32_t)now - (uint32_t)w->value) >= 0;
	case CU_STREAM_WAIT_VALUE_EQ:
		return now == w->value;
	case CU_STREAM_WAIT_VALUE_AND:
		return (now & w->value) != 0;
	default:
		return w->wide ? ~(now | w->value) != 0 : (uint32_t)~(now | w->value) != 0;
	}
}

static uint64_t load(const struct word *w)
{
	if (w->wide)
		return __atomic_load_n((uint64_t *)w->addr, __ATOMIC_ACQUIRE);
	return __atomic_load_n((uint32_t *)w->addr, __ATOMIC_ACQUIRE);
}

/* The word may be unmapped meanwhile: it is read under the lock, and only if it is still there. */
static CUresult wait_word(const struct word *w, struct soft_ctx *c)
{
	long sleep_ns = FIRST_SLEEP_NS;
	for (unsigned turn = 0;; turn++) {
		soft_lock();
		bool there = soft_range_ok(w->addr, w->wide ? 8 : 4, false);
		uint64_t now = there ? load(w) : 0;
		bool over = c->error || c->destroyed;
		soft_unlock();
		if (!there)
			return CUDA_ERROR_ILLEGAL_ADDRESS;
		if (over || satisfied(w, now))
			return CUDA_SUCCESS;
		if (turn < SPINS) {
			sched_yield();
			continue;
		}
		struct timespec t = { 0, sleep_ns };
		syscall(SYS_futex, w->addr, FUTEX_WAIT, (uint32_t)now, &t, NULL, 0);
		sleep_ns = sleep_ns * 2 > LONGEST_SLEEP_NS ? LONGEST_SLEEP_NS : sleep_ns * 2;
	}
}

static CUresult write_word(const struct word *w)
{
	struct soft_pin pin;
	soft_lock();
	bool there = soft_range_ok(w->addr, w->wide ? 8 : 4, true);
	if (there)
		soft_pin(&pin, w->addr, 8);
	soft_unlock();
	if (!there)
		return CUDA_ERROR_ILLEGAL_ADDRESS;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (w->wide)
		__atomic_store_n((uint64_t *)w->addr, w->value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)w->addr, (uint32_t)w->value, __ATOMIC_RELEASE);
	syscall(SYS_futex, w->addr, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	soft_lock();
	soft_unpin(&pin);
	soft_progress();
	soft_unlock();
	return CUDA_SUCCESS;
}

static CUresult run_memop(struct soft_op *op, struct soft_stream *s)
{
	struct memop *m = (struct memop *)op;
	CUresult r = CUDA_SUCCESS;
	for (unsigned i = 0; i < m->n && !r; i++) {
		if (m->words[i].barrier)
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
		else
			r = m->words[i].wait ? wait_word(&m->words[i], s->ctx) : write_word(&m->words[i]);
	}
	return r;
}

static CUresult check_word(const struct word *w)
{
	if (w->barrier)
		return CUDA_SUCCESS;
	if (w->wait && w->flags & CU_STREAM_WAIT_VALUE_FLUSH)
		return CUDA_ERROR_NOT_SUPPORTED; /* CAN_FLUSH_REMOTE_WRITES is 0 */
	unsigned known = w->wait ? 3u : (unsigned)CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER;
	unsigned size = w->wide ? 8 : 4;
	if (w->flags & ~known || w->addr % size || !soft_range_ok(w->addr, size, !w->wait))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult submit_words(struct soft_stream *s, const struct word *words, unsigned n)
{
	struct memop *m = soft_op_new(sizeof *m + n * sizeof *words, run_memop, NULL);
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->n = n;
	m->op.light = true;
	CUresult r = CUDA_SUCCESS;
	for (unsigned i = 0; i < n && !r; i++) {
		m->words[i] = words[i];
		m->op.light = m->op.light && !words[i].wait;
		r = check_word(&words[i]);
	}
	if (r) {
		soft_op_unref(&m->op);
		return r;
	}
	if (soft_capturing(s))
		return soft_capture_op(s, &m->op, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);
	return soft_submit(s, &m->op);
}

static CUresult one(CUstream hs, struct word w)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	return r ? r : soft_leave(submit_words(s, &w, 1));
}

CUresult soft_cuStreamWriteValue32_v2(CUstream s, CUdeviceptr addr, cuuint32_t value, unsigned int flags)
{
	return one(s, (struct word){ .addr = addr, .value = value, .flags = flags });
}

CUresult soft_cuStreamWriteValue64_v2(CUstream s, CUdeviceptr addr, cuuint64_t value, unsigned int flags)
{
	return one(s, (struct word){ .addr = addr, .value = value, .flags = flags, .wide = true });
}

CUresult soft_cuStreamWaitValue32_v2(CUstream s, CUdeviceptr addr, cuuint32_t value, unsigned int flags)
{
	return one(s, (struct word){ .addr = addr, .value = value, .flags = flags, .wait = true });
}

CUresult soft_cuStreamWaitValue64_v2(CUstream s, CUdeviceptr addr, cuuint64_t value, unsigned int flags)
{
	return one(s, (struct word){ .addr = addr, .value = value, .flags = flags, .wait = true, .wide = true });
}

static CUresult batch_word(const CUstreamBatchMemOpParams *p, struct word *w)
{
	const CUstreamBatchMemOpType type = p->operation;
	*w = (struct word){ 0 };
	switch (type) {
	case CU_STREAM_MEM_OP_WAIT_VALUE_32:
	case CU_STREAM_MEM_OP_WAIT_VALUE_64:
		w->wait = true;
		w->wide = type == CU_STREAM_MEM_OP_WAIT_VALUE_64;
		w->addr = p->waitValue.address;
		w->value = w->wide ? p->waitValue.value64 : p->waitValue.value;
		w->flags = p->waitValue.flags;
		return CUDA_SUCCESS;
	case CU_STREAM_MEM_OP_WRITE_VALUE_32:
	case CU_STREAM_MEM_OP_WRITE_VALUE_64:
		w->wide = type == CU_STREAM_MEM_OP_WRITE_VALUE_64;
		w->addr = p->writeValue.address;
		w->value = w->wide ? p->writeValue.value64 : p->writeValue.value;
		w->flags = p->writeValue.flags;
		return CUDA_SUCCESS;
	case CU_STREAM_MEM_OP_BARRIER:
		w->barrier = true;
		return CUDA_SUCCESS;
	case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
		return CUDA_ERROR_NOT_SUPPORTED;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult soft_cuStreamBatchMemOp_v2(CUstream hs, unsigned int count, CUstreamBatchMemOpParams *p, unsigned int flags)
{
	struct soft_stream *s;
	struct word words[MAX_BATCH];
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (count > MAX_BATCH || (count && !p) || flags)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	for (unsigned i = 0; i < count && !r; i++)
		r = batch_word(&p[i], &words[i]);
	return soft_leave(r || !count ? r : submit_words(s, words, count));
}
