/* wait.c - waiting for GPU work, and what a program learns at such points: kernel output, faults, asynchronous
 * errors.
 *
 * A completion word is written by the GPU, or by softgpu, which also wakes a futex on its low half.  A real GPU wakes
 * nobody, so a long wait naps for growing times.  No wait outlives the session.
 */
#include "internal.h"

#include <string.h>

#define SPIN_NS        50000u
#define NAP_MIN_NS     50000u
#define NAP_MAX_NS     1000000u
#define GIVE_UP_NS     500000000ull    /* how long a word may stay unwritten once an asynchronous call has failed */

static bool is_sticky(CUresult r)
{
	return r == CUDA_ERROR_ILLEGAL_ADDRESS || r == CUDA_ERROR_MISALIGNED_ADDRESS ||
	       r == CUDA_ERROR_LAUNCH_FAILED || r == CUDA_ERROR_ASSERT || r == CUDA_ERROR_ILLEGAL_INSTRUCTION ||
	       r == CUDA_ERROR_INVALID_ADDRESS_SPACE || r == CUDA_ERROR_INVALID_PC ||
	       r == CUDA_ERROR_HARDWARE_STACK_ERROR || r == CUDA_ERROR_LAUNCH_TIMEOUT ||
	       r == CUDA_ERROR_ECC_UNCORRECTABLE;
}

static CUresult ask_fault(void)
{
	struct rep_fault f;
	memset(&f, 0, sizeof f);
	struct msg_fault *m = agc_begin(AG_OP_fault, sizeof *m, 0);
	if (!m)
		return agc_error();
	CUresult r = agc_call(m, &f, sizeof f, NULL, NULL);
	if (r || !f.result)
		return r;
	uint32_t none = 0;
	if (!atomic_compare_exchange_strong(&agc_s.sticky, &none, f.result))
		return (CUresult)none;
	f.kernel[sizeof f.kernel - 1] = 0;
	if (f.result != CUDA_ERROR_ASSERT)
		agc_log("kernel %s, line %u of its PTX: address 0x%llx, block (%u,%u,%u), thread (%u,%u,%u): error "
			"%u",
			(const char *)f.kernel, f.line, (unsigned long long)f.addr, f.ctaid[0], f.ctaid[1],
			f.ctaid[2], f.tid[0], f.tid[1], f.tid[2], f.result);
	return (CUresult)f.result;
}

CUresult agc_fault_status(void)
{
	uint32_t s = atomic_load(&agc_s.sticky);
	if (s)
		return (CUresult)s;
	if (!*agc_s.fault_word)
		return CUDA_SUCCESS;
	return ask_fault();
}

CUresult agc_recover(void)
{
	CUresult f = agc_fault_status(), r;
	if (!f)
		return CUDA_SUCCESS;
	struct msg_recover *m = agc_begin(AG_OP_recover, sizeof *m, 0);
	r = m ? agc_call(m, NULL, 0, NULL, NULL) : agc_error();
	if (r)
		return r;
	agc_take_async_error();
	atomic_store(&agc_s.sticky, 0);
	agc_note_completed(agc_submitted()); /* what was submitted has run, or never will */
	return CUDA_SUCCESS;
}

CUresult agc_sync_point(CUresult r)
{
	agc_printf_drain();
	if (*agc_s.fault_word || atomic_load_explicit(&agc_s.sticky, memory_order_relaxed)) {
		CUresult f = agc_fault_status();
		if (f)
			return f;
	}
	CUresult a = agc_take_async_error();
	if (is_sticky(a)) {
		uint32_t none = 0;
		atomic_compare_exchange_strong(&agc_s.sticky, &none, a);
	}
	return r ? r : a;
}

/* Why a wait that has not succeeded should end: 0, go on. */
static CUresult interrupted(uint64_t failing_since, uint64_t now)
{
	if (atomic_load_explicit(&agc_s.state, memory_order_relaxed) != AGC_LIVE || !agc_alive(50))
		return agc_error();
	CUresult f = *agc_s.fault_word || atomic_load(&agc_s.sticky) ? agc_fault_status() : CUDA_SUCCESS;
	if (f)
		return f;
	if (failing_since && now - failing_since > GIVE_UP_NS) {
		CUresult a = agc_take_async_error();
		return a ? a : CUDA_SUCCESS;
	}
	return CUDA_SUCCESS;
}

/* The word is there.  In a session that is being ended kernels were told to stop early: then it says nothing about
 * their results. */
static CUresult arrived(void)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&agc_s.shm->ended, memory_order_relaxed) == 0 || agc_alive(0) ? CUDA_SUCCESS
												  : agc_error();
}

CUresult agc_wait_word(const volatile uint64_t *word, uint64_t value)
{
	uint64_t start = 0, nap = NAP_MIN_NS, failing = 0;
	for (unsigned i = 1;; i++) {
		uint64_t now_at = *word;
		if (now_at >= value)
			return arrived();
		agc_pause();
		if (i % 64)
			continue;
		uint64_t now = agc_now_ns();
		if (!start)
			start = now;
		if (now - start < SPIN_NS)
			continue;
		if (!failing && atomic_load_explicit(&agc_s.shm->async_error, memory_order_relaxed))
			failing = now;
		CUresult r = interrupted(failing, now);
		if (r)
			return *word >= value ? arrived() : r;
		agc_printf_drain();
		agc_futex_wait(word, (uint32_t)now_at, nap);
		nap = nap * 2 < NAP_MAX_NS ? nap * 2 : NAP_MAX_NS;
		i = 63;
	}
}

CUresult agc_sync_stream(ag_id wire_stream)
{
	struct agc_stream *s = wire_stream ? agc_stream_of((CUstream)(uintptr_t)wire_stream) : &agc_legacy;
	return s ? agc_stream_sync(s) : CUDA_ERROR_INVALID_HANDLE;
}
