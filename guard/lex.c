/* lex.c - PTX text to tokens, agreeing with what ptxas 13.0 accepts.
 *
 * The text is the client's: read once, never past `end`.  A blank is a space, a tab, CR or LF (form feed and
 * vertical tab are errors, as for ptxas); a `//` comment ends at LF only; `# 12 "file"` line markers are blanks. */
#include <errno.h>
#include <stdlib.h>

#include "parse_internal.h"

enum { C_NAME = 1, C_START = 2, C_DIGIT = 4, C_HEX = 8 };

static unsigned class_of(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return C_NAME | C_DIGIT | C_HEX;
	if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
		return C_NAME | C_START | C_HEX;
	if ((c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z'))
		return C_NAME | C_START;
	return c == '_' || c == '$' ? C_NAME : 0;
}

static bool is_name(const struct parse *ps, const char *p)
{
	return p < ps->end && class_of((unsigned char)*p) & C_NAME;
}

static bool is_digit(const struct parse *ps, const char *p)
{
	return p < ps->end && *p >= '0' && *p <= '9';
}

_Noreturn static void bad_byte(struct parse *ps, unsigned char c)
{
	if (c == 0)
		parse_fail(ps, ps->line, "NUL byte in the text");
	if (c < 0x20 || c >= 0x7f)
		parse_fail(ps, ps->line, "unexpected byte \\x%02x", c);
	parse_fail(ps, ps->line, "unexpected character '%c'", c);
}

/* NUL and non-ASCII are errors even where nothing reads them. */
static void check_ascii(struct parse *ps, unsigned char c)
{
	if (c == 0 || c >= 0x80)
		bad_byte(ps, c);
}

static void skip_block_comment(struct parse *ps)
{
	uint32_t start = ps->line;

	for (ps->p += 2; ps->end - ps->p >= 2; ps->p++) {
		check_ascii(ps, (unsigned char)*ps->p);
		if (ps->p[0] == '*' && ps->p[1] == '/') {
			ps->p += 2;
			return;
		}
		if (*ps->p == '\n')
			ps->line++;
	}
	parse_fail(ps, start, "comment without an end");
}

static void skip_blanks_in_line(struct parse *ps)
{
	while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\r'))
		ps->p++;
}

/* `# 12 "file" 3 4` and `#line 12 "file"`: position markers of a preprocessor.  Lines are counted in the text as
 * given, so they are skipped. */
static void skip_line_marker(struct parse *ps)
{
	ps->p++;
	skip_blanks_in_line(ps);
	if (ps->end - ps->p >= 4 && memcmp(ps->p, "line", 4) == 0) {
		ps->p += 4;
		skip_blanks_in_line(ps);
	}
	if (!is_digit(ps, ps->p))
		parse_fail(ps, ps->line, "malformed # line marker");
	while (is_digit(ps, ps->p))
		ps->p++;
	skip_blanks_in_line(ps);
	if (ps->p == ps->end || *ps->p != '"')
		parse_fail(ps, ps->line, "malformed # line marker");
	for (ps->p++; ps->p < ps->end && *ps->p != '"' && *ps->p != '\n'; ps->p++)
		check_ascii(ps, (unsigned char)*ps->p);
	if (ps->p == ps->end || *ps->p != '"')
		parse_fail(ps, ps->line, "malformed # line marker");
	ps->p++;
	while (ps->p < ps->end && (is_digit(ps, ps->p) || *ps->p == ' ' || *ps->p == '\t' || *ps->p == '\r'))
		ps->p++;
	if (ps->p < ps->end && *ps->p != '\n')
		parse_fail(ps, ps->line, "malformed # line marker");
}

static void skip_blanks(struct parse *ps)
{
	while (ps->p < ps->end) {
		char c = *ps->p;
		if (c == '\n') {
			ps->line++;
			ps->p++;
		} else if (c == ' ' || c == '\t' || c == '\r') {
			ps->p++;
		} else if (c == '#') {
			skip_line_marker(ps);
		} else if (c == '/' && ps->end - ps->p >= 2 && ps->p[1] == '/') {
			for (; ps->p < ps->end && *ps->p != '\n'; ps->p++)
				check_ascii(ps, (unsigned char)*ps->p);
		} else if (c == '/' && ps->end - ps->p >= 2 && ps->p[1] == '*') {
			skip_block_comment(ps);
		} else {
			return;
		}
	}
}

_Noreturn static void bad_number(struct parse *ps)
{
	parse_fail(ps, ps->line, "malformed number");
}

static unsigned hex_digit(unsigned char c)
{
	return c <= '9' ? c - 0u - '0' : (c | 0x20u) - 'a' + 10;
}

/* Digits of `base` from ps->p on, then an optional U. */
static void lex_integer(struct parse *ps, unsigned base)
{
	uint64_t v = 0;
	const char *start = ps->p;

	for (; ps->p < ps->end; ps->p++) {
		unsigned char c = (unsigned char)*ps->p;
		unsigned digit;
		if (!(class_of(c) & C_HEX))
			break;
		digit = hex_digit(c);
		if (digit >= base)
			break;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)digit, &v))
			parse_fail(ps, ps->line, "integer constant exceeds 64 bits");
	}
	if (ps->p == start)
		bad_number(ps);
	ps->tok.kind = TOK_INT;
	ps->tok.u = v;
	ps->tok.is_unsigned = v > INT64_MAX;
	if (ps->p < ps->end && *ps->p == 'U') {
		ps->tok.is_unsigned = true;
		ps->p++;
	}
}

/* 0f and 0d: exactly `digits` hexadecimal digits. */
static void lex_float_bits(struct parse *ps, int kind, unsigned digits)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < digits; i++, ps->p++) {
		unsigned char c = ps->p < ps->end ? (unsigned char)*ps->p : 0;
		if (!(class_of(c) & C_HEX))
			bad_number(ps);
		v = v << 4 | hex_digit(c);
	}
	ps->tok.kind = kind;
	ps->tok.u = v;
}

/* Where a decimal float that starts at `p` ends; NULL when it is none: [0-9]*.[0-9]*(e[+-]?[0-9]+)? or [0-9]+e... */
static const char *decimal_float_end(const struct parse *ps, const char *p)
{
	const char *start = p;
	bool is_float = false;
	size_t digits = 0;

	for (; is_digit(ps, p); p++)
		digits++;
	if (p < ps->end && *p == '.') {
		is_float = true;
		for (p++; is_digit(ps, p); p++)
			digits++;
	}
	if (digits == 0 || p == start)
		return NULL;
	if (p < ps->end && (*p == 'e' || *p == 'E')) {
		const char *q = p + 1;
		if (q < ps->end && (*q == '+' || *q == '-'))
			q++;
		if (is_digit(ps, q)) {
			is_float = true;
			for (p = q; is_digit(ps, p); )
				p++;
		}
	}
	return is_float ? p : NULL;
}

static void lex_decimal_float(struct parse *ps, const char *stop)
{
	char buf[512];
	size_t len = (size_t)(stop - ps->p);
	double d;

	if (len >= sizeof buf)
		parse_fail(ps, ps->line, "number is too long");
	memcpy(buf, ps->p, len);
	buf[len] = 0;
	errno = 0;
	d = strtod(buf, NULL);
	ps->p = stop;
	ps->tok.kind = TOK_F64;
	memcpy(&ps->tok.u, &d, 8);
}

static void lex_number(struct parse *ps)
{
	char second = ps->end - ps->p >= 2 ? ps->p[1] : 0;
	const char *stop = decimal_float_end(ps, ps->p);

	if (stop) {
		lex_decimal_float(ps, stop);
	} else if (*ps->p == '0' && second && strchr("xXbBfFdD", second)) {
		ps->p += 2;
		switch (second | 0x20) {
		case 'x': lex_integer(ps, 16); break;
		case 'b': lex_integer(ps, 2); break;
		case 'f': lex_float_bits(ps, TOK_F32, 8); break;
		default: lex_float_bits(ps, TOK_F64, 16); break;
		}
	} else {
		lex_integer(ps, *ps->p == '0' ? 8 : 10);
	}
	if (is_name(ps, ps->p))
		bad_number(ps);
}

static const char *scan_name(struct parse *ps, const char *p)
{
	const char *start = p;

	while (is_name(ps, p))
		p++;
	if (p - start > PTX_MAX_NAME)
		parse_fail(ps, ps->line, "name exceeds %d characters", PTX_MAX_NAME);
	return p;
}

/* `.word`, `.word::word::word`; `.5` is a number. */
static void lex_dot(struct parse *ps)
{
	const char *start = ps->p + 1, *p = scan_name(ps, start), *stop = decimal_float_end(ps, ps->p);

	if (stop && stop >= p) {
		lex_decimal_float(ps, stop);
		if (is_name(ps, ps->p))
			bad_number(ps);
		return;
	}
	if (p == start)
		parse_fail(ps, ps->line, "unexpected character '.'");
	while (ps->end - p >= 3 && p[0] == ':' && p[1] == ':' && is_name(ps, p + 2))
		p = scan_name(ps, p + 2);
	if (p - start > PTX_MAX_NAME)
		parse_fail(ps, ps->line, "name exceeds %d characters", PTX_MAX_NAME);
	ps->tok.kind = TOK_DOT;
	ps->tok.sym = parse_intern(ps, start, (size_t)(p - start));
	ps->p = p;
}

static void lex_ident(struct parse *ps)
{
	const char *p = scan_name(ps, ps->p + 1);

	ps->tok.kind = TOK_IDENT;
	ps->tok.sym = parse_intern(ps, ps->p, (size_t)(p - ps->p));
	ps->p = p;
}

/* Up to the next quote: a backslash is a character like any other, as for ptxas. */
static void lex_string(struct parse *ps)
{
	const char *start = ++ps->p;

	while (ps->p < ps->end && *ps->p != '"') {
		check_ascii(ps, (unsigned char)*ps->p);
		if (*ps->p == '\n')
			parse_fail(ps, ps->tok.line, "string without an end");
		ps->p++;
	}
	if (ps->p >= ps->end)
		parse_fail(ps, ps->tok.line, "string without an end");
	ps->tok.kind = TOK_STRING;
	ps->tok.start = start;
	ps->tok.len = (size_t)(ps->p - start);
	ps->p++;
}

static void lex_punctuation(struct parse *ps)
{
	static const struct { char text[3]; int kind; } pairs[] = {
		{ "<<", TOK_SHL }, { ">>", TOK_SHR }, { "<=", TOK_LE }, { ">=", TOK_GE },
		{ "==", TOK_EQ }, { "!=", TOK_NE }, { "&&", TOK_ANDAND }, { "||", TOK_OROR },
	};
	char c = *ps->p;

	for (size_t i = 0; ps->end - ps->p >= 2 && i < sizeof pairs / sizeof *pairs; i++) {
		if (c == pairs[i].text[0] && ps->p[1] == pairs[i].text[1]) {
			ps->tok.kind = pairs[i].kind;
			ps->p += 2;
			return;
		}
	}
	if (!c || !strchr(",;:()[]{}<>+-*/%&|^!~?=@", c))
		bad_byte(ps, (unsigned char)c);
	ps->tok.kind = c;
	ps->p++;
}

void lex_next(struct parse *ps)
{
	const char *before = ps->p;
	unsigned char c;

	skip_blanks(ps);
	ps->tok = (struct token){ .kind = TOK_EOF, .line = ps->line, .glued = ps->p == before, .start = ps->p };
	if (ps->p == ps->end)
		return;
	c = (unsigned char)*ps->p;
	if (class_of(c) & C_DIGIT) {
		lex_number(ps);
	} else if (class_of(c) & C_START) {
		lex_ident(ps);
	} else if ((c == '_' || c == '$' || c == '%') && is_name(ps, ps->p + 1)) {
		lex_ident(ps);
	} else if (c == '_') {
		ps->tok.kind = TOK_SINK;
		ps->p++;
	} else if (c == '.') {
		lex_dot(ps);
	} else if (c == '"') {
		lex_string(ps);
	} else {
		lex_punctuation(ps);
	}
	if (ps->tok.kind != TOK_STRING)
		ps->tok.len = (size_t)(ps->p - ps->tok.start);
}

struct token lex_peek(struct parse *ps)
{
	struct token now = ps->tok, next;
	const char *p = ps->p;
	uint32_t line = ps->line;

	lex_next(ps);
	next = ps->tok;
	ps->tok = now;
	ps->p = p;
	ps->line = line;
	return next;
}

bool lex_accept(struct parse *ps, int kind)
{
	if (ps->tok.kind != kind)
		return false;
	lex_next(ps);
	return true;
}

void lex_expect(struct parse *ps, int kind, const char *what)
{
	if (ps->tok.kind != kind)
		parse_unexpected(ps, what);
	lex_next(ps);
}

bool lex_accept_kw(struct parse *ps, enum parse_kw kw)
{
	if (ps->tok.kind != TOK_DOT || ps->tok.sym->kw != kw)
		return false;
	lex_next(ps);
	return true;
}

uint64_t lex_uint(struct parse *ps, uint64_t max, const char *what)
{
	uint64_t v = ps->tok.u;

	if (ps->tok.kind != TOK_INT)
		parse_unexpected(ps, what);
	if (v > max)
		parse_fail(ps, ps->tok.line, "%s %llu exceeds %llu", what, (unsigned long long)v,
			(unsigned long long)max);
	lex_next(ps);
	return v;
}

struct sym *lex_name(struct parse *ps, const char *what)
{
	struct sym *sym = ps->tok.sym;

	if (ps->tok.kind != TOK_IDENT)
		parse_unexpected(ps, what);
	lex_next(ps);
	return sym;
}
