/* emit.h - the state of printing one kernel, shared by print.c, fence.c, report.c and poll.c.
 *
 * The body is printed first, because only then is it known which registers and entry-block lines it needs. */
#ifndef AG_GUARD_EMIT_H
#define AG_GUARD_EMIT_H

#include "guard/rewrite.h"

/* Families of numbered invariant registers: %<name><n>, or %<name><W>_<n> for those with a width. */
enum inv { INV_GL, INV_GA, INV_GH, INV_GSO, INV_GSM, INV_GSA, INV_GS, INV_GPO, INV_GPM, INV_GPA, INV_GP, INV_GKO,
	INV_GKM, INV_GKA,
	INV_GK, INV_GSU, INV_GSG, INV_GPU, INV_GPG, INV_GG, INV_GB, INV_GNS,
	INV_GCZ, INV_GTI, INV_GTA,
	INV_GT, INV_GUI, INV_GUA, INV_GUQ, INV_GUO, INV_GUX, INV_GUY, INV_GUZ, INV_GUXA, INV_GUYA,
	INV_GCR, INV_GCM, INV_GCB, INV_GCO, INV_GCI, INV_GCJ, INV_GCS, INV_GCU, INV_GCG, INV_GN,
	INV_GAM, INV_GMM, INV_GY, INV_COUNT };

/* Entry-block registers, each with its line. */
enum entry { EN_GW = 1, EN_GM = 2, EN_GD = 4, EN_POLL = 8, EN_GSB = 16, EN_GSN = 32, EN_GLB = 64, EN_GKB = 128,
	EN_GT = 256,
	EN_GWE = 512, EN_CLUSTER = 1024, EN_ZERO = 2048, EN_ZERO_SHARED = 4096, EN_ZERO_LOCAL = 8192,
	EN_ZERO_LOOP = 16384,
	EN_GU = 32768 };

/* warp.c: which masks a kernel's joins of a warp's threads have: there are no joins, all are -1, or each is of the
 * threads that come together. */
enum warp_masks { WARP_NONE, WARP_ALL, WARP_HERE };

/* What a memory operand addresses. */
enum where { AT_PLAIN, AT_GLOBAL, AT_SHARED, AT_LOCAL, AT_CONST, AT_GENERIC, AT_CLUSTER };

/* One group of accesses that share a fence: base + A is fenced, each access rides at off - A. */
struct group {
	uint8_t where;          /* enum where */
	uint8_t mask;           /* AT_GENERIC: enum rw_where bits */
	uint8_t log2w;
	bool has_pred, pred_neg;
	bool no_local;          /* atom, red and ordered accesses have no meaning in local memory */
	uint32_t pred;
	uint32_t reg;           /* base, or UINT32_MAX: sym */
	struct ptx_var *sym;
	int64_t a;              /* A */
	uint32_t f;             /* footprint from A */
	uint32_t line;
	bool ready;             /* the fence was emitted; fenced names the register */
	char fenced[20];
};

struct access {
	uint32_t inst;
	uint8_t op;             /* operand */
	uint8_t where, mask;
	uint16_t w;
	bool direct;            /* no fence: printed as it is (static in bounds, or the guard is off) */
	bool no_local;
	uint32_t reg, version;
	struct ptx_var *sym;
	int64_t off;
	uint32_t pred;          /* 0, or 2 * register + neg + 1 */
	uint32_t pred_version;
	uint32_t group;
};

/* A fence whose outcome report.c still has to look at. */
struct rname { char s[24]; };               /* a register's name, by value */

struct pending {
	uint32_t line;
	uint8_t code;           /* log2 of the width */
	char bad[3][72];        /* "u32 a, b": what must be equal, in registers that nothing overwrites */
	unsigned nbad;
	char addr[56];          /* source operand of the mov.b64 that makes the address, */
	char base[24];          /* or, with base, a 32-bit offset from it */
	char pred[28];          /* the accesses happen only under it */
	struct rname cond;      /* then: the predicate that holds the outcome */
};
enum { MAX_PENDING = 8 }; /* each look is a branch, which keeps loads behind it from moving up: few and late */

struct rw_out {
	struct rw *rw;
	struct rw_kernel *k;
	uint32_t class_count[RW_NCLASS];
	uint32_t inv_count[INV_COUNT][6];       /* [family][log2 W]; families without width use [0] */
	uint32_t entry;                         /* enum entry */
	uint32_t *footprints; uint32_t nfoot, cap_foot;   /* F of every %gsl<F> */
	uint32_t min_dyn;
	uint32_t *label_num, next_label;
	uint32_t *label_at;                     /* position in the stream + 1 */
	uint32_t *table_num; uint32_t *tables_used, ntables_used;

	/* fence.c, per block */
	struct access *acc; uint32_t nacc, cap_acc, next_acc;
	struct group *groups; uint32_t ngroups, cap_groups;
	uint32_t *version; uint32_t next_version;
	enum warp_masks warp;
	/* meet.c: checks and kinds so far; from `met` in the body on is straight line behind the latest, or behind the
	 * start; there are looks */
	uint32_t checks, nkinds, cap_kinds;
	char **kinds;
	size_t met;
	bool met_open, meets;
	/* strip.c */
	bool at_once;                           /* note violations without a branch: few registers, more time */
	bool quiet;                             /* no comparisons here: they were made before */
	struct rw_loop_reg *loop_regs; uint32_t loop_stamp;
	/* report.c */
	bool record;                            /* this kernel keeps a record */
	uint32_t rec_line, rec_addr, rec_any;   /* registers */
	bool any_live;                          /* rec_any holds something in this block */
	struct pending pending[MAX_PENDING]; unsigned npending;
};

/* print.c */
void rw_line(struct rw_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct rname rw_rn(struct rw_out *o, uint32_t reg);
struct rname rw_temp(struct rw_out *o, enum rw_class c);        /* a fresh plain register */
uint32_t rw_inv(struct rw_out *o, enum inv family, unsigned log2w);   /* the next number of a family */
uint32_t rw_label_number(struct rw_out *o, uint32_t label);
uint32_t rw_fresh_label(struct rw_out *o);

void rw_print_inst(struct rw_out *o, uint32_t i);                     /* instruction i of the stream */

/* fence.c */
void rw_fence_plan(struct rw_out *o, uint32_t from, uint32_t to);      /* one block of the stream */
bool rw_fence_access(struct rw_out *o, uint32_t inst, unsigned op, char *text, size_t n, enum where *where);
void rw_fence_forget(struct rw_out *o);                                /* a label came: nothing fenced holds */

/* Shared, local, constant: base and largest offset from it of a group's fence. False: there is no such memory. */
bool rw_fence_limit(struct rw_out *o, const struct group *g, struct rname *base, struct rname *limit);
void rw_note_foot(struct rw_out *o, uint32_t f);                       /* %gsl<F> is needed */

void rw_fence_pend(struct rw_out *o, const struct group *g, struct pending *p);   /* reports its outcome */

/* cluster.c */
void rw_cluster_barrier(struct rw_out *o, const struct ptx_inst *in, const char *pred);
void rw_cluster_mapa(struct rw_out *o, const struct ptx_inst *in, char rank[24]);
uint32_t rw_cluster_fence(struct rw_out *o, const struct group *g, const char *src, bool report);
void rw_cluster_entry(struct rw_out *o, struct rw_buf *b);
void rw_cluster_exit(struct rw_out *o);

/* meet.c */
bool rw_waits(const struct ptx_inst *in);
enum { RW_MEET_LOOK = 250, MEET_EXACT = 65536 };        /* type of a branch; sites that are places */
void rw_meet_check(struct rw_out *o, const struct ptx_inst *in, const char *text);
void rw_meet_look(struct rw_out *o, uint32_t label);
void rw_meet_registers(struct rw_out *o, struct rw_buf *b);
void rw_meet_entry(struct rw_out *o, struct rw_buf *b);
void rw_meet_exit(struct rw_out *o);

/* matrix.c, texture.c: the lines before, and the operands to print */
void rw_matrix(struct rw_out *o, const struct ptx_inst *in, char addr[32], char stride[32], bool *shared);
void rw_texture(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *op, char handle[24]);
void rw_surface(struct rw_out *o, const struct ptx_inst *in, char place[112]);   /* [handle, {coordinates}] */

/* report.c */
void rw_report_open(struct rw_out *o);
void rw_report_note(struct rw_out *o, const struct pending *p);
void rw_report_flush(struct rw_out *o);
void rw_report_die(struct rw_out *o, const struct ptx_inst *in);
void rw_report_exit(struct rw_out *o);

/* warp.c */
bool rw_joins_warp(const struct ptx_inst *in);
enum warp_masks rw_warp_masks(const struct rw_kernel *k);
struct rname rw_warp_here(struct rw_out *o);            /* a mask of the threads that are here; not in WARP_ALL */
void rw_warp_mask(struct rw_out *o, const struct ptx_inst *in, char text[24]);  /* in place of its last operand */

/* scrub.c: which registers the entry needs; its lines, after %gsn */
void rw_scrub_plan(struct rw_out *o);
void rw_scrub_entry(struct rw_out *o, struct rw_buf *b);

/* poll.c */
void rw_poll(struct rw_out *o);

/* strip.c: prints the block, if it is a loop that can be cut into strips */
bool rw_strip(struct rw_out *o, uint32_t from, uint32_t to);

#endif
