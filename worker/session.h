/* session.h - inside the worker: the process, its sessions, and what belongs to each.
 *
 * struct worker is the process's one.  A struct session belongs to its thread; other threads read only the fields
 * marked "shared" and the atomics.  Lock order: quiet.lock (who has which streams; held over queries of them, which
 * never wait), then worker.lock (the list of sessions, the windows' numbers; nobody calls the driver with it).
 */
#ifndef AG_WORKER_SESSION_H
#define AG_WORKER_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>
#include "worker.h"
#include "driver.h"
#include "quiet.h"
#include "alloc/alloc.h"
#include "guard/guard.h"

/* --- objects (table.c) ------------------------------------------------------------------------ */

#define TABLE_INDEX_MAX (1u << 20)

struct entry {
	uint32_t gen;
	bool live;
	void *real;
	void *obj;
}; /* real: the driver's handle; obj: ours, may be NULL */
struct table {
	struct entry *v;
	uint32_t n, cap;
	uint32_t live;
};

bool table_free_id(const struct table *t, enum ag_kind kind, ag_id id);
const struct entry *table_find(const struct table *t, enum ag_kind kind, ag_id id);
CUresult table_put(struct table *t, enum ag_kind kind, ag_id id, void *real, void *obj);
void table_note(struct table *t, enum ag_kind kind, ag_id id, void *obj); /* a live entry's obj */
void table_drop(struct table *t, enum ag_kind kind, ag_id id);
void table_clear(struct table *t);

/* --- the ring (ring.c) ------------------------------------------------------------------------ */

struct ring {
	struct ag_shm *shm;         /* hostile */
	const uint8_t *base;        /* the ring's bytes; hostile */
	uint32_t bytes;             /* power of two, the worker's own copy */
	uint64_t tail;              /* own position */
	uint32_t spin_ns, spin_max; /* how long to spin before the next sleep */
	uint8_t *msg;               /* AG_MSG_MAX bytes, private */
};

enum ring_result { RING_EMPTY, RING_MESSAGE, RING_BAD };
/* Copies the next message into r->msg and moves on. RING_BAD: the ring holds what no correct client writes; why says
 * what. */
enum ring_result ring_next(struct ring *r, const char **why);
/* Waits up to timeout_ms for bytes; spins first, then sleeps on the doorbell. true: something is there. `stop` non-zero
 * ends it. */
bool ring_wait(struct ring *r, unsigned timeout_ms, const _Atomic int *stop);
void ring_wake(struct ag_shm *shm); /* from another thread: makes ring_wait look at `stop` */

/* --- streams, events, held-back work (stream.c, defer.c) --------------------------------------- */

struct deferred;
struct stream {
	struct stream *next; /* list of all of the session's */
	ag_id id;
	CUstream real;
	CUevent mark;            /* for joins; created when first needed */
	bool blocking;           /* orders with the legacy stream */
	bool legacy, queue_only; /* queue_only: holds back session-wide signals, never work of its own */
	bool zombie;             /* destroyed by the client, still has work held back */
	bool capturing;          /* between begin and end of a capture: nothing new is real; queries fail */
	bool marked;             /* capturing: mark was recorded behind the work from before, which may still run */
	bool active;             /* has work that no session-wide join has covered */
	bool dirty;              /* blocking: has work that the legacy stream has not waited for */
	uint64_t legacy_seen;    /* blocking: what it has waited for of the legacy stream */
	unsigned loose;          /* operations that no mark stands behind (depth.c) */
	bool origin;             /* its capture began here */
	CUgraph into;            /* captures into this graph of the program's: untouchable ... */
	struct taken *taken;     /* ... with its nodes, once listed (graph.c) */
	uint32_t workspace;      /* cooperative launches: slot in the scratch granule, 0: none yet */
	struct deferred *head, *last;
};

struct event {
	struct event *next; /* zombies */
	ag_id id;
	CUevent real;
	bool timing, recorded;
	bool captured;          /* its latest record is part of a capture */
	struct stream *pending; /* a record of it is held back there ... */
	uint64_t pending_seq;   /* ... as this number */
	uint64_t newest;        /* number of the latest record the program made */
};

struct streams {
	struct stream legacy, joinq;
	struct stream *all;     /* legacy and joinq included */
	CUstream join;          /* real stream of session-wide joins, created when first needed */
	bool join_active;       /* and not known to be idle */
	uint64_t legacy_work;   /* counts the legacy stream's operations */
	uint64_t legacy_marked; /* legacy_work when legacy.mark was last recorded */
	uint64_t seq;           /* numbers held-back messages */
	unsigned held;          /* streams with something held back */
	unsigned captures;      /* streams that capture */
	uint64_t deferred_bytes;
	struct stream *flushing; /* a held-back message of this stream is running ... */
	uint64_t flushing_seq;   /* ... with this number */
	struct event *zombie_events;
	struct module *modules; /* all of them, unloaded ones that are still busy included */
};

#define DEFERRED_MAX (256ull << 20) /* bytes of messages a session may have held back */

CUresult streams_open(struct session *s);
void streams_close(struct session *s); /* destroys what the table does not own */
struct stream *stream_find(const struct session *s, ag_id id);
/* Prepares the stream for an operation: waits, on the GPU, for what CUDA's legacy-stream rules order before it. */
CUresult stream_order(struct session *s, struct stream *st);
/* A real stream that has waited for everything the session submitted. */
CUresult stream_join(struct session *s, CUstream *out);
/* Before the stream may become part of a capture: notes the work it has. */
CUresult stream_note_work(struct session *s, struct stream *st);
/* Waits on the host until none of the session's streams has work. false: not within ms (UINT_MAX: for ever, or until
 * the session ends). */
bool streams_drain(struct session *s, unsigned ms);
bool streams_idle(struct session *s); /* right now; another thread may ask, under the quiet lock */
void streams_reap(struct session *s); /* frees destroyed streams that have become idle */
void event_free(struct session *s, struct event *e);
struct event *event_find(const struct session *s, ag_id id);

/* depth.c */
struct mark;
struct depth {
	struct mark *first, *last, *spare; /* set and not known to be reached, oldest first; unused ones */
	unsigned ops, loose;               /* not known to have ended; of these, behind no mark */
};
bool depth_wait(struct session *s); /* until it may submit one more. false: it is ending, or must not */
void depth_count(struct session *s, struct stream *st, unsigned ops);
void depth_forget(struct session *s, struct stream *st); /* it has no work, and goes */
void depth_close(struct session *s);

/* defer.c */
bool defer_needed(const struct session *s, uint16_t op, const void *msg, const struct permit *p);
CUresult defer_message(struct session *s, uint16_t op, const void *msg, uint32_t bytes, const struct permit *p);
CUresult defer_ticket(struct session *s, struct stream *st, uint64_t ticket);
bool defer_has_ticket(const struct session *s, uint64_t ticket);
CUresult defer_ticket_done(struct session *s, uint64_t ticket); /* runs what became free; AG_MALFORMED as serve's */
void defer_drop_all(struct session *s);
void defer_sweep(struct session *s); /* frees what was destroyed while something could name it, once nothing can */
void defer_forget(struct session *s, const struct stream *st); /* it goes; what it held back has run */

/* --- modules (module.c, launch.c, cache.c) ------------------------------------------------------ */

struct module;
void modules_sweep(struct session *s); /* frees those unloaded while messages were held back */
void modules_free(struct session *s);  /* all of them */

/* --- sessions ---------------------------------------------------------------------------------- */

struct worker {
	struct ag_driver driver;
	const struct ag_driver *d;
	CUcontext ctx;
	CUdevice dev;
	int sm; /* 90 */
	int driver_version;
	bool soft, unguarded, private_mode;
	bool no_report; /* kernels keep no record of violations */
	bool scrub;     /* kernels clear shared and local memory before they use it */
	bool meet;      /* no kernel's thread waits in hardware for one that may never come (guard.h, MEET) */
	uint64_t max_memory; /* bytes of each client, 0: as much as there is */
	struct guard_helper *helper;
	bool has_ptxas;
	struct ag_device_info info;
	CUstream control;     /* highest priority, the worker's own: kill flags */
	/* KILL_STRIDE bytes per window number, in managed memory that lives on the device: to end a session's kernels
	 * is an ordinary store, which no lock of the driver's can hold up. */
	CUdeviceptr kill;
	bool kill_managed;
	struct quiet quiet;
	uint8_t *records;     /* pinned, RECORDS_STRIDE per window number */
	CUdeviceptr gates;    /* u64 per service */
	CUdeviceptr textures; /* TEXTURES handles per window number */
	CUarray no_array;     /* one zero, and its texture: what a handle that names nothing names */
	CUtexObject no_texture;
	CUdeviceptr surfaces; /* SURFACES entries per window number */
	/* per window number, made by its first session: what they wrote there was a client's */
	struct no_surface { bool made; CUarray array[GUARD_GEOMETRIES]; CUsurfObject object[GUARD_GEOMETRIES];
	} no_surface[AG_WINDOW_COUNT];
	uid_t uid;
	gid_t group;
	bool has_group;
	int listen_fd, wake_fd;
	char socket_path[108];
	struct timespec started;
	_Atomic int dead; /* CUresult of the context, once it died */
	_Atomic int stopping;
	_Atomic uint64_t ended_sessions, total_launches, total_faults;

	pthread_mutex_t lock;
	struct session *sessions;
	unsigned nsessions;
	uint32_t next_number;
	uint64_t windows; /* bit k: number k is in use or lost */
};
extern struct worker the_worker;

#define KILL_STRIDE 65536u /* a page of its own: it moves when the host writes it */
#define RECORDS_STRIDE 4096u
#define TEXTURES 4096u /* of a session */
#define SURFACES 1024u

struct session {
	struct session *next; /* under worker.lock */
	struct worker *w;
	const struct ag_driver *d;
	uint32_t number;
	pid_t pid;
	uid_t uid;
	char program[64]; /* printable */
	struct timespec started;
	int sock;
	bool polled;          /* the main thread watches sock */
	_Atomic int hangup;   /* shared: the client is gone, or the worker is ending */
	_Atomic bool serving; /* shared: shm may be woken */
	/* quiet.c: it is putting work into streams (shared); did so before it asked for quiet; its kernels were ended
	 * for others' sake (shared) */
	_Atomic unsigned submitting;
	bool stepped_out;
	_Atomic bool overdue;
	struct session *quiet_next;
	struct ag_shm *shm;
	size_t shm_bytes;
	int shm_fd;
	struct ring ring;
	uint8_t *replies;   /* in shm */
	struct window *win; /* NULL until the handshake made one */
	unsigned k;         /* window number */
	uint64_t host;      /* first host chunk */
	enum ag_state state;
	CUresult fault; /* sticky, state FAULTED */
	struct table table[AG_K_COUNT];
	struct streams st;
	struct depth depth;
	struct guard_records *records;
	CUdeviceptr kill, textures, surfaces;
	uint32_t next_module;
	CUstream loader;   /* module loading; created when first needed */
	uint64_t attached; /* bit i: service i knows this client */
	struct kept_array *arrays; /* destroyed by the client while graphs may name them */
	uint64_t module_bytes; /* of its modules' texts */
	unsigned nstreams, nevents, nmodules, host_chunks; /* limits.h */
	uint64_t graph_units, exec_units; /* never less than there are; those of the exec being made */
	bool graphs_nest;
	struct session *helper_next; /* under the queue's lock */
	uint64_t helper_ticket;
	_Atomic uint64_t array_bytes;
	_Atomic unsigned logged; /* lines */
	_Atomic uint64_t launches, device_bytes, host_bytes, messages, faults;
};

/* texture.c: the session's stream for loading and clearing, made when first needed. Nothing else runs there. */
CUresult session_loader(struct session *s);
CUresult textures_open(struct worker *w);
void textures_close(struct worker *w);
CUresult textures_attach(struct session *s);          /* an empty table */
CUresult texture_unname(struct session *s, ag_id id); /* not any more; kernels that did must have ended */
unsigned texture_channel_bytes(CUarray_format f);             /* 0: of no size that is known here */

/* surface.c: called by texture.c; unname as there */
CUresult surfaces_open(struct worker *w);
void surfaces_close(struct worker *w);
CUresult surfaces_attach(struct session *s);
CUresult surface_unname(struct session *s, ag_id id);

/* session.c: a connected socket, on its own thread, to the end. */
void session_run(struct worker *w, int sock);
void session_teardown(struct session *s);            /* ends its work, then releases all it owned, in a fixed order */
void session_ended(struct session *s, CUresult why); /* every call of the client returns this from now on */

void session_kill(struct session *s); /* tells its kernels to end; any thread, as long as the session is listed */
bool session_recover(struct session *s); /* ends its work, and lets new work start; false: it does not end */
void session_overdue(struct session *s); /* does, for others' sake: any thread, under the quiet lock */

/* serve.c: one private message. false: the session ends. */
bool serve_message(struct session *s, const uint8_t *msg);
/* check and invoke, for held-back messages too. */
CUresult serve_act(struct session *s, const struct permit *p, const uint8_t *msg, void *rep, struct ag_out *out);

/* graph.c, objects.c */
void arrays_sweep(struct session *s);                     /* destroys kept arrays, if this is a moment for it */
void graph_refresh(struct session *s);                    /* which streams capture now */
void graph_abandon(struct session *s, struct stream *st); /* ends its capture; what it made goes */
void graph_abandon_all(struct session *s);
/* Of a live object: does a capture go on into this graph, or into that of this node? */
bool graph_taken(struct session *s, enum ag_kind kind, const void *real);
void graph_let_go(struct stream *st); /* no capture goes on there any more */
bool graph_pins(const struct session *s); /* graphs may name modules and events: none of them goes now */

/* fault.c: looks whether kernels left records; enters FAULTED and logs. Cheap when there are none. */
void fault_poll(struct session *s);
CUresult fault_code(uint32_t kind);
bool fault_kernel_name(const struct session *s, uint32_t module, uint32_t kernel, char *name, size_t bytes);
bool context_error(CUresult r); /* codes after which no call in the context works */
void context_died(struct worker *w, CUresult r);

/* driver.c, device.c */
int driver_open(struct worker *w, const char *which); /* "auto", "gpu", "soft"; -1 with a line on stderr */
void driver_close(struct worker *w);
void device_snapshot(struct worker *w);

/* service.c */
void services_open(struct worker *w);
void services_close(struct worker *w);
void services_attach(struct session *s);
void services_detach(struct session *s);
void services_status(struct worker *w, void (*line)(void *, const char *), void *arg);
/* The gates that some text names: their descriptions, and the device texts of their services. At most `max` of each. */
uint32_t services_gates(const struct worker *w, const char *const *texts, const size_t *lens, uint32_t n,
                        struct guard_gate *gates, uint32_t max, const char **ptx, uint32_t *nptx);

/* status.c */
void status_send(struct worker *w, int sock);
int status_main(int argc, char **argv);

/* main.c */
int worker_main(int argc, char **argv);
void worker_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
