/* mutate_test.c - weakens every guard in texts that the verifier accepts; each mutant that could be unsafe must be
 * refused.
 *
 * A mutator changes one place.  It says of each mutant whether it MUST be refused; the few it cannot vouch for are
 * left out by a rule written beside it (a fence whose result nothing uses, a mask that is still strong enough), never
 * by a list of cases. Texts: tests/guard/form/ (the rewriter's output; wide*.ptx with --wide) and the accepted cases
 * of tests/guard/verify/. */
#include "guard/verify.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINES = 20000, LINE = 512, MAX_TEXT = 1 << 21 };

static struct text { const char *name; bool wide, scrub, meet; int n; char (*line)[LINE]; } T;
static char joined[MAX_TEXT];
static struct { const char *name; unsigned tried, left_out, failed; } tally[64];
static int ntally, current;

static const struct verify_gate gate = { "probe", 2, { 8, 4 }, 4 };

static bool accepted(int at, int count, const char *instead)
{
	size_t n = 0;
	struct guard_verdict v;
	for (int i = 0; i < T.n; i++) {
		if (i == at && instead[0])
			n += (size_t)snprintf(joined + n, MAX_TEXT - n, "%s\n", instead);
		if (i < at || i >= at + count)
			n += (size_t)snprintf(joined + n, MAX_TEXT - n, "%s\n", T.line[i]);
	}
	bool ok = verify(joined, n, &(struct verify_options){ .wide = T.wide, .scrub = T.scrub, .meet = T.meet },
			 &gate, 1, &v) == 0;
	verify_free(&v);
	return ok;
}

/* Lines [at, at + count) become `instead`; that must be refused. */
static void refused(int at, int count, const char *instead)
{
	if (count == 1 && !strcmp(T.line[at], instead))
		return;
	tally[current].tried++;
	if (!accepted(at, count, instead))
		return;
	if (tally[current].failed++ < 5)
		printf("# %s line %d: `%s` became `%s` and was accepted\n", T.name, at + 1, T.line[at], instead);
}

static void left_out(void)
{
	tally[current].left_out++;
}

/* --- reading lines --------------------------------------------------------------------------- */

static const char *statement(const char *s)
{
	s += strspn(s, "\t ");
	if (*s == '@') {
		s += strcspn(s, " ");
		s += strspn(s, " ");
	}
	return s;
}

static bool is_label(const char *s)
{
	return s[0] == '$' && s[strlen(s) - 1] == ':';
}

static bool ends_segment(const char *s)
{
	return is_label(s) || !strcmp(s, "}") || !strcmp(s, "{");
}

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '%';
}

static const char *find_word(const char *s, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = s; (p = strstr(p, word)); p++)
		if ((p == s || !in_word(p[-1])) && !in_word(p[n]))
			return p;
	return NULL;
}

/* The register %g... that line s defines, or false. */
static bool defines(const char *s, char reg[32])
{
	s = statement(s);
	static const char *const readers[] = { "nanosleep", "bar", "brx", "st", "red", ".", "call" };
	for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
		if (starts(s, readers[i]))
			return false;
	const char *p = strchr(s, ' ');
	if (!p || p[1] != '%' || p[2] != 'g')
		return false;
	size_t n = strcspn(p + 1, ",;| ");
	snprintf(reg, 32, "%.*s", n < 31 ? (int)n : 31, p + 1);
	return true;
}

static bool entry_register(const char *r)
{
	static const char *const names[] = { "gw", "gm", "gd", "gkill", "gc", "gf", "gsb", "gsd", "gsn", "glb", "gkb",
		"gtb", "gtc", "gtl", "gub", "guc", "gul", "gcf", "gcn", "gcl", "gca", "gct" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(r + 1, names[i]))
			return true;
	return starts(r, "%gsl") && isdigit((unsigned char)r[4]);
}

static bool poll_line(const char *s)
{
	static const char *const lines[] = {
		"add.u32 %gc, %gc, 1;", "and.b32 %gx, %gc, 63;", "setp.eq.u32 %gq, %gx, 0;",
		"@%gq ld.volatile.global.u32 %gf, [%gkill];",
		"setp.ne.and.u32 %gq, %gf, 0, %gq;", "@%gq bra $Lkill;",
	};
	s += strspn(s, "\t ");
	for (size_t i = 0; i < 6; i++)
		if (!strcmp(s, lines[i]))
			return true;
	return false;
}

/* Does anything read `reg` before it is written again, from line `from` on?  Labels end the life of all but entry
 * registers. */
static bool read_later(int from, const char *reg)
{
	for (int i = from; i < T.n && strcmp(T.line[i], "}"); i++) {
		char d[32];
		const char *p = find_word(T.line[i], reg);
		if (is_label(T.line[i]) && !entry_register(reg))
			return false;
		if (!p || starts(statement(T.line[i]), ".reg"))
			continue;
		if (!defines(T.line[i], d) || strcmp(d, reg) || find_word(p + strlen(reg), reg))
			return true;
		if (!entry_register(reg))
			return false;
	}
	return false;
}

static bool written_before(int at, const char *reg)
{
	char d[32];
	for (int i = at - 1; i >= 0 && !ends_segment(T.line[i]); i--)
		if (defines(T.line[i], d) && !strcmp(d, reg))
			return true;
	return false;
}

/* Bytes that the memory access in s has in all; 0: not one of ld, st, atom, red. */
static unsigned access_bytes(const char *s)
{
	s = statement(s);
	if (!starts(s, "ld.") && !starts(s, "st.") && !starts(s, "atom.") && !starts(s, "red."))
		return 0;
	unsigned bits = 0, vec = 1;
	for (const char *p = s; p < s + strcspn(s, " "); p++) {
		unsigned n;
		char kind[8];
		if (*p == '.' && sscanf(p, ".v%u", &n) == 1)
			vec = n;
		else if (*p == '.' && sscanf(p, ".%7[bfus]%u", kind, &n) == 2)
			bits = n * (strstr(p, "x2") == p + 2 + strcspn(p + 1, "0123456789") + 1 ? 2 : 1);
	}
	return bits / 8 * vec;
}

/* s with the first `from` (at or after `at`) replaced. */
static const char *swap(const char *s, const char *at, const char *from, const char *to)
{
	static char out[LINE];
	const char *p = strstr(at, from);
	if (!p)
		return s;
	snprintf(out, sizeof out, "%.*s%s%s", (int)(p - s), s, to, p + strlen(from));
	return out;
}

static const char *prefix(const char *before, const char *s)
{
	static char out[LINE + 64];
	snprintf(out, sizeof out, "%s%s", before, s);
	return out;
}

/* --- mutators: each looks at line i ---------------------------------------------------------- */

static void drop_fence(int i)
{
	char reg[32];
	if (!defines(T.line[i], reg) || poll_line(T.line[i]))
		return;
	if (!read_later(i + 1, reg))
		return left_out();      /* nothing relies on it */
	if (!entry_register(reg) && written_before(i, reg))
		return left_out();      /* what is read then was fenced too, by the definition above */
	refused(i, 1, "");
}

static void predicate_fence(int i)
{
	char reg[32];
	if (T.line[i][0] == '\t' && strchr(T.line[i], '@') == NULL &&
		(defines(T.line[i], reg) || poll_line(T.line[i]))) {
		refused(i, 1, prefix("\t@%p0 ", T.line[i] + 1));
		refused(i, 1, prefix("\t@!%p0 ", T.line[i] + 1));
	}
}

static void other_opcode(int i)
{
	static const char *const ops[] = { "add.u32", "sub.u32", "or.b32", "and.b32", "xor.b32", "max.u32", "min.s32",
		"min.u32", "mov.b32", "mov.u32",
		"mov.b64", "add.u64", "selp.b64", "ld.global.u32", "ld.const.u32", "ld.param.u32",
		"cvta.to.global.u64", "shl.b32" };
	char reg[32], out[LINE];
	if (!defines(T.line[i], reg) || strchr(T.line[i], '@'))
		return;
	const char *s = statement(T.line[i]);
	for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
		snprintf(out, sizeof out, "\t%s%s", ops[k], s + strcspn(s, " "));
		refused(i, 1, out);
	}
}

/* Every register that a fence is made of, but for the value it fences, replaced by a plain one. */
static void plain_operand(int i)
{
	char reg[32], out[LINE];
	if (!defines(T.line[i], reg))
		return;
	const char *first = find_word(T.line[i], reg) + strlen(reg);
	for (const char *p = first; (p = strstr(p, "%g")); p++) {
		size_t n = strcspn(p, ",;}] ");
		/* an operand that may be any register: the fenced value itself */
		bool any = p == first + 2 && (starts(reg, "%gl") || starts(reg, "%gh") || starts(reg, "%gso") ||
			starts(reg, "%gpo") ||
			   starts(reg, "%gko") || starts(reg, "%gb") || starts(reg, "%gns") || starts(reg, "%gti") ||
				starts(reg, "%gui") || starts(reg, "%guo") ||
				starts(reg, "%gcm") || starts(reg, "%gcr") || starts(reg, "%gco")) &&
			   !starts(reg, "%gbv") && !starts(reg, "%gbc");
		static const char *const plain[] = { "%r0", "%rd0", "%p0", "0" };
		for (size_t k = 0; k < 4 && !any; k++) {
			if (starts(reg, "%gg") && k == 2 && p[n] == ';')
				continue;   /* the predicate of a selp may be any */
			if (k == 3 && strstr(T.line[i], "min.u32") && p[n] == ';') {
				left_out();     /* the limit 0: the tightest */
				continue;
			}
			snprintf(out, sizeof out, "%.*s%s%s", (int)(p - T.line[i]), T.line[i], plain[k], p + n);
			refused(i, 1, out);
		}
	}
}

static void weaker_mask(int i)
{
	char reg[32], user[32];
	long mask;
	const char *s = statement(T.line[i]), *lit = strrchr(s, ' ');
	if (!defines(T.line[i], reg) || !starts(s, "and.b32") || sscanf(lit, " %ld;", &mask) != 1 ||
		poll_line(T.line[i]))
		return;
	unsigned need = 0;
	if (sscanf(reg, "%%gl%u_", &need) != 1)
		for (int j = i + 1; j < T.n && !need; j++)      /* gsa, gpa, gka: the register it goes into says */
			if (find_word(T.line[j], reg) && defines(T.line[j], user))
				sscanf(user + strcspn(user, "0123456789"), "%u", &need);
	const long masks[] = { mask / 2, -mask, 0, mask - 1, mask + 1, -1, 1, mask & 0xffff, ~mask };
	for (size_t k = 0; k < sizeof masks / sizeof *masks; k++) {
		char out[LINE];
		long m = masks[k], p = -m;
		snprintf(out, sizeof out, "%.*s %ld;", (int)(lit - T.line[i]), T.line[i], m);
		if (p >= (long)need && need && p <= 32 && !(p & (p - 1)))
			left_out();             /* still aligned enough */
		else
			refused(i, 1, out);
	}
}

static void limits(int i)
{
	char reg[32], out[LINE];
	long lit;
	const char *s = statement(T.line[i]), *last = strrchr(s, ' ');
	if (!defines(T.line[i], reg) || !last || sscanf(last, " %ld;", &lit) != 1 || starts(s, "and.b32") ||
		poll_line(T.line[i]))
		return;
	const long other[] = { lit + 1, lit - 1, lit + 4096, 0, -1, lit * 2 + 1, 1l << 31 };
	for (size_t k = 0; k < sizeof other / sizeof *other; k++) {
		bool moved = starts(reg, "%gsm") || starts(reg, "%gpm") || starts(reg, "%gkm") || starts(reg, "%gb_") ||
			starts(reg, "%gci");
		if (other[k] == lit || (starts(s, "mov") && !entry_register(reg)))
			continue;
		moved |= starts(reg, "%gyq") || starts(reg, "%gyv");
		if (starts(s, "min.u32 %gn_") && other[k] >= 0 && other[k] <= 256) {
			left_out();             /* as many rounds are allowed to all, if the strip is short */
			continue;
		}
		if (moved && other[k] >= 0 && other[k] <= lit && (other[k] || !starts(reg, "%gyq"))) {
			left_out();             /* a lower limit is a tighter one */
			continue;
		}
		if (moved && other[k] == lit + 1 && !starts(reg, "%gb_") && !starts(reg, "%gyq")) {
			/* the access may be narrower than the footprint kept for it; see shrunk_footprint */
			left_out();
			continue;
		}
		snprintf(out, sizeof out, "%.*s %ld;", (int)(last - T.line[i]), T.line[i], other[k]);
		refused(i, 1, out);
	}
}

/* The limit raised until less than the widest access behind it is left. */
static void shrunk_footprint(int i)
{
	char reg[32], out[LINE];
	unsigned long lit, size = 0;
	const char *s = statement(T.line[i]), *last = strrchr(s, ' ');
	if (!defines(T.line[i], reg) || !last || !starts(s, "min.u32") || sscanf(last, " %lu;", &lit) != 1)
		return;
	const char *object = starts(reg, "%gsm") ? "ag_smem_" : starts(reg, "%gpm") ? "ag_local_" :
		starts(reg, "%gkm") ? "ag_const" : NULL;
	if (!object)
		return;
	for (int j = i; j >= 0 && !size; j--)
		if (starts(statement(T.line[j]), ".") && strstr(T.line[j], object) && !strstr(T.line[j], "mov"))
			sscanf(strchr(T.line[j], '['), "[%lu]", &size);
	unsigned widest = 0;
	char group[4] = { '%', 'g', object[3] == 's' ? 's' : object[3] == 'l' ? 'p' : 'k', 0 };
	int first = i;
	for (; first + 1 < T.n && !ends_segment(T.line[first + 1]); first++) {
		const char *p = strchr(T.line[first], '[');
		if (p && starts(p + 1, group) && (widest = access_bytes(T.line[first])))
			break;
	}
	/* the first access behind may belong to another fence of the group; then its own limit decides, and this one
	 * is left out */
	int nmin = 0;
	for (int j = i + 1; j < first; j++)
		nmin += strstr(T.line[j], "min.u32") != NULL;
	if (!widest || nmin || !size)
		return left_out();
	snprintf(out, sizeof out, "%.*s %lu;", (int)(last - T.line[i]), T.line[i], size - widest + 1);
	refused(i, 1, out);
}

static void base_register(int i)
{
	static const char *const others[] = { "%r0", "%rd0", "64", "ag_desc", "ag_desc+24", "%gkill", "%gw", "%gsb",
		"%glb", "p99", "k0", "$L1" };
	const char *s = T.line[i], *p = strchr(s, '[');
	char out[LINE];
	if (!p || !access_bytes(s) || starts(statement(s), "st.param"))
		return;
	for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
		snprintf(out, sizeof out, "%.*s[%s%s", (int)(p - s), s, others[k], p + strcspn(p, "]"));
		refused(i, 1, out);
	}
}

static void offset(int i)
{
	const char *s = T.line[i], *p = strchr(s, '['), *e = p ? strchr(p, ']') : NULL;
	unsigned bytes = access_bytes(s);
	unsigned long now = 0;
	char out[LINE];
	if (!e || !bytes || starts(statement(s), "st.param"))
		return;
	const char *plus = memchr(p, '+', (size_t)(e - p));
	if (plus)
		now = strtoul(plus + 1, NULL, 10);
	const char *const far[] = { "4096", "65536", "1073741823", "4294967296", "9223372036854771712",
		"18446744073709551612", "-4" };
	for (size_t k = 0; k < sizeof far / sizeof *far; k++) {
		if (strstr(p, "ag_smem") && k < 2)
			continue;       /* an object may be that large */
		snprintf(out, sizeof out, "%.*s+%s%s", (int)((plus ? plus : e) - s), s, far[k], e);
		refused(i, 1, out);
	}
	if (bytes < 2)
		return;
	snprintf(out, sizeof out, "%.*s+%lu%s", (int)((plus ? plus : e) - s), s, now + 1, e);
	refused(i, 1, out);
}

static void other_width(int i)
{
	const char *s = T.line[i], *p = strchr(s, '[');
	char class[8];
	unsigned width = 0, bytes = access_bytes(s);
	char out[LINE];
	if (!p || !bytes || sscanf(p, "[%%g%7[a-z]%u_", class, &width) != 2)
		return;
	for (unsigned w = 1; w <= 64; w *= 2) {
		const char *end = p + 3 + strlen(class);
		snprintf(out, sizeof out, "%.*s%u%s", (int)(end - s), s, w, end + strspn(end, "0123456789"));
		if (w >= bytes && w != width)
			/* another fence, wide enough; whether it stands above is the verifier's to see */
			left_out();
		else if (w < bytes)
			refused(i, 1, out);
	}
	if (width < 8 && bytes < 8 && !strstr(s, ".v") && (strstr(s, ".b32 ") || strstr(s, ".u32 ")))
		refused(i, 1, swap(s, s, s[strcspn(s, "[") - 1] == ' ' && strstr(s, ".b32 ") ? ".b32 " : ".u32 ",
		".b64 "));
}

static void other_space(int i)
{
	static const char *const spaces[] = { ".global", ".shared", ".local", ".const", ".param" };
	const char *s = T.line[i];
	if (!access_bytes(s) || starts(statement(s), "st.param"))
		return;
	for (size_t a = 0; a < 5; a++)
		for (size_t b = 0; b < 5; b++)
			if (a != b && strstr(s, spaces[a]))
				refused(i, 1, swap(s, s, spaces[a], spaces[b]));
	for (size_t b = 0; b < 5 && !strstr(s, ".global") && !strstr(s, ".shared") && !strstr(s, ".local") &&
		!strstr(s, ".const") &&
	     !strstr(s, ".param"); b++)
		if (b != 0 || !strstr(s, "[%ga"))       /* a generic access by %ga is a global one */
			refused(i, 1, swap(s, s, ".", b == 0 ? ".global." : b == 1 ? ".shared." : b == 2 ? ".local." :
				b == 3 ? ".const." : ".param."));
}

static void poll_whole(int i)
{
	if (!strcmp(statement(T.line[i]), "add.u32 %gc, %gc, 1;") && T.line[i][0])
		refused(i, 6, "");
}

static void poll_part(int i)
{
	static const char *const edits[][2] = {
		{ "1;", "64;" }, { "%gc, %gc", "%r0, %gc" }, { "63", "0" }, { "63", "-1" }, { ".eq", ".ne" },
		{ "[%gkill]", "[%gd]" }, { "@%gq", "@%p0" },
		{ "@%gq", "@!%gq" }, { "volatile", "weak" }, { ".volatile", "" }, { "%gf, 0", "%gf, 1" },
		{ ".and", ".or" }, { "$Lkill", "$L1" }, { "%gq, %gf", "%p0, %gf" },
	};
	if (!poll_line(T.line[i]))
		return;
	refused(i, 1, "");
	/* a statement before the whole poll changes nothing */
	if (strcmp(statement(T.line[i]), "add.u32 %gc, %gc, 1;"))
		refused(i, 1, prefix("\tmov.u32 %r0, 0;\n", T.line[i]));
	for (size_t k = 0; k < sizeof edits / sizeof *edits; k++)
		if (strcmp(statement(T.line[i]), "add.u32 %gc, %gc, 1;"))
			refused(i, 1, swap(T.line[i], T.line[i], edits[k][0], edits[k][1]));
	if (!starts(statement(T.line[i]), "add"))
		refused(i, 1, prefix("$L999999:\n", T.line[i]));
}

static void after_poll(int i)
{
	if (i && poll_line(T.line[i - 1]) && !poll_line(T.line[i]) && strstr(T.line[i], "br")) {
		refused(i, 1, prefix("\tmov.u32 %r0, 0;\n", T.line[i]));
		refused(i, 1, prefix("$L999999:\n", T.line[i]));
		refused(i, 1, prefix("\tadd.u32 %gc, %gc, 1;\n", T.line[i]));
	}
}

static bool strip_line(const char *s)
{
	s = statement(s);
	return starts(s, "add.s32 %gn_") || starts(s, "setp.gt.s32 %gq, %gn_") || starts(s, "min.u32 %gn_");
}

/* A strip: the line that sets its counter, its label, the lines that end it. */
static void strip_part(int i)
{
	static const char *const edits[][2] = {
		{ "%gn_0, %gn_0", "%gn_0, %r0" }, { "%gn_0", "%r0" }, { "%gn_0", "%gn_1" }, { "%gn_0", "%gc" },
		{ "-1;", "1;" }, { "-1;", "0;" }, { "-1;", "%r0;" }, { ".gt", ".ne" }, { ".gt", ".ge" },
		{ ".s32", ".u32" }, { ", 0;", ", -1;" }, { "%gq", "%p0" }, { "add", "sub" },
		{ "min", "max" }, { "min.u32", "min.s32" }, { "%gn_0", "%gb_0" },
	};
	char back[LINE];
	if (!strip_line(T.line[i]))
		return;
	refused(i, 1, "");
	refused(i, 1, prefix("\t@%p0 ", statement(T.line[i])));
	for (size_t k = 0; k < sizeof edits / sizeof *edits; k++)
		refused(i, 1, swap(T.line[i], T.line[i], edits[k][0], edits[k][1]));
	if (starts(statement(T.line[i]), "min")) {
		/* anything between it and the label, a second label, a branch to the label */
		refused(i + 1, 1, prefix("\tmov.u32 %r0, 0;\n", T.line[i + 1]));
		refused(i + 1, 1, prefix("$L999999:\n", T.line[i + 1]));
		snprintf(back, sizeof back, "\t@%%p0 bra %.*s;\n", (int)strlen(T.line[i + 1]) - 1, T.line[i + 1]);
		refused(i, 1, prefix(back, T.line[i]));
		return;
	}
	/* whatever ends a strip before its end */
	refused(i, 1, prefix("$L999999:\n", T.line[i]));
	refused(i, 1, prefix("\tbra $Lkill;\n", T.line[i]));
	refused(i, 1, prefix("\t@%p0 bra $Lkill;\n", T.line[i]));
	refused(i, 1, prefix("\tnanosleep.u32 10;\n", T.line[i]));
	refused(i, 1, prefix("\tmin.u32 %gn_0, %r0, 256;\n", T.line[i]));
	if (starts(statement(T.line[i]), "add")) {
		refused(i, 2, "");
		refused(i + 2, 1, swap(T.line[i + 2], T.line[i + 2], "@%gq ", ""));
		refused(i + 2, 1, swap(T.line[i + 2], T.line[i + 2], "@%gq ", "@!%gq "));
		refused(i + 2, 1, swap(T.line[i + 2], T.line[i + 2], "$L", "$L9"));
	}
}

static void label_before_use(int i)
{
	const char *s = statement(T.line[i]);
	for (const char *p = s; (p = strstr(p, "%g")); p++) {
		char reg[32], d[32];
		snprintf(reg, sizeof reg, "%.*s", (int)(strcspn(p, ",;}]+:| ") < 31 ? strcspn(p, ",;}]+:| ") : 31), p);
		bool is_dest = defines(T.line[i], d) && !strcmp(d, reg);
		if (!strcmp(reg, "%gcq") || starts(reg, "%gz")) /* their own lines see to it: cluster_, scrub_lines */
			continue;
		if (entry_register(reg) || starts(s, ".reg") || poll_line(T.line[i]) || is_dest)
			continue;
		refused(i, 1, prefix("$L999999:\n", T.line[i]));
		return;
	}
}

static void retarget(int i)
{
	const char *s = statement(T.line[i]);
	char out[LINE];
	if (!starts(s, "bra") || starts(s, "brx") || poll_line(T.line[i]))
		return;
	size_t at = (size_t)(strchr(T.line[i], '$') - T.line[i]);
	snprintf(out, sizeof out, "%.*s$L999999;", (int)at, T.line[i]);
	refused(i, 1, out);
	if (poll_line(T.line[i - 1]))
		return;                         /* a polled branch may go anywhere */
	for (int j = i - 1, n = 0; j >= 0 && strcmp(T.line[j], "{\n") && n < 20 && !starts(T.line[j], ".visible"); j--)
		if (is_label(T.line[j])) {
			snprintf(out, sizeof out, "%.*s%.*s;", (int)at, T.line[i], (int)strlen(T.line[j]) - 1,
				T.line[j]);
			refused(i, 1, out);
			n++;
		}
}

static void table_index(int i)
{
	const char *s = statement(T.line[i]);
	if (!starts(s, "brx"))
		return;
	refused(i, 1, swap(T.line[i], T.line[i], "%gb", "%r"));
	refused(i, 1, swap(T.line[i], T.line[i], "$T", "$T9"));
	for (int j = i - 1; j > 0 && !ends_segment(T.line[j]); j--)
		if (strstr(T.line[j], "min.u32 %gb_")) {
			char out[LINE];
			const char *last = strrchr(T.line[j], ' ');
			snprintf(out, sizeof out, "%.*s %ld;", (int)(last - T.line[j]), T.line[j],
				strtol(last, NULL, 10) + 1);
			refused(j, 1, out);
			break;
		}
}

static void table_shorter(int i)
{
	char *s = strstr(T.line[i], ".branchtargets"), out[LINE];
	const char *comma = s ? strrchr(s, ',') : NULL;
	if (!comma)
		return;
	snprintf(out, sizeof out, "%.*s;", (int)(comma - T.line[i]), T.line[i]);
	refused(i, 1, out);
}

static void calls(int i)
{
	const char *s = statement(T.line[i]);
	if (starts(s, "st.param")) {
		refused(i, 1, "");
		refused(i, 1, prefix("\tmov.u32 %r0, 0;\n", T.line[i]));
		if (strstr(s, "%glb")) {
			refused(i, 1, swap(T.line[i], T.line[i], "%glb", "%r0"));
			refused(i + 1, 1, swap(T.line[i + 1], T.line[i + 1], "], ", "], 9"));
		}
	}
	if (starts(s, "call ")) {
		refused(i, 1, swap(T.line[i], T.line[i], "_", "_x"));
		refused(i, 1, swap(T.line[i], T.line[i], "c0", "c1"));
		refused(i, 1, prefix("\t@%p0 ", T.line[i] + 1));
		refused(i, 1, "");
	}
	if (starts(s, ".param .b") && (i == 0 || !strstr(T.line[i - 1], ".entry")) && strchr(s, ';'))
		refused(i, 1, "");
}

static void entry_twice(int i)
{
	char reg[32], out[LINE * 2];
	if (!defines(T.line[i], reg) || !entry_register(reg) || poll_line(T.line[i]))
		return;
	snprintf(out, sizeof out, "%s\n%s", T.line[i], T.line[i]);
	refused(i, 1, out);
	static const char *const edits[][2] = { { "[ag_desc", "[ag_desc+4" }, { "[ag_desc+8", "[ag_desc+24" },
		{ "[ag_desc+16", "[ag_desc+32" },
		{ "ag_smem_", "ag_local_" }, { "ag_local_", "ag_smem_" }, { "ag_const", "ag_desc" },
		{ "%dynamic_smem_size", "%total_smem_size" },
		{ "ag_smem_", "ag_smem_9" }, { "ag_dyn", "ag_const" } };
	for (size_t k = 0; k < sizeof edits / sizeof *edits; k++)
		refused(i, 1, swap(T.line[i], T.line[i], edits[k][0], edits[k][1]));
}

static void declarations(int i)
{
	const char *s = statement(T.line[i]);
	char out[LINE * 2];
	if (starts(s, ".reg")) {
		snprintf(out, sizeof out, "%s\n%s", T.line[i], T.line[i]);
		refused(i, 1, out);
		refused(i, 1, swap(T.line[i], T.line[i], strstr(s, ".b32") ? ".b32" : ".b64", strstr(s, ".b32") ?
			".b64" : ".b32"));
	}
	if (starts(s, ".shared") || starts(s, ".local") || starts(s, ".const")) {
		refused(i, 1, swap(T.line[i], T.line[i], "[", "[99999999"));
		refused(i, 1, swap(T.line[i], T.line[i], ".align ", ".align 3"));
		snprintf(out, sizeof out, "%s\n%s", T.line[i], T.line[i]);
		refused(i, 1, out);
	}
	if (starts(s, "ret;"))
		refused(i, 1, "");
	if (starts(s, ".visible"))
		refused(i, 1, swap(T.line[i], T.line[i], "k", "ag_k"));
}

static void barriers(int i)
{
	const char *s = statement(T.line[i]);
	if ((!starts(s, "bar.") && !starts(s, "barrier.") && !starts(s, "nanosleep")) || strstr(s, "warp")
	    || strstr(s, "cluster"))
		return;
	char out[LINE];
	const char *first = strchr(s, ' ');
	if (strstr(s, ".red"))
		return left_out();              /* its first operand is not the barrier */
	static const char *const others[] = { "%r0", "16777216", "-1" };
	for (size_t k = 0; k < 3; k++) {
		snprintf(out, sizeof out, "%.*s%s%s", (int)(first + 1 - T.line[i]), T.line[i], others[k],
			first + strcspn(first, ",;"));
		refused(i, 1, out);
	}
}

/* Address and stride of a matrix belong together by their number, and are made once in a segment. */
static void matrix_pair(int i)
{
	const char *s = T.line[i];
	char out[LINE], reg[32], twice[LINE * 2];
	if (strstr(s, ".reg") || !strstr(s, "%gy"))
		return;
	for (const char *p = s; (p = strstr(p, "%gy")); p++) {
		const char *number = p + strcspn(p, "_") + 1;
		unsigned long n = strtoul(number, NULL, 10);
		for (int step = -1; step <= 1; step += 2) {
			if (n + (unsigned long)step > 1000)
				continue;
			snprintf(out, sizeof out, "%.*s%lu%s", (int)(number - s), s, n + (unsigned long)step,
				 number + strspn(number, "0123456789"));
			refused(i, 1, out);
		}
	}
	if (!defines(s, reg))
		return;
	snprintf(twice, sizeof twice, "%s\n%s", s, s);
	refused(i, 1, twice);
}

/* Other shapes and fragments may have as many lines or fewer, and lines no longer; types make elements larger. */
static void matrix_shape(int i)
{
	const char *s = statement(T.line[i]);
	if (!starts(s, "wmma.load") && !starts(s, "wmma.store"))
		return;
	bool global = strstr(s, ".global") != NULL;
	refused(i, 1, prefix("\t@%p0 ", T.line[i] + 1));
	refused(i, 1, swap(T.line[i], T.line[i], global ? ".global" : ".shared", global ? ".shared" : ".global"));
	refused(i, 1, swap(T.line[i], T.line[i], "[%gy", "[%ga"));
	refused(i, 1, swap(T.line[i], T.line[i], "]", "+16]"));
	refused(i, 1, swap(T.line[i], T.line[i], ".f16 ", ".f32 "));
	refused(i, 1, swap(T.line[i], T.line[i], ".f32 ", ".f64 "));
}

static void texture_handle(int i)
{
	static const char *const edits[][2] = { { "[%gt_", "[%rd" }, { "[%gt_", "[%gta_" }, { "%gti_", "%r" },
		{ "%gtb", "%rd0" }, { "%gtl", "%gtc" }, { ", 8, ", ", 16, " }, { "[%gta_", "[%ga8_" },
		{ "ag_desc+56", "ag_desc+24" } };
	const char *s = statement(T.line[i]);
	if (starts(s, ".reg") || !strstr(s, "%gt"))
		return;
	for (size_t k = 0; k < sizeof edits / sizeof *edits; k++)
		if (strstr(s, edits[k][0]))
			refused(i, 1, swap(T.line[i], T.line[i], edits[k][0], edits[k][1]));
}

static void surface_handle(int i)
{
	static const char *const edits[][2] = { { "[%gu", "[%rd0, %gu" }, { ".zero", ".trap" }, { ".clamp", ".trap" },
		{ ".zero", "" }, { ".b.", ".p." }, { ".b.", "." }, { ".1d", ".2d" }, { ".2d", ".a1d" },
		{ ".3d", ".a2d" },
		{ ".a1d", ".1d" }, { ".a2d", ".3d" }, { "[%gux", "[%guy" }, { "[%guy", "[%guz" }, { "[%guya", "[%guy" },
		{ "[%guxa", "[%gux" }, { "[%guz", "[%guya" }, { "[%gua_", "[%ga8_" }, { "[%gua_", "[%gta_" },
		{ "%gui_", "%r" }, { "%gui_", "%gti_" }, { "%gub", "%rd0" }, { "%gub", "%gtb" }, { "%gul", "%guc" },
		{ ", 208, ", ", 8, " }, { ", 208, ", ", 216, " }, { "ag_desc+104", "ag_desc+56" },
		{ "ag_desc+112", "ag_desc+64" }, { "{%guo", "{%r0, %guo" }, { "%guo4_", "%guo2_" },
		{ "%guo16_", "%guo8_" }, { "{%guo", "{%r" }, { ".b32", ".b64" }, { ".b8", ".b16" }, { ".v2", ".v4" },
		{ "[%guq_", "[%gux1_" }, { "}]", ", %r0}]" }, { ".width", ".array_size" },
		{ ".height", ".channel_order" }, { ".depth", ".channel_data_type" } };
	const char *s = statement(T.line[i]);
	if (starts(s, ".reg") || !strstr(s, "%gu"))
		return;
	for (size_t k = 0; k < sizeof edits / sizeof *edits; k++)
		if (strstr(s, edits[k][0]))
			refused(i, 1, swap(T.line[i], T.line[i], edits[k][0], edits[k][1]));
	for (unsigned off = 0; strstr(s, "[%gua_") && off < 216; off += 8) {
		char to[16];
		const char *p = strstr(strstr(s, "[%gua_"), "+");
		snprintf(to, sizeof to, "+%u]", off);
		if (p && strcmp(p, to) && strncmp(p, to, strlen(to)))
			refused(i, 1, swap(T.line[i], T.line[i], p, off ? to : "];"));
	}
}

/* Lines of the barrier of the cluster, and those that let a block's memory live until its peers are done: each one
 * stands whole or not at all. */
static void cluster_lines(int i)
{
	static const char *const edits[][2] = {
		{ "%gcn", "%r0" },	    { "%gcl", "%gcn" },
		{ "%gct", "%gce" },	    { "[ag_peer_", "[ag_peer_9" },
		{ "ag_peer_", "ag_smem_" }, { "+4]", "+8]" },
		{ ", 1;", ", 2;" },	    { ".eq", ".ne" },
		{ ".ne", ".eq" },	    { ".lt", ".le" },
		{ ".ge", ".gt" },	    { "arrive", "wait" },
		{ "acquire", "relaxed" },   { "release", "relaxed" },
		{ "$Lpeers3", "$Lpeers2" }, { "$Lpeers1", "$L1" },
		{ "@%gcq ", "" },	    { "@%gcq", "@!%gcq" },
		{ "%ntid", "%tid" },	    { "%cluster_nctarank", "%cluster_ctarank" },
		{ "%gcf", "%r0" },	    { "%gca", "%gsb" },
		{ "%gce, 0", "%gce, 1" },   { "cluster;", "cta;" }
	};
	const char *s = statement(T.line[i]), *r = strstr(s, "%gc");
	bool own = r && strchr("nlatexfq", r[3]) && strchr(",;]+ ", r[4]);
	char twice[LINE * 2];
	if (starts(s, ".reg") ||
	    (!own && !strstr(s, "$Lpeers") && !strstr(s, "ag_peer_") && !strstr(s, "barrier.cluster")))
		return;
	if (!own && !strstr(s, "$Lpeers") && !strstr(s, "barrier.cluster") && !starts(s, ".shared"))
		return;                         /* the client's own memory, or only a number */
	refused(i, 1, "");
	snprintf(twice, sizeof twice, "%s\n%s", T.line[i], T.line[i]);
	refused(i, 1, twice);
	for (size_t k = 0; k < sizeof edits / sizeof *edits; k++)
		if (strstr(s, edits[k][0]))
			refused(i, 1, swap(T.line[i], T.line[i], edits[k][0], edits[k][1]));
}

/* What clears memory stands whole, once, before all else. */
static void scrub_lines(int i)
{
	static const char *const edits[][2] = {
		{ "%gzz, 0", "%gzz, 1" },
		{ "{%gzz", "{%r0" },
		{ "%gzz}", "%gzo}" },
		{ ".v4.b32", ".v2.b32" },
		{ ".v4.b32", ".v4.b16" },
		{ "%gsn", "%gsd" },
		{ "%gsn", "32" },
		{ "%gzo, %gsb", "%gzo, %gsd" },
		{ "[%gza]", "[%gza+16]" },
		{ "[%gza+16]", "[%gza]" },
		{ "[%gza+16]", "[%gza+32]" },
		{ ", 32;", ", 64;" },
		{ ", 4;", ", 5;" },
		{ ", 4;", ", 3;" },
		{ "%tid", "%ntid" },
		{ "%ntid", "%tid" },
		{ "%ntid.x", "%ntid.y" },
		{ ".lt", ".le" },
		{ ".lt", ".gt" },
		{ ".ge", ".lt" },
		{ "@%gzq", "@!%gzq" },
		{ "@%gzq ", "" },
		{ "$Lzero2", "$Lzero3" },
		{ "$Lzero3", "$Lzero2" },
		{ "$Lzero1", "$L1" },
		{ "$Lzero2", "$L2" },
		{ "%gzo, %gzs", "%gzo, %gzt" },
		{ "mad", "mul" },
		{ "[ag_local_", "[ag_smem_" },
		{ "bar.sync 0", "bar.sync 1" },
		{ "st.shared", "st.local" },
		{ "st.local", "st.shared" },
	};
	const char *s = statement(T.line[i]), *lit = strrchr(s, ' ');
	char out[LINE], twice[LINE * 2];
	bool meets = T.scrub && !strcmp(s, "bar.sync 0;") && i && !strcmp(T.line[i - 1], "$Lzero3:");
	if (starts(s, ".reg") || (!strstr(s, "%gz") && !strstr(s, "$Lzero") && !meets))
		return;
	refused(i, 1, "");
	snprintf(twice, sizeof twice, "%s\n%s", T.line[i], T.line[i]);
	if (!meets)                             /* a second barrier is the client's own */
		refused(i, 1, twice);
	if (!starts(s, "mov.b32 %gzz"))         /* before the first line anything of the entry may stand */
		refused(i, 1, prefix("\tmov.u32 %r0, 0;\n", T.line[i]));
	refused(i, 1, prefix("$L999999:\n", T.line[i]));
	refused(i, 1, prefix("\t@%p0 ", s));
	for (size_t k = 0; k < sizeof edits / sizeof *edits; k++)
		refused(i, 1, swap(T.line[i], T.line[i], edits[k][0], edits[k][1]));
	long n = 0, less[] = { -16, -1, 1, 16, -32 };
	if (!lit || sscanf(lit, " %ld;", &n) != 1)
		return;
	for (size_t k = 0; k < sizeof less / sizeof *less; k++) {
		snprintf(out, sizeof out, "%.*s %ld;", (int)(lit - T.line[i]), T.line[i], n + less[k]);
		refused(i, 1, out);
	}
}

/* All of it taken out; something of the client's before it; memory it does not know of. */
static void scrub_whole(int i)
{
	static const char *const before[] = { "mov.u32 %r0, 0", "ld.shared.u32 %r0, [ag_smem_0]", "bar.sync 0",
		"ld.local.u32 %r0, [ag_local_0]" };
	char out[LINE];
	int end = i;
	if (strcmp(statement(T.line[i]), "mov.b32 %gzz, 0;"))
		return;
	while (strstr(T.line[end], "%gz") || strstr(T.line[end], "$Lzero"))
		end++;
	end += !strcmp(T.line[end - 1], "$Lzero3:");
	refused(i, end - i, "");
	for (size_t k = 0; k < sizeof before / sizeof *before; k++) {
		snprintf(out, sizeof out, "\t%s;\n%s", before[k], T.line[i]);
		refused(i, 1, out);
	}
}

#define M(f) { #f, f }
static const struct { const char *name; void (*at)(int); } mutators[] = {
	M(drop_fence), M(predicate_fence), M(other_opcode), M(plain_operand), M(weaker_mask), M(limits),
	M(shrunk_footprint), M(base_register), M(offset),
	M(other_width), M(other_space), M(poll_whole), M(poll_part), M(after_poll), M(strip_part),
	M(label_before_use), M(retarget),
	M(table_index), M(table_shorter),
	M(calls), M(entry_twice), M(declarations), M(barriers),
	M(matrix_pair), M(matrix_shape), M(texture_handle), M(surface_handle), M(cluster_lines),
	M(scrub_lines), M(scrub_whole),
};

/* --- running --------------------------------------------------------------------------------- */

static bool load(const char *path)
{
	static char lines[MAX_LINES][LINE];
	char buffer[LINE];
	FILE *f = fopen(path, "r");
	bool accept = false, first = true;
	T = (struct text){ .name = path, .wide = strstr(path, "form/wide") != NULL, .line = lines };
	for (; f && fgets(buffer, sizeof buffer, f) && T.n < MAX_LINES; first = false) {
		if (first && starts(buffer, "// >>> ")) {
			accept = strstr(buffer, " accept") != NULL;
			T.wide |= strstr(buffer, "wide") != NULL;
			continue;
		}
		accept |= first;
		T.scrub |= strstr(buffer, "mov.b32 %gzz") != NULL;
		T.meet |= strstr(buffer, "activemask.b32 %gwl") != NULL;
		snprintf(lines[T.n++], LINE, "%.*s", (int)strcspn(buffer, "\n"), buffer);
	}
	if (f)
		fclose(f);
	return accept && T.n;
}

int main(void)
{
	glob_t g = { 0 };
	int bad = 0, texts = 0;
	glob("tests/guard/verify/*.ptx", 0, NULL, &g);
	glob("tests/guard/form/*.ptx", GLOB_APPEND, NULL, &g);
	ntally = sizeof mutators / sizeof *mutators;
	for (size_t k = 0; k < g.gl_pathc; k++) {
		if (!load(g.gl_pathv[k]))
			continue;
		texts++;
		if (!accepted(T.n, 0, "")) {
			printf("not ok mutate/%s: refused before any mutation\n", T.name);
			bad = 1;
			continue;
		}
		for (current = 0; current < ntally; current++)
			for (int i = 0; i < T.n; i++)
				mutators[current].at(i);
	}
	for (int i = 0; i < ntally; i++) {
		bool ok = tally[i].tried && !tally[i].failed;
		printf("%sok mutate/%s%s %u mutants of %d texts, %u accepted, %u left out by rule\n", ok ? "" : "not ",
		mutators[i].name, ok ? "" : ":",
		       tally[i].tried, texts, tally[i].failed, tally[i].left_out);
		bad |= !ok;
	}
	globfree(&g);
	return bad;
}
