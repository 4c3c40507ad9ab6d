/* ptx_dump.c - a parsed module back as PTX text, for tests and for reading.
 *
 * The text is complete but for debug data (and so for `.target debug`, which demands it): parsing it gives an equal
 * module, and dumping that gives the same text.  Registers, body-level
 * variables, labels and tables are numbered (`%R5`, `$V0$`): flattened scopes may hold one name twice.  This is not
 * what the guard hands to ptxas; it emits its own text. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ptx.h"
#include "ptx_dump.h"

struct out {
	FILE *f;
	const struct ptx_func *fn;
};

static const char *linkage(enum ptx_linkage l)
{
	switch (l) {
	case PTX_L_VISIBLE: return ".visible ";
	case PTX_L_EXTERN: return ".extern ";
	case PTX_L_WEAK: return ".weak ";
	case PTX_L_COMMON: return ".common ";
	default: return "";
	}
}

/* --- variables ------------------------------------------------------------------------------------- */

static int var_index(const struct out *o, const struct ptx_var *v)
{
	for (uint32_t i = 0; v->file_scope_of && o->fn && i < o->fn->nvars; i++)
		if (o->fn->vars[i] == v)
			return (int)i;
	return -1;
}

static void var_name(const struct out *o, const struct ptx_var *v)
{
	int i = var_index(o, v);

	if (i < 0)
		fputs(v->name, o->f);
	else
		fprintf(o->f, "$V%d$", i);
}

static unsigned elem_bytes(enum ptx_type t)
{
	unsigned n = ptx_type_bytes(t);

	return n ? n : 8;
}

static uint64_t load(const struct ptx_var *v, uint64_t at, unsigned n)
{
	uint64_t x = 0;

	for (unsigned i = 0; i < n && i < 8; i++)
		if (at + i < v->init_size)
			x |= (uint64_t)v->init[at + i] << (8 * i);
	return x;
}

static void reloc(const struct out *o, const struct ptx_reloc *r)
{
	if (r->width == 1)
		fprintf(o->f, "0x%" PRIx64 "(", UINT64_C(0xff) << (8 * r->shift));
	fprintf(o->f, r->generic ? "generic(%s)" : "%s", r->sym);
	if (r->addend)
		fprintf(o->f, "+%" PRId64, r->addend);
	if (r->width == 1)
		fputc(')', o->f);
}

static void scalar(const struct out *o, const struct ptx_var *v, uint64_t at, uint32_t *next)
{
	unsigned n = elem_bytes(v->type);
	uint64_t low = load(v, at, n);

	if (*next < v->nrelocs && v->relocs[*next].offset == at)
		reloc(o, &v->relocs[(*next)++]);
	else if (v->type == PTX_T_F32)
		fprintf(o->f, "0f%08" PRIX64, low);
	else if (v->type == PTX_T_F64)
		fprintf(o->f, "0d%016" PRIX64, low);
	else if (n == 16)
		/* A literal has 64 bits; a 128-bit value is its sign extension. */
		fprintf(o->f, "%" PRId64, (int64_t)low);
	else
		fprintf(o->f, "%" PRIu64, low);
}

static void initializer(const struct out *o, const struct ptx_var *v, bool array)
{
	unsigned n = elem_bytes(v->type), step = n * v->vec;
	uint32_t next = 0;

	fputs(" = ", o->f);
	if (array)
		fputc('{', o->f);
	for (uint64_t at = 0; at < v->init_size; at += step) {
		fputs(at ? ", " : "", o->f);
		fputs(v->vec > 1 ? "{" : "", o->f);
		for (unsigned i = 0; i < v->vec; i++) {
			fputs(i ? ", " : "", o->f);
			scalar(o, v, at + i * n, &next);
		}
		fputs(v->vec > 1 ? "}" : "", o->f);
	}
	if (array)
		fputc('}', o->f);
}

static void variable(const struct out *o, const struct ptx_var *v)
{
	uint64_t step = (uint64_t)elem_bytes(v->type) * v->vec;
	bool array = v->unsized || v->size != step;

	fprintf(o->f, "%s.%s ", linkage(v->linkage), ptx_space_name(v->space));
	fputs(v->managed ? ".attribute(.managed) " : "", o->f);
	fprintf(o->f, ".align %u ", v->align);
	if (v->vec > 1)
		fprintf(o->f, ".v%u ", v->vec);
	fprintf(o->f, ".%s ", ptx_type_name(v->type));
	var_name(o, v);
	if (v->unsized)
		fputs("[]", o->f);
	else if (array)
		fprintf(o->f, "[%" PRIu64 "]", v->size / step);
	if (v->init)
		initializer(o, v, array);
	fputs(";\n", o->f);
}

/* --- parameters -------------------------------------------------------------------------------------- */

static void param_name(const struct out *o, const struct ptx_param *p)
{
	if (p->is_formal)
		fputs(p->name, o->f);
	else
		fprintf(o->f, "$P%u$", p->index);
}

static void param_decl(const struct out *o, const struct ptx_param *p)
{
	uint64_t step = (uint64_t)elem_bytes(p->type) * p->vec;

	fputs(p->reg ? ".reg " : ".param ", o->f);
	if (!p->reg)
		fprintf(o->f, ".align %u ", p->align);
	if (p->vec > 1)
		fprintf(o->f, ".v%u ", p->vec);
	fprintf(o->f, ".%s ", ptx_type_name(p->type));
	if (p->ptr_align) {
		fputs(".ptr ", o->f);
		if (p->ptr_space)
			fprintf(o->f, ".%s ", ptx_space_name(p->ptr_space));
		fprintf(o->f, ".align %u ", p->ptr_align);
	}
	param_name(o, p);
	if (p->is_array && p->size == 0)
		fputs("[]", o->f);
	else if (p->is_array)
		fprintf(o->f, "[%" PRIu64 "]", p->size / step);
}

static void params(const struct out *o, const struct ptx_param *p, uint32_t n)
{
	fputc('(', o->f);
	for (uint32_t i = 0; i < n; i++) {
		fputs(i ? ", " : "", o->f);
		param_decl(o, &p[i]);
	}
	fputc(')', o->f);
}

static void signature(const struct out *o, const struct ptx_func *f, const char *name)
{
	if (f->nrets) {
		params(o, f->rets, f->nrets);
		fputc(' ', o->f);
	}
	fputs(name, o->f);
	fputc(' ', o->f);
	params(o, f->params, f->nparams);
}

/* --- operands ---------------------------------------------------------------------------------------- */

/* A formal in the .reg space keeps its name: it is declared by the parameter list. */
static const struct ptx_param *reg_formal(const struct ptx_func *f, uint32_t r, unsigned *element)
{
	for (uint32_t i = 0; i < f->nrets + f->nparams; i++) {
		const struct ptx_param *p = i < f->nrets ? &f->rets[i] : &f->params[i - f->nrets];
		if (p->reg && r >= p->reg - 1 && r - (p->reg - 1) < p->vec) {
			*element = r - (p->reg - 1);
			return p;
		}
	}
	return NULL;
}

static void reg_name(const struct out *o, uint32_t r)
{
	unsigned element = 0;
	const struct ptx_param *p = reg_formal(o->fn, r, &element);

	if (!p)
		fprintf(o->f, "%%R%u", r);
	else if (p->vec == 1)
		fputs(p->name, o->f);
	else
		fprintf(o->f, "%s.%c", p->name, "xyzw"[element & 3]);
}

static void offset(const struct out *o, int64_t off)
{
	if (off)
		fprintf(o->f, "+%" PRId64, off);
}

static void operand(const struct out *o, const struct ptx_operand *op);

static void list(const struct out *o, const struct ptx_operand *op, const char *open, const char *sep,
	const char *close)
{
	fputs(open, o->f);
	for (unsigned i = 0; i < op->nlist; i++) {
		fputs(i ? sep : "", o->f);
		operand(o, &op->list[i]);
	}
	fputs(close, o->f);
}

static void address(const struct out *o, const struct ptx_operand *op)
{
	fputc('[', o->f);
	switch (op->base) {
	case PTX_O_REG: reg_name(o, op->u.reg); break;
	case PTX_O_VAR: var_name(o, op->u.var); break;
	case PTX_O_PARAM: param_name(o, op->u.param); break;
	default:
		fprintf(o->f, "%" PRId64 "]", op->off);
		return;
	}
	offset(o, op->off);
	fputc(']', o->f);
}

static void texture(const struct out *o, const struct ptx_operand *op)
{
	fputc('[', o->f);
	operand(o, &op->list[0]);
	if (op->nlist == 3) {
		fputs(", ", o->f);
		operand(o, &op->list[2]);
	}
	fputs(", ", o->f);
	operand(o, &op->list[1]);
	fputc(']', o->f);
}

static void selector(const struct out *o, unsigned sel)
{
	fputs(sel >> 15 ? ".h" : ".b", o->f);
	for (int i = (int)(sel >> 12 & 7) - 1; i >= 0; i--)
		fputc((int)('0' + (sel >> (3 * i) & 7)), o->f);
}

static void operand(const struct out *o, const struct ptx_operand *op)
{
	switch (op->kind) {
	case PTX_O_REG:
		fputs(!op->neg ? "" : o->fn->regs[op->u.reg].type == PTX_T_PRED ? "!" : "-", o->f);
		reg_name(o, op->u.reg);
		if (op->sel)
			selector(o, op->sel);
		break;
	case PTX_O_IMM: fprintf(o->f, "%" PRId64, (int64_t)op->u.imm); break;
	case PTX_O_FIMM:
		if (op->is_f32)
			fprintf(o->f, "0f%08" PRIX64, op->u.imm);
		else
			fprintf(o->f, "0d%016" PRIX64, op->u.imm);
		break;
	case PTX_O_SREG: fputs(ptx_sreg_name(op->u.sreg), o->f); break;
	case PTX_O_VAR: var_name(o, op->u.var); offset(o, op->off); break;
	case PTX_O_PARAM: param_name(o, op->u.param); offset(o, op->off); break;
	case PTX_O_FUNC: fputs(op->u.func->name, o->f); break;
	case PTX_O_LABEL: fprintf(o->f, "$L%u$", op->u.label); break;
	case PTX_O_TABLE: fprintf(o->f, "$T%u$", op->u.table); break;
	case PTX_O_ADDR: address(o, op); break;
	case PTX_O_VEC: list(o, op, "{", ", ", "}"); break;
	case PTX_O_LIST: list(o, op, "(", ", ", ")"); break;
	case PTX_O_PAIR: list(o, op, "", "|", ""); break;
	case PTX_O_TEX: texture(o, op); break;
	case PTX_O_SINK: fputc('_', o->f); break;
	default: fputs("?", o->f); break;
	}
}

/* --- bodies ------------------------------------------------------------------------------------------- */

static void instruction(const struct out *o, const struct ptx_inst *in)
{
	bool first = true;

	fputc('\t', o->f);
	if (in->has_pred) {
		fputs(in->pred_neg ? "@!" : "@", o->f);
		reg_name(o, in->pred);
		fputc(' ', o->f);
	}
	fputs(ptx_op_name(in->op), o->f);
	for (unsigned i = 0; i < in->nmods; i++)
		fprintf(o->f, ".%s", ptx_mod_name(in->mods[i]));
	for (unsigned i = 0; i < in->nops; i++) {
		/* An empty argument list before a table may stand; an empty result list may not. */
		if (in->op == PTX_OP_call && i == 0 && in->ops[0].nlist == 0)
			continue;
		fputs(first ? " " : ", ", o->f);
		operand(o, &in->ops[i]);
		first = false;
	}
	fputs(";\n", o->f);
}

static void table(const struct out *o, const struct ptx_table *t, uint32_t index)
{
	fprintf(o->f, "$T%u$: ", index);
	if (t->kind == PTX_TAB_PROTOTYPE) {
		fputs(".callprototype ", o->f);
		signature(o, t->proto, "_");
		fputs(t->proto->noreturn ? " .noreturn" : "", o->f);
	} else {
		fputs(t->kind == PTX_TAB_BRANCH ? ".branchtargets " : ".calltargets ", o->f);
		for (uint32_t i = 0; i < t->n; i++) {
			fputs(i ? ", " : "", o->f);
			if (t->kind == PTX_TAB_BRANCH)
				fprintf(o->f, "$L%u$", t->labels[i]);
			else
				fputs(t->funcs[i]->name, o->f);
		}
	}
	fputs(";\n", o->f);
}

static void declarations(const struct out *o)
{
	const struct ptx_func *f = o->fn;
	unsigned element;

	for (uint32_t i = 0; i < f->nregs; i++)
		if (!reg_formal(f, i, &element))
			fprintf(o->f, "\t.reg .%s %%R%u;\n", ptx_type_name(f->regs[i].type), i);
	for (uint32_t i = 0; i < f->nvars; i++) {
		fputc('\t', o->f);
		variable(o, f->vars[i]);
	}
	for (uint32_t i = 0; i < f->nbody_params; i++) {
		fputc('\t', o->f);
		param_decl(o, &f->body_params[i]);
		fputs(";\n", o->f);
	}
	for (uint32_t i = 0; i < f->ntables; i++)
		table(o, &f->tables[i], i);
}

static void body(const struct out *o)
{
	const struct ptx_func *f = o->fn;
	uint32_t label = 0, nounroll = 0, file = 0, line = 0;

	fputs("{\n", o->f);
	declarations(o);
	for (uint32_t i = 0; i <= f->ninsts; i++) {
		/* Labels are in the order of the instructions before which they stand. */
		for (; label < f->nlabels && f->labels[label].inst <= i; label++)
			fprintf(o->f, "$L%u$:\n", label);
		for (; nounroll < f->nnounroll && f->nounroll[nounroll] == i; nounroll++)
			fputs("\t.pragma \"nounroll\";\n", o->f);
		if (i == f->ninsts)
			break;
		if (f->insts[i].loc_file != file || f->insts[i].loc_line != line) {
			file = f->insts[i].loc_file;
			line = f->insts[i].loc_line;
			fprintf(o->f, "\t.loc %u %u 0\n", file, line);
		}
		instruction(o, &f->insts[i]);
	}
	fputs("}\n", o->f);
}

static void triple(const struct out *o, const char *name, const uint32_t v[3])
{
	if (v[0])
		fprintf(o->f, " .%s %u, %u, %u", name, v[0], v[1], v[2]);
}

static void single(const struct out *o, const char *name, uint32_t v)
{
	if (v)
		fprintf(o->f, " .%s %u", name, v);
}

static void header(const struct out *o, bool with_directives)
{
	const struct ptx_func *f = o->fn;

	fprintf(o->f, "%s%s ", linkage(f->linkage), f->is_entry ? ".entry" : ".func");
	signature(o, f, f->name);
	fputs(f->noreturn ? " .noreturn" : "", o->f);
	if (!f->has_body || !with_directives)
		return;
	triple(o, "maxntid", f->maxntid);
	triple(o, "reqntid", f->reqntid);
	single(o, "minnctapersm", f->minnctapersm);
	single(o, "maxnctapersm", f->maxnctapersm);
	single(o, "maxnreg", f->maxnreg);
	triple(o, "reqnctapercluster", f->reqnctapercluster);
	fputs(f->explicit_cluster ? " .explicitcluster" : "", o->f);
	single(o, "maxclusterrank", f->maxclusterrank);
}

static void file_name(FILE *f, const char *s)
{
	fputc('"', f);
	fputs(s, f);
	fputc('"', f);
}

void ptx_dump(const struct ptx_module *m, FILE *f)
{
	struct out o = { .f = f };

	fprintf(f, ".version %d.%d\n.target %s%s\n.address_size 64\n", m->version_major, m->version_minor, m->target,
		m->target_texmode_independent ? ", texmode_independent" : "");
	for (uint32_t i = 0; i < m->nfiles; i++) {
		if (m->files[i]) {
			fprintf(f, ".file %u ", i);
			file_name(f, m->files[i]);
			fputc('\n', f);
		}
	}
	/* Functions before variables: initial values may name functions, bodies come last and may name anything. */
	for (uint32_t i = 0; i < m->nfuncs; i++) {
		o.fn = m->funcs[i];
		header(&o, false);
		fputs(";\n", f);
	}
	o.fn = NULL;
	for (uint32_t i = 0; i < m->nvars; i++)
		variable(&o, m->vars[i]);
	for (uint32_t i = 0; i < m->nfuncs; i++) {
		o.fn = m->funcs[i];
		if (o.fn->has_body) {
			header(&o, true);
			fputc('\n', f);
			body(&o);
		}
	}
}
