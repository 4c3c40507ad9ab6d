/* verify_int.h - what the verifier's three files share: verify_lex.c (lines and words), verify_flow.c (assignment
 * before use), verify.c (the rules).  Nothing here is known to the rewriter and nothing of the rewriter is known here.
 * All memory hangs off struct verifier and is released by verify(). */
#ifndef AG_GUARD_VERIFY_INT_H
#define AG_GUARD_VERIFY_INT_H

#include "verify.h"

/* Bounds on what is read.  They keep time and memory linear in the text, and refuse what would strain ptxas. */
enum {
	VMAX_TEXT = 512 << 20,
	VMAX_LINE = 1 << 17,
	VMAX_REGS = 1 << 19,            /* of one kernel */
	VMAX_ALL_REGS = 1 << 24,        /* of all kernels: a line of text can declare many */
	VMAX_RANGES = 256,              /* .reg lines of one kernel */
	VMAX_LABELS = 1 << 22,          /* of one kernel */
	VMAX_SUFFIX = 12,
	VMAX_OPS = 6,
	VMAX_VEC = 8,
	VMAX_SHARED = 227 << 10,
	VMAX_LOCAL = 128 << 10,
	VMAX_CONST = (64 << 10) - 1024, /* leaves room for ag_desc and what the runtime keeps there */
	VMAX_PARAMS = 32764,            /* bytes */
	VMAX_NPARAMS = 4096,
	/* GUARD_SLACK, stated again on purpose: what lies behind a window is the client's */
	VMAX_SLACK = 4096,
	VMAX_FOOT = 8192,               /* largest footprint of a %gsl<F>, and so of min_dyn_shared */
	VMAX_CALL_ARGS = 16,
	VMAX_CLUSTER = 16,              /* blocks */
	PEER_BYTES = 32,                /* of ag_peer_N, before what fences lead to */
	MEET_BYTES = 16,                /* behind them, for each warp, of ag_meet_N and ag_peer_meet_N */
	VMAX_THREADS = 1024,            /* of a block */
	VMAX_KINDS = 256,               /* of waits, in one kernel */
	MEET_EXACT = 65536,             /* sites from here on are places, not kinds */
	VMAX_STRIP = 256,               /* rounds of a strip without a poll; */
	VMAX_STRIP_LINES = 16384,       /* times its lines */
	VMAX_NAPS = 64000000,           /* ns that the sleeps of one kernel take, each once: a poll is 64 rounds away */
};
#define VMAX_FLOW_BYTES (768ull << 20)
#define VMAX_FLOW_STEPS (1ull << 33)

/* --- verify_lex.c ---------------------------------------------------------------------------- */

struct vword { const char *s; uint32_t n; };

struct vlex {
	const char *p, *end;        /* next line */
	const char *c, *ce;         /* what is left of this one */
	const char *ls;             /* its start, blanks skipped */
	uint32_t line;
	const char *bad;            /* why vlex_line returned false; NULL at the end of the text */
};

/* Moves to the next line that is not blank.  False at the end, or when a line is too long or holds a byte that is not
 * printable ASCII or tab. */
bool vlex_line(struct vlex *l);
/* The next word: letters, digits, _ $ % . and :: ; false when there is none. */
bool vlex_word(struct vlex *l, struct vword *w);
bool vlex_char(struct vlex *l, char c);
char vlex_peek(struct vlex *l);
bool vlex_end(struct vlex *l);      /* nothing is left of the line */
/* The whole line, blanks at both ends apart, equals s. */
bool vlex_is(const struct vlex *l, const char *s);
bool vword_is(struct vword w, const char *s);
bool vword_eq(struct vword a, struct vword b);
/* Decimal without leading zeros, at most 64 bits, nothing else in the word. */
bool vword_uint(struct vword w, uint64_t *value);
bool vword_float(struct vword w);   /* 0f and 8, 0d and 16 hexadecimal digits */
/* Is w one of the alternatives of "a|b|c"? */
bool vword_among(struct vword w, const char *alternatives, size_t len);

/* --- verify_flow.c --------------------------------------------------------------------------- */

/* A kernel's blocks in the order of the text.  Block 0 is entered once, at the top. */
struct vflow {
	struct vblock { uint32_t first; bool falls; } *block;      /* first: index into event */
	struct vevent { uint32_t reg_def, line; } *event;          /* reg << 1 | is_def */
	struct vedge { uint32_t from, to; } *edge;                 /* branches; `to` is a label at first */
	uint32_t nblocks, nevents, nedges, cap_blocks, cap_events, cap_edges;
};
bool vflow_block(struct vflow *f);      /* starts a block; false: out of memory, also below */
bool vflow_event(struct vflow *f, uint32_t reg, bool def, uint32_t line);
bool vflow_edge(struct vflow *f, uint32_t label);
void vflow_reset(struct vflow *f);
void vflow_free(struct vflow *f);
/* Is each of nregs registers written on every path to each of its uses?  Edges lead to blocks by now.
 * NULL: yes.  Else why not, and *line, *reg (nregs when none is to blame). */
const char *vflow_check(const struct vflow *f, uint32_t nregs, uint32_t *line, uint32_t *reg);

/* Makes room for one more element; false: out of memory. */
bool vgrow(void *array, uint32_t n, uint32_t *cap, size_t size);

/* --- the verifier's state -------------------------------------------------------------------- */

struct form_row { const char *name, *flags; uint32_t bits; const char *op, *operands; };
bool form_flag(const struct form_row *f, char c);

/* Registers declared by one line: %name0 .. %name<n-1>, or one whose name has no number of its own. */
struct vrange {
	struct vword name;              /* without % */
	uint32_t n, first, bits, width; /* width: the W or F in the name, else 0 */
	const struct form_row *form;    /* NULL: ordinary */
	bool numbered;
};

/* What is known of a reserved register since its last definition. */
struct vfact {
	uint32_t segment;               /* of that definition; UINT32_MAX: the entry block; 0: none yet */
	uint32_t foot, align;           /* bytes from it on that are in bounds; alignment, 0 unknown */
	bool local;                     /* may be a local address */
	bool literal;                   /* the limit it was held to is a literal */
	uint32_t scale;                 /* M of a matrix's stride */
};

enum vkind { VO_NONE, VO_REG, VO_IMM, VO_FLOAT, VO_WORD, VO_MEM, VO_VEC, VO_PAIR, VO_SINK, VO_TEX };
struct vitem { uint8_t kind; uint32_t reg; const struct vrange *range; };
struct vop {
	uint8_t kind;                   /* VO_MEM: item.kind is VO_REG or VO_WORD, its base; VO_TEX: item, list */
	bool neg;                       /* !p */
	struct vitem item;
	uint64_t imm;                   /* literal, or offset of VO_MEM and VO_WORD */
	struct vword word;
	uint32_t nlist;
	struct vitem list[VMAX_VEC];
};
struct vstmt {
	bool pred;
	struct vword op, base, suffix[VMAX_SUFFIX];
	uint32_t nsuffix, nops;
	struct vop ops[VMAX_OPS];
};

struct vobject { char name[24]; uint32_t bytes, align; };    /* align 0: not declared */
struct vparam { uint32_t bytes, align, offset; };
struct vfunc { char name[80]; char result, params[VMAX_CALL_ARGS + 1]; bool declared; };   /* letters as FUNC's */

struct verifier {
	struct vlex lex;
	struct guard_verdict *out;
	bool wide, scrub, meet;
	struct vfunc *funcs;
	uint32_t nfuncs, cap_kernels, all_regs;
	struct vobject cbank, dyn;
	uint8_t *kernel_seen;

	/* of the kernel being read */
	struct verify_kernel k;
	struct vobject shared, local;
	struct vrange ranges[VMAX_RANGES];
	uint32_t nranges, nregs;
	struct vfact *fact;             /* per register */
	uint32_t cap_facts;
	uint64_t naps;                  /* ns; see VMAX_NAPS */
	uint32_t segment, carry;        /* segments end at labels; the one in which the carry flag was written */
	struct vparam *params;
	uint32_t nparams, cap_params;
	/* by number, $Lkill 0; block UINT32_MAX: not seen; line: of the first branch to it */
	struct vlabel { uint32_t block, line; bool strip; } *labels;
	uint32_t nlabels, cap_labels;
	uint32_t *target, ntargets, cap_targets;
	struct vtable { uint32_t first, n; } *tables;
	uint32_t ntables, cap_tables;
	struct vflow flow;
	bool began;                     /* past the declarations */
	bool polled;                    /* the last statement was a poll (and the clamp of a brx) */
	bool ended;                     /* the last statement leaves; nothing follows but a label or the end */
	bool killed;                    /* past $Lkill */
	bool peers, peers_ready;        /* the shared object is ag_peer_N; its entry lines were read */
	bool meets, meet_ready;         /* the shared object holds records of warps; its entry lines were read */
	/* All threads of the warp are here, or come, on straight line; the last statement tells that this one leaves;
	 * a ret not directly after that; barriers of the block in hardware; waits for the cluster */
	bool met, left, bare_leave, block_waits, cluster_waits;
	uint32_t checks, threads;       /* checks so far; most threads of a block */
	uint32_t kind, nkinds;          /* not met, but for one wait of this kind, or 0; kinds that have come */
	struct vword kinds[VMAX_KINDS];
	bool cluster_used, waited;      /* barriers of the cluster; the last statement was a wait */
	bool joins_all, joins_here;     /* threads of a warp are joined by -1; by masks of those that are together */
	bool past_entry;                /* something but definitions of entry registers has come */
	bool has_size;                  /* %gsn is defined */
	bool scrubbed, scrubbed_size;   /* memory was cleared; so many bytes as %gsn says */
	bool bare_ret;                  /* a ret not directly after one, or of a kernel with peers */
	uint32_t counted, was_counted;  /* 1 + register of the strip counter that this, the last statement set */
	/* The strip being read: a loop of one block; open until anything but plain statements comes. */
	struct vstrip { bool open; uint32_t reg, rounds, label, line; } strip;
	struct vstmt s;
};

/* verify.c.  refuse() keeps the first reason, with the current line, and returns false. */
bool refuse(struct verifier *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool no_memory(struct verifier *v);
bool next_line(struct verifier *v);
bool expect(struct verifier *v, char c);
bool expect_word(struct verifier *v, const char *s);
bool expect_end(struct verifier *v);
bool expect_uint(struct verifier *v, uint64_t max, uint64_t *value);
#define WORD(w) (int)((w).n > 60 ? 60 : (w).n), (w).s

/* verify_stmt.c: registers, statements into operands, and the table of opcodes. */
uint32_t type_bits(struct vword w);
bool reg_directive(struct verifier *v);
bool register_of(struct verifier *v, struct vword w, struct vitem *item);
bool use(struct verifier *v, const struct vitem *it);
bool def(struct verifier *v, const struct vitem *it);
bool parse_opcode(struct verifier *v, struct vword op);
bool parse_operand(struct verifier *v, struct vop *o);
bool parse_operands(struct verifier *v);
bool source(struct verifier *v, const struct vop *o, uint32_t bits, bool or_more);
bool dest(struct verifier *v, const struct vop *o, uint32_t bits, bool or_more);
bool by_table(struct verifier *v);
bool fragment_operand(struct verifier *v, const struct vop *o, bool defines);
bool mov(struct verifier *v);

/* verify_form.c: reserved registers, and memory operands, which are made of them. */
struct facts { uint32_t t, t0, vec; struct vword space; };
const struct form_row *reserved_class(struct vword name, bool numbered, uint32_t *width);
bool reserved_def(struct verifier *v);
bool class_is(const struct vitem *it, const char *names);
/* ag_smem_N, ag_dyn, ag_local_N or ag_const of this kernel, or NULL. */
const struct vobject *object_of(struct verifier *v, struct vword w);
bool memory_operand(struct verifier *v, const struct vop *o, const struct facts *f, uint32_t bytes);

/* verify_matrix.c: matrices in memory. */
bool matrix_limit(struct verifier *v);
bool matrix_access(struct verifier *v);

/* verify_cluster.c: barriers of the cluster, and kernels that use the shared memory of other blocks. */
bool cluster_barrier(struct verifier *v);
bool peers_entry(struct verifier *v);
bool peers_exit(struct verifier *v);
bool cluster_end(struct verifier *v);

/* verify_meet.c: waiting for threads of a warp. */
bool meet_entry(struct verifier *v);
bool meet_check(struct verifier *v);
bool meet_exit(struct verifier *v);
bool meet_statement(struct verifier *v);
bool meet_cluster(struct verifier *v);
bool meet_end(struct verifier *v);
uint32_t meet_bytes(const struct verifier *v);
/* Bytes of the shared object that fences lead to, and where they begin. */
static inline uint32_t shared_from(const struct verifier *v)
{
	return v->meets ? meet_bytes(v) : v->peers ? PEER_BYTES : 0;
}
static inline uint32_t shared_room(const struct verifier *v)
{
	return v->shared.bytes - shared_from(v);
}

/* verify_scrub.c: what others may have left in shared and local memory. */
bool scrub(struct verifier *v);
bool scrub_end(struct verifier *v);

/* verify_ctl.c: statements: labels, branches, polls, calls. */
bool branch_in_form(struct verifier *v, struct vword label);
bool statement(struct verifier *v);
bool end_kernel(struct verifier *v);

#endif
