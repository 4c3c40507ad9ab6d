/* contain_fuzz.c - what the verifier accepts, softgpu runs: texts are mutated, and each mutant that is accepted is
 * executed with hostile arguments in the world of tests/guard/world.h.  It must not touch or read what is outside or
 * what others left in shared and local memory, not fault, and end when the kill flag is set. This asks the hardware's
 * stand-in instead of the verifier's rules.
 * Deterministic but for time: contain_fuzz SEED SECONDS.
 *
 * The canary build (FUZZ_CANARY) takes the fences away from accepted texts before it runs them; it must find
 * something. */
#include "guard/verify.h"
#include "tests/fuzz/texts.h"
#include "tests/guard/world.h"

#include <time.h>

static const struct verify_gate no_gate = { "none", 0, { 0 }, 0 };
enum { STALE = 0x57a1e5a1 };     /* what others left in shared and local memory */
static unsigned runs, accepted, stuck;

/* The corpus: accepted texts without calls of gates.  Even indices narrow, odd ones wide. */
static bool judge(const char *t, size_t len, bool wide, bool scrub, struct verify_kernel *k)
{
	struct guard_verdict v;
	bool ok = verify(t, len, &(struct verify_options){ .wide = wide, .scrub = scrub }, &no_gate, 1, &v) == 0 &&
		  v.nkernels;
	if (ok)
		*k = v.kernels[fuzz_rnd(v.nkernels)];
	verify_free(&v);
	return ok;
}

/* Without declared functions the text needs no runtime, only its descriptor: that loads much faster. */
static char *load_form(const char *t, size_t len)
{
	static const char head[] =
		".version 9.0\n.target sm_90\n.address_size 64\n.const .align 16 .b8 ag_desc[128];\n";
	const char *body = memmem(t, len, GUARD_BODY_MARK, strlen(GUARD_BODY_MARK));
	size_t n;
	/* the verifier lets blanks stand behind the marker, guard_compose does not */
	if (!body)
		return NULL;
	if (memmem(t, (size_t)(body - t), ".func", 5))
		return guard_compose(t, len, 90, NULL, 0, &n);
	char *out = calloc(1, sizeof head + len);
	if (out)
		memcpy(stpcpy(out, head), body, len - (size_t)(body - t));
	return out;
}

#ifdef FUZZ_CANARY
/* A low word is no longer combined with the window's high word but with one of the client's. */
static void unfence(char *t)
{
	for (char *p = t; (p = strstr(p, ", %gw};")); p++)
		memcpy(p, ", %r1};", 7);
}
#endif

static void arguments(uint64_t args[64])
{
	const uint64_t values[] = { NEIGHBOUR + 65536, BELOW + 65536, SERVICE, WORKER, WORKER + 2 * AREA, OWN, OWN,
		NEIGHBOUR - OWN, 0, 1, 64,
		0xffffffff, 1ull << 31, ~0ull, WINDOW + 4 * GIB - 1, WINDOW + 4 * GIB + GUARD_SLACK, 0x0100000000ull,
		0xdeadbeefdeadbeefull };
	for (int i = 0; i < 64; i++)
		args[i] = fuzz_rnd(4) ? values[fuzz_rnd(sizeof values / sizeof *values)] :
		(uint64_t)fuzz_rnd(~0u) << 32 | fuzz_rnd(~0u);
}

/* What is not promised: that threads find those they wait for, at barriers and in warps.  softgpu sees that none can
 * go on. */
static bool unpromised(CUresult r)
{
	return r == CUDA_ERROR_LAUNCH_TIMEOUT && strstr(fault.what, "none can wake");
}

static bool execute(const char *t, size_t len, bool wide, bool scrub, const struct verify_kernel *k)
{
	struct ptx_error err = { 0 };
	struct exec_module *m = NULL;
	char name[16], *text = load_form(t, len);
	uint64_t args[64];
#ifdef FUZZ_CANARY
	unfence(text);
#endif
	struct ptx_module *p = text ? ptx_parse(text, strlen(text), &err) : NULL;
	bool ok = true;
	/* A text that does not load harms nobody. */
	if (p && exec_load(p, dev_alloc, dev_release, &m, &err) == CUDA_SUCCESS && world_describe(m, wide)) {
		uint32_t dyn = k->min_dyn_shared > fuzz_rnd(256) ? k->min_dyn_shared : fuzz_rnd(1024);
		struct world_clock clock = { .first = (volatile uint32_t *)(WORKER + 2 * AREA), .first_ms = 30,
			.then_ms = 1500 };
		struct launch_opt o = { .grid = { 1 + fuzz_rnd(2), 1, 1 }, .block = { 1 + fuzz_rnd(64), 1, 1 } };
		o.shared = ((dyn < k->min_dyn_shared ? k->min_dyn_shared : dyn) + 15) & ~15u;
		world_set(wide);
		world_leave(STALE);
		arguments(args);
		snprintf(name, sizeof name, "k%u", k->index);
		CUresult r = world_launch(m, name, o, args, sizeof args, &clock);
		stuck += unpromised(r);
		/* what is not asked to clear its memory may find it there */
		bool leaked = world_leaked() || (scrub && world_holds(STALE));
		ok = world_untouched(wide) && !leaked && *(uint32_t *)(WORKER + 2 * AREA) <= 1 &&
			(r == CUDA_SUCCESS || r == CUDA_ERROR_INVALID_CLUSTER_SIZE || unpromised(r));
		if (!ok)
			printf("# error %d %s line %u, %s, %s\n", r, r ? fault.what : "", fault.line,
			world_untouched(wide) ? "untouched" : "TOUCHED",
			       leaked ? "LEAKED" : "kept");
	}
	exec_unload(m);
	free(text);
	return ok;
}

static void drop_sink(const char *text, size_t len)
{
	(void)text;
	(void)len;
}

int main(int argc, char **argv)
{
	static char t[FUZZ_BYTES];
	struct verify_kernel k;
	fuzz_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0x9e3779b97f4a7c15ull;
	double seconds = argc > 2 ? atof(argv[2]) : 4;
	clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
	time_t wall = time(NULL) + (time_t)(seconds * 5);
	fuzz_load("tests/guard/verify/*.ptx");
	fuzz_load("tests/guard/form/*.ptx");
	int n = 0;
	for (int i = 0; i < fuzz_ntexts; i++)
		if (judge(fuzz_text[i].text, fuzz_text[i].len, false, false, &k) ||
		    judge(fuzz_text[i].text, fuzz_text[i].len, true, false, &k))
			fuzz_text[n++] = fuzz_text[i];
	fuzz_ntexts = n;
	exec_printf = drop_sink;
	world_map();
	while (n && clock() < end && time(NULL) < wall) {
		int f = (int)fuzz_rnd((uint32_t)n);
		size_t len = fuzz_text[f].len;
		/* Without scrub: what must clear its memory and does not is not asked to. */
		bool wide = fuzz_rnd(2), scrub = fuzz_rnd(4) || memmem(fuzz_text[f].text, len, "%gzz", 4);
		memcpy(t, fuzz_text[f].text, len);
		for (uint32_t i = 1 + fuzz_rnd(3); i--;)
			len = fuzz_mutate(t, len);
		runs++;
		if (!judge(t, len, wide, scrub, &k))
			continue;
		accepted++;
		if (!execute(t, len, wide, scrub, &k)) {
			FILE *out = fopen("build/contain_fuzz.bad", "wb");
			if (out) {
				fwrite(t, 1, len, out);
				fclose(out);
			}
			printf("not ok contain_fuzz/contained: run %u of this seed, %s: build/contain_fuzz.bad\n",
			runs, wide ? "wide" : "narrow");
			return 1;
		}
	}
	printf("ok contain_fuzz/contained %u mutants, %u accepted and run, %u waited for threads that never came\n",
	runs, accepted, stuck);
#ifndef FUZZ_CANARY
	int rc = system("build/tests/contain_fuzz_canary >/dev/null 2>&1");
	bool died = rc != -1 && WIFEXITED(rc) && WEXITSTATUS(rc) == 1;
	printf("%sok contain_fuzz/canary%s\n", died ? "" : "not ", died ? "" : ": unfenced texts went unnoticed");
	return !died;
#endif
	return !accepted;
}
