/* matrix.c - wmma.load and wmma.store: a whole footprint is made to fit, stride included.
 *
 * R lines of C elements, `stride` elements apart: the address is fenced as any other, then the stride is clamped so
 * that the last line still begins inside the window (its end lies in the slack) or, in shared memory, ends inside the
 * block's memory. Legal programs are not changed: their addresses and line distances are multiples of 16 bytes. */
#include "guard/emit.h"
#include <stdio.h>
#include <string.h>

struct shape { uint16_t mod; uint8_t m, n, k; };
struct fragment { uint32_t lines, width, bytes; };

static struct fragment fragment_of(struct rw_out *o, const struct ptx_inst *in)
{
	static const struct shape shapes[] = {
		{ PTX_MOD_m16n16k16, 16, 16, 16 }, { PTX_MOD_m8n32k16, 8, 32, 16 }, { PTX_MOD_m32n8k16, 32, 8, 16 },
		{ PTX_MOD_m16n16k8, 16, 16, 8 }, { PTX_MOD_m8n8k4, 8, 8, 4 },
	};
	struct fragment f = { 0, 0, ptx_type_bytes(in->type) };

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		const struct shape *s = &shapes[i];
		bool a = rw_has(in, PTX_MOD_a), b = rw_has(in, PTX_MOD_b);

		if (!rw_has(in, s->mod))
			continue;
		f.lines = b ? s->k : s->m;
		f.width = a ? s->k : s->n;
	}
	if (rw_has(in, PTX_MOD_col)) {
		uint32_t t = f.lines;

		f.lines = f.width;
		f.width = t;
	}
	if (in->type == PTX_T_S4 || in->type == PTX_T_U4 || in->type == PTX_T_B1)
		f.bytes = 0;
	if (!f.lines || !f.bytes || f.bytes > 8)
		rw_refuse(o->rw, in->line,
			"opcode 'wmma' is not supported: elements smaller than a byte, or an unknown shape");
	return f;
}

/* Shared or global, and whether the address is generic. */
static bool is_shared(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *m)
{
	unsigned bits;

	if (in->space == PTX_GLOBAL || in->space == PTX_SHARED)
		return in->space == PTX_SHARED;
	if (in->space != PTX_GENERIC || m->base != PTX_O_REG)
		rw_refuse(o->rw, in->line, "opcode 'wmma' is not supported in this state space");
	bits = o->k->regs[m->u.reg].special ? RW_W_GLOBAL : o->k->known[m->u.reg].space;
	if (bits == RW_W_SHARED)
		return true;
	if ((bits & RW_W_SHARED) && (o->k->smem.used || o->k->dyn.used))
		rw_refuse(o->rw, in->line, "opcode 'wmma' is not supported: the address may be global or shared");
	return false;
}

static struct rname address64(struct rw_out *o, const struct ptx_operand *m)
{
	struct rname b = rw_rn(o, m->u.reg), t;

	if (!m->off)
		return b;
	t = rw_temp(o, RW_RD);
	rw_line(o, "add.s64 %s, %s, %lld;", t.s, b.s, (long long)m->off);
	return t;
}

static struct rname address32(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *m)
{
	struct rname b = { "" }, t;

	if (m->base == PTX_O_VAR) {
		b = rw_temp(o, RW_R);
		rw_line(o, "mov.u32 %s, %s;", b.s, m->u.var->name);
	} else if (o->k->regs[m->u.reg].cls == RW_RD) {
		struct rname wide = rw_rn(o, m->u.reg);

		if (in->space == PTX_GENERIC) {
			t = rw_temp(o, RW_RD);
			rw_line(o, "cvta.to.shared.u64 %s, %s;", t.s, wide.s);
			wide = t;
		}
		b = rw_temp(o, RW_R);
		rw_line(o, "cvt.u32.u64 %s, %s;", b.s, wide.s);
	} else {
		b = rw_rn(o, m->u.reg);
	}
	if (!m->off)
		return b;
	t = rw_temp(o, RW_R);
	rw_line(o, "add.s32 %s, %s, %d;", t.s, b.s, (int32_t)m->off);
	return t;
}

static void fence_global(struct rw_out *o, uint32_t n, struct rname src, struct pending *p)
{
	struct rname lo = rw_temp(o, RW_R), hi = rw_temp(o, RW_R);
	bool wide = o->rw->opt->wide;

	o->entry |= EN_GW | (wide ? EN_GM | EN_GWE : 0);
	rw_line(o, "mov.b64 {%s, %s}, %s;", lo.s, hi.s, src.s);
	rw_line(o, "and.b32 %%gyl_%u, %s, -16;", n, lo.s);
	if (wide) {
		rw_line(o, "lop3.b32 %%gyh_%u, %s, %%gm, %%gw, 234;", n, hi.s);
		rw_line(o, "mov.b64 %%gya_%u, {%%gyl_%u, %%gyh_%u};", n, n, n);
		rw_line(o, "setp.eq.u32 %%gye_%u, %%gyh_%u, %%gwe;", n, n);
		rw_line(o, "selp.b32 %%gyo_%u, %%gyl_%u, 0, %%gye_%u;", n, n, n);
		rw_line(o, "not.b32 %%gyn_%u, %%gyo_%u;", n, n);
		snprintf(p->bad[0], sizeof(p->bad[0]), "u32 %s, %%gyh_%u", hi.s, n);
	} else {
		rw_line(o, "mov.b64 %%gya_%u, {%%gyl_%u, %%gw};", n, n);
		rw_line(o, "not.b32 %%gyn_%u, %%gyl_%u;", n, n);
		snprintf(p->bad[0], sizeof(p->bad[0]), "u32 %s, %%gw", hi.s);
	}
	snprintf(p->bad[1], sizeof(p->bad[1]), "u32 %s, %%gyl_%u", lo.s, n);
	snprintf(p->addr, sizeof(p->addr), "{%s, %s}", lo.s, hi.s);
	p->nbad = 2;
}

static void fence_shared(struct rw_out *o, uint32_t n, struct rname src, uint32_t foot, struct pending *p)
{
	char limit[24];

	o->entry |= EN_GSB;
	if (o->k->dyn.used) {
		o->entry |= EN_GSN;
		rw_note_foot(o, foot);
		snprintf(limit, sizeof(limit), "%%gsl%u", foot);
	} else if (rw_smem_room(o->k) >= foot) {
		snprintf(limit, sizeof(limit), "%llu", (unsigned long long)(rw_smem_room(o->k) - foot));
	} else {
		rw_refuse(o->rw, p->line, "a matrix line is larger than the kernel's shared memory");
	}
	rw_line(o, "sub.u32 %%gyu_%u, %s, %%gsb;", n, src.s);
	rw_line(o, "min.u32 %%gyv_%u, %%gyu_%u, %s;", n, n, limit);
	rw_line(o, "and.b32 %%gyw_%u, %%gyv_%u, -16;", n, n);
	rw_line(o, "add.u32 %%gyb_%u, %%gyw_%u, %%gsb;", n, n);
	rw_line(o, "sub.u32 %%gyn_%u, %s, %%gyw_%u;", n, limit, n);
	snprintf(p->bad[0], sizeof(p->bad[0]), "u32 %%gyu_%u, %%gyw_%u", n, n);
	snprintf(p->addr, sizeof(p->addr), "%%gyu_%u", n);
	snprintf(p->base, sizeof(p->base), "%%gsb");
	p->nbad = 1;
}

/* The stride in elements as a 32-bit register; without one the lines touch. */
static struct rname stride_of(struct rw_out *o, const struct ptx_inst *in, const struct fragment *f)
{
	unsigned at = 2;
	struct rname t;

	if (in->nops > at && in->ops[at].kind == PTX_O_REG && o->k->regs[in->ops[at].u.reg].cls == RW_R) {
		/* a copy: report.c looks at it when the register may hold something else */
		t = rw_temp(o, RW_R);
		rw_line(o, "mov.b32 %s, %s;", t.s, rw_rn(o, in->ops[at].u.reg).s);
		return t;
	}
	if (in->nops > at && in->ops[at].kind != PTX_O_IMM)
		rw_refuse(o->rw, in->line, "opcode 'wmma' has an unexpected stride");
	t = rw_temp(o, RW_R);
	rw_line(o, "mov.u32 %s, %u;", t.s, in->nops > at ? (uint32_t)in->ops[at].u.imm : f->width);
	return t;
}

void rw_matrix(struct rw_out *o, const struct ptx_inst *in, char addr[32], char stride[32], bool *shared)
{
	const struct ptx_operand *m = &in->ops[rw_has(in, PTX_MOD_store) ? 0 : 1];
	struct fragment f = fragment_of(o, in);
	struct pending p = { .line = in->line, .code = 4 };
	uint64_t step = (uint64_t)(f.lines - 1) * f.bytes;
	uint32_t n;
	struct rname s;

	if (in->nops < 2 || m->kind != PTX_O_ADDR || (m->base != PTX_O_REG && m->base != PTX_O_VAR))
		rw_refuse(o->rw, in->line, "opcode 'wmma' has unexpected operands");
	if (o->rw->opt->report && o->npending == MAX_PENDING)
		rw_report_flush(o);
	*shared = is_shared(o, in, m);
	n = rw_inv(o, INV_GY, 0);
	s = stride_of(o, in, &f);
	if (*shared)
		fence_shared(o, n, address32(o, in, m), f.width * f.bytes, &p);
	else
		fence_global(o, n, address64(o, m), &p);
	rw_line(o, "mul.hi.u32 %%gyq_%u, %%gyn_%u, %u;", n, n, (uint32_t)(((uint64_t)1 << 32) / step));
	rw_line(o, "min.u32 %%gym_%u, %s, %%gyq_%u;", n, s.s, n);
	rw_line(o, "and.b32 %%gys_%u, %%gym_%u, -%u;", n, n, 16 / f.bytes);
	snprintf(addr, 32, "[%%gy%c_%u]", *shared ? 'b' : 'a', n);
	snprintf(stride, 32, "%%gys_%u", n);
	if (!o->rw->opt->report)
		return;
	snprintf(p.bad[p.nbad++], sizeof(p.bad[0]), "u32 %s, %%gys_%u", s.s, n);
	if (in->has_pred)
		snprintf(p.pred, sizeof(p.pred), "%s%s", in->pred_neg ? "!" : "", rw_rn(o, in->pred).s);
	rw_report_note(o, &p);
}
