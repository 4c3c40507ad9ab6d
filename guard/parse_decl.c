/* parse_decl.c - declarations of registers, variables and body-level .param variables.
 *
 * A declaration is `linkage .space .attributes .vN .type name[dims] = init, ...;`.  Sizes are checked against
 * PTX_MAX_VAR_BYTES with overflow-safe arithmetic before anything is stored. */
#include <stdio.h>

#include "parse_internal.h"

static bool is_opaque(enum ptx_type t)
{
	return t == PTX_T_TEXREF || t == PTX_T_SAMPLERREF || t == PTX_T_SURFREF;
}

/* Bytes of one element; an opaque reference is a 64-bit handle. */
unsigned decl_elem_bytes(enum ptx_type t)
{
	return is_opaque(t) ? 8 : ptx_type_bytes(t);
}

uint32_t decl_align(const struct decl *d)
{
	return d->align ? d->align : decl_elem_bytes(d->type) * d->vec;
}

static bool is_declarable(enum ptx_type t)
{
	return (t >= PTX_T_PRED && t <= PTX_T_BF16X2) || t == PTX_T_F32 || t == PTX_T_F64 || is_opaque(t);
}

enum ptx_linkage decl_linkage(struct parse *ps)
{
	enum ptx_linkage l = PTX_L_NONE, next;

	for (;; l = next) {
		if (ps->tok.kind != TOK_DOT)
			return l;
		if (ps->tok.sym->kw == KW_visible)
			next = PTX_L_VISIBLE;
		else if (ps->tok.sym->kw == KW_extern)
			next = PTX_L_EXTERN;
		else if (ps->tok.sym->kw == KW_common)
			next = PTX_L_COMMON;
		else if (ps->tok.sym->mod == PTX_MOD_weak)
			next = PTX_L_WEAK;
		else
			return l;
		if (l != PTX_L_NONE)
			parse_fail(ps, ps->tok.line, "second linkage directive '.%s'", ps->tok.sym->text);
		lex_next(ps);
	}
}

bool decl_attribute(struct parse *ps)
{
	bool managed = false;

	lex_expect(ps, '(', "'('");
	do {
		if (lex_accept_kw(ps, KW_managed)) {
			managed = true;
		} else if (ps->tok.kind == TOK_DOT && ps->tok.sym->mod == PTX_MOD_unified) {
			/* .unified(u1, u2) numbers the object across translation units; nothing depends on it. */
			lex_next(ps);
			lex_expect(ps, '(', "'('");
			lex_uint(ps, UINT64_MAX, "attribute value");
			lex_expect(ps, ',', "','");
			lex_uint(ps, UINT64_MAX, "attribute value");
			lex_expect(ps, ')', "')'");
		} else {
			parse_unexpected(ps, "an attribute");
		}
	} while (lex_accept(ps, ','));
	lex_expect(ps, ')', "')'");
	return managed;
}

static uint32_t alignment(struct parse *ps)
{
	uint32_t line = ps->tok.line;
	uint64_t a = lex_uint(ps, DECL_MAX_ALIGN, "alignment");

	if (a == 0 || (a & (a - 1)) != 0)
		parse_fail(ps, line, "alignment %u is not a power of two", (unsigned)a);
	return (uint32_t)a;
}

static bool space_word(const struct sym *sym, enum ptx_space *space)
{
	switch (sym->mod) {
	case PTX_MOD_const: *space = PTX_CONST; return true;
	case PTX_MOD_global: *space = PTX_GLOBAL; return true;
	case PTX_MOD_local: *space = PTX_LOCAL; return true;
	case PTX_MOD_param: *space = PTX_PARAM; return true;
	case PTX_MOD_shared: *space = PTX_SHARED; return true;
	default: break;
	}
	*space = PTX_REG;
	return sym->kw == KW_reg;
}

/* .ptr .space .align N of a kernel's parameter */
static void pointer_attributes(struct parse *ps, struct decl *d)
{
	enum ptx_space space;

	d->ptr_align = 4;
	if (ps->tok.kind == TOK_DOT && space_word(ps->tok.sym, &space) && space != PTX_REG) {
		d->ptr_space = (uint8_t)space;
		lex_next(ps);
	}
	if (lex_accept_kw(ps, KW_align))
		d->ptr_align = alignment(ps);
}

static bool spec_word(struct parse *ps, struct decl *d)
{
	const struct sym *sym = ps->tok.sym;
	enum ptx_space space;

	if (space_word(sym, &space)) {
		if (d->has_space)
			parse_fail(ps, ps->tok.line, "second state space '.%s'", sym->text);
		d->has_space = true;
		d->space = space;
		lex_next(ps);
		if (space == PTX_CONST && ps->tok.kind == '[')
			parse_fail(ps, ps->tok.line, "constant banks are not supported");
	} else if (sym->kw == KW_align) {
		lex_next(ps);
		d->align = alignment(ps);
	} else if (sym->kw == KW_attribute) {
		lex_next(ps);
		d->managed |= decl_attribute(ps);
	} else if (sym->mod == PTX_MOD_v2 || sym->mod == PTX_MOD_v4) {
		d->vec = sym->mod == PTX_MOD_v2 ? 2 : 4;
		lex_next(ps);
	} else {
		return false;
	}
	return true;
}

/* Everything before the name.  The current token is the first of the specifiers; d->linkage is the caller's. */
void decl_spec(struct parse *ps, struct decl *d, bool is_param)
{
	d->vec = 1;
	d->line = ps->tok.line;
	while (ps->tok.kind == TOK_DOT && spec_word(ps, d))
		;
	if (!d->has_space)
		parse_unexpected(ps, "a state space");
	if (ps->tok.kind != TOK_DOT)
		parse_unexpected(ps, "a type");
	d->type = ptx_mod_type(ps->tok.sym->mod);
	if (!is_declarable(d->type))
		parse_fail(ps, ps->tok.line, "'.%.64s' is not a type that can be declared", ps->tok.sym->text);
	if (d->type == PTX_T_PRED && d->space != PTX_REG)
		parse_fail(ps, ps->tok.line, "a predicate must be a register");
	if (is_opaque(d->type) && d->space != PTX_GLOBAL && d->space != PTX_PARAM)
		parse_fail(ps, ps->tok.line, "'.%s' must be in the global or param space", ps->tok.sym->text);
	if (d->vec * decl_elem_bytes(d->type) > 16)
		parse_fail(ps, ps->tok.line, "vector exceeds 128 bits");
	lex_next(ps);
	if (is_param && lex_accept_kw(ps, KW_ptr))
		pointer_attributes(ps, d);
}

void decl_dims(struct parse *ps, struct dims *dims)
{
	*dims = (struct dims){ .n = 0 };
	while (lex_accept(ps, '[')) {
		if (dims->n == DECL_MAX_DIMS)
			parse_fail(ps, ps->tok.line, "array has more than %d dimensions", DECL_MAX_DIMS);
		if (dims->n == 0 && ps->tok.kind == ']') {
			dims->unsized = true;
		} else {
			uint32_t line = ps->tok.line;
			dims->size[dims->n] = lex_uint(ps, PTX_MAX_VAR_BYTES, "array size");
			if (dims->size[dims->n] == 0)
				parse_fail(ps, line, "array size is zero");
		}
		dims->n++;
		lex_expect(ps, ']', "']'");
	}
}

/* Size in bytes; the first dimension counts as 0 when it is []. */
uint64_t decl_bytes(struct parse *ps, const struct decl *d, const struct dims *dims, const char *name)
{
	uint64_t bytes = (uint64_t)decl_elem_bytes(d->type) * d->vec;

	for (unsigned i = dims->n; i-- > 0; ) {
		if (__builtin_mul_overflow(bytes, dims->size[i], &bytes) || bytes > PTX_MAX_VAR_BYTES)
			parse_fail(ps, d->line, "'%.64s' exceeds %d bytes", name, PTX_MAX_VAR_BYTES);
	}
	return bytes;
}

/* The interned name `prefix` followed by the number. */
struct sym *decl_numbered(struct parse *ps, struct sym *prefix, uint32_t i)
{
	char buf[PTX_MAX_NAME + 16];
	int digits;

	memcpy(buf, prefix->text, prefix->len);
	digits = snprintf(buf + prefix->len, sizeof buf - prefix->len, "%u", i);
	return parse_intern(ps, buf, prefix->len + (size_t)digits);
}

/* An .extern declaration and the definition of the same name become one variable, which keeps its place. */
static struct ptx_var *merge(struct parse *ps, const struct decl *d, struct sym *sym)
{
	struct binding *b = sym->top;
	struct ptx_var *var;

	if (!b || b->depth != ps->depth || b->kind != BIND_VAR)
		return NULL;
	var = b->u.var;
	if (var->linkage != PTX_L_EXTERN && d->linkage != PTX_L_EXTERN)
		return NULL;
	if (var->space != d->space || var->type != d->type || var->vec != d->vec)
		parse_fail(ps, d->line, "conflicting declarations of '%.64s', first at line %u", sym->text, var->line);
	return var;
}

static void check_var(struct parse *ps, const struct decl *d, const struct dims *dims, bool has_init, const char *name)
{
	if (has_init && d->linkage == PTX_L_EXTERN)
		parse_fail(ps, d->line, "external variable '%.64s' cannot have an initial value", name);
	if (has_init && d->space != PTX_GLOBAL && d->space != PTX_CONST)
		parse_fail(ps, d->line, "'%.64s' cannot have an initial value in this state space", name);
	if (has_init && is_opaque(d->type))
		parse_fail(ps, d->line, "initial values of opaque type ('%.64s') are not supported", name);
	if (dims->unsized && !has_init && d->linkage != PTX_L_EXTERN)
		parse_fail(ps, d->line, "'%.64s' is not external and has no size", name);
	if (d->managed && d->space != PTX_GLOBAL)
		parse_fail(ps, d->line, "only global variables can be managed");
	if (ps->depth == 0 && d->space == PTX_LOCAL)
		parse_fail(ps, d->line, "'%.64s': .local variables belong into a function", name);
}

static void bind_var(struct parse *ps, struct sym *sym, struct ptx_var *var, unsigned dims, uint32_t line)
{
	struct binding *b = scope_bind(ps, sym, BIND_VAR, line);
	struct ptx_var **slot = vec_push(ps, ps->depth ? &ps->vars : &ps->mvars);

	b->u.var = var;
	b->dims = (uint8_t)dims;
	*slot = var;
}

static void declare_var(struct parse *ps, const struct decl *d, struct sym *sym, struct dims *dims, bool has_init)
{
	struct ptx_var *old = merge(ps, d, sym), *var;

	check_var(ps, d, dims, has_init, sym->text);
	var = parse_alloc(ps, sizeof *var);
	var->name = sym->text;
	var->file_scope_of = ps->depth ? ps->fn->name : NULL;
	var->space = d->space;
	var->linkage = d->linkage;
	var->type = d->type;
	var->vec = d->vec;
	var->managed = d->managed;
	var->align = decl_align(d);
	var->line = d->line;
	if (has_init) {
		init_parse(ps, var, dims);
		dims->unsized = false;
	}
	var->unsized = dims->unsized;
	var->size = decl_bytes(ps, d, dims, sym->text);
	if (!old) {
		bind_var(ps, sym, var, dims->n, d->line);
	} else if (d->linkage != PTX_L_EXTERN) {
		*old = *var;
	} else if (old->linkage == PTX_L_EXTERN && !var->unsized && old->size < var->size) {
		*old = *var;
	}
}

static void declare_body_param(struct parse *ps, const struct decl *d, struct sym *sym, const struct dims *dims)
{
	struct binding *b;
	struct ptx_param *p;

	if (dims->unsized)
		parse_fail(ps, d->line, "'%.64s' has no size", sym->text);
	b = scope_bind(ps, sym, BIND_BODY_PARAM, d->line);
	b->dims = (uint8_t)dims->n;
	b->index = (uint32_t)ps->body_params.n;
	p = vec_push(ps, &ps->body_params);
	p->name = sym->text;
	p->type = d->type;
	p->vec = d->vec;
	p->align = decl_align(d);
	p->size = decl_bytes(ps, d, dims, sym->text);
	p->is_array = dims->n > 0;
	p->index = b->index;
	/* Until the body ends and body_params stands still, operands hold pointers to this stand-in. */
	b->u.param = parse_alloc(ps, sizeof *p);
	*b->u.param = *p;
}

static void declare(struct parse *ps, const struct decl *d, struct sym *sym, struct dims *dims, bool has_init)
{
	if (d->space == PTX_PARAM)
		declare_body_param(ps, d, sym, dims);
	else
		declare_var(ps, d, sym, dims, has_init);
}

/* `name<N>`: name0 to nameN-1. */
static void declare_numbered(struct parse *ps, const struct decl *d, struct sym *prefix, uint32_t count,
	struct dims *dims)
{
	/* Long prefixes count more: the names' bytes must stay in proportion to the text. */
	uint64_t cost = (uint64_t)count * (1 + prefix->len / 64);

	if (cost > ps->names_left)
		parse_fail(ps, d->line, "too many numbered variables");
	ps->names_left -= cost;
	for (uint32_t i = 0; i < count; i++)
		declare(ps, d, decl_numbered(ps, prefix, i), dims, false);
}

static void declarator(struct parse *ps, const struct decl *d)
{
	struct sym *sym = lex_name(ps, "a name");
	bool numbered = lex_accept(ps, '<'), has_init;
	uint32_t count = 0;
	struct dims dims;

	if (strcmp(sym->text, "WARP_SZ") == 0)
		parse_fail(ps, d->line, "WARP_SZ cannot be declared");
	if (numbered) {
		uint32_t line = ps->tok.line;
		uint64_t n = lex_uint(ps, UINT64_MAX, "number of names");
		if (n > PTX_MAX_REGS)
			parse_fail(ps, line, "'%.64s<%llu>': more than %d names", sym->text, (unsigned long long)n,
				PTX_MAX_REGS);
		count = (uint32_t)n;
		lex_expect(ps, '>', "'>'");
	}
	if (d->space == PTX_REG) {
		if (numbered)
			scope_range(ps, sym, count, d->type, d->vec, d->line);
		else
			scope_new_reg(ps, sym, d->type, d->vec, d->line);
		return;
	}
	decl_dims(ps, &dims);
	has_init = lex_accept(ps, '=');
	if (d->space == PTX_PARAM && has_init)
		parse_fail(ps, d->line, "'%.64s' cannot have an initial value in this state space", sym->text);
	if (numbered && has_init)
		parse_fail(ps, d->line, "numbered variables cannot have an initial value");
	if (numbered)
		declare_numbered(ps, d, sym, count, &dims);
	else
		declare(ps, d, sym, &dims, has_init);
}

void decl_statement(struct parse *ps, struct decl *d)
{
	decl_spec(ps, d, false);
	if (ps->depth == 0 && (d->space == PTX_REG || d->space == PTX_PARAM))
		parse_fail(ps, d->line, ".%s variables belong into a function", ptx_space_name(d->space));
	if (d->linkage != PTX_L_NONE && (d->space == PTX_REG || d->space == PTX_PARAM || d->space == PTX_LOCAL))
		parse_fail(ps, d->line, ".%s variables have no linkage", ptx_space_name(d->space));
	do
		declarator(ps, d);
	while (lex_accept(ps, ','));
	lex_expect(ps, ';', "';'");
}
