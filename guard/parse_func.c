/* parse_func.c - .entry and .func headers, formal parameters, performance directives, call prototypes.
 *
 * A header is read into a fresh ptx_func; when the name was declared before, the two are compared and the earlier
 * one is filled in, so that every call made so far already points to the definition. */
#include "parse_internal.h"

static const uint32_t IN_REG = UINT32_MAX;  /* ptx_param.reg of a .reg formal that has no register yet */

static void one_param(struct parse *ps, struct ptx_param *p, bool is_ret)
{
	struct decl d = { .linkage = PTX_L_NONE };
	struct dims dims;

	decl_spec(ps, &d, true);
	if (d.space != PTX_PARAM && d.space != PTX_REG)
		parse_fail(ps, d.line, "a parameter must be in the param or reg space");
	if (d.managed)
		parse_fail(ps, d.line, "a parameter cannot be managed");
	if (ps->tok.kind == TOK_SINK) {
		p->name = parse_intern(ps, "_", 1)->text;
		lex_next(ps);
	} else {
		p->name = lex_name(ps, "a parameter name")->text;
	}
	decl_dims(ps, &dims);
	if (dims.n > 1 || (dims.n && d.space == PTX_REG))
		parse_fail(ps, d.line, "parameter '%.64s' cannot be an array of this kind", p->name);
	p->type = d.type;
	p->vec = d.vec;
	p->align = decl_align(&d);
	p->size = decl_bytes(ps, &d, &dims, p->name);
	p->reg = d.space == PTX_REG ? IN_REG : 0;
	p->is_formal = true;
	p->is_ret = is_ret;
	p->is_array = dims.n > 0;
	p->ptr_space = d.ptr_space;
	p->ptr_align = d.ptr_align;
}

static void bind_param(struct parse *ps, struct ptx_param *p, uint32_t line)
{
	struct sym *sym = sym_of(p->name);
	bool named = strcmp(p->name, "_") != 0;

	if (p->reg == IN_REG) {
		if (!named)
			parse_fail(ps, line, "a register parameter needs a name");
		p->reg = scope_new_reg(ps, sym, p->type, p->vec, line) + 1;
	} else if (named) {
		scope_bind(ps, sym, BIND_PARAM, line)->u.param = p;
	}
}

/* `( param, ... )`.  With `bind` the names become known in the current scope and .reg formals get registers;
 * without, .reg formals are merely numbered. */
void func_param_list(struct parse *ps, struct ptx_param **out, uint32_t *n, bool is_ret, bool bind)
{
	uint32_t line = ps->tok.line, regs = 0;

	ps->params.n = 0;
	lex_expect(ps, '(', "'('");
	if (!lex_accept(ps, ')')) {
		do
			one_param(ps, vec_push(ps, &ps->params), is_ret);
		while (lex_accept(ps, ','));
		lex_expect(ps, ')', "')' or ','");
	}
	*n = (uint32_t)ps->params.n;
	*out = parse_copy(ps, &ps->params);
	for (uint32_t i = 0; i < *n; i++) {
		struct ptx_param *p = &(*out)[i];
		p->index = i;
		if (p->is_array && p->size == 0 && (i + 1 != *n || is_ret))
			parse_fail(ps, line, "only the last parameter can be without a size: '%.64s'", p->name);
		if (bind)
			bind_param(ps, p, line);
		else if (p->reg == IN_REG)
			p->reg = ++regs;
	}
}

/* Byte offsets as C lays out a struct; .reg formals take no room. */
void func_layout(struct ptx_func *f)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < f->nparams; i++) {
		struct ptx_param *p = &f->params[i];
		if (p->reg)
			continue;
		at = (at + p->align - 1) & ~(uint64_t)(p->align - 1);
		p->offset = at;
		at += p->size;
	}
	f->param_bytes = at;
	at = 0;
	for (uint32_t i = 0; i < f->nrets; i++) {
		struct ptx_param *p = &f->rets[i];
		if (p->reg)
			continue;
		at = (at + p->align - 1) & ~(uint64_t)(p->align - 1);
		p->offset = at;
		at += p->size;
	}
}

static uint32_t positive(struct parse *ps, const char *what)
{
	uint32_t line = ps->tok.line;
	uint64_t v = lex_uint(ps, UINT32_MAX, what);

	if (v == 0)
		parse_fail(ps, line, "%s must be positive", what);
	return (uint32_t)v;
}

/* x, y, z: missing ones are 1. */
static void triple(struct parse *ps, uint32_t out[3], const char *what)
{
	out[0] = positive(ps, what);
	out[1] = out[2] = 1;
	for (int i = 1; i < 3 && lex_accept(ps, ','); i++)
		out[i] = positive(ps, what);
}

static bool directive(struct parse *ps, struct ptx_func *f)
{
	enum parse_kw kw = ps->tok.kind == TOK_DOT ? ps->tok.sym->kw : KW_NONE;

	switch (kw) {
	case KW_pragma:
		parse_pragma(ps);
		return true;
	case KW_maxntid: case KW_reqntid: case KW_minnctapersm: case KW_maxnctapersm: case KW_maxnreg:
	case KW_local_maxnreg: case KW_noreturn: case KW_reqnctapercluster: case KW_explicitcluster:
	case KW_maxclusterrank: case KW_blocksareclusters: case KW_abi_preserve: case KW_abi_preserve_control:
		break;
	default:
		return false;
	}
	lex_next(ps);
	switch (kw) {
	case KW_maxntid: triple(ps, f->maxntid, ".maxntid"); break;
	case KW_reqntid: triple(ps, f->reqntid, ".reqntid"); break;
	case KW_minnctapersm: f->minnctapersm = positive(ps, ".minnctapersm"); break;
	case KW_maxnctapersm: f->maxnctapersm = positive(ps, ".maxnctapersm"); break;
	case KW_maxnreg: f->maxnreg = positive(ps, ".maxnreg"); break;
	case KW_noreturn: f->noreturn = true; break;
	case KW_reqnctapercluster: triple(ps, f->reqnctapercluster, ".reqnctapercluster"); break;
	case KW_explicitcluster: f->explicit_cluster = true; break;
	case KW_maxclusterrank: f->maxclusterrank = positive(ps, ".maxclusterrank"); break;
	case KW_blocksareclusters:
		parse_fail(ps, ps->tok.line, ".blocksareclusters is not supported");
	default:
		/* Hints to the register allocator; they do not change what a program does. */
		lex_uint(ps, UINT32_MAX, "register count");
		break;
	}
	return true;
}

static bool same_params(const struct ptx_param *a, uint32_t na, const struct ptx_param *b, uint32_t nb)
{
	if (na != nb)
		return false;
	for (uint32_t i = 0; i < na; i++)
		if (a[i].type != b[i].type || a[i].vec != b[i].vec || a[i].size != b[i].size ||
		    a[i].align != b[i].align || !a[i].reg != !b[i].reg || a[i].is_array != b[i].is_array)
			return false;
	return true;
}

/* Joins the header `f` with what is known of its name; the result is the one to use. */
static struct ptx_func *enter(struct parse *ps, struct ptx_func *f, struct sym *sym)
{
	struct binding *b = sym->top;
	struct ptx_func *old, **slot;

	while (b && b->depth > 0)
		b = b->outer;
	if (!b) {
		/* The function's own scope is open; its name belongs to the module's. */
		unsigned depth = ps->depth;
		ps->depth = 0;
		scope_bind(ps, sym, BIND_FUNC, f->line)->u.func = f;
		ps->depth = depth;
		slot = vec_push(ps, &ps->mfuncs);
		*slot = f;
		return f;
	}
	if (b->kind != BIND_FUNC)
		parse_fail(ps, f->line, "duplicate definition of '%.64s', first at line %u", f->name, b->line);
	old = b->u.func;
	if (old->has_body)
		parse_fail(ps, f->line, "duplicate definition of '%.64s', first at line %u", f->name, old->line);
	if (old->is_entry != f->is_entry || !same_params(old->params, old->nparams, f->params, f->nparams) ||
	    !same_params(old->rets, old->nrets, f->rets, f->nrets))
		parse_fail(ps, f->line, "conflicting declarations of '%.64s', first at line %u", f->name, old->line);
	if (f->linkage == PTX_L_NONE && old->linkage != PTX_L_EXTERN)
		f->linkage = old->linkage;
	*old = *f;
	return old;
}

static void finish(struct parse *ps, struct ptx_func *f)
{
	f->nregs = (uint32_t)ps->regs.n;
	f->regs = parse_copy(ps, &ps->regs);
	f->nvars = (uint32_t)ps->vars.n;
	f->vars = parse_copy(ps, &ps->vars);
	f->nlabels = (uint32_t)ps->labels.n;
	f->labels = parse_copy(ps, &ps->labels);
	f->ntables = (uint32_t)ps->tables.n;
	f->tables = parse_copy(ps, &ps->tables);
	f->ninsts = (uint32_t)ps->insts.n;
	f->insts = parse_copy(ps, &ps->insts);
	f->nnounroll = (uint32_t)ps->nounroll.n;
	f->nounroll = parse_copy(ps, &ps->nounroll);
	f->nbody_params = (uint32_t)ps->body_params.n;
	f->body_params = parse_copy(ps, &ps->body_params);
	f->has_body = true;
}

/* Operands name the stand-ins of body-level params (see declare_body_param); now the array has its place. */
static void settle_params(struct ptx_func *f, struct ptx_operand *ops, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct ptx_operand *o = &ops[i];
		bool is_param = o->kind == PTX_O_PARAM || (o->kind == PTX_O_ADDR && o->base == PTX_O_PARAM);
		if (is_param && !o->u.param->is_formal)
			o->u.param = &f->body_params[o->u.param->index];
		if (o->list)
			settle_params(f, o->list, o->nlist);
	}
}

static void open_function(struct parse *ps, struct ptx_func *f)
{
	ps->fn = f;
	ps->declared_regs = 0;
	ps->loc_file = ps->loc_line = 0;
	ps->regs.n = ps->insts.n = ps->labels.n = ps->tables.n = ps->vars.n = ps->body_params.n = ps->nounroll.n = 0;
	scope_push(ps, f->line);
}

void func_parse(struct parse *ps, bool is_entry, enum ptx_linkage linkage)
{
	struct ptx_func *f = parse_alloc(ps, sizeof *f);
	struct sym *sym;

	f->is_entry = is_entry;
	f->linkage = linkage;
	f->line = ps->tok.line;
	if (linkage == PTX_L_COMMON)
		parse_fail(ps, f->line, "a function cannot be .common");
	open_function(ps, f);
	if (!is_entry && lex_accept_kw(ps, KW_attribute) && decl_attribute(ps))
		parse_fail(ps, f->line, "a function cannot be managed");
	if (!is_entry && ps->tok.kind == '(')
		func_param_list(ps, &f->rets, &f->nrets, true, true);
	sym = lex_name(ps, "a function name");
	f->name = sym->text;
	if (ps->tok.kind == '(')
		func_param_list(ps, &f->params, &f->nparams, false, true);
	for (uint32_t i = 0; is_entry && i < f->nparams; i++)
		if (f->params[i].reg || f->params[i].size == 0 || f->params[i].vec > 1)
			parse_fail(ps, f->line, "parameter '%.64s' cannot be an entry's", f->params[i].name);
	while (directive(ps, f))
		;
	func_layout(f);
	f = ps->fn = enter(ps, f, sym);
	if (ps->tok.kind == ';') {
		if (f->maxntid[0] || f->reqntid[0] || f->minnctapersm || f->maxnctapersm || f->maxnreg ||
		    f->reqnctapercluster[0] || f->explicit_cluster || f->maxclusterrank)
			parse_fail(ps, f->line, "'%.64s': performance directives belong to a definition", f->name);
		lex_next(ps);
		scope_pop(ps);
	} else {
		lex_expect(ps, '{', "'{' or ';'");
		body_parse(ps);
		scope_pop(ps);
		finish(ps, f);
		for (uint32_t i = 0; i < f->ninsts; i++)
			settle_params(f, f->insts[i].ops, f->insts[i].nops);
	}
	ps->fn = NULL;
}

/* `(rets) _ (params) directives;` of a .callprototype */
void func_prototype(struct parse *ps, struct ptx_func *f)
{
	f->line = ps->tok.line;
	if (ps->tok.kind == '(')
		func_param_list(ps, &f->rets, &f->nrets, true, false);
	lex_expect(ps, TOK_SINK, "'_'");
	if (ps->tok.kind == '(')
		func_param_list(ps, &f->params, &f->nparams, false, false);
	while (ps->tok.kind == TOK_DOT && ps->tok.sym->kw != KW_pragma && directive(ps, f))
		;
	lex_expect(ps, ';', "';'");
	func_layout(f);
}
