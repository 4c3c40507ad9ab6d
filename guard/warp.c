/* warp.c - instructions that join threads of a warp by a mask: shfl, vote, match, redux, elect, bar.warp.sync.
 *
 * A mask that leaves its own thread out, that its threads do not agree on, or that names threads which join by another
 * mask elsewhere ends the whole context on the hardware (illegal instruction, seen on an H200).  So a kernel has one of
 * two kinds of masks, and the verifier holds it to that:
 *   every mask is -1: as the program says;
 *   else each instruction joins the threads that come to it together, those among them with equal masks:
 *     activemask.b32 %gam_0;   match.any.sync.b32 %gmm_0, mask, %gam_0;   (a literal is equal in all: %gam_0 itself)
 *   where a program's threads are together, as nvcc's reconvergence makes them, that is the mask it names.
 * There is no predicate then: a thread that skips the instruction would be named by the others. */
#include "guard/emit.h"

#include <inttypes.h>
#include <stdio.h>

bool rw_joins_warp(const struct ptx_inst *in)
{
	switch (in->op) {
	case PTX_OP_shfl: case PTX_OP_vote: case PTX_OP_match: case PTX_OP_redux: case PTX_OP_elect: return true;
	case PTX_OP_bar: return rw_has(in, PTX_MOD_warp);
	default: return false;
	}
}

struct defs { uint32_t reg, n; };

static void count(void *ctx, uint32_t reg, bool def)
{
	struct defs *d = ctx;

	d->n += def && reg == d->reg;
}

static bool all_ones(const struct ptx_operand *op)
{
	return op->kind == PTX_O_IMM && (uint32_t)op->u.imm == UINT32_MAX;
}

/* -1, or a register that is written with nothing but -1. */
static bool names_all(const struct rw_kernel *k, const struct ptx_operand *mask)
{
	struct defs d = { .n = 0 };
	bool ones = true;

	if (mask->kind != PTX_O_REG)
		return all_ones(mask);
	d.reg = mask->u.reg;
	for (uint32_t i = 0; i < k->ninsts; i++) {
		const struct ptx_inst *in = &k->insts[i];
		uint32_t before = d.n;

		rw_visit_regs(in, count, &d);
		if (d.n != before)
			ones &= in->op == PTX_OP_mov && in->nops == 2 && !in->has_pred && all_ones(&in->ops[1]);
	}
	return d.n && ones;
}

enum warp_masks rw_warp_masks(const struct rw_kernel *k)
{
	enum warp_masks m = WARP_NONE;

	for (uint32_t i = 0; i < k->ninsts && m != WARP_HERE; i++) {
		const struct ptx_inst *in = &k->insts[i];

		if (rw_joins_warp(in))
			m = in->nops && names_all(k, &in->ops[in->nops - 1]) ? WARP_ALL : WARP_HERE;
	}
	return m;
}

struct rname rw_warp_here(struct rw_out *o)
{
	struct rname r;
	uint32_t n = rw_inv(o, INV_GAM, 0);

	rw_line(o, "activemask.b32 %%gam_%" PRIu32 ";", n);
	snprintf(r.s, sizeof(r.s), "%%gam_%" PRIu32, n);
	return r;
}

void rw_warp_mask(struct rw_out *o, const struct ptx_inst *in, char text[24])
{
	const struct ptx_operand *mask = &in->ops[in->nops - 1];
	struct rname here;
	uint32_t n;

	if (o->warp == WARP_ALL) {
		snprintf(text, 24, "-1");
		return;
	}
	if (in->has_pred)
		rw_refuse(o->rw, in->line,
			  "opcode '%s' is not supported under a predicate, in a kernel with masks other "
			  "than -1",
			  ptx_op_name(in->op));
	here = rw_warp_here(o);
	snprintf(text, 24, "%s", here.s);
	if (mask->kind == PTX_O_IMM)
		return;
	if (mask->kind != PTX_O_REG || o->k->regs[mask->u.reg].cls != RW_R)
		rw_refuse(o->rw, in->line, "opcode '%s' has an unexpected mask", ptx_op_name(in->op));
	n = rw_inv(o, INV_GMM, 0);
	rw_line(o, "match.any.sync.b32 %%gmm_%" PRIu32 ", %s, %s;", n, rw_rn(o, mask->u.reg).s, here.s);
	snprintf(text, 24, "%%gmm_%" PRIu32, n);
}
