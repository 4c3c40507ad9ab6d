/* cli.c - `agileos guard`: the rewriter and the verifier as a command, in this process, for people who trust their
 * input.
 *   agileos guard IN.ptx [MORE.ptx] -o OUT.ptx [--wide] [--no-report] [--no-poll] [--no-scrub] [--meet]
 *   [--gate NAME:RET(PARAMS)]... [--compose] [--dump STAGE]
 *   agileos guard --verify [--wide] [--no-scrub] [--meet] [--gate ...] OUT.ptx
 * STAGE: what a pass made, on standard output: parse link place inline prune relocate define space print.
 * RET and PARAMS: b32 b64 f32 f64, void for no result.  Exit: 0 accepted, 3 refused (`file:line: reason` on stderr), 1
 * usage or input/output. */
#include "guard/helper.h"
#include "guard/ptx_dump.h"
#include "guard/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_REFUSED = 3, MAX_PIECES = 256, MAX_GATES = 64 };

struct cli {
	struct guard_input in[MAX_PIECES];
	uint32_t n;
	struct guard_gate gate[MAX_GATES];
	struct guard_options opt;
	const char *out, *dump;
	bool verify, compose;
};

static int usage(void)
{
	fprintf(stderr, "usage: agileos guard IN.ptx [MORE.ptx] -o OUT.ptx [--wide] [--no-report] "
		"[--no-poll] [--no-scrub] [--meet] [--gate NAME:RET(PARAMS)] [--compose] [--dump STAGE]\n"
		"       agileos guard --verify [--wide] [--no-scrub] [--meet] [--gate ...] OUT.ptx\n");
	return 1;
}

static bool read_whole(const char *path, struct guard_input *in)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	char *text = NULL;
	size_t len = 0, cap = 0, n;
	if (!f)
		return false;
	do {
		if (cap - len < 65536) {
			char *more = realloc(text, cap = cap * 2 + 131072);
			if (!more)
				break;
			text = more;
		}
		len += n = fread(text + len, 1, cap - len - 1, f);
	} while (n);
	bool ok = !ferror(f) && feof(f);
	if (f != stdin)
		fclose(f);
	if (!ok)
		return free(text), false;
	text[len] = 0;
	*in = (struct guard_input){ text, len, path };
	return true;
}

static uint8_t gate_type(const char *s, size_t n)
{
	static const struct { const char *name; uint8_t type; } rows[] = {
		{ "b32", PTX_T_B32 }, { "b64", PTX_T_B64 }, { "f32", PTX_T_F32 }, { "f64", PTX_T_F64 },
		{ "void", PTX_T_NONE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strlen(rows[i].name) == n && !memcmp(rows[i].name, s, n))
			return rows[i].type;
	return PTX_T_COUNT;
}

/* NAME:RET(PARAMS); the argument is cut up in place. */
static bool gate_spec(char *s, struct guard_gate *g)
{
	char *colon = strchr(s, ':'), *open = colon ? strchr(colon, '(') : NULL, *close = open ? strchr(open, ')') :
		NULL;
	if (!close || close[1])
		return false;
	*colon = 0;
	*g = (struct guard_gate){ .name = s, .ret = gate_type(colon + 1, (size_t)(open - colon - 1)) };
	for (char *p = open + 1; p < close;) {
		size_t n = strcspn(p, ",)");
		if (g->nparams == sizeof g->params)
			return false;
		uint8_t type = gate_type(p, n);
		if (type == PTX_T_COUNT || type == PTX_T_NONE)
			return false;
		g->params[g->nparams++] = type;
		p += n + 1;
	}
	return g->ret != PTX_T_COUNT;
}

static int parse_args(struct cli *c, int argc, char **argv)
{
	c->opt = (struct guard_options){ .report = true, .fence = true, .poll = true, .scrub = true, .target_sm = 90,
		.gates = c->gate };
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		bool has_value = !strcmp(a, "-o") || !strcmp(a, "--gate") || !strcmp(a, "--dump");
		if (has_value && ++i == argc)
			return usage();
		if (!strcmp(a, "-o"))
			c->out = argv[i];
		else if (!strcmp(a, "--dump"))
			c->dump = argv[i];
		else if (!strcmp(a, "--gate")) {
			if (c->opt.ngates == MAX_GATES || !gate_spec(argv[i], &c->gate[c->opt.ngates++]))
				return usage();
		} else if (!strcmp(a, "--wide"))
			c->opt.wide = true;
		else if (!strcmp(a, "--no-report"))
			c->opt.report = false;
		else if (!strcmp(a, "--meet"))
			c->opt.meet = true;
		else if (!strcmp(a, "--no-poll"))
			c->opt.poll = false;
		else if (!strcmp(a, "--no-scrub"))
			c->opt.scrub = false;
		else if (!strcmp(a, "--verify"))
			c->verify = true;
		else if (!strcmp(a, "--compose"))
			c->compose = true;
		else if (a[0] == '-' && a[1])
			return usage();
		else if (c->n == MAX_PIECES)
			return usage();
		else if (!read_whole(a, &c->in[c->n++])) {
			fprintf(stderr, "agileos guard: %s: %s\n", a, strerror(errno));
			return 1;
		}
	}
	return c->n && (c->verify ? c->n == 1 && !c->out : c->out || c->dump) ? 0 : usage();
}

static int judge(const struct cli *c, const char *label, const char *text, size_t len)
{
	struct verify_options vopt = { .wide = c->opt.wide, .scrub = c->opt.scrub,
		.meet = c->opt.meet };
	struct verify_gate gates[MAX_GATES];
	struct guard_verdict v;
	for (uint32_t i = 0; i < c->opt.ngates; i++) {
		const struct guard_gate *g = &c->gate[i];
		gates[i] = (struct verify_gate){ .name = g->name, .nparams = g->nparams, .ret_bytes = g->ret ?
			(uint8_t)ptx_type_bytes(g->ret) : 0 };
		for (uint32_t k = 0; k < g->nparams; k++)
			gates[i].param_bytes[k] = (uint8_t)ptx_type_bytes(g->params[k]);
	}
	int rc = verify(text, len, &vopt, gates, c->opt.ngates, &v);
	if (rc)
		fprintf(stderr, "%s:%u: %s\n", label, v.line, v.reason);
	verify_free(&v);
	return rc ? EXIT_REFUSED : 0;
}

static bool write_whole(const char *path, const char *text, size_t len)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "wb") : stdout;
	bool ok = f && fwrite(text, 1, len, f) == len;
	if (f && (f == stdout ? fflush(f) : fclose(f)))
		ok = false;
	if (!ok)
		fprintf(stderr, "agileos guard: %s: %s\n", path, strerror(errno));
	return ok;
}

static int dump_parsed(const struct cli *c)
{
	struct ptx_error err = { 0 };
	for (uint32_t i = 0; i < c->n; i++) {
		struct ptx_module *m = ptx_parse(c->in[i].text, c->in[i].len, &err);
		if (!m) {
			fprintf(stderr, "%s:%u: %s\n", c->in[i].label, err.line, err.text);
			return EXIT_REFUSED;
		}
		ptx_dump(m, stdout);
		ptx_free(m);
	}
	return 0;
}

/* What the pass made is out even when a later one refuses. */
static int dump(struct cli *c)
{
	struct guard_result r;
	struct ptx_error err = { 0 };
	uint32_t piece = 0;
	if (!guard_is_stage(c->dump))
		return usage();
	if (!strcmp(c->dump, "parse"))
		return dump_parsed(c);
	c->opt.dump = stdout;
	c->opt.dump_stage = c->dump;
	if (guard_rewrite(c->in, c->n, &c->opt, &r, &err, &piece)) {
		fprintf(stderr, "%s:%u: %s\n", c->in[piece < c->n ? piece : 0].label, err.line, err.text);
		return EXIT_REFUSED;
	}
	bool ok = strcmp(c->dump, "print") || write_whole("-", r.text, r.text_len);
	guard_result_free(&r);
	return ok ? 0 : 1;
}

/* The output is written even when the verifier then refuses it (under no promise), so that the rewriter's mistake can
 * be looked at. */
static int rewrite(const struct cli *c)
{
	struct guard_result r;
	struct ptx_error err = { 0 };
	uint32_t piece = 0;
	if (guard_rewrite(c->in, c->n, &c->opt, &r, &err, &piece)) {
		fprintf(stderr, "%s:%u: %s\n", c->in[piece < c->n ? piece : 0].label, err.line, err.text);
		return EXIT_REFUSED;
	}
	size_t len = r.text_len;
	char *composed = c->compose ? guard_compose(r.text, r.text_len, c->opt.target_sm, NULL, 0, &len) : NULL;
	int rc = (!c->compose || composed) && write_whole(c->out, composed ? composed : r.text, len) ? 0 : 1;
	if (rc == 0)
		rc = judge(c, c->out, r.text, r.text_len);
	free(composed);
	guard_result_free(&r);
	return rc;
}

int guard_cli(int argc, char **argv)
{
	struct cli *c = calloc(1, sizeof *c);
	int rc = c ? parse_args(c, argc, argv) : 1;
	if (c && rc == 0)
		rc = c->dump ? dump(c) : c->verify ? judge(c, c->in[0].label, c->in[0].text, c->in[0].len) : rewrite(c);
	for (uint32_t i = 0; c && i < c->n; i++)
		free((char *)c->in[i].text);
	free(c);
	return rc;
}
