/* strip_test.c - loops that are cut into strips do as many rounds as before, and their violations are reported as if
 * each access had been looked at: the first one's line and address.
 *
 * Part one: loops of every comparison, type, direction and form, with ends where numbers wrap around; what they leave
 * behind is compared with a loop in C. Part two: addresses that leave the window, or their alignment, in a known
 * round. On softgpu's processor, in the world of world.h. */
#include <inttypes.h>
#include "tests/guard/world.h"
#include "tests/test.h"

enum { MAX_ROUNDS = 2500, THREADS = 64 };

/* The second copy of the loop starts at the label that a branch behind the vote names: it is made to count its rounds
 * in the word at %rd0 + 57344, where the kernel keeps its first parameter. */
static char *count_slow(const char *text)
{
	static const char count[] = "\tred.global.add.u32 [%rd0+57344], 1;\n";
	const char *vote = strstr(text, "vote.sync.all.pred"), *bra = vote ? strstr(vote, "bra $L") : NULL;
	char label[32] = "", *out = malloc(strlen(text) + sizeof count);
	if (bra)
		snprintf(label, sizeof label, "\n%.*s:\n", (int)strcspn(bra + 4, ";"), bra + 4);
	const char *at = *label ? strstr(bra, label) : NULL;
	if (!at)
		return strcpy(out, text);
	at += strlen(label);
	sprintf(out, "%.*s%s%s", (int)(at - text), text, count, at);
	return out;
}

static struct exec_module *guarded(const char *text, bool report, bool wide, bool strips, const char *name)
{
	struct guard_input in = { text, strlen(text), name };
	struct guard_options o = { .wide = wide, .report = report, .fence = true, .poll = true, .target_sm = 90 };
	struct guard_result r;
	struct ptx_error err = { 0 };
	uint32_t piece;
	size_t len;
	if (guard_rewrite(&in, 1, &o, &r, &err, &piece)) {
		check(false, name, "refused: %u: %s", err.line, err.text);
		return NULL;
	}
	if (!strstr(r.text, "%gn_") == strips)
		check(false, name, strips ? "was not cut into strips" : "was cut into strips");
	char *all = guard_compose(r.text, r.text_len, 90, NULL, 0, &len);
	char *counting = count_slow(all);
	struct exec_module *m = load_text(!strncmp(name, "strip/", 6) ? counting : all);
	free(counting);
	world_set(wide);
	if (!world_describe(m, wide))
		check(false, name, "no ag_desc");
	free(all);
	guard_result_free(&r);
	return m;
}

/* --- rounds ---------------------------------------------------------------------------------- */

struct form { const char *type, *cmp; int64_t step; bool swapped, negated, early; };
struct left { uint64_t n, last; uint32_t sum, pad; };

static bool holds(const struct form *f, uint64_t a, uint64_t b)
{
	bool is_signed = f->type[0] == 's', half = !strcmp(f->type + 1, "32");
	if (half) {
		a = is_signed ? (uint64_t)(int32_t)a : (uint32_t)a;
		b = is_signed ? (uint64_t)(int32_t)b : (uint32_t)b;
	}
	bool less = is_signed ? (int64_t)a < (int64_t)b : a < b, yes;
	switch (f->cmp[0]) {
	case 'n': yes = a != b; break;
	case 'l': yes = less || (f->cmp[1] == 'e' && a == b); break;
	default: yes = (!less && a != b) || (f->cmp[1] == 'e' && a == b); break;
	}
	return yes;
}

/* The loop in C; false: too many rounds for a test. */
static bool model(const struct form *f, uint64_t from, uint64_t to, struct left *l)
{
	uint64_t i = from;
	*l = (struct left){ 0 };
	for (;;) {
		uint64_t old = i;
		l->n++;
		l->sum = l->sum * 31 + (uint32_t)i;
		i += (uint64_t)f->step;
		if (!holds(f, f->early ? old : i, to))
			break;
		if (l->n >= MAX_ROUNDS)
			return false;
	}
	l->last = !strcmp(f->type + 1, "32") ? (uint32_t)i : i;
	return true;
}

static const char *opposite(const char *cmp)
{
	static const char *const rows[][2] = { { "ne", "eq" }, { "lt", "ge" }, { "le", "gt" }, { "gt", "le" },
		{ "ge", "lt" } };
	for (size_t i = 0; i < 5; i++)
		if (!strcmp(rows[i][0], cmp))
			return rows[i][1];
	return cmp;
}

static const char *mirrored(const char *cmp)
{
	static const char *const rows[][2] = { { "lt", "gt" }, { "le", "ge" }, { "gt", "lt" }, { "ge", "le" } };
	for (size_t i = 0; i < 4; i++)
		if (!strcmp(rows[i][0], cmp))
			return rows[i][1];
	return cmp;
}

/* Each thread: from and to at in + 16 * tid, what is left at in + 2048 + 24 * tid, a word a round at in + 65536 +
 * 16384 * tid. */
static const char *loop_text(const struct form *f, char text[4096])
{
	bool half = !strcmp(f->type + 1, "32");
	const char *cmp = f->negated ? opposite(f->cmp) : f->cmp, *r = half ? "%r" : "%rd";
	char setp[80], step[80];
	snprintf(setp, sizeof setp, "setp.%s.%s %%p1, %s%d, %s%d;", f->swapped ? mirrored(cmp) : cmp, f->type, r,
		f->swapped ? 11 : 10, r, f->swapped ? 10 : 11);
	snprintf(step, sizeof step, "add.s%d %s10, %s10, %" PRId64 ";", half ? 32 : 64, r, r, f->step);
	snprintf(text, 4096, ".version 9.0\n.target sm_90\n.address_size 64\n"
		".visible .entry k(.param .u64 in)\n{\n\t.reg .b32 %%r<20>;\n\t.reg .b64 %%rd<20>;\n"
		"\t.reg .pred %%p<2>;\n"
		"\tld.param.u64 %%rd1, [in];\n\tmov.u32 %%r1, %%tid.x;\n\tmad.wide.u32 %%rd2, %%r1, 16, %%rd1;\n"
		"\tld.global.u64 %%rd10, [%%rd2];\n\tld.global.u64 %%rd11, [%%rd2+8];\n"
		"\tcvt.u32.u64 %%r10, %%rd10;\n\tcvt.u32.u64 %%r11, %%rd11;\n"
		"\tmad.wide.u32 %%rd3, %%r1, 24, %%rd1;\n\tmad.wide.u32 %%rd4, %%r1, 16384, %%rd1;\n"
		"\tadd.s64 %%rd4, %%rd4, 65536;\n\tmov.u64 %%rd5, 0;\n\tmov.u32 %%r5, 0;\n"
		"$top:\n\tadd.s64 %%rd5, %%rd5, 1;\n\t%s\n\tmad.lo.s32 %%r5, %%r5, 31, %%r6;\n"
		"\tst.global.u32 [%%rd4], %%r5;\n\tadd.s64 %%rd4, %%rd4, 4;\n\t%s\n\t%s\n\t@%s%%p1 bra $top;\n"
		"\t%s\n\tst.global.u64 [%%rd3+2048], %%rd5;\n\tst.global.u64 [%%rd3+2056], %%rd10;\n"
		"\tst.global.u32 [%%rd3+2064], %%r5;\n\tret;\n}\n",
		half ? "mov.u32 %r6, %r10;" : "cvt.u32.u64 %r6, %rd10;", f->early ? setp : step, f->early ? step : setp,
		f->negated ? "!" : "", half ? "cvt.u64.u32 %rd10, %r10;" : "");
	return text;
}

static const int64_t points[] = { 0, 1, 5, -3, 100, 101, 1000, -1000, 2100, 0x7ffffff9, -0x7ffffffb, 0x7fffffff,
	-0x80000000LL, 0xfffffff0, 0x100000004, 0x7fffffffffffffff, (int64_t)0x8000000000000005 };
enum { POINTS = sizeof points / sizeof *points };

static void fill_pairs(const struct form *f, uint64_t *pair, struct left *want, unsigned *n)
{
	*n = 0;
	for (unsigned a = 0; a < POINTS; a++)
		for (unsigned b = 0; b < POINTS && *n < THREADS; b++)
			if (model(f, (uint64_t)points[a], (uint64_t)points[b], &want[*n])) {
				pair[2 * *n] = (uint64_t)points[a];
				pair[2 * (*n)++ + 1] = (uint64_t)points[b];
			}
	for (unsigned i = *n; i < THREADS && *n; i++) {
		want[i] = want[*n - 1];
		memcpy(&pair[2 * i], &pair[2 * (*n - 1)], 16);
	}
}

/* Loops whose step leads away from the end, or is no power of two in 64 bits, stay as they are. */
static bool is_cut(const struct form *f)
{
	int64_t size = f->step < 0 ? -f->step : f->step;
	if (!strcmp(f->type + 1, "64") && (size & (size - 1)))
		return false;
	return f->cmp[0] == 'n' || (f->cmp[0] == 'l') == (f->step > 0);
}

static bool rounds(const struct form *f, bool report)
{
	static uint64_t pair[2 * THREADS];
	static struct left want[THREADS];
	static char text[4096];
	char name[96];
	unsigned n;
	snprintf(name, sizeof name, "strip/%s.%s step %" PRId64 "%s%s%s%s", f->cmp, f->type, f->step,
		f->swapped ? " swapped" : "", f->negated ? " negated" : "", f->early ? " early" : "",
		report ? "" : " without reports");
	fill_pairs(f, pair, want, &n);
	if (!n)
		return true;
	struct exec_module *m = guarded(loop_text(f, text), report, false, is_cut(f), name);
	if (!m)
		return false;
	memcpy((void *)OWN, pair, sizeof pair);
	uint64_t args = OWN;
	struct launch_opt o = { .grid = { 1, 1, 1 }, .block = { THREADS, 1, 1 } };
	CUresult e = launch(m, "k0", o, &args, sizeof args);
	int bad = -1;
	uint32_t slow = *(uint32_t *)(OWN + 57344), few = 0;
	for (unsigned i = 0; i < THREADS; i++)
		few += want[i].n < 8 ? (uint32_t)want[i].n : 0;
	for (unsigned i = 0; i < THREADS && bad < 0; i++)
		if (memcmp((void *)(OWN + 2048 + 24 * i), &want[i], 20) ||
			*(uint32_t *)(OWN + 65536 + 16384 * i + 4 * (want[i].n - 1)) != want[i].sum ||
			*(uint32_t *)(OWN + 65536 + 16384 * i + 4 * want[i].n))
			bad = (int)i;
	exec_unload(m);
	if (!e && bad < 0 && !((struct guard_records *)WORKER)->count) {
		/* threads that stay together in the client's loop do in ours: no round more in the second copy */
		if (report && is_cut(f) && slow != few)
			check(false, name, "%u rounds in the second copy, wanted %u", slow, few);
		return !report || !is_cut(f) || slow == few;
	}
	struct left *got = (void *)(OWN + 2048 + 24 * (bad < 0 ? 0 : bad));
	check(false, name, "error %d, thread %d (%" PRIx64 " to %" PRIx64 "): %" PRIu64 " rounds for %" PRIu64, e, bad,
		pair[bad < 0 ? 0 : 2 * bad], pair[bad < 0 ? 1 : 2 * bad + 1], got->n, want[bad < 0 ? 0 : bad].n);
	return false;
}

static void all_rounds(const char *type)
{
	static const char *const cmps[] = { "ne", "lt", "le", "gt", "ge" };
	static const int64_t steps[] = { 1, 3, 4, -1, -4, -7 };
	unsigned wrong = 0;
	char name[64];
	for (unsigned c = 0; c < 5; c++)
		for (unsigned s = 0; s < 6; s++)
			for (unsigned v = 0; v < (s == 0 || s == 4 ? 8 : 2); v++) {
				unsigned bits = s == 0 || s == 4 ? v : (v ? 5 : 2) ^ s;
				struct form f = { type, cmps[c], steps[s], bits & 1, bits & 2, bits & 4 };
				wrong += !rounds(&f, v & 1);
			}
	snprintf(name, sizeof name, "strip/rounds %s", type);
	check(!wrong, name, "%u loops are wrong", wrong);
}

/* --- reports --------------------------------------------------------------------------------- */

/* A loop of n rounds with one access, its address in %rd9 at the line ACCESS; a, b: 64-bit parameters, i: round. */
static const char body_head[] = ".version 9.0\n.target sm_90\n.address_size 64\n"
	".visible .entry k(.param .u64 a, .param .u64 b, .param .u32 n)\n{\n"
	"\t.reg .b32 %r<20>;\n\t.reg .b64 %rd<20>;\n\t.reg .pred %p<3>;\n\t.shared .align 16 .b8 s[1024];\n"
	"\tld.param.u64 %rd1, [a];\n\tld.param.u64 %rd2, [b];\n\tld.param.u32 %r2, [n];\n"
	"\tmov.u32 %r1, 0;\n\tmov.u32 %r9, s;\n\tmov.u64 %rd10, %rd1;\n\tcvt.u32.u64 %r12, %rd1;\n"
	"\tcvt.u32.u64 %r11, %rd2;\n";
static const char body_tail[] = "\tadd.s32 %r1, %r1, 1;\n\tsetp.lt.s32 %p1, %r1, %r2;\n\t@%p1 bra $top;\n"
	"\tst.shared.u32 [s+4], %r1;\n\tret;\n}\n";

/* What the address is in round i, as a number; shared ones from the start of s. */
static uint64_t affine(uint64_t a, uint64_t b, uint32_t i) { return a + b * i; }
static uint64_t scaled(uint64_t a, uint64_t b, uint32_t i) { return a + 4 * (uint64_t)(int64_t)(int32_t)(b + 3 * i); }
static uint64_t unsigned_scaled(uint64_t a, uint64_t b, uint32_t i) { return a + 8 * (uint64_t)(uint32_t)(b - 5 * i); }
static uint64_t masked(uint64_t a, uint64_t b, uint32_t i) { return a + ((uint64_t)((uint32_t)b * i & 28) << 6); }
static uint64_t mixed(uint64_t a, uint64_t b, uint32_t i) { return a + b * i + 4 * ((i * i) % 16); }
static uint64_t words(uint64_t a, uint64_t b, uint32_t i) { return (uint32_t)a + (uint32_t)b * i; }

static const struct kind { const char *name, *body, *access; uint32_t w; bool shared, at_rest;
	uint64_t (*addr)(uint64_t a, uint64_t b, uint32_t i); } kinds[] = {
	{ "affine", "\tmov.u64 %rd9, %rd10;\n\tadd.s64 %rd10, %rd10, %rd2;\n", "ld.global.u32 %r5, [%rd9];", 4, false,
		false, affine },
	{ "affine 16", "\tmov.u64 %rd9, %rd10;\n\tadd.s64 %rd10, %rd10, %rd2;\n",
		"ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd9];", 16, false, false, affine },
	{ "scaled", "\tmul.wide.s32 %rd3, %r11, 4;\n\tadd.s64 %rd9, %rd1, %rd3;\n\tadd.s32 %r11, %r11, 3;\n",
		"st.global.u32 [%rd9], %r1;", 4, false, false, scaled },
	{ "unsigned scaled", "\tcvt.u64.u32 %rd3, %r11;\n\tshl.b64 %rd4, %rd3, 3;\n\tadd.s64 %rd9, %rd4, %rd1;\n"
		"\tsub.s32 %r11, %r11, 5;\n", "ld.global.u64 %rd5, [%rd9];", 8, false, false, unsigned_scaled },
	{ "masked", "\tmul.lo.s32 %r4, %r11, %r1;\n\tand.b32 %r4, %r4, 28;\n\tcvt.u64.u32 %rd3, %r4;\n"
		"\tshl.b64 %rd3, %rd3, 6;\n\tadd.s64 %rd9, %rd3, %rd1;\n",
		"ld.global.u32 %r5, [%rd9];", 4, false, false, masked },
	{ "mixed", "\tmul.lo.s32 %r4, %r1, %r1;\n\trem.u32 %r4, %r4, 16;\n\tmad.wide.u32 %rd9, %r4, 4, %rd10;\n"
		"\tadd.s64 %rd10, %rd10, %rd2;\n", "ld.global.u32 %r5, [%rd9];", 4, false, false, mixed },
	{ "shared", "\tadd.s32 %r4, %r9, %r12;\n\tadd.s32 %r12, %r12, %r11;\n", "st.shared.u32 [%r4], %r1;", 4, true,
		false, words },
	{ "resting", "\tadd.s64 %rd9, %rd1, 8;\n", "ld.global.u64 %rd5, [%rd9];", 8, false, true, affine },
};

struct numbers { uint64_t a, b; uint32_t n; };
#define TOP(wide) (WINDOW + ((wide) ? 8 : 4) * GIB)

static bool is_bad(const struct kind *k, uint64_t addr, bool wide)
{
	if (addr % k->w)
		return true;
	return k->shared ? (uint32_t)addr > 1024 - k->w : addr < WINDOW || addr >= TOP(wide);
}

static void one_report(const struct kind *k, const struct numbers *x, bool wide, struct exec_module *m, uint32_t line)
{
	struct guard_records *rec = (void *)WORKER;
	struct { uint64_t a, b; uint32_t n; } args = { x->a, x->b, x->n };
	struct launch_opt o = { .grid = { 1, 1, 1 }, .block = { 1, 1, 1 } };
	uint64_t want = 0, at = rec->rec[0].addr;
	uint32_t round = UINT32_MAX, s = 0;
	char name[128];
	snprintf(name, sizeof name, "strip/report %s %" PRIx64 " %" PRIx64 " %u%s", k->name, x->a, x->b, x->n,
		wide ? " wide" : "");
	for (uint32_t i = 0; i < (x->n ? x->n : 1) && round == UINT32_MAX; i++) {
		want = k->at_rest ? x->a + 8 : k->addr(x->a, x->b, i);
		if (is_bad(k, want, wide))
			round = i;
	}
	memset(rec, 0, sizeof *rec);
	CUresult e = launch(m, "k0", o, &args, sizeof args);
	at = rec->rec[0].addr;
	if (k->shared && rec->count) {
		s = (uint32_t)at;               /* where shared memory lies is softgpu's business: compare low bits */
		check(!e && round != UINT32_MAX && rec->rec[0].line == line && (s & 3) == (want & 3), name,
			"error %d, line %u, address %x, wanted %" PRIx64, e, rec->rec[0].line, s, want);
		return;
	}
	check(!e && (round == UINT32_MAX ? !rec->count : rec->count == 1 && rec->rec[0].line == line && at == want),
		name, "error %d, %u records, line %u (of %u), address %" PRIx64 ", wanted %" PRIx64 " of round %d", e,
		rec->count, rec->rec[0].line, line, at, want, (int)round);
}

static void reports(bool wide)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct kind *k = &kinds[i];
		const uint64_t top = TOP(wide), in = OWN + 65536;
		const struct numbers list[] = {
			{ in, 16, 1000 }, { in, 16, 7 }, { in, 16, 8 }, { in, 16, 9 }, { in, 16, 0 }, { in, 16, 257 },
			{ in, 0, 600 }, { in + 1, 16, 50 }, { in + 2, 16, 3 }, { in, 6, 40 }, { in, 1, 300 },
			{ top - 4096, 16, 300 }, { top - 4096, 16, 256 }, { top - 4096, 16, 257 }, { top - 16, 16, 10 },
			{ top - 4080, 16, 255 }, { top, 16, 10 }, { WINDOW + 4096, (uint64_t)-16, 256 },
			{ WINDOW + 4096, (uint64_t)-16, 258 },
			{ WINDOW - 16, 16, 20 }, { in, 1ull << 32, 20 }, { in, 1ull << 33, 20 }, { in, 1ull << 62, 20 },
			{ in, 1ull << 63, 20 }, { in, 0x2000000000000004, 9 }, { 0, 16, 12 }, { ~0ull - 15, 16, 12 },
			{ in, 0x7ffffff0, 30 }, { in, 0x7ffffe00, 30 }, { in, 20, 30 }, { 64, 4, 100 }, { 64, 16, 61 },
			{ 64, 16, 60 }, { 512, (uint64_t)-4, 129 }, { 512, (uint64_t)-4, 130 }, { 0, 4, 256 },
			{ 0, 4, 257 }, { 4, 0x80000000, 20 }, { 0, 2, 30 }, { 1000, 8, 4 },
		};
		char text[4096];
		uint32_t line = 1;
		snprintf(text, sizeof text, "%s$top:\n%s\t%s\n%s", body_head, k->body, k->access, body_tail);
		for (const char *p = text; p < strstr(text, k->access); p++)
			line += *p == '\n';
		struct exec_module *m = guarded(text, true, wide, true, k->name);
		for (size_t j = 0; m && j < sizeof list / sizeof *list; j++)
			one_report(k, &list[j], wide, m, line);
		if (m)
			exec_unload(m);
	}
}

int main(void)
{
	world_map();
	all_rounds("s32");
	all_rounds("u32");
	all_rounds("s64");
	all_rounds("u64");
	reports(false);
	reports(true);
	return harness_end();
}
