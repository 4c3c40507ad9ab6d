/* texture.c - texture handles: what the client calls a handle is an index into the worker's table, clamped to it. */
#include "guard/emit.h"
#include <stdio.h>

/* The fenced handle of a texture operand; its coordinates are only numbers. */
void rw_texture(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *op, char handle[24])
{
	const struct ptx_operand *h = op->kind == PTX_O_TEX ? &op->list[0] : op;
	struct rname low;
	uint32_t n, a, t;

	if ((op->kind == PTX_O_TEX && op->nlist != 2) || (h->kind == PTX_O_ADDR && (h->base != PTX_O_REG || h->off))
	    || (h->kind != PTX_O_REG && h->kind != PTX_O_ADDR) || o->k->regs[h->u.reg].cls != RW_RD)
		rw_refuse(o->rw, in->line, "opcode '%s' is not supported: its texture is not a handle in a register",
			ptx_op_name(in->op));
	o->entry |= EN_GT;
	low = rw_temp(o, RW_R);
	rw_line(o, "cvt.u32.u64 %s, %s;", low.s, rw_rn(o, h->u.reg).s);
	n = rw_inv(o, INV_GTI, 0);
	a = rw_inv(o, INV_GTA, 0);
	t = rw_inv(o, INV_GT, 0);
	rw_line(o, "min.u32 %%gti_%u, %s, %%gtl;", n, low.s);
	rw_line(o, "mad.wide.u32 %%gta_%u, %%gti_%u, 8, %%gtb;", a, n);
	rw_line(o, "ld.global.u64 %%gt_%u, [%%gta_%u];", t, a);
	snprintf(handle, 24, "%%gt_%u", t);
}
