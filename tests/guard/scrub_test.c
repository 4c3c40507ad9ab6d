/* scrub_test.c - a guarded kernel finds zeroes in all of its shared and local memory, whatever the shape of its block
 * and the sizes of its memory, and whatever somebody else's block left there; without clearing it finds that.  On
 * softgpu's processor, in the world of world.h. */
#include "guard/verify.h"
#include "tests/guard/world.h"
#include "tests/test.h"

/* Counts in out[0] the words of shared memory, and in out[1] those of local memory, that are not zero, and in out[2]
 * what it looked at.  %u: bytes of the static object, of the local one. */
static const char look[] =
	".version 8.0\n.target sm_90\n.address_size 64\n.extern .shared .align 16 .b8 d[];\n"
	".visible .entry look(.param .u64 out, .param .u32 first, .param .u32 bytes)\n{\n"
	"\t.reg .b32 %%r<24>;\n\t.reg .b64 %%rd<4>;\n\t.reg .pred %%p<4>;\n"
	"\t.shared .align 16 .b8 s[%u];\n\t.local .align 16 .b8 l[%u];\n"
	"\tld.param.u64 %%rd1, [out];\n\tld.param.u32 %%r10, [first];\n\tld.param.u32 %%r11, [bytes];\n"
	"\tmov.u32 %%r1, s;\n\tadd.u32 %%r1, %%r1, %%r10;\n\tadd.u32 %%r2, %%r1, %%r11;\n"
	"\tmov.u32 %%r12, d;\n"
	"$s:\n\tld.shared.u32 %%r3, [%%r1];\n\tsetp.ne.u32 %%p1, %%r3, 0;\n"
	"\t@%%p1 red.global.add.u32 [%%rd1], 1;\n\tred.global.add.u32 [%%rd1+8], 1;\n"
	"\tadd.u32 %%r1, %%r1, 4;\n\tsetp.lt.u32 %%p2, %%r1, %%r2;\n\t@%%p2 bra $s;\n"
	"\tmov.u32 %%r1, l;\n\tadd.u32 %%r2, %%r1, %u;\n"
	"$l:\n\tld.local.u32 %%r3, [%%r1];\n\tsetp.ne.u32 %%p1, %%r3, 0;\n"
	"\t@%%p1 red.global.add.u32 [%%rd1+4], 1;\n\tred.global.add.u32 [%%rd1+8], 1;\n"
	"\tadd.u32 %%r1, %%r1, 4;\n\tsetp.lt.u32 %%p2, %%r1, %%r2;\n\t@%%p2 bra $l;\n"
	"\tret;\n}\n";

struct seen { uint32_t shared, local, looked; };

static struct exec_module *guarded(unsigned fixed, unsigned local, bool scrub, const char *name)
{
	char text[sizeof look + 64];
	struct guard_options o = { .fence = true, .poll = true, .scrub = scrub, .target_sm = 90 };
	struct guard_result r;
	struct guard_verdict v;
	struct ptx_error err = { 0 };
	uint32_t piece;
	size_t len;

	snprintf(text, sizeof text, look, fixed, local, local);
	struct guard_input in = { text, strlen(text), name };
	if (guard_rewrite(&in, 1, &o, &r, &err, &piece)) {
		check(false, name, "refused: %u: %s", err.line, err.text);
		return NULL;
	}
	/* with or without: what clears is also accepted where it is not asked for, never the other way round */
	if (verify(r.text, r.text_len, &(struct verify_options){ .scrub = scrub }, NULL, 0, &v))
		check(false, name, "the verifier: %u: %s", v.line, v.reason);
	verify_free(&v);
	int other = verify(r.text, r.text_len, &(struct verify_options){ .scrub = !scrub }, NULL, 0, &v);
	if (scrub ? other : !other || !strstr(v.reason, "clear"))
		check(false, name, "the verifier, asked otherwise: %s", v.reason);
	verify_free(&v);
	char *all = guard_compose(r.text, r.text_len, 90, NULL, 0, &len);
	struct exec_module *m = load_text(all);
	world_set(false);
	if (!world_describe(m, false))
		check(false, name, "no ag_desc");
	free(all);
	guard_result_free(&r);
	return m;
}

/* Each thread looks at all of the block's memory: what another thread clears too late would be seen. */
static struct seen run(struct exec_module *m, struct dims block, unsigned dyn, unsigned bytes, const char *name)
{
	struct { uint64_t out; uint32_t first, bytes; } args = { OWN, 0, bytes };
	struct launch_opt o = { .grid = { 1, 1, 1 }, .block = block, .shared = dyn };
	struct world_clock t = { .first_ms = 20000, .then_ms = 20000 };
	struct seen *out = (void *)OWN, none = { 0 };

	*out = none;
	world_leave(SECRET);
	CUresult r = world_launch(m, "k0", o, &args, sizeof args, &t);
	if (r) {
		check(false, name, "error %d: %s", r, fault.what);
		return none;
	}
	return *out;
}

static void shapes(unsigned fixed, unsigned local, unsigned dyn)
{
	static const struct dims blocks[] = { { 1, 1, 1 }, { 32, 1, 1 }, { 33, 1, 1 }, { 1, 7, 1 }, { 1, 1, 64 },
		{ 7, 3, 5 }, { 16, 16, 2 }, { 5, 1, 13 } };
	char name[96];

	snprintf(name, sizeof name, "scrub/static_%u_dynamic_%u_local_%u", fixed, dyn, local);
	struct exec_module *m = guarded(fixed, local, true, name);
	unsigned bytes = ((fixed + 31) & ~31u) + dyn;
	bool ok = m != NULL;
	for (size_t i = 0; ok && i < sizeof blocks / sizeof *blocks; i++) {
		struct dims b = blocks[i];
		struct seen s = run(m, b, dyn, bytes, name);
		uint32_t all = b.x * b.y * b.z * (bytes + local) / 4;
		char shape[128];
		snprintf(shape, sizeof shape, "%s/%u_%u_%u", name, b.x, b.y, b.z);
		ok = !s.shared && !s.local && s.looked == all;
		check(ok, shape,
		      "block %u %u %u: %u words of shared and %u of local memory are not zero; %u of %u seen", b.x,
		      b.y, b.z, s.shared, s.local, s.looked, all);
	}
	exec_unload(m);
}

static void not_asked(void)
{
	struct exec_module *m = guarded(256, 256, false, "scrub/off");
	struct seen s = run(m, (struct dims){ 64, 1, 1 }, 1024, 1280, "scrub/off");

	/* between the local memories of two of its threads a block leaves a little as it was */
	check(s.shared == 64 * 320 && s.local > 64 * 60, "scrub/off", "%u and %u words were left", s.shared, s.local);
	exec_unload(m);
}

int main(void)
{
	world_map();
	shapes(4, 4, 32);
	shapes(40, 64, 4096);
	shapes(1024, 1024, 16);
	shapes(3000, 1028, 1008);
	shapes(64, 4000, 16384 + 16);
	not_asked();
	return harness_end();
}
