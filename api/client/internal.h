/* internal.h - what the client's hand-written parts share beyond client.h.
 *
 * LOCKS, in the order they may be taken: connect (session.c) > context (context.c) > module (module.c) > stage
 * (copy.c, one per stream) > memory (memory.c) > ids (ids.c) > producer (ring.c, held from agc_begin to
 * agc_post/agc_call).  Waiting for the worker is allowed under all of them except ids and producer.
 *
 * NUMBERS.  Every message has a number, 1 and up, in ring order.  A completion word holds the number of the latest
 * message known to be done on its stream, so that "is this done" is a comparison.
 */
#ifndef AGC_INTERNAL_H
#define AGC_INTERNAL_H

#include "client.h"
#include "msg.h"
#include "calls.h"
#include "alloc/alloc.h"
#include "guard/guard.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- session (session.c) ------------------------------------------------------------------------------------------ */

enum agc_state { AGC_NEW, AGC_LIVE, AGC_DEAD, AGC_FORKED };

#define AGC_HOST_CHUNKS 64

struct agc_session {
	_Atomic uint32_t state;              /* enum agc_state */
	_Atomic uint32_t error;              /* CUresult of every call once dead */
	_Atomic uint32_t sticky;             /* CUresult of a fault of this session, 0 none */
	int fd;                              /* the socket; its end of file is the worker's end */
	struct ag_shm *shm;
	uint8_t *ring, *replies;
	uint64_t base;                       /* window */
	struct ag_extent host[AGC_HOST_CHUNKS];
	_Atomic uint32_t nhost;
	volatile uint32_t *fault_word;       /* in window host memory */
	/* producer, under its lock */
	uint64_t pos;                        /* bytes ever written */
	_Atomic uint64_t posted;             /* messages ever posted: the number of the latest */
	_Atomic uint64_t work;               /* number of the latest that may touch memory */
	_Atomic uint64_t completed;          /* every message up to this number is done, on all streams */
	_Atomic uint64_t last_poll;          /* agc_ticks of the last look at the socket */
	_Atomic uint32_t nonblocking;        /* streams that do not order with the legacy stream were created */
};
extern struct agc_session agc_s;

struct agc_ctx;
struct agc_stream;

/* Per thread. */
struct agc_tls {
	struct agc_ctx *ctx;                 /* current context */
	struct agc_stream *touched;          /* stream named since the last message: the next message is its */
	struct agc_stream *own;              /* CU_STREAM_PER_THREAD's stream */
	bool in_callback;                    /* a host function runs: no calls */
	unsigned slot_hint;
};
extern __thread struct agc_tls agc_t;

/* cuInit was called and the session lives. */
CUresult agc_ready_slow(void);
static inline CUresult agc_ready(void)
{
	return atomic_load_explicit(&agc_s.state, memory_order_acquire) == AGC_LIVE ? CUDA_SUCCESS : agc_ready_slow();
}
/* A context is current, too, and nothing has faulted. */
CUresult agc_current(void);
#define AGC_READY() do { CUresult ready_ = agc_ready(); if (ready_) return ready_; } while (0)
#define AGC_CURRENT() do { CUresult ready_ = agc_current(); if (ready_) return ready_; } while (0)
/* Declares v: what a handle stands for, once the library is ready; the call ends with `error` where it is nothing. */
#define AGC_FOUND(type, v, ready, found, error)                                                                      \
	type *v;                                                                                                     \
	do {                                                                                                         \
		ready();                                                                                             \
		v = found;                                                                                           \
		if (!v)                                                                                              \
			return error;                                                                                \
	} while (0)
#define AGC_STREAM(s, h) AGC_FOUND(struct agc_stream, s, AGC_CURRENT, agc_stream_of(h), CUDA_ERROR_INVALID_HANDLE)
#define AGC_KERNEL(f, h) \
	AGC_FOUND(struct agc_function, f, AGC_READY, agc_id_state(AG_K_KERNEL, h, NULL), CUDA_ERROR_INVALID_HANDLE)
/* What a query answers when nothing else is wrong. */
#define AGC_GIVE(out, value) ((out) ? (*(out) = (value), CUDA_SUCCESS) : CUDA_ERROR_INVALID_VALUE)

void agc_session_end(CUresult why, const char *text);
/* Looks at the socket when the last look is older than `ms`. false: the session is over. */
bool agc_alive(unsigned ms);
/* Maps the chunk of host memory that a grant announced. */
bool agc_take_hostfd(uint64_t addr, uint64_t bytes);
bool agc_is_host(const void *p);         /* window host memory */

/* --- ring (ring.c) ------------------------------------------------------------------------------------------------ */

uint64_t agc_number(void); /* number the message begun will have; between agc_begin and agc_post/agc_call */
void agc_post_quietly(
	void *msg); /* agc_post by a thread of ours: an earlier failure is left for the program's next call */
CUresult agc_take_async_error(void);     /* what failed since last asked */
void agc_ring_reset(void);               /* new session */
uint64_t agc_ticks(void);                /* cheap clock for rate limits, about 1 to 5 per nanosecond */
uint64_t agc_now_ns(void);
static inline void agc_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}
void agc_futex_wait(const volatile void *word, uint32_t value, uint64_t ns);
void agc_futex_wake(_Atomic uint32_t *word);

/* --- streams (stream.c) ------------------------------------------------------------------------------------------- */

/* Two halves of window host memory through which pageable copies of one stream pass. */
struct agc_stage {
	pthread_mutex_t lock;
	uint8_t *base;
	size_t half;                         /* bytes of each half; 0: none yet */
	unsigned cur;
	size_t used[2];
	uint64_t fence[2];                   /* number up to which the half is in use */
};

/* A stream's client side.  Never unmapped: recycled with its id, so that a stale pointer reads a stream, if the wrong
 * one. */
struct agc_stream {
	ag_id id;                            /* 0: the legacy stream */
	unsigned flags;
	int priority;
	struct agc_ctx *ctx;
	uint64_t uid;                        /* cuStreamGetId */
	volatile uint64_t *word;             /* completion word */
	_Atomic uint64_t last;               /* number of the last message on it */
	_Atomic uint64_t signalled;          /* number of the last signal posted for it */
	_Atomic bool broken;                 /* its capture ended in an error: EndCapture gives no graph */
	struct agc_stage stage;
	/* attributes: hints that are kept for those who ask (streamattr.c) */
	CUaccessPolicyWindow access_policy;
	CUsynchronizationPolicy sync_policy;
	CUlaunchMemSyncDomainMap domain_map;
	CUlaunchMemSyncDomain domain;
	struct agc_stream *next;             /* live streams, or spare ones */
};
extern struct agc_stream agc_legacy;

struct agc_stream *agc_stream_of(CUstream s);            /* NULL: invalid handle */
struct agc_stream *agc_default_stream(void);             /* legacy, or the thread's own inside a per-thread twin */
bool agc_streams_setup(void);                            /* new session: words of the legacy stream and of everything */
CUresult agc_stream_signal(struct agc_stream *s,
			   uint64_t *number); /* posts a signal; number to wait for in s->word */
CUresult agc_stream_wait_number(struct agc_stream *s, uint64_t number);
CUresult agc_stream_sync(struct agc_stream *s);
CUresult agc_wait_all(void);             /* agc_sync_all, but what failed earlier is left for the program's next call */
void agc_streams_drop(struct agc_ctx *ctx);              /* destroys the context's streams; NULL: all */
void agc_note_completed(uint64_t number);

/* --- waiting (wait.c) --------------------------------------------------------------------------------------------- */

CUresult agc_sync_point(
	CUresult r); /* after a successful wait: prints, then faults and asynchronous errors of the session */

/* --- memory (memory.c) -------------------------------------------------------------------------------------------- */

enum agc_block_kind { AGC_B_DEVICE, AGC_B_HOST, AGC_B_MANAGED, AGC_B_MODULE, AGC_B_ASYNC, AGC_B_VMM, AGC_B_PRIVATE };

struct agc_block {
	uint64_t addr, bytes;                /* as asked for */
	struct agc_ctx *ctx;
	uint64_t id;                         /* CU_POINTER_ATTRIBUTE_BUFFER_ID */
	uint64_t pool;                       /* CUmemoryPool of asynchronous allocations */
	uint32_t flags;
	uint8_t kind;                        /* enum agc_block_kind */
	bool small;                          /* mimalloc's, in one of its segments */
	/* Advice about managed memory: recorded for those who ask, without effect on memory that both sides always
	 * reach. */
	bool read_mostly, accessed_by;
	int16_t preferred, prefetched;       /* device, AGC_AT_HOST or AGC_NOWHERE */
};
#define AGC_AT_HOST (-1)
#define AGC_NOWHERE (-2)

bool agc_memory_setup(void);             /* new session: heaps over the first host chunk */
/* Window host memory for the client's own use; 0: out of memory. Zeroed is not promised. */
void *agc_host_alloc(size_t bytes, size_t align);
void agc_host_free(void *p);             /* reuse waits for all work submitted so far */
volatile uint64_t *agc_word_new(void);   /* an 8-byte word, zero */
void agc_word_free(
	volatile uint64_t *w,
	uint64_t value); /* value: the last that was announced for it; until it is there, w is not reused */
CUresult agc_device_alloc(uint64_t bytes, uint64_t align, enum agc_block_kind kind, uint32_t flags, uint64_t *addr);
CUresult agc_device_free(uint64_t addr);
/* The block that holds addr, copied out. */
bool agc_block_find(uint64_t addr, struct agc_block *out);
/* Does one live block hold [addr, addr+bytes)?  For arguments of calls. */
bool agc_block_covers(uint64_t addr, uint64_t bytes);
void agc_memory_drop(struct agc_ctx *ctx);
/* Host memory outside the window that the program registered: does [p, p+bytes) lie in it? */
bool agc_registered(const void *p, size_t bytes);

/* Constant variables have addresses of their own kind: a range that only copies understand. */
uint64_t agc_const_reserve(uint64_t bytes);              /* 0: none left */
void agc_const_release(uint64_t addr);
bool agc_is_const(uint64_t addr);
bool agc_module_const(uint64_t addr, uint64_t bytes, ag_id *module, uint64_t *offset);   /* module.c */

CUresult agc_heap_resize(uint64_t bytes);                /* the heap of malloc in kernels; heap.c */

/* --- copies (copy.c) ---------------------------------------------------------------------------------------------- */

CUresult agc_copy(uint64_t dst, uint64_t src, uint64_t bytes, struct agc_stream *s, bool async);
CUresult agc_set(uint64_t dst, uint64_t pitch, uint64_t width, uint64_t height, uint32_t value, uint32_t elem,
		 struct agc_stream *s);
void agc_stage_drop(struct agc_stage *st);

/* --- contexts (context.c) ----------------------------------------------------------------------------------------- */

struct agc_ctx {
	ag_id id;
	CUdevice device;
	unsigned flags;
	bool primary, live;
	int retained;                        /* primary: cuDevicePrimaryCtxRetain count */
	uint64_t uid;
	uint64_t limit[CU_LIMIT_MAX];
	CUfunc_cache cache;
	CUsharedconfig bank;
	struct agc_ctx *next;
};
struct agc_ctx *agc_ctx_of(CUcontext c);                 /* NULL: not a live context */
static inline CUcontext agc_ctx_handle(const struct agc_ctx *c) { return c ? (CUcontext)(uintptr_t)c->id : NULL; }

/* --- modules (module.c), launches (launch.c) ---------------------------------------------------------------------- */

struct agc_module;

struct agc_function {
	ag_id id;                            /* AG_K_FUNCTION: what the program holds */
	ag_id module_id;                     /* of the worker's module */
	struct agc_module *module;
	uint32_t index;
	const char *name;
	uint32_t nparams, param_bytes;
	const uint32_t (*param)[2];          /* offset, size */
	uint32_t max_threads, static_shared, local_bytes, const_bytes, num_regs;
	int32_t ptx_version, binary_version, cache_mode_ca;
	_Atomic int32_t max_dynamic_shared, preferred_carveout;
	_Atomic int32_t cluster[3], nonportable_cluster, cluster_policy;
	bool cluster_declared, cluster_must_be_set;
	uint32_t reqntid[3], maxntid[3];
	ag_id kernel_id;                     /* AG_K_KERNEL, when it is a library's kernel */
};

/* A CUfunction, or a CUkernel in its place (loads its library). */
CUresult agc_function_of(CUfunction f, struct agc_function **out);
/* Blocks of `block` threads that one multiprocessor holds at a time; func.c */
CUresult agc_active_blocks(const struct agc_function *f, int block, size_t shared, int *blocks);
void agc_modules_drop(struct agc_ctx *ctx);
/* A module of `ctx` (may be NULL: a library's) from an image; size as for agc_image_pieces. */
CUresult agc_module_load(const void *image, size_t size, struct agc_ctx *ctx, struct agc_module **out);
CUresult agc_module_unload(struct agc_module *m);
void agc_modules_stale(void);                            /* the primary context was reset */
CUresult agc_module_fresh(struct agc_module *m);         /* loads it anew if that happened since */
ag_id agc_module_id(const struct agc_module *m);
ag_id *agc_module_owner(struct agc_module *m);           /* the library's id */
uint32_t agc_module_kernels(const struct agc_module *m);
struct agc_function *agc_module_kernel(struct agc_module *m, uint32_t i);
struct agc_function *agc_module_find(struct agc_module *m, const char *name);
/* A variable; is_managed may be NULL. */
CUresult agc_module_global(struct agc_module *m, const char *name, uint64_t *addr, uint64_t *bytes, bool *is_managed);
/* The function's handle, made on first use; 0: out of ids. */
ag_id agc_function_id(struct agc_function *f);
/* Fills the log buffers that JIT options name. */
void agc_jit_logs(unsigned n, const CUjit_option *option, void **value, CUresult r);
/* A whole file, malloc'd, with a zero byte after its end. */
CUresult agc_read_file(const char *path, void **data, size_t *size);

/* --- fat binaries (fatbin.c) -------------------------------------------------------------------------------------- */

struct agc_piece { char *text; size_t len; };            /* PTX, malloc'd, NUL-terminated (len without it) */
struct agc_pieces { struct agc_piece *v; uint32_t n; bool sass_only; };

/* Any image a module can be loaded from -> PTX pieces for device sm `sm` (90).  `size`: 0 when unknown (a pointer
 * from the program, as CUDA has it).  CUresult; free with agc_pieces_free either way. */
CUresult agc_image_pieces(const void *image, size_t size, unsigned sm, struct agc_pieces *out);
void agc_pieces_free(struct agc_pieces *p);

/* --- kernel printf (printf.c) ------------------------------------------------------------------------------------- */

bool agc_printf_setup(void);

/* --- graphs (graph.c) --------------------------------------------------------------------------------------------- */

extern _Atomic int agc_captures;         /* captures under way in this process */
bool agc_capturing(ag_id wire);          /* does the stream take part in one? Asks the worker. */
static inline bool agc_captured(ag_id wire)
{
	return atomic_load_explicit(&agc_captures, memory_order_relaxed) && agc_capturing(wire);
}
bool agc_graph_holds(uint64_t addr);     /* memory of an allocation node, freed with its graphs */
void agc_graph_shares(ag_id owner, ag_id from);
CUresult agc_capture_alloc(ag_id stream, size_t bytes, CUdeviceptr *out); /* lives as the captured graph will */
void agc_graph_gone(ag_id owner);


#endif
