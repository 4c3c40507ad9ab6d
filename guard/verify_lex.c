/* verify_lex.c - the verifier's own lexer: lines, words, literals.
 * It knows no comments, no line directives and no escapes: the canonical form has none. */
#include "verify_int.h"

#include <stdlib.h>
#include <string.h>

bool vgrow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap)
		return true;
	if (*cap > UINT32_MAX / 4)
		return false;
	uint32_t want = *cap ? *cap * 2 : 64;
	void *old, *now;
	memcpy(&old, array, sizeof old);
	now = realloc(old, (size_t)want * size);
	if (!now)
		return false;
	memcpy(array, &now, sizeof now);
	*cap = want;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool vlex_line(struct vlex *l)
{
	l->bad = NULL;
	while (l->p < l->end) {
		const char *s = l->p, *e = memchr(s, '\n', (size_t)(l->end - s));
		l->line++;
		if (!e) {
			l->bad = "the last line has no end";
			return false;
		}
		l->p = e + 1;
		if (e - s > VMAX_LINE) {
			l->bad = "line too long";
			return false;
		}
		for (const char *q = s; q < e; q++)
			if ((*q < 0x20 || *q > 0x7e) && *q != '\t') {
				l->bad = "a byte that is not printable ASCII";
				return false;
			}
		while (s < e && is_blank(*s))
			s++;
		while (e > s && is_blank(e[-1]))
			e--;
		if (s == e)
			continue;
		l->ls = l->c = s;
		l->ce = e;
		return true;
	}
	l->ls = l->c = l->ce = l->end;
	return false;
}

static void skip(struct vlex *l)
{
	while (l->c < l->ce && is_blank(*l->c))
		l->c++;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool vlex_word(struct vlex *l, struct vword *w)
{
	skip(l);
	const char *s = l->c;
	while (l->c < l->ce) {
		char c = *l->c;
		if (is_alnum(c) || c == '_' || c == '$' || c == '%' || c == '.')
			l->c++;
		else if (c == ':' && l->ce - l->c > 2 && l->c[1] == ':' && is_alnum(l->c[2]))
			l->c += 2;
		else
			break;
	}
	w->s = s;
	w->n = (uint32_t)(l->c - s);
	return w->n > 0;
}

char vlex_peek(struct vlex *l)
{
	skip(l);
	return l->c < l->ce ? *l->c : 0;
}

bool vlex_char(struct vlex *l, char c)
{
	if (vlex_peek(l) != c || !c)
		return false;
	l->c++;
	return true;
}

bool vlex_end(struct vlex *l)
{
	return vlex_peek(l) == 0;
}

bool vlex_is(const struct vlex *l, const char *s)
{
	size_t n = strlen(s);
	return n == (size_t)(l->ce - l->ls) && !memcmp(l->ls, s, n);
}

bool vword_is(struct vword w, const char *s)
{
	return strlen(s) == w.n && !memcmp(w.s, s, w.n);
}

bool vword_eq(struct vword a, struct vword b)
{
	return a.n == b.n && !memcmp(a.s, b.s, a.n);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

bool vword_uint(struct vword w, uint64_t *value)
{
	uint64_t v = 0;
	if (w.n == 0 || (w.n > 1 && w.s[0] == '0'))
		return false;
	for (uint32_t i = 0; i < w.n; i++) {
		uint32_t d = (uint32_t)digit(w.s[i]);
		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*value = v;
	return true;
}

bool vword_float(struct vword w)
{
	if (!(w.n == 10 && w.s[1] == 'f') && !(w.n == 18 && w.s[1] == 'd'))
		return false;
	if (w.s[0] != '0')
		return false;
	for (uint32_t i = 2; i < w.n; i++)
		if (digit(w.s[i]) > 15)
			return false;
	return true;
}

bool vword_among(struct vword w, const char *alternatives, size_t len)
{
	const char *s = alternatives, *end = s + len;
	while (s < end) {
		const char *bar = memchr(s, '|', (size_t)(end - s));
		size_t n = (size_t)((bar ? bar : end) - s);
		if (n == w.n && !memcmp(s, w.s, n))
			return true;
		if (!bar)
			break;
		s = bar + 1;
	}
	return false;
}
