/* exec_internal.h - the decoded form of a module and the state of running warps; shared by the exec_*.c files only.
 *
 * Registers.  A warp's registers live in a frame: one 32-bit word of predicate bits per predicate register, and per
 * other register 32 lanes of 4, 8 or 16 bytes one after another, so that a handler is a loop the compiler can
 * vectorise. 8- and 16-bit registers use 4-byte lanes and hold the value zero-extended.  A constant is a register
 * whose 32 lanes are equal and which lives in the module's constant pool: handlers never ask what kind an operand is.
 *
 * Threads of a warp.  A warp is one running group (active, frame, pc) and a list of parked groups, all with disjoint
 * lane masks.  The deepest frame and then the lowest pc runs first, groups that meet at one pc and frame merge, and
 * a group that goes round a loop too long while others are parked gives way (exec_ctl.c).
 *
 * Ownership: an exec_module owns its ptx_module, functions, ops and constants; a cta owns its warps, frames, shared and
 * local memory; the grid owns the ctas. */
#ifndef AG_SOFTGPU_EXEC_INTERNAL_H
#define AG_SOFTGPU_EXEC_INTERNAL_H

#include <pthread.h>
#include <setjmp.h>
#include "exec.h"

#define WARP 32
#define FULL 0xffffffffu
#define REF_CONST 0x80000000u        /* a register reference into the constant pool */
#define REF_NONE  0xffffffffu
#define PRED_TRUE 0u                 /* frame offset of the word that is always all ones */
#define PRED_CC   4u                 /* the carry flag of add.cc and friends */
#define PRED_FIRST 8u
#define PARAM_WINDOW 0x800000ull     /* kernel parameters seen through the constant window */
#define WINDOW_SIZE 0x1000000ull
#define MXCSR_RN  0x1f80u
#define MXCSR_RM  0x2000u
#define MXCSR_RP  0x4000u
#define MXCSR_RZ  0x6000u
#define MXCSR_FTZ 0x8040u            /* flush to zero and denormals are zero */
#define CALL_DEPTH_MAX 2048u
#define STACK_EXTRA 65536u           /* per-thread stack of kernels that recurse or call through pointers */

struct op;
struct warp;
struct cta;
struct grid;
struct func;

/* Executes `o` for the lanes in m (never 0) and says where the running group goes on; NULL: ask the scheduler. */
typedef const struct op *(*op_fn)(struct warp *w, const struct op *o, uint32_t m);
typedef uint64_t (*scalar_fn)(const uint64_t *v, uint32_t x);   /* v: the operands a, b, c, e of one lane */

struct op {
	op_fn fn;
	union {
		op_fn fn2;               /* what a wrapper (rounding mode, warp synchronisation) calls */
		scalar_fn sfn;
	};
	uint32_t d, a, b, c, e;      /* register references; d2 of setp and shfl is e */
	uint32_t p, pneg;            /* guard: frame offset of the predicate word, xor mask */
	uint32_t count;              /* all ones on the op that counts as the instruction, else 0 */
	uint32_t line;
	uint32_t x, y, z;            /* modifiers, meaning by handler */
	union {
		int64_t imm;
		const struct op *target;
		uint32_t label;          /* before the function is finished */
	};
	union {
		const struct call *call;
		const struct jump_table *table;
		const uint32_t *list;    /* registers of a vector operand */
		const void *ext;
	};
};

struct jump_table { uint32_t n; const struct op *target[]; };

/* Where one argument or result lies: bytes of the parameter block, or a register. */
struct call_slot { uint32_t size, off, ref, lane_bytes; };
struct call {
	const struct func *callee;   /* NULL: through a register */
	uint32_t nargs, nrets;
	struct call_slot *args, *rets;
	uint32_t intrinsic;          /* enum intrinsic */
};

enum intrinsic { INTR_NONE, INTR_VPRINTF, INTR_ASSERTFAIL, INTR_MALLOC, INTR_FREE };

struct func {
	const char *name;
	const struct ptx_func *pf;
	const struct exec_module *module;
	struct op *ops;
	uint32_t nops, index;
	uint32_t reg_bytes;          /* predicates and registers of one frame */
	uint32_t par_bytes;          /* parameter block, per lane */
	uint32_t ret_base;           /* where the results begin in it */
	uint32_t nparams, nrets;
	struct call_slot *params, *rets;
	uint32_t need_regs;         /* hardware registers, an estimate; with its callees' once visited */
	uint32_t local_bytes;        /* own .local variables */
	uint32_t stack_bytes;        /* with everything it calls; meaningless when recursive */
	bool recursive, indirect, calls;
	uint8_t visit;
	const struct func **callees;
	uint32_t ncallees;
	struct exec_kernel kernel;   /* entries only */
	uint32_t static_shared, dyn_base;
};

struct exec_module {
	struct ptx_module *ptx;
	struct func *funcs;
	uint32_t nfuncs;
	uint8_t *consts;             /* the constant pool, 64-byte aligned */
	uint64_t consts_bytes;
	struct exec_symbol *symbols;
	uint32_t nsymbols;
	const struct exec_kernel **kernels;
	uint32_t nkernels;
	uint64_t global_addr, global_bytes, const_addr, const_bytes;
	uint64_t (*alloc)(uint64_t size, uint64_t align);
	void (*release)(uint64_t addr, uint64_t size);
	bool uses_heap;
	void *chunks;                /* everything decode allocated */
};

struct frame {
	struct frame *up;
	const struct func *f;
	const struct op *call_op;    /* in `up` */
	uint32_t live;               /* lanes that have not returned */
	uint32_t depth;
	uint32_t local_base, local_top;
	uint8_t *regs, *par;
};

enum group_state { G_RUN, G_SYNC, G_BAR, G_CLUSTER };
struct group {
	const struct op *pc;
	struct frame *frame;
	uint32_t mask, stamp;
	uint8_t state, bar;
};

struct warp {
	uint8_t *base[2];            /* registers of the frame, constants */
	uint32_t active, nactive;
	const struct op *limit;      /* the nearest parked group of this frame above pc */
	struct frame *frame;
	uint32_t live;               /* lanes that have not exited */
	uint32_t ng;
	int32_t budget;              /* back-edges until the warp gives way to others of its block */
	uint32_t spins, slice, stamp;
	uint32_t spun;               /* hurried accesses in this time slice */
	uint32_t sync_all;           /* lanes that take part in the warp-synchronous op under way */
	const void *sync_src;        /* their sources, when they came from different instructions */
	uint32_t sync_pred;
	uint32_t index;
	uint64_t icount;
	struct cta *cta;
	const struct op *mem_op;     /* the access under way, for faults */
	uint32_t mem_mask, mem_size;
	uint64_t ptr[WARP] __attribute__((aligned(64)));   /* host addresses of the access under way */
	uint64_t lane_off[WARP] __attribute__((aligned(64)));     /* of each lane's local memory from `local` */
	uint32_t tid[3][WARP] __attribute__((aligned(64)));
	uint32_t sync_mm[WARP];
	uint64_t x[WARP] __attribute__((aligned(64)));
	uint32_t armed;              /* lanes that arrived at the cluster's barrier and have not waited */
	uint32_t arrived_in[WARP];   /* in which phase of it */
	struct group g[WARP];
	uint8_t *local;
	struct frame *spare;
};

#define BARRIERS 16u

struct barrier {
	uint32_t arrived, expected;  /* threads; expected 0: all that have not exited */
	uint32_t pop;                /* bar.red */
	bool all, any, counted;
	uint8_t kind;                /* BAR_*: what those who wait are here for */
};

/* The blocks of a cluster run on one thread, taking turns: what the grid hands out are clusters.  A block without a
 * cluster is one of its own. */
struct cluster {
	uint32_t n;
	uint32_t live, arrived;      /* threads; of the barrier's present phase */
	uint32_t phase;
	struct cta
		*cta[EXEC_CLUSTER_MAX]; /* by rank; the first one is what lists hold, and owns the others and this */
};

/* Memory that keeps what was in it when it changes hands. */
struct left { uint8_t *p; size_t bytes, known; uint8_t kind; struct left *next; };

struct cta {
	struct grid *grid;
	struct cta *next;
	struct cluster *cluster;
	uint32_t rank, cluster_ctaid[3];
	uint8_t *shared;
	uint32_t shared_size;        /* static and dynamic, rounded up as the hardware allocates */
	uint32_t ctaid[3], nwarps, nthreads, live;
	uint32_t local_stride;
	uint64_t linear;
	uint32_t spin_rounds, rounds;
	struct barrier bar[BARRIERS];
	uint8_t *local;
	size_t local_size;
	struct left *shared_left, *local_left;
	struct warp *warps;
	bool started;
};

struct grid {
	const struct exec_launch *l;
	const struct exec_module *m;
	const struct func *f;
	uint8_t *params;
	uint32_t param_bytes;
	uint32_t nthreads, nwarps, shared_size, local_stride;
	uint32_t cluster[3];         /* blocks */
	uint64_t nctas, next_cta, done_ctas, resident, max_resident;   /* clusters, each of them */
	uint64_t workspace;          /* cooperative: the word the blocks synchronise on */
	struct cta *free, *parked_head, **parked_tail;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned helpers;
	volatile int stop;           /* an error or the end; polled by every warp at its time slices */
	CUresult error;
	struct exec_fault fault;
	struct grid *next;           /* the pool's list */
};

/* What the running pool thread is doing, for the signal handler and for exec_raise. */
struct exec_thread {
	sigjmp_buf env;
	bool armed;
	struct warp *warp;
	CUresult code;
	uint64_t addr;
	char what[160];
};
extern __thread struct exec_thread *exec_self;

/* --- handlers --------------------------------------------------------------------------------- */

/* Ids of the vector handlers: exec_alu.def and the memory handlers of exec_mem.h. */
#define UN(n, ...) OP_##n,
#define BIN(n, ...) OP_##n,
#define TER(n, ...) OP_##n,
#define UNS(n, ...) OP_##n,
#define BINS(n, ...) OP_##n,
#define TERS(n, ...) OP_##n,
#define CMP(n, ...) OP_##n,
#define HAND(n) OP_##n,
enum simd_op {
	OP_NONE,
#include "exec_alu.def"
	OP_COUNT
};
#undef UN
#undef BIN
#undef TER
#undef UNS
#undef BINS
#undef TERS
#undef CMP
#undef HAND
extern const op_fn exec_simd_sse2[OP_COUNT], exec_simd_avx2[OP_COUNT];
const op_fn *exec_simd(void);

#define REF(w, r) ((w)->base[(r) >> 31] + ((r) & 0x7fffffffu))
#define R32(w, r) ((uint32_t *)__builtin_assume_aligned(REF(w, r), 64))
#define R64(w, r) ((uint64_t *)__builtin_assume_aligned(REF(w, r), 64))
#define PRED(w, off) (*(uint32_t *)((w)->base[0] + (off)))

/* Boolean combination of setp and vote-like results, in op.x: see bool_combine. */
enum { CB_NONE, CB_AND, CB_OR, CB_XOR };

/* exec_ctl.c */
const struct op *op_bra(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_bra_back(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_brx(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_exit(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_ret(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_call(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_call_reg(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_trap(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_nop(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_csr(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_scalar(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_sreg(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_local_addr(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_dyn_base(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_alloca(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_stack(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_nanosleep(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_fence(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_pmov(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_plogic(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_pack128(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_half128(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_mov128(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_activemask(struct warp *w, const struct op *o, uint32_t m);
void warp_set_active(struct warp *w, uint32_t mask);
void warp_park(struct warp *w, const struct op *pc, struct frame *f, uint32_t mask, enum group_state st, uint8_t bar);
const struct op *warp_pick(struct warp *w);
const struct op *warp_goto(struct warp *w, const struct op *pc);
const struct op *warp_leave(struct warp *w, const struct op *o, uint32_t m);
void warp_run(struct warp *w);
struct frame *frame_new(struct warp *w, const struct func *f);
void frame_free(struct warp *w, struct frame *fr);

/* exec_sync.c */
const struct op *op_sync(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_bar(struct warp *w, const struct op *o, uint32_t m);
const struct op *sync_shfl(struct warp *w, const struct op *o, uint32_t m);
const struct op *sync_vote(struct warp *w, const struct op *o, uint32_t m);
const struct op *sync_match(struct warp *w, const struct op *o, uint32_t m);
const struct op *sync_redux(struct warp *w, const struct op *o, uint32_t m);
const struct op *sync_elect(struct warp *w, const struct op *o, uint32_t m);
void sync_check(struct warp *w);
void cta_threads_left(struct cta *c, uint32_t n);
enum { SRC_NONE, SRC_32, SRC_64, SRC_PRED };
enum { SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX };
enum { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };
enum { REDUX_ADD, REDUX_MIN_S, REDUX_MAX_S, REDUX_MIN_U, REDUX_MAX_U, REDUX_AND, REDUX_OR, REDUX_XOR, REDUX_FMIN,
	REDUX_FMAX };
enum { BAR_SYNC, BAR_ARRIVE, BAR_RED_POPC, BAR_RED_AND, BAR_RED_OR };

/* exec_left.c */
enum { LEFT_SHARED, LEFT_LOCAL };
uint8_t *left_take(unsigned kind, size_t bytes, struct left **out);     /* NULL: no memory */
void left_give(struct left **l);

/* exec_cluster.c */
struct cluster *cluster_new(struct cta *first, uint32_t n);
const struct op *op_cluster(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_mapa(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_ctarank(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_explicit_cluster(struct warp *w, const struct op *o, uint32_t m);
void cluster_threads_left(struct warp *w, uint32_t m);
uint64_t cluster_at(struct warp *w, const struct op *o, uint32_t lane, uint64_t a, uint64_t len);
#define CLUSTER_WINDOW ((EXEC_CLUSTER_MAX + 1) * WINDOW_SIZE)

/* How a memory operand's address is formed, in op.y.  Odd: 64-bit base register. */
enum mem_class { MC_SHARED32, MC_SHARED64, MC_LOCAL32, MC_LOCAL64, MC_GLOBAL, MC_GENERIC, MC_CONST32, MC_CONST64,
	MC_PARAM32, MC_PARAM64, MC_FPARAM32, MC_FPARAM64, MC_GLOBAL32,
	MC_CLUSTER32 = 14, MC_CLUSTER64 };

/* Operands of asynchronous copies and mbarriers, op.ext. */
struct async_addr { uint32_t ref, cls; int64_t off; };
struct async_copy { struct async_addr src, dst, bar; bool has_bar; };
enum { MB_INIT, MB_INVAL, MB_EXPECT, MB_COMPLETE, MB_ARRIVE_EXPECT, MB_ARRIVE, MB_ARRIVE_COPY, MB_DROP,
	MB_DROP_EXPECT, MB_TEST, MB_TEST_PARITY, MB_PENDING };
enum { MA_LOAD, MA_STORE, MA_ATOMIC };   /* op.e of memory ops */

/* exec_mem.c: host address of every lane of an access, in w->ptr.  Raises the hardware's error. */
void mem_resolve(struct warp *w, const struct op *o, uint32_t m, unsigned size);
void *mem_generic(struct warp *w, uint32_t lane, uint64_t addr, uint64_t len);   /* one lane; raises */
void mem_slow(struct warp *w, const struct op *o, uint32_t m, unsigned size);
const struct op *op_cvta(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_isspacep(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_cp_async(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_cp_bulk(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_mbarrier(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_ld_uniform(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_ld128(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_st128(struct warp *w, const struct op *o, uint32_t m);
const struct op *op_prefetch(struct warp *w, const struct op *o, uint32_t m);

/* exec_atom.c */
op_fn exec_atom_fn(const struct ptx_inst *i, unsigned *size, const char **why);

/* exec_scalar.c */
scalar_fn exec_scalar_find(const char *name);

/* exec_printf.c */
void exec_vprintf(struct warp *w, uint32_t lane, uint64_t fmt, uint64_t args, int32_t *result);
void exec_assertfail(struct warp *w, uint32_t lane, uint64_t msg, uint64_t file, uint32_t line, uint64_t func);
uint64_t exec_heap_alloc(const struct exec_module *m, uint64_t size);
bool exec_heap_free(uint64_t addr);
void exec_heap_retain(struct exec_module *m);
void exec_heap_release(struct exec_module *m);

/* exec_matrix.c */
bool exec_matrix_decode(const struct ptx_inst *i, struct op *o, const char **why);

/* exec_fault.c */
void exec_fault_install(void);
void exec_raise(struct warp *w, const struct op *o, uint32_t lane, CUresult code, uint64_t addr, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 6, 7)));
void exec_fault_fill(struct warp *w, const struct op *o, uint32_t lane, CUresult code, uint64_t addr, const char *what);

/* exec_decode*.c */
CUresult exec_decode_module(struct exec_module *m, struct ptx_error *err);

static inline uint32_t lane_first(uint32_t m) { return (uint32_t)__builtin_ctz(m); }

#endif
