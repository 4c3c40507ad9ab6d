/* exec_cluster.c - thread-block clusters on softgpu's processor: special registers, the barrier, shared memory of other
 * blocks by every way to name it, and what goes wrong. */
#include "exec_harness.h"

#define HEAD ".version 8.6\n.target sm_90\n.address_size 64\n"
#define ENTRY \
	".visible .entry k(.param .u64 pa, .param .u32 pn) {\n" \
	".reg .u64 %rd<16>; .reg .u32 %r<32>; .reg .pred %p<8>;\n" \
	"ld.param.u64 %rd1, [pa]; ld.param.u32 %r1, [pn]; mov.u32 %r2, %tid.x; mov.u32 %r3, %cluster_ctarank;\n" \
	"mov.u32 %r4, %cluster_nctarank; mov.u32 %r5, %ctaid.x; mov.u32 %r6, %ntid.x; mad.lo.u32 %r7, %r5, %r6, " \
	"%r2;\n" \
	"mul.wide.u32 %rd2, %r7, 4; add.u64 %rd3, %rd1, %rd2;\n"
#define SYNC "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n"

static CUresult run(const char *text, struct launch_opt o, void *a, uint32_t n)
{
	struct exec_module *m = load_text(text);
	struct { void *a; uint32_t n; } p = { a, n };
	CUresult r = launch(m, "k", o, &p, sizeof p);
	exec_unload(m);
	return r;
}

static void test_registers(void)
{
	uint32_t *a = DEV(uint32_t, 12 * 8 * 4), bad = 0;
	CUresult r =
		run(HEAD ENTRY
		    "mov.u32 %r8, %ctaid.y; mov.u32 %r9, %nctaid.x; mad.lo.u32 %r8, %r8, %r9, %r5; mul.wide.u32 "
		    "%rd4, %r8, 32; "
		    "add.u64 %rd4, %rd1, %rd4;\n"
		    "mov.u32 %r10, %clusterid.x; mov.u32 %r11, %clusterid.y; mov.u32 %r12, %nclusterid.x; "
		    "mov.u32 %r13, %nclusterid.y; mov.u32 %r14, %cluster_ctaid.x; mov.u32 %r15, %cluster_ctaid.y;\n"
		    "mov.u32 %r16, %cluster_nctaid.x; mov.u32 %r17, %cluster_nctaid.y; mov.pred %p1, "
		    "%is_explicit_cluster; "
		    "selp.u32 %r18, 100, 0, %p1; add.u32 %r18, %r18, %r3; mad.lo.u32 %r17, %r17, 16, %r16;\n"
		    "st.global.v4.u32 [%rd4], {%r10, %r11, %r12, %r13}; st.global.v4.u32 [%rd4+16], {%r14, %r15, "
		    "%r17, %r18}; "
		    "ret; }",
		    (struct launch_opt){ .grid = { 6, 4, 1 }, .block = { 1 }, .cluster = { 3, 2, 1 } }, a, 0);
	for (uint32_t y = 0; y < 4; y++)
		for (uint32_t x = 0; x < 6; x++) {
			uint32_t want[8] = { x / 3, y / 2, 2, 2, x % 3, y % 2, 2 * 16 + 3, 100 + x % 3 + y % 2 * 3 };
			bad += memcmp(a + 8 * (y * 6 + x), want, 32) != 0;
		}
	check(!r && !bad, "cluster_registers", "error %d (%s), %u wrong", r, fault.what, bad);
	r = run(HEAD ENTRY
		"mov.pred %p1, %is_explicit_cluster; selp.u32 %r18, 100, 0, %p1; mad.lo.u32 %r18, %r4, 10, %r18; "
		"add.u32 %r18, %r18, %r3; st.global.u32 [%rd3], %r18; " SYNC "ret; }",
		(struct launch_opt){ .grid = { 3 }, .block = { 32 } }, a, 0);
	check(!r && a[0] == 10 && a[95] == 10, "no_cluster_is_one_block", "error %d (%s) %u", r, fault.what, a[0]);
}

/* Each block writes 1000 * rank + tid; each thread reads its neighbour's, by 32-bit, 64-bit and generic addresses. */
static void test_shared(void)
{
	enum { BLOCKS = 8, THREADS = 64, EACH = 4 };
	static const char *const read[] = {
		"mapa.shared::cluster.u32 %r12, %r10, %r11; ld.shared::cluster.u32 %r13, [%r12];\n",
		"cvt.u64.u32 %rd4, %r10; mapa.shared::cluster.u64 %rd5, %rd4, %r11; ld.shared::cluster.u32 %r13, "
		"[%rd5];\n",
		"cvt.u64.u32 %rd4, %r10; cvta.shared.u64 %rd4, %rd4; mapa.u64 %rd5, %rd4, %r11; ld.u32 %r13, "
		"[%rd5];\n",
		"mapa.shared::cluster.u32 %r12, %r10, %r11; cvt.u64.u32 %rd4, %r12; cvta.shared::cluster.u64 %rd5, "
		"%rd4; "
		"ld.u32 %r13, [%rd5];\n",
		"mapa.shared::cluster.u32 %r12, %r10, %r11; red.shared::cluster.add.u32 [%r12], 5000; " SYNC
		"ld.shared.u32 %r13, [%r10];\n",
		"mapa.shared::cluster.u32 %r12, %r10, %r11; atom.shared::cluster.exch.b32 %r13, [%r12], 7;\n",
	};
	static const char *const names[] = { "peer_32",	  "peer_64",  "peer_generic",
					     "peer_cvta", "peer_red", "peer_exch" };
	uint32_t *a = DEV(uint32_t, BLOCKS * THREADS);
	for (unsigned k = 0; k < sizeof read / sizeof *read; k++) {
		char text[4096];
		uint32_t bad = 0;
		snprintf(text, sizeof text, "%s%s%s",
			 HEAD ".shared .u32 s[64];\n" ENTRY "mov.u32 %r9, s; shl.b32 %r10, %r2, 2; add.u32 %r10, "
							    "%r9, %r10; mad.lo.u32 %r8, %r3, 1000, %r2; "
			      "st.shared.u32 [%r10], %r8;\n" SYNC "add.u32 %r11, %r3, 1; rem.u32 %r11, %r11, %r4;\n",
			 read[k], SYNC "st.global.u32 [%rd3], %r13; ret; }");
		CUresult r = run(text, (struct launch_opt){ .grid = { BLOCKS }, .block = { THREADS },
			.cluster = { EACH, 1, 1 } }, a, 0);
		for (uint32_t b = 0; b < BLOCKS; b++)
			for (uint32_t t = 0; t < THREADS; t++) {
				uint32_t peer = 1000 * ((b + 1) % EACH) + t, own = 1000 * (b % EACH) + t;
				bad += a[b * THREADS + t] != (k == 4 ? own + 5000 : peer);
			}
		check(!r && !bad, names[k], "error %d (%s), %u wrong", r, fault.what, bad);
	}
}

static void test_addresses(void)
{
	uint32_t *a = DEV(uint32_t, 128), bad = 0;
	CUresult r = run(HEAD ".shared .u32 s[32];\n" ENTRY
		"mov.u32 %r9, s; mapa.shared::cluster.u32 %r10, %r9, 1; getctarank.shared::cluster.u32 %r11, %r10; "
		"getctarank.shared::cluster.u32 %r12, %r9; mul.lo.u32 %r12, %r12, 10; add.u32 %r11, %r11, %r12;\n"
		"cvt.u64.u32 %rd4, %r10; cvta.shared::cluster.u64 %rd5, %rd4; getctarank.u64 %r13, %rd5; "
		"mad.lo.u32 %r11, %r13, 100, %r11;\n"
		"isspacep.shared::cluster %p1, %rd5; @%p1 add.u32 %r11, %r11, 1000; isspacep.shared %p2, %rd5; "
		"@%p2 add.u32 %r11, %r11, 10000; isspacep.global %p3, %rd5; @%p3 add.u32 %r11, %r11, 100000;\n"
		"mapa.u64 %rd6, %rd5, %r3; isspacep.shared %p4, %rd6; @%p4 add.u32 %r11, %r11, 1000000;\n"
		"st.global.u32 [%rd3], %r11; " SYNC "ret; }",
		(struct launch_opt){ .grid = { 4 }, .block = { 32 }, .cluster = { 4, 1, 1 } }, a, 0);
	for (uint32_t b = 0; b < 4; b++)
		bad += a[32 * b] != 1 + 10 * b + 100 + 1000 + (b == 1 ? 10000 : 0) + 1000000;
	check(!r && !bad, "ranks_of_addresses", "error %d (%s), %u wrong: %u %u", r, fault.what, bad, a[0], a[32]);
}

/* Some threads leave early, some wait much later than they arrive, others spin on what the waiting ones wrote. */
static void test_barrier(void)
{
	uint32_t *a = DEV(uint32_t, 4 * 64), bad = 0;
	static const char text[] =
		HEAD ".shared .u32 s;\n" ENTRY
		     "mov.u32 %r9, s; setp.eq.u32 %p1, %r2, 0; @%p1 st.shared.u32 [%r9], 0; " SYNC
		     "setp.ge.u32 %p1, %r2, 48; @%p1 exit;\n"
		     "mapa.shared::cluster.u32 %r10, %r9, 0; mov.u32 %r12, 0;\n"
		     "L: and.b32 %r13, %r2, 1; setp.eq.u32 %p2, %r13, 0; @%p2 bra E;\n"
		     "atom.shared::cluster.add.u32 %r11, [%r10], 1; barrier.cluster.arrive.release; "
		     "barrier.cluster.wait.acquire; "
		     "bra N;\n"
		     "E: red.shared::cluster.add.u32 [%r10], 1; barrier.cluster.arrive; barrier.cluster.wait;\n"
		     "N: ld.shared::cluster.u32 %r14, [%r10]; barrier.cluster.arrive.relaxed; add.u32 %r12, %r12, 1; "
		     "mul.lo.u32 %r15, %r12, 192; setp.ne.u32 %p3, %r15, %r14; @%p3 trap; barrier.cluster.wait;\n"
		     "setp.lt.u32 %p3, %r12, 10; @%p3 bra L; st.global.u32 [%rd3], %r14; " SYNC "ret; }";
	CUresult r = run(text, (struct launch_opt){ .grid = { 4 }, .block = { 64 }, .cluster = { 2, 2, 1 } }, a, 0);
	check(r == CUDA_ERROR_INVALID_CLUSTER_SIZE, "cluster_does_not_divide_grid", "error %d", r);
	r = run(text, (struct launch_opt){ .grid = { 4 }, .block = { 64 }, .cluster = { 4, 1, 1 } }, a, 0);
	for (uint32_t i = 0; i < 4 * 64; i++)
		bad += a[i] != (i % 64 < 48 ? 1920u : 0u);
	check(!r && !bad, "barrier_phases", "error %d (%s), %u wrong", r, fault.what, bad);
}

static void test_errors(void)
{
	static const struct { const char *name, *text; CUresult want;
	} rows[] = {
		{ "arrive_twice", "barrier.cluster.arrive; barrier.cluster.arrive; ret; }",
		  CUDA_ERROR_LAUNCH_FAILED },
		{ "wait_alone", "barrier.cluster.wait; ret; }", CUDA_ERROR_LAUNCH_FAILED },
		{ "block_has_ended",
		  "setp.eq.u32 %p1, %r3, 1; @%p1 exit; mov.u32 %r9, 0;\n"
		  "L: add.u32 %r9, %r9, 1; setp.lt.u32 %p2, %r9, 10000; @%p2 bra L; mov.u32 %r10, s; "
		  "mapa.shared::cluster.u32 %r11, %r10, 1; ld.shared::cluster.u32 %r12, [%r11]; "
		  "st.global.u32 [%rd3], %r12; ret; }",
		  CUDA_ERROR_LAUNCH_FAILED },
		{ "rank_beyond",
		  "mov.u32 %r10, s; mapa.shared::cluster.u32 %r11, %r10, 2; st.shared::cluster.u32 [%r11], 1; " SYNC
		  "ret; }",
		  CUDA_ERROR_ILLEGAL_ADDRESS },
		{ "offset_beyond",
		  "mov.u32 %r10, s; mapa.shared::cluster.u32 %r11, %r10, 1; "
		  "st.shared::cluster.u32 [%r11+65536], 1; " SYNC "ret; }",
		  CUDA_ERROR_ILLEGAL_ADDRESS },
		{ "deadlock", "setp.eq.u32 %p1, %r3, 1; @%p1 bra B; " SYNC "ret; B: bar.sync 1, 64; ret; }",
		  CUDA_ERROR_LAUNCH_TIMEOUT },
	};
	uint32_t *a = DEV(uint32_t, 64);
	for (unsigned k = 0; k < sizeof rows / sizeof *rows; k++) {
		char text[2048];
		snprintf(text, sizeof text, "%s%s", HEAD ".shared .u32 s[32];\n" ENTRY, rows[k].text);
		CUresult r = run(text, (struct launch_opt){ .grid = { 2 }, .block = { 32 }, .cluster = { 2, 1, 1 } },
				 a, 0);
		check(r == rows[k].want, rows[k].name, "error %d (%s)", r, fault.what);
	}
}

int main(void)
{
	test_registers();
	test_shared();
	test_addresses();
	test_barrier();
	test_errors();
	return harness_end();
}
