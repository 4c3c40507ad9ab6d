/* align.c - how many low bits of each register are zero, whatever happens.
 *
 * A fence that keeps the alignment the client's address has by construction (an array's start plus a multiple of a
 * row) lets the compiler join its accesses into wider ones, as it does with the client's own code. Counts start high
 * and go down until nothing changes. A wrong count would move a client's access inside its own memory, no more. */
#include "guard/rewrite.h"

enum { MAX_ROUNDS = 32, ALL = 63, OBJECT = 4 };

static unsigned zeros(uint64_t v)
{
	return v ? (unsigned)__builtin_ctzll(v) : ALL;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned of(const struct rw_kernel *k, const struct ptx_operand *o)
{
	switch (o->kind) {
	case PTX_O_IMM: return zeros(o->u.imm);
	case PTX_O_VAR: return least(OBJECT, zeros((uint64_t)o->off));
	case PTX_O_REG: return o->neg || k->regs[o->u.reg].special ? 0 : k->known[o->u.reg].zeros;
	default: return 0;
	}
}

static bool integers(const struct ptx_inst *in)
{
	for (unsigned t = 0; t < 2; t++)
		switch (t ? in->type0 : in->type) {
		case PTX_T_B32: case PTX_T_U32: case PTX_T_S32: case PTX_T_B64: case PTX_T_U64: case PTX_T_S64: break;
		default: return false;
		}
	return true;
}

static unsigned result(const struct rw_kernel *k, const struct ptx_inst *in)
{
	const struct ptx_operand *o = in->ops;
	unsigned n;

	if (!integers(in) || in->nops < 2)
		return 0;
	switch (in->op) {
	case PTX_OP_mov: case PTX_OP_cvta: return of(k, &o[1]);
	case PTX_OP_cvt: return in->nmods == 2 ? of(k, &o[1]) : 0;
	case PTX_OP_add: case PTX_OP_sub:
		if (in->nmods != 1)
			return 0;
		/* fall through */
	case PTX_OP_or: case PTX_OP_selp: case PTX_OP_min: case PTX_OP_max:
		return least(of(k, &o[1]), of(k, &o[2]));
	case PTX_OP_and:
		n = of(k, &o[1]);
		return n > of(k, &o[2]) ? n : of(k, &o[2]);
	case PTX_OP_shl:
		return o[2].kind == PTX_O_IMM && o[2].u.imm < 64 ? least(ALL, of(k, &o[1]) + (unsigned)o[2].u.imm) : 0;
	case PTX_OP_mul: case PTX_OP_mad:
		if (in->nmods != 2 || (!rw_has(in, PTX_MOD_lo) && !rw_has(in, PTX_MOD_wide)))
			return 0;
		n = least(ALL, of(k, &o[1]) + of(k, &o[2]));
		return in->op == PTX_OP_mul ? n : least(n, of(k, &o[3]));
	default: return 0;
	}
}

struct lower { struct rw_kernel *k; unsigned to; bool changed; };

static void lower(void *ctx, uint32_t reg, bool def)
{
	struct lower *l = ctx;

	if (!def || l->k->known[reg].zeros <= l->to)
		return;
	l->k->known[reg].zeros = (uint8_t)l->to;
	l->changed = true;
}

void rw_align(struct rw *rw, struct rw_kernel *k)
{
	struct lower l = { .k = k, .changed = true };

	(void)rw;
	for (uint32_t r = 0; r < k->nregs; r++)
		k->known[r].zeros = ALL;
	for (unsigned round = 0; l.changed; round++) {
		l.changed = false;
		for (uint32_t i = 0; i < k->ninsts; i++) {
			const struct ptx_inst *in = &k->insts[i];
			bool one = in->nops && in->ops[0].kind == PTX_O_REG;

			l.to = one && round < MAX_ROUNDS ? result(k, in) : 0;
			rw_visit_regs(in, lower, &l);
		}
	}
}
