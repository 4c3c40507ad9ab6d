/* soft.c - barriers of a block that are no `bar.sync 0` become calls of guard/soft/barrier.cu, which is linked to the
 * module for that.  Why, stands there. */
#include "guard/rewrite.h"
#include <string.h>

extern const char guard_soft_ptx[];
extern const size_t guard_soft_ptx_len;

bool rw_is_block_barrier(const struct ptx_inst *in)
{
	return (in->op == PTX_OP_bar || in->op == PTX_OP_barrier) && !rw_has(in, PTX_MOD_warp) &&
		!rw_has(in, PTX_MOD_cluster);
}

/* The one that cannot be misused: all threads, number 0, sync. */
static bool plain(const struct ptx_inst *in)
{
	return rw_has(in, PTX_MOD_sync) && in->nops == 1 && in->ops[0].kind == PTX_O_IMM && in->ops[0].u.imm == 0;
}

bool rw_soft_wanted(const struct rw *rw, const struct ptx_inst *in)
{
	return rw->soft && rw->piece != rw->soft - 1 && rw_is_block_barrier(in) && (rw->soft_all || !plain(in));
}

struct barriers { bool plain, others, cluster; };

static void look(const struct ptx_module *m, struct barriers *b)
{
	for (uint32_t f = 0; f < m->nfuncs; f++)
		for (uint32_t i = 0; i < m->funcs[f]->ninsts; i++) {
			const struct ptx_inst *in = &m->funcs[f]->insts[i];

			if (rw_is_block_barrier(in) && plain(in))
				b->plain = true;
			else if (rw_is_block_barrier(in))
				b->others = true;
			else
				b->cluster |= in->op == PTX_OP_barrier && rw_has(in, PTX_MOD_cluster);
		}
}

/* Threads that wait for their block and others of it that wait for the cluster would wait for each other, in hardware,
 * for ever; so where there is a cluster to wait for, and strangers to care, blocks wait in software. */
void rw_soft_link(struct rw *rw)
{
	struct barriers b = { .plain = false };

	for (uint32_t p = 0; p < rw->npieces; p++)
		look(rw->pieces[p].m, &b);
	rw->soft_all = rw->opt->meet && b.plain && b.cluster;
	if (!b.others && !rw->soft_all)
		return;
	rw->piece = rw->npieces;
	rw->pieces[rw->piece] =
		(struct rw_piece){ ptx_parse(guard_soft_ptx, guard_soft_ptx_len, rw->err), "the guard's barriers" };
	if (!rw->pieces[rw->piece].m)
		longjmp(rw->out, 1);
	rw->soft = ++rw->npieces;
}

static struct rw_func *function(struct rw *rw, const char *name)
{
	struct rw_func *f = rw_func_named(rw, rw->soft - 1, name);

	if (!f || !f->def)
		rw_refuse(rw, 0, "the guard's barriers have no '%s'", name);
	return f;
}

static struct ptx_operand list(struct rw *rw, unsigned n)
{
	struct ptx_operand o = { .kind = PTX_O_LIST, .nlist = (uint8_t)n };

	o.list = rw_alloc(rw, n * sizeof(*o.list) + 1);
	return o;
}

struct ptx_inst rw_soft_call(struct rw *rw, const char *name, uint32_t line, unsigned nargs, bool result,
	struct rw_func **target)
{
	struct ptx_inst in = rw_make(rw, PTX_OP_call, line, NULL, 0, 3);

	*target = function(rw, name);
	in.ops[0] = list(rw, result);
	in.ops[1] = (struct ptx_operand){ .kind = PTX_O_FUNC };
	in.ops[1].u.func = (*target)->def;
	in.ops[2] = list(rw, nargs);
	return in;
}

/* A barrier's number or count of threads: a literal is checked here, a register when it runs. */
static struct ptx_operand number(struct rw *rw, const struct ptx_inst *in, const struct ptx_operand *op, bool count)
{
	if (op->kind == PTX_O_IMM) {
		if (count ? op->u.imm < 32 || op->u.imm > 1024 || op->u.imm % 32 : op->u.imm > 15)
			rw_refuse(rw, in->line, "a barrier's %s is out of range", count ? "thread count" : "number");
	} else if (op->kind != PTX_O_REG) {
		rw_refuse(rw, in->line, "a barrier's operand has an unexpected form");
	}
	return *op;
}

static bool is_red(const struct ptx_inst *in)
{
	return rw_has(in, PTX_MOD_red);
}

/* 1 where the thread counts: for `and`, where its predicate is false. */
static struct ptx_operand vote(struct rw_kernel *k, const struct ptx_inst *in)
{
	static const uint16_t mods[] = { PTX_MOD_u32 };
	const struct ptx_operand *p = &in->ops[in->nops - 1];
	bool when = p->neg == rw_has(in, PTX_MOD_and);
	struct ptx_operand r = rw_reg_op(rw_new_reg(k, RW_R)), plain_p;
	struct ptx_inst *s;

	if (p->kind != PTX_O_REG || k->regs[p->u.reg].cls != RW_P)
		rw_refuse(k->rw, in->line, "a barrier's operand has an unexpected form");
	plain_p = rw_reg_op(p->u.reg);
	s = rw_emit(k, PTX_OP_selp, in->line, 4);
	rw_set_mods(s, mods, 1);
	s->type = s->type0 = PTX_T_U32;
	s->ops[0] = r;
	s->ops[1] = rw_imm_op(when);
	s->ops[2] = rw_imm_op(!when);
	s->ops[3] = plain_p;
	return r;
}

struct ptx_inst rw_soft_barrier(struct rw_kernel *k, const struct ptx_inst *in, struct rw_func **target)
{
	struct rw *rw = k->rw;
	bool red = is_red(in), arrive = rw_has(in, PTX_MOD_arrive);
	unsigned first = red, numbers = in->nops - 2 * red;
	struct ptx_operand id, count = rw_imm_op(0), when = { 0 };
	struct ptx_inst call;

	if (in->nops < 1u + 2 * red || numbers > 2 || (arrive && numbers != 2) || (red && in->ops[0].kind != PTX_O_REG))
		rw_refuse(rw, in->line, "opcode '%s' has an unexpected number of operands", ptx_op_name(in->op));
	id = number(rw, in, &in->ops[first], false);
	if (numbers == 2)
		count = number(rw, in, &in->ops[first + 1], true);
	if (red)
		when = vote(k, in);
	call = rw_soft_call(rw, red ? "ag_soft_red" : arrive ? "ag_soft_arrive" : "ag_soft_sync", in->line, red ? 4 : 3,
		red, target);
	call.ops[2].list[0] = id;
	call.ops[2].list[1] = count;
	call.ops[2].list[2] = rw_imm_op(in->op == PTX_OP_bar || rw_has(in, PTX_MOD_aligned));
	if (red) {
		call.ops[2].list[3] = when;
		call.ops[0].list[0] = rw_has(in, PTX_MOD_popc) ? in->ops[0] : rw_reg_op(rw_new_reg(k, RW_R));
	}
	call.has_pred = in->has_pred;
	call.pred = in->pred;
	call.pred_neg = in->pred_neg;
	return call;
}

/* What follows the call: and, or have a predicate as their result. */
void rw_soft_result(struct rw_kernel *k, const struct ptx_inst *in, const struct ptx_inst *call)
{
	uint16_t mods[] = { rw_has(in, PTX_MOD_and) ? PTX_MOD_eq : PTX_MOD_ne, PTX_MOD_u32 };
	struct ptx_inst *s;

	if (!is_red(in) || rw_has(in, PTX_MOD_popc))
		return;
	s = rw_emit(k, PTX_OP_setp, in->line, 3);
	rw_set_mods(s, mods, 2);
	s->type = s->type0 = PTX_T_U32;
	s->has_pred = in->has_pred;
	s->pred = in->pred;
	s->pred_neg = in->pred_neg;
	s->ops[0] = in->ops[0];
	s->ops[1] = call->ops[0].list[0];
	s->ops[2] = rw_imm_op(0);
}
