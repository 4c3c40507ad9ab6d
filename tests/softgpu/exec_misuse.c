/* exec_misuse.c - wrong masks of warps and misused mbarriers on softgpu's processor: what an H200 answered to the same
 * kernels, errors and values. */
#include "exec_harness.h"

#define HEAD ".version 8.6\n.target sm_90\n.address_size 64\n.shared .align 16 .b8 s[256];\n"
#define ENTRY ".visible .entry k(.param .u64 pa, .param .u64 pb, .param .u32 pn) {\n" \
	".reg .u64 %rd<16>; .reg .u32 %r<24>; .reg .pred %p<8>;\n" \
	"ld.param.u64 %rd1, [pa]; ld.param.u64 %rd2, [pb]; ld.param.u32 %r1, [pn]; mov.u32 %r2, %tid.x;\n" \
	"mul.wide.u32 %rd3, %r2, 4; add.u64 %rd4, %rd1, %rd3; mov.u32 %r3, s;\n"
#define NONE 0xeeeeeeeeu
#define WAITED 0x63u

static CUresult run(const char *text, uint32_t grid, uint32_t block, void *a, uint64_t b, uint32_t n)
{
	struct exec_module *m = load_text(text);
	struct { void *a; uint64_t b; uint32_t n; } p = { a, b, n };
	CUresult r = launch(m, "k", (struct launch_opt){ .grid = { grid }, .block = { block } }, &p, sizeof p);
	exec_unload(m);
	return r;
}

/* --- masks: %r4 lane's mask, %r5 result, %p1 lane < 7, %r6 lane & 3 ---------------------------- */

enum scene { BRANCH, EXIT, WAIT, MASK_0, WITHOUT_SELF, DISAGREE, BEYOND, SCENES };
static const char *const scene_names[] = { "branch", "exit", "wait", "mask_0", "without_self", "disagree", "beyond" };

/* In the first three scenes the upper half of the warp is away and the masks are -1. */
static const char scenes[] =
	"mov.u32 %r5, 0x63; mov.u32 %r4, -1; and.b32 %r6, %r2, 3; setp.lt.u32 %p1, %r2, 7; setp.ge.u32 %p2, %r2, 16; "
	"st.volatile.shared.u32 [%r3], 0; bar.sync 0;\n"
	"setp.eq.and.u32 %p3, %r1, 0, %p2; @%p3 bra OUT;\n"
	"setp.eq.and.u32 %p3, %r1, 1, %p2; @%p3 exit;\n"
	"setp.eq.and.u32 %p3, %r1, 2, %p2; @%p3 bra WAIT;\n"
	"setp.eq.u32 %p3, %r1, 3; @%p3 mov.u32 %r4, 0;\n"
	"setp.eq.u32 %p3, %r1, 4; mov.u32 %r7, 1; shl.b32 %r7, %r7, %r2; not.b32 %r7, %r7; @%p3 mov.u32 %r4, %r7;\n"
	"setp.eq.u32 %p3, %r1, 5; mad.lo.u32 %r7, %r2, 0x9E3779B9, 77; @%p3 mov.u32 %r4, %r7;\n"
	"setp.eq.u32 %p3, %r1, 6; and.pred %p4, %p3, %p2; @%p4 mov.u32 %r4, 0xffff0000; @%p4 bra HIGH; "
	"@%p3 mov.u32 %r4, 0x00ff00ff;\n";

/* part: lanes 0, 5 when the lower half joins; whole: lanes 0, 5, 17, 22, 27 when the warp does.  any_masks: neither
 * equal masks nor own bits are needed where all are together. */
static const struct warp_case { const char *name, *text; bool any_masks; uint32_t part[2], whole[5]; } warp_cases[] = {
	{ "shfl_idx", "shfl.sync.idx.b32 %r5|%p5, %r2, %r6, 31, %r4;", true, { 0, 1 }, { 0, 1, 1, 2, 3 } },
	{ "shfl_up", "shfl.sync.up.b32 %r5|%p5, %r2, 40, 0, %r4;", true, { 0, 5 }, { 0, 5, 9, 0xe, 0x13 } },
	{ "bar_warp", "bar.warp.sync %r4; mov.u32 %r5, 7;", true, { 7, 7 }, { 7, 7, 7, 7, 7 } },
	{ "ballot", "vote.sync.ballot.b32 %r5, %p1, %r4;", false, { 0x7f, 0x7f }, { 0x7f, 0x7f, 0x7f, 0x7f, 0x7f } },
	{ "all", "vote.sync.all.pred %p5, %p1, %r4; selp.u32 %r5, 1, 0, %p5;", false, { 0, 0 }, { 0, 0, 0, 0, 0 } },
	{ "uni", "vote.sync.uni.pred %p5, %p1, %r4; selp.u32 %r5, 1, 0, %p5;", false, { 0, 0 }, { 0, 0, 0, 0, 0 } },
	{ "redux_add", "redux.sync.add.s32 %r5, %r2, %r4;", false, { 0x78, 0x78 },
	  { 0x1f0, 0x1f0, 0x1f0, 0x1f0, 0x1f0 } },
	{ "redux_xor", "redux.sync.xor.b32 %r5, %r2, %r4;", false, { 0, 0 }, { 0, 0, 0, 0, 0 } },
	{ "match_any", "match.any.sync.b32 %r5, %r6, %r4;", false, { 0x1111, 0x2222 },
	  { 0x11111111, 0x22222222, 0x22222222, 0x44444444, 0x88888888 } },
	{ "match_all", "match.all.sync.b32 %r5|%p5, %r6, %r4;", false, { 0, 0 }, { 0, 0, 0, 0, 0 } },
	{ "match_any_64", "match.any.sync.b64 %r5, %rd1, %r4;", false, { 0xffff, 0xffff },
	  { ~0u, ~0u, ~0u, ~0u, ~0u } },
	{ "elect", "elect.sync %r5|%p5, %r4;", false, { 0, 0 }, { 0, 0, 0, 0, 0 } },
};

static void test_warp_case(const struct warp_case *c, enum scene s, uint32_t *a)
{
	static const unsigned lanes[5] = { 0, 5, 17, 22, 27 };
	char text[4096], name[64];
	unsigned bad = 0;
	bool faults = s == BEYOND || ((s == WITHOUT_SELF || s == DISAGREE) && !c->any_masks);
	uint32_t away = s == WAIT ? WAITED : NONE;
	snprintf(text, sizeof text, "%s%s%s\nst.volatile.shared.u32 [%%r3], 1; bra STORE;\nHIGH: %s bra STORE;\n"
		"WAIT: mov.u32 %%r8, 0;\n"
		"L: ld.volatile.shared.u32 %%r9, [%%r3]; add.u32 %%r8, %%r8, 1; setp.eq.u32 %%p6, %%r9, 0; "
		"setp.lt.and.u32 %%p6, %%r8, 5000, %%p6; @%%p6 bra L;\n"
		"STORE: st.global.u32 [%%rd4], %%r5;\nOUT: ret;\n}\n", HEAD ENTRY, scenes, c->text, c->text);
	snprintf(name, sizeof name, "mask/%s_%s", c->name, scene_names[s]);
	memset(a, 0xee, 32 * 4);
	CUresult r = run(text, 1, 32, a, 0, s);
	for (unsigned k = 0; k < 5 && !faults; k++)
		bad += a[lanes[k]] != (s > WAIT ? c->whole[k] : k < 2 ? c->part[k] : away);
	check(r == (faults ? CUDA_ERROR_ILLEGAL_INSTRUCTION : CUDA_SUCCESS) && !bad, name,
		"error %d (%s), %u wrong, %x %x %x", r, fault.what, bad, a[0], a[5], a[17]);
}

/* Right masks that no warp has in common: groups that pass one another, and parts of a warp that meet in steps. */
static void test_right_masks(uint32_t *a)
{
	unsigned bad = 0;
	CUresult r = run(HEAD ENTRY "and.b32 %r4, %r2, 28; mov.u32 %r5, 15; shl.b32 %r5, %r5, %r4; "
		"redux.sync.add.u32 %r6, %r2, %r5; shfl.sync.down.b32 %r7, %r2, 1, 0x1c03, %r5; "
		"mad.lo.u32 %r6, %r6, 64, %r7; st.global.u32 [%rd4], %r6; ret; }", 1, 32, a, 0, 0);
	for (uint32_t l = 0; l < 32; l++)
		bad += a[l] != (l / 4 * 16 + 6) * 64 + (l % 4 == 3 ? l : l + 1);
	check(!r && !bad, "mask/tiles", "error %d (%s), %u wrong", r, fault.what, bad);
	/* Lanes 0..15 wait for all; 16..23 for 24..31 first. */
	r = run(HEAD ENTRY "mov.u32 %r4, -1; mov.u32 %r5, 0xffff0000; add.u32 %r4, %r4, %r1; add.u32 %r5, %r5, %r1; "
		"setp.lt.u32 %p1, %r2, 16; @%p1 bra ALL; setp.lt.u32 %p2, %r2, 24; @%p2 bra MORE; mov.u32 %r7, 0;\n"
		"L: add.u32 %r7, %r7, 1; setp.lt.u32 %p3, %r7, 3000; @%p3 bra L;\n"
		"MORE: vote.sync.ballot.b32 %r6, 1, %r5; st.global.u32 [%rd4+128], %r6;\n"
		"ALL: vote.sync.ballot.b32 %r6, 1, %r4; st.global.u32 [%rd4], %r6; ret; }", 1, 32, a, 0, 0);
	for (uint32_t l = 0; l < 32; l++)
		bad += a[l] != ~0u || (l >= 16 && a[32 + l] != 0xffff0000);
	check(!r && !bad, "mask/steps", "error %d (%s), %u wrong (%x %x)", r, fault.what, bad, a[0], a[63]);
}

/* --- mbarriers: %r3 its address, %r4 a count; by all of 4 blocks of 128 threads ------------------ */

#define INIT(n) "mbarrier.init.shared.b64 [%r3], " #n "; "
#define ARRIVE "mbarrier.arrive.shared.b64 %rd5, [%r3]; "
#define BY "mbarrier.arrive.shared.b64 %rd5, [%r3], %r4; "
#define NO_COMPLETE "mbarrier.arrive.noComplete.shared.b64 %rd5, [%r3], %r4; "
#define DROP "mbarrier.arrive_drop.shared.b64 %rd5, [%r3]; "
#define DROP_BY "mbarrier.arrive_drop.shared.b64 %rd5, [%r3], %r4; "
#define DROP_NO_COMPLETE "mbarrier.arrive_drop.noComplete.shared.b64 %rd5, [%r3], %r4; "
#define DROP_EXPECT "mbarrier.arrive_drop.expect_tx.shared.b64 %rd5, [%r3], %r4; "
#define EXPECT "mbarrier.expect_tx.relaxed.cta.shared.b64 [%r3], %r4; "
#define ARRIVE_EXPECT "mbarrier.arrive.expect_tx.shared.b64 %rd5, [%r3], %r4; "
#define COMPLETE "mbarrier.complete_tx.relaxed.cta.shared.b64 [%r3], %r4; "
#define INVAL "mbarrier.inval.shared.b64 [%r3]; "
#define COPY "cp.async.cg.shared.global [%r3+64], [%rd1], 16; "
#define FULL 1048575u

static const struct { const char *name, *text; uint32_t n; bool fails; } mbar_cases[] = {
	{ "init_0", INIT(0) ARRIVE, 0, true },
	{ "init_max", INIT(%r4) ARRIVE "sub.u32 %r4, %r4, 1; " BY, FULL, true },
	{ "init_2_20", INIT(%r4) ARRIVE, FULL + 1, true },
	{ "init_2_32", INIT(%r4) ARRIVE, ~0u, false },
	{ "arrive", INIT(1) ARRIVE ARRIVE ARRIVE, 0, true },
	{ "arrive_2", INIT(1) BY, 2, true },
	{ "arrive_0", INIT(1) BY, 0, false },
	{ "arrive_2_32", INIT(1) BY, ~0u, true },
	{ "arrive_max", INIT(5) BY, FULL, true },
	{ "no_complete", INIT(1) NO_COMPLETE, 5, true },
	{ "no_complete_2_32", INIT(5) NO_COMPLETE, ~0u, true },
	{ "no_complete_0", INIT(1) NO_COMPLETE, 0, false },
	{ "drop", INIT(1) DROP DROP DROP DROP DROP, 0, true },
	{ "drop_7_of_3", INIT(3) DROP_BY, 7, true },
	{ "drop_2_32", INIT(3) DROP_BY, ~0u, true },
	{ "drop_no_complete", INIT(3) DROP_NO_COMPLETE, 7, true },
	{ "drop_expect", INIT(1) DROP_EXPECT DROP_EXPECT DROP_EXPECT, 99, true },
	{ "expect_max", INIT(2) EXPECT EXPECT EXPECT, FULL, true },
	{ "expect_2_20", INIT(2) EXPECT, FULL + 1, true },
	{ "expect_2_32", INIT(2) EXPECT, ~0u, true },
	{ "arrive_expect_max", INIT(9) ARRIVE_EXPECT ARRIVE_EXPECT ARRIVE_EXPECT, FULL, true },
	{ "arrive_expect_2_32", INIT(2) ARRIVE_EXPECT, ~0u, true },
	{ "complete_none", INIT(2) COMPLETE, 5, false },
	{ "complete_max", INIT(2) COMPLETE COMPLETE COMPLETE, FULL, true },
	{ "complete_2_32", INIT(2) COMPLETE, ~0u, true },
	{ "wrong_parity", INIT(1) "mbarrier.try_wait.parity.shared.b64 %p1, [%r3], 0; ", 0, false },
	{ "parity_7", INIT(1) "mbarrier.try_wait.parity.shared.b64 %p1, [%r3], %r4; ", 7, false },
	{ "any_token", INIT(1) "mov.u64 %rd5, -1; mbarrier.try_wait.shared.b64 %p1, [%r3], %rd5; "
	  "mbarrier.test_wait.shared.b64 %p2, [%r3], %rd1; ", 0, false },
	{ "invalid_arrive", INIT(1) INVAL ARRIVE, 0, true },
	{ "invalid_drop", INIT(1) INVAL DROP EXPECT COMPLETE, 5, true },
	{ "invalid_twice", INVAL INVAL INIT(1) INIT(2), 0, false },
	{ "stored_over", INIT(1) "st.shared.u32 [%r3], 0xdeadbeef; " ARRIVE, 0, true },
	{ "copy_arrives", INIT(1) COPY "cp.async.mbarrier.arrive.shared.b64 [%r3]; ", 0, false },
	{ "copy_arrives_late", INIT(1) COPY "cp.async.mbarrier.arrive.noinc.shared.b64 [%r3]; " INVAL, 0, false },
	{ "word_0_arrive", "st.shared.u64 [%r3], 0; " ARRIVE, 0, true },
	{ "word_2_62_drop", "st.shared.u64 [%r3], 0x4000000000000000; " DROP, 0, true },
	{ "word_ones_wait", "st.shared.u64 [%r3], -1; mbarrier.test_wait.parity.shared.b64 %p1, [%r3], 0; ", 0,
	  true },
	{ "word_ones_init", "st.shared.u64 [%r3], -1; " INVAL INIT(1), 0, false },
	{ "word_0_expect", "st.shared.u64 [%r3], 0; " EXPECT, 1, false },
	{ "word_0_complete", "st.shared.u64 [%r3], 0; " COMPLETE, 1, false },
};

static void test_mbarriers(void)
{
	uint32_t *a = DEV(uint32_t, 64);
	for (unsigned k = 0; k < sizeof mbar_cases / sizeof *mbar_cases; k++) {
		char text[2048], name[64];
		snprintf(text, sizeof text, "%smov.u32 %%r4, %%r1;\n%s ret;\n}\n", HEAD ENTRY, mbar_cases[k].text);
		snprintf(name, sizeof name, "mbarrier/%s", mbar_cases[k].name);
		CUresult r = run(text, 4, 128, a, 0, mbar_cases[k].n);
		check(r == (mbar_cases[k].fails ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS), name, "error %d (%s)", r,
			fault.what);
	}
}

/* What is left of the tokens' counts, and phases that one thread ends alone. */
static void test_mbarrier_values(void)
{
	uint32_t *a = DEV(uint32_t, 64);
	CUresult r = run(HEAD ENTRY INIT(5) "mov.u32 %r4, 2; " BY "mbarrier.pending_count.b64 %r5, %rd5; "
		"st.global.u32 [%rd1], %r5; mov.u32 %r4, 0; " DROP_EXPECT "mbarrier.pending_count.b64 %r5, %rd5; "
		"st.global.u32 [%rd1+4], %r5; mov.u32 %r4, 2; " BY
		"mbarrier.test_wait.shared.b64 %p1, [%r3], %rd5; selp.u32 %r5, 1, 0, %p1; st.global.u32 [%rd1+8], %r5; "
		"mov.u32 %r4, 4; " BY "mbarrier.pending_count.b64 %r5, %rd5; st.global.u32 [%rd1+12], %r5; "
		"mbarrier.test_wait.parity.shared.b64 %p1, [%r3], 1; selp.u32 %r5, 1, 0, %p1; "
		"st.global.u32 [%rd1+16], %r5; ret; }", 1, 1, a, 0, 0);
	check(!r && a[0] == 5 && a[1] == 3 && a[2] == 1 && a[3] == 4 && a[4] == 1, "mbarrier/counts",
		"error %d (%s) %u %u %u %u %u", r, fault.what, a[0], a[1], a[2], a[3], a[4]);
	r = run(HEAD ENTRY INIT(%r1) "mov.u32 %r6, 0;\nL: " ARRIVE
		"mbarrier.test_wait.shared.b64 %p1, [%r3], %rd5; @!%p1 trap; "
		"add.u32 %r6, %r6, 1; setp.lt.u32 %p2, %r6, 5; @%p2 bra L; ret; }", 1, 32, a, 0, 32);
	check(!r, "mbarrier/phases", "error %d (%s)", r, fault.what);
}

int main(void)
{
	uint32_t *a = DEV(uint32_t, 64);
	for (unsigned k = 0; k < sizeof warp_cases / sizeof *warp_cases; k++)
		for (int s = 0; s < SCENES; s++)
			test_warp_case(&warp_cases[k], (enum scene)s, a);
	test_right_masks(a);
	test_mbarriers();
	test_mbarrier_values();
	return harness_end();
}
