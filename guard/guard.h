/* guard.h - PTX in, guarded PTX out, or a refusal that names line and reason.
 *
 * Pipeline (guard.c is the pass list):
 *   parse -> link (several relocatable pieces become one module) -> inline (no .func survives; recursion and unknown
 *   externs are refused) -> relocate (variables leave the module, see below) -> define (every register written before it is
 *   read) -> poll (back-edges) -> fence -> print (canonical text, every identifier renamed, no client byte passed through).
 * The text is then judged by verify.h, which shares no code with any of this; only its verdict counts.
 *
 * WHAT A GUARDED MODULE LOOKS LIKE
 *   .version 9.0 / .target sm_90 / .address_size 64       (target: what the worker asks for)
 *   declarations of the runtime functions and gates used  (.extern .func, prototypes fixed: runtime.def, gate list)
 *   .extern .const .align 16 .b8 ag_desc[128];
 *   // agileos: body
 *   [.const .align 64 .b8 ag_const[S];]                   all .const variables of the client, merged, zero here
 *   .visible .entry k<N>( ... )                           kernels; nothing else
 * To load it, guard_compose() replaces everything before the marker line by header + trusted runtime + gates, which define
 * what was declared. The worker then writes struct guard_desc into ag_desc and the const image into ag_const.
 *
 * WHERE VARIABLES GO
 *   .global   into the client's window: the worker is given `data_addr`, a block of data_bytes there, at load; code reaches
 *             them as ld.const.u64 %gd, [ag_desc+8] plus an offset.  They are therefore fenced like any other memory.
 *   .const    merged into ag_const; register-addressed ld.const is clamped to it.
 *   .shared   static ones merged into one object per kernel; dynamic follows it.  Clamped to static + dynamic size.
 *   .local    merged into one object per kernel (after inlining).  Clamped to it.
 *
 * THE FENCED FORM.  Registers with these names obey invariants that are independent of control flow: every instruction that
 * writes one is of the one form given, is not predicated, and a definition precedes each use in the same basic block.  W is
 * one of 1 2 4 8 16 32; "any" is any register of the type.
 *   %gw        .b32  ld.const.u32 %gw, [ag_desc];       window base >> 32     (entry block, once)
 *   %gm        .b32  ld.const.u32 %gm, [ag_desc+4];     (extent - 1) >> 32    (entry block, once; wide only)
 *   %glW_n     .b32  and.b32 %glW_n, any, -W;           (W = 1: mov.b32)      low word, aligned
 *   %gh_n      .b32  lop3.b32 %gh_n, any, %gm, %gw, 0xEA;                     wide: (any & mask) | base
 *   %gaW_n     .b64  mov.b64 %gaW_n, {%glW_i, %gw};     narrow
 *              .b64  mov.b64 %gaW_n, {%glW_i, %gh_j};   wide
 *     A global access of w bytes (vectors: in all) is [%gaW_n+imm], W >= w, 0 <= imm <= GUARD_SLACK - 32, imm % w == 0.
 *   %gsb .b32  mov.u32 %gsb, ag_smem_N | ag_dyn;  base of shared memory      (entry block, once)
 *   %gsn .b32  bytes from %gsb to the end of dynamic shared memory, at least 32  (entry block, one of two forms: verify.c)
 *   %gslW .b32 sub.u32 %gslW, %gsn, W;                                        (entry block, once per W)
 *   %gsoW_n    sub.u32 any1, any, %gsb; min.u32 %gsmW_n, any1, %gslW; and.b32 %gsaW_n, %gsmW_n, -W; add.u32 %gsW_n, %gsaW_n, %gsb;
 *     A shared access is [%gsW_n] or [ag_smem_N+imm] with the bytes inside the object.
 *   %gpW_n     the same for local: sub.u32, min.u32 with the immediate L-W, and.b32, add.u32; base %glb: mov.u32 %glb, ag_local_N;
 *   %gkW_n     the same for const against ag_const.
 *   %ggW_n     .b64 generic: selp.b64 of two generic-safe registers (%gaW, %ggW, or cvta.shared/cvta.local of %gsW / %gpW widened).
 *   %gt_n      .b64 a texture or surface handle loaded through the bounded table (phase two).
 * tests/guard/verify/ holds the exact accepted shapes.  Every textually backward branch is directly preceded by a poll:
 *     add.u32 %gc, %gc, 1;  and.b32 %gx, %gc, 63;  setp.eq.u32 %gq, %gx, 0;
 *     @%gq ld.volatile.global.u32 %gf, [%gkill];  setp.ne.and.u32 %gq, %gf, 0, %gq;  @%gq bra $Lkill;
 *   with %gkill .b64 ld.const.u64 %gkill, [ag_desc+16] (entry block), and $Lkill the kernel's one exit path.
 *
 * REPORT.  With opt->report, each fence also keeps (first violation) line and address in plain registers; the exit paths
 * call ag_rt_report when a violation was seen.  An access that had to be moved or aligned is a violation; so are trap, a failed assert ...
 *
 * LAUNCH CONTRACT (the worker's duty).  Dynamic shared size of a kernel with uses_dyn_shared is rounded up to a multiple of 16 and at
 * least 32.  With hidden_coop the parameter block is followed (8-aligned) by a u64: the address of a zeroed 64-byte cooperative-grid workspace in the window.
 * GUARD_SLACK bytes beyond every window extent are mapped to memory of the same client.
 */
#ifndef AG_GUARD_H
#define AG_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ptx.h"

#define GUARD_SLACK 4096u
#define GUARD_DESC_BYTES 128u
#define GUARD_BODY_MARK "// agileos: body\n"
#define GUARD_VERSION 1u            /* of the guarded form; part of the cache key */

/* What the worker writes into ag_desc of every module it loads. All addresses are device addresses. */
struct guard_desc {
	uint32_t window_hi;         /*   0 window base >> 32 */
	uint32_t window_mask_hi;    /*   4 (extent - 1) >> 32; 0 while the client is narrow */
	uint64_t data;              /*   8 the module's relocated variables, inside the window */
	uint64_t kill;              /*  16 u32, worker-owned: non-zero ends this client's kernels */
	uint64_t records;           /*  24 struct guard_records, worker-owned */
	uint64_t fault_word;        /*  32 u32 inside the client's window: set to 1 when a record was written */
	uint64_t printf_ring;       /*  40 struct guard_printf inside the client's window; 0: kernel printf prints nothing and returns -1 */
	uint64_t heap;              /*  48 struct guard_heap inside the client's window; 0: malloc returns NULL */
	uint64_t textures;          /*  56 worker-owned table of u64 handles */
	uint32_t ntextures;         /*  64 entries, at least 1 */
	uint32_t client;            /*  68 session number, copied into records */
	uint32_t module;            /*  72 module number, copied into records */
	uint32_t pad;               /*  76 */
	uint64_t window_base;       /*  80 for gates: base and extent of the window, */
	uint64_t window_extent;     /*  88   as of the latest grant */
	uint64_t gates;             /*  96 worker-owned: u64 per gate service, its device state (adapters/adapter.h) */
	uint64_t reserved[3];       /* 104 */
};

enum guard_fault_kind {
	GUARD_FAULT_ADDRESS = 1,    /* outside the window, shared, local or const bounds -> CUDA_ERROR_ILLEGAL_ADDRESS */
	GUARD_FAULT_ALIGN = 2,      /* -> CUDA_ERROR_MISALIGNED_ADDRESS */
	GUARD_FAULT_TRAP = 3,       /* -> CUDA_ERROR_LAUNCH_FAILED */
	GUARD_FAULT_ASSERT = 4,     /* -> CUDA_ERROR_ASSERT */
	GUARD_FAULT_GATE = 5,       /* a gate refused a pointer -> CUDA_ERROR_ILLEGAL_ADDRESS */
};

/* Written by ag_rt_report in the order of `count`; records past GUARD_MAX_RECORDS are only counted. */
#define GUARD_MAX_RECORDS 64u
struct guard_record {
	uint32_t valid;             /* written last, 1 */
	uint32_t kind;              /* enum guard_fault_kind */
	uint32_t client, module;    /* from the descriptor */
	uint32_t kernel;            /* N of k<N> */
	uint32_t line;              /* of the client's PTX */
	uint64_t addr;
	uint32_t ctaid[3], tid[3];
};
struct guard_records { uint32_t count; uint32_t pad; struct guard_record rec[GUARD_MAX_RECORDS]; };

/* Kernel printf: a ring in the client's window, drained by the client at its synchronisation points and when it fills up.
 * A record is: u32 bytes (of the record, multiple of 8), u32 kind (0 printf, 1 assert), u64 argument count, then 8-byte arguments (f64 for
 * floating), then the format string and every %s argument as NUL-terminated bytes; a %s argument holds the offset of its bytes in the record.
 * Producers reserve with atomicAdd on `reserved` and, when full, drop (CUDA overwrites the oldest; either loses output) and count `dropped`. */
struct guard_printf {
	uint64_t reserved;          /* bytes ever reserved */
	uint64_t consumed;          /* bytes ever drained, written by the client */
	uint32_t bytes;             /* capacity, power of two */
	uint32_t dropped;
	uint8_t data[];
};
struct guard_heap { uint64_t next, end; uint64_t free_list; }; /* details: guard/rt */

/* A gate that client code may call; becomes gate_<name>. The client's text holds `.extern .func (ret) name (params)`, or a *definition* of that
 * name (the fallback that runs where no service exists: adapters/<name>/<name>.cuh): either way its calls become calls of the gate, the body is dropped.
 * A prototype that differs from the gate's is refused. */
struct guard_gate {
	const char *name;
	uint8_t nparams;
	uint8_t params[16];         /* enum ptx_type: B32 or B64, F32, F64 */
	uint8_t ret;                /* enum ptx_type or PTX_T_NONE */
};

struct guard_options {
	bool wide;                  /* windows over 4 GiB */
	bool report;                /* default true */
	bool fence;                 /* default true; false only for the loud unguarded mode: everything but fences and verification */
	bool poll;                  /* default true */
	int target_sm;              /* 90 */
	const struct guard_gate *gates;
	uint32_t ngates;
};

struct guard_kernel {
	const char *name;           /* the client's */
	uint32_t index;             /* N of k<N> */
	uint32_t nparams, param_bytes;   /* without the hidden one */
	const uint32_t *param_offset, *param_size;
	uint32_t static_shared, local_bytes;
	uint32_t maxntid[3], reqntid[3], minnctapersm;   /* as declared, 0 absent */
	bool uses_dyn_shared, hidden_coop, uses_printf;
	uint32_t line;
};

struct guard_symbol {
	const char *name;
	uint64_t offset, size;      /* in the data block, or in ag_const */
	bool is_const, is_managed;
};

struct guard_data_reloc {       /* at data[offset], or const image when in_const: add data_addr (or the address of ag_const) to the u64 there */
	uint64_t offset;
	bool in_const, to_const;
};

/* Result of guard_rewrite; one allocation family, freed by guard_result_free. */
struct guard_result {
	char *text; size_t text_len;
	struct guard_kernel *kernels; uint32_t nkernels;
	struct guard_symbol *symbols; uint32_t nsymbols;
	uint8_t *data; uint64_t data_init, data_bytes;   /* image: data_init leading bytes, zero up to data_bytes; align 256 */
	uint8_t *cimage; uint64_t const_bytes;           /* whole image of ag_const */
	struct guard_data_reloc *relocs; uint32_t nrelocs;
	void *arena;
};

struct guard_input { const char *text; size_t len; const char *label; /* for messages, "app.cu piece 2" */ };

/* Rewrites one module made of `n` pieces. 0 accepted; -1 refused, err filled (err->line is a line of piece err_piece). */
int guard_rewrite(const struct guard_input *in, uint32_t n, const struct guard_options *opt,
                  struct guard_result *out, struct ptx_error *err, uint32_t *err_piece);
void guard_result_free(struct guard_result *r);

/* Bytes for the pipe between helper and worker. guard_result_read bounds-checks everything: its input is hostile. */
int guard_result_write(const struct guard_result *r, uint8_t **bytes, size_t *len);
int guard_result_read(struct guard_result *r, const uint8_t *bytes, size_t len);

/* Header + runtime + gates + body of `guarded`; `gate_ptx` are the trusted device texts of the services whose gates opt named (bodies only).
 * malloc'd; NULL when `guarded` has no marker. */
char *guard_compose(const char *guarded, size_t len, int target_sm, const char *const *gate_ptx, uint32_t ngate_ptx, size_t *out_len);

/* The trusted runtime's PTX (ag_rt_*, ag_desc), built from guard/rt/*.cu, embedded. Body only. */
extern const char guard_runtime_ptx[];
extern const size_t guard_runtime_ptx_len;

/* --- helper process (helper.c): a zygote without privileges forks one child per request ------------------------------ */

struct guard_helper;
/* Starts the zygote; call before the process has threads or a GPU context. ptxas: path, or NULL when nothing will be compiled (softgpu). */
struct guard_helper *guard_helper_start(const char *ptxas);
void guard_helper_stop(struct guard_helper *h);

struct guard_verdict;  /* verify.h */

/* Rewrites in one child, verifies in another (skipped when !opt->fence), compiles in a third when sm_compile != 0 (cubin else NULL).
 * Thread safe. 0 ok; -1 refused, why filled (one line, printable) ; -2 helper died or ran over its limits, why filled. */
int guard_helper_run(struct guard_helper *h, const struct guard_input *in, uint32_t n, const struct guard_options *opt,
                     const char *const *gate_ptx, uint32_t ngate_ptx, bool compile,
                     struct guard_result *out, struct guard_verdict *verdict, char **composed, size_t *composed_len, void **cubin, size_t *cubin_len,
                     char why[512]);

#endif
