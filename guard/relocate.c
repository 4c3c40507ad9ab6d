/* relocate.c - the client's variables leave the module.
 *
 * .global variables become offsets in a block of the client's window (%gd), .const ones become offsets in ag_const,
 * .shared and .local ones offsets in one object per kernel.  Where the address of a constant escapes into a generic
 * pointer, the module's constants move to the data block too: generic addresses of the constant bank are not guarded.
 * Kernel parameters whose address is taken are copied to local memory at entry. */
#include "guard/rewrite.h"
#include <stdio.h>
#include <string.h>

enum { CONST_ROOM = 65536 - 4096, MAX_SHARED = 1 << 20, MAX_LOCAL = 512 << 10 };
static const uint64_t MAX_DATA = (uint64_t)1 << 36;

static uint64_t align_up(uint64_t v, uint64_t a)
{
	return (v + a - 1) & ~(a - 1);
}

/* --- module scope --- */

static void place(struct rw *rw, struct rw_var *x, enum rw_place where, uint64_t *end, uint64_t limit)
{
	uint64_t align = x->v->align < 16 && x->v->size >= 16 ? 16 : x->v->align;

	x->place = (uint8_t)where;
	x->off = align_up(*end, align);
	if (x->v->size > limit || x->off > limit - x->v->size)
		rw_refuse(rw, x->v->line, "variable '%s' makes the module's variables too large", x->v->name);
	*end = x->off + x->v->size;
}

/* Does the address of a constant become generic, or stand in memory, anywhere? */
static bool const_escapes(struct rw *rw)
{
	for (uint32_t p = 0; p < rw->npieces; p++) {
		struct ptx_module *m = rw->pieces[p].m;

		for (uint32_t f = 0; f < m->nfuncs; f++)
			for (uint32_t i = 0; i < m->funcs[f]->ninsts; i++) {
				const struct ptx_inst *in = &m->funcs[f]->insts[i];

				if (in->op == PTX_OP_cvta && in->space == PTX_CONST)
					return true;
			}
	}
	for (uint32_t i = 0; i < rw->nvars; i++)
		for (uint32_t r = 0; r < rw->vars[i]->v->nrelocs; r++) {
			struct rw_var *to = rw_var_named(rw, rw->vars[i]->piece, rw->vars[i]->v->relocs[r].sym);

			/* the loader knows no addresses of the constant space */
			if (to && to->v->space == PTX_CONST)
				return true;
		}
	return false;
}

static void write_image(struct rw *rw, const struct rw_var *x, uint8_t *image)
{
	const struct ptx_var *v = x->v;

	if (v->init && v->init_size <= v->size)
		memcpy(image + x->off, v->init, v->init_size);
	for (uint32_t i = 0; i < v->nrelocs; i++) {
		const struct ptx_reloc *r = &v->relocs[i];
		struct rw_var *to = rw_var_named(rw, x->piece, r->sym);
		uint64_t value;

		if (!to && r->width == 8 && r->offset <= v->size && v->size - r->offset >= 8) {
			struct rw_func *f = rw_func_named(rw, x->piece, r->sym);

			if (f) {                        /* 0: calling it traps, as a pure virtual function does */
				value = f->id;
				memcpy(image + x->off + r->offset, &value, 8);
				continue;
			}
		}
		if (!to || (to->place != RW_DATA && to->place != RW_CONST))
			rw_refuse(rw, v->line,
				"the initializer of '%s' holds the address of '%s', which is no variable in global or "
				"constant memory", v->name, r->sym);
		if (r->width != 8 || r->offset > v->size || v->size - r->offset < 8)
			rw_refuse(rw, v->line, "the initializer of '%s' holds a part of an address", v->name);
		value = to->off + (uint64_t)r->addend;
		memcpy(image + x->off + r->offset, &value, 8);
		RW_ROOM(rw->keep, rw->relocs, rw->nrelocs, rw->cap_relocs);
		rw->relocs[rw->nrelocs++] = (struct guard_data_reloc){
			.offset = x->off + r->offset, .in_const = x->place == RW_CONST,
				.to_const = to->place == RW_CONST,
		};
	}
}

void rw_place_module(struct rw *rw)
{
	uint64_t end = 0, cend = 0;

	for (uint32_t i = 0; i < rw->nvars; i++)
		if (rw->vars[i]->v->space == PTX_CONST)
			cend = align_up(cend, rw->vars[i]->v->align) + rw->vars[i]->v->size;
	rw->demote_const = cend > CONST_ROOM || const_escapes(rw);
	cend = 0;
	for (int pass = 0; pass < 2; pass++) {          /* what has an initializer comes first: the image is short */
		for (uint32_t i = 0; i < rw->nvars; i++) {
			struct rw_var *x = rw->vars[i];
			bool has_init = x->v->init || x->v->nrelocs;

			rw->piece = x->piece;
			if (x->v->space == PTX_TEX || (ptx_type_bytes(x->v->type) == 0 && x->v->type != PTX_T_NONE))
				rw_refuse(rw, x->v->line,
					"texture and surface references are not supported: CUDA 12 removed them");
			if (has_init != (pass == 0) || x->place)
				continue;
			if (x->v->space == PTX_GLOBAL || (x->v->space == PTX_CONST && rw->demote_const)) {
				x->demoted = x->v->space == PTX_CONST;
				place(rw, x, RW_DATA, &end, MAX_DATA);
			} else if (x->v->space == PTX_CONST) {
				place(rw, x, RW_CONST, &cend, CONST_ROOM);
			}
		}
		if (pass == 0)
			rw->data_init = end;
	}
	rw->data_bytes = align_up(end, 256);
	if (rw->data_init > (uint64_t)1 << 30)
		rw_refuse(rw, 0, "the module's initialized variables are too large");
	rw->data = rw_keep(rw, rw->data_init + 8);
	rw->cmem.bytes = align_up(cend, 64);
	rw->cmem.var = (struct ptx_var){ .name = "ag_const", .space = PTX_CONST, .align = 64, .size = rw->cmem.bytes };
	rw->cimage = rw_keep(rw, rw->cmem.bytes + 8);
	for (uint32_t i = 0; i < rw->nvars; i++) {
		rw->piece = rw->vars[i]->piece;
		if (rw->vars[i]->place == RW_DATA)
			write_image(rw, rw->vars[i], rw->data);
		else if (rw->vars[i]->place == RW_CONST)
			write_image(rw, rw->vars[i], rw->cimage);
	}
	rw->piece = 0;
}

/* --- one kernel --- */

struct move { struct rw *rw; struct rw_kernel *k; const struct ptx_inst *in; };

static struct ptx_inst *append(struct rw_kernel *k, const struct ptx_inst *in)
{
	RW_ROOM(&k->rw->arena, k->insts, k->ninsts, k->cap_insts);
	k->insts[k->ninsts] = *in;
	return &k->insts[k->ninsts++];
}

static struct ptx_inst *insert(struct move *m, unsigned op, const uint16_t *mods, unsigned nmods, unsigned nops)
{
	struct ptx_inst in = rw_make(m->rw, op, m->in->line, mods, nmods, nops);

	return append(m->k, &in);
}

static struct ptx_operand var_op(struct rw_obj *o, int64_t off)
{
	struct ptx_operand x = { .kind = PTX_O_VAR, .off = off };

	o->used = true;
	x.u.var = &o->var;
	return x;
}

static uint64_t take(struct rw *rw, struct rw_kernel *k, struct rw_obj *o, const void *key, uint64_t bytes,
	uint32_t align, uint64_t limit,
	uint32_t line)
{
	uint64_t off;

	for (uint32_t i = 0; i < k->nplaces; i++)
		if (k->places[i].v == key)
			return k->places[i].off;
	if (align > 1024)
		rw_refuse(rw, line, "an alignment over 1024 bytes is not supported");
	if (align < 16 && bytes >= 16)
		align = 16;
	off = align_up(o->bytes, align);
	if (bytes > limit || off > limit - bytes)
		rw_refuse(rw, line, "the kernel needs too much %s memory", o == &k->local ? "local" : "shared");
	o->bytes = off + bytes;
	if (align > o->align)
		o->align = align;
	o->used = true;
	RW_ROOM(&rw->arena, k->places, k->nplaces, k->cap_places);
	k->places[k->nplaces++] = (struct rw_place_of){ key, off };
	return off;
}

/* Where a client's variable is in this kernel, as an operand of kind VAR, or REG %gd with an offset. */
static struct ptx_operand locate(struct move *m, const struct ptx_var *ref, int64_t off)
{
	struct rw_var *x = rw_var_of(m->rw, ref);
	struct rw_kernel *k = m->k;
	struct ptx_operand o;
	const struct ptx_var *v = x->v;

	switch (v->space) {
	case PTX_GLOBAL: case PTX_CONST:
		if (x->place == RW_CONST)
			return var_op(&m->rw->cmem, (int64_t)x->off + off);
		o = rw_reg_op(rw_gd(k));
		o.off = (int64_t)x->off + off;
		return o;
	case PTX_SHARED:
		if (v->linkage == PTX_L_EXTERN) {
			if (v->align > m->rw->dyn_align)
				m->rw->dyn_align = v->align;
			if (v->align > 1024)
				rw_refuse(m->rw, v->line, "an alignment over 1024 bytes is not supported");
			return var_op(&k->dyn, off);
		}
		return var_op(&k->smem, (int64_t)take(m->rw, k, &k->smem, v, v->size, v->align, MAX_SHARED,
			v->line) + off);
	case PTX_LOCAL:
		return var_op(&k->local, (int64_t)take(m->rw, k, &k->local, v, v->size, v->align, MAX_LOCAL,
			v->line) + off);
	default:
		rw_refuse(m->rw, m->in->line, "variable '%s' is in a state space that is not supported", v->name);
	}
}

static struct ptx_operand locate_param(struct move *m, const struct ptx_param *p, int64_t off)
{
	uint32_t align = p->align < 8 ? 8 : p->align;

	return var_op(&m->k->local, (int64_t)take(m->rw, m->k, &m->k->local, p, align_up(p->size, 8), align,
		MAX_LOCAL, m->in->line) + off);
}

static void take_pred(struct ptx_inst *to, const struct ptx_inst *from)
{
	to->has_pred = from->has_pred;
	to->pred = from->pred;
	to->pred_neg = from->pred_neg;
}

/* dst = address; dst is a register operand of the client's instruction. */
static void put_address(struct move *m, const struct ptx_operand *dst, const struct ptx_operand *where)
{
	static const uint16_t add[] = { PTX_MOD_s64 }, mov64[] = { PTX_MOD_u64 }, mov32[] = { PTX_MOD_u32 };
	bool wide = dst->kind == PTX_O_REG && m->k->regs[dst->u.reg].cls == RW_RD;
	struct ptx_inst *in;

	if (!wide && (dst->kind != PTX_O_REG || m->k->regs[dst->u.reg].cls != RW_R))
		rw_refuse(m->rw, m->in->line, "an address needs a 32-bit or 64-bit register");
	if (where->kind == PTX_O_REG) {
		if (!wide)
			rw_refuse(m->rw, m->in->line, "the address of a global variable needs a 64-bit register");
		in = insert(m, PTX_OP_add, add, 1, 3);
		in->ops[1] = rw_reg_op(where->u.reg);
		in->ops[2] = rw_imm_op(where->off);
	} else if (where->off < 0) {
		struct ptx_operand base = *where;
		static const uint16_t add32[] = { PTX_MOD_s32 };

		base.off = 0;
		put_address(m, dst, &base);
		in = insert(m, PTX_OP_add, wide ? add : add32, 1, 3);
		in->ops[1] = *dst;
		in->ops[2] = rw_imm_op(where->off);
	} else {
		in = insert(m, PTX_OP_mov, wide ? mov64 : mov32, 1, 2);
		in->ops[1] = *where;
	}
	in->ops[0] = *dst;
	take_pred(in, m->in);
}

static bool locate_value(struct move *m, const struct ptx_operand *o, struct ptx_operand *where)
{
	if (o->kind == PTX_O_VAR)
		*where = locate(m, o->u.var, o->off);
	else if (o->kind == PTX_O_PARAM)
		*where = locate_param(m, o->u.param, o->off);
	else
		return false;
	return true;
}

static void swap_mod(struct ptx_inst *in, enum ptx_mod from, enum ptx_mod to)
{
	for (unsigned i = 0; i < in->nmods; i++)
		if (in->mods[i] == from)
			in->mods[i] = (uint16_t)to;
}

static void copy_inst(struct move *m, struct ptx_inst *in)
{
	append(m->k, in);
}

/* cvta between generic and a space.  Of global (and constants that moved there) it is a move; of param, which is
 * local here. */
static void do_cvta(struct move *m, struct ptx_inst *in)
{
	static const uint16_t mov[] = { PTX_MOD_b64 };
	struct ptx_operand where;

	if (in->type != PTX_T_U64)
		rw_refuse(m->rw, in->line, "opcode 'cvta' is not supported: addresses have 64 bits");
	if (locate_value(m, &in->ops[1], &where)) {
		struct ptx_operand tmp = rw_reg_op(rw_new_reg(m->k, RW_RD));

		put_address(m, &tmp, &where);
		in->ops[1] = tmp;
	}
	if (in->space == PTX_GLOBAL || in->space == PTX_CONST) {
		struct ptx_inst *to = insert(m, PTX_OP_mov, mov, 1, 2);

		to->ops[0] = in->ops[0];
		to->ops[1] = in->ops[1];
		take_pred(to, in);
		return;
	}
	if (in->space != PTX_SHARED && in->space != PTX_LOCAL && in->space != PTX_PARAM
	    && in->space != PTX_SHARED_CLUSTER)
		rw_refuse(m->rw, in->line, "opcode 'cvta' is not supported for this state space");
	swap_mod(in, PTX_MOD_param, PTX_MOD_local);
	swap_mod(in, PTX_MOD_param_entry, PTX_MOD_local);
	swap_mod(in, PTX_MOD_shared_cta, PTX_MOD_shared);
	if (in->space == PTX_PARAM)
		in->space = PTX_LOCAL;
	copy_inst(m, in);
}

/* The grid's workspace address stands in %envreg1 (high) and %envreg2 (low); here it is the hidden parameter. */
static void do_envreg(struct move *m, struct ptx_inst *in, bool high)
{
	static const uint16_t ld[] = { PTX_MOD_param, PTX_MOD_b64 }, shr[] = { PTX_MOD_u64 }, cvt[] = { PTX_MOD_u32,
		PTX_MOD_u64 };
	struct ptx_operand addr = rw_reg_op(rw_new_reg(m->k, RW_RD));
	struct ptx_inst *to = insert(m, PTX_OP_ld, ld, 2, 2);

	m->k->hidden_coop = true;
	to->space = PTX_PARAM;
	to->ops[0] = addr;
	to->ops[1].kind = PTX_O_ADDR;
	to->ops[1].base = PTX_O_NONE;           /* printed as [pc] */
	if (high) {
		to = insert(m, PTX_OP_shr, shr, 1, 3);
		to->ops[0] = to->ops[1] = addr;
		to->ops[2] = rw_imm_op(32);
	}
	to = insert(m, PTX_OP_cvt, cvt, 2, 2);
	to->ops[0] = in->ops[0];
	to->ops[1] = addr;
	take_pred(to, in);
}

/* Cooperative groups keep their barriers in reserved shared memory; here it is a part of the kernel's own. */
static void do_reserved(struct move *m, struct ptx_inst *in)
{
	static const struct ptx_var reserved = { .size = 288 };
	uint64_t off = take(m->rw, m->k, &m->k->smem, &reserved, reserved.size, 16, MAX_SHARED, in->line);
	struct ptx_operand where = var_op(&m->k->smem, (int64_t)off);

	put_address(m, &in->ops[0], &where);
}

static void check_param_access(struct move *m, const struct ptx_inst *in, const struct ptx_operand *a, uint32_t bytes)
{
	const struct ptx_param *p = a->u.param;

	if (a->off < 0 || (uint64_t)a->off > p->size || p->size - (uint64_t)a->off < bytes || (uint64_t)a->off % bytes)
		rw_refuse(m->rw, in->line, "the access lies outside parameter '%s'", p->name);
}

static bool same_space(unsigned access, const struct rw_var *x)
{
	unsigned s = x->v->space;

	return access == s || (access == PTX_GENERIC && (s == PTX_GLOBAL || x->demoted));
}

/* Accesses: symbols become objects or offsets of %gd; what is left of the param space becomes local. */
static void do_access(struct move *m, struct ptx_inst *in)
{
	bool to_local = false;

	for (unsigned i = 0; i < in->nops; i++) {
		struct ptx_operand *o = &in->ops[i], where;

		if (o->kind != PTX_O_ADDR)
			continue;
		if (o->base == PTX_O_NONE)
			rw_refuse(m->rw, in->line, "an absolute address is not supported");
		if (in->space == PTX_PARAM && o->base == PTX_O_PARAM && o->u.param->is_formal) {
			if (in->op != PTX_OP_ld)
				rw_refuse(m->rw, in->line, "a kernel cannot write its parameters");
			check_param_access(m, in, o, rw_access_bytes(m->rw, in));
			continue;
		}
		if (o->base == PTX_O_VAR) {
			/* cp.async names two spaces; each operand's own is then what counts */
			if (in->space == PTX_SHARED_CLUSTER) {  /* a variable by its name is the block's own */
				swap_mod(in, PTX_MOD_shared_cluster, PTX_MOD_shared);
				in->space = PTX_SHARED;
			}
			if (in->op != PTX_OP_cp && !same_space(in->space, rw_var_of(m->rw, o->u.var)))
				rw_refuse(m->rw, in->line,
					"variable '%s' is accessed in another state space than its own",
						o->u.var->name);
			where = locate(m, o->u.var, o->off);
		} else if (o->base == PTX_O_PARAM) {
			if (in->space != PTX_PARAM)
				rw_refuse(m->rw, in->line, "a parameter is accessed in another state space");
			where = locate_param(m, o->u.param, o->off);
		} else {
			where = rw_reg_op(o->u.reg);
			where.off = o->off;
		}
		to_local |= in->space == PTX_PARAM;
		o->base = where.kind;
		o->off = where.off;
		if (where.kind == PTX_O_REG)
			o->u.reg = where.u.reg;
		else
			o->u.var = where.u.var;
	}
	if (to_local) {
		swap_mod(in, PTX_MOD_param, PTX_MOD_local);
		swap_mod(in, PTX_MOD_param_entry, PTX_MOD_local);
		swap_mod(in, PTX_MOD_param_func, PTX_MOD_local);
		in->space = PTX_LOCAL;
	}
	if (in->space == PTX_CONST && m->rw->demote_const) {
		swap_mod(in, PTX_MOD_const, PTX_MOD_global);
		in->space = PTX_GLOBAL;
	}
	copy_inst(m, in);
}

static void one(struct move *m, struct ptx_inst *in)
{
	const struct rw_opinfo *info = rw_op(in->op);
	struct ptx_operand where;

	switch (info->cls) {
	case RW_C_CVTA:
		do_cvta(m, in);
		return;
	case RW_C_MOV:
		if (in->ops[1].kind == PTX_O_SREG && (in->ops[1].u.sreg == PTX_SR_envreg1
			|| in->ops[1].u.sreg == PTX_SR_envreg2))
			do_envreg(m, in, in->ops[1].u.sreg == PTX_SR_envreg1);
		else if (in->ops[1].kind == PTX_O_SREG && in->ops[1].u.sreg == PTX_SR_reserved_smem_offset_1)
			do_reserved(m, in);
		else if (locate_value(m, &in->ops[1], &where))
			put_address(m, &in->ops[0], &where);
		else
			copy_inst(m, in);
		return;
	case RW_C_DROP:
		return;
	case RW_C_LD: case RW_C_ST: case RW_C_ATOM: case RW_C_RED:
	case RW_C_CPASYNC: case RW_C_LDMATRIX: case RW_C_WMMA:
		do_access(m, in);
		return;
	default:
		copy_inst(m, in);
	}
}

static void check_sregs(struct rw *rw, const struct ptx_inst *in)
{
	for (unsigned i = 0; i < in->nops; i++) {
		const struct ptx_operand *o = &in->ops[i];
		bool ours = in->op == PTX_OP_mov && (o->u.sreg == PTX_SR_envreg1 || o->u.sreg == PTX_SR_envreg2
			|| o->u.sreg == PTX_SR_reserved_smem_offset_1);

		if (o->kind == PTX_O_SREG && !ours && !rw_sreg_allowed(o->u.sreg))
			rw_refuse(rw, in->line, "special register %s is not supported", ptx_sreg_name(o->u.sreg));
	}
}

/* The copies of parameters whose address was taken, in front of everything. */
static void copy_params(struct move *m)
{
	struct rw_kernel *k = m->k;
	struct ptx_inst *body = k->insts, *first = rw_alloc(m->rw, sizeof(*first));
	uint32_t n = k->ninsts;
	static const uint16_t chunk[4] = { PTX_MOD_b8, PTX_MOD_b16, PTX_MOD_b32, PTX_MOD_b64 };
	static const uint8_t cls[4] = { RW_H, RW_H, RW_R, RW_RD };

	k->insts = NULL;
	k->ninsts = k->cap_insts = 0;
	first->line = k->src->line;
	m->in = first;
	for (uint32_t i = 0; i < k->nplaces; i++) {
		const struct ptx_param *p = (const void *)k->places[i].v;

		if (p < k->src->params || p >= k->src->params + k->src->nparams)
			continue;
		for (uint64_t at = 0; at < p->size;) {
			unsigned c = 3;
			uint16_t mods[2];
			struct ptx_operand v;
			struct ptx_inst *in;

			while (at + (1u << c) > p->size || at % (1u << c) || (1u << c) > p->align)
				c--;
			v = rw_reg_op(rw_new_reg(k, cls[c]));
			mods[0] = PTX_MOD_param;
			mods[1] = chunk[c];
			in = insert(m, PTX_OP_ld, mods, 2, 2);
			in->space = PTX_PARAM;
			in->ops[0] = v;
			in->ops[1].kind = PTX_O_ADDR;
			in->ops[1].base = PTX_O_PARAM;
			in->ops[1].u.param = (struct ptx_param *)p;
			in->ops[1].off = (int64_t)at;
			mods[0] = PTX_MOD_local;
			in = insert(m, PTX_OP_st, mods, 2, 2);
			in->space = PTX_LOCAL;
			in->ops[0] = var_op(&k->local, (int64_t)(k->places[i].off + at));
			in->ops[0].kind = PTX_O_ADDR;
			in->ops[0].base = PTX_O_VAR;
			in->ops[1] = v;
			at += 1u << c;
		}
	}
	if (!k->ninsts) {
		k->insts = body;
		k->ninsts = k->cap_insts = n;
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		append(k, &body[i]);
}

static const char *object_name(struct rw *rw, const char *stem, uint32_t n)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%s%u", stem, n);
	return strcpy(rw_alloc(rw, strlen(buf) + 1), buf);
}

/* Of all kernels' dynamic shared memory, also of those that come later. */
static uint32_t most_dyn_align(const struct rw *rw)
{
	uint32_t most = 16;

	for (uint32_t i = 0; i < rw->npieces; i++)
		for (uint32_t j = 0; j < rw->pieces[i].m->nvars; j++) {
			const struct ptx_var *v = rw->pieces[i].m->vars[j];

			if (v->space == PTX_SHARED && v->linkage == PTX_L_EXTERN && v->align > most && v->align <= 1024)
				most = v->align;
		}
	return most;
}

void rw_relocate(struct rw *rw, struct rw_kernel *k)
{
	struct ptx_var head = { .size = 0 };
	struct move m = { .rw = rw, .k = k };
	struct ptx_inst *body;
	uint32_t n;

	rw_cluster_find(k);
	rw_meet_find(k);
	body = k->insts;
	n = k->ninsts;
	head.size = k->head;
	k->smem.var = (struct ptx_var){ .name = object_name(rw, k->meet ? k->peers ? "ag_peer_meet_" : "ag_meet_"
		: k->peers ? "ag_peer_" : "ag_smem_", k->index), .space = PTX_SHARED };
	k->dyn.var = (struct ptx_var){ .name = "ag_dyn", .space = PTX_SHARED, .unsized = true };
	k->local.var = (struct ptx_var){ .name = object_name(rw, "ag_local_", k->index), .space = PTX_LOCAL };
	k->insts = NULL;
	k->ninsts = k->cap_insts = 0;
	m.in = body;
	if (k->head)
		take(rw, k, &k->smem, &head, head.size, 32, MAX_SHARED, k->src->line);
	for (uint32_t i = 0; i < k->src->nvars && n; i++)       /* an address can be reached without its name */
		if (k->src->vars[i]->space == PTX_SHARED || k->src->vars[i]->space == PTX_LOCAL)
			locate(&m, k->src->vars[i], 0);
	for (uint32_t i = 0; i < n; i++) {
		m.in = &body[i];
		check_sregs(rw, &body[i]);
		one(&m, &body[i]);
	}
	copy_params(&m);
	if (k->head && k->dyn.used) {                   /* dynamic memory must follow without a gap */
		uint32_t align = most_dyn_align(rw);

		k->smem.bytes = align_up(k->smem.bytes, align);
		k->smem.align = k->smem.align < align ? align : k->smem.align;
	}
	k->smem.bytes = align_up(k->smem.bytes, 32);
	k->local.bytes = align_up(k->local.bytes, 32);
	k->smem.align = k->smem.align < 16 ? 16 : k->smem.align;
	k->local.align = k->local.align < 16 ? 16 : k->local.align;
	k->smem.var.size = k->smem.bytes;
	k->local.var.size = k->local.bytes;
	k->smem.used = k->smem.bytes > 0;
	k->local.used = k->local.bytes > 0;
}
