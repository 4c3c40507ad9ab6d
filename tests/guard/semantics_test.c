/* semantics_test.c - a guarded kernel does what the original did, and a hostile one does nothing to others.
 *
 * Kernels of tests/guard/cu run twice on softgpu's processor: as nvcc made them, and guarded (narrow, wide, meet);
 * buffers and variables must end equal.  Then the runtime: printf records, asserts, fault records.  Then kernels that
 * reach for memory outside. */
#include <sys/mman.h>
#include "guard/guard.h"
#include "guard/verify.h"
#include "tests/softgpu/exec_harness.h"

#define WINDOW (1ull << 32)
enum { ROOM = 64 << 10, MAX_BUFS = 4, RING = 1 << 16 };

/* The client's window: 4 GiB at its own size's alignment; wide windows have twice that. */
static uint64_t window_of(unsigned n)
{
	uint64_t at = SOFT_ARENA_BASE + n * 4 * WINDOW;
	void *p = mmap((void *)at, 2 * WINDOW + GUARD_SLACK, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		printf("not ok window: cannot map\n");
		exit(1);
	}
	return at;
}

static uint64_t base, top;             /* of the window in use */
static struct guard_records *records;
static uint32_t *kill_word;

static uint64_t take(uint64_t bytes)
{
	uint64_t at = top;

	top += (bytes + 255) & ~255ull;
	return at;
}

struct guarded { struct guard_result r; struct exec_module *m; uint64_t data, ring, fault, heap; };

static bool guard_files(const char *const *paths, unsigned n, struct guard_options o, struct guarded *g,
	const char *name)
{
	struct guard_input in[4];
	struct guard_verdict v = { 0 };
	struct ptx_error err;
	uint32_t piece;
	size_t len;
	char *all;

	for (unsigned i = 0; i < n; i++) {
		const char *text = strchr(paths[i], '\n') ? paths[i] : slurp(paths[i]);

		in[i] = (struct guard_input){ text, strlen(text), paths[i] };
	}
	if (guard_rewrite(in, n, &o, &g->r, &err, &piece)) {
		check(false, name, "refused: %u: %s", err.line, err.text);
		return false;
	}
	if (o.meet &&
	    verify(g->r.text, g->r.text_len, &(struct verify_options){ .wide = o.wide, .meet = true }, NULL, 0, &v)) {
		check(false, name, "the verifier refuses line %u: %s", v.line, v.reason);
		return false;
	}
	verify_free(&v);
	all = guard_compose(g->r.text, g->r.text_len, 90, NULL, 0, &len);
	g->m = load_text(all);
	free(all);
	return true;
}

static void put_image(uint8_t *to, const struct guarded *g, bool in_const)
{
	memcpy(to, in_const ? g->r.cimage : g->r.data, in_const ? g->r.const_bytes : g->r.data_init);
	for (uint32_t i = 0; i < g->r.nrelocs; i++)
		if (g->r.relocs[i].in_const == in_const) {
			uint64_t v;

			memcpy(&v, to + g->r.relocs[i].offset, 8);
			v += g->data;
			memcpy(to + g->r.relocs[i].offset, &v, 8);
		}
}

/* What the worker does when it loads a module. */
static void install(struct guarded *g, bool wide)
{
	const struct exec_symbol *desc = exec_find_symbol(g->m, "ag_desc"), *cmem = exec_find_symbol(g->m, "ag_const");
	struct guard_desc d = { .window_hi = (uint32_t)(base >> 32), .window_mask_hi = wide, .client = 7, .module = 3,
		.window_base = base,
		.window_extent = wide ? 2 * WINDOW : WINDOW, .ntextures = 1 };
	struct guard_printf *ring;
	struct guard_heap *heap;

	g->data = take(g->r.data_bytes + 256);
	memset((void *)g->data, 0, g->r.data_bytes);
	put_image((uint8_t *)g->data, g, false);
	if (cmem)
		put_image((uint8_t *)cmem->addr, g, true);
	g->ring = take(RING + 64);
	ring = (void *)g->ring;
	memset(ring, 0, RING + 64);
	ring->bytes = RING;
	g->fault = take(256);
	*(uint32_t *)g->fault = 0;
	g->heap = take(1 << 16);
	heap = (void *)g->heap;
	memset(heap, 0, sizeof(*heap));
	heap->next = g->heap + 256;
	heap->end = g->heap + (1 << 16);
	d.data = g->data;
	d.kill = (uint64_t)kill_word;
	d.records = (uint64_t)records;
	d.fault_word = g->fault;
	d.printf_ring = g->ring;
	d.heap = g->heap;
	memset(records, 0, sizeof(*records));
	memcpy((void *)desc->addr, &d, sizeof(d));
}

static const struct guard_kernel *kernel_of(const struct guarded *g, const char *name)
{
	for (uint32_t i = 0; i < g->r.nkernels; i++)
		if (strstr(g->r.kernels[i].name, name))
			return &g->r.kernels[i];
	return NULL;
}

/* --- equal results --- */

/* args: one letter a parameter: i int buffer, f float, d double, h f16; digits an int, c the next scalar is a float,
 * s a struct of bytes of the given size. */
struct run { const char *file, *kernel, *args; struct dims grid, block; uint32_t shared; bool coop; };

static const struct run runs[] = {
	{ "basic", "saxpy", "c2 f f 1000", { 4, 1, 1 }, { 256, 1, 1 }, 0, false },
	{ "basic", "reduce", "f f 700", { 1, 1, 1 }, { 256, 1, 1 }, 0, false },
	{ "basic", "matmul", "f f f 32", { 2, 2, 1 }, { 16, 16, 1 }, 0, false },
	{ "basic", "vectors", "f f d i i", { 1, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "basic", "atomics", "i i d i", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "basic", "fill", "i L999", { 1, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "variables", "globals", "f 5", { 1, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "variables", "3dyn", "f 40", { 1, 1, 1 }, { 64, 1, 1 }, 1024, false },
	{ "variables", "only_dyn", "d", { 1, 1, 1 }, { 64, 1, 1 }, 1024, false },
	{ "variables", "locals", "i 17", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "variables", "by_value", "s256 i 9", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "variables", "by_copy", "s256 i 9", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "escape", "escape", "i i 3", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "escape", "escape", "i i 4", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "generic", "calls", "f 6 s40", { 1, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "generic", "swaps", "i 3", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "generic", "swaps", "i 6", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "grid", "grid_sum", "f 3", { 3, 1, 1 }, { 64, 1, 1 }, 0, true },
	{ "grid", "tiles", "i", { 1, 1, 1 }, { 128, 1, 1 }, 0, false },
	{ "warp", "barriers", "i 2", { 1, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "barriers", "pipe", "i 9", { 1, 1, 1 }, { 128, 1, 1 }, 0, false },
	{ "barriers", "halves", "i 5", { 2, 1, 1 }, { 256, 1, 1 }, 0, false },
	{ "barriers", "votes", "i 7", { 2, 1, 1 }, { 50, 3, 1 }, 0, false },
	{ "barriers", "leavers", "i 3", { 1, 1, 1 }, { 100, 1, 1 }, 0, false },
	{ "barriers", "part", "i 6", { 1, 1, 1 }, { 80, 1, 1 }, 0, false },
	{ "warp", "table", "i 6", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "warp", "table", "i 77", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "math", "doubles", "d", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "math", "floats", "f", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "math", "halves", "h h h", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "math", "integers", "l i i", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "async", "copies", "f f", { 1, 1, 1 }, { 128, 1, 1 }, 0, false },
	{ "matrix", "tensor", "h f", { 1, 1, 1 }, { 32, 1, 1 }, 0, false },
	{ "matrix", "fragments", "h h f 48", { 3, 3, 1 }, { 32, 1, 1 }, 0, false },
	{ "pointers", "8pointers", "i 40", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "pointers", "8pointers", "i 41", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "pointers", "8virtuals", "i 7", { 1, 1, 1 }, { 1, 1, 1 }, 0, false },
	{ "meet", "late", "i", { 1, 1, 1 }, { 96, 1, 1 }, 0, false },
	{ "meet", "leaves", "i 5", { 1, 1, 1 }, { 33, 3, 1 }, 0, false },
	{ "meet", "leaves", "i 2", { 1, 1, 1 }, { 5, 4, 1 }, 0, false },
	{ "meet", "breaks", "i 40", { 1, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "meet", "fewer", "i", { 1, 1, 1 }, { 80, 1, 1 }, 0, false },
	{ "meet", "blocks", "i 4", { 1, 1, 1 }, { 256, 1, 1 }, 0, false },
	{ "meet", "predicated", "i", { 1, 1, 1 }, { 128, 1, 1 }, 0, false },
	{ "meet", "matrices", "i", { 1, 1, 1 }, { 32, 1, 1 }, 0, false },
	{ "meet", "dynamic", "i 3000", { 1, 1, 1 }, { 128, 1, 1 }, 12000, false },
	{ "meet", "bounded", "i", { 1, 1, 1 }, { 96, 1, 1 }, 0, false },
	{ "cluster", "histogram", "i i 900", { 8, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "cluster", "ring", "f 5", { 4, 2, 1 }, { 64, 1, 1 }, 512, false },
	{ "cluster", "uneven", "i 2", { 4, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "cluster_block", "both", "i 5", { 8, 1, 1 }, { 64, 1, 1 }, 0, false },
	{ "cluster", "barrier_only", "i 6", { 8, 1, 1 }, { 64, 1, 1 }, 0, false },
};

struct bufs { uint8_t *at[8]; unsigned n; };

static void fill(uint8_t *p, char kind)
{
	for (unsigned i = 0; i < ROOM / 8; i++) {
		uint32_t r = (i * 2654435761u) >> 7;

		switch (kind) {
		case 'i':
			((int *)p)[2 * i] = (int)(r % 7 + 1);
			((int *)p)[2 * i + 1] = (int)(r % 5 + 1);
			break;
		case 'f':
			((float *)p)[2 * i] = (float)(r % 97) / 8;
			((float *)p)[2 * i + 1] = (float)(r % 89 + 1) / 4;
			break;
		case 'd':
			((double *)p)[i] = (double)(r % 97 + 1) / 8;
			break;
		case 'h':
			for (int j = 0; j < 4; j++)
				((uint16_t *)p)[4 * i + j] = (uint16_t)(0x3000 + r % 0x800);
			break;
		default: ((int64_t *)p)[i] = (int64_t)r * 1000003 + 1;
		}
	}
}

static size_t put_params(const char *args, uint8_t *params, struct bufs *b)
{
	size_t at = 0;

	memset(b, 0, sizeof(*b));
	for (const char *p = args; *p;) {
		size_t size = 4;
		float f;
		uint64_t v;

		if (strchr("ifdhl", *p)) {
			size = 8;
			b->at[b->n] = (uint8_t *)take(ROOM);
			fill(b->at[b->n], *p);
			v = (uint64_t)b->at[b->n++];
		} else if (*p == 'c') {
			f = strtof(p + 1, NULL);
			memcpy(&v, &f, 4);
		} else if (*p == 's') {
			size = strtoul(p + 1, NULL, 10);
			at = (at + 7) & ~(size_t)7;
			for (size_t i = 0; i < size; i++)
				params[at + i] = (uint8_t)(i * 7 % 50);
			v = 0;
		} else {
			size = *p == 'L' ? 8 : 4;
			v = strtoull(p + (*p == 'L'), NULL, 10);
		}
		if (*p != 's') {
			at = (at + size - 1) & ~(size - 1);
			memcpy(params + at, &v, size);
		}
		at += size;
		p += strcspn(p, " ");
		p += strspn(p, " ");
	}
	return at;
}

static const char *original_name(const char *text, const char *part, char out[128])
{
	const char *p = text;

	while ((p = strstr(p, ".visible .entry "))) {
		size_t n = strcspn(p + 16, "(");

		snprintf(out, 128, "%.*s", (int)n, p + 16);
		if (strstr(out, part))
			return out;
		p += 16;
	}
	return NULL;
}

static CUresult launch_guarded(struct guarded *g, const struct run *r, uint8_t *params, size_t size)
{
	const struct guard_kernel *k = kernel_of(g, r->kernel);
	struct launch_opt o = { .grid = r->grid, .block = r->block, .shared = r->shared };
	char name[16];

	if (k->uses_dyn_shared && o.shared < k->min_dyn_shared)
		o.shared = k->min_dyn_shared;
	o.shared = (o.shared + 15) & ~15u;
	if (k->hidden_coop) {
		uint64_t ws = take(256);

		memset((void *)ws, 0, 64);
		*(uint32_t *)ws = 64;
		size = (size + 7) & ~(size_t)7;
		memcpy(params + size, &ws, 8);
		size += 8;
	}
	snprintf(name, sizeof(name), "k%u", k->index);
	return launch(g->m, name, o, params, size);
}

static void compare(const struct run *r, bool wide, bool meet)
{
	char path[128], name[128], full[200];
	const char *paths[1] = { path };
	uint8_t params[2][512];
	struct bufs b[2];
	struct guarded g;
	struct launch_opt o = { .grid = r->grid, .block = r->block, .shared = r->shared, .cooperative = r->coop };
	struct exec_module *m;
	CUresult e[2];
	size_t size;
	int differs = -1;

	snprintf(path, sizeof(path), "build/tests/guard_ptx/%s.ptx", r->file);
	snprintf(full, sizeof(full), "%s %s %s", r->kernel, r->args, meet ? "meet" : wide ? "wide" : "narrow");
	top = base + GUARD_SLACK;
	m = load_text(slurp(path));
	size = put_params(r->args, params[0], &b[0]);
	if (!original_name(slurp(path), r->kernel, name)) {
		check(false, full, "no such kernel");
		return;
	}
	e[0] = launch(m, name, o, params[0], size);
	if (!guard_files(paths, 1, (struct guard_options){ .wide = wide, .report = true, .fence = true, .poll = true,
		.scrub = !wide, .meet = meet, .target_sm = 90 }, &g, full))
		return;
	if (wide)
		top = base + WINDOW - 3 * ROOM;         /* buffers on both sides of the 4 GiB line */
	install(&g, wide);
	size = put_params(r->args, params[1], &b[1]);
	e[1] = launch_guarded(&g, r, params[1], size);
	for (unsigned i = 0; i < b[0].n && differs < 0; i++)
		for (unsigned j = 0; j < ROOM && differs < 0; j++)
			if (b[0].at[i][j] != b[1].at[i][j])
				differs = (int)(i * ROOM + j);
	check(!e[0] && !e[1] && differs < 0 && !records->count, full,
		"errors %d %d (%s), first difference at %d, %u records (line %u, 0x%llx)",
		e[0], e[1], fault.what, differs, records->count, records->rec[0].line,
		(unsigned long long)records->rec[0].addr);
	guard_result_free(&g.r);
	exec_unload(m);
	exec_unload(g.m);
}

static void linked(void)
{
	const char *paths[] = { "build/tests/guard_ptx/link_a.ptx", "build/tests/guard_ptx/link_b.ptx" };
	struct guarded g;
	struct run first = { .kernel = "first", .grid = { 1, 1, 1 }, .block = { 1, 1, 1 } }, second = first;
	uint8_t params[64];
	struct bufs b;
	size_t size;

	second.kernel = "second";
	top = base + GUARD_SLACK;
	if (!guard_files(paths, 2, (struct guard_options){ .report = true, .fence = true, .poll = true, .scrub = true,
		.target_sm = 90 }, &g, "linked"))
		return;
	install(&g, false);
	size = put_params("f 2", params, &b);
	float want = (((float *)b.at[0])[2] * 2 + 5 + 5) * 3;
	CUresult e = launch_guarded(&g, &first, params, size);
	check(!e && ((float *)b.at[0])[0] == want, "linked first", "error %d, %g for %g", e, ((float *)b.at[0])[0],
		want);
	put_params("i", params, &b);
	e = launch_guarded(&g, &second, params, 8);
	check(!e && ((int *)b.at[0])[0] == 3 + 10, "linked second", "error %d, %d", e, ((int *)b.at[0])[0]);
	guard_result_free(&g.r);
	exec_unload(g.m);
}

/* --- the runtime --- */

struct reader { const struct guard_printf *ring; uint64_t at; };

static const uint64_t *record(struct reader *r)
{
	const uint64_t *w = (const uint64_t *)(r->ring->data + r->at);

	if (!*w)
		return NULL;
	r->at += (uint32_t)*w;
	return w;
}

static const char *string_at(const uint64_t *rec, uint64_t off)
{
	return off ? (const char *)rec + off : "(null)";
}

static void outputs(void)
{
	const char *paths[] = { "build/tests/guard_ptx/output.ptx" };
	struct run r = { .kernel = "6output", .grid = { 1, 1, 1 }, .block = { 1, 1, 1 } };
	struct guarded g;
	uint8_t params[64];
	struct bufs b;
	struct reader rd;
	const uint64_t *w;
	CUresult e;

	for (int c = 0; c < 4; c++) {
		top = base + GUARD_SLACK;
		if (!guard_files(paths, 1, (struct guard_options){ .report = true, .fence = true, .poll = true,
			.scrub = true, .target_sm = 90 }, &g, "output"))
			return;
		install(&g, false);
		put_params("i i", params, &b);
		int *o = (int *)b.at[0];
		strcpy((char *)b.at[1], "from the window");
		o[1] = c == 1 ? 3 : 4;
		o[2] = c == 2 ? 9 : c == 3 ? 10 : 0;
		o[3] = 40;
		o[9] = 0;
		e = launch_guarded(&g, &r, params, 16);
		rd = (struct reader){ (void *)g.ring, 0 };
		w = record(&rd);
		double f = 0;
		if (w)
			memcpy(&f, &w[2 + 2], 8);
		check(!e && w && w[1] == 4 && !strcmp(string_at(w, 16 + 32), "hello %d %s %f %s\n") && (int)w[2] == o[0]
			&& !strcmp(string_at(w, w[3]), "abc") && f == 1.5 && !strcmp(string_at(w, w[5]), "zb"),
			"printf record",
			"error %d (%s)", e, fault.what);
		w = record(&rd);
		check(w && w[1] == 0 && !strcmp((const char *)(w + 2), "plain\n"), "printf without arguments", "wrong");
		if (c == 0) {
			w = record(&rd);
			check(w && w[1] == 4 && (int)w[2] == o[7] && (int)w[3] == o[5] && (int)w[4] == o[6]
				&& w[5] == 'x', "printf star", "wrong");
			check(o[4] == 40 && !records->count, "malloc", "%d, %u records, line %u", o[4],
				records->count, records->rec[0].line);
		} else if (c == 1) {
			w = record(&rd);
			check(w && *w >> 32 == 1 && strstr(string_at(w, w[2]), "o[1] != 3") && strstr(string_at(w,
				w[3]), "output.cu")
				&& w[5] == 11, "assert record", "line %d", w ? (int)w[5] : -1);
			check(records->count == 1 && records->rec[0].kind == GUARD_FAULT_ASSERT
				&& records->rec[0].client == 7
				&& records->rec[0].module == 3 && records->rec[0].valid && *(uint32_t *)g.fault == 1,
				"assert fault", "%u",
				records->rec[0].kind);
		} else {
			check(records->count == 1 && records->rec[0].kind == GUARD_FAULT_TRAP,
				c == 2 ? "trap fault" : "brkpt fault", "%u",
				records->rec[0].kind);
		}
		guard_result_free(&g.r);
		exec_unload(g.m);
	}
}

/* --- reaching out --- */

static const char rogue[] =
	".version 9.0\n.target sm_90\n.address_size 64\n"
	".visible .entry poke(.param .u64 p, .param .u64 v)\n{\n"
	".reg .b64 %rd<4>;\n.reg .b32 %r<3>;\n"
	"ld.param.u64 %rd1, [p];\nld.param.u64 %rd2, [v];\n"
	"ld.global.u64 %rd3, [%rd1];\n"
	"st.global.u64 [%rd1], %rd2;\nret;\n}\n"
	".visible .entry sh(.param .u32 i)\n{\n"
	".reg .b32 %r<3>;\n.shared .align 4 .b8 s[64];\n"
	"ld.param.u32 %r1, [i];\nmov.u32 %r2, s;\nadd.u32 %r2, %r2, %r1;\nst.shared.u32 [%r2], %r1;\nret;\n}\n"
	".visible .entry spin()\n{\n.reg .b32 %r<3>;\n"
	"L: add.u32 %r1, %r1, 1;\nbra L;\n}\n";

static void one_poke(const char *name, struct guarded *g, uint64_t at, uint64_t victim, uint32_t kind, bool wide)
{
	struct run r = { .kernel = "poke", .grid = { 1, 1, 1 }, .block = { 1, 1, 1 } };
	uint64_t params[2] = { at, 0xdeadbeefdeadbeef }, was = *(uint64_t *)victim;
	char full[64];
	CUresult e;

	snprintf(full, sizeof(full), "poke %s %s", name, wide ? "wide" : "narrow");
	memset(records, 0, sizeof(*records));
	e = launch_guarded(g, &r, (uint8_t *)params, 16);
	check(!e && *(uint64_t *)victim == was && records->count == 1 && records->rec[0].kind == kind
		&& records->rec[0].addr == at
		&& records->rec[0].line == 10, full, "error %d (%s), %u records, kind %u, line %u, address 0x%llx", e,
		fault.what, records->count,
		records->rec[0].kind, records->rec[0].line, (unsigned long long)records->rec[0].addr);
}

static void reaches_out(bool wide, uint64_t stranger)
{
	const char *paths[] = { rogue };
	uint64_t end = base + (wide ? 2 : 1) * WINDOW;
	struct run r = { .kernel = "sh", .grid = { 1, 1, 1 }, .block = { 1, 1, 1 } };
	struct guarded g;
	uint32_t i;
	CUresult e;

	top = base + GUARD_SLACK;
	if (!guard_files(paths, 1, (struct guard_options){ .wide = wide, .report = true, .fence = true, .poll = true,
		.scrub = !wide, .target_sm = 90 }, &g, "rogue"))
		return;
	install(&g, wide);
	one_poke("stranger", &g, stranger + 64, stranger + 64, GUARD_FAULT_ADDRESS, wide);
	one_poke("below", &g, base - 8, stranger, GUARD_FAULT_ADDRESS, wide);
	one_poke("above", &g, end, stranger, GUARD_FAULT_ADDRESS, wide);
	one_poke("null", &g, 0, stranger, GUARD_FAULT_ADDRESS, wide);
	one_poke("records", &g, (uint64_t)&records->rec[9], (uint64_t)&records->rec[9], GUARD_FAULT_ADDRESS, wide);
	one_poke("misaligned", &g, base + GUARD_SLACK + 3, stranger, GUARD_FAULT_ALIGN, wide);
	for (i = 60; i < 70; i += 4) {
		memset(records, 0, sizeof(*records));
		e = launch_guarded(&g, &r, (uint8_t *)&i, 4);
		check(!e && records->count == (i > 60), i > 60 ? "shared outside" : "shared inside",
			"error %d, %u records", e, records->count);
	}
	*kill_word = 1;
	r.kernel = "spin";
	e = launch_guarded(&g, &r, (uint8_t *)&i, 0);
	check(!e, wide ? "kill wide" : "kill narrow", "error %d", e);
	*kill_word = 0;
	guard_result_free(&g.r);
	exec_unload(g.m);
}

/* An argument: kernels of that file only. */
int main(int argc, char **argv)
{
	uint64_t stranger;

	stranger = window_of(3) + GUARD_SLACK;
	base = window_of(4);
	records = (void *)dev_alloc(sizeof(*records), 256);
	kill_word = (void *)dev_alloc(4096, 256);
	*kill_word = 0;
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
		for (int mode = 0; mode < 3; mode++)
			if (argc < 2 || !strcmp(argv[1], runs[i].file))
				compare(&runs[i], mode == 1, mode == 2);
	linked();
	outputs();
	reaches_out(false, stranger);
	reaches_out(true, stranger);
	return harness_end();
}
