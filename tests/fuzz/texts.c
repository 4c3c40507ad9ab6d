/* texts.c - see texts.h. */
#include "tests/fuzz/texts.h"
#include "tests/test.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_text fuzz_text[FUZZ_FILES];
int fuzz_ntexts;
uint64_t fuzz_seed;

uint32_t fuzz_rnd(uint32_t n)
{
	return (uint32_t)(test_random(&fuzz_seed) >> 33) % n;
}

void fuzz_load(const char *pattern)
{
	glob_t g = { 0 };
	glob(pattern, 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc && fuzz_ntexts < FUZZ_FILES; i++) {
		FILE *f = fopen(g.gl_pathv[i], "rb");
		char *text = malloc(FUZZ_BYTES);
		if (!f || !text)
			exit(1);
		size_t n = fread(text, 1, FUZZ_BYTES, f);
		fclose(f);
		char *body = n > 7 && !memcmp(text, "// >>>", 6) ? memchr(text, '\n', n) + 1 : text;
		fuzz_text[fuzz_ntexts].len = n - (size_t)(body - text);
		memmove(text, body, fuzz_text[fuzz_ntexts].len);
		fuzz_text[fuzz_ntexts++].text = text;
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
	if (len - cut + n > FUZZ_BYTES)
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

size_t fuzz_mutate(char *t, size_t len)
{
	static char keep[FUZZ_BYTES];
	size_t n, m;
	if (len < 2)
		return put(t, len, 0, 0, ".version 9.0\n", 13);
	size_t at = fuzz_rnd((uint32_t)len), from = fuzz_rnd((uint32_t)len);
	switch (fuzz_rnd(8)) {
	case 0:
		t[at] = (char)fuzz_rnd(256);
		return len;
	case 1: {
		const char *w = words[fuzz_rnd(sizeof words / sizeof *words)];
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
		int f = (int)fuzz_rnd((uint32_t)fuzz_ntexts);
		if (!fuzz_text[f].len)
			return len;
		from = line_at(fuzz_text[f].text, fuzz_text[f].len, fuzz_rnd((uint32_t)fuzz_text[f].len), &m);
		at = line_at(t, len, at, &n);
		return put(t, len, at, fuzz_rnd(2) ? n : 0, fuzz_text[f].text + from, m);
	}
	case 5: {       /* a word replaced by one of ours */
		const char *w = words[fuzz_rnd(sizeof words / sizeof *words)];
		for (n = 0; at + n < len && t[at + n] != ' ' && t[at + n] != '\n' && n < 24; n++)
			;
		return put(t, len, at, n, w, strlen(w));
	}
	case 6:         /* a digit changed */
		for (n = at; n < len && n < at + 200; n++)
			if (t[n] >= '0' && t[n] <= '9') {
				t[n] = (char)('0' + fuzz_rnd(10));
				break;
			}
		return len;
	default:        /* cut short */
		return fuzz_rnd(20) ? len : at;
	}
}
