/* attack_test.c - every attack of tests/guard/attack/, on softgpu's processor: unguarded it must succeed, guarded it
 * must not.
 *
 * A file is one kernel `attack(.u64 victim, .u64 own, .u64 distance)`, distance = victim - own, and says in its first
 * lines:
 *   // >>> what it does
 *   // >>> victim neighbour|below|next|service|records|kill|desc       whose memory; next: just past the slack of a
 *   narrow window
 *   // >>> launch GRID BLOCK SHARED                                     default 1 32 0
 *   // >>> unguarded reads|writes|fault CODE|hangs|refused|nothing      what it gets without the guard (refused:
 *   softgpu's loader will not have it;
 *                                                                       nothing: no effect that can be seen here, only
 *                                                                       on a GPU)
 *                                                                       deadlocks: threads wait in hardware for ever;
 *                                                                       guarded so that the kill flag ends it, with the
 *                                                                       option meet
 *   // >>> guarded record KIND|refused TEXT|quiet                       KIND: of enum guard_fault_kind; quiet:
 *   contained, and nothing to record
 * Before each run a block of somebody else's has left the secret in all of its shared and local memory.
 *
 * Guarded (narrow, wide, and as where strangers meet), whatever it says: the victim is as it was, its secret is nowhere
 * in the client's memory, the grid ends without an error, a kernel that does not end by itself ends when the kill flag
 * is set.
 *
 * The arena:   below | window, 4 GiB (8 GiB when wide) and its slack | next (when narrow) ... | neighbour ... service,
 * records, kill. */
#include "guard/guard.h"
#include "guard/verify.h"
#include "tests/guard/world.h"

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum want { READS, WRITES, FAULT, HANGS, REFUSED, NOTHING, DEADLOCKS };

struct attack {
	char name[64], victim[32], refusal[128];
	const char *text;
	unsigned grid, block, shared;
	enum want unguarded;
	int code, kind;                 /* FAULT; record kind, 0 quiet, -1 refused */
};

static const char *const want_names[] = { "reads", "writes", "fault", "hangs", "refused", "nothing", "deadlocks" };

static bool parse_header(struct attack *a)
{
	char word[32];
	int seen = 0;
	a->grid = 1;
	a->block = 32;
	snprintf(a->victim, sizeof a->victim, "neighbour");
	for (const char *p = a->text; !strncmp(p, "// >>> ", 7); p += strcspn(p, "\n") + 1) {
		const char *s = p + 7;
		if (sscanf(s, "victim %31s", a->victim) == 1 ||
			sscanf(s, "launch %u %u %u", &a->grid, &a->block, &a->shared) == 3)
			continue;
		if (sscanf(s, "unguarded %31s %d", word, &a->code) >= 1)
			for (int i = 0; i < 7; i++)
				if (!strcmp(word, want_names[i])) {
					a->unguarded = (enum want)i;
					seen |= 1;
				}
		if (sscanf(s, "guarded record %d", &a->kind) == 1 || !strncmp(s, "guarded quiet", 13))
			seen |= 2;
		if (!strncmp(s, "guarded refused ", 16)) {
			snprintf(a->refusal, sizeof a->refusal, "%.*s", (int)strcspn(s + 16, "\n"), s + 16);
			a->kind = -1;
			seen |= 2;
		}
	}
	return seen == 3;
}

/* --- the world: tests/guard/world.h ---------------------------------------------------------- */

static uint64_t victim_of(const char *name, uint64_t desc)
{
	const struct { const char *name; uint64_t addr; } rows[] = {
		{ "neighbour", NEIGHBOUR + 65536 }, { "below", BELOW + 65536 },
		{ "next", WINDOW + 4 * GIB + GUARD_SLACK }, { "service", SERVICE },
		{ "records", WORKER }, { "kill", WORKER + 2 * AREA }, { "desc", desc },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!strcmp(rows[i].name, name))
			return rows[i].addr;
	printf("not ok attack: no victim '%s'\n", name);
	exit(1);
}

/* --- running --------------------------------------------------------------------------------- */

static CUresult go(struct exec_module *m, const char *kernel, const struct attack *a, uint64_t victim, unsigned dyn,
	struct world_clock *t)
{
	struct { uint64_t victim, own, distance, coop; } args = { victim, OWN, victim - OWN, WINDOW + 4096 };
	struct launch_opt o = { .grid = { a->grid, 1, 1 }, .block = { a->block, 1, 1 }, .shared = dyn };
	return world_launch(m, kernel, o, &args, sizeof args, t);
}

/* What unguarded kernels print; guarded ones print into their window. */
static bool printed_secret;
static void print(const char *text, size_t len)
{
	uint32_t secret = SECRET;
	printed_secret |= memmem(text, len, &secret, 4) != NULL;
}

static void unguarded(const struct attack *a)
{
	struct ptx_error err = { 0 };
	struct ptx_module *p = ptx_parse(a->text, strlen(a->text), &err);
	struct exec_module *m = NULL;
	struct world_clock t = { .first_ms = 300, .then_ms = 300 };
	char name[128];
	CUresult r = p ? exec_load(p, dev_alloc, dev_release, &m, &err) : CUDA_ERROR_INVALID_PTX;
	snprintf(name, sizeof name, "attack/%s unguarded", a->name);
	if (r) {
		check(a->unguarded == REFUSED, name, "does not load: line %u: %s", err.line, err.text);
		return;
	}
	world_set(false);
	world_leave(SECRET);
	printed_secret = false;
	if (!strcmp(a->victim, "records") || !strcmp(a->victim, "kill") || !strcmp(a->victim, "desc"))
		memset((void *)WORKER, 0x5e, 4 * AREA);
	r = go(m, "attack", a, victim_of(a->victim, SERVICE), a->shared, &t);
	bool worker_hit = false;
	for (unsigned i = 0; i < 4 * AREA && (!strcmp(a->victim, "records") || !strcmp(a->victim, "kill")); i++)
		worker_hit |= ((uint8_t *)WORKER)[i] != 0x5e;
	bool got[] = { world_leaked() || printed_secret, !world_untouched(false) || worker_hit,
		r == (CUresult)a->code && r,
		t.fired, false, true, r == CUDA_ERROR_LAUNCH_TIMEOUT && !t.fired };
	check(got[a->unguarded], name, "it did not get what it wanted (%s %d): error %d, %s, %s",
		want_names[a->unguarded], a->code, r,
	      got[READS] ? "read" : "not read", got[WRITES] ? "written" : "not written");
	exec_unload(m);
}

/* What the worker does with a module. */
static bool install(struct exec_module *m, const struct guard_result *r, bool wide)
{
	const struct exec_symbol *c = exec_find_symbol(m, "ag_const");
	if (!world_describe(m, wide) || (r->const_bytes && (!c || c->size != r->const_bytes)))
		return false;
	if (r->const_bytes)
		memcpy((void *)c->addr, r->cimage, r->const_bytes);
	if (r->data_init)
		memcpy((void *)DATA, r->data, r->data_init);
	for (uint32_t i = 0; i < r->nrelocs; i++)
		*(uint64_t *)((r->relocs[i].in_const ? c->addr : DATA) + r->relocs[i].offset) += DATA;
	return true;
}

static void judge(const struct attack *a, const char *name, bool wide, CUresult r, const struct world_clock *t,
	const char *label)
{
	const struct guard_records *rec = (const void *)WORKER;
	uint32_t kind = rec->count ? rec->rec[0].kind : 0;
	bool worker_ok = rec->rec[0].client == (rec->count ? 7u : 0u) && *(uint32_t *)(WORKER + 2 * AREA) <= 1;
	bool ok = r == CUDA_SUCCESS && !t->fired && world_untouched(wide) && !world_leaked() && worker_ok;
	/* In a wide window `next` is the client's own: nothing to record there. */
	bool own = wide && !strcmp(a->victim, "next");
	bool recorded = own || (a->kind ? kind == (uint32_t)a->kind && rec->rec[0].valid && rec->rec[0].line :
		rec->count == 0);
	check(ok && recorded, name,
		"%s: error %d (%s, line %u), %s, victim %s, secret %s, %u records, the first of kind %u line %u",
		label, r, r ? fault.what : "",
	      r ? fault.line : 0, t->fired ? "had to be cancelled" : "ended", world_untouched(wide) ? "untouched" :
	"TOUCHED", world_leaked() ? "LEAKED" : "kept",
	      rec->count, kind, rec->rec[0].line);
}

static void guarded(const struct attack *a, bool wide, bool meet)
{
	struct guard_options opt = { .wide = wide, .report = true, .fence = true, .poll = true, .scrub = true,
		.target_sm = 90 };
	opt.meet = meet;
	struct guard_input in = { a->text, strlen(a->text), a->name };
	struct guard_result r;
	struct guard_verdict v;
	struct ptx_error err = { 0 };
	struct exec_module *m = NULL;
	uint32_t piece;
	size_t len;
	char name[128];
	snprintf(name, sizeof name, "attack/%s %s", a->name, wide ? "wide" : meet ? "meet" : "narrow");
	if (guard_rewrite(&in, 1, &opt, &r, &err, &piece)) {
		check(a->kind == -1 && strstr(err.text, a->refusal), name, "refused: line %u: %s", err.line, err.text);
		return;
	}
	if (verify(r.text, r.text_len, &(struct verify_options){ .wide = wide, .scrub = true, .meet = opt.meet },
		   NULL, 0, &v)) {
		check(false, name, "the verifier refuses line %u: %s", v.line, v.reason);
		guard_result_free(&r);
		return;
	}
	char *text = guard_compose(r.text, r.text_len, 90, NULL, 0, &len);
	struct ptx_module *p = text ? ptx_parse(text, len, &err) : NULL;
	world_set(wide);
	world_leave(SECRET);
	if (!p || exec_load(p, dev_alloc, dev_release, &m, &err) || !install(m, &r, wide) || v.nkernels != 1) {
		check(false, name, "the guarded module does not load: line %u: %s", err.line, err.text);
	} else if (a->kind == -1) {
		check(false, name, "accepted, not refused");
	} else {
		unsigned dyn = a->shared > v.kernels[0].min_dyn_shared ? a->shared : v.kernels[0].min_dyn_shared;
		struct world_clock t = { .first = (volatile uint32_t *)(WORKER + 2 * AREA),
			.first_ms = a->unguarded == HANGS || a->unguarded == DEADLOCKS ? 200 : 5000, .then_ms = 10000 };
		CUresult rc = go(m, "k0", a, victim_of(a->victim, exec_find_symbol(m, "ag_desc")->addr),
			(dyn + 15) & ~15u, &t);
		judge(a, name, wide, rc, &t, a->victim);
	}
	exec_unload(m);
	free(text);
	verify_free(&v);
	guard_result_free(&r);
}

int main(int argc, char **argv)
{
	glob_t g = { 0 };
	if (glob("tests/guard/attack/*.ptx", 0, NULL, &g))
		return printf("not ok attack: no files\n"), 1;
	exec_printf = print;
	world_map();
	for (size_t i = 0; i < g.gl_pathc; i++) {
		const char *base = strrchr(g.gl_pathv[i], '/') + 1;
		struct attack a = { .text = slurp(g.gl_pathv[i]) };
		snprintf(a.name, sizeof a.name, "%.*s", (int)strcspn(base, "."), base);
		if (argc > 1 && strcmp(argv[1], a.name))
			continue;
		if (!parse_header(&a)) {
			check(false, a.name, "bad header");
			continue;
		}
		unguarded(&a);
		if (a.unguarded != DEADLOCKS)
			guarded(&a, false, false);
		guarded(&a, false, true);
		guarded(&a, true, a.unguarded == DEADLOCKS);
		free((void *)a.text);
	}
	globfree(&g);
	return harness_end();
}
