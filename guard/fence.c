/* fence.c - makes every address lie inside what the kernel may touch, by data dependence.
 *
 * A block's accesses are grouped first: those off one base register (same value, same predicate) share a fence, and
 * each rides on it at a small offset.  Offsets that cannot ride are folded into the base before it is fenced.  The
 * forms are those of guard.h, which the verifier knows and nothing else does. */
#include "guard/emit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RIDE = GUARD_SLACK - 32, MAX_FOOT = 4096 };

static unsigned log2_of(uint32_t w)
{
	return (unsigned)__builtin_ctz(w);
}

/* --- planning --- */

static bool ordered(const struct ptx_inst *in)
{
	static const uint16_t mods[] = { PTX_MOD_relaxed, PTX_MOD_acquire, PTX_MOD_release, PTX_MOD_acq_rel,
		PTX_MOD_sc, PTX_MOD_mmio };

	for (size_t i = 0; i < ARRAY_LEN(mods); i++)
		if (rw_has(in, mods[i]))
			return true;
	return false;
}

/* State space and bytes of memory operand `op`. */
static enum where where_of(struct rw_out *o, const struct ptx_inst *in, unsigned op, uint32_t *w)
{
	unsigned space = in->space;

	*w = rw_access_bytes(o->rw, in);
	if (in->op == PTX_OP_cp) {
		*w = (uint32_t)in->ops[2].u.imm;        /* print.c has checked it */
		return op == 0 ? AT_SHARED : AT_GLOBAL;
	}
	if (in->op == PTX_OP_ldu)
		space = PTX_GLOBAL;
	switch (space) {
	case PTX_GENERIC: return AT_GENERIC;
	case PTX_GLOBAL: return AT_GLOBAL;
	case PTX_SHARED: return AT_SHARED;
	case PTX_SHARED_CLUSTER: return AT_CLUSTER;
	case PTX_LOCAL: return AT_LOCAL;
	case PTX_CONST: return AT_CONST;
	case PTX_PARAM: return AT_PLAIN;
	default: rw_refuse(o->rw, in->line, "opcode '%s' is not supported in this state space", ptx_op_name(in->op));
	}
}

static bool has_shared(const struct rw_out *o)
{
	return o->k->smem.used || o->k->dyn.used;
}

/* A register that is a known symbol plus a constant is as good as the symbol. */
static void use_known(struct rw_out *o, struct access *a)
{
	const struct rw_known *kn = a->reg != UINT32_MAX && !o->k->regs[a->reg].special ? &o->k->known[a->reg] : NULL;
	unsigned space;

	if (!kn)
		return;
	if (a->where == AT_GENERIC)
		a->mask = kn->space;
	if (!kn->is_sym || kn->generic != (a->where == AT_GENERIC))
		return;
	space = kn->sym->space;
	if (a->where == AT_GENERIC && space == PTX_SHARED)
		a->where = AT_SHARED;
	else if (a->where == AT_GENERIC && space == PTX_LOCAL && !a->no_local)
		a->where = AT_LOCAL;
	else if (!((a->where == AT_SHARED && space == PTX_SHARED) || (a->where == AT_LOCAL && space == PTX_LOCAL)
		   || (a->where == AT_CONST && space == PTX_CONST)))
		return;
	a->sym = kn->sym;
	a->off += kn->off;
	a->reg = UINT32_MAX;
	a->version = 0;
}

static void narrow_generic(struct rw_out *o, struct access *a)
{
	unsigned mask = a->mask;

	if (a->where != AT_GENERIC)
		return;
	if (!has_shared(o))
		mask &= ~(unsigned)RW_W_SHARED;
	if (!o->k->local.used || a->no_local)
		mask &= ~(unsigned)RW_W_LOCAL;
	a->mask = (uint8_t)mask;
	if (mask == RW_W_SHARED)
		a->where = o->k->peers ? AT_CLUSTER : AT_SHARED,
		a->mask = RW_W_GLOBAL; /* mask says: the register holds a generic address */
	else if (mask == RW_W_LOCAL)
		a->where = AT_LOCAL, a->mask = RW_W_GLOBAL;
	else if (!(mask & ~(unsigned)RW_W_GLOBAL))
		a->where = AT_GLOBAL, a->mask = 0;
}

static void add_access(struct rw_out *o, uint32_t i, unsigned op)
{
	struct rw_kernel *k = o->k;
	const struct ptx_inst *in = &k->insts[i];
	const struct ptx_operand *m = &in->ops[op];
	struct access a = { .inst = i, .op = (uint8_t)op, .reg = UINT32_MAX, .off = m->off, .group = UINT32_MAX };
	uint32_t w;

	a.where = (uint8_t)where_of(o, in, op, &w);
	if (a.where == AT_PLAIN)
		return;
	a.w = (uint16_t)w;
	a.no_local = in->op == PTX_OP_atom || in->op == PTX_OP_red || ordered(in);
	if (m->base == PTX_O_REG) {
		a.reg = m->u.reg;
		a.version = o->version[a.reg];
	} else {
		a.sym = m->u.var;
	}
	if (in->has_pred) {
		a.pred = in->pred * 2 + in->pred_neg + 1;
		a.pred_version = o->version[in->pred];
	}
	use_known(o, &a);
	narrow_generic(o, &a);
	if (a.sym && !a.sym->unsized && a.off >= 0 && (uint64_t)a.off <= a.sym->size
		&& a.sym->size - (uint64_t)a.off >= w
	    && a.off % (int64_t)w == 0 && (a.where != AT_SHARED || a.off >= k->head))
		a.direct = true;
	RW_ROOM(&o->rw->arena, o->acc, o->nacc, o->cap_acc);
	o->acc[o->nacc++] = a;
}

static void new_version(void *ctx, uint32_t reg, bool def)
{
	struct rw_out *o = ctx;

	if (def)
		o->version[reg] = ++o->next_version;
}

#define CMP(a, b) ((a) < (b) ? -1 : (a) > (b))

/* Equal keys may share a fence. */
static int key_cmp(const struct access *a, const struct access *b)
{
	int c = CMP(a->where, b->where);

	c = c ? c : CMP(a->reg, b->reg);
	c = c ? c : CMP(a->version, b->version);
	c = c ? c : CMP((uintptr_t)a->sym, (uintptr_t)b->sym);
	c = c ? c : CMP(a->pred, b->pred);
	c = c ? c : CMP(a->pred_version, b->pred_version);
	c = c ? c : CMP(a->mask, b->mask);
	return c ? c : CMP(a->no_local, b->no_local);
}

static int acc_cmp(const void *x, const void *y)
{
	const struct access *a = *(struct access *const *)x, *b = *(struct access *const *)y;
	int c = key_cmp(a, b);

	c = c ? c : CMP(a->off, b->off);
	return c ? c : CMP(a->inst, b->inst);
}

/* The most that a footprint may be for this kind of memory. */
static uint32_t foot_limit(struct rw_out *o, const struct access *a)
{
	uint64_t size = MAX_FOOT;

	switch (a->where) {
	case AT_GLOBAL: return GUARD_SLACK;
	case AT_SHARED: case AT_CLUSTER:
		if (!o->k->dyn.used)
			size = rw_smem_room(o->k);
		break;
	case AT_LOCAL: size = o->k->local.bytes; break;
	case AT_CONST: size = o->rw->cmem.bytes; break;
	default:
		if ((a->mask & RW_W_SHARED) && !o->k->dyn.used && rw_smem_room(o->k) < size)
			size = rw_smem_room(o->k);
		if ((a->mask & RW_W_LOCAL) && o->k->local.bytes < size)
			size = o->k->local.bytes;
	}
	return size < MAX_FOOT ? (uint32_t)size : MAX_FOOT;
}

static uint32_t new_group(struct rw_out *o, const struct access *a, int64_t anchor)
{
	const struct ptx_inst *in = &o->k->insts[a->inst];
	struct group g = { .where = a->where, .mask = a->mask, .no_local = a->no_local, .has_pred = a->pred != 0,
		.pred_neg = in->pred_neg,
		.pred = in->pred, .reg = a->reg, .sym = a->sym, .a = anchor, .line = in->line };

	RW_ROOM(&o->rw->arena, o->groups, o->ngroups, o->cap_groups);
	o->groups[o->ngroups] = g;
	return o->ngroups++;
}

static void join(struct rw_out *o, struct access *a, uint32_t group)
{
	struct group *g = &o->groups[group];
	uint32_t end = (uint32_t)(a->off - g->a) + a->w;

	a->group = group;
	if (log2_of(a->w) > g->log2w)
		g->log2w = (uint8_t)log2_of(a->w);
	if (end > g->f)
		g->f = end;
}

/* list: accesses of one key, by offset.  Global ones that can ride on the bare base do; the others are anchored at
 * the lowest. */
static void group_key(struct rw_out *o, struct access **list, uint32_t n)
{
	uint32_t limit = foot_limit(o, list[0]), bare = UINT32_MAX;

	for (uint32_t i = 0; i < n && list[0]->where == AT_GLOBAL; i++) {
		struct access *a = list[i];

		if (a->off < 0 || a->off > RIDE || a->off % a->w)
			continue;
		if (bare == UINT32_MAX)
			bare = new_group(o, a, 0);
		join(o, a, bare);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t g;

		if (list[i]->group != UINT32_MAX)
			continue;
		g = new_group(o, list[i], list[i]->off);
		for (uint32_t j = i; j < n && j < i + 512; j++) {
			uint64_t d = (uint64_t)list[j]->off - (uint64_t)list[i]->off;

			if (d > limit || (j > i && d + list[j]->w > limit))
				break;
			if (list[j]->group == UINT32_MAX && d % list[j]->w == 0 && d <= RIDE)
				join(o, list[j], g);
		}
	}
}

/* A group of several accesses whose address is aligned better than each of them needs keeps that: neighbours can then
 * be joined. Only where the low bits that the fence clears are known to be zero. */
static void keep_alignment(struct rw_out *o, struct group *g)
{
	unsigned zeros = g->a ? (unsigned)__builtin_ctzll((uint64_t)g->a) : 4;

	if ((g->where != AT_SHARED && g->where != AT_LOCAL) || (g->reg != UINT32_MAX && o->k->regs[g->reg].special))
		return;
	if (g->reg != UINT32_MAX && o->k->known[g->reg].zeros < zeros)
		zeros = o->k->known[g->reg].zeros;
	while (g->log2w < zeros && g->log2w < 4 && 2u << g->log2w <= g->f)
		g->log2w++;
}

/* First line of the group is that of the access that comes first in the text. */
static void plan_groups(struct rw_out *o)
{
	struct access **order = malloc((o->nacc + 1) * sizeof(*order));
	uint32_t n = 0;

	if (!order)
		rw_refuse(o->rw, 0, "out of memory");
	for (uint32_t i = 0; i < o->nacc; i++)
		if (!o->acc[i].direct)
			order[n++] = &o->acc[i];
	qsort(order, n, sizeof(*order), acc_cmp);
	for (uint32_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && !key_cmp(order[i], order[j]); j++)
			;
		group_key(o, order + i, j - i);
	}
	for (uint32_t i = 0; i < o->ngroups; i++)
		keep_alignment(o, &o->groups[i]);
	free(order);
}

void rw_fence_plan(struct rw_out *o, uint32_t from, uint32_t to)
{
	o->nacc = o->ngroups = o->next_acc = 0;
	for (uint32_t i = from; i < to; i++) {
		const struct ptx_inst *in = &o->k->insts[i];

		for (unsigned op = 0; op < in->nops && in->op != PTX_OP_wmma && rw_op(in->op)->cls != RW_C_TEX;
		     op++)
			if (in->ops[op].kind == PTX_O_ADDR)
				add_access(o, i, op);
		rw_visit_regs(in, new_version, o);
	}
	if (o->rw->opt->fence)
		plan_groups(o);
}

void rw_fence_forget(struct rw_out *o)
{
	for (uint32_t i = 0; i < o->ngroups; i++)
		o->groups[i].ready = false;
}

/* --- emission --- */

/* The base as a 64-bit register with A added; `own` when nothing may overwrite it later. */
static struct rname base64(struct rw_out *o, const struct group *g, bool own)
{
	struct rname b = rw_rn(o, g->reg), t;

	if (o->k->regs[g->reg].cls == RW_R) {
		t = rw_temp(o, RW_RD);
		rw_line(o, "cvt.u64.u32 %s, %s;", t.s, b.s);
		b = t;
		own = false;
	}
	if (!g->a && !own)
		return b;
	t = rw_temp(o, RW_RD);
	if (g->a)
		rw_line(o, "add.s64 %s, %s, %lld;", t.s, b.s, (long long)g->a);
	else
		rw_line(o, "mov.b64 %s, %s;", t.s, b.s);
	return t;
}

/* The base as a 32-bit register with A added; symbols and generic addresses (mask) are brought down first. */
static struct rname base32(struct rw_out *o, const struct group *g)
{
	struct rname b, t;
	int64_t add = g->a;

	if (g->sym) {
		b = rw_temp(o, RW_R);
		if (add > 0 && add < 1 << 30) {
			rw_line(o, "mov.u32 %s, %s+%lld;", b.s, g->sym->name, (long long)add);
			add = 0;
		} else {
			rw_line(o, "mov.u32 %s, %s;", b.s, g->sym->name);
		}
	} else {
		b = rw_rn(o, g->reg);
		if (o->k->regs[g->reg].cls == RW_RD) {
			if (g->mask) {
				t = rw_temp(o, RW_RD);
				rw_line(o, "cvta.to.%s.u64 %s, %s;", g->where == AT_SHARED ? "shared"
					: g->where == AT_CLUSTER ? "shared::cluster" : "local", t.s, b.s);
				b = t;
			}
			t = rw_temp(o, RW_R);
			rw_line(o, "cvt.u32.u64 %s, %s;", t.s, b.s);
			b = t;
		}
	}
	if (!add)
		return b;
	t = rw_temp(o, RW_R);
	rw_line(o, "add.s32 %s, %s, %d;", t.s, b.s, (int32_t)add);
	return t;
}

void rw_fence_pend(struct rw_out *o, const struct group *g, struct pending *p)
{
	p->line = g->line;
	p->code = g->log2w;
	if (g->has_pred)
		snprintf(p->pred, sizeof(p->pred), "%s%s", g->pred_neg ? "!" : "", rw_rn(o, g->pred).s);
	rw_report_note(o, p);
}

static bool reporting(const struct rw_out *o)
{
	return o->rw->opt->report && !o->quiet;
}

/* %ga<W>_n from a 64-bit address; its name goes to out. */
static void fence_global(struct rw_out *o, const struct group *g, struct rname src, bool report, char out[20])
{
	uint32_t w = 1u << g->log2w, gl, gh = 0, ga;
	bool wide = o->rw->opt->wide, both = wide || report;
	struct rname lo = rw_temp(o, RW_R), hi = { "" };
	char high[16] = "%gw";
	struct pending p = { .nbad = 1 };

	if (both) {
		hi = rw_temp(o, RW_R);
		rw_line(o, "mov.b64 {%s, %s}, %s;", lo.s, hi.s, src.s);
	} else {
		rw_line(o, "cvt.u32.u64 %s, %s;", lo.s, src.s);
	}
	o->entry |= EN_GW | (wide ? EN_GM : 0);
	gl = rw_inv(o, INV_GL, g->log2w);
	if (w == 1)
		rw_line(o, "mov.b32 %%gl1_%u, %s;", gl, lo.s);
	else
		rw_line(o, "and.b32 %%gl%u_%u, %s, -%u;", w, gl, lo.s, w);
	if (wide) {
		gh = rw_inv(o, INV_GH, 0);
		rw_line(o, "lop3.b32 %%gh_%u, %s, %%gm, %%gw, 234;", gh, hi.s);
		snprintf(high, sizeof(high), "%%gh_%u", gh);
	}
	ga = rw_inv(o, INV_GA, g->log2w);
	rw_line(o, "mov.b64 %%ga%u_%u, {%%gl%u_%u, %s};", w, ga, w, gl, high);
	snprintf(out, 20, "%%ga%u_%u", w, ga);
	if (!report)
		return;
	snprintf(p.bad[0], sizeof(p.bad[0]), "u32 %s, %s", hi.s, high);
	if (w > 1)
		snprintf(p.bad[p.nbad++], sizeof(p.bad[0]), "u32 %s, %%gl%u_%u", lo.s, w, gl);
	snprintf(p.addr, sizeof(p.addr), "{%s, %s}", lo.s, hi.s);
	rw_fence_pend(o, g, &p);
}

void rw_note_foot(struct rw_out *o, uint32_t f)
{
	uint64_t s = o->k->smem.used ? rw_smem_room(o->k) : 0;

	if (f > s && f - s > o->min_dyn)
		o->min_dyn = (uint32_t)(f - s);
	for (uint32_t i = 0; i < o->nfoot; i++)
		if (o->footprints[i] == f)
			return;
	RW_ROOM(&o->rw->arena, o->footprints, o->nfoot, o->cap_foot);
	o->footprints[o->nfoot++] = f;
}

struct small { const char *stem, *base; enum inv off, min, mask, fin; uint32_t entry; };

static const struct small *small_of(unsigned where)
{
	static const struct small s = { "gs", "%gsb", INV_GSO, INV_GSM, INV_GSA, INV_GS, EN_GSB };
	static const struct small p = { "gp", "%glb", INV_GPO, INV_GPM, INV_GPA, INV_GP, EN_GLB };
	static const struct small k = { "gk", "%gkb", INV_GKO, INV_GKM, INV_GKA, INV_GK, EN_GKB };

	return where == AT_SHARED ? &s : where == AT_LOCAL ? &p : &k;
}

static uint64_t object_bytes(struct rw_out *o, unsigned where)
{
	return where == AT_SHARED ? rw_smem_room(o->k) : where == AT_LOCAL ? o->k->local.bytes : o->rw->cmem.bytes;
}

bool rw_fence_limit(struct rw_out *o, const struct group *g, struct rname *base, struct rname *limit)
{
	const struct small *s = small_of(g->where);
	uint32_t w = 1u << g->log2w, f = g->f < w ? w : g->f;

	if (g->where == AT_SHARED ? !has_shared(o) : g->where == AT_LOCAL ? !o->k->local.used : !o->rw->cmem.bytes)
		return false;
	o->entry |= s->entry;
	snprintf(base->s, sizeof(base->s), "%s", s->base);
	if (g->where == AT_SHARED && o->k->dyn.used) {
		o->entry |= EN_GSN;
		rw_note_foot(o, f);
		snprintf(limit->s, sizeof(limit->s), "%%gsl%u", f);
		return true;
	}
	if (f > object_bytes(o, g->where))
		return false;
	snprintf(limit->s, sizeof(limit->s), "%llu", (unsigned long long)(object_bytes(o, g->where) - f));
	return true;
}

/* Shared, local or constant memory from a 32-bit address. Returns the number of the %g?<W>_ register. */
static uint32_t fence_small(struct rw_out *o, const struct group *g, unsigned where, struct rname src, bool report)
{
	const struct small *s = small_of(where);
	uint32_t w = 1u << g->log2w, f = g->f < w ? w : g->f;
	uint32_t a = rw_inv(o, s->off, 0), b = rw_inv(o, s->min, 0), c = rw_inv(o, s->mask, 0), d = rw_inv(o, s->fin,
		g->log2w);
	struct pending p = { .nbad = 1 };

	if (where == AT_SHARED && !has_shared(o))
		rw_refuse(o->rw, g->line, "the kernel has no shared memory");
	if (where == AT_LOCAL && !o->k->local.used)
		rw_refuse(o->rw, g->line, "the kernel has no local memory");
	if (where == AT_CONST && !o->rw->cmem.bytes)
		rw_refuse(o->rw, g->line, "the module has no constants");
	if (where != AT_SHARED || !o->k->dyn.used)
		if (f > object_bytes(o, where))
			rw_refuse(o->rw, g->line, "an access of %u bytes is larger than the memory it is in", f);
	o->entry |= s->entry;
	rw_line(o, "sub.u32 %%%so_%u, %s, %s;", s->stem, a, src.s, s->base);
	if (where == AT_SHARED && o->k->dyn.used) {
		o->entry |= EN_GSN;
		rw_note_foot(o, f);
		rw_line(o, "min.u32 %%%sm_%u, %%%so_%u, %%gsl%u;", s->stem, b, s->stem, a, f);
	} else {
		rw_line(o, "min.u32 %%%sm_%u, %%%so_%u, %llu;", s->stem, b, s->stem, a,
			(unsigned long long)(object_bytes(o, where) - f));
	}
	if (w == 1)
		rw_line(o, "mov.b32 %%%sa_%u, %%%sm_%u;", s->stem, c, s->stem, b);
	else
		rw_line(o, "and.b32 %%%sa_%u, %%%sm_%u, -%u;", s->stem, c, s->stem, b, w);
	rw_line(o, "add.u32 %%%s%u_%u, %%%sa_%u, %s;", s->stem, w, d, s->stem, c, s->base);
	if (report) {
		snprintf(p.bad[0], sizeof(p.bad[0]), "u32 %%%so_%u, %%%sa_%u", s->stem, a, s->stem, c);
		snprintf(p.addr, sizeof(p.addr), "%%%so_%u", s->stem, a);
		snprintf(p.base, sizeof(p.base), "%s", s->base);
		rw_fence_pend(o, g, &p);
	}
	return d;
}

/* One more leg of a generic fence: the address in `where`, chosen when isspacep says so. */
static void add_leg(struct rw_out *o, const struct group *g, unsigned where, const char *space, struct rname src,
	char chosen[20])
{
	const char *stem = where == AT_SHARED ? "gs" : where == AT_CLUSTER ? "gc" : "gp";
	const char *last = where == AT_CLUSTER ? "s" : "";      /* of the register that the leg's fence makes */
	enum inv fu = where == AT_SHARED ? INV_GSU : where == AT_CLUSTER ? INV_GCU : INV_GPU;
	enum inv fg = where == AT_SHARED ? INV_GSG : where == AT_CLUSTER ? INV_GCG : INV_GPG;
	struct rname is = rw_temp(o, RW_P), t = rw_temp(o, RW_RD), r = rw_temp(o, RW_R);
	uint32_t w = 1u << g->log2w, n, u, v, gg;

	rw_line(o, "isspacep.%s %s, %s;", space, is.s, src.s);
	rw_line(o, "cvta.to.%s.u64 %s, %s;", space, t.s, src.s);
	rw_line(o, "cvt.u32.u64 %s, %s;", r.s, t.s);
	n = where == AT_CLUSTER ? rw_cluster_fence(o, g, r.s, false) : fence_small(o, g, where, r, false);
	u = rw_inv(o, fu, g->log2w);
	v = rw_inv(o, fg, g->log2w);
	gg = rw_inv(o, INV_GG, g->log2w);
	rw_line(o, "cvt.u64.u32 %%%su%u_%u, %%%s%s%u_%u;", stem, w, u, stem, last, w, n);
	rw_line(o, "cvta.%s.u64 %%%sg%u_%u, %%%su%u_%u;", space, stem, w, v, stem, w, u);
	rw_line(o, "selp.b64 %%gg%u_%u, %%%sg%u_%u, %s, %s;", w, gg, stem, w, v, chosen, is.s);
	snprintf(chosen, 20, "%%gg%u_%u", w, gg);
}

static void fence_generic(struct rw_out *o, struct group *g)
{
	bool report = reporting(o);
	struct rname src = base64(o, g, report);
	struct pending p = { .nbad = 1 };

	fence_global(o, g, src, false, g->fenced);
	if (g->mask & RW_W_SHARED)
		add_leg(o, g, o->k->peers ? AT_CLUSTER : AT_SHARED, o->k->peers ? "shared::cluster" : "shared", src,
			g->fenced);
	if (g->mask & RW_W_LOCAL)
		add_leg(o, g, AT_LOCAL, "local", src, g->fenced);
	if (!report)
		return;
	snprintf(p.bad[0], sizeof(p.bad[0]), "u64 %s, %s", src.s, g->fenced);
	snprintf(p.addr, sizeof(p.addr), "%s", src.s);
	rw_fence_pend(o, g, &p);
}

static void emit_fence(struct rw_out *o, struct group *g)
{
	const struct small *s;
	uint32_t n;

	switch (g->where) {
	case AT_GLOBAL:
		fence_global(o, g, base64(o, g, false), reporting(o), g->fenced);
		break;
	case AT_GENERIC:
		fence_generic(o, g);
		break;
	case AT_CLUSTER:
		n = rw_cluster_fence(o, g, base32(o, g).s, reporting(o));
		snprintf(g->fenced, sizeof(g->fenced), "%%gcs%u_%u", 1u << g->log2w, n);
		break;
	default:
		s = small_of(g->where);
		n = fence_small(o, g, g->where, base32(o, g), reporting(o));
		snprintf(g->fenced, sizeof(g->fenced), "%%%s%u_%u", s->stem, 1u << g->log2w, n);
	}
	g->ready = true;
}

static void print_addr(char *text, size_t n, const char *base, int64_t off)
{
	if (off)
		snprintf(text, n, "[%s+%lld]", base, (long long)off);
	else
		snprintf(text, n, "[%s]", base);
}

/* Before the first operand of an instruction: looks at the pending fences now where those of all its operands would
 * not fit. Between two operands it would be too late: the first one's address is from the block before. */
static void make_room(struct rw_out *o, uint32_t inst)
{
	uint32_t first = o->next_acc, n = 0;

	if (!reporting(o) || (first && o->acc[first - 1].inst == inst))
		return;
	while (first + n < o->nacc && o->acc[first + n].inst == inst)
		n++;
	if (o->npending + n > MAX_PENDING)
		rw_report_flush(o);
}

/* Emits what operand `op` of instruction `inst` needs and gives its text. False: the operand is no business of the
 * fence. */
bool rw_fence_access(struct rw_out *o, uint32_t inst, unsigned op, char *text, size_t n, enum where *where)
{
	struct access *a = o->next_acc < o->nacc ? &o->acc[o->next_acc] : NULL;
	struct group *g;

	if (!a || a->inst != inst || a->op != op)
		return false;
	make_room(o, inst);
	o->next_acc++;
	*where = a->where;
	if (a->direct || !o->rw->opt->fence) {
		print_addr(text, n, a->sym ? a->sym->name : rw_rn(o, a->reg).s, a->off);
		if (!o->rw->opt->fence)
			/* the client's own address keeps the client's own space */
			*where = a->sym ? a->where : AT_PLAIN;
		return true;
	}
	g = &o->groups[a->group];
	if (!g->ready)
		emit_fence(o, g);
	print_addr(text, n, g->fenced, a->off - g->a);
	return true;
}
