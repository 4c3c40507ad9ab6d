/* exec_flow.c - divergence torture: random programs of ifs, loops, early exits, calls, switches and warp reductions,
 * made as a tree, printed as PTX and interpreted per thread in C.  A wrong mask, a lost lane or a stale frame
 * changes some thread's result. */
#include "exec_harness.h"

enum kind { STEP, IF, LOOP, LEAVE, CALL, SWITCH, BALLOT, SEQ };
struct node { enum kind k; uint32_t a, b; struct node *sub[4]; };

static struct node *make(int depth, bool top)
{
	struct node *n = calloc(1, sizeof *n);
	uint32_t r = rnd() % 100;
	n->a = rnd() | 1;
	n->b = rnd();
	if (depth == 0 || r < 15) {
		n->k = STEP;
	} else if (r < 35) {
		n->k = SEQ;
		n->sub[0] = make(depth - 1, top);
		n->sub[1] = make(depth - 1, top);
	} else if (r < 60) {
		n->k = IF;
		n->sub[0] = make(depth - 1, false);
		n->sub[1] = rnd() % 3 ? make(depth - 1, false) : NULL;
	} else if (r < 78) {
		n->k = LOOP;
		n->sub[0] = make(depth - 1, false);
	} else if (r < 82) {
		n->k = LEAVE;
	} else if (r < 90) {
		n->k = CALL;
	} else if (r < 96) {
		n->k = SWITCH;
		for (int i = 0; i < 4; i++)
			n->sub[i] = make(depth - 1, false);
	} else {
		n->k = top ? BALLOT : STEP;
	}
	return n;
}

static void discard(struct node *n)
{
	for (int i = 0; n && i < 4; i++)
		discard(n->sub[i]);
	free(n);
}

/* --- as PTX -------------------------------------------------------------------------------------- */

static int labels;

static void print(FILE *o, const struct node *n)
{
	int l = labels;
	if (!n)
		return;
	labels += 8;
	switch (n->k) {
	case STEP:
		fprintf(o, "mad.lo.u32 %%x, %%x, %u, %u;\n", n->a, n->b);
		break;
	case SEQ:
		print(o, n->sub[0]);
		print(o, n->sub[1]);
		break;
	case IF:
		fprintf(o, "and.b32 %%t, %%x, %u; setp.eq.u32 %%p, %%t, 0; @%%p bra L%d;\n", 1u << (n->b % 32), l);
		print(o, n->sub[0]);
		fprintf(o, "bra L%d;\nL%d:\n", l + 1, l);
		print(o, n->sub[1]);
		fprintf(o, "L%d:\n", l + 1);
		break;
	case LOOP:
		/* Counters live in a register of their own per loop: %c<label>. */
		fprintf(o, ".reg .u32 %%c%d; shr.u32 %%c%d, %%x, 28; and.b32 %%c%d, %%c%d, 7;\nL%d:\n", l, l, l, l, l);
		fprintf(o, "setp.eq.u32 %%p, %%c%d, 0; @%%p bra L%d; sub.u32 %%c%d, %%c%d, 1;\n", l, l + 1, l, l);
		print(o, n->sub[0]);
		fprintf(o, "mad.lo.u32 %%x, %%x, %u, 7; bra L%d;\nL%d:\n", n->a, l, l + 1);
		break;
	case LEAVE:
		fprintf(o, "rem.u32 %%t, %%x, 61; setp.eq.u32 %%p, %%t, 5; @%%p bra DONE;\n");
		fprintf(o, "setp.eq.u32 %%p, %%t, 7; @%%p st.global.u32 [%%rd2], %%x; @%%p exit;\n");
		break;
	case CALL:
		fprintf(o, "{ .param .b32 p0; .param .b32 r0; st.param.b32 [p0], %%x;\n"
		        "%s call (r0), twist, (p0); ld.param.b32 %%t, [r0]; }\n", n->b & 1 ? "@%cp" : "");
		fprintf(o, n->b & 1 ? "@%%cp mov.u32 %%x, %%t;\n" : "mov.u32 %%x, %%t;\n");
		break;
	case SWITCH:
		fprintf(o, "and.b32 %%t, %%x, 3;\nT%d: .branchtargets L%d, L%d, L%d, L%d;\nbrx.idx %%t, T%d;\n", l,
			l, l + 1, l + 2, l + 3, l);
		for (int i = 0; i < 4; i++) {
			fprintf(o, "L%d:\n", l + i);
			print(o, n->sub[i]);
			fprintf(o, "bra L%d;\n", l + 4);
		}
		fprintf(o, "L%d:\n", l + 4);
		break;
	case BALLOT:
		/* All lanes that have not exited take part, wherever they are. */
		fprintf(o, "setp.lt.u32 %%p, %%x, %u; @%%p add.u32 %%x, %%x, 1; bar.warp.sync 0xffffffff;\n", n->a);
		break;
	}
}

static char *program(const struct node *n)
{
	char *text;
	size_t len;
	FILE *o = open_memstream(&text, &len);
	labels = 0;
	fprintf(o, ".version 8.6\n.target sm_90\n.address_size 64\n"
	        ".func (.param .b32 r) twist(.param .b32 v) {\n.reg .u32 %%a, %%b; .reg .pred %%p;\n"
	        "ld.param.b32 %%a, [v]; and.b32 %%b, %%a, 7; \nLT: setp.eq.u32 %%p, %%b, 0; @%%p bra LE;\n"
	        "mad.lo.u32 %%a, %%a, 1664525, 1013904223; sub.u32 %%b, %%b, 1; bra LT;\nLE:\n"
	        "setp.gt.u32 %%p, %%a, 0x80000000; @%%p bra LF; st.param.b32 [r], %%a; ret;\nLF: not.b32 %%a, %%a;\n"
	        "st.param.b32 [r], %%a; ret;\n}\n");
	fprintf(o, ".visible .entry k(.param .u64 out, .param .u32 seed) {\n.reg .u64 %%rd<4>; "
		".reg .u32 %%x, %%t, %%i, %%s;\n"
	        ".reg .pred %%p, %%cp;\nmov.u32 %%i, %%tid.x; mov.u32 %%t, %%ctaid.x; mov.u32 %%s, %%ntid.x;\n"
	        "mad.lo.u32 %%i, %%t, %%s, %%i; ld.param.u32 %%s, [seed]; ld.param.u64 %%rd1, [out];\n"
	        "mul.wide.u32 %%rd2, %%i, 4; add.u64 %%rd2, %%rd1, %%rd2; add.u32 %%x, %%i, %%s;\n"
	        "mul.lo.u32 %%x, %%x, 2654435761; and.b32 %%t, %%i, 3; setp.ne.u32 %%cp, %%t, 1;\n");
	print(o, n);
	fprintf(o, "add.u32 %%x, %%x, 1;\nDONE: st.global.u32 [%%rd2], %%x; ret;\n}\n");
	fclose(o);
	return text;
}

/* --- in C ----------------------------------------------------------------------------------------- */

static uint32_t twist(uint32_t a)
{
	for (uint32_t b = a & 7; b; b--)
		a = a * 1664525u + 1013904223u;
	return a > 0x80000000u ? ~a : a;
}

/* False when the thread left. */
static bool eval(const struct node *n, uint32_t *x, uint32_t i)
{
	if (!n)
		return true;
	switch (n->k) {
	case STEP: *x = *x * n->a + n->b; return true;
	case SEQ: return eval(n->sub[0], x, i) && eval(n->sub[1], x, i);
	case IF: return *x & 1u << (n->b % 32) ? eval(n->sub[0], x, i) : eval(n->sub[1], x, i);
	case LOOP:
		for (uint32_t c = *x >> 28 & 7; c; c--) {
			if (!eval(n->sub[0], x, i))
				return false;
			*x = *x * n->a + 7;
		}
		return true;
	case LEAVE: return *x % 61 != 5 && *x % 61 != 7;
	case CALL:
		if (!(n->b & 1) || (i & 3) != 1)
			*x = twist(*x);
		return true;
	case SWITCH: return eval(n->sub[*x & 3], x, i);
	default: *x += *x < n->a; return true;
	}
}

static void torture(int programs)
{
	enum { T = 2 * 100 };
	uint32_t *out = DEV(uint32_t, T);
	int bad = 0, broken = 0;
	for (int k = 0; k < programs; k++) {
		struct node *n = make(7, true);
		char *text = program(n);
		struct exec_module *m = load_text(text);
		struct { uint32_t *out, seed; } p = { out, rnd() };
		CUresult r = launch(m, "k", (struct launch_opt){ .grid = { 2 }, .block = { 100 } }, &p, sizeof p);
		broken += r != CUDA_SUCCESS;
		for (uint32_t i = 0; i < T; i++) {
			uint32_t x = (i + p.seed) * 2654435761u;
			if (eval(n, &x, i))
				x++;
			bad += out[i] != x;
		}
		if (r || (bad && bad <= T))
			printf("# program %d: error %d (%s), %d wrong\n", k, r, fault.what, bad);
		exec_unload(m);
		free(text);
		discard(n);
	}
	check(!bad && !broken, "random_programs", "%d results wrong, %d launches failed", bad, broken);
}

int main(int argc, char **argv)
{
	torture(argc > 1 ? atoi(argv[1]) : 150);
	return harness_end();
}
