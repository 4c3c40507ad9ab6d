/* meet.c - before threads wait in hardware for others of their warp, they make sure that these come.  The forms are
 * those of guard.h, MEET.
 *
 * A thread that waits in hardware sees no kill flag.  So no thread of these kernels does while another one of its warp
 * may be elsewhere: when those that are here are all that live, they go on at once; else they gather in ag_rt_meet,
 * which waits in a loop, and the kill flag ends that.
 *
 * PTX lets threads meet from different instructions of one kind, and compilers unroll loops that rely on it: so
 * ag_rt_meet gathers by kind, and what it has gathered may stand in different places: good for one wait.  A line of
 * many waits has two copies: one for those who are all here, good for all of it, and one with a check for each wait.
 * Matrix instructions are gathered by place. */
#include "guard/emit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MANY = 3, MAX_LINE = 256 };      /* waits that are worth a second copy; instructions of which there may be one */

/* Does the instruction wait for threads of its warp?  ptxas makes matrix instructions wait for all of them, too. */
bool rw_waits(const struct ptx_inst *in)
{
	if (in->op >= PTX_OP_COUNT)
		return false;
	switch (in->op) {
	case PTX_OP_mma: case PTX_OP_wmma: case PTX_OP_ldmatrix: case PTX_OP_stmatrix: case PTX_OP_movmatrix:
		return true;
	default:
		return rw_joins_warp(in) || rw_op(in->op)->cls == RW_C_BAR;
	}
}

static struct ptx_inst *jump(struct rw_kernel *k, unsigned op, uint32_t label, uint32_t line)
{
	struct ptx_inst *in = rw_emit(k, op, line, 1);

	in->ops[0].kind = PTX_O_LABEL;
	in->ops[0].u.label = label;
	return in;
}

/* Matrix instructions must be the same one in all threads; the others meet by opcode and suffixes. */
static bool meets_by_kind(const struct ptx_inst *in)
{
	return rw_waits(in) && (rw_joins_warp(in) || rw_op(in->op)->cls == RW_C_BAR);
}

static void copy(struct rw_kernel *k, const struct ptx_inst *in)
{
	RW_ROOM(&k->rw->arena, k->insts, k->ninsts, k->cap_insts);
	k->insts[k->ninsts++] = *in;
}

static struct ptx_operand *own_operands(struct rw *rw, const struct ptx_operand *ops, unsigned n)
{
	struct ptx_operand *to = rw_alloc(rw, n * sizeof(*to) + 1);

	memcpy(to, ops, n * sizeof(*to));
	for (unsigned i = 0; i < n; i++)
		if (to[i].nlist)
			to[i].list = own_operands(rw, to[i].list, to[i].nlist);
	return to;
}

/* A second one of an instruction: later passes change operands in place. */
static void copy_again(struct rw_kernel *k, const struct ptx_inst *in)
{
	copy(k, in);
	k->insts[k->ninsts - 1].ops = own_operands(k->rw, in->ops, in->nops);
}

/* Who skips an instruction is elsewhere: it gets a branch instead of its predicate. */
static void branch_around(struct rw_kernel *k)
{
	struct ptx_inst *from = k->insts, *to;
	uint32_t n = k->ninsts;

	k->insts = NULL;
	k->ninsts = k->cap_insts = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t skip = k->nlabels;

		if (!rw_waits(&from[i]) || !from[i].has_pred) {
			copy(k, &from[i]);
			continue;
		}
		k->nlabels++;
		to = jump(k, PTX_OP_bra, skip, from[i].line);
		to->has_pred = true;
		to->pred = from[i].pred;
		to->pred_neg = !from[i].pred_neg;
		copy(k, &from[i]);
		to = &k->insts[k->ninsts - 1];
		to->has_pred = to->pred_neg = false;
		to->pred = 0;
		jump(k, RW_OP_LABEL, skip, from[i].line);
	}
}

static bool ends_line(const struct ptx_inst *in)
{
	return in->op == RW_OP_LABEL || in->op == RW_OP_CALL || in->op == RW_OP_DIE || in->op == PTX_OP_bra
		|| in->op == PTX_OP_brx;
}

/* The last of many waits that stand in one line from `i` on, or i. */
static uint32_t last_of_many(const struct ptx_inst *in, uint32_t i, uint32_t n)
{
	uint32_t many = 0, last = i;

	for (uint32_t j = i; j < n && !ends_line(&in[j]) && j - i < MAX_LINE; j++)
		if (meets_by_kind(&in[j]) && !rw_has(&in[j], PTX_MOD_cluster)) {
			many++;
			last = j;
		}
	return many >= MANY ? last : i;
}

/* Many waits in one line: one look, and two copies of the line.  The first is for threads that are all here. */
static void two_copies(struct rw_kernel *k)
{
	struct ptx_inst *from = k->insts, *b;
	uint32_t n = k->ninsts, never = rw_new_reg(k, RW_P);
	static const uint16_t pred[] = { PTX_MOD_pred };

	k->insts = NULL;
	k->ninsts = k->cap_insts = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t last = meets_by_kind(&from[i]) ? last_of_many(from, i, n) : i, slow = k->nlabels,
			 done = slow + 1;

		if (last == i) {
			copy(k, &from[i]);
			continue;
		}
		k->nlabels += 2;
		b = rw_emit(k, PTX_OP_mov, from[i].line, 2);    /* so that other passes see a branch as any */
		rw_set_mods(b, pred, 1);
		b->type = b->type0 = PTX_T_PRED;
		b->ops[0] = rw_reg_op(never);
		b->ops[1] = rw_imm_op(0);
		b = jump(k, PTX_OP_bra, slow, from[i].line);
		b->has_pred = true;
		b->pred = never;
		b->type = RW_MEET_LOOK;
		for (uint32_t j = i; j <= last; j++)
			copy(k, &from[j]);
		jump(k, PTX_OP_bra, done, from[i].line);
		jump(k, RW_OP_LABEL, slow, from[i].line);
		for (uint32_t j = i; j <= last; j++)
			copy_again(k, &from[j]);
		jump(k, RW_OP_LABEL, done, from[i].line);
		i = last;
	}
}

static uint32_t threads(const uint32_t n[3])
{
	uint64_t all = (uint64_t)n[0] * (n[1] ? n[1] : 1);

	all = all > 1024 ? 1024 : all * (n[2] ? n[2] : 1);
	return all && all < 1024 ? (uint32_t)all : 1024;
}

void rw_meet_find(struct rw_kernel *k)
{
	uint32_t most = threads(k->src->maxntid), req = threads(k->src->reqntid);
	bool predicated = false;

	for (uint32_t i = 0; i < k->ninsts && k->rw->opt->meet && k->rw->opt->fence && k->rw->opt->poll; i++) {
		k->meet |= rw_waits(&k->insts[i]);
		predicated |= rw_waits(&k->insts[i]) && k->insts[i].has_pred;
	}
	if (k->meet || k->peers)
		k->head = RW_PEER_BYTES;
	if (!k->meet)
		return;
	if (predicated)
		branch_around(k);
	if (rw_warp_masks(k) != WARP_HERE)
		two_copies(k);
	k->head += ((most < req ? most : req) + 31) / 32 * RW_MEET_BYTES;
	k->head = (k->head + 31) & ~31u;
}

/* Has there been a check, or nothing but the start of the kernel, and only straight line since? */
static bool straight(struct rw_out *o)
{
	const char *p = o->rw->body.p + o->met, *end = o->rw->body.p + o->rw->body.len, *nl;

	for (; o->met_open && p < end; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (*p == '$' || !memcmp(p, "\t{\n", 3) || memmem(p, (size_t)(nl - p), "bra $", 5) ||
		    memmem(p, (size_t)(nl - p), "brx.idx", 7))
			o->met_open = false;
	}
	o->met = o->rw->body.len;
	return o->met_open;
}

static void look(struct rw_out *o, const char *how)
{
	rw_line(o, "activemask.b32 %%gwa;");
	rw_line(o, "setp.%s.u32 %%gwq, %%gwa, %%gwl;", how);
	o->meets = true;
}

static void now_straight(struct rw_out *o, bool open)
{
	o->met = o->rw->body.len;
	o->met_open = open;
}

static void gather(struct rw_out *o, uint32_t site)
{
	uint32_t n = ++o->checks;

	rw_use_callee(o->rw, rw_runtime("ag_rt_meet"));
	look(o, "eq");
	rw_line(o, "@%%gwq bra $Lm%" PRIu32 ";", n);
	rw_line(o, "{");
	rw_line(o, ".param .b32 c0;");
	rw_line(o, ".param .b32 c1;");
	rw_line(o, ".param .b32 cr;");
	rw_line(o, "st.param.b32 [c0], %%gwh;");
	rw_line(o, "st.param.b32 [c1], %" PRIu32 ";", site);
	rw_line(o, "call (cr), ag_rt_meet, (c0, c1);");
	rw_line(o, "ld.param.b32 %%gwl, [cr];");
	rw_line(o, "}");
	rw_line(o, "setp.eq.u32 %%gwq, %%gwl, 0;");
	rw_line(o, "@%%gwq bra $Lkill;");
	rw_buf_fmt(o->rw, &o->rw->body, "$Lm%" PRIu32 ":\n", n);
}

/* The kind's number: in the order in which they come. */
static uint32_t kind_of(struct rw_out *o, const char *text)
{
	uint32_t i;

	for (i = 0; i < o->nkinds; i++)
		if (!strcmp(o->kinds[i], text))
			return i + 1;
	RW_ROOM(&o->rw->arena, o->kinds, o->nkinds, o->cap_kinds);
	o->kinds[o->nkinds++] = strcpy(rw_alloc(o->rw, strlen(text) + 1), text);
	return i + 1;
}

/* Directly before the line of an instruction that waits; text: its opcode, with suffixes. */
void rw_meet_check(struct rw_out *o, const struct ptx_inst *in, const char *text)
{
	if (!o->k->meet || (o->warp == WARP_HERE && rw_joins_warp(in)) || straight(o))
		return;
	if (meets_by_kind(in))
		gather(o, kind_of(o, text));
	else
		gather(o, MEET_EXACT + o->checks + 1);
	now_straight(o, !meets_by_kind(in));
}

/* In place of a branch: to `label` when some that live are not here. */
void rw_meet_look(struct rw_out *o, uint32_t label)
{
	look(o, "ne");
	rw_line(o, "@%%gwq bra $L%" PRIu32 ";", rw_label_number(o, label));
	now_straight(o, true);
}

void rw_meet_registers(struct rw_out *o, struct rw_buf *b)
{
	for (const char *m = "lahtu"; *m && o->meets; m++)
		rw_buf_fmt(o->rw, b, "\t.reg .b32 %%gw%c;\n", *m);
	if (o->meets)
		rw_buf_fmt(o->rw, b, "\t.reg .pred %%gwq;\n");
}

void rw_meet_entry(struct rw_out *o, struct rw_buf *b)
{
	if (!o->meets)
		return;
	rw_buf_fmt(o->rw, b, "\tactivemask.b32 %%gwl;\n");
	rw_buf_fmt(o->rw, b, "\tmov.u32 %%gwa, %%tid.z;\n\tmov.u32 %%gwt, %%ntid.y;\n\tmov.u32 %%gwu, %%tid.y;\n"
		"\tmad.lo.u32 %%gwa, %%gwa, %%gwt, %%gwu;\n\tmov.u32 %%gwt, %%ntid.x;\n"
		"\tmov.u32 %%gwu, %%tid.x;\n\tmad.lo.u32 %%gwa, %%gwa, %%gwt, %%gwu;\n");
	rw_buf_fmt(o->rw, b, "\tand.b32 %%gwa, %%gwa, -32;\n\tshr.u32 %%gwa, %%gwa, 1;\n\tmov.u32 %%gwh, %s;\n"
		"\tadd.u32 %%gwt, %%gwh, %%gwa;\n\tmov.u32 %%gwu, 0;\n"
		"\tst.shared.v4.u32 [%%gwt+32], {%%gwu, %%gwu, %%gwu, %%gwl};\n", o->k->smem.var.name);
}

/* On the one way out, behind all that waits: nobody need wait for this thread any more. */
void rw_meet_exit(struct rw_out *o)
{
	if (!o->meets)
		return;
	rw_use_callee(o->rw, rw_runtime("ag_rt_leave"));
	rw_line(o, "activemask.b32 %%gwa;");
	rw_line(o, "setp.eq.u32 %%gwq, %%gwa, %%gwl;");
	rw_line(o, "@%%gwq bra $Lleft;");
	rw_line(o, "{");
	rw_line(o, ".param .b32 c0;");
	rw_line(o, "st.param.b32 [c0], %%gwh;");
	rw_line(o, "call ag_rt_leave, (c0);");
	rw_line(o, "}");
	rw_buf_fmt(o->rw, &o->rw->body, "$Lleft:\n");
}
