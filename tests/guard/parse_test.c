/* parse_test.c - the PTX parser against tests/guard/parse/ *.ptx and against texts too large to keep in files.
 *
 * A test file holds sections, each a text of its own:
 *     // --- NAME
 *     // >>> in entry              the text is wrapped into a kernel with registers (see ENTRY_HEAD)
 *     // >>> ok                    it parses; its dump parses to the same dump
 *     // >>> error LINE: TEXT      it is refused at that line (1 is the line after `// ---`), the message has TEXT
 *     // >>> dump TEXT             the dump has TEXT, in the order of these lines
 *     // >>> ptxas accepts|refuses|skip   read by parse_ptxas.lua only: where ptxas decides otherwise
 * Every text is also parsed cut off at every length, from memory that ends where the text ends.
 *
 * parse_test                 runs everything
 * parse_test --extract DIR   writes each section's text to DIR, and the dump of those that parse
 * parse_test --dump FILE     prints the dump of a whole file */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guard/ptx.h"
#include "guard/ptx_dump.h"
#include "tests/test.h"

#define DIRECTORY "tests/guard/parse"
#define ENTRY_HEAD ".version 9.0 .target sm_90 .address_size 64 .visible .entry k(.param .u64 P) { " \
	".reg .pred %p<4>; .reg .b16 %h<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>; " \
	"ld.param.u64 %rd1, [P]; "
#define ENTRY_TAIL "\nst.global.u32 [%rd1], %r1; ret; }\n"

static void check(const char *name, bool good, const char *reason)
{
	test_result(name, good ? NULL : reason);
}

static void *must(void *p)
{
	if (!p) {
		perror("parse_test");
		exit(2);
	}
	return p;
}

/* Parses a copy that ends exactly where its memory ends, so that a sanitizer sees any read beyond it. */
static struct ptx_module *parse(const char *text, size_t len, struct ptx_error *err)
{
	char *copy = must(malloc(len ? len : 1));
	struct ptx_module *m;

	memcpy(copy, text, len);
	m = ptx_parse(copy, len, err);
	free(copy);
	return m;
}

static char *dump(const struct ptx_module *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = must(open_memstream(&text, &len));

	ptx_dump(m, f);
	fclose(f);
	return text;
}

/* --- sections ---------------------------------------------------------------------------------- */

struct section {
	char name[128], *text;       /* text as given to the parser */
	size_t len;
	bool want_ok;
	unsigned line;
	char error[200];
	char dumps[16][256];
	unsigned ndumps;
};

static void expectation(struct section *s, const char *line, bool *in_entry)
{
	if (strcmp(line, "ok") == 0)
		s->want_ok = true;
	else if (strcmp(line, "in entry") == 0)
		*in_entry = true;
	else if (sscanf(line, "error %u: %199[^\n]", &s->line, s->error) == 2)
		s->want_ok = false;
	else if (strncmp(line, "dump ", 5) == 0 && s->ndumps < 16)
		snprintf(s->dumps[s->ndumps++], sizeof s->dumps[0], "%s", line + 5);
	else if (strncmp(line, "ptxas ", 6) != 0)
		test_result(s->name, "unknown expectation");
}

static void make_section(struct section *s, const char *file, const char *name, const char *text, size_t len)
{
	bool in_entry = false;
	char line[256];

	memset(s, 0, sizeof *s);
	snprintf(s->name, sizeof s->name, "%.60s.%.60s", file, name);
	for (const char *p = text, *end = text + len; p < end; ) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl ? nl : end) - p);
		if (n > 7 && n < sizeof line && memcmp(p, "// >>> ", 7) == 0) {
			memcpy(line, p + 7, n - 7);
			line[n - 7] = 0;
			expectation(s, line, &in_entry);
		}
		p = nl ? nl + 1 : end;
	}
	s->text = must(malloc(len + sizeof ENTRY_HEAD ENTRY_TAIL));
	if (in_entry)
		memcpy(s->text, ENTRY_HEAD, s->len = strlen(ENTRY_HEAD));
	memcpy(s->text + s->len, text, len);
	s->len += len;
	if (in_entry) {
		memcpy(s->text + s->len, ENTRY_TAIL, strlen(ENTRY_TAIL));
		s->len += strlen(ENTRY_TAIL);
	}
}

typedef void visit(const struct section *s, const char *arg);

static void each_section(const char *file, visit *fn, const char *arg)
{
	char path[512], base[64], name[64];
	struct section s;
	size_t len;
	char *text, *at, *next;

	snprintf(path, sizeof path, DIRECTORY "/%s", file);
	snprintf(base, sizeof base, "%.*s", (int)strcspn(file, "."), file);
	text = test_read(path, &len);
	for (at = strstr(text, "// --- "); at; at = next) {
		char *start = strchr(at, '\n');
		next = start ? strstr(start, "\n// --- ") : NULL;
		if (!start || sscanf(at, "// --- %63s", name) != 1) {
			test_result(file, "malformed section line");
			break;
		}
		start++;
		if (next)
			next++;
		make_section(&s, base, name, start, (size_t)((next ? next : text + len) - start));
		fn(&s, arg);
		free(s.text);
	}
	free(text);
}

static int is_test(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 4 && strcmp(d->d_name + n - 4, ".ptx") == 0;
}

static void every_section(visit *fn, const char *arg)
{
	struct dirent **list;
	int n = scandir(DIRECTORY, &list, is_test, alphasort);

	if (n <= 0)
		test_result("files", "no test files; run from the top of the tree");
	for (int i = 0; i < n; i++) {
		each_section(list[i]->d_name, fn, arg);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void run_ok(const struct section *s, const struct ptx_module *m)
{
	char reason[300], *first = dump(m), *at = first, *second;
	struct ptx_error err;
	struct ptx_module *again = parse(first, strlen(first), &err);

	if (!again) {
		snprintf(reason, sizeof reason, "its dump is refused at line %u: %s", err.line, err.text);
		test_result(s->name, reason);
		free(first);
		return;
	}
	second = dump(again);
	ptx_free(again);
	for (unsigned i = 0; i < s->ndumps && at; i++) {
		at = strstr(at, s->dumps[i]);
		if (!at) {
			snprintf(reason, sizeof reason, "dump lacks (in this place) %s", s->dumps[i]);
			test_result(s->name, reason);
		}
	}
	if (at)
		check(s->name, strcmp(first, second) == 0, "dump of the dump differs");
	free(first);
	free(second);
}

static void run(const struct section *s, const char *arg)
{
	struct ptx_error err;
	struct ptx_module *m = parse(s->text, s->len, &err);
	char reason[600];

	(void)arg;
	if (m && s->want_ok) {
		run_ok(s, m);
	} else if (m || s->want_ok || err.line != s->line || !strstr(err.text, s->error)) {
		snprintf(reason, sizeof reason, "expected %s %u: %s; got %s %u: %s", s->want_ok ? "ok" : "error",
			s->line, s->error, m ? "ok" : "error", err.line, err.text);
		test_result(s->name, reason);
	} else {
		test_result(s->name, NULL);
	}
	ptx_free(m);
	for (size_t cut = s->len > 3000 ? s->len - 3000 : 0; cut < s->len; cut += 1 + s->len / 400)
		ptx_free(parse(s->text, cut, &err));
}

static void write_file(const char *dir, const char *name, const char *suffix, const char *text, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s%s", dir, name, suffix);
	f = must(fopen(path, "wb"));
	if (fwrite(text, 1, len, f) != len || fclose(f) != 0)
		must(NULL);
}

static void extract(const struct section *s, const char *dir)
{
	struct ptx_error err;
	struct ptx_module *m = parse(s->text, s->len, &err);
	char *text;

	write_file(dir, s->name, ".ptx", s->text, s->len);
	if (m) {
		text = dump(m);
		write_file(dir, s->name, ".dump", text, strlen(text));
		free(text);
	}
	ptx_free(m);
}

/* --- texts made here ---------------------------------------------------------------------------- */

#define HEAD ".version 9.0\n.target sm_90\n.address_size 64\n"

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* `head`, then `unit` repeated `n` times, then `tail`. */
static char *repeated(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t h = strlen(head), u = strlen(unit), t = strlen(tail);
	char *text = must(malloc(h + n * u + t + 1));

	memcpy(text, head, h);
	for (size_t i = 0; i < n; i++)
		memcpy(text + h + i * u, unit, u);
	memcpy(text + h + n * u, tail, t + 1);
	return text;
}

/* The text must be refused with `error` (NULL: accepted) within a second per 4 MiB, sanitizers included. */
static void bomb(const char *name, const char *head, const char *unit, size_t n, const char *tail, const char *error)
{
	char *text = repeated(head, unit, n, tail), reason[400];
	size_t len = strlen(text);
	struct ptx_error err;
	double start = seconds(), limit = 2.0 + (double)len / (4 << 20) * 2.0;
	struct ptx_module *m = parse(text, len, &err);
	double took = seconds() - start;

	if (took > limit)
		snprintf(reason, sizeof reason, "took %.1f s for %zu bytes", took, len);
	else
		snprintf(reason, sizeof reason, "got %s line %u: %s", m ? "ok" : "error", err.line, err.text);
	check(name, took <= limit && (error ? !m && strstr(err.text, error) : m != NULL), reason);
	ptx_free(m);
	free(text);
}

static void bombs(void)
{
	const char *body = HEAD ".entry k() { .reg .pred %p; .reg .b32 %r<9>;\n", *end = "ret; }";

	bomb("bomb.blocks", body, "{", 1000000, end, "blocks nest deeper");
	bomb("bomb.blocks_in_a_row", body, "{}", 300000, end, NULL);
	bomb("bomb.parentheses", HEAD ".global .u32 a = ", "(", 1000000, "1;", "nests deeper");
	bomb("bomb.unary", HEAD ".global .u32 a = ", "- ", 1000000, "1;", "nests deeper");
	bomb("bomb.casts", HEAD ".global .u32 a = ", "(.s64)", 1000000, "1;", "nests deeper");
	bomb("bomb.conditionals", HEAD ".global .u32 a = ", "1?", 1000000, "1;", "nests deeper");
	bomb("bomb.braces", HEAD ".global .u32 a[2] = ", "{", 1000000, "1;", "constant expected");
	bomb("bomb.sections", HEAD ".section .debug_str ", "{", 1000000, "", "section without an end");
	bomb("bomb.long_sum", HEAD ".global .u32 a = 1", "+1", 500000, ";", NULL);
	bomb("bomb.ranges", body, ".reg .b32 %x<200000>;", 2, end, "duplicate definition");
	bomb("bomb.range_scopes", body, "{ .reg .b32 %x<200000>; }", 2, end, "more than 262144 registers");
	bomb("bomb.range_entries", HEAD,
		".func f; .entry k() { .reg .b64 %x<260000>; ret; } .global .u32 y<2>;", 1, "", NULL);
	bomb("bomb.numbered", HEAD, ".global .u32 y<60000>;", 1, ".global .u32 z<60000>;", "too many numbered");
	bomb("bomb.long_name", HEAD ".entry ", "x", 1000000, "() { ret; }", "name exceeds");
	bomb("bomb.digits", body, "{ .reg .b32 %x<2>; mov.b32 %x00000000000000000000001, 1; }", 20000, end, NULL);
	bomb("bomb.labels", body, "{ L: bra L; }", 100000, end, NULL);
	bomb("bomb.far_label", body, "@%p bra END; ", 100000, "END: ret; }", NULL);
	bomb("bomb.deep_label", body, "@%p bra END; {", 60,
		"}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}} END: ret; }", NULL);
	bomb("bomb.operands", body, "add.s32 %r1, %r2, %r3; ", 100000, end, NULL);
	bomb("bomb.operand_count", HEAD ".entry k() { .reg .b32 %r<9>; add.s32 %r1", ", %r1", 100, "; }",
		"more than 64 operands");
	bomb("bomb.vector_count", HEAD ".entry k() { .reg .b32 %r<9>; mov.b32 {%r1", ", %r1", 200, "}, %r1; }",
		"vector of more than 128");
	bomb("bomb.suffixes", HEAD ".entry k() { add", ".rn", 100, "; }", "more than 16 suffixes");
	bomb("bomb.array", HEAD ".global .u8 a[] = {1", ",1", 400000, "};", NULL);
	bomb("bomb.dimensions", HEAD ".global .u8 a", "[2]", 100, ";", "more than 8 dimensions");
	bomb("bomb.huge_dimensions", HEAD ".global .u64 a", "[1000000000]", 4, ";", "exceeds 1073741824 bytes");
	bomb("bomb.comment", HEAD "/*", "*", 1000000, "", "comment without an end");
	bomb("bomb.files", HEAD, ".file 65535 \"x\"\n", 10000, "", NULL);
	bomb("bomb.parameters", HEAD ".entry k(.param .u8 a", ", .param .u64 _", 50000, ") { ret; }", NULL);
	bomb("bomb.functions", HEAD, ".func f (.param .u8 a);", 50000, "", NULL);
}

/* Fresh names by the hundred thousand: lookups must not slow down. */
static void names(void)
{
	size_t n = 200000;
	char *text = must(malloc(n * 60 + 200)), *p = text;
	struct ptx_error err;
	double start;
	struct ptx_module *m;

	p += sprintf(p, HEAD ".entry k() {\n");
	for (size_t i = 0; i < n; i++)
		p += sprintf(p, ".reg .b32 x%zx; mov.b32 x%zx, 1;\n", i * 7919, i * 7919);
	p += sprintf(p, "ret; }\n");
	start = seconds();
	m = parse(text, (size_t)(p - text), &err);
	check("names.many", m && m->funcs[0]->nregs == n && seconds() - start < 8, m ? "too slow" : err.text);
	ptx_free(m);
	free(text);
}

/* --- memory that runs out ------------------------------------------------------------------------- */

static unsigned long fail_at;  /* counts down allocations; the one that reaches 0 fails */

void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

/* The linker sends the parser's allocations here (-Wl,--wrap). */
void *__wrap_calloc(size_t n, size_t size)
{
	return fail_at && --fail_at == 0 ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fail_at && --fail_at == 0 ? NULL : __real_realloc(p, size);
}

/* Every single allocation of a parse fails once: it must end in a module or in the message, and leak nothing. */
static void faults(void)
{
	char *text = repeated(HEAD ".global .u8 a[3] = {1, 2, 3};\n.func f;\n.entry k(.param .u64 P) {\n",
		"{ .reg .b32 %r<9>; .param .b32 q; .local .b32 v; .pragma \"nounroll\"; L: t: .branchtargets L; "
		"brx.idx %r1, t; mov.b32 %r2, {1, 2, 3, 4}; call f; }\n", 500, "ret; }");
	unsigned long n = 1, refused = 0, left = 0;
	struct ptx_error err;
	bool good = true;

	for (; left == 0 && n < 10000; n++) {
		struct ptx_module *m;
		fail_at = n;
		m = ptx_parse(text, strlen(text), &err);
		left = fail_at;
		fail_at = 0;
		refused += !m;
		good &= m || strcmp(err.text, "out of memory") == 0;
		ptx_free(m);
	}
	check("faults.allocation", good && left && refused > 20, "a failed allocation is not reported");
	free(text);
}

/* --- the IR itself ------------------------------------------------------------------------------- */

static struct ptx_module *must_parse(const char *name, const char *text)
{
	struct ptx_error err;
	struct ptx_module *m = parse(text, strlen(text), &err);

	if (!m)
		test_result(name, err.text);
	return m;
}

static void ir_layout(void)
{
	struct ptx_module *m = must_parse("ir.layout", HEAD
		".entry k(.param .u8 a, .param .align 16 .b8 b[20], .param .u16 c,"
		" .param .u64 .ptr .global .align 32 d) { ret; }");
	const struct ptx_func *f = m ? m->funcs[0] : NULL;

	if (!m)
		return;
	check("ir.layout", f->nparams == 4 && f->params[0].offset == 0 && f->params[1].offset == 16 &&
		f->params[1].size == 20 && f->params[2].offset == 36 && f->params[3].offset == 40 &&
		f->param_bytes == 48 && f->params[3].ptr_space == PTX_GLOBAL &&
		f->params[3].ptr_align == 32, "wrong offsets");
	ptx_free(m);
}

static void ir_instruction(void)
{
	struct ptx_module *m = must_parse("ir.instruction", HEAD
		".func (.param .b32 r) g(.param .b32 a);\n"
		".entry k(.param .u64 P) { .reg .pred %p<2>; .reg .b32 %r<5>; .reg .b64 %rd<3>; .reg .v2 .f32 %v;\n"
		"@!%p1 ld.global.v2.f32 %v, [%rd1+-8];\n"
		"cvt.rzi.s32.f32 %r1, %v.y;\n"
		"{ .param .b32 x; .param .b32 y; .reg .b32 %r<3>; call (y), g, (x); mov.b32 %r1, 5; }\n"
		"mov.b32 %r1, 6; }");
	const struct ptx_inst *in = m ? m->funcs[1]->insts : NULL;

	if (!m)
		return;
	check("ir.load", in[0].op == PTX_OP_ld && in[0].has_pred && in[0].pred_neg && in[0].space == PTX_GLOBAL &&
		in[0].vec == 2 && in[0].type == PTX_T_F32 && in[0].nmods == 3 && in[0].line == 6 && in[0].nops == 2 &&
		in[0].ops[0].kind == PTX_O_VEC && in[0].ops[0].nlist == 2 && in[0].ops[1].kind == PTX_O_ADDR &&
		in[0].ops[1].base == PTX_O_REG && in[0].ops[1].off == -8, "wrong load");
	check("ir.element", in[1].type0 == PTX_T_S32 && in[1].type == PTX_T_F32 &&
		in[1].ops[1].u.reg == in[0].ops[0].list[1].u.reg, "wrong element");
	check("ir.call", in[2].op == PTX_OP_call && in[2].nops == 3 && in[2].ops[1].u.func == m->funcs[0] &&
		in[2].ops[2].list[0].u.param == &m->funcs[1]->body_params[0] &&
		in[2].ops[0].list[0].u.param == &m->funcs[1]->body_params[1], "wrong call");
	check("ir.shadow", in[3].ops[0].u.reg != in[4].ops[0].u.reg && in[4].ops[0].u.reg == in[1].ops[0].u.reg,
		"an inner range does not shadow");
	check("ir.names", ptx_intern(m, "%r1") == m->funcs[1]->regs[in[4].ops[0].u.reg].name, "names are not interned");
	ptx_free(m);
}

static void ir_tables(void)
{
	bool good = true;

	for (unsigned i = 1; i < PTX_MOD_COUNT; i++) {
		enum ptx_type t = ptx_mod_type((enum ptx_mod)i);
		good &= t == PTX_T_NONE || strcmp(ptx_type_name(t), ptx_mod_name((enum ptx_mod)i)) == 0;
		good &= ptx_mod_name((enum ptx_mod)i)[0] != 0;
	}
	for (unsigned t = 1; t < PTX_T_COUNT; t++)
		good &= ptx_type_name((enum ptx_type)t)[0] != 0;
	good &= ptx_type_bytes(PTX_T_B128) == 16 && ptx_type_bytes(PTX_T_PRED) == 1;
	good &= ptx_type_bytes(PTX_T_TEXREF) == 0;
	good &= ptx_sreg_type(PTX_SR_clock64) == PTX_T_U64 && strcmp(ptx_sreg_name(PTX_SR_tid_x), "%tid.x") == 0;
	check("ir.tables", good, "names and types disagree");
}

static int dump_file(const char *path)
{
	struct ptx_error err;
	size_t len;
	char *text = test_read(path, &len);
	struct ptx_module *m = parse(text, len, &err);

	free(text);
	if (!m) {
		fprintf(stderr, "%s:%u: %s\n", path, err.line, err.text);
		return 1;
	}
	ptx_dump(m, stdout);
	ptx_free(m);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--dump") == 0)
		return dump_file(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--extract") == 0) {
		every_section(extract, argv[2]);
		return test_failures != 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	every_section(run, NULL);
	ir_tables();
	ir_layout();
	ir_instruction();
	bombs();
	names();
	faults();
	return test_failures != 0;
}
