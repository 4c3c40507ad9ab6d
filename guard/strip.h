/* strip.h - what strip.c (loops, rounds) and foresee.c (addresses of all rounds) share. */
#ifndef AG_GUARD_STRIP_H
#define AG_GUARD_STRIP_H

#include "guard/emit.h"

enum { MAX_STRIP = 256, STRIP_LINES = 16384, MAX_BODY = 400, MIN_ROUNDS = 8, MAX_REGS = 200000, MAX_ADDENDS = 12,
	MAX_ROUNDS = 1 << 29 };         /* times a step below 2^33 is no wrap around */

/* A number known only to the code: a literal or a register. */
struct opd { bool imm; int64_t v; struct rname r; };

/* What a register holds in round k: a + k * s + u, 0 <= u <= h, u a multiple of 2^tz; mod 2^bits. */
struct rw_value { bool known; uint8_t bits, tz; struct opd a, s; uint64_t h; };

struct rw_loop_reg { uint32_t stamp, defs; bool needed, set; struct rw_value v; };

struct addends { uint32_t base; int64_t off; unsigned n; struct { uint32_t reg; bool neg; } reg[MAX_ADDENDS]; };

struct trip { uint32_t setp, iv; int64_t step, off; struct ptx_operand end; enum ptx_mod cmp; bool is_signed, movable;
	unsigned bits; };

struct loop {
	struct rw_out *o;
	uint32_t from, to, stamp;       /* the block, its label and its branch included */
	struct trip trip;
	struct rname rounds, last;      /* at least that many, and less one */
	struct rname ok;                /* predicate: no access needs its fence */
};

struct seek { uint32_t reg; bool def, use; };

struct rw_loop_reg *rw_loop_reg_of(struct loop *l, uint32_t reg);
const struct ptx_inst *rw_loop_inst(const struct loop *l, uint32_t i);
struct seek rw_mentions(const struct ptx_inst *in, uint32_t reg);
/* 32 or 64 where the only suffix beside `more` others is an integer type of that size; else 0. */
unsigned rw_int_bits(const struct ptx_inst *in, unsigned more);
/* The value of reg before instruction pos as that of another at the start of the round, plus what does not change. */
bool rw_loop_walk(struct loop *l, uint32_t reg, uint32_t pos, struct addends *s);

/* Emits the test of all rounds' addresses into l->ok. False: not all of them can be foreseen. */
bool rw_foresee(struct loop *l);

#endif
