/* parse_operand.c - operands: registers and their elements, constants, addresses, vectors, call and branch forms.
 *
 * Which shapes an opcode takes is not checked here beyond what decides the shape itself (calls, branches, array
 * elements): whoever reads the IR checks the operands it understands. */
#include <stdio.h>

#include "parse_internal.h"

static void simple(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o);

static void copy_list(struct parse *ps, struct ptx_operand *o, const struct ptx_operand *items, unsigned n)
{
	o->nlist = (uint8_t)n;
	o->list = NULL;
	if (n) {
		o->list = parse_alloc(ps, n * sizeof *items);
		memcpy(o->list, items, n * sizeof *items);
	}
}

static void constant(struct parse *ps, struct ptx_operand *o)
{
	struct cval v = expr_parse(ps);

	o->kind = v.kind == CVAL_F32 || v.kind == CVAL_F64 ? PTX_O_FIMM : PTX_O_IMM;
	o->is_f32 = v.kind == CVAL_F32;
	o->u.imm = v.bits;
}

/* --- names ------------------------------------------------------------------------------------------ */

/* x y z w and r g b a: 0 to 3; -1 for any other text. */
static int element(const struct sym *sym)
{
	static const char names[] = "xyzwrgba";
	const char *at = sym->len == 1 ? strchr(names, sym->text[0]) : NULL;

	return at ? (int)(at - names) & 3 : -1;
}

/* `.b0` ... `.b7654`, `.h0` ... `.h32` of the video instructions; see ptx_operand.sel. */
static void selector(struct parse *ps, struct ptx_operand *o)
{
	const struct sym *sym = ps->tok.sym;
	bool half = sym->text[0] == 'h';
	unsigned n = sym->len - 1, sel = 0;

	if ((!half && sym->text[0] != 'b') || n < 1 || n > (half ? 2 : 4))
		parse_fail(ps, ps->tok.line, "unknown selector '.%.64s'", sym->text);
	for (unsigned i = 1; i <= n; i++) {
		if (sym->text[i] < '0' || sym->text[i] > (half ? '3' : '7'))
			parse_fail(ps, ps->tok.line, "unknown selector '.%.64s'", sym->text);
		sel = sel << 3 | (unsigned)(sym->text[i] - '0');
	}
	o->sel = (uint16_t)(sel | n << 12 | (half ? 1u << 15 : 0));
	lex_next(ps);
}

static void reg_operand(struct parse *ps, struct ptx_operand *o, const struct binding *b, const struct sym *sym)
{
	struct ptx_operand items[4];

	o->kind = PTX_O_REG;
	o->u.reg = b->index;
	if (b->vec == 1) {
		if (ps->tok.kind == TOK_DOT)
			selector(ps, o);
	} else if (ps->tok.kind == TOK_DOT) {
		int e = element(ps->tok.sym);
		if (e < 0 || e >= b->vec)
			parse_fail(ps, ps->tok.line, "'%.64s' has no element '.%.64s'", sym->text, ps->tok.sym->text);
		o->u.reg += (uint32_t)e;
		lex_next(ps);
	} else {
		memset(items, 0, sizeof items);
		for (unsigned i = 0; i < b->vec; i++) {
			items[i].kind = PTX_O_REG;
			items[i].u.reg = b->index + i;
		}
		o->kind = PTX_O_VEC;
		copy_list(ps, o, items, b->vec);
	}
}

/* A special register: `%laneid`, `%tid.x`; the fourth element of a triple is always 0. */
static void sreg_operand(struct parse *ps, struct ptx_operand *o, const struct sym *sym)
{
	char name[64];
	const struct sym *full;
	int e;

	o->kind = PTX_O_SREG;
	if (sym->sreg != SREG_TRIPLE) {
		o->u.sreg = (enum ptx_sreg)(sym->sreg - 1);
		return;
	}
	if (ps->tok.kind != TOK_DOT)
		parse_fail(ps, ps->tok.line, "special register '%s' can only be read by element", sym->text);
	e = element(ps->tok.sym);
	if (e < 0)
		parse_fail(ps, ps->tok.line, "'%s' has no element '.%.64s'", sym->text, ps->tok.sym->text);
	snprintf(name, sizeof name, "%s.%c", sym->text, "xyzw"[e]);
	full = arena_find(ps->arena, name, strlen(name));
	if (full && full->sreg)
		o->u.sreg = (enum ptx_sreg)(full->sreg - 1);
	else
		o->kind = PTX_O_IMM;
	lex_next(ps);
}

static struct binding *lookup(struct parse *ps, struct sym *sym, uint32_t line)
{
	struct binding *b = scope_lookup(ps, sym, line);

	if (b && (b->kind == BIND_LABEL || b->kind == BIND_TABLE))
		parse_fail(ps, line, "label '%.64s' cannot be an operand here", sym->text);
	return b;
}

/* `a[i]` of a variable or parameter: the element's byte offset.  '[' is the current token. */
static int64_t array_index(struct parse *ps, const struct binding *b, uint64_t elem, const struct sym *sym)
{
	uint64_t i;

	if (b->dims != 1)
		parse_fail(ps, ps->tok.line, "'%.64s' is not an array of one dimension", sym->text);
	lex_next(ps);
	if (!expr_starts(ps))
		parse_fail(ps, ps->tok.line, "array index of '%.64s' is not a constant", sym->text);
	i = (uint64_t)expr_parse_int(ps);
	/* ptxas takes a negative index for a large unsigned one of 32 bits. */
	if (i > INT32_MAX)
		parse_fail(ps, ps->tok.line, "array index of '%.64s' is out of range", sym->text);
	lex_expect(ps, ']', "']'");
	return (int64_t)(i * elem);
}

/* Points `o` at the variable or parameter `b`, as a value of kind u.var or u.param. */
static uint64_t object(struct ptx_operand *o, const struct binding *b)
{
	if (b->kind == BIND_VAR) {
		o->kind = PTX_O_VAR;
		o->u.var = b->u.var;
		return (uint64_t)decl_elem_bytes(b->u.var->type) * b->u.var->vec;
	}
	o->kind = PTX_O_PARAM;
	o->u.param = b->u.param;
	return (uint64_t)decl_elem_bytes(b->u.param->type) * b->u.param->vec;
}

static void name_operand(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o)
{
	uint32_t line = ps->tok.line;
	struct sym *sym = lex_name(ps, "an operand");
	struct binding *b;
	uint64_t elem;

	/* As for ptxas, the name of a special register means it whatever a register range would cover. */
	if (sym->sreg) {
		sreg_operand(ps, o, sym);
		return;
	}
	b = lookup(ps, sym, line);
	if (!b) {
		parse_fail(ps, line, "undeclared name '%.64s'", sym->text);
	} else if (b->kind == BIND_REG) {
		reg_operand(ps, o, b, sym);
	} else if (b->kind == BIND_FUNC) {
		o->kind = PTX_O_FUNC;
		o->u.func = b->u.func;
	} else {
		elem = object(o, b);
		if (ps->tok.kind == '[') {
			o->off = array_index(ps, b, elem, sym);
			/* `mov r, a[2]` takes the element's address, everything else accesses it. */
			if (in->op != PTX_OP_mov && in->op != PTX_OP_cvta) {
				o->base = o->kind;
				o->kind = PTX_O_ADDR;
			}
		} else if (lex_accept(ps, '+')) {
			o->off = expr_parse_int(ps);
		}
	}
}

/* --- [addresses] --------------------------------------------------------------------------------------- */

/* `, sampler, {coords}]` or `, {coords}]` after the handle, which `o` holds as an address. */
static void texture(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o)
{
	struct ptx_operand items[3] = { { .kind = o->base } };
	uint32_t line = ps->tok.line;
	unsigned n = 2;

	if (o->off != 0 || o->base == PTX_O_NONE)
		parse_fail(ps, line, "a texture, surface or tensor map cannot have an offset");
	items[0].u = o->u;
	lex_next(ps);
	simple(ps, in, &items[1]);
	if (lex_accept(ps, ',')) {
		items[2] = items[1];
		items[1] = (struct ptx_operand){ .kind = PTX_O_NONE };
		simple(ps, in, &items[1]);
		n = 3;
	}
	*o = (struct ptx_operand){ .kind = PTX_O_TEX };
	copy_list(ps, o, items, n);
}

static void address(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o)
{
	lex_next(ps);
	if (expr_starts(ps)) {
		o->base = PTX_O_NONE;
		o->off = expr_parse_int(ps);
	} else {
		uint32_t line = ps->tok.line;
		struct sym *sym = lex_name(ps, "an address");
		struct binding *b = lookup(ps, sym, line);
		if (!b)
			parse_fail(ps, line, "undeclared name '%.64s'", sym->text);
		if (b->kind == BIND_FUNC)
			parse_fail(ps, line, "function '%.64s' cannot be an address", sym->text);
		if (b->kind == BIND_REG)
			reg_operand(ps, o, b, sym);
		else
			object(o, b);
		if (o->kind == PTX_O_VEC || o->sel)
			parse_fail(ps, line, "'%.64s' cannot be an address", sym->text);
		o->base = o->kind;
		if (lex_accept(ps, '+')) {
			if (!expr_starts(ps))
				parse_fail(ps, ps->tok.line, "the offset of an address must be a constant");
			o->off = expr_parse_int(ps);
		}
	}
	o->kind = PTX_O_ADDR;
	if (ps->tok.kind == ',')
		texture(ps, in, o);
	lex_expect(ps, ']', "']'");
}

/* --- operands -------------------------------------------------------------------------------------------- */

static void vector(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o)
{
	struct ptx_operand items[PTX_MAX_VEC];
	uint32_t line = ps->tok.line;
	unsigned n = 0;

	lex_next(ps);
	do {
		if (n == PTX_MAX_VEC)
			parse_fail(ps, line, "vector of more than %d elements", PTX_MAX_VEC);
		if (ps->tok.kind == '{' || ps->tok.kind == '[')
			parse_unexpected(ps, "a vector element");
		items[n] = (struct ptx_operand){ .kind = PTX_O_NONE };
		simple(ps, in, &items[n]);
		if (items[n].kind == PTX_O_VEC)
			parse_fail(ps, ps->tok.line, "a vector cannot be an element of a vector");
		n++;
	} while (lex_accept(ps, ','));
	lex_expect(ps, '}', "'}' or ','");
	o->kind = PTX_O_VEC;
	copy_list(ps, o, items, n);
}

/* `-r` and `!p` */
static bool negated_name(struct parse *ps)
{
	struct token next;

	if (ps->tok.kind != '-' && ps->tok.kind != '!')
		return false;
	next = lex_peek(ps);
	return next.kind == TOK_IDENT && strcmp(next.sym->text, "WARP_SZ") != 0;
}

/* Any operand but a pair.  Recursion: a texture's or vector's elements are not textures or vectors again. */
static void simple(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o)
{
	uint32_t line = ps->tok.line;

	if (negated_name(ps)) {
		lex_next(ps);
		name_operand(ps, in, o);
		if (o->kind != PTX_O_REG)
			parse_fail(ps, line, "only a register can be negated");
		o->neg = true;
	} else if (ps->tok.kind == '{') {
		vector(ps, in, o);
	} else if (ps->tok.kind == TOK_SINK) {
		o->kind = PTX_O_SINK;
		lex_next(ps);
	} else if (expr_starts(ps)) {
		constant(ps, o);
	} else {
		name_operand(ps, in, o);
	}
}

static void operand(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o)
{
	struct ptx_operand items[2] = { { .kind = PTX_O_NONE } };
	uint32_t line = ps->tok.line;

	if (ps->tok.kind == '[')
		address(ps, in, o);
	else
		simple(ps, in, o);
	if (!lex_accept(ps, '|'))
		return;
	items[0] = *o;
	simple(ps, in, &items[1]);
	for (int i = 0; i < 2; i++)
		if (items[i].kind != PTX_O_REG && items[i].kind != PTX_O_SINK && items[i].kind != PTX_O_VEC)
			parse_fail(ps, line, "only destinations can be joined by '|'");
	*o = (struct ptx_operand){ .kind = PTX_O_PAIR };
	copy_list(ps, o, items, 2);
}

/* --- calls and branches ------------------------------------------------------------------------------------ */

/* `( a, b, ... )` */
static void call_list(struct parse *ps, struct ptx_inst *in, struct ptx_operand *o)
{
	struct ptx_operand items[PTX_MAX_OPERANDS];
	uint32_t line = ps->tok.line;
	unsigned n = 0;

	lex_expect(ps, '(', "'('");
	if (!lex_accept(ps, ')')) {
		do {
			if (n == PTX_MAX_OPERANDS)
				parse_fail(ps, line, "call with more than %d operands", PTX_MAX_OPERANDS);
			items[n] = (struct ptx_operand){ .kind = PTX_O_NONE };
			simple(ps, in, &items[n++]);
		} while (lex_accept(ps, ','));
		lex_expect(ps, ')', "')' or ','");
	}
	o->kind = PTX_O_LIST;
	copy_list(ps, o, items, n);
}

static struct ptx_table *table_operand(struct parse *ps, struct ptx_operand *o)
{
	uint32_t line = ps->tok.line;
	struct sym *sym = lex_name(ps, "a target list or prototype");
	struct binding *b = scope_lookup(ps, sym, line);

	if (!b)
		parse_fail(ps, line, "undeclared name '%.64s'", sym->text);
	if (b->kind != BIND_TABLE)
		parse_fail(ps, line, "'%.64s' is not a target list or prototype", sym->text);
	o->kind = PTX_O_TABLE;
	o->u.table = b->index;
	return (struct ptx_table *)ps->tables.data + b->index;
}

static void check_counts(struct parse *ps, const struct ptx_func *f, const struct ptx_operand *ops, uint32_t line)
{
	if (f->nrets != ops[0].nlist || f->nparams != ops[2].nlist)
		parse_fail(ps, line, "call of '%.64s' with %u results and %u arguments, declared with %u and %u",
			f->name, ops[0].nlist, ops[2].nlist, f->nrets, f->nparams);
}

static unsigned call(struct parse *ps, struct ptx_inst *in, struct ptx_operand *ops)
{
	const struct ptx_table *t = NULL;
	unsigned n = 3;

	ops[0].kind = ops[2].kind = PTX_O_LIST;
	if (ps->tok.kind == '(') {
		call_list(ps, in, &ops[0]);
		lex_expect(ps, ',', "','");
	}
	name_operand(ps, in, &ops[1]);
	if (lex_accept(ps, ',')) {
		bool has_args = ps->tok.kind == '(';
		if (has_args)
			call_list(ps, in, &ops[2]);
		if (!has_args || lex_accept(ps, ','))
			t = table_operand(ps, &ops[n++]);
	}
	if (ops[1].kind == PTX_O_FUNC) {
		if (ops[1].u.func->is_entry)
			parse_fail(ps, in->line, "call of entry '%.64s'", ops[1].u.func->name);
		check_counts(ps, ops[1].u.func, ops, in->line);
	} else if (ops[1].kind != PTX_O_REG || ops[1].sel) {
		parse_fail(ps, in->line, "call of something that is neither a function nor a register");
	} else if (!t) {
		parse_fail(ps, in->line, "indirect call without a target list or prototype");
	}
	if (t && t->kind == PTX_TAB_BRANCH)
		parse_fail(ps, in->line, "call through a list of branch targets");
	if (t && t->kind == PTX_TAB_PROTOTYPE)
		check_counts(ps, t->proto, ops, in->line);
	for (uint32_t i = 0; t && t->kind == PTX_TAB_CALLTARGETS && i < t->n; i++)
		check_counts(ps, t->funcs[i], ops, in->line);
	return n;
}

static unsigned indexed_branch(struct parse *ps, struct ptx_inst *in, struct ptx_operand *ops)
{
	simple(ps, in, &ops[0]);
	lex_expect(ps, ',', "','");
	if (table_operand(ps, &ops[1])->kind != PTX_TAB_BRANCH)
		parse_fail(ps, in->line, "brx needs a list of branch targets");
	return 2;
}

/* All operands up to the ';'. */
void operand_inst(struct parse *ps, struct ptx_inst *in)
{
	struct ptx_operand ops[PTX_MAX_OPERANDS];
	struct sym *target = NULL;
	unsigned n = 0;

	memset(ops, 0, 4 * sizeof *ops);
	if (in->op == PTX_OP_call) {
		n = call(ps, in, ops);
	} else if (in->op == PTX_OP_brx) {
		n = indexed_branch(ps, in, ops);
	} else if (in->op == PTX_OP_bra) {
		target = lex_name(ps, "a label");
		ops[0].kind = PTX_O_LABEL;
		n = 1;
	} else if (ps->tok.kind != ';') {
		do {
			if (n == PTX_MAX_OPERANDS)
				parse_fail(ps, in->line, "more than %d operands", PTX_MAX_OPERANDS);
			ops[n] = (struct ptx_operand){ .kind = PTX_O_NONE };
			operand(ps, in, &ops[n++]);
		} while (lex_accept(ps, ','));
	}
	in->nops = (uint8_t)n;
	if (n) {
		in->ops = parse_alloc(ps, n * sizeof *ops);
		memcpy(in->ops, ops, n * sizeof *ops);
	}
	if (target)
		scope_label_ref(ps, target, &in->ops[0].u.label, in->line);
}
