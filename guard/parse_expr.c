/* parse_expr.c - constant expressions: C's operators over .s64, .u64 and .f64, evaluated while they are read.
 *
 * Results agree with ptxas: shift counts are taken modulo 64, mixed signedness is unsigned, division by zero is an
 * error.  Nesting is bounded by PTX_MAX_NEST. */
#include <math.h>

#include "parse_internal.h"

static struct cval conditional(struct parse *ps, unsigned nest);

static struct cval from_bool(bool b)
{
	return (struct cval){ CVAL_S64, b };
}

static struct cval from_double(double d)
{
	struct cval v = { CVAL_F64, 0 };

	memcpy(&v.bits, &d, 8);
	return v;
}

static bool is_float(struct cval v)
{
	return v.kind == CVAL_F32 || v.kind == CVAL_F64;
}

double cval_double(struct cval v)
{
	float f;
	double d;
	uint32_t low = (uint32_t)v.bits;

	switch (v.kind) {
	case CVAL_S64: return (double)(int64_t)v.bits;
	case CVAL_U64: return (double)v.bits;
	case CVAL_F32:
		memcpy(&f, &low, 4);
		return (double)f;
	default:
		memcpy(&d, &v.bits, 8);
		return d;
	}
}

static bool truth(struct cval v)
{
	return is_float(v) ? cval_double(v) != 0 : v.bits != 0;
}

bool expr_starts(const struct parse *ps)
{
	switch (ps->tok.kind) {
	case TOK_INT: case TOK_F32: case TOK_F64: case '(': case '-': case '+': case '~': case '!':
		return true;
	case TOK_IDENT:
		return strcmp(ps->tok.sym->text, "WARP_SZ") == 0;
	default:
		return false;
	}
}

static struct cval primary(struct parse *ps, unsigned nest)
{
	struct cval v = { CVAL_S64, ps->tok.u };

	switch (ps->tok.kind) {
	case TOK_INT:
		if (ps->tok.is_unsigned)
			v.kind = CVAL_U64;
		break;
	case TOK_F32:
		v.kind = CVAL_F32;
		break;
	case TOK_F64:
		v.kind = CVAL_F64;
		break;
	case TOK_IDENT:
		if (!expr_starts(ps))
			parse_unexpected(ps, "a constant");
		v.bits = 32;  /* WARP_SZ */
		break;
	case '(':
		lex_next(ps);
		v = conditional(ps, nest + 1);
		lex_expect(ps, ')', "')'");
		return v;
	default:
		parse_unexpected(ps, "a constant");
	}
	lex_next(ps);
	return v;
}

/* `(.s64) x` and `(.u64) x`: the parenthesis has been seen, the type is next. */
static bool cast_follows(struct parse *ps, enum cval_kind *kind)
{
	struct token next;

	if (ps->tok.kind != '(')
		return false;
	next = lex_peek(ps);
	if (next.kind != TOK_DOT)
		return false;
	if (next.sym->mod == PTX_MOD_s64)
		*kind = CVAL_S64;
	else if (next.sym->mod == PTX_MOD_u64)
		*kind = CVAL_U64;
	else if (next.sym->mod == PTX_MOD_f64)
		*kind = CVAL_F64;
	else
		parse_fail(ps, next.line, "constants cannot be cast to '.%.64s'", next.sym->text);
	lex_next(ps);
	lex_next(ps);
	lex_expect(ps, ')', "')'");
	return true;
}

static struct cval cast(struct parse *ps, struct cval v, enum cval_kind kind, uint32_t line)
{
	double d;

	if (kind == CVAL_F64)
		return from_double(cval_double(v));
	if (!is_float(v))
		return (struct cval){ kind, v.bits };
	/* C leaves out-of-range conversions undefined; here they are errors. */
	d = trunc(cval_double(v));
	if (kind == CVAL_S64 && d >= -0x1p63 && d < 0x1p63)
		return (struct cval){ kind, (uint64_t)(int64_t)d };
	if (kind == CVAL_U64 && d >= 0 && d < 0x1p64)
		return (struct cval){ kind, (uint64_t)d };
	parse_fail(ps, line, "constant is out of range for the cast");
}

static struct cval unary(struct parse *ps, unsigned nest)
{
	int op = ps->tok.kind;
	uint32_t line = ps->tok.line;
	enum cval_kind kind;
	struct cval v;

	if (nest > PTX_MAX_NEST)
		parse_fail(ps, line, "constant expression nests deeper than %d", PTX_MAX_NEST);
	if (cast_follows(ps, &kind))
		return cast(ps, unary(ps, nest + 1), kind, line);
	if (op != '-' && op != '+' && op != '~' && op != '!')
		return primary(ps, nest);
	lex_next(ps);
	v = unary(ps, nest + 1);
	if (op == '!')
		return from_bool(!truth(v));
	if (op == '~') {
		if (is_float(v))
			parse_fail(ps, line, "'~' needs an integer");
		v.bits = ~v.bits;
	} else if (op == '-') {
		if (v.kind == CVAL_F32)
			v.bits ^= UINT64_C(1) << 31;
		else if (v.kind == CVAL_F64)
			v.bits ^= UINT64_C(1) << 63;
		else
			v.bits = 0 - v.bits;
	}
	return v;
}

static const struct { int tok; int prec; } binary_ops[] = {
	{ TOK_OROR, 1 }, { TOK_ANDAND, 2 }, { '|', 3 }, { '^', 4 }, { '&', 5 }, { TOK_EQ, 6 }, { TOK_NE, 6 },
	{ '<', 7 }, { '>', 7 }, { TOK_LE, 7 }, { TOK_GE, 7 }, { TOK_SHL, 8 }, { TOK_SHR, 8 },
	{ '+', 9 }, { '-', 9 }, { '*', 10 }, { '/', 10 }, { '%', 10 },
};

static int precedence(int tok)
{
	for (size_t i = 0; i < sizeof binary_ops / sizeof *binary_ops; i++)
		if (binary_ops[i].tok == tok)
			return binary_ops[i].prec;
	return 0;
}

static struct cval apply_float(struct parse *ps, int op, double a, double b, uint32_t line)
{
	switch (op) {
	case '+': return from_double(a + b);
	case '-': return from_double(a - b);
	case '*': return from_double(a * b);
	case '/': return from_double(a / b);
	case TOK_EQ: return from_bool(a == b);
	case TOK_NE: return from_bool(a != b);
	case '<': return from_bool(a < b);
	case '>': return from_bool(a > b);
	case TOK_LE: return from_bool(a <= b);
	case TOK_GE: return from_bool(a >= b);
	default: parse_fail(ps, line, "operator needs integers");
	}
}

static uint64_t divide(struct parse *ps, int op, bool is_signed, uint64_t a, uint64_t b, uint32_t line)
{
	if (b == 0)
		parse_fail(ps, line, "constant expression divides by zero");
	if (!is_signed)
		return op == '/' ? a / b : a % b;
	if (b == UINT64_MAX)  /* by -1: the one quotient that does not fit wraps */
		return op == '/' ? 0 - a : 0;
	return (uint64_t)(op == '/' ? (int64_t)a / (int64_t)b : (int64_t)a % (int64_t)b);
}

static struct cval shift(int op, struct cval a, uint64_t count)
{
	count &= 63;
	if (op == TOK_SHL)
		a.bits <<= count;
	else if (a.kind == CVAL_U64 || !(a.bits >> 63))
		a.bits >>= count;
	else
		a.bits = ~(~a.bits >> count);
	return a;
}

static struct cval apply(struct parse *ps, int op, struct cval a, struct cval b, uint32_t line)
{
	bool is_signed = a.kind == CVAL_S64 && b.kind == CVAL_S64;
	uint64_t flip = is_signed ? UINT64_C(1) << 63 : 0;  /* turns a signed comparison into an unsigned one */
	uint64_t x = a.bits ^ flip, y = b.bits ^ flip;
	struct cval v = { is_signed ? CVAL_S64 : CVAL_U64, 0 };

	if (op == TOK_ANDAND)
		return from_bool(truth(a) && truth(b));
	if (op == TOK_OROR)
		return from_bool(truth(a) || truth(b));
	if (is_float(a) != is_float(b))
		parse_fail(ps, line, "constant expression mixes integers and floating point");
	if (is_float(a))
		return apply_float(ps, op, cval_double(a), cval_double(b), line);
	switch (op) {
	case '+': v.bits = a.bits + b.bits; break;
	case '-': v.bits = a.bits - b.bits; break;
	case '*': v.bits = a.bits * b.bits; break;
	case '&': v.bits = a.bits & b.bits; break;
	case '|': v.bits = a.bits | b.bits; break;
	case '^': v.bits = a.bits ^ b.bits; break;
	case TOK_SHL: case TOK_SHR: return shift(op, a, b.bits);
	case TOK_EQ: return from_bool(x == y);
	case TOK_NE: return from_bool(x != y);
	case '<': return from_bool(x < y);
	case '>': return from_bool(x > y);
	case TOK_LE: return from_bool(x <= y);
	case TOK_GE: return from_bool(x >= y);
	default: v.bits = divide(ps, op, is_signed, a.bits, b.bits, line); break;
	}
	return v;
}

/* Operators of at least precedence `min`; recursion is at most one level per precedence and parenthesis. */
static struct cval binary(struct parse *ps, int min, unsigned nest)
{
	struct cval a = unary(ps, nest);

	for (;;) {
		int op = ps->tok.kind, prec = precedence(op);
		uint32_t line = ps->tok.line;
		if (prec == 0 || prec < min)
			return a;
		lex_next(ps);
		a = apply(ps, op, a, binary(ps, prec + 1, nest), line);
	}
}

static struct cval conditional(struct parse *ps, unsigned nest)
{
	struct cval cond, a, b;
	uint32_t line = ps->tok.line;

	if (nest > PTX_MAX_NEST)
		parse_fail(ps, line, "constant expression nests deeper than %d", PTX_MAX_NEST);
	cond = binary(ps, 1, nest);
	if (!lex_accept(ps, '?'))
		return cond;
	a = conditional(ps, nest + 1);
	lex_expect(ps, ':', "':'");
	b = conditional(ps, nest + 1);
	if (is_float(a) != is_float(b))
		parse_fail(ps, line, "constant expression mixes integers and floating point");
	if (!is_float(a) && a.kind != b.kind)
		a.kind = b.kind = CVAL_U64;
	return truth(cond) ? a : b;
}

struct cval expr_parse(struct parse *ps)
{
	return conditional(ps, 0);
}

int64_t expr_parse_int(struct parse *ps)
{
	uint32_t line = ps->tok.line;
	struct cval v = expr_parse(ps);

	if (is_float(v))
		parse_fail(ps, line, "integer constant expected");
	return (int64_t)v.bits;
}
