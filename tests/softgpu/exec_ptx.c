/* exec_ptx.c - hand-written PTX: loads and stores of all sizes, spaces, barriers in all forms, warp operations
 * against a model, asynchronous copies, mbarriers, refusals, and grids that run at the same time. */
#include <pthread.h>
#include "exec_harness.h"

#define HEAD ".version 8.6\n.target sm_90\n.address_size 64\n"
#define ENTRY ".visible .entry k(.param .u64 pa, .param .u64 pb, .param .u32 pn) {\n" \
	".reg .u64 %rd<16>; .reg .u32 %r<24>; .reg .u16 %h<8>; .reg .f32 %f<16>; .reg .f64 %fd<8>; " \
	".reg .pred %p<8>;\n" \
	".reg .b128 %q<4>;\n" \
	"ld.param.u64 %rd1, [pa]; ld.param.u64 %rd2, [pb]; ld.param.u32 %r1, [pn]; mov.u32 %r2, %tid.x;\n" \
	"mul.wide.u32 %rd3, %r2, 4; add.u64 %rd4, %rd1, %rd3; add.u64 %rd5, %rd2, %rd3;\n"
struct args { void *a, *b; uint32_t n; };

static CUresult run(const char *text, uint32_t grid, uint32_t block, void *a, void *b, uint32_t n)
{
	struct exec_module *m = load_text(text);
	struct args p = { a, b, n };
	CUresult r = launch(m, "k", (struct launch_opt){ .grid = { grid }, .block = { block }, .shared = 256 }, &p,
		sizeof p);
	exec_unload(m);
	return r;
}

static void test_sizes(void)
{
	uint32_t *a = DEV(uint32_t, 256), *b = DEV(uint32_t, 256);
	int bad = 0;
	for (int i = 0; i < 256; i++)
		a[i] = rnd();
	CUresult r = run(HEAD ENTRY "mul.wide.u32 %rd6, %r2, 16; add.u64 %rd4, %rd1, %rd6; "
		"mul.wide.u32 %rd6, %r2, 32; add.u64 %rd5, %rd2, %rd6;\n"
		"ld.global.s8 %r3, [%rd4]; ld.global.u8 %rd7, [%rd4+1]; ld.global.s16 %rd8, [%rd4+2]; "
		"ld.global.nc.v2.u16 {%h1, %h2}, [%rd4+4];\n"
		"ld.global.v4.u8 {%h3, %h4, %h5, %h6}, [%rd4+8]; ld.volatile.global.s32 %rd9, [%rd4+12];\n"
		"st.global.u32 [%rd5], %r3; st.global.u8 [%rd5+4], %rd7; st.global.u16 [%rd5+6], %rd8; "
		"st.global.v2.u16 [%rd5+8], {%h2, %h1};\n"
		"st.global.v4.u8 [%rd5+12], {%h6, %h5, %h4, %h3}; st.global.u64 [%rd5+16], %rd9; "
		"ld.global.b128 %q1, [%rd4];\n"
		"mov.b128 {%rd10, %rd11}, %q1; xor.b64 %rd10, %rd10, %rd11; st.global.u64 [%rd5+24], %rd10; ret; }",
		1, 32, a, b, 0);
	for (int i = 0; i < 32; i++) {
		const uint8_t *s = (uint8_t *)(a + 4 * i), *d = (uint8_t *)(b + 8 * i);
		uint64_t q[2], x;
		int64_t y;
		memcpy(q, s, 16);
		memcpy(&y, d + 16, 8);
		memcpy(&x, d + 24, 8);
		bad += *(int32_t *)d != (int8_t)s[0] || d[4] != s[1] || memcmp(d + 6, s + 2, 2)
			|| memcmp(d + 8, s + 6, 2)
			|| memcmp(d + 10, s + 4, 2) || d[12] != s[11] || d[15] != s[8] || y != *(int32_t *)(s + 12)
			|| x != (q[0] ^ q[1]);
	}
	check(!r && !bad, "load_store_sizes", "error %d (%s), %d wrong", r, fault.what, bad);
}

static void test_spaces(void)
{
	uint32_t *a = DEV(uint32_t, 64), *b = DEV(uint32_t, 1024);
	int bad = 0;
	CUresult r = run(HEAD ".shared .align 16 .b8 sh[512]; .extern .shared .align 16 .b8 dyn[]; "
		".const .u32 cc[4] = {5, 6, 7, 8};\n" ENTRY
		".local .align 8 .b8 lo[64]; mov.u64 %rd6, sh; cvta.shared.u64 %rd7, %rd6; add.u64 %rd7, %rd7, %rd3; "
		"st.u32 [%rd7], %r2;\n"
		"bar.sync 0; xor.b32 %r3, %r2, 5; shl.b32 %r3, %r3, 2; mov.u32 %r4, sh; add.u32 %r3, %r3, %r4; "
		"ld.shared.u32 %r5, [%r3];\n"
		"mov.u64 %rd8, lo; cvta.local.u64 %rd9, %rd8; st.u32 [%rd9+8], %r5; ld.local.u32 %r6, [lo+8]; "
		"add.u32 %r6, %r6, 100;\n"
		"mov.u64 %rd10, cc; cvta.const.u64 %rd10, %rd10; ld.u32 %r7, [%rd10+4]; ld.const.u32 %r8, [cc+12]; "
		"add.u32 %r6, %r6, %r7;\n"
		"add.u32 %r6, %r6, %r8; ld.const.u32 %r9, [cc+4096]; add.u32 %r6, %r6, %r9; "
		"st.shared.u32 [dyn+4], %r2;\n"
		"mov.u32 %r10, %dynamic_smem_size; isspacep.shared %p1, %rd7; isspacep.local %p2, %rd9; "
		"isspacep.global %p3, %rd1;\n"
		"isspacep.const %p4, %rd10; isspacep.shared %p5, %rd9; selp.u32 %r11, 1, 0, %p1; "
		"@%p2 add.u32 %r11, %r11, 2; @%p3 add.u32 %r11, %r11, 4;\n"
		"@%p4 add.u32 %r11, %r11, 8; @%p5 add.u32 %r11, %r11, 16; cvta.to.shared.u64 %rd11, %rd7; "
		"ld.shared.u32 %r12, [%rd11];\n"
		"mad.lo.u32 %r11, %r10, 1000, %r11; mad.lo.u32 %r6, %r12, 65536, %r6; st.global.u32 [%rd4], %r6; "
		"st.global.u32 [%rd5], %r11; ret; }", 1, 64, a, b, 0);
	for (uint32_t i = 0; i < 64; i++)
		bad += a[i] != (i ^ 5) + 114 + i * 65536 || b[i] != 256015;
	check(!r && !bad, "state_spaces", "error %d (%s), %d wrong (%u, %u)", r, fault.what, bad, a[1], b[1]);
	r = run(HEAD ENTRY ".local .align 8 .b8 lo[64]; mov.u64 %rd8, lo; cvta.local.u64 %rd9, %rd8; "
		"atom.add.u32 %r5, [%rd9], 1; ret; }", 1, 32, a, b, 0);
	check(r == CUDA_ERROR_INVALID_ADDRESS_SPACE, "atomic_on_local", "error %d", r);
	r = run(HEAD ENTRY "ld.param.u32 %r3, [pn]; mov.u64 %rd8, pa; cvta.param.u64 %rd9, %rd8; "
		"ld.u32 %r4, [%rd9+16]; st.global.u32 [%rd4], %r4; ret; }", 1, 32, a, b, 77);
	check(!r && a[31] == 77, "generic_parameters", "error %d (%s) %u", r, fault.what, a[31]);
}

static void test_barriers(void)
{
	uint32_t *a = DEV(uint32_t, 256), *b = DEV(uint32_t, 256);
	int bad = 0;
	/* Warps 0 and 1 produce, 2 and 3 consume: arrive and sync on a named barrier with a count. */
	CUresult r = run(HEAD ".shared .u32 s[128];\n" ENTRY "setp.ge.u32 %p1, %r2, 64; mov.u64 %rd6, s; @%p1 bra C;\n"
		"add.u64 %rd6, %rd6, %rd3; mul.lo.u32 %r3, %r2, 3; st.shared.u32 [%rd6], %r3; bar.arrive 1, 128; "
		"bra D;\n"
		"C: bar.sync 1, 128; sub.u32 %r3, %r2, 64; mul.wide.u32 %rd7, %r3, 4; add.u64 %rd6, %rd6, %rd7; "
		"ld.shared.u32 %r4, [%rd6];\n"
		"st.global.u32 [%rd4], %r4; D: setp.lt.u32 %p2, %r2, 40; barrier.red.popc.u32 %r5, 2, %p2; "
		"barrier.cta.red.and.pred %p3, 3, %p2;\n"
		"barrier.red.or.aligned.pred %p4, 3, %p2; selp.u32 %r6, 1000, 0, %p3; @%p4 add.u32 %r6, %r6, 500; "
		"add.u32 %r6, %r6, %r5;\n"
		"st.global.u32 [%rd5], %r6; ret; }", 1, 128, a, b, 0);
	for (uint32_t i = 0; i < 128; i++)
		bad += (i >= 64 && a[i] != (i - 64) * 3) || b[i] != 540;
	check(!r && !bad, "named_barriers", "error %d (%s), %d wrong (%u)", r, fault.what, bad, b[0]);
	/* Half of each warp exits before the barrier; the other lanes come by two different instructions. */
	r = run(HEAD ENTRY "and.b32 %r3, %r2, 1; setp.eq.u32 %p1, %r3, 0; @%p1 exit; and.b32 %r3, %r2, 2; "
		"setp.eq.u32 %p1, %r3, 0;\n"
		"@%p1 bra X; st.global.u32 [%rd4], 1; barrier.sync 0; bra Y;\nX: st.global.u32 [%rd4], 2; "
		"barrier.sync 0;\n"
		"Y: xor.b32 %r4, %r2, 2; mul.wide.u32 %rd6, %r4, 4; add.u64 %rd6, %rd1, %rd6; "
		"ld.global.u32 %r5, [%rd6]; st.global.u32 [%rd5], %r5; ret; }", 1, 96, a, b, 0);
	bad = 0;
	for (uint32_t i = 1; i < 96; i += 2)
		bad += b[i] != (i & 2 ? 2u : 1u);
	check(!r && !bad, "barrier_after_exits", "error %d (%s), %d wrong", r, fault.what, bad);
}

/* shfl against the model in the ISA. */
static void test_shuffles(void)
{
	static const char *const modes[] = { "up", "down", "bfly", "idx" };
	uint32_t *a = DEV(uint32_t, 64), *b = DEV(uint32_t, 64);
	int bad = 0;
	CUresult r = 0;
	for (int mode = 0; mode < 4; mode++) {
		for (int k = 0; k < 24; k++) {
			uint32_t bv = rnd() % 32, width = 1u << (rnd() % 6), cv = (32 - width) << 8 | (mode ? 31 : 0);
			char text[2048];
			snprintf(text, sizeof text, "%s" "mul.lo.u32 %%r3, %%r2, 11; "
				"shfl.sync.%s.b32 %%r4|%%p1, %%r3, %u, %u, -1;\n"
			         "st.global.u32 [%%rd4], %%r4; selp.u32 %%r5, 1, 0, %%p1; "
			"st.global.u32 [%%rd5], %%r5; ret; }", HEAD ENTRY, modes[mode], bv, cv);
			r |= run(text, 1, 32, a, b, 0);
			for (uint32_t l = 0; l < 32; l++) {
				uint32_t lo = l / width * width, j = mode == 0 ? l - bv : mode == 1 ? l + bv
					: mode == 2 ? l ^ bv : lo + bv % width;
				/* xor may reach down */
				bool ok = (mode == 2 || (int32_t)j >= (int32_t)lo)
					&& (int32_t)j < (int32_t)(lo + width);
				bad += a[l] != (ok ? j : l) * 11 || b[l] != ok;
			}
		}
	}
	check(!r && !bad, "shuffle_modes", "error %d (%s), %d wrong", r, fault.what, bad);
}

static void test_warp_ops(void)
{
	uint32_t *a = DEV(uint32_t, 64), *b = DEV(uint32_t, 64);
	int bad = 0;
	CUresult r = run(HEAD ENTRY "and.b32 %r3, %r2, 3; match.any.sync.b32 %r4, %r3, -1; "
		"match.all.sync.b32 %r5|%p1, %r3, -1;\n"
		"redux.sync.add.u32 %r6, %r2, -1; redux.sync.max.s32 %r7, %r2, -1; redux.sync.xor.b32 %r8, %r2, -1; "
		"elect.sync %r9|%p2, 0xfffffff0;\n"
		"vote.sync.uni.pred %p3, %p1, -1; vote.sync.ballot.b32 %r10, !%p2, -1; activemask.b32 %r11;\n"
		"add.u32 %r6, %r6, %r7; add.u32 %r6, %r6, %r8; add.u32 %r6, %r6, %r5; selp.u32 %r12, 1000, 0, %p3; "
		"add.u32 %r6, %r6, %r12;\n"
		"xor.b32 %r4, %r4, %r11; st.global.u32 [%rd4], %r4; add.u32 %r6, %r6, %r9; st.global.u32 [%rd5], %r6; "
		"ret; }", 1, 32, a, b, 0);
	for (uint32_t l = 0; l < 32; l++)
		bad += a[l] != ~(0x11111111u << (l & 3)) || b[l] != 496 + 31 + 0 + 1000;
	check(!r && !bad, "match_redux_vote", "error %d (%s), %d wrong (%x %u)", r, fault.what, bad, a[0], b[0]);
	r = run(HEAD ENTRY "brev.b32 %r3, %r2; and.b32 %r3, %r2, 7; mov.u32 %r5, 0;\n"
		"L: vote.sync.any.pred %p1, 0, 0; setp.eq.u32 %p2, %r3, 0; @%p2 bra E; sub.u32 %r3, %r3, 1; "
		"add.u32 %r5, %r5, 1; bra L;\n"
		"E: bar.warp.sync -1; shfl.sync.idx.b32 %r6, %r5, 7, 31, -1; st.global.u32 [%rd4], %r6; ret; }", 1,
		32, a, b, 0);
	check(!r && a[0] == 7 && a[31] == 7, "reconverge_after_loop", "error %d (%s) %u", r, fault.what, a[0]);
}

static void test_async(void)
{
	uint32_t *a = DEV(uint32_t, 1024), *b = DEV(uint32_t, 1024);
	int bad = 0;
	for (int i = 0; i < 1024; i++)
		a[i] = rnd();
	CUresult r = run(HEAD ".shared .align 128 .b8 s[4096]; .shared .align 8 .b64 mb;\n" ENTRY
		"mul.wide.u32 %rd6, %r2, 16; add.u64 %rd7, %rd1, %rd6; mov.u64 %rd8, s; add.u64 %rd8, %rd8, %rd6; "
		"mov.u32 %r3, 8;\n"
		"cp.async.cg.shared.global [%rd8], [%rd7], 16; cp.async.ca.shared.global [%rd8+1024], [%rd7], 16, "
		"%r3; cp.async.commit_group;\n"
		"cp.async.wait_group 0; ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%rd8]; add.u64 %rd9, %rd2, %rd6;\n"
		"ld.shared.v4.u32 {%r8, %r9, %r10, %r11}, [%rd8+1024]; add.u32 %r5, %r5, %r10; "
		"st.global.v4.u32 [%rd9], {%r4, %r5, %r6, %r9}; ret; }", 1, 32, a, b, 0);
	for (int i = 0; i < 32; i++)
		bad += memcmp(a + 4 * i, b + 4 * i, 12) || b[4 * i + 3] != a[4 * i + 1];
	check(!r && !bad, "cp_async", "error %d (%s), %d wrong", r, fault.what, bad);
	/* Two warps meet at an mbarrier, twice; then a bulk copy completes it by bytes. */
	r = run(HEAD ".shared .align 128 .b8 s[1024]; .shared .align 8 .b64 mb;\n" ENTRY
		"setp.eq.u32 %p1, %r2, 0; mov.u32 %r3, mb; @%p1 mbarrier.init.shared.b64 [%r3], 64; bar.sync 0;\n"
		"mov.u64 %rd6, s; add.u64 %rd7, %rd6, %rd3; st.shared.u32 [%rd7], %r2; "
		"mbarrier.arrive.shared.b64 %rd8, [%r3];\n"
		"W: mbarrier.try_wait.shared.b64 %p2, [%r3], %rd8; @!%p2 bra W; xor.b32 %r4, %r2, 32; "
		"mul.wide.u32 %rd9, %r4, 4;\n"
		"add.u64 %rd9, %rd6, %rd9; ld.shared.u32 %r5, [%rd9]; st.global.u32 [%rd4], %r5; bar.sync 0;\n"
		"@%p1 mbarrier.inval.shared.b64 [%r3]; @%p1 mbarrier.init.shared::cta.b64 [%r3], 1; bar.sync 0;\n"
		"@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [%r3], 256;\n"
		"@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%rd6], [%rd1], 256, [%r3];\n"
		"V: mbarrier.test_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra V; ld.shared.u32 %r6, [%rd7]; "
		"st.global.u32 [%rd5], %r6; ret; }", 1, 64, a, b, 0);
	bad = 0;
	for (uint32_t i = 0; i < 64; i++)
		bad += a[i] != (i ^ 32) || b[i] != (i ^ 32);
	check(!r && !bad, "mbarrier", "error %d (%s), %d wrong (%u %u)", r, fault.what, bad, a[1], b[1]);
}

static void test_wide_atomics(void)
{
	uint64_t *a = DEV(uint64_t, 64);
	float *f = DEV(float, 64);
	CUresult r = run(HEAD ENTRY "atom.global.v4.f32.add {%f1, %f2, %f3, %f4}, [%rd2], {0f3f800000, 0f40000000, "
		"0f40400000, 0f40800000};\n"
		"mov.u64 %rd6, 1; mov.b128 %q1, {%rd6, %rd6}; \n"
		"A: ld.volatile.global.v2.u64 {%rd7, %rd8}, [%rd1]; mov.b128 %q2, {%rd7, %rd8}; "
		"add.u64 %rd9, %rd7, 1; add.u64 %rd10, %rd8, 2;\n"
		"mov.b128 %q3, {%rd9, %rd10}; atom.global.cas.b128 %q1, [%rd1], %q2, %q3; "
		"mov.b128 {%rd11, %rd12}, %q1;\n"
		"setp.ne.u64 %p1, %rd11, %rd7; @%p1 bra A; setp.ne.u64 %p1, %rd12, %rd8; @%p1 bra A; ret; }", 8, 32,
		a, f, 0);
	check(!r && f[0] == 256 && f[3] == 1024 && a[0] == 256 && a[1] == 512, "wide_atomics",
		"error %d (%s) %g %llu", r, fault.what, f[0], (unsigned long long)a[0]);
}

static void test_refusals(void)
{
	static const struct { const char *name, *text, *say; CUresult code; } rows[] = {
		{ "refuse_tcgen05", HEAD ".visible .entry k() {\n.reg .b32 %r<2>;\nwgmma.fence.sync.aligned;\nret; "
			"}", "wgmma.fence", CUDA_ERROR_NOT_SUPPORTED },
		{ "refuse_sured", HEAD ".visible .entry k() {\n.reg .b32 %r<3>; "
		".reg .b64 %rd;\nsured.b.add.1d.u32.trap [%rd, {%r1}], %r2;\nret; }",
		  "sured.b", CUDA_ERROR_NOT_SUPPORTED },
		{ "unresolved_function", HEAD ".extern .func nowhere;\n.visible .entry k() {\ncall nowhere;\nret; }",
		"nowhere", CUDA_ERROR_INVALID_PTX },
		{ "unresolved_variable", HEAD ".extern .global .u32 v;\n.visible .entry k() {\n.reg .u32 "
		"%r;\nld.global.u32 %r, [v];\nret; }", "v", CUDA_ERROR_INVALID_PTX },
	};
	for (unsigned k = 0; k < sizeof rows / sizeof *rows; k++) {
		struct ptx_error e;
		CUresult r = try_load(rows[k].text, &e);
		check(r == rows[k].code && strstr(e.text, rows[k].say) && e.line >= 5, rows[k].name,
			"error %d line %u: %s", r, e.line, e.text);
	}
}

static void *one_grid(void *arg)
{
	uint32_t *v = arg;
	static const char text[] = HEAD ENTRY "L: atom.global.add.u32 %r3, [%rd1], 1; sub.u32 %r1, %r1, 1; "
		"setp.ne.u32 %p1, %r1, 0; @%p1 bra L; ret; }";
	return (void *)(uintptr_t)run(text, 20, 64, v, v, 50);
}

static void test_parallel_grids(void)
{
	uint32_t *v = DEV(uint32_t, 4);
	pthread_t t[6];
	uintptr_t bad = 0;
	void *r;
	for (int i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, one_grid, v);
	for (int i = 0; i < 6; i++) {
		pthread_join(t[i], &r);
		bad |= (uintptr_t)r;
	}
	check(!bad && v[0] == 6 * 20 * 64 * 50, "grids_at_once", "error %u, %u", (unsigned)bad, v[0]);
}

int main(void)
{
	test_sizes();
	test_spaces();
	test_barriers();
	test_shuffles();
	test_warp_ops();
	test_async();
	test_wide_atomics();
	test_refusals();
	test_parallel_grids();
	return harness_end();
}
