/* fault.c - what kernels left in a session's records, and the death of the whole context.
 *
 * The records lie in pinned memory of the worker's own; the guard's runtime fills them (guard.h).  The first look that
 * finds one makes the session FAULTED, as a CUDA context is after such an error: queries and releases still work,
 * everything else returns the fault.
 */
#include <string.h>
#include "session.h"
#include "worker_calls.h"

CUresult fault_code(uint32_t kind)
{
	switch (kind) {
	case GUARD_FAULT_ALIGN: return CUDA_ERROR_MISALIGNED_ADDRESS;
	case GUARD_FAULT_TRAP: return CUDA_ERROR_LAUNCH_FAILED;
	case GUARD_FAULT_ASSERT: return CUDA_ERROR_ASSERT;
	default: return CUDA_ERROR_ILLEGAL_ADDRESS;
	}
}

static const char *kind_name(uint32_t kind)
{
	switch (kind) {
	case GUARD_FAULT_ADDRESS: return "address outside its memory";
	case GUARD_FAULT_ALIGN: return "misaligned address";
	case GUARD_FAULT_TRAP: return "trap";
	case GUARD_FAULT_ASSERT: return "assertion failed";
	case GUARD_FAULT_GATE: return "address refused by a gate";
	default: return "fault";
	}
}

static uint32_t count(const struct session *s) { return __atomic_load_n(&s->records->count, __ATOMIC_ACQUIRE); }

/* The GPU counts first and sets `valid` last: a record may still be on its way. */
static const struct guard_record *first_record(const struct session *s)
{
	for (uint32_t i = 0; i < GUARD_MAX_RECORDS && i < count(s); i++)
		if (__atomic_load_n(&s->records->rec[i].valid, __ATOMIC_ACQUIRE))
			return s->records->rec + i;
	return NULL;
}

static void enter_faulted(struct session *s, CUresult why)
{
	s->fault = why;
	s->state = AG_S_FAULTED;
	s->faults++;
}

void fault_poll(struct session *s)
{
	if (s->state == AG_S_FAULTED || !s->records)
		return;
	if (s->overdue) {
		enter_faulted(s, CUDA_ERROR_LAUNCH_TIMEOUT);
		session_log(s, "its kernels ran for %u ms while others waited for them: ended", s->w->quiet.limit_ms);
		return;
	}
	if (count(s) == 0)
		return;
	const struct guard_record *r = first_record(s);
	if (!r)
		return;
	char kernel[128];
	if (!fault_kernel_name(s, r->module, r->kernel, kernel, sizeof kernel))
		memcpy(kernel, "?", 2);
	enter_faulted(s, fault_code(r->kind));
	session_log(s, "fault in kernel %s, PTX line %u: %s 0x%llx, block (%u,%u,%u) thread (%u,%u,%u)", kernel,
	            r->line, kind_name(r->kind), (unsigned long long)r->addr, r->ctaid[0], r->ctaid[1], r->ctaid[2],
	            r->tid[0], r->tid[1], r->tid[2]);
}

CUresult check_fault(const struct session *s, const struct msg_fault *m, const void *tail, uint32_t ntail)
{
	(void)s, (void)m, (void)tail, (void)ntail;
	return CUDA_SUCCESS;
}

CUresult invoke_fault(struct session *s, const struct msg_fault *m, const void *tail, uint32_t ntail,
                      struct rep_fault *rep, struct ag_out *out)
{
	(void)m, (void)tail, (void)ntail, (void)out;
	const struct guard_record *r = first_record(s);

	if (s->state != AG_S_FAULTED)
		return CUDA_SUCCESS;
	rep->result = s->fault;
	if (s->overdue || !r)
		return CUDA_SUCCESS;
	rep->kind = r->kind;
	rep->line = r->line;
	rep->addr = r->addr;
	memcpy(rep->ctaid, r->ctaid, sizeof rep->ctaid);
	memcpy(rep->tid, r->tid, sizeof rep->tid);
	fault_kernel_name(s, r->module, r->kernel, (char *)rep->kernel, sizeof rep->kernel);
	return CUDA_SUCCESS;
}

CUresult check_recover(const struct session *s, const struct msg_recover *m, const void *tail, uint32_t ntail)
{
	(void)s, (void)m, (void)tail, (void)ntail;
	return CUDA_SUCCESS;
}

/* What natively a new context is: the old one's work is over, and nothing remembers what it did. What it held is the
 * client's to release. */
CUresult invoke_recover(struct session *s, const struct msg_recover *m, const void *tail, uint32_t ntail, void *rep,
                        struct ag_out *out)
{
	(void)m, (void)tail, (void)ntail, (void)rep, (void)out;
	if (!session_recover(s))
		return s->fault;
	memset(s->records, 0, sizeof *s->records);
	__atomic_store_n((uint32_t *)(uintptr_t)(s->host + AG_HOST_FAULT_OFF), 0, __ATOMIC_RELEASE);
	s->fault = CUDA_SUCCESS;
	s->state = AG_S_READY;
	return CUDA_SUCCESS;
}

CUresult check_nop(const struct session *s, const struct msg_nop *m, const void *tail, uint32_t ntail)
{
	(void)s, (void)m, (void)tail, (void)ntail;
	return CUDA_SUCCESS;
}

CUresult invoke_nop(struct session *s, const struct msg_nop *m, const void *tail, uint32_t ntail, struct rep_nop *rep,
                    struct ag_out *out)
{
	(void)s, (void)m, (void)tail, (void)ntail, (void)rep, (void)out;
	return CUDA_SUCCESS;
}

/* --- the context itself ------------------------------------------------------------------------------- */

bool context_error(CUresult r)
{
	switch (r) {
	case CUDA_ERROR_ILLEGAL_ADDRESS:
	case CUDA_ERROR_LAUNCH_TIMEOUT:
	case CUDA_ERROR_LAUNCH_FAILED:
	case CUDA_ERROR_ASSERT:
	case CUDA_ERROR_HARDWARE_STACK_ERROR:
	case CUDA_ERROR_ILLEGAL_INSTRUCTION:
	case CUDA_ERROR_MISALIGNED_ADDRESS:
	case CUDA_ERROR_INVALID_ADDRESS_SPACE:
	case CUDA_ERROR_INVALID_PC:
	case CUDA_ERROR_ECC_UNCORRECTABLE:
	case CUDA_ERROR_NVLINK_UNCORRECTABLE:
	case CUDA_ERROR_CONTEXT_IS_DESTROYED:
	case CUDA_ERROR_TENSOR_MEMORY_LEAK:
	case CUDA_ERROR_EXTERNAL_DEVICE:
	case CUDA_ERROR_DEVICE_UNAVAILABLE: return true;
	default: return false;
	}
}

/* Once: every session ends with that error at its next look, and no new one is let in.  One call's answer is not
 * enough: a dead context answers every call so, and what a client can make one call answer must not end the others. */
void context_died(struct worker *w, CUresult r)
{
	int alive = 0;

	if (!context_error(w->d->cuStreamQuery(w->control)))
		return;
	if (!atomic_compare_exchange_strong(&w->dead, &alive, (int)r))
		return;
	worker_log("the GPU context died: error %d; every session ends", (int)r);
	pthread_mutex_lock(&w->lock);
	for (struct session *s = w->sessions; s; s = s->next) {
		if (s->serving) {
			session_ended(s, r);
			ring_wake(s->shm);
		}
	}
	pthread_mutex_unlock(&w->lock);
}
