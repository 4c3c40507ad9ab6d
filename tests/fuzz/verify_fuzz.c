/* verify_fuzz.c - feeds the verifier mutated texts for a few seconds: it must not touch memory that is not its own
 * (ASan and UBSan watch), must give the same verdict twice, and what it accepts must pass a crude check of our own. 
 * Deterministic: the seed is fixed, `verify_fuzz SEED SECONDS` takes another.  The corpus are the cases of
 * tests/guard/verify/ and tests/guard/form/.
 *
 * The canary build (FUZZ_CANARY) reads past a buffer when a mutant reaches the check of a fenced offset; it must die,
 * or the fuzzer does not bite. */
#include "guard/verify.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { MAX_FILES = 1024, MAX_TEXT = 1 << 17 };

static struct { char *text; size_t len; } corpus[MAX_FILES];
static int nfiles;
static uint64_t state;

static uint32_t rnd(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % n;
}

static void load(const char *pattern)
{
	glob_t g = { 0 };
	glob(pattern, 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc && nfiles < MAX_FILES; i++) {
		FILE *f = fopen(g.gl_pathv[i], "rb");
		char *text = malloc(MAX_TEXT);
		if (!f || !text)
			exit(1);
		size_t n = fread(text, 1, MAX_TEXT, f);
		fclose(f);
		char *body = n > 7 && !memcmp(text, "// >>>", 6) ? memchr(text, '\n', n) + 1 : text;
		corpus[nfiles].len = n - (size_t)(body - text);
		memmove(text, body, corpus[nfiles].len);
		corpus[nfiles++].text = text;
	}
	globfree(&g);
}

static const char *const words[] = {
	"%r0", "%rd0", "%ga4_0", "%gl4_0", "%gw", "%gs4_0", "%gsl4", "%gkill", "%gc", "%gq", "%p0", "{", "}", "[",
	"]", "+", "-", ";", ",", ":", "|", "@", "!",
	"4294967296", "18446744073709551615", "18446744073709551616", "0", "1", "-1", "4095", "0f00000000", ".v4",
	".v8", ".b64", ".b128", ".global", "_",
	"$L1", "$Lkill", "$T0", "ag_smem_0", "ag_desc", "ag_const", "ag_dyn", "ret;", "bra ", "brx.idx ", "call ",
	"\n", "\t", "\"", "%", "$", ".", "::", "pc", "p0",
	".reg .b32 %r<524288>;\n", ".param .b64 c0;\n", "ld.param.b64 ", "selp.b64 ",
	".local .align 16 .b8 ag_local_0[32];\n",
};

static size_t put(char *t, size_t len, size_t at, size_t cut, const char *s, size_t n)
{
	if (len - cut + n > MAX_TEXT)
		return len;
	memmove(t + at + n, t + at + cut, len - at - cut);
	memmove(t + at, s, n);
	return len - cut + n;
}

static size_t line_at(const char *t, size_t len, size_t at, size_t *n)
{
	while (at && t[at - 1] != '\n')
		at--;
	const char *e = memchr(t + at, '\n', len - at);
	*n = e ? (size_t)(e - t) - at + 1 : len - at;
	return at;
}

static size_t mutate(char *t, size_t len)
{
	static char keep[MAX_TEXT];
	size_t n, m;
	if (len < 2)
		return put(t, len, 0, 0, ".version 9.0\n", 13);
	size_t at = rnd((uint32_t)len), from = rnd((uint32_t)len);
	switch (rnd(8)) {
	case 0:
		t[at] = (char)rnd(256);
		return len;
	case 1: {
		const char *w = words[rnd(sizeof words / sizeof *words)];
		return put(t, len, at, 0, w, strlen(w));
	}
	case 2:         /* a line dropped */
		at = line_at(t, len, at, &n);
		return put(t, len, at, n, "", 0);
	case 3:         /* a line of this text, or of another, put in */
		from = line_at(t, len, from, &m);
		memcpy(keep, t + from, m);
		at = line_at(t, len, at, &n);
		return put(t, len, at, 0, keep, m);
	case 4: {
		int f = (int)rnd((uint32_t)nfiles);
		if (!corpus[f].len)
			return len;
		from = line_at(corpus[f].text, corpus[f].len, rnd((uint32_t)corpus[f].len), &m);
		at = line_at(t, len, at, &n);
		return put(t, len, at, rnd(2) ? n : 0, corpus[f].text + from, m);
	}
	case 5: {       /* a word replaced by one of ours */
		const char *w = words[rnd(sizeof words / sizeof *words)];
		for (n = 0; at + n < len && t[at + n] != ' ' && t[at + n] != '\n' && n < 24; n++)
			;
		return put(t, len, at, n, w, strlen(w));
	}
	case 6:         /* a digit changed */
		for (n = at; n < len && n < at + 200; n++)
			if (t[n] >= '0' && t[n] <= '9') {
				t[n] = (char)('0' + rnd(10));
				break;
			}
		return len;
	default:        /* cut short */
		return rnd(20) ? len : at;
	}
}

/* Whatever the verifier thinks: no accepted text holds an address in a plain register, or these words. */
static bool crude(const char *t, size_t len)
{
	static const char *const never[] = { "[%r", "[%h", "[%gw", "[%gsb", "\ttrap", "\tbrkpt", "\texit",
		"shared::cluster", "multimem", ".alias", ".global .", "[ag_desc+24" };
	for (size_t i = 0; i < sizeof never / sizeof *never; i++)
		if (memmem(t, len, never[i], strlen(never[i])))
			return false;
	return true;
}

static bool one(const char *t, size_t len, unsigned *accepted)
{
	static const struct verify_gate gate = { "probe", 2, { 8, 4 }, 4 };
	struct guard_verdict a, b;
	char *copy = malloc(len ? len : 1);     /* its own allocation, so that reading past its end is seen */
	memcpy(copy, t, len);
	bool wide = len & 1;
	int ra = verify(copy, len, wide, &gate, 1, &a), rb = verify(copy, len, wide, &gate, 1, &b);
	bool good = ra == rb && a.ok == (ra == 0) && a.line == b.line && !strcmp(a.reason, b.reason) &&
		(a.ok || a.reason[0]) && (!a.ok || crude(copy, len));
#ifdef FUZZ_CANARY
	if (strstr(a.reason, "out of bounds or misaligned"))
		good &= copy[len + (len & 7)] != 'x';
#endif
	*accepted += a.ok;
	verify_free(&a);
	verify_free(&b);
	free(copy);
	return good;
}

int main(int argc, char **argv)
{
	static char t[MAX_TEXT];
	state = argc > 1 ? strtoull(argv[1], NULL, 0) : 0x9e3779b97f4a7c15ull;
	double seconds = argc > 2 ? atof(argv[2]) : 3;
	unsigned runs = 0, accepted = 0;
	clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
	load("tests/guard/verify/*.ptx");
	load("tests/guard/form/*.ptx");
	if (!nfiles || !state)
		return fprintf(stderr, "no corpus\n"), 1;
	while (clock() < end) {
		int f = (int)rnd((uint32_t)nfiles);
		size_t len = corpus[f].len;
		memcpy(t, corpus[f].text, len);
		for (uint32_t n = rnd(4); n--;)
			len = mutate(t, len);
		if (!one(t, len, &accepted)) {
			printf("not ok verify_fuzz: run %u of this seed\n", runs);
			FILE *out = fopen("build/verify_fuzz.bad", "wb");
			if (out) {
				fwrite(t, 1, len, out);
				fclose(out);
			}
			return 1;
		}
		runs++;
	}
	printf("ok verify_fuzz/sound %u runs, %u accepted\n", runs, accepted);
#ifndef FUZZ_CANARY
	int rc = system("build/tests/verify_fuzz_canary >/dev/null 2>&1");
	bool died = WIFEXITED(rc) && WEXITSTATUS(rc) != 0 && WEXITSTATUS(rc) != 127;
	printf("%sok verify_fuzz/canary%s\n", died ? "" : "not ", died ? "" : ": it survived");
	return !died;
#endif
	return 0;
}
