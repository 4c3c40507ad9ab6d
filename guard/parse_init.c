/* parse_init.c - initial values of variables: nested braces, numbers, addresses of symbols.
 *
 * Braces nest exactly as the dimensions do, as ptxas demands, and every brace but the outermost lists all its
 * elements: C fills the rest with zeros, ptxas 13.0 moves the following elements up, so nobody can mean it.  The text
 * thereby spells out every stored byte.  Trailing zero bytes are not stored. */
#include <stdlib.h>

#include "parse_internal.h"

static uint8_t *room(struct parse *ps, uint64_t offset, size_t bytes)
{
	struct vec *v = &ps->init;
	size_t end = offset + bytes;

	if (end > v->n) {
		if (end > v->cap) {
			size_t cap = end + end / 2 + 64;
			void *p = realloc(v->data, cap);
			if (!p)
				parse_fail(ps, 0, "out of memory");
			v->data = p;
			v->cap = cap;
		}
		memset((char *)v->data + v->n, 0, end - v->n);
		v->n = end;
	}
	return (uint8_t *)v->data + offset;
}

static void put(struct parse *ps, uint64_t offset, const uint8_t *bytes, size_t n)
{
	bool zero = true;

	for (size_t i = 0; i < n; i++)
		zero &= bytes[i] == 0;
	if (!zero)
		memcpy(room(ps, offset, n), bytes, n);
}

/* The low n bytes of v; beyond eight they are zero, as ptxas has it for .b128. */
static void put_int(struct parse *ps, uint64_t offset, uint64_t v, unsigned n)
{
	uint8_t bytes[16] = { 0 };

	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> (8 * i));
	put(ps, offset, bytes, n);
}

static void put_value(struct parse *ps, const struct ptx_var *var, uint64_t offset, struct cval v, uint32_t line)
{
	bool is_float = v.kind == CVAL_F32 || v.kind == CVAL_F64;
	unsigned n = ptx_type_bytes(var->type);
	bool wants_float = var->type == PTX_T_F32 || var->type == PTX_T_F64;

	if (var->type == PTX_T_F16 || var->type == PTX_T_F16X2 || var->type == PTX_T_BF16 || var->type == PTX_T_BF16X2)
		parse_fail(ps, line, "no initial value is allowed for type .%s", ptx_type_name(var->type));
	if (is_float && (var->type == PTX_T_B32 || var->type == PTX_T_B64))
		wants_float = true;
	/* ptxas widens no 0f constant: it would store the float's bits in half of the double. */
	if (is_float != wants_float || (v.kind == CVAL_F32 && n == 8))
		parse_fail(ps, line, "initial value does not fit type .%s", ptx_type_name(var->type));
	if (!is_float) {
		put_int(ps, offset, v.bits, n);
	} else if (n == 4) {
		float f = (float)cval_double(v);
		uint32_t bits;
		memcpy(&bits, &f, 4);
		put_int(ps, offset, v.kind == CVAL_F32 ? v.bits : bits, 4);
	} else {
		put_int(ps, offset, v.bits, 8);
	}
}

/* sym, generic(sym), either + constant.  Only module-level objects: a name alone must identify them. */
static void address(struct parse *ps, const struct ptx_var *var, uint64_t offset, unsigned width, int shift)
{
	uint32_t line = ps->tok.line;
	struct sym *sym = lex_name(ps, "a symbol");
	struct ptx_reloc *r;
	struct binding *b;
	bool generic = false;

	if (strcmp(sym->text, "generic") == 0 && lex_accept(ps, '(')) {
		generic = true;
		sym = lex_name(ps, "a symbol");
		lex_expect(ps, ')', "')'");
	}
	b = scope_lookup(ps, sym, line);
	if (!b)
		parse_fail(ps, line, "undeclared name '%.64s'", sym->text);
	if (b->depth != 0 || (b->kind != BIND_VAR && b->kind != BIND_FUNC) || (generic && b->kind == BIND_FUNC))
		parse_fail(ps, line, "'%.64s' cannot be an initial value", sym->text);
	if (b->kind == BIND_VAR && b->u.var->space != PTX_GLOBAL && b->u.var->space != PTX_CONST)
		parse_fail(ps, line, "'%.64s' is not in the global or const space", sym->text);
	if (shift < 0 && width != 4 && width != 8)
		parse_fail(ps, line, "an address does not fit type .%s", ptx_type_name(var->type));
	r = vec_push(ps, &ps->relocs);
	r->offset = offset;
	r->sym = sym->text;
	r->generic = generic;
	r->width = shift < 0 ? (uint8_t)width : 1;
	r->shift = shift < 0 ? 0 : (uint8_t)shift;
	if (lex_accept(ps, '+'))
		r->addend = expr_parse_int(ps);
	room(ps, offset, width);
}

/* `0xff00(sym)`: one byte of an address.  The mask has been read, '(' is next. */
static void masked(struct parse *ps, const struct ptx_var *var, uint64_t offset, uint64_t mask, uint32_t line)
{
	int shift = 0;

	while (shift < 8 && mask != UINT64_C(0xff) << (8 * shift))
		shift++;
	if (shift == 8)
		parse_fail(ps, line, "mask 0x%llx does not select one byte", (unsigned long long)mask);
	if (ptx_type_bytes(var->type) != 1)
		parse_fail(ps, line, "initial value does not fit type .%s", ptx_type_name(var->type));
	lex_expect(ps, '(', "'('");
	address(ps, var, offset, ptx_type_bytes(var->type), shift);
	lex_expect(ps, ')', "')'");
}

static void value(struct parse *ps, const struct ptx_var *var, uint64_t offset)
{
	struct token first = ps->tok;

	if (first.kind == TOK_IDENT && !expr_starts(ps)) {
		address(ps, var, offset, ptx_type_bytes(var->type), -1);
		return;
	}
	/* The common case, a lone number, and the mask are decided by the token after it. */
	if (first.kind == TOK_INT) {
		const char *p = ps->p;
		uint32_t line = ps->line;
		lex_next(ps);
		if (ps->tok.kind == '(') {
			masked(ps, var, offset, first.u, first.line);
			return;
		}
		if (ps->tok.kind == ',' || ps->tok.kind == '}' || ps->tok.kind == ';') {
			struct cval v = { first.is_unsigned ? CVAL_U64 : CVAL_S64, first.u };
			put_value(ps, var, offset, v, first.line);
			return;
		}
		ps->tok = first;
		ps->p = p;
		ps->line = line;
	}
	put_value(ps, var, offset, expr_parse(ps), first.line);
}

/* One brace level; `stride` is the bytes of one of its elements.  Depth is bounded by the number of dimensions. */
static void level(struct parse *ps, const struct ptx_var *var, struct dims *dims, unsigned at, uint64_t offset)
{
	uint64_t stride = ptx_type_bytes(var->type), count = 0;
	uint64_t max = dims->size[at];

	for (unsigned i = at + 1; i < dims->n; i++)
		stride *= dims->size[i];
	if (at == 0 && dims->unsized)
		max = PTX_MAX_VAR_BYTES / stride;
	lex_expect(ps, '{', "'{'");
	while (ps->tok.kind != '}') {
		if (count == max)
			parse_fail(ps, ps->tok.line, "more initial values than elements in '%.64s'", var->name);
		if (at + 1 == dims->n)
			value(ps, var, offset + count * stride);
		else
			level(ps, var, dims, at + 1, offset + count * stride);
		count++;
		if (!lex_accept(ps, ','))
			break;
		if (ps->tok.kind == '}')
			parse_unexpected(ps, "an initial value");
	}
	if (at > 0 && count != max)
		parse_fail(ps, ps->tok.line, "inner initial values of '%.64s' are incomplete", var->name);
	lex_expect(ps, '}', "'}' or ','");
	if (at == 0 && dims->unsized)
		dims->size[0] = count;
}

void init_parse(struct parse *ps, struct ptx_var *var, struct dims *dims)
{
	struct decl d = { .type = var->type, .vec = var->vec, .line = var->line };
	struct dims inner = *dims;

	ps->init.n = ps->relocs.n = 0;
	/* With [] taken as one element this bounds every stride below. */
	if (dims->unsized)
		inner.size[0] = 1;
	decl_bytes(ps, &d, &inner, var->name);
	if (var->vec > 1)
		inner.size[inner.n++] = var->vec;
	inner.unsized = dims->unsized;
	if (inner.n == 0)
		value(ps, var, 0);
	else
		level(ps, var, &inner, 0, 0);
	if (dims->unsized) {
		if (inner.size[0] == 0)
			parse_fail(ps, var->line, "'%.64s' has no size", var->name);
		dims->size[0] = inner.size[0];
	}
	var->init_size = ps->init.n;
	var->init = parse_copy(ps, &ps->init);
	var->nrelocs = (uint32_t)ps->relocs.n;
	var->relocs = parse_copy(ps, &ps->relocs);
}
