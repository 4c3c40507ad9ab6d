/* parse_scope.c - what a name means where: nested scopes, `%r<N>` ranges, labels used before they stand.
 *
 * Each interned name holds the stack of its meanings, innermost first, so a lookup does not search.  A range is one
 * binding under its prefix; its registers come into being when first used, so `%r<200000>` costs nothing.
 * Where it would take a rule to choose (two ranges of different prefix, a name and a range in one scope) the text is
 * refused: compilers do not write that, and ptxas does not follow the scopes there. */
#include "parse_internal.h"

enum { MAX_SUFFIX = 24 };  /* digits that a range's index may have, leading zeros included */

void scope_push(struct parse *ps, uint32_t line)
{
	if (ps->depth + 1 >= sizeof ps->scopes / sizeof *ps->scopes)
		parse_fail(ps, line, "blocks nest deeper than %d", PTX_MAX_NEST);
	ps->depth++;
	ps->scopes[ps->depth] = (struct scope){ .line = line };
}

static void insert(struct binding **top, struct binding *b)
{
	while (*top && (*top)->depth > b->depth)
		top = &(*top)->outer;
	b->outer = *top;
	*top = b;
}

static struct binding *new_binding(struct parse *ps, struct sym *sym, enum bind_kind kind, unsigned depth,
	uint32_t line)
{
	struct binding *b = parse_alloc(ps, sizeof *b);

	b->sym = sym;
	b->kind = (uint8_t)kind;
	b->depth = (uint8_t)depth;
	b->line = line;
	b->in_scope = ps->scopes[depth].bindings;
	ps->scopes[depth].bindings = b;
	return b;
}

static void refuse_duplicate(struct parse *ps, const struct binding *top, const struct sym *sym, uint32_t line)
{
	if (top && top->depth == ps->depth)
		parse_fail(ps, line, "duplicate definition of '%.64s', first at line %u", sym->text, top->line);
}

struct binding *scope_bind(struct parse *ps, struct sym *sym, enum bind_kind kind, uint32_t line)
{
	struct binding *b;

	if (sym->sreg)
		parse_fail(ps, line, "special register '%.64s' cannot be declared", sym->text);
	refuse_duplicate(ps, sym->top, sym, line);
	b = new_binding(ps, sym, kind, ps->depth, line);
	insert(&sym->top, b);
	return b;
}

void scope_range(struct parse *ps, struct sym *prefix, uint32_t count, enum ptx_type type, uint8_t vec, uint32_t line)
{
	struct binding *b;

	refuse_duplicate(ps, prefix->ranges, prefix, line);
	if (ps->declared_regs + (uint64_t)count * vec > PTX_MAX_REGS)
		parse_fail(ps, line, "more than %d registers in one function", PTX_MAX_REGS);
	ps->declared_regs += (uint64_t)count * vec;
	b = new_binding(ps, prefix, BIND_RANGE, ps->depth, line);
	b->type = type;
	b->vec = vec;
	b->index = count;
	insert(&prefix->ranges, b);
}

/* Appends a register (the elements of a vector one after the other) to the function. */
static uint32_t add_reg(struct parse *ps, struct sym *sym, enum ptx_type type, uint8_t vec, uint32_t line)
{
	uint32_t first = (uint32_t)ps->regs.n;

	if (ps->regs.n + vec > PTX_MAX_REGS)
		parse_fail(ps, line, "more than %d registers in one function", PTX_MAX_REGS);
	for (unsigned i = 0; i < vec; i++) {
		struct ptx_reg *r = vec_push(ps, &ps->regs);
		r->name = sym->text;
		r->type = type;
		r->vec = 1;
	}
	return first;
}

uint32_t scope_new_reg(struct parse *ps, struct sym *sym, enum ptx_type type, uint8_t vec, uint32_t line)
{
	struct binding *b = scope_bind(ps, sym, BIND_REG, line);

	if (ps->declared_regs + vec > PTX_MAX_REGS)
		parse_fail(ps, line, "more than %d registers in one function", PTX_MAX_REGS);
	ps->declared_regs += vec;
	b->type = type;
	b->vec = vec;
	b->index = add_reg(ps, sym, type, vec, line);
	return b->index;
}

/* Register `index` of a range, made on first use.  `%x01` is `%x1`, so it is kept under the plain spelling. */
static struct binding *range_reg(struct parse *ps, struct binding *range, uint32_t index, uint32_t line)
{
	struct sym *sym = decl_numbered(ps, range->sym, index);
	struct binding *b;

	for (b = sym->top; b; b = b->outer)
		if (b->range == range)
			return b;
	b = new_binding(ps, sym, BIND_REG, range->depth, line);
	b->type = range->type;
	b->vec = range->vec;
	b->range = range;
	b->index = add_reg(ps, sym, range->type, range->vec, line);
	insert(&sym->top, b);
	return b;
}

/* The innermost range that covers `sym` as prefix and number.  *index is the number. */
static struct binding *find_range(struct parse *ps, const struct sym *sym, uint32_t *index, uint32_t line)
{
	struct binding *best = NULL;
	uint64_t value = 0, scale = 1;
	size_t at = sym->len;

	while (at > 1 && sym->len - at < MAX_SUFFIX && sym->text[at - 1] >= '0' && sym->text[at - 1] <= '9') {
		struct sym *prefix;
		at--;
		/* Beyond 2^32 the number is too large for any range, whatever the digits before it say. */
		value += scale * (uint64_t)(sym->text[at] - '0');
		if (value > UINT32_MAX)
			break;
		if (scale <= UINT32_MAX)
			scale *= 10;
		prefix = arena_find(ps->arena, sym->text, at);
		for (struct binding *b = prefix ? prefix->ranges : NULL; b; b = b->outer) {
			if (value >= b->index)
				continue;
			/* ptxas does not go by scope then. */
			if (best)
				parse_fail(ps, line, "'%.64s' is a register of two ranges", sym->text);
			best = b;
			*index = (uint32_t)value;
			break;
		}
	}
	return best;
}

struct binding *scope_lookup(struct parse *ps, struct sym *sym, uint32_t line)
{
	struct binding *exact = sym->top, *range;
	uint32_t index = 0;

	range = find_range(ps, sym, &index, line);
	/* A register made from a range is found through the range: it may be shadowed by a nearer one. */
	while (exact && exact->range && exact->range != range)
		exact = exact->outer;
	if (!range || (exact && exact->range == range))
		return exact;
	if (exact && exact->depth > range->depth)
		return exact;
	if (exact && exact->depth == range->depth)
		parse_fail(ps, line, "'%.64s' is both a name of its own and a register of a range", sym->text);
	return range_reg(ps, range, index, line);
}

void scope_label_ref(struct parse *ps, struct sym *sym, uint32_t *slot, uint32_t line)
{
	struct label_ref *r = parse_alloc(ps, sizeof *r);

	r->sym = sym;
	r->slot = slot;
	r->line = line;
	r->next = ps->scopes[ps->depth].refs;
	ps->scopes[ps->depth].refs = r;
}

/* Label references of the scope that ends: bound here, or handed to the scope around it. */
static void settle_refs(struct parse *ps)
{
	struct scope *s = &ps->scopes[ps->depth];
	struct label_ref *next;

	for (struct label_ref *r = s->refs; r; r = next) {
		struct binding *b = r->sym->top;
		next = r->next;
		if (b && b->depth == ps->depth) {
			if (b->kind != BIND_LABEL)
				parse_fail(ps, r->line, "'%.64s' is not a label", r->sym->text);
			*r->slot = b->index;
		} else if (ps->depth > 1) {
			r->next = s[-1].refs;
			s[-1].refs = r;
		} else {
			parse_fail(ps, r->line, "undeclared label '%.64s'", r->sym->text);
		}
	}
	s->refs = NULL;
}

static void unbind(struct binding *b)
{
	struct binding **top = b->kind == BIND_RANGE ? &b->sym->ranges : &b->sym->top;

	while (*top && *top != b)
		top = &(*top)->outer;
	if (*top)
		*top = b->outer;
}

void scope_pop(struct parse *ps)
{
	settle_refs(ps);
	for (struct binding *b = ps->scopes[ps->depth].bindings; b; b = b->in_scope)
		unbind(b);
	ps->scopes[ps->depth].bindings = NULL;
	ps->depth--;
}
