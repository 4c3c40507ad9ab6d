/* print.c - one kernel as canonical text: every identifier is ours, numbers are canonical, no byte of the client
 * passes through.
 *
 * The stream is walked block by block; fence.c, report.c and poll.c put their lines in between. */
#include "guard/emit.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *prefix, *type; } classes[RW_NCLASS] = {
	{ "%p", "pred" }, { "%h", "b16" }, { "%r", "b32" }, { "%rd", "b64" }, { "%q", "b128" },
};

static const struct { const char *name, *type; bool widths;
} families[INV_COUNT] = {
	[INV_GL] = { "gl", "b32", true },     [INV_GA] = { "ga", "b64", true },
	[INV_GH] = { "gh_", "b32", false },   [INV_GSO] = { "gso_", "b32", false },
	[INV_GSM] = { "gsm_", "b32", false }, [INV_GSA] = { "gsa_", "b32", false },
	[INV_GS] = { "gs", "b32", true },     [INV_GPO] = { "gpo_", "b32", false },
	[INV_GPM] = { "gpm_", "b32", false }, [INV_GPA] = { "gpa_", "b32", false },
	[INV_GP] = { "gp", "b32", true },     [INV_GKO] = { "gko_", "b32", false },
	[INV_GKM] = { "gkm_", "b32", false }, [INV_GKA] = { "gka_", "b32", false },
	[INV_GK] = { "gk", "b32", true },     [INV_GSU] = { "gsu", "b64", true },
	[INV_GSG] = { "gsg", "b64", true },   [INV_GPU] = { "gpu", "b64", true },
	[INV_GPG] = { "gpg", "b64", true },   [INV_GG] = { "gg", "b64", true },
	[INV_GB] = { "gb_", "b32", false }, [INV_GNS] = { "gns_", "b32", false },
	[INV_GCZ] = { "gcz_", "b32", false }, [INV_GTI] = { "gti_", "b32", false },
	[INV_GTA] = { "gta_", "b64", false }, [INV_GT] = { "gt_", "b64", false },
	[INV_GUI] = { "gui_", "b32", false }, [INV_GUA] = { "gua_", "b64", false },
	[INV_GUQ] = { "guq_", "b64", false }, [INV_GUO] = { "guo", "b32", true },
	[INV_GUX] = { "gux", "b64", true },   [INV_GUY] = { "guy", "b64", true },
	[INV_GUZ] = { "guz", "b64", true },   [INV_GUXA] = { "guxa", "b64", true },
	[INV_GUYA] = { "guya", "b64", true },
	[INV_GCR] = { "gcr_", "b32", false }, [INV_GCM] = { "gcm_", "b32", false },
	[INV_GCB] = { "gcb_", "b32", false }, [INV_GCO] = { "gco_", "b32", false },
	[INV_GCI] = { "gci_", "b32", false }, [INV_GCJ] = { "gcj_", "b32", false },
	[INV_GCS] = { "gcs", "b32", true },   [INV_GCU] = { "gcu", "b64", true },
	[INV_GCG] = { "gcg", "b64", true },
	[INV_GN] = { "gn_", "b32", false },
	[INV_GAM] = { "gam_", "b32", false }, [INV_GMM] = { "gmm_", "b32", false },
};

/* --- text --- */

void rw_buf_add(struct rw *rw, struct rw_buf *b, const char *s, size_t n)
{
	if (b->len + n + 1 > b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 4096;
		char *p;

		while (cap < b->len + n + 1)
			cap *= 2;
		p = cap > (size_t)1 << 31 ? NULL : realloc(b->p, cap);
		if (!p)
			rw_refuse(rw, 0, "the guarded module's text is too large");
		b->p = p;
		b->cap = cap;
	}
	memcpy(b->p + b->len, s, n);
	b->len += n;
	b->p[b->len] = 0;
}

static void vfmt(struct rw *rw, struct rw_buf *b, const char *fmt, va_list ap)
{
	char line[512];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	if (n < 0 || (size_t)n >= sizeof(line))
		rw_refuse(rw, 0, "a line of the guarded text is too long");
	rw_buf_add(rw, b, line, (size_t)n);
}

void rw_buf_fmt(struct rw *rw, struct rw_buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfmt(rw, b, fmt, ap);
	va_end(ap);
}

void rw_line(struct rw_out *o, const char *fmt, ...)
{
	va_list ap;

	rw_buf_add(o->rw, &o->rw->body, "\t", 1);
	va_start(ap, fmt);
	vfmt(o->rw, &o->rw->body, fmt, ap);
	va_end(ap);
	rw_buf_add(o->rw, &o->rw->body, "\n", 1);
}

struct rname rw_rn(struct rw_out *o, uint32_t reg)
{
	struct rw_reg *r = &o->k->regs[reg];
	struct rname n;

	if (r->special) {
		o->entry |= EN_GD;
		snprintf(n.s, sizeof(n.s), "%%gd");
		return n;
	}
	if (r->num == UINT32_MAX)
		r->num = o->class_count[r->cls]++;
	snprintf(n.s, sizeof(n.s), "%s%" PRIu32, classes[r->cls].prefix, r->num);
	return n;
}

struct rname rw_temp(struct rw_out *o, enum rw_class c)
{
	return rw_rn(o, rw_new_reg(o->k, c));
}

uint32_t rw_inv(struct rw_out *o, enum inv family, unsigned log2w)
{
	return o->inv_count[family][families[family].widths ? log2w : 0]++;
}

uint32_t rw_label_number(struct rw_out *o, uint32_t label)
{
	if (!o->label_num[label])
		o->label_num[label] = ++o->next_label;
	return o->label_num[label];
}

uint32_t rw_fresh_label(struct rw_out *o)
{
	return ++o->next_label;
}

static void print_label(struct rw_out *o, uint32_t label, char out[24])
{
	if (label == RW_LABEL_KILL)
		snprintf(out, 24, "$Lkill");
	else
		snprintf(out, 24, "$L%" PRIu32, rw_label_number(o, label));
}

/* --- operands --- */

struct text { char *s; size_t n, at; struct rw_out *o; uint32_t line; };

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->at, t->n - t->at, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= t->n - t->at)
		rw_refuse(t->o->rw, t->line, "the instruction has too many operands");
	t->at += (size_t)n;
}

static void put_operand(struct text *t, const struct ptx_operand *op)
{
	const char *open = "{", *close = "}", *sep = ", ";

	if (op->sel)
		rw_refuse(t->o->rw, t->line, "operand selectors of video instructions are not supported");
	if (op->neg && op->kind == PTX_O_REG && t->o->k->regs[op->u.reg].cls != RW_P)
		rw_refuse(t->o->rw, t->line, "a negated register operand is not supported");
	switch (op->kind) {
	case PTX_O_REG: put(t, "%s%s", op->neg ? "!" : "", rw_rn(t->o, op->u.reg).s); break;
	case PTX_O_IMM: put(t, "%" PRId64, (int64_t)op->u.imm); break;
	case PTX_O_FIMM:
		if (op->is_f32)
			put(t, "0f%08" PRIX32, (uint32_t)op->u.imm);
		else
			put(t, "0d%016" PRIX64, op->u.imm);
		break;
	case PTX_O_SREG: put(t, "%s", ptx_sreg_name(op->u.sreg)); break;
	case PTX_O_SINK: put(t, "_"); break;
	case PTX_O_VAR:
		put(t, "%s", op->u.var->name);
		if (op->off)
			put(t, "+%" PRId64, op->off);
		break;
	case PTX_O_PAIR:
		open = close = "";
		sep = "|";
		/* fall through */
	case PTX_O_VEC:
		put(t, "%s", open);
		for (unsigned i = 0; i < op->nlist; i++) {
			put(t, "%s", i ? sep : "");
			put_operand(t, &op->list[i]);
		}
		put(t, "%s", close);
		break;
	default:
		rw_refuse(t->o->rw, t->line, "an operand has an unexpected form");
	}
}

static void put_param_addr(struct text *t, const struct ptx_operand *op)
{
	if (op->base == PTX_O_NONE)
		put(t, "[pc]");
	else if (op->off)
		put(t, "[p%" PRIu32 "+%" PRId64 "]", op->u.param->index, op->off);
	else
		put(t, "[p%" PRIu32 "]", op->u.param->index);
}

static void put_pred(struct text *t, const struct ptx_inst *in)
{
	if (in->has_pred)
		put(t, "@%s%s ", in->pred_neg ? "!" : "", rw_rn(t->o, in->pred).s);
}

static void put_name(struct text *t, const struct ptx_inst *in)
{
	put(t, "%s", ptx_op_name(in->op));
	for (unsigned i = 0; i < in->nmods; i++)
		put(t, ".%s", ptx_mod_name(in->mods[i]));
}

/* --- instructions --- */

/* Gives an access the state space that its fence decided on; a generic one has none so far. */
static void set_space(struct ptx_inst *in, enum where where)
{
	static const uint16_t before[] = { PTX_MOD_weak, PTX_MOD_volatile, PTX_MOD_relaxed, PTX_MOD_acquire,
		PTX_MOD_release, PTX_MOD_acq_rel,
		PTX_MOD_sc, PTX_MOD_mmio, PTX_MOD_cta, PTX_MOD_cluster, PTX_MOD_gpu, PTX_MOD_sys, PTX_MOD_init,
		PTX_MOD_inval,
		PTX_MOD_arrive, PTX_MOD_arrive_drop, PTX_MOD_noComplete, PTX_MOD_expect_tx, PTX_MOD_test_wait,
		PTX_MOD_try_wait,
		PTX_MOD_parity, PTX_MOD_sync, PTX_MOD_aligned, PTX_MOD_m8n8, PTX_MOD_x1, PTX_MOD_x2, PTX_MOD_x4,
		PTX_MOD_trans,
		PTX_MOD_load, PTX_MOD_store, PTX_MOD_a, PTX_MOD_b, PTX_MOD_c, PTX_MOD_d, PTX_MOD_row, PTX_MOD_col,
		PTX_MOD_m16n16k16,
		PTX_MOD_m16n16k8, PTX_MOD_m8n32k16, PTX_MOD_m32n8k16, PTX_MOD_m8n8k4, PTX_MOD_m8n8k32,
		PTX_MOD_m8n8k128 };
	enum ptx_mod m = where == AT_GLOBAL ? PTX_MOD_global : where == AT_SHARED ? PTX_MOD_shared
		: where == AT_CLUSTER ? PTX_MOD_shared_cluster : PTX_MOD_local;
	unsigned at = 0;

	if (in->space != PTX_GENERIC || (where != AT_GLOBAL && where != AT_SHARED && where != AT_LOCAL
		&& where != AT_CLUSTER)
		|| in->nmods >= PTX_MAX_MODS
	    || in->op == PTX_OP_ldu || in->op == PTX_OP_cp)
		return;
	for (unsigned i = 0; i < in->nmods; i++)
		for (size_t b = 0; b < ARRAY_LEN(before); b++)
			if (in->mods[i] == before[b])
				at = i + 1;
	memmove(&in->mods[at + 1], &in->mods[at], (in->nmods - at) * sizeof(in->mods[0]));
	in->mods[at] = (uint16_t)m;
	in->nmods++;
	in->space = where == AT_GLOBAL ? PTX_GLOBAL : where == AT_SHARED ? PTX_SHARED
		: where == AT_CLUSTER ? PTX_SHARED_CLUSTER : PTX_LOCAL;
}

/* Hints that name a cache policy take an operand along; unified is a promise about addresses. */
static void strip_hints(struct ptx_inst *in, unsigned fixed)
{
	if (rw_has(in, PTX_MOD_L2_cache_hint) && in->nops > fixed)
		in->nops--;
	rw_drop_mod(in, PTX_MOD_L2_cache_hint);
	rw_drop_mod(in, PTX_MOD_unified);
	for (unsigned i = 0; i < in->nmods; i++)
		if (in->mods[i] == PTX_MOD_shared_cta)
			in->mods[i] = PTX_MOD_shared;
}

static void general(struct rw_out *o, uint32_t index, struct ptx_inst in)
{
	char mem[4][64], buf[480];
	struct text t = { buf, sizeof(buf), 0, o, in.line };
	bool is_mem[4] = { false };
	enum where where = AT_PLAIN;

	for (unsigned i = 0; i < in.nops && i < 4; i++)
		if (in.ops[i].kind == PTX_O_ADDR) {
			is_mem[i] = rw_fence_access(o, index, i, mem[i], sizeof(mem[i]), &where);
			if (is_mem[i])
				set_space(&in, where);
		}
	if (in.op == PTX_OP_cp && in.nops == 4 && in.ops[3].kind == PTX_O_REG) {
		uint32_t n = rw_inv(o, INV_GCZ, 0);     /* the copy reads no more than it writes */

		rw_line(o, "min.u32 %%gcz_%u, %s, %u;", n, rw_rn(o, in.ops[3].u.reg).s, (unsigned)in.ops[2].u.imm);
		snprintf(mem[3], sizeof(mem[3]), "%%gcz_%u", n);
		is_mem[3] = true;
	}
	put_pred(&t, &in);
	put_name(&t, &in);
	for (unsigned i = 0; i < in.nops; i++) {
		put(&t, i ? ", " : " ");
		if (i < 4 && is_mem[i])
			put(&t, "%s", mem[i]);
		else if (in.ops[i].kind == PTX_O_ADDR && in.space == PTX_PARAM)
			put_param_addr(&t, &in.ops[i]);
		else
			put_operand(&t, &in.ops[i]);
	}
	if (rw_waits(&in))
		rw_meet_check(o, &in, "");
	rw_line(o, "%s;", buf);
}

static bool all_lines(const struct rw_out *o, uint32_t label, uint32_t here)
{
	return label != RW_LABEL_KILL && o->label_at[label] && o->label_at[label] <= here + 1;
}

static void branch(struct rw_out *o, uint32_t index, const struct ptx_inst *in)
{
	char label[24], buf[64];
	struct text t = { buf, sizeof(buf), 0, o, in->line };

	rw_report_flush(o);
	if (in->type == RW_MEET_LOOK) {
		rw_meet_look(o, in->ops[0].u.label);
		return;
	}
	if (all_lines(o, in->ops[0].u.label, index))
		rw_poll(o);
	put_pred(&t, in);
	print_label(o, in->ops[0].u.label, label);
	rw_line(o, "%sbra %s;", in->has_pred ? buf : "", label);
}

static void branch_table(struct rw_out *o, uint32_t index, const struct ptx_inst *in)
{
	uint32_t table = in->ops[1].u.table, n = o->k->tables[table].n, b;
	char buf[64], idx[64];
	struct text t = { buf, sizeof(buf), 0, o, in->line }, ti = { idx, sizeof(idx), 0, o, in->line };
	bool back = false;

	if (!n)
		rw_refuse(o->rw, in->line, "the branch has no targets");
	rw_report_flush(o);
	for (uint32_t i = 0; i < n; i++)
		back |= all_lines(o, o->k->tables[table].labels[i], index);
	if (in->ops[0].kind == PTX_O_REG) {
		put_operand(&ti, &in->ops[0]);
	} else {
		put(&ti, "%s", rw_temp(o, RW_R).s);
		rw_line(o, "mov.u32 %s, %" PRId64 ";", idx, (int64_t)(in->ops[0].u.imm & UINT32_MAX));
	}
	if (back)
		rw_poll(o);
	b = rw_inv(o, INV_GB, 0);
	if (!o->table_num[table]) {
		o->tables_used[o->ntables_used++] = table;
		o->table_num[table] = o->ntables_used;
	}
	rw_line(o, "min.u32 %%gb_%u, %s, %u;", b, idx, n - 1);
	put_pred(&t, in);
	rw_line(o, "%sbrx.idx %%gb_%u, $T%u;", in->has_pred ? buf : "", b, o->table_num[table] - 1);
}

static void barrier(struct rw_out *o, const struct ptx_inst *in)
{
	char buf[256] = "";
	struct text t = { buf, sizeof(buf), 0, o, in->line };

	put_pred(&t, in);
	if (rw_has(in, PTX_MOD_cluster)) {
		rw_cluster_barrier(o, in, buf);
		return;
	}
	put_name(&t, in);
	put(&t, " ");
	put_operand(&t, &in->ops[0]);
	rw_meet_check(o, in, "barrier.sync");
	rw_line(o, "%s;", o->k->meet ? "barrier.sync 0" : buf);         /* a warp may come in parts */
}

static void nap(struct rw_out *o, const struct ptx_inst *in)
{
	char buf[64];
	struct text t = { buf, sizeof(buf), 0, o, in->line };
	uint32_t n;

	put_pred(&t, in);
	if (in->ops[0].kind == PTX_O_IMM) {
		rw_line(o, "%snanosleep.u32 %u;", in->has_pred ? buf : "",
			in->ops[0].u.imm > 1000000 ? 1000000u : (unsigned)in->ops[0].u.imm);
		return;
	}
	if (in->ops[0].kind != PTX_O_REG)
		rw_refuse(o->rw, in->line, "opcode 'nanosleep' has an unexpected operand");
	n = rw_inv(o, INV_GNS, 0);
	rw_line(o, "min.u32 %%gns_%u, %s, 1000000;", n, rw_rn(o, in->ops[0].u.reg).s);
	rw_line(o, "%snanosleep.u32 %%gns_%u;", in->has_pred ? buf : "", n);
}

static void call_argument(struct rw_out *o, const struct ptx_inst *in, const struct rw_callee *c, unsigned i,
	char out[64])
{
	struct text t = { out, 64, 0, o, in->line };
	const struct ptx_operand *op = &in->ops[i + 1];
	static const uint8_t bytes[RW_NCLASS] = { 1, 2, 4, 8, 16 };

	if (op->kind == PTX_O_NONE && i == 2) {         /* ag_rt_printf: where the kernel's local memory is */
		o->entry |= o->k->local.used ? EN_GLB : 0;
		put(&t, "%s", o->k->local.used ? "%glb" : "0");
	} else if (op->kind == PTX_O_NONE) {
		put(&t, "%" PRIu64, o->k->local.used ? o->k->local.bytes : 0);
	} else if ((op->kind == PTX_O_REG && bytes[o->k->regs[op->u.reg].cls] == ptx_type_bytes(c->params[i]))
		|| op->kind == PTX_O_IMM) {
		put_operand(&t, op);
	} else {
		rw_refuse(o->rw, in->line, "an argument of the call has an unexpected form");
	}
}

static void call_out(struct rw_out *o, const struct ptx_inst *in)
{
	const struct rw_callee *c = in->loc_file ? rw_gate(o->rw,
		o->rw->opt->gates[in->loc_file - 1].name) : rw_runtime_at(in->type);
	char args[16][64], list[160] = "";
	bool has_ret = c->ret != PTX_T_NONE;

	for (unsigned i = 0; i < c->nparams; i++) {
		size_t at = strlen(list);

		call_argument(o, in, c, i, args[i]);
		snprintf(list + at, sizeof(list) - at, "%sc%u", i ? ", " : "", i);
	}
	rw_line(o, "{");
	for (unsigned i = 0; i < c->nparams; i++)
		rw_line(o, ".param .b%u c%u;", ptx_type_bytes(c->params[i]) * 8, i);
	if (has_ret)
		rw_line(o, ".param .b%u cr;", ptx_type_bytes(c->ret) * 8);
	for (unsigned i = 0; i < c->nparams; i++)
		rw_line(o, "st.param.b%u [c%u], %s;", ptx_type_bytes(c->params[i]) * 8, i, args[i]);
	rw_line(o, "call %s%s%s%s%s%s;", has_ret ? "(cr), " : "", c->ptx_name, c->nparams ? ", (" : "", list,
		c->nparams ? ")" : "", "");
	if (has_ret)
		rw_line(o, "ld.param.b%u %s, [cr];", ptx_type_bytes(c->ret) * 8, rw_rn(o, in->ops[0].u.reg).s);
	rw_line(o, "}");
}

static void check_cp_async(struct rw_out *o, struct ptx_inst *in)
{
	bool copy = in->nops > 0 && in->ops[0].kind == PTX_O_ADDR;

	if (!rw_has(in, PTX_MOD_async))
		rw_refuse(o->rw, in->line, "opcode 'cp' is not supported in this form");
	if (!copy)
		return;
	if (in->nops < 3 || in->ops[1].kind != PTX_O_ADDR || in->ops[2].kind != PTX_O_IMM
	    || (in->ops[2].u.imm != 4 && in->ops[2].u.imm != 8 && in->ops[2].u.imm != 16))
		rw_refuse(o->rw, in->line, "opcode 'cp.async' needs a literal size of 4, 8 or 16 bytes");
	if (in->nops > 3 && in->ops[3].kind == PTX_O_IMM && in->ops[3].u.imm == in->ops[2].u.imm)
		in->nops = 3;                           /* the source is as long as the copy, which is the default */
	if (in->nops > 4 || (in->nops == 4 && (in->ops[3].kind == PTX_O_IMM ? in->ops[3].u.imm > in->ops[2].u.imm :
	    in->ops[3].kind != PTX_O_REG || o->k->regs[in->ops[3].u.reg].cls != RW_R)))
		rw_refuse(o->rw, in->line, "opcode 'cp.async' has an unexpected source size");
}

/* Suffixes of accesses in the order of the PTX grammar; the compiler takes them in any. */
static unsigned mod_rank(uint16_t m)
{
	static const struct { uint8_t rank; uint16_t mod;
	} ranks[] = {
		{ 1, PTX_MOD_weak },
		{ 1, PTX_MOD_volatile },
		{ 1, PTX_MOD_relaxed },
		{ 1, PTX_MOD_acquire },
		{ 1, PTX_MOD_release },
		{ 1, PTX_MOD_acq_rel },
		{ 1, PTX_MOD_sc },
		{ 1, PTX_MOD_mmio },
		{ 2, PTX_MOD_cta },
		{ 2, PTX_MOD_cluster },
		{ 2, PTX_MOD_gpu },
		{ 2, PTX_MOD_sys },
		{ 3, PTX_MOD_const },
		{ 3, PTX_MOD_global },
		{ 3, PTX_MOD_local },
		{ 3, PTX_MOD_param },
		{ 3, PTX_MOD_shared },
		{ 3, PTX_MOD_shared_cluster },
		{ 4, PTX_MOD_ca },
		{ 4, PTX_MOD_cg },
		{ 4, PTX_MOD_cs },
		{ 4, PTX_MOD_lu },
		{ 4, PTX_MOD_cv },
		{ 4, PTX_MOD_wb },
		{ 4, PTX_MOD_wt },
		{ 5, PTX_MOD_nc },
		{ 6, PTX_MOD_L1_evict_first },
		{ 6, PTX_MOD_L1_evict_last },
		{ 6, PTX_MOD_L1_evict_normal },
		{ 6, PTX_MOD_L1_evict_unchanged },
		{ 6, PTX_MOD_L1_no_allocate },
		{ 7, PTX_MOD_L2_evict_first },
		{ 7, PTX_MOD_L2_evict_last },
		{ 7, PTX_MOD_L2_evict_normal },
		{ 8, PTX_MOD_L2_64B },
		{ 8, PTX_MOD_L2_128B },
		{ 8, PTX_MOD_L2_256B },
		{ 10, PTX_MOD_noftz },
		{ 11, PTX_MOD_v2 },
		{ 11, PTX_MOD_v4 },
		{ 11, PTX_MOD_v8 },
	};

	for (size_t i = 0; i < ARRAY_LEN(ranks); i++)
		if (ranks[i].mod == m)
			return ranks[i].rank;
	return ptx_mod_type(m) == PTX_T_NONE ? 9 : 12;
}

static void sort_mods(struct ptx_inst *in)
{
	for (unsigned i = 1; i < in->nmods; i++)
		for (unsigned j = i; j > 0 && mod_rank(in->mods[j - 1]) > mod_rank(in->mods[j]); j--) {
			uint16_t t = in->mods[j];

			in->mods[j] = in->mods[j - 1];
			in->mods[j - 1] = t;
		}
}

/* Before the fences are planned: operands that are dropped, and forms that planning relies on. */
static void prepare(struct rw_out *o, struct ptx_inst *in)
{
	switch (rw_op(in->op)->cls) {
	case RW_C_LD: case RW_C_ST: case RW_C_RED:
		strip_hints(in, 2);
		sort_mods(in);
		break;
	case RW_C_ATOM:
		strip_hints(in, rw_has(in, PTX_MOD_cas) ? 4 : 3);
		sort_mods(in);
		break;
	case RW_C_CPASYNC:
		strip_hints(in, in->nops == 5 ? 4 : 3);
		check_cp_async(o, in);
		break;
	case RW_C_LDMATRIX: strip_hints(in, 255); break;
	default: break;
	}
}

static void matrix(struct rw_out *o, struct ptx_inst in)
{
	char addr[32], stride[32], buf[480];
	struct text t = { buf, sizeof(buf), 0, o, in.line };
	unsigned store = rw_has(&in, PTX_MOD_store);
	bool shared;

	if (!o->rw->opt->fence) {
		const struct ptx_operand *m = &in.ops[store ? 0 : 1];

		put_pred(&t, &in);
		put_name(&t, &in);
		for (unsigned i = 0; i < in.nops; i++) {
			put(&t, i ? ", " : " ");
			if (&in.ops[i] == m && m->kind == PTX_O_ADDR)
				put(&t, "[%s+%" PRId64 "]", m->base == PTX_O_VAR ? m->u.var->name : rw_rn(o,
					m->u.reg).s, m->off);
			else
				put_operand(&t, &in.ops[i]);
		}
		rw_line(o, "%s;", buf);
		return;
	}
	rw_matrix(o, &in, addr, stride, &shared);
	set_space(&in, shared ? AT_SHARED : AT_GLOBAL);
	put_pred(&t, &in);
	put_name(&t, &in);
	put(&t, " ");
	if (store)
		put(&t, "%s, ", addr);
	put_operand(&t, &in.ops[store ? 1 : 0]);
	rw_meet_check(o, &in, "");
	rw_line(o, store ? "%s, %s;" : "%s, %s, %s;", buf, store ? stride : addr, stride);
}

static void texture(struct rw_out *o, const struct ptx_inst *in)
{
	char handle[24], buf[480];
	struct text t = { buf, sizeof(buf), 0, o, in->line };
	const struct ptx_operand *tex = &in->ops[1];

	rw_texture(o, in, tex, handle);
	put_pred(&t, in);
	put_name(&t, in);
	put(&t, " ");
	put_operand(&t, &in->ops[0]);
	put(&t, ", [%s", handle);
	if (tex->kind == PTX_O_TEX) {
		put(&t, ", ");
		put_operand(&t, &tex->list[1]);
	}
	put(&t, "]");
	for (unsigned i = 2; i < in->nops; i++) {
		put(&t, ", ");
		put_operand(&t, &in->ops[i]);
	}
	rw_line(o, "%s;", buf);
}

static void join(struct rw_out *o, const struct ptx_inst *in)
{
	char mask[24], buf[480], name[64];
	struct text t = { buf, sizeof(buf), 0, o, in->line }, tn = { name, sizeof(name), 0, o, in->line };

	if (!in->nops || (in->op == PTX_OP_bar && in->nops != 1))
		rw_refuse(o->rw, in->line, "opcode '%s' has an unexpected number of operands", ptx_op_name(in->op));
	rw_warp_mask(o, in, mask);
	put_pred(&t, in);
	put_name(&t, in);
	put(&t, " ");
	for (unsigned i = 0; i + 1 < in->nops; i++) {
		put_operand(&t, &in->ops[i]);
		put(&t, ", ");
	}
	put_name(&tn, in);
	rw_meet_check(o, in, name);
	rw_line(o, "%s%s;", buf, mask);
}

/* One value is printed without braces: the canonical form has one way to say a thing. */
static void put_values(struct text *t, const struct ptx_operand *op)
{
	put_operand(t, op->kind == PTX_O_VEC && op->nlist == 1 ? &op->list[0] : op);
}

static void surface(struct rw_out *o, const struct ptx_inst *in)
{
	char place[112], buf[480];
	struct text t = { buf, sizeof(buf), 0, o, in->line };

	rw_surface(o, in, place);
	put_pred(&t, in);
	if (in->op == PTX_OP_suq) {
		put_name(&t, in);
	} else {                                        /* .trap, also unsaid, is .zero here */
		put(&t, "%s", ptx_op_name(in->op));
		for (unsigned i = 0; i < in->nmods; i++)
			if (in->mods[i] != PTX_MOD_trap)
				put(&t, ".%s", ptx_mod_name(in->mods[i]));
		put(&t, "%s", rw_has(in, PTX_MOD_clamp) || rw_has(in, PTX_MOD_zero) ? "" : ".zero");
	}
	put(&t, " ");
	if (in->op == PTX_OP_sust)
		put(&t, "%s, ", place);
	put_values(&t, &in->ops[in->op == PTX_OP_sust ? 1 : 0]);
	if (in->op != PTX_OP_sust)
		put(&t, ", %s", place);
	rw_line(o, "%s;", buf);
}

static void map_address(struct rw_out *o, const struct ptx_inst *in)
{
	char rank[24] = "", buf[256];
	struct text t = { buf, sizeof(buf), 0, o, in->line };

	if (o->k->peers)
		rw_cluster_mapa(o, in, rank);
	put_pred(&t, in);
	put_name(&t, in);
	put(&t, " ");
	put_operand(&t, &in->ops[0]);
	put(&t, ", ");
	put_operand(&t, &in->ops[1]);
	put(&t, ", %s", rank);
	if (!*rank)
		put_operand(&t, &in->ops[2]);
	rw_line(o, "%s;", buf);
}

/* mov.b32 %r, {0, %h}: literals are not packed in the canonical form.  The copy's operands are its own. */
static struct ptx_inst pack_literals(struct rw_out *o, const struct ptx_inst *in)
{
	struct ptx_inst copy = *in;
	struct ptx_operand *v;
	unsigned bytes = ptx_type_bytes(in->type) / (in->ops[1].nlist ? in->ops[1].nlist : 1);
	enum rw_class c = bytes == 2 ? RW_H : bytes == 4 ? RW_R : RW_RD;

	if (bytes != 2 && bytes != 4 && bytes != 8)
		return copy;
	copy.ops = rw_alloc(o->rw, 2 * sizeof(*copy.ops));
	memcpy(copy.ops, in->ops, 2 * sizeof(*copy.ops));
	v = &copy.ops[1];
	v->list = rw_alloc(o->rw, v->nlist * sizeof(*v->list) + 1);
	memcpy(v->list, in->ops[1].list, v->nlist * sizeof(*v->list));
	for (unsigned i = 0; i < v->nlist; i++) {
		uint32_t reg;

		if (v->list[i].kind != PTX_O_IMM)
			continue;
		reg = rw_new_reg(o->k, c);
		rw_line(o, "mov.b%u %s, %" PRId64 ";", bytes * 8, rw_rn(o, reg).s, (int64_t)v->list[i].u.imm);
		v->list[i] = rw_reg_op(reg);
	}
	return copy;
}

/* A predicate has no literals in the canonical form. */
static void constant_pred(struct rw_out *o, const struct ptx_inst *in)
{
	struct rname t = rw_temp(o, RW_R);
	char buf[64] = "";
	struct text x = { buf, sizeof(buf), 0, o, in->line };

	if (in->ops[0].kind != PTX_O_REG)
		rw_refuse(o->rw, in->line, "opcode 'mov.pred' has an unexpected operand");
	put_pred(&x, in);
	rw_line(o, "mov.u32 %s, %d;", t.s, in->ops[1].u.imm != 0);
	rw_line(o, "%ssetp.ne.u32 %s, %s, 0;", buf, rw_rn(o, in->ops[0].u.reg).s, t.s);
}

void rw_print_inst(struct rw_out *o, uint32_t i)
{
	const struct ptx_inst *in = &o->k->insts[i];

	switch (in->op) {
	case RW_OP_LABEL:
		rw_report_flush(o);
		rw_buf_fmt(o->rw, &o->rw->body, "$L%" PRIu32 ":\n", rw_label_number(o, in->ops[0].u.label));
		return;
	case RW_OP_CALL: call_out(o, in); return;
	case RW_OP_DIE:
		rw_report_flush(o);
		rw_report_die(o, in);
		return;
	case RW_OP_NOUNROLL: rw_line(o, ".pragma \"nounroll\";"); return;
	default: break;
	}
	if (in->op == PTX_OP_mov && in->type == PTX_T_PRED && in->ops[1].kind == PTX_O_IMM) {
		constant_pred(o, in);
		return;
	}
	if (in->op == PTX_OP_mov && in->nops == 2 && in->ops[1].kind == PTX_O_VEC) {
		general(o, i, pack_literals(o, in));
		return;
	}
	if (o->rw->opt->fence && rw_joins_warp(in)) {
		join(o, in);
		return;
	}
	switch (rw_op(in->op)->cls) {
	case RW_C_BRA: branch(o, i, in); break;
	case RW_C_BRX: branch_table(o, i, in); break;
	case RW_C_BAR: barrier(o, in); break;
	case RW_C_SLEEP: nap(o, in); break;
	case RW_C_MAPA: map_address(o, in); break;
	case RW_C_TEX:
		if (in->op == PTX_OP_suld || in->op == PTX_OP_sust || in->op == PTX_OP_suq)
			surface(o, in);
		else
			texture(o, in);
		break;
	case RW_C_WMMA:
		if (!rw_has(in, PTX_MOD_mma)) {
			matrix(o, *in);
			break;
		}
		/* fall through */
	default: general(o, i, *in);
	}
}

static bool block_end(const struct ptx_inst *in)
{
	return in->op == PTX_OP_bra || in->op == PTX_OP_brx || in->op == RW_OP_DIE;
}

static void print_body(struct rw_out *o)
{
	struct rw_kernel *k = o->k;

	for (uint32_t i = 0; i < k->ninsts; i++) {
		prepare(o, &k->insts[i]);
		if (k->insts[i].op == RW_OP_LABEL)
			o->label_at[k->insts[i].ops[0].u.label] = i + 1;
	}
	for (uint32_t from = 0, to; from < k->ninsts; from = to) {
		for (to = from; to < k->ninsts; to++) {
			if (to > from && k->insts[to].op == RW_OP_LABEL)
				break;
			if (block_end(&k->insts[to])) {
				to++;
				break;
			}
		}
		if (rw_strip(o, from, to))
			continue;
		rw_fence_plan(o, from, to);
		for (uint32_t i = from; i < to; i++)
			rw_print_inst(o, i);
	}
	rw_report_flush(o);
	rw_buf_fmt(o->rw, &o->rw->body, "$Lkill:\n");
	rw_report_exit(o);
	rw_cluster_exit(o);
	rw_line(o, "ret;");
}

/* --- what stands before the body --- */

static void head(struct rw_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void head(struct rw_out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfmt(o->rw, &o->rw->text, fmt, ap);
	va_end(ap);
}

static void print_params(struct rw_out *o)
{
	const struct ptx_func *f = o->k->src;

	head(o, ".visible .entry k%" PRIu32 "(\n", o->k->index);
	for (uint32_t i = 0; i < f->nparams; i++) {
		const struct ptx_param *p = &f->params[i];
		const char *comma = i + 1 < f->nparams || o->k->hidden_coop ? "," : "";

		if (p->is_array || p->vec > 1)
			head(o, "\t.param .align %" PRIu32 " .b8 p%" PRIu32 "[%" PRIu64 "]%s\n", p->align, i, p->size,
				comma);
		else
			head(o, "\t.param .b%u p%" PRIu32 "%s\n", ptx_type_bytes(p->type) * 8, i, comma);
	}
	if (o->k->hidden_coop)
		head(o, "\t.param .b64 pc\n");
	head(o, ")\n");
	if (f->maxntid[0])
		head(o, ".maxntid %" PRIu32 ", %" PRIu32 ", %" PRIu32 "\n", f->maxntid[0],
			f->maxntid[1] ? f->maxntid[1] : 1,
			f->maxntid[2] ? f->maxntid[2] : 1);
	if (f->reqntid[0])
		head(o, ".reqntid %" PRIu32 ", %" PRIu32 ", %" PRIu32 "\n", f->reqntid[0],
			f->reqntid[1] ? f->reqntid[1] : 1,
			f->reqntid[2] ? f->reqntid[2] : 1);
	if (f->minnctapersm)
		head(o, ".minnctapersm %" PRIu32 "\n", f->minnctapersm);
	if (f->maxnreg)
		head(o, ".maxnreg %" PRIu32 "\n", f->maxnreg);
	if (f->explicit_cluster)
		head(o, ".explicitcluster\n");
	if (f->reqnctapercluster[0])
		head(o, ".reqnctapercluster %" PRIu32 ", %" PRIu32 ", %" PRIu32 "\n", f->reqnctapercluster[0],
			f->reqnctapercluster[1] ? f->reqnctapercluster[1] : 1,
			f->reqnctapercluster[2] ? f->reqnctapercluster[2] : 1);
	if (f->maxclusterrank)
		head(o, ".maxclusterrank %" PRIu32 "\n", f->maxclusterrank);
}

static void print_registers(struct rw_out *o)
{
	static const struct { uint32_t bit; const char *type, *name; } entry_regs[] = {
		{ EN_GW, "b32", "%gw" }, { EN_GM, "b32", "%gm" }, { EN_GD, "b64", "%gd" },
		{ EN_POLL, "b64", "%gkill" }, { EN_POLL, "b32", "%gc" }, { EN_POLL, "b32", "%gx" }, { EN_POLL, "b32",
		"%gf" },
		{ EN_POLL, "pred", "%gq" }, { EN_GSB, "b32", "%gsb" }, { EN_GSN, "b32", "%gsd" }, { EN_GSN, "b32",
		"%gsn" },
		{ EN_GLB, "b32", "%glb" }, { EN_GKB, "b32", "%gkb" }, { EN_GT, "b64", "%gtb" }, { EN_GT, "b32",
		"%gtc" },
		{ EN_GT, "b32", "%gtl" }, { EN_GU, "b64", "%gub" }, { EN_GU, "b32", "%guc" },
		{ EN_GU, "b32", "%gul" }, { EN_GWE, "b32", "%gwe" }, { EN_CLUSTER, "b32", "%gcf" },
		{ EN_CLUSTER, "pred", "%gcq" }, { EN_ZERO, "b32", "%gzz" }, { EN_ZERO_LOOP, "b32", "%gza" },
		{ EN_ZERO_LOOP, "b32", "%gzo" }, { EN_ZERO_SHARED, "b32", "%gzs" }, { EN_ZERO_SHARED, "b32", "%gzt" },
		{ EN_ZERO_LOOP, "pred", "%gzq" },
	};

	for (unsigned c = 0; c < RW_NCLASS; c++)
		if (o->class_count[c])
			head(o, "\t.reg .%s %s<%" PRIu32 ">;\n", classes[c].type, classes[c].prefix, o->class_count[c]);
	for (unsigned f = 0; f < INV_COUNT; f++)
		for (unsigned w = 0; w < 6; w++) {
			if (!o->inv_count[f][w] || f == INV_GY)
				continue;
			if (families[f].widths)
				head(o, "\t.reg .%s %%%s%u_<%" PRIu32 ">;\n", families[f].type, families[f].name,
					1u << w, o->inv_count[f][w]);
			else
				head(o, "\t.reg .%s %%%s<%" PRIu32 ">;\n", families[f].type, families[f].name,
				o->inv_count[f][w]);
		}
	for (const char *m = "lnhouvwbqms"; *m && o->inv_count[INV_GY][0]; m++)
		head(o, "\t.reg .b32 %%gy%c_<%" PRIu32 ">;\n", *m, o->inv_count[INV_GY][0]);
	if (o->inv_count[INV_GY][0]) {
		head(o, "\t.reg .b64 %%gya_<%" PRIu32 ">;\n", o->inv_count[INV_GY][0]);
		head(o, "\t.reg .pred %%gye_<%" PRIu32 ">;\n", o->inv_count[INV_GY][0]);
	}
	for (size_t i = 0; i < ARRAY_LEN(entry_regs); i++)
		if (o->entry & entry_regs[i].bit)
			head(o, "\t.reg .%s %s;\n", entry_regs[i].type, entry_regs[i].name);
	rw_meet_registers(o, &o->rw->text);
	for (const char *m = "nlatex"; *m && o->k->peers; m++)
		head(o, "\t.reg .b32 %%gc%c;\n", *m);
	for (uint32_t i = 0; i < o->nfoot; i++)
		head(o, "\t.reg .b32 %%gsl%" PRIu32 ";\n", o->footprints[i]);
}

static void print_tables(struct rw_out *o)
{
	for (uint32_t i = 0; i < o->ntables_used; i++) {
		const struct rw_table *t = &o->k->tables[o->tables_used[i]];

		head(o, "$T%" PRIu32 ": .branchtargets ", i);
		for (uint32_t j = 0; j < t->n; j++) {
			char label[24];

			print_label(o, t->labels[j], label);
			head(o, "%s%s", j ? ", " : "", label);
		}
		head(o, ";\n");
	}
}

static void print_entry(struct rw_out *o)
{
	struct rw_kernel *k = o->k;
	static const struct { uint32_t bit; const char *text; } lines[] = {
		{ EN_GW, "ld.const.u32 %gw, [ag_desc];" }, { EN_GM, "ld.const.u32 %gm, [ag_desc+4];" },
		{ EN_GD, "ld.const.u64 %gd, [ag_desc+8];" }, { EN_POLL, "ld.const.u64 %gkill, [ag_desc+16];" },
		{ EN_POLL, "mov.u32 %gc, 0;" }, { EN_POLL, "mov.u32 %gf, 0;" },
		{ EN_GWE, "or.b32 %gwe, %gw, %gm;" },
		{ EN_GT, "ld.const.u64 %gtb, [ag_desc+56];" }, { EN_GT, "ld.const.u32 %gtc, [ag_desc+64];" }, { EN_GT,
		"sub.u32 %gtl, %gtc, 1;" },
		{ EN_GU, "ld.const.u64 %gub, [ag_desc+104];" }, { EN_GU, "ld.const.u32 %guc, [ag_desc+112];" },
		{ EN_GU, "sub.u32 %gul, %guc, 1;" },
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (o->entry & lines[i].bit)
			head(o, "\t%s\n", lines[i].text);
	if (o->entry & EN_GSB)
		head(o, k->head ? "\tmov.u32 %%gsb, %s+%" PRIu32 ";\n" : "\tmov.u32 %%gsb, %s;\n",
			k->smem.used ? k->smem.var.name : "ag_dyn", k->head);
	if (o->entry & EN_GSN) {
		head(o, "\tmov.u32 %%gsd, %%dynamic_smem_size;\n");
		head(o, "\tadd.u32 %%gsn, %%gsd, %" PRIu64 ";\n", k->smem.used ? rw_smem_room(k) : 0);
	}
	for (uint32_t i = 0; i < o->nfoot; i++)
		head(o, "\tsub.u32 %%gsl%" PRIu32 ", %%gsn, %" PRIu32 ";\n", o->footprints[i], o->footprints[i]);
	if (o->entry & EN_GLB)
		head(o, "\tmov.u32 %%glb, %s;\n", k->local.var.name);
	if (o->entry & EN_GKB)
		head(o, "\tmov.u32 %%gkb, ag_const;\n");
	rw_meet_entry(o, &o->rw->text);
	rw_scrub_entry(o, &o->rw->text);
	rw_cluster_entry(o, &o->rw->text);
	if (o->record) {
		head(o, "\tmov.u32 %s, 0;\n", rw_rn(o, o->rec_line).s);
		head(o, "\tmov.u64 %s, 0;\n", rw_rn(o, o->rec_addr).s);
	}
}

void rw_print_kernel(struct rw *rw, struct rw_kernel *k)
{
	struct rw_out out = { .rw = rw, .k = k }, *o = &out;

	rw_report_open(o);
	o->label_num = rw_alloc(rw, (k->nlabels + 1) * sizeof(uint32_t));
	o->label_at = rw_alloc(rw, (k->nlabels + 1) * sizeof(uint32_t));
	o->table_num = rw_alloc(rw, (k->ntables + 1) * sizeof(uint32_t));
	o->tables_used = rw_alloc(rw, (k->ntables + 1) * sizeof(uint32_t));
	o->version = rw_alloc(rw, (k->nregs + 1) * sizeof(uint32_t));
	rw->body.len = 0;
	o->entry |= k->peers ? EN_CLUSTER | EN_GSB : 0;
	o->warp = rw_warp_masks(k);
	o->met_open = true;
	print_body(o);
	if (o->record) {
		rw_rn(o, o->rec_line);
		rw_rn(o, o->rec_addr);
	}
	rw_scrub_plan(o);
	k->min_dyn = k->dyn.used ? o->min_dyn : 0;
	if (k->dyn.used && !k->smem.used && k->min_dyn < 32)
		k->min_dyn = 32;
	print_params(o);
	head(o, "{\n");
	print_registers(o);
	if (k->smem.used)
		head(o, "\t.shared .align %" PRIu32 " .b8 %s[%" PRIu64 "];\n", k->smem.align, k->smem.var.name,
			k->smem.bytes);
	if (k->local.used)
		head(o, "\t.local .align %" PRIu32 " .b8 %s[%" PRIu64 "];\n", k->local.align, k->local.var.name,
			k->local.bytes);
	print_tables(o);
	print_entry(o);
	rw_buf_add(rw, &rw->text, rw->body.p, rw->body.len);
	head(o, "}\n");
}
