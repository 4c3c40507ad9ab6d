/* texture.c - texture and surface handles: what the client calls a handle is an index into one of the worker's two
 * tables, clamped to it. */
#include "guard/emit.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The low word of the handle of a texture or surface operand. */
static struct rname index_of(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *op)
{
	const struct ptx_operand *h = op->kind == PTX_O_TEX ? &op->list[0] : op;
	struct rname low;

	if ((op->kind == PTX_O_TEX && op->nlist != 2) || (h->kind == PTX_O_ADDR && (h->base != PTX_O_REG || h->off))
	    || (h->kind != PTX_O_REG && h->kind != PTX_O_ADDR) || o->k->regs[h->u.reg].cls != RW_RD)
		rw_refuse(o->rw, in->line, "opcode '%s' is not supported: its texture is not a handle in a register",
			ptx_op_name(in->op));
	low = rw_temp(o, RW_R);
	rw_line(o, "cvt.u32.u64 %s, %s;", low.s, rw_rn(o, h->u.reg).s);
	return low;
}

/* The fenced handle of a texture operand; its coordinates are only numbers. */
void rw_texture(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *op, char handle[24])
{
	struct rname low = index_of(o, in, op);
	uint32_t n, a, t;

	o->entry |= EN_GT;
	n = rw_inv(o, INV_GTI, 0);
	a = rw_inv(o, INV_GTA, 0);
	t = rw_inv(o, INV_GT, 0);
	rw_line(o, "min.u32 %%gti_%u, %s, %%gtl;", n, low.s);
	rw_line(o, "mad.wide.u32 %%gta_%u, %%gti_%u, 8, %%gtb;", a, n);
	rw_line(o, "ld.global.u64 %%gt_%u, [%%gta_%u];", t, a);
	snprintf(handle, 24, "%%gt_%u", t);
}

/* --- surfaces --------------------------------------------------------------------------------------- */

static const struct geometry { uint16_t mod; uint8_t family, coordinates, x; const char *name; } geometries[] = {
	[GUARD_1D] = { PTX_MOD_1d, INV_GUX, 1, 0, "gux" },    [GUARD_2D] = { PTX_MOD_2d, INV_GUY, 2, 0, "guy" },
	[GUARD_3D] = { PTX_MOD_3d, INV_GUZ, 4, 0, "guz" },    [GUARD_A1D] = { PTX_MOD_a1d, INV_GUXA, 2, 1, "guxa" },
	[GUARD_A2D] = { PTX_MOD_a2d, INV_GUYA, 4, 1, "guya" },
};

static unsigned geometry_of(struct rw_out *o, const struct ptx_inst *in)
{
	unsigned n = 0;

	while (n < GUARD_GEOMETRIES && !rw_has(in, geometries[n].mod))
		n++;
	if (n == GUARD_GEOMETRIES || in->nmods < 2 || in->mods[0] != PTX_MOD_b || in->mods[1] != geometries[n].mod)
		rw_refuse(o->rw, in->line, "opcode '%s' is not supported without .b and a geometry",
			ptx_op_name(in->op));
	return n;
}

/* The index is clamped, its entry addressed; returns the number of that address. */
static uint32_t entry_of(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *op)
{
	struct rname low = index_of(o, in, op);
	uint32_t i = rw_inv(o, INV_GUI, 0), a = rw_inv(o, INV_GUA, 0);

	o->entry |= EN_GU;
	rw_line(o, "min.u32 %%gui_%u, %s, %%gul;", i, low.s);
	rw_line(o, "mad.wide.u32 %%gua_%u, %%gui_%u, %u, %%gub;", a, i, (unsigned)sizeof(struct guard_surface));
	return a;
}

/* One coordinate as a register; in bytes, it is aligned to the access. */
static struct rname coordinate(struct rw_out *o, const struct ptx_inst *in, const struct ptx_operand *c, unsigned log2w)
{
	struct rname r;
	char value[32];

	if (c->kind == PTX_O_REG && o->k->regs[c->u.reg].cls == RW_R && !c->neg && !c->sel)
		snprintf(value, sizeof(value), "%s", rw_rn(o, c->u.reg).s);
	else if (c->kind == PTX_O_IMM)
		snprintf(value, sizeof(value), "%" PRId32, (int32_t)c->u.imm);
	else
		rw_refuse(o->rw, in->line, "opcode '%s' is not supported: unexpected coordinates", ptx_op_name(in->op));
	if (log2w) {
		uint32_t n = rw_inv(o, INV_GUO, log2w);

		rw_line(o, "and.b32 %%guo%u_%u, %s, -%u;", 1u << log2w, n, value, 1u << log2w);
		snprintf(r.s, sizeof(r.s), "%%guo%u_%u", 1u << log2w, n);
	} else if (c->kind == PTX_O_IMM) {
		r = rw_temp(o, RW_R);
		rw_line(o, "mov.b32 %s, %s;", r.s, value);
	} else {
		r = rw_rn(o, c->u.reg);
	}
	return r;
}

/* The fenced place of a surface instruction. */
void rw_surface(struct rw_out *o, const struct ptx_inst *in, char place[112])
{
	const struct ptx_operand *op = &in->ops[in->op == PTX_OP_sust ? 0 : 1], *at, *value;
	unsigned geometry, bytes, log2w = 0, used;
	const struct geometry *g;
	uint32_t a, n;

	if (in->op == PTX_OP_suq) {
		a = entry_of(o, in, op);
		n = rw_inv(o, INV_GUQ, 0);
		rw_line(o, "ld.global.u64 %%guq_%u, [%%gua_%u];", n, a);
		snprintf(place, 112, "[%%guq_%u]", n);
		return;
	}
	geometry = geometry_of(o, in);
	g = &geometries[geometry];
	value = &in->ops[in->op == PTX_OP_sust ? 1 : 0];
	bytes = ptx_type_bytes(in->type) * (in->vec ? in->vec : 1);
	while (1u << log2w < bytes)
		log2w++;
	if (op->kind != PTX_O_TEX || 1u << log2w != bytes || bytes > 16 ||
	    (value->kind == PTX_O_VEC ? value->nlist : 1) != (in->vec ? in->vec : 1))
		rw_refuse(o->rw, in->line, "opcode '%s' is not supported: an access of %u bytes", ptx_op_name(in->op),
			bytes);
	at = &op->list[1];
	if ((at->kind == PTX_O_VEC ? at->nlist : 1) != g->coordinates)
		rw_refuse(o->rw, in->line, "opcode '%s' is not supported: unexpected coordinates", ptx_op_name(in->op));
	a = entry_of(o, in, op);
	n = rw_inv(o, g->family, log2w);
	rw_line(o, "ld.global.u64 %%%s%u_%u, [%%gua_%u+%u];", g->name, bytes, n, a,
		(unsigned)offsetof(struct guard_surface, handle) + 8 * (5 * geometry + log2w));
	used = (unsigned)snprintf(place, 112, "[%%%s%u_%u, {", g->name, bytes, n);
	for (unsigned i = 0; i < g->coordinates; i++) {
		const struct ptx_operand *c = at->kind == PTX_O_VEC ? &at->list[i] : at;

		used += (unsigned)snprintf(place + used, 112 - used, "%s%s", i ? ", " : "",
			coordinate(o, in, c, i == g->x ? log2w : 0).s);
	}
	snprintf(place + used, 112 - used, "}]");
}
