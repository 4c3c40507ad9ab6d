/* soft_internal.h - what the files of softgpu's Driver side share.
 *
 * Every entry point is `soft_<symbol>`, declared by the generated soft_decl.h with the type cuda.h gives the symbol.
 *
 * One lock (soft_lock) guards everything here: objects, contexts, streams' queues, the address maps.  It is never held
 * while a grid, a copy, a host function or the PTX decoder runs.  Waiting for progress releases it.
 *
 * Ownership: objects are reference counted; a handle is the object's address and is looked up in a table of live
 * objects before it is used, so a stale or invented handle is an error and not a crash.
 */
#ifndef AG_SOFT_INTERNAL_H
#define AG_SOFT_INTERNAL_H

#define __CUDA_API_VERSION_INTERNAL
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <cuda.h>
#include "soft_decl.h"
#include "exec.h"
#include "soft.h"

enum {
	SOFT_GRANULE = 2 << 20,   /* physical memory comes in frames of this size, as the driver's granularity says */
	SOFT_DRIVER_VERSION = 13000,
	SOFT_SM_COUNT = 132,
};

/* --- lock and progress (soft_core.c) --- */

void soft_lock(void);
void soft_unlock(void);
void soft_wait_progress(void); /* lock held: sleeps until something completed somewhere */
void soft_sleep(pthread_cond_t *wake); /* lock held: sleeps on a condition of one's own */
void soft_progress(void);      /* lock held: something completed */
void soft_log(const char *format, ...) __attribute__((format(printf, 1, 2))); /* one line on stderr */
uint64_t soft_now_ns(void);
uint64_t soft_next_id(void);
size_t soft_host_page(void);

/* --- objects (soft_core.c) --- */

enum soft_kind {
	SOFT_CTX = 1, SOFT_STREAM, SOFT_EVENT, SOFT_MODULE, SOFT_FUNC, SOFT_LIBRARY, SOFT_KERNEL, SOFT_POOL, SOFT_PHYS,
	SOFT_ARRAY, SOFT_MIPMAP, SOFT_TEXTURE, SOFT_SURFACE, SOFT_GRAPH, SOFT_NODE, SOFT_GRAPH_EXEC, SOFT_LINK,
	SOFT_USER_OBJECT,
};

struct soft_obj {
	enum soft_kind kind;
	unsigned refs;
	bool listed;
	struct soft_obj *next;            /* in the table of live handles */
	void (*free)(struct soft_obj *);  /* lock held */
};

/* All with the lock held. */
void soft_obj_init(struct soft_obj *o, enum soft_kind kind,
		   void (*free_fn)(struct soft_obj *));	      /* refs = 1, findable */
void *soft_obj_find(enum soft_kind kind, const void *handle); /* NULL when no such live object; takes no reference */
void soft_obj_hide(struct soft_obj *o);   /* the handle is invalid from now on */
void soft_ref(struct soft_obj *o);
void soft_unref(struct soft_obj *o);

/* --- contexts (soft_context.c) --- */

struct soft_stream;
struct soft_heap;

struct soft_ctx {
	struct soft_obj obj;
	struct soft_ctx *next;           /* of all contexts */
	bool primary, destroyed;
	unsigned flags, api_version;
	uint64_t id;
	CUresult error;                  /* sticky; CUDA_SUCCESS while healthy */
	uint32_t cancel;                 /* non-zero ends running grids: destruction, reset */
	unsigned running_grids;
	struct soft_stream *streams;     /* all of them, the two kinds of default stream included */
	struct soft_stream *legacy;
	struct soft_event *events;
	struct soft_heap *heap;          /* cuMemAlloc and module variables */
	size_t limits[CU_LIMIT_MAX];
	CUfunc_cache cache_config;
	CUsharedconfig shared_config;
};

/* Prologues of the entry points.  They take the lock; when they fail they have released it again. */
CUresult soft_enter_any(void);                    /* needs cuInit only */
CUresult soft_enter(struct soft_ctx **ctx);       /* needs a healthy current context */
CUresult soft_enter_sick(struct soft_ctx **ctx);  /* needs a current context, its error does not matter */
CUresult soft_enter_stream(CUstream h, struct soft_stream **s); /* a stream of a healthy context */
CUresult soft_leave(CUresult r);                  /* releases the lock, returns r */
/* The end of a query that began with r: leaves with the value where entering went well. */
#define SOFT_GIVE(r, out, value)                                                                                     \
	((r) ? (r) : soft_leave((out) ? (*(out) = (value), CUDA_SUCCESS) : CUDA_ERROR_INVALID_VALUE))

extern struct soft_ctx *soft_contexts;
struct soft_ctx *soft_current(void);              /* lock held; NULL when none */
CUresult soft_primary(struct soft_ctx **ctx);     /* lock held; creates the primary context's state when needed */
void soft_ctx_fail(struct soft_ctx *c, CUresult error, const struct exec_fault *fault,
		   const char *kernel);		  /* lock held */
CUresult soft_ctx_sync(struct soft_ctx *c);       /* lock held; waits for all its streams; the context's error */
bool soft_device_ok(CUdevice dev);
extern _Thread_local bool soft_in_callback;       /* this thread runs a host function: CUDA calls are not permitted */
void soft_flush_output(void);                     /* kernel printf reaches its file at synchronisation points */
void soft_output_pending(void);                   /* a grid ran: there may be something to flush */

/* --- address maps (soft_map.c, soft_memory.c) --- */

struct soft_extent { uint64_t base, size; };      /* first member of whatever is kept in a map */
struct soft_map { struct soft_extent **v; size_t n, cap; }; /* sorted by base, not overlapping */

struct soft_extent *soft_map_at(const struct soft_map *m, uint64_t addr);      /* the one that contains addr */
size_t soft_map_after(const struct soft_map *m, uint64_t addr); /* index of the first that ends past addr */
bool soft_map_free(const struct soft_map *m, uint64_t base, uint64_t size);    /* nothing there */
bool soft_map_add(struct soft_map *m, struct soft_extent *e);                  /* false: out of memory */
void soft_map_remove(struct soft_map *m, struct soft_extent *e);
/* Lowest aligned free address of `size` bytes in [lo, hi), 0 when none. */
uint64_t soft_map_gap(const struct soft_map *m, uint64_t lo, uint64_t hi, uint64_t size, uint64_t align);

/* Physical memory: frames of the device's memory, or a memory file of its own (exportable, host-located). */
struct soft_phys {
	struct soft_obj obj;
	uint64_t size;
	int fd;                          /* -1: frames of the device's file */
	bool counted;                    /* against the device's memory */
	unsigned handles, maps;          /* references by cuMemCreate/Retain/Import, and by mappings */
	CUmemAllocationProp prop;
	uint32_t nextents;
	struct soft_frames { uint64_t first, count; } *extents;
};

CUresult soft_memory_init(void);
CUresult soft_phys_new(uint64_t size, const CUmemAllocationProp *prop, struct soft_phys **out); /* handles = maps = 0 */
void soft_phys_drop(struct soft_phys *p);  /* frees it when neither handles nor mappings are left */
bool soft_phys_map(const struct soft_phys *p, uint64_t offset, uint64_t addr, uint64_t size, int prot);
void soft_memory_info(uint64_t *free_bytes, uint64_t *total);

/* Address space of the arena that something owns: reservations, blocks, host allocations. */
struct soft_span { struct soft_extent e; bool reserved_by_user; };
struct soft_span *soft_span_new(uint64_t at, uint64_t size, uint64_t align); /* inaccessible pages; at 0: anywhere */
void soft_span_free(struct soft_span *s);
struct soft_span *soft_span_at(uint64_t addr);
bool soft_span_clear(uint64_t base, uint64_t size);     /* the pages fault again, the addresses stay owned */

enum soft_type { SOFT_R_DEVICE, SOFT_R_POOL, SOFT_R_MANAGED, SOFT_R_HOST, SOFT_R_REGISTERED, SOFT_R_VMM, SOFT_R_ARRAY };

/* Memory that a CUDA call may name.  Lives in the map of ranges. */
struct soft_range {
	struct soft_extent e;
	enum soft_type type;
	struct soft_ctx *ctx;            /* owner; NULL for VMM mappings */
	uint64_t buffer_id;
	unsigned flags;                  /* as given to cuMemHostAlloc, cuMemHostRegister, cuMemAllocManaged */
	bool sync_memops, variable, busy_free;
	struct soft_block *block;        /* DEVICE, POOL */
	struct soft_span *span;          /* HOST, MANAGED */
	struct soft_phys *phys;          /* VMM */
	uint64_t phys_offset;
	CUmemAccess_flags access;        /* VMM; others are read-write */
	struct soft_pool *pool;          /* POOL */
	struct { bool read_mostly, accessed_by_device, accessed_by_host; CUmemLocation preferred, prefetched; } advice;
};

extern struct soft_map soft_ranges;
struct soft_range *soft_range_at(uint64_t addr);
struct soft_range *soft_range_add(uint64_t base, uint64_t size, enum soft_type type, struct soft_ctx *ctx);
void soft_range_remove(struct soft_range *r);      /* waits for copies that run in it (releases the lock meanwhile) */
/* Is [addr, addr+len) wholly known memory, with the access asked for? */
bool soft_range_ok(uint64_t addr, uint64_t len, bool write);
bool soft_is_host(enum soft_type t);

/* Copies in progress pin what they touch; removal of a range waits for them. */
struct soft_pin { uint64_t base, end; struct soft_pin *next; };
void soft_pin(struct soft_pin *p, uint64_t base, uint64_t len);
void soft_unpin(struct soft_pin *p);
void soft_wait_unpinned(uint64_t base, uint64_t len);

/* Suballocation of 2 MiB blocks, 512 bytes aligned; larger than 1 MiB gets whole frames (soft_heap.c). */
struct soft_heap *soft_heap_new(void);
void soft_heap_free(struct soft_heap *h);          /* with everything that is left in it */
CUresult soft_heap_alloc(struct soft_heap *h, uint64_t size, uint64_t align, enum soft_type type, struct soft_ctx *c,
	struct soft_range **out);
void soft_heap_release(struct soft_range *r);
uint64_t soft_heap_reserved(const struct soft_heap *h);
void soft_heap_trim(struct soft_heap *h, uint64_t keep);
void soft_heap_keep(struct soft_heap *h, uint64_t keep); /* empty blocks stay mapped up to this many bytes */

void soft_pool_free(struct soft_range *r);          /* lock held */
void soft_pools_drop(struct soft_ctx *c);          /* allocations that c made in pools */
/* Lock held: registered memory outside the arena changes; grids see it without `without`.  false: out of memory. */
bool soft_host_snapshot(const struct soft_range *without);
extern unsigned soft_grids;                        /* running now, of all contexts */

/* --- streams and operations (soft_stream.c) --- */

struct soft_op {
	struct soft_op *next;
	unsigned refs;
	bool done;
	bool light;                      /* cheap and never blocks: may run on the submitting thread */
	bool always;                     /* runs even when the context has failed (stream callbacks) */
	uint64_t time_ns;                /* of completion */
	uint64_t seq;                    /* order of submission */
	struct soft_stream *stream;      /* while queued or running */
	/* Runs without the lock.  A template (graph node) is run many times, so run changes nothing of the op. */
	CUresult (*run)(struct soft_op *op, struct soft_stream *s);
	void (*release)(struct soft_op *op); /* lock held; gives back what the payload holds; may be NULL */
	unsigned ndeps;
	struct soft_op **deps;
};

struct soft_capture;

struct soft_stream {
	struct soft_obj obj;
	struct soft_ctx *ctx;
	struct soft_stream *next;        /* of the context */
	unsigned flags;
	int priority;
	uint64_t id;
	uint64_t owner_thread;           /* per-thread default stream: whose */
	bool legacy, busy, closing, thread_started, linked;
	uint64_t running;                /* seq of the operation that runs, while busy */
	struct soft_op *head, *tail, *last;
	pthread_cond_t wake;
	struct soft_capture *capture;    /* soft_capture.c; NULL when not capturing */
	struct soft_node **tips;         /* capturing: what the next node depends on */
	unsigned ntips;
	CUaccessPolicyWindow window;
	CUsynchronizationPolicy sync_policy;
	CUlaunchMemSyncDomain sync_domain;
	CUlaunchMemSyncDomainMap sync_map;
};

void *soft_op_new(size_t size, CUresult (*run)(struct soft_op *, struct soft_stream *),
		  void (*release)(struct soft_op *));
void soft_op_ref(struct soft_op *op);
void soft_op_unref(struct soft_op *op);
CUresult soft_op_depend(struct soft_op *op, struct soft_op *on);
void soft_op_finish(struct soft_op *op);                   /* for operations that no stream runs: done now */
CUresult soft_submit(struct soft_stream *s, struct soft_op *op);      /* takes the reference, also when it fails */
CUresult soft_submit_wait(struct soft_stream *s, struct soft_op *op); /* the same, then waits */
void soft_op_wait(struct soft_op *op);
CUresult soft_stream_get(struct soft_ctx *c, CUstream h, struct soft_stream **out);
CUresult soft_stream_new(struct soft_ctx *c, unsigned flags, int priority, struct soft_stream **out);
void soft_stream_close(struct soft_stream *s);
void soft_stream_wait(struct soft_stream *s);

/* --- copies (soft_copy.c) --- */

struct soft_array;

struct soft_side {                   /* one side of a copy: linear memory, or an array */
	uint64_t addr;                   /* of the first byte, offsets included */
	uint64_t pitch, slice;           /* bytes from row to row, from plane to plane */
	bool device;                     /* must be known memory; else any host address */
	struct soft_array *array;        /* keeps it alive; NULL for linear memory */
};

CUresult soft_copy(struct soft_stream *s, struct soft_side dst, struct soft_side src, uint64_t width, uint64_t height,
	uint64_t depth, bool async);
CUresult soft_copy_op(struct soft_side dst, struct soft_side src, uint64_t width, uint64_t height, uint64_t depth,
	struct soft_op **out);
CUresult soft_side_linear(uint64_t addr, uint64_t len, bool write, bool must_device, struct soft_side *out);
CUresult soft_copy_3d(const CUDA_MEMCPY3D *p, struct soft_side *dst, struct soft_side *src);
CUresult soft_memset_op(uint64_t dst, uint64_t pitch, unsigned elem, uint32_t value, uint64_t width, uint64_t height,
	struct soft_op **out);

/* --- arrays (soft_array.c) --- */

struct soft_array {
	struct soft_obj obj;
	struct soft_ctx *ctx;
	CUDA_ARRAY3D_DESCRIPTOR desc;
	unsigned elem;                   /* bytes of one element */
	uint64_t pitch, slice, planes;
	struct soft_range *mem;          /* its storage; not visible as a pointer to programs */
	bool of_mipmap;                  /* a level: goes with its mipmapped array */
	struct soft_array *next;         /* of all arrays */
};

CUresult soft_array_new(struct soft_ctx *c, const CUDA_ARRAY3D_DESCRIPTOR *d, struct soft_array **out);
unsigned soft_format_bytes(CUarray_format f);      /* of one component; 0: not supported */
void soft_arrays_drop(struct soft_ctx *c);
void soft_textures_drop(struct soft_ctx *c);       /* and mipmapped arrays; before the arrays */

/* --- modules (soft_module.c) --- */

struct soft_module;

struct soft_func {                   /* a CUfunction, and what a CUkernel stands for */
	struct soft_obj obj;
	struct soft_obj *as_kernel;
	struct soft_module *module;
	const struct exec_kernel *k;
	int max_dynamic_shared, carveout, nonportable_cluster, cluster_policy;
	int cluster[3];
	CUfunc_cache cache_config;
	struct soft_func *next;
};

struct soft_module {
	struct soft_obj obj;
	struct soft_ctx *ctx;            /* NULL: belongs to a library */
	struct soft_library *library;
	struct exec_module *exec;
	struct soft_func *funcs;
	struct soft_module *next;        /* of all modules */
	int virtual_arch;                /* of .target */
	bool unloaded;
};

struct soft_func *soft_func_find(CUfunction h);   /* accepts a CUkernel too, as the driver does */
unsigned soft_func_max_threads(const struct soft_func *f);
void soft_modules_drop(struct soft_ctx *c);

/* --- launch and occupancy (soft_launch.c, soft_occupancy.c) --- */

struct soft_config {
	uint32_t grid[3], block[3];
	uint32_t cluster[3];             /* 0: what the kernel itself asks for */
	uint32_t dyn_shared;
	bool cooperative;
};

/* Errors are cuLaunchKernelEx's. */
CUresult soft_read_config(const CUlaunchConfig *config, struct soft_config *cfg, CUevent *completion);
/* The cluster of a launch into cfg->cluster, or why there can be none. */
CUresult soft_cluster_size(const struct soft_func *f, struct soft_config *cfg);

CUresult soft_launch_op(struct soft_ctx *c, CUfunction f, const struct soft_config *cfg, void **params, void **extra,
	struct soft_op **out);
int soft_blocks_per_sm(const struct soft_func *f, uint32_t threads, uint64_t dyn_shared);

/* --- events (soft_event.c) --- */

struct soft_event {
	struct soft_obj obj;
	struct soft_ctx *ctx;
	struct soft_event *next;         /* of the context */
	unsigned flags;
	struct soft_op *op;              /* the latest record; NULL: never recorded */
	struct soft_capture *capture;    /* recorded in a capturing stream: which, and after which nodes */
	struct soft_node **captured;
	unsigned ncaptured;
};

CUresult soft_event_record(struct soft_stream *s, struct soft_event *e);
CUresult soft_event_wait(struct soft_stream *s, struct soft_event *e);
CUresult soft_host_op(CUhostFn fn, void *data, struct soft_op **out);
void soft_events_drop(struct soft_ctx *c);

/* Parameters of an operation as the graph API states them. */
void soft_copy_describe(const struct soft_op *op, CUDA_MEMCPY3D *p);
void soft_memset_describe(const struct soft_op *op, CUDA_MEMSET_NODE_PARAMS *p);
void soft_host_describe(const struct soft_op *op, CUDA_HOST_NODE_PARAMS *p);
/* `pointers` (nparams of the kernel) is filled and referred to by the result. */
void soft_launch_describe(const struct soft_op *op, CUDA_KERNEL_NODE_PARAMS *p, void **pointers);
uint32_t soft_launch_params(const struct soft_op *op);
uint64_t soft_thread_id(void);

/* --- graphs and capture (soft_graph.c, soft_capture.c) --- */

/* All with the lock held.  A capturing stream's operations become nodes; soft_capture_op takes the reference. */
void soft_capture_abandon(struct soft_stream *s);  /* the stream goes: a capture it is part of is invalid */
bool soft_capturing(const struct soft_stream *s);
CUresult soft_capture_op(struct soft_stream *s, struct soft_op *op, CUgraphNodeType type);
CUresult soft_capture_event_record(struct soft_stream *s, struct soft_event *e, bool external);
CUresult soft_capture_wait_event(struct soft_stream *s, struct soft_event *e, bool external);
CUresult soft_capture_unsupported(struct soft_stream *s); /* a call that a graph cannot hold: the capture is invalid */
void soft_capture_forget_event(struct soft_event *e);
/* Calls that may not run during a capture of mode global (or thread-local, on its thread). */
CUresult soft_capture_forbid_unsafe(struct soft_ctx *c);
/* Calls that synchronise a stream (NULL: the context), or use the legacy stream. */
CUresult soft_capture_forbid(struct soft_ctx *c, struct soft_stream *s);
CUresult soft_capture_legacy(struct soft_ctx *c); /* the legacy stream would depend on a capturing stream */

#endif
