/* client.h - the client's core: what generated stubs and the hand-written parts of the Driver shim share.
 *
 * SHAPE.  Every link form (libcudart_static.a, libcuda.a, libcudart.so.13, libcuda.so.1) contains
 *   exports      build/gen/cuda_exports.c: every name libcuda exports, one line each: `return agc_table()->cuX(...)`
 *                (cudart: build/gen/cudart_exports.c onto rt_cudaX, which call agc_table()->cuX: the Runtime is
 * lowered onto the Driver) the core     api/client/ and build/gen/client_cuda.c: one `call_cuX` per Driver function
 * that is not refused (generated: auto; hand-written: local and custom), collected with refuse_cuX stubs in `const
 * struct ag_driver agc_own_table` (build/gen/client_table.c) ONE CORE PER PROCESS.  agc_table() finds the core that
 * serves the process: the first copy that is asked publishes its table in a page at AGC_CORE_PAGE (mmap
 * MAP_FIXED_NOREPLACE decides the race; the page carries the pid, so a forked child starts its own); later copies,
 * static or shared, use that table. The Runtime's state (last error, registered fatbins, current device per thread)
 * belongs to each copy of the Runtime, as with NVIDIA's.
 *
 * Calls: m = agc_begin(...); fill; agc_post(m) or agc_call(m, ...).  Between begin and post/call the producer lock is
 * held: no blocking, no allocation there.
 */
#ifndef AG_CLIENT_H
#define AG_CLIENT_H

#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/wire.h"

struct ag_driver; /* build/gen/driver.h: one member per exported Driver name, `d->cuMemAlloc_v2` */

#define AGC_CORE_PAGE 0x1ff000000000ull
struct agc_core_page {
	_Atomic uint32_t ready;
	uint32_t version;
	int32_t pid;
	uint32_t pad;
	const struct ag_driver *table;
};

const struct ag_driver *agc_table(void);           /* the process's core; never NULL */
extern const struct ag_driver agc_own_table;       /* this copy's */

/* Connects on first use (daemon, else a private worker; DESIGN: no worker running).  CUDA_SUCCESS, or why not:
 * CUDA_ERROR_NO_DEVICE, ... with one line on stderr. */
CUresult agc_connect(void);
const struct ag_shm *agc_shm(void);                /* after agc_connect succeeded */
uint64_t agc_window_base(void);
bool agc_in_window(const void *p, size_t bytes);

/* --- messages ------------------------------------------------------------------------------- */
/* Reserves a message of `op`: `fixed` bytes of struct msg_X (head included) + tail bytes. The head is filled, the
 * rest is not cleared. NULL: no session (dead or refused): return agc_error().  Takes the producer lock. */
void *agc_begin(uint16_t op, uint32_t fixed, uint32_t tail);
CUresult agc_post(void *msg); /* asynchronous; reports an earlier asynchronous failure, like CUDA does */
/* Waits for the answer. rep: fixed reply (may be NULL); tail: buffer for the variable part, *tail_bytes in: capacity,
 * out: bytes. */
CUresult agc_call(void *msg, void *rep, uint32_t rep_bytes, void *tail, uint32_t *tail_bytes);
CUresult agc_error(void);                          /* what a call returns when there is no session */
void agc_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* one line on stderr, "agileos: ..." */

/* --- ids ------------------------------------------------------------------------------------ */
ag_id agc_id_new(enum ag_kind kind, void *state);  /* 0: out of ids.  state: client-side object, may be NULL */
void *agc_id_state(enum ag_kind kind, const void *handle, bool *valid);
void agc_id_free(ag_id id);
static inline ag_id agc_id(const void *handle) { return (ag_id)(uintptr_t)handle; }
/* A stream argument as it goes over the wire: 0 for legacy, this thread's stream for CU_STREAM_PER_THREAD (created on
 * first use), else the id. false: invalid handle. */
bool agc_stream(CUstream s, ag_id *wire);

/* --- completion ------------------------------------------------------------------------------ */
uint64_t agc_submitted(void);                      /* a counter of submitted GPU work, for reuse of freed memory */
CUresult agc_wait_word(const volatile uint64_t *word,
		       uint64_t value); /* spin, then futex; ends when the session ends */
CUresult agc_sync_stream(ag_id wire_stream);
CUresult agc_sync_all(void);
void agc_look(void);                     /* notes what is over already, on all streams; waits 20 ms at most */
CUresult agc_fault_status(void); /* sticky fault of this session (asks the worker when the fault word is set) */
CUresult agc_recover(void);              /* a faulted session is as new; what it holds it still holds */
void agc_printf_drain(void);

/* Hand-written parts implement `CUresult call_cuX(...)` with cuX's exact prototype. The generator declares them in
 * build/gen/calls.h. */

#endif
