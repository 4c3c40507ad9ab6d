/* parse.c - ptx_parse(): the module level, errors, and the parse's own memory.
 *
 * The parser is recursive descent over one token of lookahead.  It recurses only in constant expressions and
 * brace-nested initial values, both bounded; blocks nest on an explicit stack.  Memory is proportional to the text:
 * whatever a number in the text could multiply (register ranges, numbered variables, skipped array elements) is
 * either made on first use or charged against a budget. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "parse_internal.h"

enum { MAX_FILES = 1 << 16, MAX_NUMBERED = 1 << 16 };

/* --- errors and memory ------------------------------------------------------------------------- */

_Noreturn void parse_fail(struct parse *ps, uint32_t line, const char *fmt, ...)
{
	va_list ap;

	ps->err->line = line;
	va_start(ap, fmt);
	vsnprintf(ps->err->text, sizeof ps->err->text, fmt, ap);
	va_end(ap);
	longjmp(ps->fail, 1);
}

_Noreturn void parse_unexpected(struct parse *ps, const char *wanted)
{
	const struct token *t = &ps->tok;

	switch (t->kind) {
	case TOK_EOF:
		parse_fail(ps, t->line, "%s expected, found the end of the text", wanted);
	case TOK_STRING:
		parse_fail(ps, t->line, "%s expected, found a string", wanted);
	default:
		/* Any other token consists of printable characters. */
		parse_fail(ps, t->line, "%s expected, found '%.*s'", wanted,
			(int)(t->len < 64 ? t->len : 64), t->start);
	}
}

void *parse_alloc(struct parse *ps, size_t bytes)
{
	void *p = arena_alloc(ps->arena, bytes);

	if (!p)
		parse_fail(ps, 0, "out of memory");
	return p;
}

struct sym *parse_intern(struct parse *ps, const char *s, size_t len)
{
	struct sym *sym = arena_sym(ps->arena, s, len);

	if (!sym)
		parse_fail(ps, 0, "out of memory");
	return sym;
}

void *parse_copy(struct parse *ps, const struct vec *v)
{
	void *p;

	if (v->n == 0)
		return NULL;
	p = parse_alloc(ps, v->n * v->size);
	memcpy(p, v->data, v->n * v->size);
	return p;
}

void *vec_push(struct parse *ps, struct vec *v)
{
	void *item;

	if (v->n == v->cap) {
		size_t cap = v->cap ? v->cap * 2 : 64;
		void *p = realloc(v->data, cap * v->size);
		if (!p)
			parse_fail(ps, 0, "out of memory");
		v->data = p;
		v->cap = cap;
	}
	item = (char *)v->data + v->n++ * v->size;
	memset(item, 0, v->size);
	return item;
}

/* --- module level ------------------------------------------------------------------------------ */

static void know_words(struct parse *ps)
{
	static const char *const keywords[] = {
		[KW_NONE] = "",
#define X(name) [KW_##name] = #name,
		PARSE_KEYWORDS(X)
#undef X
	};

	for (unsigned i = 1; i < PTX_OP_COUNT; i++)
		parse_intern(ps, ptx_op_name(i), strlen(ptx_op_name(i)))->op = (uint16_t)i;
	for (unsigned i = 1; i < PTX_MOD_COUNT; i++)
		parse_intern(ps, ptx_mod_name(i), strlen(ptx_mod_name(i)))->mod = (uint16_t)i;
	for (unsigned i = 0; i < PTX_SR_COUNT; i++) {
		const char *name = ptx_sreg_name(i), *dot = strchr(name, '.');
		if (dot)
			parse_intern(ps, name, (size_t)(dot - name))->sreg = SREG_TRIPLE;
		parse_intern(ps, name, strlen(name))->sreg = (uint16_t)(i + 1);
	}
	for (unsigned i = 1; i < sizeof keywords / sizeof *keywords; i++)
		parse_intern(ps, keywords[i], strlen(keywords[i]))->kw = (uint8_t)i;
}

static void version(struct parse *ps)
{
	const char *p = ps->tok.start;
	size_t i, len = ps->tok.len;
	int part[2] = { 0, 0 };

	if (ps->tok.kind != TOK_F64)
		parse_unexpected(ps, "a version number");
	for (i = 0; i < len && p[i] >= '0' && p[i] <= '9' && i < 3; i++)
		part[0] = part[0] * 10 + (p[i] - '0');
	if (i < len && p[i] == '.')
		for (i++; i < len && p[i] >= '0' && p[i] <= '9' && part[1] < 100; i++)
			part[1] = part[1] * 10 + (p[i] - '0');
	if (i != len || part[0] < 1 || part[0] > 9 || part[1] > 99)
		parse_fail(ps, ps->tok.line, "unsupported PTX version %.*s", (int)(len < 16 ? len : 16), p);
	ps->m->version_major = part[0];
	ps->m->version_minor = part[1];
	lex_next(ps);
}

static void target_word(struct parse *ps)
{
	uint32_t line = ps->tok.line;
	struct sym *sym = lex_name(ps, "a target");
	const char *p = sym->text + 3;
	uint32_t sm = 0;

	if (strcmp(sym->text, "debug") == 0) {
		ps->m->target_debug = true;
	} else if (strcmp(sym->text, "texmode_independent") == 0) {
		ps->m->target_texmode_independent = true;
	} else if (strcmp(sym->text, "texmode_unified") == 0) {
		ps->m->target_texmode_independent = false;
	} else if (strncmp(sym->text, "sm_", 3) == 0) {
		for (; *p >= '0' && *p <= '9' && sm < 1000; p++)
			sm = sm * 10 + (uint32_t)(*p - '0');
		if (sm < 10 || sm > 999 || (*p && (p[1] || (*p != 'a' && *p != 'f'))))
			parse_fail(ps, line, "unknown target '%.64s'", sym->text);
		if (!ps->m->target) {
			ps->m->target = sym->text;
			ps->m->target_sm = sm;
		}
	} else {
		parse_fail(ps, line, "unknown target '%.64s'", sym->text);
	}
}

static void prologue(struct parse *ps)
{
	if (!lex_accept_kw(ps, KW_version))
		parse_fail(ps, ps->tok.line, "missing .version at the start of the text");
	version(ps);
	if (!lex_accept_kw(ps, KW_target))
		parse_fail(ps, ps->tok.line, "missing .target after .version");
	do
		target_word(ps);
	while (lex_accept(ps, ','));
	if (!ps->m->target)
		parse_fail(ps, ps->tok.line, ".target names no architecture");
	if (lex_accept_kw(ps, KW_address_size)) {
		uint32_t line = ps->tok.line;
		if (lex_uint(ps, UINT32_MAX, "address size") != 64)
			parse_fail(ps, line, "only .address_size 64 is supported");
	}
}

/* .file N "name" [, timestamp, size] */
static void file_directive(struct parse *ps)
{
	uint64_t index = lex_uint(ps, MAX_FILES - 1, "file number");
	const char **slot;
	char *name;

	if (ps->tok.kind != TOK_STRING)
		parse_unexpected(ps, "a file name");
	name = parse_alloc(ps, ps->tok.len + 1);
	memcpy(name, ps->tok.start, ps->tok.len);
	lex_next(ps);
	for (int i = 0; i < 2 && lex_accept(ps, ','); i++)
		lex_uint(ps, UINT64_MAX, "file attribute");
	while (ps->files.n <= index)
		vec_push(ps, &ps->files);
	slot = (const char **)ps->files.data + index;
	*slot = name;
}

/* Debug data: skipped, its tokens must only be well formed and its braces balanced. */
static void section(struct parse *ps)
{
	uint32_t line = ps->tok.line;
	uint64_t depth = 1;

	if (ps->tok.kind != TOK_DOT && ps->tok.kind != TOK_IDENT)
		parse_unexpected(ps, "a section name");
	lex_next(ps);
	lex_expect(ps, '{', "'{'");
	while (depth > 0) {
		if (ps->tok.kind == '{')
			depth++;
		else if (ps->tok.kind == '}')
			depth--;
		else if (ps->tok.kind == TOK_EOF)
			parse_fail(ps, line, "section without an end");
		lex_next(ps);
	}
}

/* Pragmas steer optimisation and diagnostics only; none of them changes what a program does. */
bool parse_pragma(struct parse *ps)
{
	bool nounroll = false;

	lex_next(ps);
	do {
		if (ps->tok.kind != TOK_STRING)
			parse_unexpected(ps, "a string");
		nounroll |= ps->tok.len == 8 && memcmp(ps->tok.start, "nounroll", 8) == 0;
		lex_next(ps);
	} while (lex_accept(ps, ','));
	lex_expect(ps, ';', "';'");
	return nounroll;
}

static void module_item(struct parse *ps)
{
	struct decl d = { .linkage = PTX_L_NONE };

	if (ps->tok.kind != TOK_DOT)
		parse_unexpected(ps, "a directive");
	switch (ps->tok.sym->kw) {
	case KW_file:
		lex_next(ps);
		file_directive(ps);
		return;
	case KW_section:
		lex_next(ps);
		section(ps);
		return;
	case KW_pragma:
		parse_pragma(ps);
		return;
	case KW_alias:
		parse_fail(ps, ps->tok.line, ".alias is not supported");
	case KW_version: case KW_target: case KW_address_size:
		parse_fail(ps, ps->tok.line, "second or misplaced '.%s'", ps->tok.sym->text);
	default:
		break;
	}
	d.linkage = decl_linkage(ps);
	if (lex_accept_kw(ps, KW_entry))
		func_parse(ps, true, d.linkage);
	else if (lex_accept_kw(ps, KW_func))
		func_parse(ps, false, d.linkage);
	else if (ps->tok.kind == TOK_DOT && !ps->tok.sym->mod && !ps->tok.sym->kw)
		parse_fail(ps, ps->tok.line, "unknown directive '.%.64s'", ps->tok.sym->text);
	else
		decl_statement(ps, &d);
}

static void module(struct parse *ps)
{
	struct ptx_module *m = ps->m;

	know_words(ps);
	lex_next(ps);
	prologue(ps);
	while (ps->tok.kind != TOK_EOF)
		module_item(ps);
	m->nvars = (uint32_t)ps->mvars.n;
	m->vars = parse_copy(ps, &ps->mvars);
	m->nfuncs = (uint32_t)ps->mfuncs.n;
	m->funcs = parse_copy(ps, &ps->mfuncs);
	m->nfiles = (uint32_t)ps->files.n;
	m->files = parse_copy(ps, &ps->files);
}

static void set_up(struct parse *ps, const char *text, size_t len)
{
	ps->text = ps->p = text;
	ps->end = text + len;
	ps->line = 1;
	ps->names_left = MAX_NUMBERED;
	ps->regs.size = sizeof(struct ptx_reg);
	ps->insts.size = sizeof(struct ptx_inst);
	ps->labels.size = sizeof(struct ptx_label);
	ps->tables.size = sizeof(struct ptx_table);
	ps->vars.size = ps->mvars.size = sizeof(struct ptx_var *);
	ps->mfuncs.size = sizeof(struct ptx_func *);
	ps->body_params.size = ps->params.size = sizeof(struct ptx_param);
	ps->files.size = sizeof(const char *);
	ps->names.size = sizeof(struct sym *);
	ps->nounroll.size = sizeof(uint32_t);
	ps->init.size = 1;
	ps->relocs.size = sizeof(struct ptx_reloc);
}

static void tear_down(struct parse *ps)
{
	struct vec *all[] = { &ps->regs, &ps->insts, &ps->labels, &ps->tables, &ps->vars, &ps->body_params, &ps->mvars,
		&ps->mfuncs, &ps->files, &ps->init, &ps->relocs, &ps->params, &ps->names, &ps->nounroll };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free(all[i]->data);
}

/* False when parse_fail() was called; everything it left behind hangs off `ps`. */
static bool run(struct parse *ps)
{
	if (setjmp(ps->fail))
		return false;
	module(ps);
	return true;
}

struct ptx_module *ptx_parse(const char *text, size_t len, struct ptx_error *err)
{
	struct parse *ps;
	struct ptx_arena *arena = NULL;
	struct ptx_module *m = NULL;
	bool ok;

	*err = (struct ptx_error){ .line = 0 };
	if (len > PTX_MAX_TEXT) {
		snprintf(err->text, sizeof err->text, "text exceeds %d bytes", PTX_MAX_TEXT);
		return NULL;
	}
	ps = calloc(1, sizeof *ps);
	arena = arena_new();
	if (arena)
		m = arena_alloc(arena, sizeof *m);
	if (!ps || !m) {
		snprintf(err->text, sizeof err->text, "out of memory");
		arena_free(arena);
		free(ps);
		return NULL;
	}
	m->arena = arena;
	ps->m = m;
	ps->arena = arena;
	ps->err = err;
	set_up(ps, text, len);
	ok = run(ps);
	tear_down(ps);
	free(ps);
	if (ok)
		return m;
	arena_free(arena);
	return NULL;
}
