/* rewrite_test.c - the rewriter against its goldens, against ptxas and against the verifier.
 *
 * tests/guard/rewrite/ holds one case a file: PTX, then `// >>> expect OPTIONS` and, as comments, the guarded body it
 * must become, or `// >>> refuse LINE: text` with what the message must contain.  OPTIONS: wide, noreport, nopoll,
 * nofence, scrub, gate. With UPDATE=1 in the environment the expected bodies are written anew, for a person to
 * read before they are committed. build/tests/guard_ptx/ holds what nvcc made of tests/guard/cu/: every file must be
 * rewritten, verified and assembled. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "guard/guard.h"
#include "guard/verify.h"
#include "tests/test.h"

static int failures;

static const struct guard_gate gates[] = {
	{ "ledger_sign", 3, { PTX_T_B64, PTX_T_B32, PTX_T_B64 }, PTX_T_B32 },
	{ "ledger_count", 0, { 0 }, PTX_T_B64 },
};
static const struct verify_gate vgates[] = { { "ledger_sign", 3, { 8, 4, 8 }, 4 }, { "ledger_count", 0, { 0 }, 8 } };
static const char gate_ptx[] =
	".visible .func (.param .b32 r) gate_ledger_sign (.param .b64 a, .param .b32 b, .param .b64 c)\n"
	"{\n\tst.param.b32 [r], 1;\n\tret;\n}\n"
	".visible .func (.param .b64 r) gate_ledger_count ()\n{\n\tst.param.b64 [r], 1;\n\tret;\n}\n";

static void result(const char *name, const char *what, const char *why)
{
	if (why)
		failures++;
	printf(why ? "not ok %s %s: %s\n" : "ok %s %s\n", name, what, why);
}

static struct guard_options options(const char *words)
{
	struct guard_options o = { .report = true, .fence = true, .poll = true, .target_sm = 90 };

	o.wide = strstr(words, "wide") != NULL;
	o.report = !strstr(words, "noreport");
	o.scrub = strstr(words, "scrub") != NULL;
	o.poll = !strstr(words, "nopoll");
	o.fence = !strstr(words, "nofence");
	if (strstr(words, "gate")) {
		o.gates = gates;
		o.ngates = 2;
	}
	return o;
}

static const char *verified(const struct guard_result *r, const struct guard_options *o)
{
	static char why[300];
	struct guard_verdict v;

	memset(&v, 0, sizeof(v));
	struct verify_options vopt = { .wide = o->wide, .scrub = o->scrub, .meet = o->meet };
	verify(r->text, r->text_len, &vopt, o->ngates ? vgates : NULL, o->ngates, &v);
	if (!v.ok)
		snprintf(why, sizeof(why), "verifier, line %u: %s", v.line, v.reason);
	for (uint32_t i = 0; v.ok && i < r->nkernels; i++) {
		const struct verify_kernel *k = &v.kernels[i];

		if (i >= v.nkernels || k->index != r->kernels[i].index
			|| k->uses_dyn_shared != r->kernels[i].uses_dyn_shared
		    || k->hidden_coop != r->kernels[i].hidden_coop || k->static_shared != r->kernels[i].static_shared
		    || k->min_dyn_shared != r->kernels[i].min_dyn_shared) {
			snprintf(why, sizeof(why), "the verifier's facts of kernel %u differ from the rewriter's", i);
			v.ok = false;
		}
	}
	bool ok = v.ok;
	verify_free(&v);
	return ok ? NULL : why;
}

/* Runs ptxas on text; NULL when it accepts. */
static const char *assembled(const char *text, size_t len)
{
	static char why[300], dir[] = "/tmp/ag_rewrite_XXXXXX";
	static bool made;
	char path[64], cmd[600];
	const char *cuda = getenv("CUDA_HOME") ? getenv("CUDA_HOME") : "/usr/local/cuda";
	FILE *f;
	int rc;

	if (!made && !mkdtemp(dir))
		return "mkdtemp failed";
	made = true;
	snprintf(path, sizeof(path), "%s/t.ptx", dir);
	f = fopen(path, "wb");
	if (!f || fwrite(text, 1, len, f) != len || fclose(f))
		return "cannot write a temporary file";
	snprintf(cmd, sizeof(cmd), "timeout 120 %s/bin/ptxas -arch=sm_90 -o %s/t.cubin %s 2>&1 | head -c 200", cuda,
		dir, path);
	f = popen(cmd, "r");
	memset(why, 0, sizeof(why));
	if (!f)
		return "popen failed";
	(void)!fread(why, 1, sizeof(why) - 1, f);
	rc = pclose(f);
	snprintf(cmd, sizeof(cmd), "%s/t.cubin", dir);
	unlink(path);
	bool there = unlink(cmd) == 0;
	rmdir(dir);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	made = false;
	for (char *p = why; *p; p++)
		if (*p == '\n')
			*p = ' ';
	return rc || !there ? why[0] ? why : "ptxas failed" : NULL;
}

/* Reading must survive every truncation and reproduce what was written. */
static const char *round_trip(const struct guard_result *r)
{
	uint8_t *bytes, *again;
	size_t len, len2;
	struct guard_result back;
	const char *why = NULL;

	if (guard_result_write(r, &bytes, &len))
		return "guard_result_write failed";
	for (size_t n = 0; n < len && !why; n += n < 200 ? 1 : len / 97 + 1)
		if (!guard_result_read(&back, bytes, n))
			why = "a truncated result was read";
	for (size_t at = 0; at < len && !why; at += len / 211 + 1) {
		bytes[at] ^= 0x81;
		if (!guard_result_read(&back, bytes, len))
			guard_result_free(&back);
		bytes[at] ^= 0x81;
	}
	if (!why && guard_result_read(&back, bytes, len))
		why = "guard_result_read refused its own writing";
	if (!why) {
		if (guard_result_write(&back, &again, &len2) || len2 != len || memcmp(again, bytes, len))
			why = "writing what was read gives other bytes";
		else
			free(again);
		guard_result_free(&back);
	}
	free(bytes);
	return why;
}

static const char *checked(const struct guard_result *r, const struct guard_options *o)
{
	const char *gp[] = { gate_ptx }, *why = o->fence ? verified(r, o) : NULL;
	size_t len;
	char *all;

	if (why)
		return why;
	all = guard_compose(r->text, r->text_len, 90, gp, o->ngates ? 1 : 0, &len);
	if (!all)
		return "guard_compose found no marker";
	why = assembled(all, len);
	free(all);
	return why ? why : round_trip(r);
}

/* --- goldens --- */

static void uncomment(char *text)
{
	char *to = text;

	for (char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		size_t skip = !strncmp(p, "// ", 3) ? 3 : !strncmp(p, "//", 2) ? 2 : 0;

		memmove(to, p + skip, n - skip);
		to += n - skip;
		*to++ = '\n';
		p += n + (p[n] == '\n');
	}
	*to = 0;
}

static void update(const char *path, const char *input, size_t input_len, const char *head, const char *body)
{
	FILE *f = fopen(path, "wb");

	fwrite(input, 1, input_len, f);
	fprintf(f, "%s\n", head);
	while (*body) {
		size_t n = strcspn(body, "\n");

		fprintf(f, n ? "// %.*s\n" : "//%.*s\n", (int)n, body);
		body += n + 1;
	}
	fclose(f);
}

static const char *refusal(const char *text, size_t len, const char *want, const struct guard_options *o)
{
	static char why[400];
	struct guard_input in = { text, len, "test" };
	struct guard_result r;
	struct ptx_error err;
	uint32_t piece;
	char got[320];

	if (!guard_rewrite(&in, 1, o, &r, &err, &piece)) {
		guard_result_free(&r);
		return "was not refused";
	}
	snprintf(got, sizeof(got), "%u: %s", err.line, err.text);
	if (strncmp(got, want, strlen(want)) == 0)
		return NULL;
	snprintf(why, sizeof(why), "refused, but with '%s'", got);
	return why;
}

static const char *expected(const char *path, char *text, size_t input_len, const char *head, char *want,
	const struct guard_options *o)
{
	static char why[400];
	struct guard_input in = { text, input_len, "test" };
	struct guard_result r;
	struct ptx_error err;
	uint32_t piece;
	const char *body, *bad;

	if (guard_rewrite(&in, 1, o, &r, &err, &piece)) {
		snprintf(why, sizeof(why), "refused: %u: %s", err.line, err.text);
		return why;
	}
	body = strstr(r.text, GUARD_BODY_MARK) + strlen(GUARD_BODY_MARK);
	if (getenv("UPDATE"))
		update(path, text, input_len, head, body);
	uncomment(want);
	bad = checked(&r, o);
	if (!bad && strcmp(want, body) && !getenv("UPDATE"))
		bad = "the guarded body differs from the golden";
	guard_result_free(&r);
	return bad;
}

static void golden(const char *path)
{
	size_t len;
	char *text = test_read(path, &len), *mark = strstr(text, "// >>> "), head[200];
	const char *name = strrchr(path, '/') + 1;
	struct guard_options o;

	if (!mark) {
		result(name, "golden", "no // >>> line");
		free(text);
		return;
	}
	snprintf(head, sizeof(head), "%.*s", (int)strcspn(mark, "\n"), mark);
	o = options(strncmp(head, "// >>> refuse", 13) ? head : "");
	if (!strncmp(head, "// >>> refuse ", 14))
		result(name, "refused", refusal(text, (size_t)(mark - text), head + 14, &o));
	else
		result(name, "golden", expected(path, text, (size_t)(mark - text), head, mark + strcspn(mark,
		"\n") + 1, &o));
	free(text);
}

/* --- what nvcc makes --- */

static void compiled(char **paths, uint32_t n, const char *name)
{
	static const char *const variants[] = { "", "wide", "noreport", "nofence nopoll", "scrub",
		"wide noreport scrub" };
	struct guard_input in[8];
	char *texts[8];

	for (uint32_t i = 0; i < n; i++) {
		texts[i] = test_read(paths[i], &in[i].len);
		in[i].text = texts[i];
		in[i].label = paths[i];
	}
	for (unsigned v = 0; v < sizeof(variants) / sizeof(*variants); v++) {
		struct guard_options o = options(variants[v]);
		struct guard_result r;
		struct ptx_error err;
		uint32_t piece;
		char why[400];

		if (strstr(name, "gate")) {
			o.gates = gates;
			o.ngates = 2;
		}
		if (guard_rewrite(in, n, &o, &r, &err, &piece)) {
			snprintf(why, sizeof(why), "refused: piece %u, %u: %s", piece, err.line, err.text);
			result(name, variants[v], why);
			continue;
		}
		result(name, *variants[v] ? variants[v] : "narrow", checked(&r, &o));
		guard_result_free(&r);
	}
	for (uint32_t i = 0; i < n; i++)
		free(texts[i]);
}

/* Files named link_* are the pieces of one module. */
static void all_compiled(const char *dir)
{
	char pattern[300];
	char *pieces[8];
	uint32_t npieces = 0;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s/*.ptx", dir);
	if (glob(pattern, 0, NULL, &g)) {
		result("compiled", dir, "no files");
		return;
	}
	for (size_t i = 0; i < g.gl_pathc; i++) {
		const char *name = strrchr(g.gl_pathv[i], '/') + 1;

		if (strncmp(name, "link_", 5))
			compiled(&g.gl_pathv[i], 1, name);
		else if (npieces < 8)
			pieces[npieces++] = g.gl_pathv[i];
	}
	if (npieces)
		compiled(pieces, npieces, "link");
	globfree(&g);
}

int main(int argc, char **argv)
{
	glob_t g;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (glob(argc > 1 ? argv[1] : "tests/guard/rewrite/*.ptx", 0, NULL, &g)) {
		result("goldens", "tests/guard/rewrite", "no files");
	} else {
		for (size_t i = 0; i < g.gl_pathc; i++)
			golden(g.gl_pathv[i]);
		globfree(&g);
	}
	if (argc < 2)
		all_compiled("build/tests/guard_ptx");
	return failures != 0;
}
