/* parse_body.c - function bodies: blocks, labels, tables, debug positions and the head of each instruction.
 *
 * Blocks nest on the parse's scope stack, not on C's. */
#include "parse_internal.h"

static uint32_t loc_number(struct parse *ps)
{
	return (uint32_t)lex_uint(ps, UINT32_MAX, "source position");
}

/* .loc file line column [, function_name label [+ offset], inlined_at file line column] */
static void loc_directive(struct parse *ps)
{
	lex_next(ps);
	ps->loc_file = loc_number(ps);
	ps->loc_line = loc_number(ps);
	loc_number(ps);
	while (lex_accept(ps, ',')) {
		struct sym *word = lex_name(ps, "function_name or inlined_at");
		if (strcmp(word->text, "function_name") == 0) {
			lex_name(ps, "a label");
			if (lex_accept(ps, '+'))
				loc_number(ps);
		} else if (strcmp(word->text, "inlined_at") == 0) {
			loc_number(ps);
			loc_number(ps);
			loc_number(ps);
		} else {
			parse_fail(ps, ps->tok.line, "unknown .loc attribute '%.64s'", word->text);
		}
	}
}

/* --- labels and tables --------------------------------------------------------------------------- */

static void label(struct parse *ps, struct sym *sym, uint32_t line)
{
	struct binding *b = scope_bind(ps, sym, BIND_LABEL, line);
	struct ptx_label *l = vec_push(ps, &ps->labels);

	b->index = (uint32_t)ps->labels.n - 1;
	l->name = sym->text;
	l->inst = (uint32_t)ps->insts.n;
}

/* `A, B, C<4>;` into ps->names */
static void target_names(struct parse *ps)
{
	ps->names.n = 0;
	do {
		uint32_t line = ps->tok.line;
		struct sym *sym = lex_name(ps, "a target"), **slot;
		uint64_t count = 0;
		if (!lex_accept(ps, '<')) {
			slot = vec_push(ps, &ps->names);
			*slot = sym;
			continue;
		}
		count = lex_uint(ps, UINT32_MAX, "number of targets");
		lex_expect(ps, '>', "'>'");
		if (count * (1 + sym->len / 64) > ps->names_left)
			parse_fail(ps, line, "too many numbered labels");
		ps->names_left -= count * (1 + sym->len / 64);
		for (uint32_t i = 0; i < count; i++) {
			struct sym *numbered = decl_numbered(ps, sym, i);
			slot = vec_push(ps, &ps->names);
			*slot = numbered;
		}
	} while (lex_accept(ps, ','));
	lex_expect(ps, ';', "';'");
}

static void branch_targets(struct parse *ps, struct ptx_table *t, uint32_t line)
{
	struct sym **names;

	target_names(ps);
	names = ps->names.data;
	t->n = (uint32_t)ps->names.n;
	t->labels = parse_alloc(ps, t->n * sizeof *t->labels);
	for (uint32_t i = 0; i < t->n; i++)
		scope_label_ref(ps, names[i], &t->labels[i], line);
}

static void call_targets(struct parse *ps, struct ptx_table *t, uint32_t line)
{
	struct sym **names;

	target_names(ps);
	names = ps->names.data;
	t->n = (uint32_t)ps->names.n;
	t->funcs = parse_alloc(ps, t->n * sizeof *t->funcs);
	for (uint32_t i = 0; i < t->n; i++) {
		struct binding *b = scope_lookup(ps, names[i], line);
		if (!b || b->kind != BIND_FUNC || b->u.func->is_entry)
			parse_fail(ps, line, "call target '%.64s' is not a declared device function", names[i]->text);
		t->funcs[i] = b->u.func;
	}
}

/* `name: .branchtargets ...`: the directive is the current token. */
static void table(struct parse *ps, struct sym *sym, uint32_t line)
{
	struct ptx_table t = { .name = sym->text }, *slot;
	struct binding *b = scope_bind(ps, sym, BIND_TABLE, line);

	b->index = (uint32_t)ps->tables.n;
	if (lex_accept_kw(ps, KW_branchtargets)) {
		t.kind = PTX_TAB_BRANCH;
		branch_targets(ps, &t, line);
	} else if (lex_accept_kw(ps, KW_calltargets)) {
		t.kind = PTX_TAB_CALLTARGETS;
		call_targets(ps, &t, line);
	} else {
		lex_next(ps);
		t.kind = PTX_TAB_PROTOTYPE;
		t.proto = parse_alloc(ps, sizeof *t.proto);
		t.proto->name = sym->text;
		func_prototype(ps, t.proto);
	}
	slot = vec_push(ps, &ps->tables);
	*slot = t;
}

/* --- instructions -------------------------------------------------------------------------------- */

static enum ptx_space space_of(enum ptx_mod mod)
{
	switch (mod) {
	case PTX_MOD_const: return PTX_CONST;
	case PTX_MOD_global: return PTX_GLOBAL;
	case PTX_MOD_local: return PTX_LOCAL;
	case PTX_MOD_param: case PTX_MOD_param_entry: case PTX_MOD_param_func: return PTX_PARAM;
	case PTX_MOD_shared: case PTX_MOD_shared_cta: return PTX_SHARED;
	case PTX_MOD_shared_cluster: return PTX_SHARED_CLUSTER;
	case PTX_MOD_tex: return PTX_TEX;
	default: return PTX_GENERIC;
	}
}

static void suffixes(struct parse *ps, struct ptx_inst *in)
{
	in->vec = 1;
	for (; ps->tok.kind == TOK_DOT; lex_next(ps)) {
		enum ptx_mod mod = ps->tok.sym->mod;
		enum ptx_type type = ptx_mod_type(mod);
		enum ptx_space space = space_of(mod);
		if (mod == PTX_MOD_NONE)
			parse_fail(ps, ps->tok.line, "unknown suffix '.%.64s' of '%s'", ps->tok.sym->text,
				ptx_op_name(in->op));
		if (in->nmods == PTX_MAX_MODS)
			parse_fail(ps, ps->tok.line, "'%s' has more than %d suffixes", ptx_op_name(in->op),
				PTX_MAX_MODS);
		in->mods[in->nmods++] = (uint16_t)mod;
		if (type != PTX_T_NONE) {
			in->type = (uint8_t)type;
			if (in->type0 == PTX_T_NONE)
				in->type0 = (uint8_t)type;
		}
		if (space != PTX_GENERIC && in->space == PTX_GENERIC)
			in->space = (uint8_t)space;
		if (mod == PTX_MOD_v2 || mod == PTX_MOD_v4 || mod == PTX_MOD_v8)
			in->vec = mod == PTX_MOD_v2 ? 2 : mod == PTX_MOD_v4 ? 4 : 8;
	}
}

/* The opcode `sym` has been read. */
static void instruction(struct parse *ps, struct ptx_inst *in, struct sym *sym, uint32_t line)
{
	struct ptx_inst *slot;

	if (sym->op == PTX_OP_NONE)
		parse_fail(ps, line, "unknown instruction '%.64s'", sym->text);
	if (++ps->total_insts > PTX_MAX_INSTS)
		parse_fail(ps, line, "more than %d instructions", PTX_MAX_INSTS);
	in->op = sym->op;
	in->line = line;
	in->loc_file = ps->loc_file;
	in->loc_line = ps->loc_line;
	suffixes(ps, in);
	operand_inst(ps, in);
	lex_expect(ps, ';', "';'");
	slot = vec_push(ps, &ps->insts);
	*slot = *in;
}

/* `@p` or `@!p` before an instruction */
static void predicated(struct parse *ps)
{
	struct ptx_inst in = { .has_pred = true };
	uint32_t line;
	struct sym *sym;
	struct binding *b;

	lex_next(ps);
	in.pred_neg = lex_accept(ps, '!');
	line = ps->tok.line;
	sym = lex_name(ps, "a predicate register");
	b = scope_lookup(ps, sym, line);
	if (!b)
		parse_fail(ps, line, "undeclared name '%.64s'", sym->text);
	if (b->kind != BIND_REG || b->type != PTX_T_PRED || b->vec != 1)
		parse_fail(ps, line, "'%.64s' is not a predicate register", sym->text);
	in.pred = b->index;
	line = ps->tok.line;
	sym = lex_name(ps, "an instruction");
	instruction(ps, &in, sym, line);
}

static bool declares(const struct sym *sym)
{
	switch (sym->mod) {
	case PTX_MOD_const: case PTX_MOD_global: case PTX_MOD_local: case PTX_MOD_param: case PTX_MOD_shared:
	case PTX_MOD_weak:
		return true;
	default:
		return sym->kw == KW_reg || sym->kw == KW_visible || sym->kw == KW_extern || sym->kw == KW_common ||
			sym->kw == KW_attribute;
	}
}

static void directive(struct parse *ps)
{
	struct decl d = { .linkage = PTX_L_NONE };

	if (ps->tok.sym->kw == KW_loc) {
		loc_directive(ps);
	} else if (ps->tok.sym->kw == KW_pragma) {
		if (parse_pragma(ps)) {
			uint32_t *at = vec_push(ps, &ps->nounroll);
			*at = (uint32_t)ps->insts.n;
		}
	} else if (declares(ps->tok.sym)) {
		d.linkage = decl_linkage(ps);
		decl_statement(ps, &d);
	} else {
		parse_fail(ps, ps->tok.line, "unknown or misplaced directive '.%.64s'", ps->tok.sym->text);
	}
}

static bool table_follows(const struct parse *ps)
{
	return ps->tok.kind == TOK_DOT && (ps->tok.sym->kw == KW_branchtargets || ps->tok.sym->kw == KW_calltargets ||
		ps->tok.sym->kw == KW_callprototype);
}

static void named_statement(struct parse *ps)
{
	struct ptx_inst in = { .has_pred = false };
	uint32_t line = ps->tok.line;
	struct sym *sym = lex_name(ps, "a statement");

	if (!lex_accept(ps, ':'))
		instruction(ps, &in, sym, line);
	else if (table_follows(ps))
		table(ps, sym, line);
	else
		label(ps, sym, line);
}

/* Everything after the body's '{' up to and including its '}'. */
void body_parse(struct parse *ps)
{
	unsigned outermost = ps->depth;

	for (;;) {
		switch (ps->tok.kind) {
		case '{':
			scope_push(ps, ps->tok.line);
			lex_next(ps);
			break;
		case '}':
			lex_next(ps);
			if (ps->depth == outermost)
				return;
			scope_pop(ps);
			break;
		case '@':
			predicated(ps);
			break;
		case TOK_DOT:
			directive(ps);
			break;
		case TOK_IDENT:
			named_statement(ps);
			break;
		case TOK_EOF:
			parse_fail(ps, ps->scopes[ps->depth].line, "block without an end");
		default:
			parse_unexpected(ps, "a statement");
		}
	}
}
