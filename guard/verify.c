/* verify.c - the judge: reads guarded PTX line by line and refuses whatever is not known to be harmless.  This file:
 * the module and the heads of kernels; verify_ctl.c: statements and control flow; verify_stmt.c: operands and opcodes;
 * verify_form.c: fences; verify_scrub.c: what is cleared first.
 *
 * It relies on its own files, on allow.def (what is accepted, as data), and on PTX's meaning.  The rewriter is not
 * trusted: a text made by hand that is accepted here must be as safe as one that it made.
 *
 * Why an accepted text is safe:
 *   - A register %g... has the forms of definition that allow.def lists, never predicated.  So whatever path control
 *     took, once written it holds a value of its class: %ga<W> an aligned address in the window, %gs<W> one that
 *     leaves its footprint of shared memory, and so on. A use needs a definition above it with no label between, or
 *     one in the entry block, so that it has been written.
 *   - A memory operand is such a register, of the class of its space, at least as wide as the access, with an offset
 *     that stays within the footprint (behind a window lie GUARD_SLACK bytes of the client's); or a declared object
 *     with a literal offset inside it.
 *   - A loop has a branch that goes backward in the text; each is directly preceded by a poll, or ends a strip, which
 *     has so many rounds and no more, or is one of the two that clear memory.  Polls are indivisible, their counter
 *     is written nowhere else, and after $Lkill no branch goes backward: the kill flag ends every thread.
 *   - All else is arithmetic on ordinary registers, from a list of opcodes that cannot fault, each written before it
 *     is read.
 *   - When asked for: a kernel clears all the shared and local memory that it can reach before anything else, in a
 *     text that is read word for word (verify_scrub.c).
 *   - With the option `meet`, no thread waits in hardware for one that may never come: verify_meet.c.
 * What it does not promise without: that barriers and warp-synchronous instructions are reached by all the threads they
 * wait for.
 * What it asks of others: the worker keeps the launch contract (guard.h), trusted functions (FUNC, gates) take
 * hostile arguments and fence pointers themselves; ptxas judges types that do not matter here.
 *
 * The text, in order: three header lines, ag_desc, declarations of functions, the marker, ag_const, ag_dyn, kernels.
 * guard.h, THE FENCED FORM, shows it whole.  One statement a line, no comments, names made of fixed letters and
 * numbers. */
#include "verify_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *name, *result, *params; } func_rows[] = {
#define FUNC(n, r, p) { n, r, p },
#include "allow.def"
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

bool refuse(struct verifier *v, const char *fmt, ...)
{
	va_list ap;
	if (v->out->reason[0])
		return false;
	va_start(ap, fmt);
	vsnprintf(v->out->reason, sizeof v->out->reason, fmt, ap);
	va_end(ap);
	v->out->line = v->lex.line;
	return false;
}

bool no_memory(struct verifier *v)
{
	return refuse(v, "out of memory");
}

bool next_line(struct verifier *v)
{
	return vlex_line(&v->lex) || refuse(v, "%s", v->lex.bad ? v->lex.bad : "the text ends too early");
}

bool expect(struct verifier *v, char c)
{
	return vlex_char(&v->lex, c) || refuse(v, "expected '%c'", c);
}

bool expect_word(struct verifier *v, const char *s)
{
	struct vword w;
	return (vlex_word(&v->lex, &w) && vword_is(w, s)) || refuse(v, "expected '%s'", s);
}

bool expect_end(struct verifier *v)
{
	return vlex_end(&v->lex) || refuse(v, "more than one statement in a line");
}

bool expect_uint(struct verifier *v, uint64_t max, uint64_t *value)
{
	struct vword w;
	return (vlex_word(&v->lex, &w) && vword_uint(w, value) && *value <= max) ||
	       refuse(v, "expected a number up to %llu", (unsigned long long)max);
}

/* --- kernels --------------------------------------------------------------------------------- */

/* .param .b64 p0,   or   .param .align 8 .b8 p1[24]   ; the hidden one is pc, a .b64 and the last. */
static bool kernel_param(struct verifier *v, bool *more)
{
	struct vword w, name;
	uint64_t bytes, align;
	char want[16];
	snprintf(want, sizeof want, "p%u", v->nparams);
	if (!expect_word(v, ".param") || !vlex_word(&v->lex, &w))
		return refuse(v, "bad parameter");
	if (vword_is(w, ".align")) {
		if (!expect_uint(v, 256, &align) || !align || (align & (align - 1)) || !expect_word(v, ".b8") ||
			!vlex_word(&v->lex, &name) ||
		    !expect(v, '[') || !expect_uint(v, VMAX_PARAMS, &bytes) || !expect(v, ']') || !bytes)
			return refuse(v, "bad parameter");
	} else {
		bytes = align = vword_is(w, ".b8") ? 1 : vword_is(w, ".b16") ? 2 : vword_is(w, ".b32") ? 4 :
			vword_is(w, ".b64") ? 8 : 0;
		if (!bytes || !vlex_word(&v->lex, &name))
			return refuse(v, "bad parameter");
	}
	*more = vlex_char(&v->lex, ',');
	v->k.hidden_coop = vword_is(name, "pc") && !*more && bytes == 8 && align == 8;
	if (!expect_end(v) || (!v->k.hidden_coop && !vword_is(name, want)))
		return refuse(v, "expected parameter '%s'", want);
	uint64_t offset = (v->k.param_bytes + align - 1) & ~(align - 1);
	if (v->nparams == VMAX_NPARAMS || offset + bytes > VMAX_PARAMS)
		return refuse(v, "too many parameters");
	if (!vgrow(&v->params, v->nparams, &v->cap_params, sizeof *v->params))
		return no_memory(v);
	v->params[v->nparams++] = (struct vparam){ (uint32_t)bytes, (uint32_t)align, (uint32_t)offset };
	v->k.param_bytes = (uint32_t)(offset + bytes);
	return true;
}

/* .maxntid 256, 1, 1 and its kin, each at most once and in this order. */
static bool tuning(struct verifier *v, uint32_t *row)
{
	static const struct { const char *name; uint32_t n; uint64_t max;
	} rows[] = {
		{ ".maxntid", 3, VMAX_THREADS },
		{ ".reqntid", 3, VMAX_THREADS },
		{ ".minnctapersm", 1, 64 },
		{ ".maxnreg", 1, 255 },
		{ ".explicitcluster", 0, 1 },
		{ ".reqnctapercluster", 3, VMAX_CLUSTER },
		{ ".maxclusterrank", 1, VMAX_CLUSTER },
	};
	struct vword w;
	uint64_t n, product = 1;
	if (!vlex_word(&v->lex, &w))
		return refuse(v, "bad directive");
	while (*row < COUNT(rows) && !vword_is(w, rows[*row].name))
		++*row;
	if (*row == COUNT(rows))
		return refuse(v, "'%.*s' is not allowed here", WORD(w));
	for (uint32_t i = 0; i < rows[*row].n; i++) {
		if (i && !vlex_char(&v->lex, ','))
			break;
		if (!expect_uint(v, rows[*row].max, &n) || !n)
			return refuse(v, "bad number");
		product *= n;
	}
	if (rows[*row].n == 3 && rows[*row].max == VMAX_THREADS && product < v->threads)
		v->threads = (uint32_t)product;
	if (product > rows[(*row)++].max)
		return refuse(v, "bad number of threads");
	return expect_end(v);
}

static void forget_kernel(struct verifier *v)
{
	vflow_reset(&v->flow);
	v->k = (struct verify_kernel){ 0 };
	v->shared = v->local = (struct vobject){ .align = 0 };
	v->nranges = v->nregs = v->nparams = v->nlabels = v->ntargets = v->ntables = 0;
	v->segment = 1;
	v->carry = 0;
	v->naps = 0;
	v->began = v->polled = v->ended = v->killed = false;
	v->peers = v->peers_ready = v->cluster_used = v->waited = v->bare_ret = false;
	v->joins_all = v->joins_here = false;
	v->past_entry = v->has_size = v->scrubbed = v->scrubbed_size = false;
	v->met = true;
	v->meets = v->meet_ready = v->left = v->bare_leave = v->block_waits = v->cluster_waits = false;
	v->checks = v->kind = v->nkinds = 0;
	v->threads = VMAX_THREADS;
	v->counted = v->was_counted = 0;
	v->strip.open = false;
}

/* .visible .entry was read. */
static bool kernel_head(struct verifier *v)
{
	struct vword w;
	uint64_t index;
	bool more = true;
	uint32_t row = 0;
	if (!vlex_word(&v->lex, &w) || w.n < 2 || w.s[0] != 'k' ||
		!vword_uint((struct vword){ w.s + 1, w.n - 1 }, &index) ||
	    index >= VERIFY_MAX_KERNELS)
		return refuse(v, "a kernel is named k<N>");
	if (v->kernel_seen[index]++)
		return refuse(v, "'%.*s' is declared twice", WORD(w));
	v->k.index = (uint32_t)index;
	if (!expect(v, '('))
		return false;
	if (!vlex_char(&v->lex, ')')) {
		if (!expect_end(v) || !next_line(v))
			return false;
		while (vlex_peek(&v->lex) != ')')
			if (!more || !kernel_param(v, &more) || !next_line(v))
				return refuse(v, "bad list of parameters");
		if ((more && v->nparams) || !expect(v, ')'))
			return refuse(v, "bad list of parameters");
	}
	if (!expect_end(v) || !next_line(v))
		return false;
	while (vlex_peek(&v->lex) == '.')
		if (!tuning(v, &row) || !next_line(v))
			return false;
	return vlex_is(&v->lex, "{") || refuse(v, "expected '{'");
}

static bool kernel(struct verifier *v)
{
	struct guard_verdict *out = v->out;
	forget_kernel(v);
	if (!kernel_head(v) || !vflow_block(&v->flow))
		return no_memory(v);
	for (;;) {
		if (!next_line(v))
			return false;
		if (vlex_is(&v->lex, "}"))
			break;
		if (!statement(v))
			return false;
	}
	if (!end_kernel(v))
		return false;
	v->k.static_shared = v->shared.bytes;
	v->k.shared_head = shared_from(v);
	if (v->k.uses_dyn_shared && !v->shared.align && v->k.min_dyn_shared < 32)
		v->k.min_dyn_shared = 32;
	if (!vgrow(&out->kernels, out->nkernels, &v->cap_kernels, sizeof *out->kernels))
		return no_memory(v);
	out->kernels[out->nkernels++] = v->k;
	return true;
}

/* --- the module ------------------------------------------------------------------------------ */

static bool fixed_line(struct verifier *v, const char *s)
{
	return next_line(v) && (vlex_is(&v->lex, s) || refuse(v, "expected %s", s));
}

/* .extern .func (.param .b32 r) name (.param .b64 a0, .param .b32 a1); must be one of those known, once. */
static bool function(struct verifier *v)
{
	char want[VMAX_CALL_ARGS * 20 + 160];
	for (uint32_t i = 0; i < v->nfuncs; i++) {
		struct vfunc *f = &v->funcs[i];
		int n = snprintf(want, sizeof want, ".extern .func %s%s (", f->result == 'v' ? "" : f->result == 'l' ?
			"(.param .b64 r) " :
				 "(.param .b32 r) ", f->name);
		for (uint32_t k = 0; f->params[k]; k++)
			n += snprintf(want + n, sizeof want - (size_t)n, "%s.param .b%d a%u", k ? ", " : "",
			f->params[k] == 'l' ? 64 : 32, k);
		snprintf(want + n, sizeof want - (size_t)n, ");");
		if (!f->declared && vlex_is(&v->lex, want))
			return f->declared = true;
	}
	return refuse(v, "not the declaration of a known function, once");
}

static bool version_line(struct verifier *v, const char *directive, const char *prefix)
{
	struct vword w;
	if (!next_line(v) || !expect_word(v, directive) || !vlex_word(&v->lex, &w) || w.n < strlen(prefix) + 1 ||
		w.n > 8 ||
	    memcmp(w.s, prefix, strlen(prefix)) || !expect_end(v))
		return refuse(v, "bad %s", directive);
	return true;
}

static bool header(struct verifier *v)
{
	if (!version_line(v, ".version", "") || !version_line(v, ".target", "sm_") ||
		!fixed_line(v, ".address_size 64") ||
	    !fixed_line(v, ".extern .const .align 16 .b8 ag_desc[128];"))
		return false;
	for (;;) {
		if (!next_line(v))
			return false;
		if (vlex_is(&v->lex, "// agileos: body"))
			return true;
		if (!function(v))
			return false;
	}
}

/* .const .align 64 .b8 ag_const[S]; or .extern .shared .align 16 .b8 ag_dyn[]; with the first word read. */
static bool module_object(struct verifier *v, const char *name, uint32_t max, struct vobject *o)
{
	uint64_t align, bytes = 0;
	if (!expect_word(v, ".align") || !expect_uint(v, 1024, &align) || !expect_word(v, ".b8") ||
		!expect_word(v, name) || !expect(v, '[') ||
	    (max && (!expect_uint(v, max, &bytes) || !bytes)) || !expect(v, ']') || !expect(v, ';') || !expect_end(v))
		return refuse(v, "bad declaration of '%s'", name);
	if (v->out->nkernels || o->align || align < 16 || (align & (align - 1)))
		return refuse(v, "bad declaration of '%s'", name);
	*o = (struct vobject){ .bytes = (uint32_t)bytes, .align = (uint32_t)align };
	snprintf(o->name, sizeof o->name, "%s", name);
	return true;
}

static bool module(struct verifier *v)
{
	struct vword w;
	if (!header(v))
		return false;
	while (vlex_line(&v->lex)) {
		bool ok;
		if (!vlex_word(&v->lex, &w))
			return refuse(v, "not a declaration");
		if (vword_is(w, ".const"))
			ok = module_object(v, "ag_const", VMAX_CONST, &v->cbank);
		else if (vword_is(w, ".extern"))
			ok = expect_word(v, ".shared") && module_object(v, "ag_dyn", 0, &v->dyn);
		else if (vword_is(w, ".visible"))
			ok = expect_word(v, ".entry") && kernel(v);
		else
			ok = refuse(v, "'%.*s' is not allowed here", WORD(w));
		if (!ok)
			return false;
	}
	v->out->const_bytes = v->cbank.bytes;
	return !v->lex.bad || refuse(v, "%s", v->lex.bad);
}

/* The functions that may be declared: the runtime's and the gates, whose names the text carries as gate_<name>. */
static bool known_functions(struct verifier *v, const struct verify_gate *gates, uint32_t ngates)
{
	v->funcs = calloc(COUNT(func_rows) + ngates, sizeof *v->funcs);
	if (!v->funcs)
		return no_memory(v);
	for (size_t i = 0; i < COUNT(func_rows); i++) {
		struct vfunc *f = &v->funcs[v->nfuncs++];
		snprintf(f->name, sizeof f->name, "%s", func_rows[i].name);
		snprintf(f->params, sizeof f->params, "%s", func_rows[i].params);
		f->result = func_rows[i].result[0];
	}
	for (uint32_t i = 0; i < ngates; i++) {
		const struct verify_gate *g = &gates[i];
		struct vfunc *f = &v->funcs[v->nfuncs++];
		if (g->nparams > VMAX_CALL_ARGS || (size_t)snprintf(f->name, sizeof f->name, "gate_%s", g->name) >=
			sizeof f->name ||
		    (g->ret_bytes && g->ret_bytes != 4 && g->ret_bytes != 8))
			return refuse(v, "bad description of a gate");
		f->result = g->ret_bytes == 8 ? 'l' : g->ret_bytes == 4 ? 'w' : 'v';
		for (uint32_t k = 0; k < g->nparams; k++) {
			if (g->param_bytes[k] != 4 && g->param_bytes[k] != 8)
				return refuse(v, "bad description of a gate");
			f->params[k] = g->param_bytes[k] == 8 ? 'l' : 'w';
		}
	}
	return true;
}

static int by_index(const void *a, const void *b)
{
	const struct verify_kernel *x = a, *y = b;
	return x->index < y->index ? -1 : x->index > y->index;
}

static void release(struct verifier *v)
{
	vflow_free(&v->flow);
	free(v->funcs);
	free(v->kernel_seen);
	free(v->fact);
	free(v->params);
	free(v->labels);
	free(v->target);
	free(v->tables);
	free(v);
}

int verify(const char *text, size_t len, const struct verify_options *opt, const struct verify_gate *gates,
	uint32_t ngates, struct guard_verdict *out)
{
	struct verifier *v = calloc(1, sizeof *v);
	memset(out, 0, sizeof *out);
	if (!v) {
		snprintf(out->reason, sizeof out->reason, "out of memory");
		return -1;
	}
	v->out = out;
	v->wide = opt->wide;
	v->meet = opt->meet;
	v->scrub = opt->scrub;
	v->lex = (struct vlex){ .p = text, .end = text + len };
	if (len > VMAX_TEXT)
		refuse(v, "text too large");
	else if (!(v->kernel_seen = calloc(VERIFY_MAX_KERNELS, 1)))
		no_memory(v);
	else
		out->ok = known_functions(v, gates, ngates) && module(v);
	release(v);
	if (!out->ok) {
		verify_free(out);
		return -1;
	}
	if (out->nkernels)
		qsort(out->kernels, out->nkernels, sizeof *out->kernels, by_index);
	return 0;
}

void verify_free(struct guard_verdict *v)
{
	free(v->kernels);
	v->kernels = NULL;
	v->nkernels = 0;
}
