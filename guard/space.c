/* space.c - what is known of addresses before any fence is made.
 *
 * A register with one definition that is a symbol plus a constant lets an access be checked on paper.  For a generic
 * address the union of what all its definitions may point to tells whether a run-time choice of state space is
 * needed.  Both only save work: the fence that follows is sound whatever is found here. */
#include "guard/rewrite.h"
#include <string.h>

enum { MAX_ROUNDS = 24 };

struct scan { struct rw_kernel *k; bool predicated; };

static void count_def(void *ctx, uint32_t reg, bool def)
{
	struct scan *s = ctx;

	if (def && s->k->known[reg].defs < 2)
		s->k->known[reg].defs++;
	if (def && s->predicated)
		s->k->known[reg].defs = 2;
}

static const struct rw_known *known_sym(const struct rw_kernel *k, const struct ptx_operand *o)
{
	return o->kind == PTX_O_REG && k->known[o->u.reg].is_sym ? &k->known[o->u.reg] : NULL;
}

/* sym + off for the single definition `in`, if it is one. */
static bool symbolic(const struct rw_kernel *k, const struct ptx_inst *in, struct rw_known *out)
{
	const struct rw_known *a = in->nops > 1 ? known_sym(k, &in->ops[1]) : NULL;

	switch (in->op) {
	case PTX_OP_mov:
		if (in->ops[1].kind == PTX_O_VAR) {
			*out = (struct rw_known){ .sym = in->ops[1].u.var, .off = in->ops[1].off };
			return true;
		}
		break;
	case PTX_OP_add: case PTX_OP_sub:
		if (in->nops == 3 && in->ops[2].kind == PTX_O_IMM && a && (int64_t)in->ops[2].u.imm > -(1 << 30)
		    && (int64_t)in->ops[2].u.imm < 1 << 30 && a->off > -(1LL << 40) && a->off < 1LL << 40) {
			int64_t d = (int64_t)in->ops[2].u.imm;

			*out = *a;
			out->off += in->op == PTX_OP_add ? d : -d;
			return true;
		}
		return false;
	case PTX_OP_cvt:
		if (!a || a->generic || in->nmods != 2 || (in->type != PTX_T_U32 && in->type != PTX_T_U64))
			return false;
		break;
	case PTX_OP_cvta:
		if (!a || (a->sym->space != in->space) || a->generic != rw_has(in, PTX_MOD_to))
			return false;
		*out = *a;
		out->generic = !rw_has(in, PTX_MOD_to);
		return true;
	default:
		return false;
	}
	if (!a)
		return false;
	*out = *a;
	return true;
}

/* What the result of an instruction may point to, from its sources. */
static unsigned flows(const struct rw_kernel *k, const struct ptx_inst *in)
{
	unsigned bits = 0;
	unsigned first = 1;

	switch (in->op) {
	case PTX_OP_ld: case PTX_OP_ldu:
		return in->space == PTX_PARAM ? RW_W_GLOBAL : RW_W_ANY;
	case PTX_OP_mapa:
		return in->space == PTX_GENERIC ? RW_W_SHARED : 0;
	case PTX_OP_atom:
		return RW_W_ANY;
	case RW_OP_CALL:
		return RW_W_ANY;
	case PTX_OP_cvta:
		if (!rw_has(in, PTX_MOD_to))
			return in->space == PTX_SHARED || in->space == PTX_SHARED_CLUSTER ?
				RW_W_SHARED : in->space == PTX_LOCAL ? RW_W_LOCAL : RW_W_GLOBAL;
		return 0;
	case PTX_OP_mad: case PTX_OP_madc:
		first = 3;
		break;
	case PTX_OP_mov: case PTX_OP_add: case PTX_OP_sub: case PTX_OP_addc: case PTX_OP_subc: case PTX_OP_and:
	case PTX_OP_or: case PTX_OP_xor: case PTX_OP_selp: case PTX_OP_min: case PTX_OP_max: case PTX_OP_shfl:
	case PTX_OP_slct: case PTX_OP_lop3:
	case PTX_OP_prmt:
		break;
	default:
		return 0;
	}
	for (unsigned i = first; i < in->nops; i++) {
		const struct ptx_operand *o = &in->ops[i];

		if (o->kind == PTX_O_REG)
			bits |= k->regs[o->u.reg].special == RW_SP_GD ? RW_W_GLOBAL : k->known[o->u.reg].space;
		else if (o->kind == PTX_O_VEC)
			for (unsigned j = 0; j < o->nlist; j++)
				if (o->list[j].kind == PTX_O_REG)
					bits |= k->known[o->list[j].u.reg].space;
	}
	return bits;
}

struct spread { struct rw_kernel *k; unsigned bits; bool changed; };

static void spread_to(void *ctx, uint32_t reg, bool def)
{
	struct spread *s = ctx;

	if (def && (s->k->known[reg].space | s->bits) != s->k->known[reg].space) {
		s->k->known[reg].space |= (uint8_t)s->bits;
		s->changed = true;
	}
}

void rw_space(struct rw *rw, struct rw_kernel *k)
{
	struct scan scan = { .k = k };
	struct spread s = { .k = k, .changed = true };

	k->known = rw_alloc(rw, (k->nregs + 1) * sizeof(*k->known));
	for (uint32_t i = 0; i < k->ninsts; i++) {
		scan.predicated = k->insts[i].has_pred;
		rw_visit_regs(&k->insts[i], count_def, &scan);
	}
	for (uint32_t i = 0; i < k->ninsts; i++) {
		const struct ptx_inst *in = &k->insts[i];
		struct rw_known found;

		if (in->nops < 2 || in->ops[0].kind != PTX_O_REG || k->known[in->ops[0].u.reg].defs != 1
			|| !symbolic(k, in, &found))
			continue;
		struct rw_known *to = &k->known[in->ops[0].u.reg];

		to->is_sym = true;
		to->generic = found.generic;
		to->sym = found.sym;
		to->off = found.off;
	}
	for (unsigned round = 0; s.changed; round++) {
		s.changed = false;
		for (uint32_t i = 0; i < k->ninsts; i++) {
			s.bits = round < MAX_ROUNDS ? flows(k, &k->insts[i]) : RW_W_ANY;
			rw_visit_regs(&k->insts[i], spread_to, &s);
		}
	}
}
