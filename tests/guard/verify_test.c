/* verify_test.c - runs the verifier over tests/guard/verify/<name>.ptx.  The first line of each says what must come
 * out:
 *   // >>> accept [wide]
 *   // >>> reject LINE: SUBSTRING [of the reason]       (// >>> wide reject LINE: ... for --wide; LINE counts from the
 *   top of the file; // >>> scrub accept, // >>> scrub reject ...: memory has to be cleared;
 *   // >>> meet ...: --meet)
 * The gate `probe` (u64, u32) -> u32 is known to every case.  Arguments: files, else the whole folder. */
#include "guard/verify.h"
#include "tests/test.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool one(const char *path, char why[300])
{
	static const struct verify_gate gate = { "probe", 2, { 8, 4 }, 4 };
	size_t len;
	char *text = test_read(path, &len), *body = text ? strchr(text, '\n') : NULL;
	struct guard_verdict v;
	if (!body || strncmp(text, "// >>> ", 7))
		return snprintf(why, 300, "no expectation in the first line"), free(text), false;
	*body++ = 0;
	const char *want = text + 7;
	bool wide = strstr(want, "wide") != NULL, ok = false;
	want += !strncmp(want, "wide ", 5) ? 5 : 0;
	bool scrub = !strncmp(want, "scrub ", 6);
	want += scrub ? 6 : 0;
	bool meet = !strncmp(want, "meet ", 5);
	want += meet ? 5 : 0;
	struct verify_options opt = { .wide = wide, .scrub = scrub, .meet = meet };
	int rc = verify(body, len - (size_t)(body - text), &opt, &gate, 1, &v);
	unsigned line = v.line + 1, at = 0;
	int n = 0;
	if (!strncmp(want, "accept", 6)) {
		ok = rc == 0 && v.ok;
		if (!ok)
			snprintf(why, 300, "refused, line %u: %s", line, v.reason);
	} else if (sscanf(want, "reject %u: %n", &at, &n) == 1 && n) {
		ok = rc != 0 && !v.ok && line == at && strstr(v.reason, want + n) && want[n];
		if (!ok)
			snprintf(why, 300, "%s, line %u: %s", rc ? "refused otherwise" : "accepted", line, v.reason);
	} else {
		snprintf(why, 300, "bad expectation");
	}
	verify_free(&v);
	free(text);
	return ok;
}

/* --- small texts that ask for much: refused in good time -------------------------------------- */

static char *put(char *p, const char *fmt, unsigned a)
{
	return p + sprintf(p, fmt, a, a);
}

#define HEAD ".version 9.0\n.target sm_90\n.address_size 64\n" \
	".extern .const .align 16 .b8 ag_desc[128];\n// agileos: body\n"

static char *many_kernels(char *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p = put(p, ".visible .entry k%u()\n{\n\t.reg .b32 %%r<500000>;\n\tret;\n}\n", i);
	return p;
}

/* Each of n registers is read in each of n blocks, and written in none but the first of them. */
static char *blocks_by_registers(char *p, unsigned n)
{
	p += sprintf(p,
		".visible .entry k0()\n{\n\t.reg .pred %%p<1>;\n\t.reg .b32 %%r<%u>;\n\tsetp.eq.u32 %%p0, 0, 0;\n", n);
	p = put(p, "\tbra $L%u;\n", 1);
	for (unsigned i = 1; i < n; i++)
		p = put(put(p, "$L%u:\n\tadd.u32 %%r%u, ", i), "%%r%u, 1;\n", i);
	return p + sprintf(p, "$Lkill:\n\tret;\n}\n");
}

static char *long_line(char *p, unsigned n)
{
	p += sprintf(p, ".visible .entry k0()\n{\n\tmov.u32 %%r0, ");
	memset(p, '(', n);
	return p + n + sprintf(p + n, ";\n");
}

static bool bomb(const char *name, char *(*fill)(char *, unsigned), unsigned n, const char *why)
{
	char *text = malloc((size_t)n * 96 + 65536), *end = fill(text + sprintf(text, HEAD), n);
	struct guard_verdict v;
	clock_t start = clock();
	int rc = verify(text, (size_t)(end - text), &(struct verify_options){ .wide = false }, NULL, 0, &v);
	double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
	bool ok = rc && strstr(v.reason, why) && seconds < 10;
	printf("%sok verify/bomb_%s%s", ok ? "" : "not ", name, ok ? "\n" : ": ");
	if (!ok)
		printf("%.1f s, %s\n", seconds, v.reason);
	verify_free(&v);
	free(text);
	return ok;
}

static bool bombs(void)
{
	return bomb("many_kernels", many_kernels, 20000, "too many registers") &
	       bomb("blocks_by_registers", blocks_by_registers, 120000, "blocks times registers") &
	       bomb("long_line", long_line, 4 << 20, "line too long");
}

int main(int argc, char **argv)
{
	glob_t g = { 0 };
	char why[300];
	int failed = 0;
	if (argc < 2 && glob("tests/guard/verify/*.ptx", 0, NULL, &g))
		return fprintf(stderr, "no cases in tests/guard/verify\n"), 1;
	size_t n = argc > 1 ? (size_t)argc - 1 : g.gl_pathc;
	for (size_t i = 0; i < n; i++) {
		const char *path = argc > 1 ? argv[i + 1] : g.gl_pathv[i], *name = strrchr(path, '/');
		if (one(path, why)) {
			printf("ok verify/%s\n", name ? name + 1 : path);
		} else {
			printf("not ok verify/%s: %s\n", name ? name + 1 : path, why);
			failed = 1;
		}
	}
	globfree(&g);
	if (argc < 2 && !bombs())
		failed = 1;
	return failed;
}
