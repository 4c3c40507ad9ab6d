/* rewrite.h - what the passes of the rewriter share; nobody else includes it.
 *
 * One rewriting job is a struct rw: the parsed pieces, the linked variables, and one struct rw_kernel for each
 * kernel, whose flat instruction stream the passes transform in place.  All memory of a job belongs to its arena and
 * dies with it; the result's own strings and tables live in the result's arena.  A pass that refuses calls
 * rw_refuse(), which does not return. */
#ifndef AG_GUARD_REWRITE_H
#define AG_GUARD_REWRITE_H

#include <setjmp.h>
#include <stdarg.h>
#include "guard/guard.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

struct rw_chunk;
struct rw_arena { struct rw_chunk *head; size_t used, limit; jmp_buf *oom; };
/* zeroed; longjmps to *oom when there is none, NULL without */
void *rw_arena_alloc(struct rw_arena *a, size_t bytes);
void rw_arena_free(struct rw_arena *a);

/* Growable array inside the arena: RW_PUSH(k->rw, k->insts, k->ninsts, k->cap_insts) makes room for one more. */
void *rw_grow(struct rw_arena *a, void *p, uint32_t n, uint32_t *cap, size_t elem);
#define RW_ROOM(arena, ptr, n, cap) \
	((n) < (cap) ? (void)0 : (void)((ptr) = rw_grow((arena), (ptr), (n), &(cap), sizeof(*(ptr)))))

/* Text under construction. */
struct rw_buf { char *p; size_t len, cap; };

/* Instructions the passes make up, beside those of enum ptx_op. */
enum {
	RW_OP_LABEL = PTX_OP_COUNT, /* ops[0].u.label stands here */
	/* runtime function or gate: user = struct rw_callee; ops[0] result or none, ops[1..] arguments */
	RW_OP_CALL,
	RW_OP_DIE,                  /* record a fault of kind `type` (RW_DIE_x) and end the thread */
	RW_OP_NOUNROLL,             /* .pragma "nounroll" */
};
enum { RW_CODE_TRAP = 6, RW_CODE_ASSERT = 7 };  /* of the packed line, after log2 of the width: see ag_rt_report */
#define RW_PACK(line, code) ((uint32_t)(line) | (uint32_t)(code) << 27)

enum { RW_LABEL_KILL = 0 };

/* Register classes, by size. */
enum rw_class { RW_P, RW_H, RW_R, RW_RD, RW_Q, RW_NCLASS };
struct rw_reg { uint8_t cls; uint8_t special; uint32_t num; };   /* special: 1 + index into rw_special_names */
enum rw_special { RW_NOT_SPECIAL, RW_SP_GD, RW_SP_COUNT };

struct rw_table { uint32_t *labels; uint32_t n; };

/* A .param variable of a call sequence, or a formal of an inlined function, after binding. */
struct rw_slot { uint32_t off, width, reg; };
struct rw_pobj {
	struct ptx_param *p;
	bool memory;
	uint32_t local_off;
	struct rw_slot *slots; uint32_t nslots, cap_slots;
};

struct rw_callee;   /* a runtime function or gate, runtime.def */

/* A linked variable: where it went. */
enum rw_place { RW_UNPLACED, RW_DATA, RW_CONST, RW_SMEM, RW_DYN, RW_LOCAL };
struct rw_var {
	struct ptx_var *v;          /* the definition */
	uint32_t piece;
	uint8_t place;
	uint64_t off;               /* RW_DATA, RW_CONST */
	bool demoted;               /* .const that lives in the data block */
};

struct rw_func {
	struct ptx_func *def;
	uint32_t piece;
	const struct rw_callee *callee;     /* instead of def */
	uint32_t *label_order;
	bool active;                        /* being inlined: a call of it is recursion */
	uint32_t id;                        /* what its address is to the client, 0 when nobody takes it */
};

/* ag_smem_N, ag_dyn, ag_local_N, ag_const */
struct rw_obj { struct ptx_var var; uint64_t bytes; uint32_t align; bool used; };
/* Head of a shared object, before what fences lead to: counters of peers, records of warps that meet. */
enum { RW_PEER_BYTES = 32, RW_MEET_BYTES = 16 };

/* Place of one client's shared or local variable in this kernel. */
struct rw_place_of { const struct ptx_var *v; uint64_t off; };

struct rw;
struct rw_kernel {
	struct rw *rw;
	struct ptx_func *src;
	uint32_t index, piece;
	struct rw_reg *regs; uint32_t nregs, cap_regs;
	struct ptx_inst *insts; uint32_t ninsts, cap_insts;
	struct rw_table *tables; uint32_t ntables, cap_tables;
	uint32_t nlabels;
	uint32_t leave;                 /* the label that the client's threads end at */
	struct rw_pobj *pobjs; uint32_t npobjs, cap_pobjs;
	struct rw_place_of *places; uint32_t nplaces, cap_places;
	struct rw_obj smem, dyn, local;
	uint32_t *param_local;          /* per formal: 1 + offset of its copy in local, 0 none */
	uint32_t gd;                    /* 1 + register, 0 none */
	bool uses_printf, hidden_coop;
	bool soft;                      /* has barriers in software */
	bool peers;                     /* makes addresses of other blocks' shared memory */
	bool meet;                      /* waits in hardware for threads of a warp (meet.c) */
	uint32_t head;                  /* bytes of smem that are the guard's */
	uint32_t min_dyn;               /* least dynamic shared size, see guard.h */
	struct rw_known *known;         /* space.c: per register */
};

struct rw_piece { struct ptx_module *m; const char *label; };
struct rw_name;
struct rw_varslot;

struct rw {
	jmp_buf out;
	struct rw_arena arena;          /* of the job */
	struct rw_arena *keep;          /* of the result */
	const struct guard_options *opt;
	struct ptx_error *err;
	uint32_t err_piece;
	uint32_t piece;                 /* being worked on, for messages */
	struct rw_piece *pieces; uint32_t npieces;
	uint32_t soft;                  /* 1 + index of the piece with the guard's barriers, 0 none */
	bool soft_all;                  /* for all barriers of blocks */
	struct rw_name **names; uint32_t nnames_cap;     /* link.c */
	struct rw_varslot *varmap; uint32_t varmap_cap, varmap_n;
	struct rw_var **vars; uint32_t nvars, cap_vars;  /* definitions, in order */
	struct rw_kernel **kernels; uint32_t nkernels, cap_kernels;
	struct rw_obj cmem;             /* ag_const */
	bool demote_const;
	uint32_t dyn_align;
	uint64_t total_insts;
	uint64_t data_bytes, data_init;
	uint8_t *data, *cimage;
	struct guard_data_reloc *relocs; uint32_t nrelocs, cap_relocs;
	struct rw_func **taken; uint32_t ntaken, cap_taken;     /* functions whose address is taken; id is index + 1 */
	uint32_t callees_used;          /* bit per runtime function */
	uint8_t *gates_used;
	struct rw_buf text, body;        /* malloc'd: the module so far, the kernel being printed */
};

void rw_refuse(struct rw *rw, uint32_t line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));
void *rw_alloc(struct rw *rw, size_t bytes);   /* of the job's arena, zeroed */
void *rw_keep(struct rw *rw, size_t bytes);    /* of the result's */
const char *rw_keep_str(struct rw *rw, const char *s);

/* ops.c: the allow-list.  Roles of the operands, one letter each in order, the part after '?' optional:
 * d written (register, pair, vector or _), s read, m memory operand, l label, t table, f function and its lists. */
struct rw_opinfo { const char *name; uint8_t cls; const char *roles; const char *mods; const char *refusal; };
enum rw_opclass {
	RW_C_NONE,
	RW_C_PLAIN,
	RW_C_MOV,
	RW_C_LD,
	RW_C_ST,
	RW_C_ATOM,
	RW_C_RED,
	RW_C_BRA,
	RW_C_BRX,
	RW_C_CALL,
	RW_C_RET,
	RW_C_TRAP,
	RW_C_BAR,
	RW_C_SLEEP,
	RW_C_MAPA,
	RW_C_CVTA,
	RW_C_DROP,
	RW_C_CPASYNC,
	RW_C_LDMATRIX,
	RW_C_TEX,
	RW_C_WMMA,
	RW_C_PSEUDO
};
const struct rw_opinfo *rw_op(unsigned op);
void rw_check_inst(struct rw *rw, const struct ptx_inst *in);     /* refuses what the list does not hold */
bool rw_sreg_allowed(enum ptx_sreg s);
/* Calls fn for every register written (def) or read by the instruction, predicate and address bases included. */
void rw_visit_regs(const struct ptx_inst *in, void (*fn)(void *ctx, uint32_t reg, bool def), void *ctx);

/* Helpers on instructions (ops.c). */
bool rw_has(const struct ptx_inst *in, enum ptx_mod m);
void rw_drop_mod(struct ptx_inst *in, enum ptx_mod m);
void rw_set_mods(struct ptx_inst *in, const uint16_t *mods, unsigned n);
uint32_t rw_access_bytes(struct rw *rw, const struct ptx_inst *in);
uint32_t rw_new_reg(struct rw_kernel *k, enum rw_class c);
enum rw_class rw_type_class(enum ptx_type t);
struct ptx_operand rw_reg_op(uint32_t reg);
struct ptx_operand rw_imm_op(int64_t v);
/* appended; fill mods and ops */
struct ptx_inst *rw_emit(struct rw_kernel *k, unsigned op, uint32_t line, unsigned nops);
struct ptx_inst rw_make(struct rw *rw, unsigned op, uint32_t line, const uint16_t *mods, unsigned nmods, unsigned nops);
uint32_t rw_gd(struct rw_kernel *k);

/* cluster.c: does the kernel use shared memory of other blocks? */
void rw_cluster_find(struct rw_kernel *k);
/* meet.c: does it wait in hardware?  After rw_cluster_find; sets the name and head of the shared object. */
void rw_meet_find(struct rw_kernel *k);
/* Bytes of the kernel's shared object that are the client's. */
static inline uint64_t rw_smem_room(const struct rw_kernel *k)
{
	return k->smem.bytes - k->head;
}

/* soft.c: block barriers in software.  rw_soft_link adds their piece to a module that needs it; the calls have operands
 * and predicate of the kernel. */
bool rw_is_block_barrier(const struct ptx_inst *in);
void rw_soft_link(struct rw *rw);
bool rw_soft_wanted(const struct rw *rw, const struct ptx_inst *in);
struct ptx_inst rw_soft_call(struct rw *rw, const char *name, uint32_t line, unsigned nargs, bool result,
	struct rw_func **target);
struct ptx_inst rw_soft_barrier(struct rw_kernel *k, const struct ptx_inst *in, struct rw_func **target);
void rw_soft_result(struct rw_kernel *k, const struct ptx_inst *in, const struct ptx_inst *call);

/* Runtime functions and gates (callee.c). */
struct rw_callee {
	const char *name, *ptx_name;
	uint8_t nparams, params[16], ret;   /* enum ptx_type */
	uint32_t bit;                       /* gates: index + 1 */
};
const struct rw_callee *rw_runtime(const char *name);
uint32_t rw_runtime_count(void);
const struct rw_callee *rw_runtime_at(uint32_t i);
const struct rw_callee *rw_extern(const char *name);                  /* what a client's extern means, or NULL */
const struct rw_callee *rw_gate(struct rw *rw, const char *name);     /* the gate of that name, or NULL */
void rw_use_callee(struct rw *rw, const struct rw_callee *c);

/* The passes, in order. */
void rw_link(struct rw *rw);
void rw_inline(struct rw *rw, struct rw_kernel *k);
void rw_prune(struct rw *rw, struct rw_kernel *k);
void rw_place_module(struct rw *rw);
void rw_relocate(struct rw *rw, struct rw_kernel *k);
void rw_define(struct rw *rw, struct rw_kernel *k);
void rw_space(struct rw *rw, struct rw_kernel *k);
void rw_align(struct rw *rw, struct rw_kernel *k);
void rw_buf_add(struct rw *rw, struct rw_buf *b, const char *s, size_t n);
void rw_buf_fmt(struct rw *rw, struct rw_buf *b, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void rw_print_kernel(struct rw *rw, struct rw_kernel *k);
void rw_print_module(struct rw *rw, struct guard_result *out);

/* dump.c: nothing unless opt->dump asks for that stage. */
void rw_dump_kernel(const struct rw *rw, const char *stage, const struct rw_kernel *k);
void rw_dump_module(const struct rw *rw, const char *stage);

/* link.c */
struct rw_var *rw_var_of(struct rw *rw, const struct ptx_var *v);          /* the definition behind a reference */
struct rw_var *rw_var_named(struct rw *rw, uint32_t piece, const char *name);
struct rw_func *rw_func_of(struct ptx_func *f);
struct rw_func *rw_func_named(struct rw *rw, uint32_t piece, const char *name);

/* space.c: what is known of a register's value, from its only definition. */
struct rw_known {
	uint8_t defs;               /* 0, 1, 2: more */
	uint8_t space;              /* enum rw_where of the generic address in it */
	uint8_t zeros;              /* low bits that are zero whatever happens: align.c, from all definitions */
	bool is_sym;                /* value is sym + off */
	bool generic;               /* ... after cvta to generic */
	struct ptx_var *sym;
	int64_t off;
};
enum rw_where { RW_W_NONE = 0, RW_W_GLOBAL = 1, RW_W_SHARED = 2, RW_W_LOCAL = 4, RW_W_ANY = 7 };


#endif
