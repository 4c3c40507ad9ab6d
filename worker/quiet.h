/* quiet.h - moments at which no kernel runs, for the driver calls that wait for running kernels.
 *
 * Some driver calls wait until every kernel of the context has ended, and hold the driver's lock meanwhile, so that
 * nearly every other call of every thread waits too (docs/ARCHITECTURE.md has the list, as measured on an H200:
 * loading and unloading modules, cuMemFree, cuArrayDestroy, cuMipmappedArrayDestroy, cuMemHostUnregister,
 * cuMemFreeHost, a change of CU_LIMIT_STACK_SIZE, the launch of a kernel that needs more local memory than any before
 * it).  All sessions share one context: one client's long kernel would stop everyone.
 *
 * So these calls are made only between quiet_enter() and quiet_leave(), when nothing runs; and what starts kernels is
 * wrapped in quiet_submit() and quiet_submitted(), which keep new ones out meanwhile.  Waiting for such a moment
 * happens here, where it holds no lock.  At first others are held back for short times only; who still waits after
 * PATIENCE_MS holds them back until all has ended; sessions whose kernels then go on for the operator's kernel limit
 * are ended with CUDA_ERROR_LAUNCH_TIMEOUT, as kernels are on a GPU with a display.
 */
#ifndef AG_WORKER_QUIET_H
#define AG_WORKER_QUIET_H

#include <cuda.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct session;
struct worker;

struct quiet {
	pthread_mutex_t lock;    /* this struct, `members`, and the shape of every member's set of streams */
	pthread_cond_t changed;
	_Atomic unsigned closed; /* nothing that starts kernels is submitted */
	struct session *owner;   /* inside, or waiting to be; a session enters as often as it leaves */
	unsigned depth;
	struct session *members; /* sessions with streams, by quiet_next */
	uint64_t closed_at, open_until; /* us; what starts work has at least as long as it was last held back */
	uint32_t limit_ms;       /* of kernels that others wait for; 0: none */
	unsigned stuck;          /* sessions that ended with kernels that do not: there is no quiet moment any more */
	size_t stack;            /* the context's CU_LIMIT_STACK_SIZE */
};

int quiet_open(struct worker *w, uint32_t limit_ms); /* -1: no lock */
void quiet_join(struct session *s);                  /* it has streams from now on */
/* It has none any more. `stuck`: it has, and they hold kernels that do not end. */
void quiet_part(struct session *s, bool stuck);

/* Around whatever adds a stream, takes one away or starts or ends its captures: others look at the set. */
void quiet_streams_lock(struct session *s);
void quiet_streams_unlock(struct session *s);

/* Around whatever puts work into streams. false: the session is ending, nothing may start. */
bool quiet_submit(struct session *s);
void quiet_submitted(struct session *s);

/* CUDA_SUCCESS: no kernel runs and none starts until quiet_leave(). CUDA_ERROR_NOT_READY: the session is ending (not
 * with `ending`, which says that this is known). CUDA_ERROR_SYSTEM_NOT_READY: there are kernels that nothing ends. */
CUresult quiet_enter(struct session *s, bool ending);
void quiet_leave(struct session *s);
/* The same where nothing runs at this very moment; else false. */
bool quiet_try(struct session *s);
/* Inside: kernels with that much local memory a thread can be launched without waiting. */
CUresult quiet_stack(struct session *s, size_t bytes);

#endif
