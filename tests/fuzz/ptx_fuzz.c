/* ptx_fuzz.c - hostile text for the PTX parser.
 *
 * LLVMFuzzerTestOneInput() parses one input under the sanitizers and checks what must hold for every text: the parser
 * returns a module or a message, never both; a module's dump parses again and dumps to the same text.
 *
 * Without libFuzzer, main() is the driver: it cuts the texts of its arguments into sections (`// --- NAME`), and from
 * a fixed seed mutates, joins and crosses them for a number of iterations.  The same run gives the same inputs.
 *
 *     ptx_fuzz ITERATIONS FILE...      prints `ok ptx_fuzz`
 *
 * Built with -DAG_CANARY the target has a bug of the usual kind planted behind two conditions.  The harness must find
 * it, or the fuzzer is blind: canary_fuzz.sh expects that build to die. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/ptx.h"
#include "guard/ptx_dump.h"
#include "tests/test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long accepted, refused;

_Noreturn static void broken(const char *what, const uint8_t *data, size_t size)
{
	fprintf(stderr, "ptx_fuzz: %s\n--- input\n%.*s\n---\n", what, (int)size, (const char *)data);
	abort();
}

static char *dump(const struct ptx_module *m, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	if (!f)
		exit(2);
	ptx_dump(m, f);
	fclose(f);
	return text;
}

#ifdef AG_CANARY
/* An index from the text, believed: what the parser must never do.  No seed has a label behind so many instructions,
 * only a mutation makes one. */
static void canary(const struct ptx_module *m)
{
	unsigned char *seen = calloc(16, 1);

	for (uint32_t f = 0; seen && f < m->nfuncs; f++)
		for (uint32_t i = 0; i < m->funcs[f]->nlabels; i++)
			seen[m->funcs[f]->labels[i].inst]++;
	free(seen);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ptx_error err;
	struct ptx_module *m = ptx_parse((const char *)data, size, &err), *again;
	size_t n1 = 0, n2 = 0;
	char *first, *second;

	if (!m) {
		refused++;
		if (!err.text[0])
			broken("refused without a message", data, size);
		for (const char *p = err.text; *p; p++)
			if (*p < 0x20 || *p > 0x7e)
				broken("message is not printable", data, size);
		return 0;
	}
	accepted++;
#ifdef AG_CANARY
	canary(m);
#endif
	first = dump(m, &n1);
	again = ptx_parse(first, n1, &err);
	if (!again) {
		fprintf(stderr, "%u: %s\n%s", err.line, err.text, first);
		broken("the dump does not parse", data, size);
	}
	second = dump(again, &n2);
	if (n1 != n2 || memcmp(first, second, n1) != 0)
		broken("the dump of the dump differs", data, size);
	free(first);
	free(second);
	ptx_free(again);
	ptx_free(m);
	return 0;
}

#ifndef AG_LIBFUZZER

enum { MAX_INPUT = 16 << 10, MAX_SEEDS = 4096 };

struct seed {
	const char *text;
	size_t len;
};

static struct seed seeds[MAX_SEEDS];
static size_t nseeds;
static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t rnd(uint64_t below)
{
	uint64_t next = test_random(&state);
	return below ? next % below : 0;
}

static void add_seed(const char *text, size_t len)
{
	if (nseeds < MAX_SEEDS && len)
		seeds[nseeds++] = (struct seed){ text, len < MAX_INPUT / 2 ? len : MAX_INPUT / 2 };
}

/* The file's sections; lines that are comments of the test's are left out by starting after them. */
static void load(const char *path)
{
	size_t n;
	char *text = test_read(path, &n), *at, *next;
	int copies;

	for (at = strstr(text, "// --- "); at; at = next) {
		next = strstr(at + 1, "\n// --- ");
		for (copies = 1; strncmp(at, "// ", 3) == 0 && strchr(at, '\n'); at = strchr(at, '\n') + 1)
			copies = strncmp(at, "// >>> ok", 9) == 0 ? 4 : copies;
		/* What parses leads further than what is refused. */
		while (copies-- > 0)
			add_seed(at, next && next > at ? (size_t)(next + 1 - at) : strlen(at));
		if (next)
			next++;
	}
	if (!strstr(text, "// --- "))
		add_seed(text, n);
	/* `text` stays: the seeds point into it. */
}

static const char *const tokens[] = {
	"{", "}", "(", ")", "[", "]", "<", ">", ";", ",", ":", "@", "!", "|", "+", "-", "_", "=", ".", "::",
	"%", "#", "\"", "%r1", "%rd1", "%p1", "%x<", "<2147483647>", "0x", "0f", "0d", "1e",
	"18446744073709551615", "-9223372036854775808", ".reg .b32 ", ".v4 ", ".align ", ".param ", ".global ",
	".extern ", ".func ", ".entry ", ".branchtargets ", "call ", "bra ", "L: ", ".pragma \"nounroll\";",
	"/*", "*/", "//", "\n", "\0", "\xff", "%tid", ".x", ".b3210", "WARP_SZ", "generic(", "0xff(", "?",
	"<<", "(.s64)", "ret;", ".loc 1 2 3", "mov.b32 ", "ld.param.u32 ", "[P+4]", "$L", "&&", "%",
};

static size_t insert(char *buf, size_t len, size_t at, const char *s, size_t n)
{
	if (len + n > MAX_INPUT)
		n = MAX_INPUT - len;
	memmove(buf + at + n, buf + at, len - at);
	memcpy(buf + at, s, n);
	return len + n;
}

/* The place behind some ';', '{' or ':' from `from` on: where a statement can begin; 0 when there is none. */
static size_t statement(const char *text, size_t len, size_t from)
{
	for (size_t i = from; i < len; i++)
		if (text[i] == ';' || text[i] == '{' || text[i] == ':')
			return i + 1;
	return 0;
}

/* Puts a statement of some seed between two statements. */
static size_t cross(char *buf, size_t len)
{
	const struct seed *s = &seeds[rnd(nseeds)];
	size_t at = statement(buf, len, rnd(len)), from = statement(s->text, s->len, rnd(s->len));
	size_t to = statement(s->text, s->len, from);

	return to > from ? insert(buf, len, at, s->text + from, to - from) : len;
}

static size_t mutate_once(char *buf, size_t len)
{
	size_t at = rnd(len + 1), n;
	const struct seed *s;
	const char *t;
	char piece[60];

	switch (rnd(12)) {
	case 0:
		if (at < len)
			buf[at] = (char)(rnd(4) ? 0x20 + rnd(0x5f) : rnd(256));
		return len;
	case 1: case 2:
		t = tokens[rnd(sizeof tokens / sizeof *tokens)];
		return insert(buf, len, at, t, *t ? strlen(t) : 1);
	case 3:
		n = rnd(len - at + 1);
		n = n > 40 ? rnd(40) : n;
		memmove(buf + at, buf + at + n, len - at - n);
		return len - n;
	case 4:
		n = rnd(len - at + 1);
		n = n > sizeof piece ? rnd(sizeof piece) : n;
		memcpy(piece, buf + at, n);
		return insert(buf, len, rnd(at + 1), piece, n);
	case 5: case 6:
		s = &seeds[rnd(nseeds)];
		n = rnd(s->len);
		t = s->text + n;
		n = rnd(s->len - n + 1);
		return insert(buf, len, at, t, n > 120 ? rnd(120) : n);
	case 7:
		return rnd(10) ? len : at;
	case 8: case 9:
		t = tokens[rnd(sizeof tokens / sizeof *tokens)];
		return insert(buf, len, statement(buf, len, at), t, *t ? strlen(t) : 1);
	default:
		return cross(buf, len);
	}
}

static size_t make_input(char *buf)
{
	static const char head[] = ".version 9.0 .target sm_90 .address_size 64 ";
	static const char entry[] = ".entry k(.param .u64 P) { .reg .pred %p<4>; .reg .b16 %h<9>; .reg .b32 %r<9>; "
		".reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>; ";
	const struct seed *s = &seeds[rnd(nseeds)];
	size_t len = 0, n;

	if (!memmem(s->text, s->len, ".version", 8)) {
		len = insert(buf, len, len, head, sizeof head - 1);
		len = insert(buf, len, len, entry, sizeof entry - 1);
		len = insert(buf, len, len, s->text, s->len);
		len = insert(buf, len, len, "\nret; }", 7);
	} else {
		len = insert(buf, len, len, s->text, s->len);
	}
	for (n = rnd(3) ? rnd(2) : rnd(6); n > 0; n--)
		len = mutate_once(buf, len);
	return len;
}

int main(int argc, char **argv)
{
	unsigned long iterations = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

	for (int i = 2; i < argc; i++)
		load(argv[i]);
	if (!iterations || !nseeds) {
		fprintf(stderr, "usage: ptx_fuzz ITERATIONS FILE...\n");
		return 2;
	}
	for (unsigned long i = 0; i < iterations; i++) {
		char buf[MAX_INPUT];
		size_t len = make_input(buf);
		uint8_t *exact = malloc(len ? len : 1);  /* so that a read beyond the input is seen */
		if (!exact)
			return 2;
		memcpy(exact, buf, len);
		LLVMFuzzerTestOneInput(exact, len);
		free(exact);
	}
	/* A run in which everything is refused would prove little. */
	if (accepted < iterations / 50 || refused < iterations / 50) {
		printf("not ok ptx_fuzz: %lu accepted and %lu refused of %lu\n", accepted, refused, iterations);
		return 1;
	}
	printf("ok ptx_fuzz\n");
	fprintf(stderr, "%lu accepted, %lu refused\n", accepted, refused);
	return 0;
}

#endif
