/* verify_fuzz.c - feeds the verifier mutated texts for a few seconds: it must not touch memory that is not its own
 * (ASan and UBSan watch), must give the same verdict twice, and what it accepts must pass a crude check of our own. 
 * Deterministic: the seed is fixed, `verify_fuzz SEED SECONDS` takes another.  The corpus are the cases of
 * tests/guard/verify/ and tests/guard/form/.
 *
 * The canary build (FUZZ_CANARY) reads past a buffer when a mutant reaches the check of a fenced offset; it must die,
 * or the fuzzer does not bite. */
#include "guard/verify.h"
#include "tests/fuzz/texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static unsigned count(const char *t, size_t len, const char *what)
{
	unsigned n = 0;
	for (const char *p = t; (p = memmem(p, len - (size_t)(p - t), what, strlen(what))); p++)
		n++;
	return n;
}

/* Whatever the verifier thinks: no accepted text holds an address in a plain register, or these words. */
static bool crude(const char *t, size_t len)
{
	static const char *const never[] = { "[%r", "[%h", "[%gw]", "[%gw+", "[%gwl", "[%gwa",
		"[%gwh", "[%gwu", "[%gwt]", "[%gsb", "\ttrap", "\tbrkpt", "\texit",
		"multimem", ".alias", ".global .", "[ag_desc+24" };
	for (size_t i = 0; i < sizeof never / sizeof *never; i++)
		if (memmem(t, len, never[i], strlen(never[i])))
			return false;
	/* the record of a warp is set in one line only */
	if (count(t, len, "[%gwt+") != count(t, len, "\tst.shared.v4.u32 [%gwt+32], {%gwu, %gwu, %gwu, %gwl};\n"))
		return false;
	/* memory of other blocks: only where they stay */
	return memmem(t, len, "ag_peer_", 8) || !memmem(t, len, "shared::cluster", 15);
}

static bool one(const char *t, size_t len, unsigned *accepted)
{
	static const struct verify_gate gate = { "probe", 2, { 8, 4 }, 4 };
	struct guard_verdict a, b;
	char *copy = malloc(len ? len : 1);     /* its own allocation, so that reading past its end is seen */
	memcpy(copy, t, len);
	bool wide = len & 1;
	struct verify_options opt = { .wide = wide, .scrub = len & 2, .meet = len & 4 };
	int ra = verify(copy, len, &opt, &gate, 1, &a),
	    rb = verify(copy, len, &opt, &gate, 1, &b);
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
	static char t[FUZZ_BYTES];
	fuzz_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0x9e3779b97f4a7c15ull;
	double seconds = argc > 2 ? atof(argv[2]) : 3;
	unsigned runs = 0, accepted = 0;
	clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
	fuzz_load("tests/guard/verify/*.ptx");
	fuzz_load("tests/guard/form/*.ptx");
	if (!fuzz_ntexts || !fuzz_seed)
		return fprintf(stderr, "no corpus\n"), 1;
	while (clock() < end) {
		int f = (int)fuzz_rnd((uint32_t)fuzz_ntexts);
		size_t len = fuzz_text[f].len;
		memcpy(t, fuzz_text[f].text, len);
		for (uint32_t n = fuzz_rnd(4); n--;)
			len = fuzz_mutate(t, len);
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
