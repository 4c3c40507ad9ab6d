/* dump.c - what the passes made so far, as text for people: `agileos guard --dump STAGE`.
 *
 * link      the linked module: variables, kernels, functions
 * inline prune relocate define      each kernel's flat stream of instructions after that pass
 * place     where variables went
 * space     the stream, and what is known of the registers in it
 * Registers are %<class><index in the kernel>, labels $<index>; names of variables are the client's until `relocate`.
 * Nothing reads it. */
#include "guard/rewrite.h"
#include <inttypes.h>
#include <string.h>

static const char *const stages[] = { "parse",	  "link",   "place", "inline", "prune",
				      "relocate", "define", "space", "print" };

bool guard_is_stage(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(stages); i++)
		if (!strcmp(stages[i], name))
			return true;
	return false;
}

static void reg(FILE *f, const struct rw_kernel *k, uint32_t r)
{
	static const char *const prefix[RW_NCLASS] = { "p", "h", "r", "rd", "q" };

	if (r >= k->nregs || k->regs[r].cls >= RW_NCLASS)
		fprintf(f, "%%?%" PRIu32, r);
	else if (k->regs[r].special == RW_SP_GD)
		fputs("%gd", f);
	else
		fprintf(f, "%%%s%" PRIu32, prefix[k->regs[r].cls], r);
}

static void operand(FILE *f, const struct rw_kernel *k, const struct ptx_operand *o);

static void list(FILE *f, const struct rw_kernel *k, const struct ptx_operand *o, const char *open, const char *sep,
	const char *close)
{
	fputs(open, f);
	for (unsigned i = 0; i < o->nlist; i++) {
		fputs(i ? sep : "", f);
		operand(f, k, &o->list[i]);
	}
	fputs(close, f);
}

static void base(FILE *f, const struct rw_kernel *k, const struct ptx_operand *o)
{
	switch (o->base) {
	case PTX_O_REG: reg(f, k, o->u.reg); break;
	case PTX_O_VAR: fputs(o->u.var->name, f); break;
	case PTX_O_PARAM: fputs(o->u.param->name, f); break;
	default: fputs("pc", f);
	}
}

static void operand(FILE *f, const struct rw_kernel *k, const struct ptx_operand *o)
{
	fputs(o->neg ? "!" : "", f);
	switch (o->kind) {
	case PTX_O_REG: reg(f, k, o->u.reg); break;
	case PTX_O_IMM: fprintf(f, "%" PRId64, (int64_t)o->u.imm); break;
	case PTX_O_FIMM: fprintf(f, o->is_f32 ? "0f%08" PRIX64 : "0d%016" PRIX64, o->u.imm); break;
	case PTX_O_SREG: fputs(ptx_sreg_name(o->u.sreg), f); break;
	case PTX_O_VAR: fputs(o->u.var->name, f); break;
	case PTX_O_PARAM: fputs(o->u.param->name, f); break;
	case PTX_O_FUNC: fputs(o->u.func->name, f); break;
	case PTX_O_LABEL: fprintf(f, "$%" PRIu32, o->u.label); break;
	case PTX_O_TABLE: fprintf(f, "table %" PRIu32, o->u.table); break;
	case PTX_O_ADDR:
		fputs("[", f);
		base(f, k, o);
		break;
	case PTX_O_VEC: list(f, k, o, "{", ", ", "}"); break;
	case PTX_O_LIST: list(f, k, o, "(", ", ", ")"); break;
	case PTX_O_PAIR: list(f, k, o, "", "|", ""); break;
	case PTX_O_TEX: list(f, k, o, "[", ", ", "]"); break;
	case PTX_O_SINK: fputs("_", f); break;
	default: fputs("-", f);
	}
	if (o->off && (o->kind == PTX_O_ADDR || o->kind == PTX_O_VAR))
		fprintf(f, "%+" PRId64, o->off);
	if (o->kind == PTX_O_ADDR)
		fputs("]", f);
}

static const char *op_name(const struct ptx_inst *in)
{
	return in->op < PTX_OP_COUNT	  ? ptx_op_name(in->op)
	       : in->op == RW_OP_CALL	  ? "CALL"
	       : in->op == RW_OP_DIE	  ? "DIE"
	       : in->op == RW_OP_NOUNROLL ? "NOUNROLL"
					  : "LABEL";
}

static void instruction(FILE *f, const struct rw_kernel *k, const struct ptx_inst *in)
{
	if (in->op == RW_OP_LABEL) {
		fprintf(f, "$%" PRIu32 ":\n", in->ops[0].u.label);
		return;
	}
	fprintf(f, "%6" PRIu32 "\t", in->line);
	if (in->has_pred) {
		fputs(in->pred_neg ? "@!" : "@", f);
		reg(f, k, in->pred);
		fputs(" ", f);
	}
	fputs(op_name(in), f);
	for (unsigned i = 0; i < in->nmods; i++)
		fprintf(f, ".%s", ptx_mod_name(in->mods[i]));
	for (unsigned i = 0; i < in->nops; i++) {
		fputs(i ? ", " : " ", f);
		operand(f, k, &in->ops[i]);
	}
	fputs("\n", f);
}

static void facts(FILE *f, const struct rw_kernel *k)
{
	for (uint32_t r = 0; r < k->nregs; r++) {
		const struct rw_known *kn = &k->known[r];

		if (!kn->is_sym && !kn->space)
			continue;
		fputs("# ", f);
		reg(f, k, r);
		if (kn->is_sym)
			fprintf(f, " = %s%+" PRId64 "%s", kn->sym->name, kn->off, kn->generic ? ", generic" : "");
		fprintf(f, "%s%s%s%s\n", kn->space ? ", may point to" : "", kn->space & RW_W_GLOBAL ? " global" : "",
			kn->space & RW_W_SHARED ? " shared" : "", kn->space & RW_W_LOCAL ? " local" : "");
	}
}

void rw_dump_kernel(const struct rw *rw, const char *stage, const struct rw_kernel *k)
{
	FILE *f = rw->opt->dump;

	if (!f || strcmp(rw->opt->dump_stage, stage))
		return;
	fprintf(f, "kernel %" PRIu32 " %s\n", k->index, k->src->name);
	for (uint32_t i = 0; i < k->ninsts; i++)
		instruction(f, k, &k->insts[i]);
	for (uint32_t t = 0; t < k->ntables; t++) {
		fprintf(f, "table %" PRIu32 ":", t);
		for (uint32_t i = 0; i < k->tables[t].n; i++)
			fprintf(f, " $%" PRIu32, k->tables[t].labels[i]);
		fputs("\n", f);
	}
	if (k->known)
		facts(f, k);
}

void rw_dump_module(const struct rw *rw, const char *stage)
{
	static const char *const places[] = { "unplaced", "data", "const", "shared", "dynamic shared", "local" };
	FILE *f = rw->opt->dump;

	if (!f || strcmp(rw->opt->dump_stage, stage))
		return;
	for (uint32_t i = 0; i < rw->nvars; i++) {
		const struct rw_var *x = rw->vars[i];

		fprintf(f, "variable %s: %" PRIu64 " bytes in .%s, piece %" PRIu32, x->v->name, x->v->size,
			ptx_space_name(x->v->space), x->piece);
		if (x->place)
			fprintf(f, ", %s+%" PRIu64, places[x->place], x->off);
		fputs("\n", f);
	}
	for (uint32_t i = 0; i < rw->nkernels; i++)
		fprintf(f, "kernel %" PRIu32 " %s, piece %" PRIu32 ", %" PRIu32 " instructions\n",
			rw->kernels[i]->index, rw->kernels[i]->src->name, rw->kernels[i]->piece,
			rw->kernels[i]->src->ninsts);
}
