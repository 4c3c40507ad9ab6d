/* ptx.h - the PTX module as data: what the parser makes of a client's text.
 *
 * One parser serves the guard (which rewrites modules) and softgpu (which executes them).
 * The verifier deliberately does not use it: see verify.h.
 *
 * Ownership: everything reachable from a `struct ptx_module` lives in its arena and dies with
 * ptx_free().  Strings are NUL-terminated, interned (pointer equality is string equality within one
 * module) and consist of PTX identifier characters only.
 *
 * Names follow the PTX ISA (9.0).  Scopes are flattened: after parsing, every register, variable and
 * label of a function has a unique index, whatever blocks and shadowing the text used.
 */
#ifndef AG_GUARD_PTX_H
#define AG_GUARD_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds that a hostile text cannot exceed; past them ptx_parse refuses. */
enum {
	PTX_MAX_TEXT = 64 << 20,      /* bytes of one module's text */
	PTX_MAX_REGS = 1 << 18,       /* registers of one function, ranges expanded */
	PTX_MAX_INSTS = 4 << 20,      /* instructions of one module */
	PTX_MAX_NEST = 64,            /* nested blocks and parentheses */
	PTX_MAX_OPERANDS = 64,        /* operands of one instruction, call arguments included */
	PTX_MAX_VAR_BYTES = 1 << 30,  /* one variable */
	PTX_MAX_MODS = 16,            /* dot-suffixes of one instruction */
	PTX_MAX_VEC = 128,            /* elements of one {...} operand */
	PTX_MAX_NAME = 16 << 10,      /* bytes of one identifier */
};

/* Base opcodes: guard/opcodes.def lists every one the parser knows, X(name) in PTX's spelling.
 * An opcode outside the list is a parse error that names it. */
enum ptx_op {
	PTX_OP_NONE,
#define X(name) PTX_OP_##name,
#include "opcodes.def"
#undef X
	PTX_OP_COUNT
};

/* Dot-suffixes: guard/mods.def, X(id, "text"); text without the dot, so X(shared_cta, "shared::cta").
 * Types are mods too.  A suffix outside the list is a parse error that names it. */
enum ptx_mod {
	PTX_MOD_NONE,
#define X(id, text) PTX_MOD_##id,
#include "mods.def"
#undef X
	PTX_MOD_COUNT
};

enum ptx_type {
	PTX_T_NONE,
	PTX_T_PRED,
	PTX_T_B8, PTX_T_B16, PTX_T_B32, PTX_T_B64, PTX_T_B128,
	PTX_T_U8, PTX_T_U16, PTX_T_U32, PTX_T_U64,
	PTX_T_S8, PTX_T_S16, PTX_T_S32, PTX_T_S64,
	PTX_T_F16, PTX_T_F16X2, PTX_T_BF16, PTX_T_BF16X2, PTX_T_TF32, PTX_T_F32, PTX_T_F64,
	PTX_T_U16X2, PTX_T_S16X2,
	PTX_T_E4M3, PTX_T_E5M2, PTX_T_E4M3X2, PTX_T_E5M2X2,
	PTX_T_S4, PTX_T_U4, PTX_T_B1,
	PTX_T_TEXREF, PTX_T_SAMPLERREF, PTX_T_SURFREF,
	PTX_T_COUNT
};

enum ptx_space {
	PTX_GENERIC,  /* no space suffix */
	PTX_REG, PTX_CONST, PTX_GLOBAL, PTX_LOCAL, PTX_PARAM, PTX_SHARED, PTX_SHARED_CLUSTER, PTX_TEX,
};

/* Special registers, guard/sregs.def: X(id, "text", type) e.g. X(tid_x, "%tid.x", PTX_T_U32). */
enum ptx_sreg {
#define X(id, text, type) PTX_SR_##id,
#include "sregs.def"
#undef X
	PTX_SR_COUNT
};

/* --- variables ------------------------------------------------------------------------------- */

enum ptx_linkage { PTX_L_NONE, PTX_L_VISIBLE, PTX_L_EXTERN, PTX_L_WEAK, PTX_L_COMMON };

struct ptx_func;

/* One address in a variable's initializer: the `width` (4 or 8) bytes at `offset` become the address of `sym` plus
 * `addend`; `generic` when the text said generic(sym). */
struct ptx_reloc {
	uint64_t offset;
	int64_t addend;
	const char *sym;
	uint8_t width;
	uint8_t shift;    /* mask() operator: which byte of the address (0 to 7), width is then 1 */
	bool generic;
};

struct ptx_var {
	const char *name;
	const char *file_scope_of; /* function it was declared in, NULL at module scope */
	enum ptx_space space;
	enum ptx_linkage linkage;
	enum ptx_type type;
	uint8_t vec;           /* 1, 2 or 4 elements of type */
	bool unsized;          /* `extern .shared x[]` */
	bool managed;          /* .attribute(.managed) */
	uint32_t align;        /* bytes, power of two, never 0 */
	uint64_t size;         /* bytes; 0 when unsized */
	uint8_t *init;         /* init_size leading bytes, the rest are zero; NULL: all zero */
	uint64_t init_size;
	struct ptx_reloc *relocs;
	uint32_t nrelocs;
	uint32_t line;
};

/* --- instructions ---------------------------------------------------------------------------- */

enum ptx_okind {
	PTX_O_NONE,
	PTX_O_REG,     /* u.reg: index into func->regs */
	PTX_O_IMM,     /* u.imm: integer literal, two's complement in 64 bits */
	PTX_O_FIMM,    /* u.imm: bits of a double (0d..) or of a float (0f.., in the low 32); is_f32 says which.
	                * A decimal literal is a double. */
	PTX_O_SREG,    /* u.sreg */
	PTX_O_VAR,     /* u.var (+ off): address of a variable used as a value, `mov.u64 %rd, sym+4` */
	PTX_O_FUNC,    /* u.func: a function's name */
	PTX_O_LABEL,   /* u.label: index into func->labels */
	PTX_O_ADDR,    /* memory operand [base + off]: base is `base` (REG, VAR, PARAM or NONE for absolute) */
	PTX_O_PARAM,   /* u.param: a .param variable used by name, see struct ptx_param */
	PTX_O_VEC,     /* {a, b, ...}: `list`, `nlist` */
	PTX_O_LIST,    /* (a, b, ...): call returns and arguments */
	PTX_O_PAIR,    /* a|b: setp p|q, shfl d|p: list[0], list[1] */
	PTX_O_SINK,    /* _ */
	PTX_O_TEX,     /* [handle, {coords}] : list[0] handle operand, list[1] coordinate vector (or single);
	                * [handle, sampler, {coords}]: list[2] is the sampler.  Tensor maps too. */
	PTX_O_TABLE,   /* u.table: .branchtargets / .calltargets / .callprototype label */
};

struct ptx_operand {
	uint8_t kind;       /* enum ptx_okind */
	uint8_t base;       /* PTX_O_ADDR: kind of the base: PTX_O_REG, PTX_O_VAR, PTX_O_PARAM or PTX_O_NONE */
	bool neg;           /* !p on a predicate operand, or unary minus on a register */
	bool is_f32;        /* PTX_O_FIMM */
	uint8_t nlist;
	uint16_t sel;       /* selector of a video operand (`%r1.h10`, `%r2.b3210`), 0 when absent: bit 15 set for .h,
	                     * bits 12-14 number of digits, bits 0-11 the digits, 3 bits each, the last lowest */
	union {
		uint32_t reg;
		uint64_t imm;
		enum ptx_sreg sreg;
		struct ptx_var *var;
		struct ptx_func *func;
		struct ptx_param *param;
		uint32_t label;
		uint32_t table;
	} u;
	int64_t off;                 /* PTX_O_ADDR, PTX_O_VAR: constant byte offset */
	struct ptx_operand *list;    /* PTX_O_VEC, PTX_O_LIST, PTX_O_PAIR, PTX_O_TEX */
};

struct ptx_inst {
	uint16_t op;                 /* enum ptx_op */
	uint8_t nmods, nops;
	bool pred_neg;
	bool has_pred;
	uint32_t pred;               /* register index when has_pred */
	uint16_t mods[PTX_MAX_MODS]; /* enum ptx_mod, in the order written; types and spaces included */
	/* Derived from mods for convenience: */
	uint8_t space;               /* enum ptx_space, the first one named; PTX_GENERIC when no suffix names one */
	uint8_t type;                /* last type suffix written (the source type of cvt, THE type of most) */
	uint8_t type0;               /* first type suffix written (the destination type of cvt and set) */
	uint8_t vec;                 /* 1, or 2, 4, 8 for .v2 .v4 .v8 */
	uint32_t line;               /* 1-based, of the opcode */
	uint32_t loc_file, loc_line; /* from the nearest preceding .loc, 0 if none */
	struct ptx_operand *ops;     /* destination(s) first, as written; for call always: ret list (PTX_O_LIST, may be
	                              * empty), callee (FUNC or REG), argument list (may be empty), then any table */
};

/* --- functions ------------------------------------------------------------------------------- */

struct ptx_reg {
	const char *name;        /* as written, "%r1"; shadowing can make two registers share a name */
	enum ptx_type type;
	uint8_t vec;             /* always 1: `.reg .v4 .f32 %v` becomes four consecutive registers named %v */
};

/* A formal parameter of a function, or a .param variable that a body declares for a call sequence. */
struct ptx_param {
	const char *name;
	enum ptx_type type;
	uint8_t vec;
	uint32_t align;
	uint64_t size;         /* bytes, arrays included */
	uint64_t offset;       /* formals: byte offset in the parameter block, C layout rules */
	uint32_t reg;          /* .func formals written as .reg: register index + 1; else 0 */
	bool is_formal, is_ret, is_array;
	uint32_t index;        /* formals: position; body params: index into func->body_params */
	uint8_t ptr_space;     /* .ptr .global etc.: enum ptx_space, else 0 */
	uint32_t ptr_align;
};

struct ptx_label { const char *name; uint32_t inst; /* index of the instruction it stands before; ninsts: the end */ };

struct ptx_table {
	enum { PTX_TAB_BRANCH, PTX_TAB_CALLTARGETS, PTX_TAB_PROTOTYPE } kind;
	const char *name;
	uint32_t *labels;        /* BRANCH */
	struct ptx_func **funcs; /* CALLTARGETS */
	uint32_t n;
	struct ptx_func *proto;  /* PROTOTYPE: a bodyless function holding params and rets */
};

struct ptx_func {
	const char *name;
	bool is_entry, has_body, noreturn;
	enum ptx_linkage linkage;
	struct ptx_param *params, *rets;
	uint32_t nparams, nrets;
	uint64_t param_bytes;               /* of the whole parameter block */
	struct ptx_reg *regs;       uint32_t nregs;
	struct ptx_var **vars;      uint32_t nvars;      /* .local, .shared, .global, .const declared inside */
	struct ptx_param *body_params; uint32_t nbody_params;
	struct ptx_label *labels;   uint32_t nlabels;
	struct ptx_table *tables;   uint32_t ntables;
	struct ptx_inst *insts;     uint32_t ninsts;
	uint32_t *nounroll;         uint32_t nnounroll; /* instructions before which `.pragma "nounroll";` stands,
	                                                 * ascending; other pragmas change no result */
	uint32_t maxntid[3], reqntid[3];    /* 0: absent; missing y and z are 1 */
	uint32_t minnctapersm, maxnctapersm, maxnreg;
	uint32_t reqnctapercluster[3]; bool explicit_cluster; uint32_t maxclusterrank;
	uint32_t line;
	void *user;                          /* for the passes of whoever holds the module */
};

struct ptx_module {
	struct ptx_arena *arena;
	int version_major, version_minor;    /* .version */
	const char *target;                  /* first word of .target, "sm_90" */
	uint32_t target_sm;                  /* 90 */
	bool target_debug, target_texmode_independent;
	struct ptx_var **vars;   uint32_t nvars;     /* module scope, in order */
	struct ptx_func **funcs; uint32_t nfuncs;    /* by first mention; a definition fills its declaration in */
	const char **files;      uint32_t nfiles;    /* .file N "..."; index N, NULL where absent */
};

/* --- the parser ------------------------------------------------------------------------------ */

struct ptx_error {
	uint32_t line;          /* 1-based; 0: the module as a whole */
	char text[256];         /* one line, printable ASCII; client bytes are quoted with \xNN */
};

/* Parses `len` bytes (no NUL needed; a NUL inside is an error).  Returns NULL and fills *err on refusal.
 * Never aborts, recurses boundedly, and takes at most O(len) memory and time. */
struct ptx_module *ptx_parse(const char *text, size_t len, struct ptx_error *err);
void ptx_free(struct ptx_module *m);

/* Memory that lives as long as the module; NULL only when out of memory. */
void *ptx_alloc(struct ptx_module *m, size_t bytes);
const char *ptx_intern(struct ptx_module *m, const char *s);

/* Tables. */
const char *ptx_op_name(enum ptx_op op);
const char *ptx_mod_name(enum ptx_mod mod);           /* without the dot */
const char *ptx_sreg_name(enum ptx_sreg s);           /* with the % */
enum ptx_type ptx_sreg_type(enum ptx_sreg s);
const char *ptx_type_name(enum ptx_type t);           /* "u32" */
unsigned ptx_type_bytes(enum ptx_type t);             /* 1 for pred, 4 for tf32, 0 for opaque types */
enum ptx_type ptx_mod_type(enum ptx_mod mod);         /* PTX_T_NONE when the suffix is not a type */
bool ptx_has_mod(const struct ptx_inst *i, enum ptx_mod mod);
const char *ptx_space_name(enum ptx_space s);

#endif
