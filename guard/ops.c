/* ops.c - the allow-list (ops.def) as tables, and small helpers on instructions. */
#include "guard/rewrite.h"
#include <stdio.h>
#include <string.h>

static const struct rw_opinfo op_table[PTX_OP_COUNT] = {
#define OP(n, c, r, m) [PTX_OP_##n] = { #n, RW_C_##c, r, m, NULL },
#define NO(n, why) [PTX_OP_##n] = { #n, RW_C_NONE, "", "", why },
#include "guard/ops.def"
};

static const struct { const char *name, *mods; } groups[] = {
#define GROUP(n, m) { #n, m },
#include "guard/ops.def"
};

static const bool sreg_ok[PTX_SR_COUNT] = {
#define SREG(id) [PTX_SR_##id] = true,
#include "guard/ops.def"
};

/* ids as written in ops.def, which are the identifiers of mods.def. */
static const char *const mod_ids[PTX_MOD_COUNT] = {
#define X(id, text) [PTX_MOD_##id] = #id,
#include "guard/mods.def"
#undef X
};

bool rw_sreg_allowed(enum ptx_sreg s)
{
	return (unsigned)s < PTX_SR_COUNT && sreg_ok[s];
}

/* Is `id` one of the words of `list`, groups looked into? */
static bool listed(const char *list, const char *id, int depth)
{
	size_t len = strlen(id);

	for (const char *p = list; *p;) {
		size_t n = strcspn(p, " ");

		if (*p == '@' && depth < 4) {
			for (size_t g = 0; g < ARRAY_LEN(groups); g++)
				if (strlen(groups[g].name) == n - 1 && !strncmp(groups[g].name, p + 1, n - 1)
				    && listed(groups[g].mods, id, depth + 1))
					return true;
		} else if (n == len && !strncmp(p, id, n)) {
			return true;
		}
		p += n;
		p += strspn(p, " ");
	}
	return false;
}

const struct rw_opinfo *rw_op(unsigned op)
{
	static const struct rw_opinfo pseudo = { "", RW_C_PSEUDO, "", "", NULL };

	return op < PTX_OP_COUNT ? &op_table[op] : &pseudo;
}

bool rw_has(const struct ptx_inst *in, enum ptx_mod m)
{
	for (unsigned i = 0; i < in->nmods; i++)
		if (in->mods[i] == m)
			return true;
	return false;
}

static void full_name(const struct ptx_inst *in, char *buf, size_t n)
{
	size_t at = (size_t)snprintf(buf, n, "%s", ptx_op_name(in->op));

	for (unsigned i = 0; i < in->nmods && at < n; i++)
		at += (size_t)snprintf(buf + at, n - at, ".%s", ptx_mod_name(in->mods[i]));
}

static bool operand_fits(const struct ptx_operand *o, char role, int depth)
{
	switch (o->kind) {
	case PTX_O_REG: return role != 'm' && role != 'l' && role != 't' && role != 'x';
	case PTX_O_SINK: return role == 'd' || role == '*';
	case PTX_O_IMM: case PTX_O_FIMM: case PTX_O_SREG: return role == 's' || role == '*';
	case PTX_O_ADDR: return role == 'm' || role == '*' || role == 'x';
	case PTX_O_LABEL: return role == 'l';
	case PTX_O_TABLE: return role == 't';
	case PTX_O_TEX: return role == 'x';
	case PTX_O_VEC: case PTX_O_PAIR:
		if ((role != 'd' && role != 's' && role != '*') || depth)
			return false;
		for (unsigned i = 0; i < o->nlist; i++)
			if (!operand_fits(&o->list[i], role, 1))
				return false;
		return true;
	default: return false;
	}
}

void rw_check_inst(struct rw *rw, const struct ptx_inst *in)
{
	const struct rw_opinfo *info = rw_op(in->op);
	char name[160];
	unsigned i = 0;
	bool optional = false;
	const char *r;

	if (info->cls == RW_C_PSEUDO)
		return;
	full_name(in, name, sizeof(name));
	if (info->cls == RW_C_NONE)
		rw_refuse(rw, in->line, "opcode '%s' is not supported: %s", name,
			info->refusal ? info->refusal : "it is not on the allow-list");
	for (unsigned m = 0; m < in->nmods; m++)
		if (!listed(info->mods, mod_ids[in->mods[m]], 0))
			rw_refuse(rw, in->line, "opcode '%s' is not supported: suffix '.%s' is not on the allow-list",
				name,
				ptx_mod_name(in->mods[m]));
	if (info->cls == RW_C_CALL)
		return;
	for (r = info->roles; *r; r++) {
		if (*r == '?') {
			optional = true;
		} else if (*r == '*') {
			for (; i < in->nops; i++)
				if (!operand_fits(&in->ops[i], '*', 0))
					rw_refuse(rw, in->line,
						"opcode '%s' is not supported: operand %u has an unexpected form",
							name, i + 1);
		} else if (i >= in->nops) {
			if (!optional)
				rw_refuse(rw, in->line, "opcode '%s' needs more operands", name);
		} else {
			const struct ptx_operand *o = &in->ops[i++];
			bool sym = (info->cls == RW_C_MOV || info->cls == RW_C_CVTA) && *r == 's'
				&& (o->kind == PTX_O_VAR || o->kind == PTX_O_PARAM);

			if (o->kind == PTX_O_FUNC && info->cls == RW_C_MOV && *r == 's' && in->type != PTX_T_NONE
			    && ptx_type_bytes(in->type) == 8)
				continue;               /* a number, see link.c */
			if (o->kind == PTX_O_FUNC)
				rw_refuse(rw, in->line,
					"opcode '%s' is not supported: addresses of functions are not guarded", name);
			if (!sym && !operand_fits(o, *r, 0))
				rw_refuse(rw, in->line,
					"opcode '%s' is not supported: operand %u has an unexpected form", name, i);
		}
	}
	if (i < in->nops)
		rw_refuse(rw, in->line, "opcode '%s' has too many operands", name);
}

struct visit { void (*fn)(void *, uint32_t, bool); void *ctx; };

static void visit_operand(const struct visit *v, const struct ptx_operand *o, bool def)
{
	switch (o->kind) {
	case PTX_O_REG: v->fn(v->ctx, o->u.reg, def); break;
	case PTX_O_ADDR:
		if (o->base == PTX_O_REG)
			v->fn(v->ctx, o->u.reg, false);
		break;
	case PTX_O_TEX:
		for (unsigned i = 0; i < o->nlist; i++)
			visit_operand(v, &o->list[i], false);
		break;
	case PTX_O_VEC: case PTX_O_LIST: case PTX_O_PAIR:
		for (unsigned i = 0; i < o->nlist; i++)
			visit_operand(v, &o->list[i], def);
		break;
	default: break;
	}
}

/* Is operand i written?  Classes with role '*' write operand 0 unless it is an address, with the exceptions named. */
static bool is_written(const struct ptx_inst *in, const struct rw_opinfo *info, unsigned i)
{
	if (i != 0)
		return false;
	switch (info->cls) {
	case RW_C_BAR: return rw_has(in, PTX_MOD_red);
	case RW_C_CPASYNC: return false;
	case RW_C_WMMA: return !rw_has(in, PTX_MOD_store);
	case RW_C_PSEUDO: return in->op == RW_OP_CALL;
	default: return info->roles[0] == 'd';
	}
}

void rw_visit_regs(const struct ptx_inst *in, void (*fn)(void *ctx, uint32_t reg, bool def), void *ctx)
{
	const struct rw_opinfo *info = rw_op(in->op);
	struct visit v = { fn, ctx };

	if (in->has_pred)
		fn(ctx, in->pred, false);
	for (unsigned i = in->nops; i-- > 0;)   /* sources first */
		visit_operand(&v, &in->ops[i], is_written(in, info, i));
}

void rw_drop_mod(struct ptx_inst *in, enum ptx_mod m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < in->nmods; i++)
		if (in->mods[i] != m)
			in->mods[n++] = in->mods[i];
	in->nmods = (uint8_t)n;
}

void rw_set_mods(struct ptx_inst *in, const uint16_t *mods, unsigned n)
{
	in->nmods = (uint8_t)n;
	for (unsigned i = 0; i < n; i++)
		in->mods[i] = mods[i];
}

uint32_t rw_access_bytes(struct rw *rw, const struct ptx_inst *in)
{
	unsigned bytes = ptx_type_bytes(in->type);

	if (in->op == PTX_OP_cp || in->op == PTX_OP_wmma)
		return 0;
	if (in->op == PTX_OP_ldmatrix || in->op == PTX_OP_stmatrix)
		return 16;
	bytes *= in->vec ? in->vec : 1;
	if (bytes == 0 || bytes > 32 || (bytes & (bytes - 1)))
		rw_refuse(rw, in->line, "opcode '%s' is not supported: an access of %u bytes", ptx_op_name(in->op),
			bytes);
	return bytes;
}

enum rw_class rw_type_class(enum ptx_type t)
{
	if (t == PTX_T_PRED)
		return RW_P;
	switch (ptx_type_bytes(t)) {
	case 1: case 2: return RW_H;
	case 4: return RW_R;
	case 8: return RW_RD;
	case 16: return RW_Q;
	default: return RW_NCLASS;
	}
}

uint32_t rw_new_reg(struct rw_kernel *k, enum rw_class c)
{
	struct rw *rw = k->rw;

	if (k->nregs >= 16u << 20)
		rw_refuse(rw, k->src->line, "the kernel needs too many registers");
	RW_ROOM(&rw->arena, k->regs, k->nregs, k->cap_regs);
	k->regs[k->nregs] = (struct rw_reg){ .cls = (uint8_t)c, .num = UINT32_MAX };
	return k->nregs++;
}

uint32_t rw_gd(struct rw_kernel *k)
{
	if (!k->gd) {
		uint32_t r = rw_new_reg(k, RW_RD);

		k->regs[r].special = RW_SP_GD;
		k->gd = r + 1;
	}
	return k->gd - 1;
}

struct ptx_operand rw_reg_op(uint32_t reg)
{
	struct ptx_operand o = { .kind = PTX_O_REG };

	o.u.reg = reg;
	return o;
}

struct ptx_operand rw_imm_op(int64_t v)
{
	struct ptx_operand o = { .kind = PTX_O_IMM };

	o.u.imm = (uint64_t)v;
	return o;
}

struct ptx_inst rw_make(struct rw *rw, unsigned op, uint32_t line, const uint16_t *mods, unsigned nmods, unsigned nops)
{
	struct ptx_inst in = { .op = (uint16_t)op, .nops = (uint8_t)nops, .line = line, .vec = 1 };

	rw_set_mods(&in, mods, nmods);
	for (unsigned i = 0; i < nmods; i++) {
		enum ptx_type t = ptx_mod_type(mods[i]);

		if (t != PTX_T_NONE) {
			in.type = (uint8_t)t;
			if (in.type0 == PTX_T_NONE)
				in.type0 = (uint8_t)t;
		}
	}
	in.ops = rw_alloc(rw, nops * sizeof(*in.ops) + 1);
	return in;
}

struct ptx_inst *rw_emit(struct rw_kernel *k, unsigned op, uint32_t line, unsigned nops)
{
	struct rw *rw = k->rw;

	if (++rw->total_insts > PTX_MAX_INSTS)
		rw_refuse(rw, line, "the module has too many instructions after inlining");
	RW_ROOM(&rw->arena, k->insts, k->ninsts, k->cap_insts);
	k->insts[k->ninsts] = rw_make(rw, op, line, NULL, 0, nops);
	return &k->insts[k->ninsts++];
}
