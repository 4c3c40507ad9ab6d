/* rewrite_fuzz.c - mangled modules for the rewriter, under the sanitizers.
 *
 * Lines of the given files are dropped, doubled, swapped and crossed, words and numbers replaced by others, from a
 * fixed seed.  Whatever comes out must be refused with a printable message or rewritten; what is rewritten must be
 * accepted by the verifier or refused by it, never crash it, and survive the pipe's serial form.
 *
 *     rewrite_fuzz ITERATIONS FILE...      prints `ok rewrite_fuzz` */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "guard/guard.h"
#include "guard/verify.h"
#include "tests/test.h"

enum { MAX_LINES = 4000, MAX_LINE = 400 };

static char lines[MAX_LINES][MAX_LINE];
static unsigned nlines;
static uint64_t state = 0x9E3779B97F4A7C15u;
static unsigned long refused, accepted, unverified;

static uint32_t rnd(uint32_t n)
{
	return (uint32_t)(test_random(&state) >> 32) % n;
}

/* Lines from `from` up to `// >>>`, comments left out. */
static void load(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[4096];

	nlines = 0;
	if (!f) {
		perror(path);
		exit(2);
	}
	while (nlines < MAX_LINES && fgets(line, sizeof(line), f) && strncmp(line, "// >>>", 6))
		if (strncmp(line, "//", 2) && strlen(line) < MAX_LINE)
			strcpy(lines[nlines++], line);
	fclose(f);
}

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '%' || c == '$';
}

/* A random word of a line: its start and length. */
static bool pick_word(const char *line, unsigned *at, unsigned *len)
{
	unsigned n = (unsigned)strlen(line), i = rnd(n + 1);

	while (i < n && !word_char(line[i]))
		i++;
	if (i == n)
		return false;
	while (i && word_char(line[i - 1]))
		i--;
	*at = i;
	for (*len = 0; word_char(line[i + *len]);)
		++*len;
	return true;
}

static const char *const numbers[] = { "0", "-1", "1", "3", "4064", "4096", "65536", "2147483648", "-2147483648",
	"4294967295",
	"9223372036854775807", "-9223372036854775807", "0x7fffffffffff0000", "0f7F800000", "7", "16" };

static void replace(char *line, unsigned at, unsigned len, const char *with, unsigned wlen)
{
	char out[MAX_LINE * 2];

	snprintf(out, sizeof(out), "%.*s%.*s%s", (int)at, line, (int)wlen, with, line + at + len);
	snprintf(line, MAX_LINE, "%.*s", MAX_LINE - 1, out);
}

static void mangle(void)
{
	unsigned a = rnd(nlines), b = rnd(nlines), at, len, at2, len2;
	char t[MAX_LINE];

	switch (rnd(6)) {
	case 0: lines[a][0] = '\n'; lines[a][1] = 0; break;
	case 1: memcpy(lines[a], lines[b], MAX_LINE); break;
	case 2:
		memcpy(t, lines[a], MAX_LINE);
		memcpy(lines[a], lines[b], MAX_LINE);
		memcpy(lines[b], t, MAX_LINE);
		break;
	case 3:
		if (pick_word(lines[a], &at, &len)) {
			const char *n = numbers[rnd(sizeof(numbers) / sizeof(numbers[0]))];

			replace(lines[a], at, len, n, (unsigned)strlen(n));
		}
		break;
	default:
		if (pick_word(lines[a], &at, &len) && pick_word(lines[b], &at2, &len2)) {
			memcpy(t, lines[b], MAX_LINE);
			replace(lines[a], at, len, t + at2, len2);
		}
	}
}

static void judge(const struct guard_result *r, bool wide, bool scrub)
{
	struct guard_verdict v;
	struct guard_result back;
	uint8_t *bytes;
	size_t len;

	memset(&v, 0, sizeof(v));
	verify(r->text, r->text_len, &(struct verify_options){ .wide = wide, .scrub = scrub }, NULL, 0, &v);
	accepted++;
	if (!v.ok) {
		unverified++;
		if (getenv("SHOW"))
			fprintf(stderr, "unverified: line %u: %s\n%s\n", v.line, v.reason, r->text);
	}
	verify_free(&v);
	if (guard_result_write(r, &bytes, &len) || guard_result_read(&back, bytes, len))
		abort();
	guard_result_free(&back);
	free(bytes);
}

static void one(void)
{
	static char text[MAX_LINES * MAX_LINE];
	size_t len = 0;
	struct guard_options o = { .wide = rnd(2), .report = rnd(2), .fence = rnd(8) != 0, .poll = true,
		.scrub = rnd(2), .target_sm = 90 };
	struct guard_input in = { text, 0, "fuzz" };
	struct guard_result r;
	struct ptx_error err;
	uint32_t piece;

	for (unsigned i = 0; i < nlines; i++)
		len += (size_t)sprintf(text + len, "%s", lines[i]);
	in.len = len;
	if (guard_rewrite(&in, 1, &o, &r, &err, &piece)) {
		refused++;
		for (const char *p = err.text; *p; p++)
			if (!isprint((unsigned char)*p))
				abort();
		return;
	}
	if (o.fence)
		judge(&r, o.wide, o.scrub);
	guard_result_free(&r);
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

	for (unsigned long i = 0; i < n && argc > 2; i++) {
		load(argv[2 + rnd((uint32_t)argc - 2)]);
		for (unsigned m = rnd(4) + 1; m && nlines; m--)
			mangle();
		one();
	}
	printf(accepted && refused ? "ok rewrite_fuzz\n" : "not ok rewrite_fuzz: nothing came through\n");
	printf("%lu refused, %lu rewritten, %lu of them not verified\n", refused, accepted, unverified);
	return !(accepted && refused);
}
