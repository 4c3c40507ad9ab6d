/* exec_decode.h - turning one ptx_func into ops: what the exec_decode*.c files share.
 *
 * One PTX instruction becomes one or more ops.  Operands become register references: constants go to the pool,
 * special registers, addresses and width changes become ops of their own that fill temporaries.  Nothing is executed
 * that decode did not understand wholly: fail() records the first complaint, and the module does not load. */
#ifndef AG_SOFTGPU_EXEC_DECODE_H
#define AG_SOFTGPU_EXEC_DECODE_H

#include "exec_internal.h"

#define TEMPS 32

struct const_pool { uint8_t *bytes; uint64_t used, cap; uint32_t *slots; uint32_t nslots, count; };
struct var_addr { const struct ptx_var *var; uint64_t addr; };
struct var_map { struct var_addr *slots; uint32_t cap, count; };

/* The module under construction. */
struct load {
	struct exec_module *m;
	struct const_pool pool;
	struct var_map vars;             /* .global and .const variables; .shared ones that functions use */
	uint32_t common_shared;          /* bytes of the latter */
	CUresult code;
	struct ptx_error *err;
};

struct dec {
	struct load *ld;
	struct func *f;
	const struct ptx_func *pf;
	const struct ptx_inst *i;
	const op_fn *simd;
	struct op *ops;
	uint32_t nops, cap, first;
	uint32_t *reg_ref;               /* by register: frame offset */
	uint8_t *reg_width;              /* 0 predicate, else bytes per lane */
	uint32_t *inst_op;               /* first op of each instruction */
	uint32_t *body_off;              /* by body parameter: offset in the parameter block */
	struct var_map locals;           /* .local and, in entries, .shared variables */
	uint32_t frame_bytes;
	uint32_t temp[3][TEMPS], ntemp[3], temps_made[3];   /* of 4, 8 and 16 bytes per lane */
	uint32_t ptemp[4], nptemp;
	struct { uint32_t from, to; uint8_t from_width, to_width; bool is_signed; } fix[TEMPS];
	uint32_t nfix;
	bool calls_out;                  /* entry: the shared variables of functions come first */
};

void *load_alloc(struct load *ld, size_t bytes);    /* lives as long as the module; NULL fails the load */
void load_fail(struct load *ld, uint32_t line, CUresult code, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));
void fail(struct dec *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool failed(const struct dec *d);
bool var_find(const struct var_map *m, const struct ptx_var *v, uint64_t *addr);
bool var_add(struct var_map *m, const struct ptx_var *v, uint64_t addr);

/* Registers, constants, temporaries. */
uint32_t constant(struct dec *d, uint64_t v, unsigned width);
uint32_t temp(struct dec *d, unsigned width);
uint32_t ptemp(struct dec *d);
uint32_t src(struct dec *d, const struct ptx_operand *o, unsigned width);
uint32_t src_f(struct dec *d, const struct ptx_operand *o, enum ptx_type t);   /* literals are of float type t */
uint32_t dst(struct dec *d, const struct ptx_operand *o, unsigned width, bool is_signed);
uint32_t pred_src(struct dec *d, const struct ptx_operand *o, uint32_t *neg);
uint32_t pred_dst(struct dec *d, const struct ptx_operand *o);
/* bytes per lane, 0 predicate; literals: 8 */
unsigned operand_width(struct dec *d, const struct ptx_operand *o);
const struct ptx_operand *opnd(struct dec *d, unsigned k);                      /* fails and gives a sink when absent */

/* Ops. */
struct op *emit(struct dec *d, op_fn fn);
/* NULL when there is none */
op_fn simd_find(struct dec *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct op *emit_simd(struct dec *d, uint32_t dref, uint32_t a, uint32_t b, uint32_t c, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
struct op *emit_scalar(struct dec *d, const char *name, uint32_t x, uint32_t dref, unsigned dw, unsigned n,
	const uint32_t *refs, const unsigned *widths);
void add_csr(struct op *o, uint32_t csr);

/* Suffixes. */
static inline bool has(const struct dec *d, enum ptx_mod m) { return ptx_has_mod(d->i, m); }
unsigned type_bytes(enum ptx_type t);
bool type_signed(enum ptx_type t);
bool type_float(enum ptx_type t);
const char *int_name(enum ptx_type t);       /* "s32", "u16": .b types count as unsigned */
const char *uint_name(enum ptx_type t);      /* the unsigned type of its size */
const char *float_name(enum ptx_type t);     /* "f32" "f64" "h" "q" */
unsigned lane_width(enum ptx_type t);        /* 4, 8 or 16 */
bool mods_known(struct dec *d, unsigned n, const uint16_t *allowed);

/* Families; each returns false when the opcode is not its own. */
bool decode_int(struct dec *d);
bool decode_float(struct dec *d);
bool decode_cmp(struct dec *d);
bool decode_mov(struct dec *d);
bool decode_cvt(struct dec *d);
bool decode_mem(struct dec *d);
bool decode_async(struct dec *d);
bool decode_ctl(struct dec *d);
bool decode_sync(struct dec *d);
bool decode_matrix(struct dec *d);
bool decode_tex(struct dec *d);

/* exec_decode_mem.c: fills a, y and imm of a memory op, from its address operand. */
void address(struct dec *d, const struct ptx_operand *o, enum ptx_space space, uint32_t *ref, uint32_t *cls,
	int64_t *off);
uint64_t param_off(struct dec *d, const struct ptx_param *p);    /* in the parameter block */
uint32_t var_ref(struct dec *d, const struct ptx_var *v, int64_t off, unsigned width);

/* exec_regs.c */
bool share_registers(const struct ptx_func *pf, const uint8_t *width, uint32_t *slot, uint32_t counts[3],
	uint32_t *need);

CUresult decode_func(struct load *ld, struct func *f);
void layout_shared(struct load *ld);
bool shared_of_entry(struct dec *d);
enum intrinsic intrinsic_of(const char *name);

#endif
