/* report.c - remembering the first violation of a thread: line and address in two plain registers.
 *
 * Each fence contributes one or two comparisons to a predicate.  At the end of the block (or after MAX_PENDING
 * fences) one forward branch skips the code that finds out which fence it was, so the common case pays a comparison a
 * fence and a branch a block.  The exit path hands the record to ag_rt_report. */
#include "guard/emit.h"
#include <stdio.h>
#include <string.h>

void rw_report_open(struct rw_out *o)
{
	struct rw_kernel *k = o->k;

	o->record = o->rw->opt->report && o->rw->opt->fence;
	for (uint32_t i = 0; i < k->ninsts && !o->record; i++)
		o->record = k->insts[i].op == RW_OP_DIE;
	if (!o->record)
		return;
	o->rec_line = rw_new_reg(k, RW_R);
	o->rec_addr = rw_new_reg(k, RW_RD);
	o->rec_any = rw_new_reg(k, RW_P);
}


/* Splits "u32 a, b" into the type and the operands. */
static const char *bad_type(const char *bad, char type[4])
{
	memcpy(type, bad, 3);
	type[3] = 0;
	return bad + 4;
}

static void note_plain(struct rw_out *o, const struct pending *p, const char *any)
{
	for (unsigned i = 0; i < p->nbad; i++) {
		char type[4];
		const char *ops = bad_type(p->bad[i], type);

		if (o->any_live)
			rw_line(o, "setp.ne.or.%s %s, %s, %s;", type, any, ops, any);
		else
			rw_line(o, "setp.ne.%s %s, %s;", type, any, ops);
		o->any_live = true;
	}
}

/* The predicate may be overwritten before the flush, so the outcome is kept, not the way to it. */
static void note_predicated(struct rw_out *o, struct pending *p, const char *any)
{
	p->cond = rw_temp(o, RW_P);
	for (unsigned i = 0; i < p->nbad; i++) {
		char type[4];
		const char *ops = bad_type(p->bad[i], type);
		struct rname t = i ? rw_temp(o, RW_P) : p->cond;

		rw_line(o, "setp.ne.and.%s %s, %s, %s;", type, t.s, ops, p->pred);
		if (i)
			rw_line(o, "or.pred %s, %s, %s;", p->cond.s, p->cond.s, t.s);
	}
	if (o->any_live)
		rw_line(o, "or.pred %s, %s, %s;", any, any, p->cond.s);
	else
		rw_line(o, "mov.pred %s, %s;", any, p->cond.s);
	o->any_live = true;
}

/* Into p->cond: did the fence change the address? */
static void judge(struct rw_out *o, struct pending *p)
{
	p->cond = rw_temp(o, RW_P);
	for (unsigned b = 0; b < p->nbad; b++) {
		char type[4];
		const char *ops = bad_type(p->bad[b], type);

		if (b)
			rw_line(o, "setp.ne.or.%s %s, %s, %s;", type, p->cond.s, ops, p->cond.s);
		else
			rw_line(o, "setp.ne.%s %s, %s;", type, p->cond.s, ops);
	}
}

/* Line and address become this fence's where p->cond holds. */
static void keep(struct rw_out *o, const struct pending *p)
{
	struct rname line = rw_rn(o, o->rec_line), addr = rw_rn(o, o->rec_addr), wide = rw_temp(o, RW_RD);

	if (*p->base) {
		struct rname sum = rw_temp(o, RW_R);

		rw_line(o, "add.u32 %s, %s, %s;", sum.s, p->addr, p->base);
		rw_line(o, "cvt.u64.u32 %s, %s;", wide.s, sum.s);
	} else {
		rw_line(o, "mov.b64 %s, %s;", wide.s, p->addr);
	}
	rw_line(o, "selp.b32 %s, %u, %s, %s;", line.s, RW_PACK(p->line, p->code), line.s, p->cond.s);
	rw_line(o, "selp.b64 %s, %s, %s, %s;", addr.s, wide.s, addr.s, p->cond.s);
}

static void note_at_once(struct rw_out *o, struct pending p)
{
	judge(o, &p);
	if (*p.pred) {
		struct rname t = rw_temp(o, RW_P);

		rw_line(o, "setp.eq.and.u32 %s, %s, 0, %s;", t.s, rw_rn(o, o->rec_line).s, p.pred);
		rw_line(o, "and.pred %s, %s, %s;", p.cond.s, p.cond.s, t.s);
	} else {
		rw_line(o, "setp.eq.and.u32 %s, %s, 0, %s;", p.cond.s, rw_rn(o, o->rec_line).s, p.cond.s);
	}
	keep(o, &p);
}

void rw_report_note(struct rw_out *o, const struct pending *p)
{
	struct pending *q = &o->pending[o->npending];
	struct rname any = rw_rn(o, o->rec_any);

	if (o->at_once) {
		note_at_once(o, *p);
		return;
	}
	o->npending++;
	*q = *p;
	if (*q->pred)
		note_predicated(o, q, any.s);
	else
		note_plain(o, q, any.s);
}

/* In reverse order, so that the first fence has the last word. */
static void find_out(struct rw_out *o)
{
	for (unsigned i = o->npending; i-- > 0;) {
		if (!*o->pending[i].pred)
			judge(o, &o->pending[i]);
		keep(o, &o->pending[i]);
	}
}

void rw_report_flush(struct rw_out *o)
{
	uint32_t skip;
	struct rname t;

	if (!o->npending)
		return;
	skip = rw_fresh_label(o);
	t = rw_temp(o, RW_P);
	rw_line(o, "@!%s bra $L%u;", rw_rn(o, o->rec_any).s, skip);
	rw_line(o, "setp.ne.u32 %s, %s, 0;", t.s, rw_rn(o, o->rec_line).s);
	rw_line(o, "@%s bra $L%u;", t.s, skip);
	find_out(o);
	rw_buf_fmt(o->rw, &o->rw->body, "$L%u:\n", skip);
	o->npending = 0;
	o->any_live = false;
	rw_fence_forget(o);
}

/* trap, brkpt, a failed assert: remember it, unless something came before, and leave. */
void rw_report_die(struct rw_out *o, const struct ptx_inst *in)
{
	struct rname t = rw_temp(o, RW_P), line = rw_rn(o, o->rec_line);
	const char *not = in->pred_neg ? "!" : "";

	if (in->has_pred)
		rw_line(o, "setp.eq.and.u32 %s, %s, 0, %s%s;", t.s, line.s, not, rw_rn(o, in->pred).s);
	else
		rw_line(o, "setp.eq.u32 %s, %s, 0;", t.s, line.s);
	rw_line(o, "selp.b32 %s, %u, %s, %s;", line.s, RW_PACK(in->line, in->type), line.s, t.s);
	if (in->has_pred)
		rw_line(o, "@%s%s bra $Lkill;", not, rw_rn(o, in->pred).s);
	else
		rw_line(o, "bra $Lkill;");
}

void rw_report_exit(struct rw_out *o)
{
	struct rname t, line;
	uint32_t skip;

	if (!o->record)
		return;
	t = rw_temp(o, RW_P);
	line = rw_rn(o, o->rec_line);
	skip = rw_fresh_label(o);
	rw_use_callee(o->rw, rw_runtime("ag_rt_report"));
	rw_line(o, "setp.eq.u32 %s, %s, 0;", t.s, line.s);
	rw_line(o, "@%s bra $L%u;", t.s, skip);
	rw_line(o, "{");
	rw_line(o, ".param .b32 c0;");
	rw_line(o, ".param .b32 c1;");
	rw_line(o, ".param .b64 c2;");
	rw_line(o, "st.param.b32 [c0], %u;", o->k->index);
	rw_line(o, "st.param.b32 [c1], %s;", line.s);
	rw_line(o, "st.param.b64 [c2], %s;", rw_rn(o, o->rec_addr).s);
	rw_line(o, "call ag_rt_report, (c0, c1, c2);");
	rw_line(o, "}");
	rw_buf_fmt(o->rw, &o->rw->body, "$L%u:\n", skip);
}
