/* verify_test.c - runs the verifier over tests/guard/verify/<name>.ptx.  The first line of each says what must come
 * out:
 *   // >>> accept [wide]
 *   // >>> reject LINE: SUBSTRING [of the reason]       (// >>> wide reject LINE: ... for --wide; LINE counts from the
 *   top of the file)
 * The gate `probe` (u64, u32) -> u32 is known to every case.  Arguments: files, else the whole folder. */
#include "guard/verify.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *text = malloc(1 << 20);
	if (!f || !text)
		return NULL;
	*len = fread(text, 1, (1 << 20) - 1, f);
	text[*len] = 0;
	fclose(f);
	return text;
}

static bool one(const char *path, char why[300])
{
	static const struct verify_gate gate = { "probe", 2, { 8, 4 }, 4 };
	size_t len;
	char *text = read_file(path, &len), *body = text ? strchr(text, '\n') : NULL;
	struct guard_verdict v;
	if (!body || strncmp(text, "// >>> ", 7))
		return snprintf(why, 300, "no expectation in the first line"), free(text), false;
	*body++ = 0;
	const char *want = text + 7;
	bool wide = strstr(want, "wide") != NULL, ok = false;
	want += !strncmp(want, "wide ", 5) ? 5 : 0;
	int rc = verify(body, len - (size_t)(body - text), wide, &gate, 1, &v);
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
	return failed;
}
