/* world.c - see world.h. */
#include "tests/guard/world.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

static void map(uint64_t addr, uint64_t bytes)
{
	if (mmap((void *)addr, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
		printf("not ok attack/memory: %s\n", strerror(errno));
		exit(1);
	}
}

static const uint64_t victims[] = { NEIGHBOUR, NEIGHBOUR + AREA, BELOW, BELOW + AREA, SERVICE, 0 };

/* The client's surface: 5 x 4 integers in rows of 32 bytes, with someone's secret between them. */
static void set_surfaces(void)
{
	struct guard_surface *table = (void *)(WORKER + 3 * AREA + 4096);
	uint32_t *rows = (void *)OWN_ROWS;
	for (unsigned i = 0; i < 2; i++) {
		table[i].query = i ? OWN_SURFACE : EMPTY_SURFACE;
		for (unsigned g = 0; g < GUARD_GEOMETRIES; g++)
			for (unsigned w = 0; w < 5; w++)
				table[i].handle[g][w] = i && g == GUARD_2D && w < 3 ? OWN_SURFACE : EMPTY_SURFACE + g;
	}
	for (unsigned i = 0; i < 32; i++)
		rows[i] = i % 8 < 5 ? 0 : SECRET;
}

void world_set(bool wide)
{
	for (size_t i = 0; victims[i]; i++)
		for (unsigned w = 0; w < AREA / 4; w++)
			((uint32_t *)victims[i])[w] = SECRET;
	for (unsigned w = 0; w < AREA / 4; w++)
		((uint32_t *)(WINDOW + 4 * GIB + GUARD_SLACK))[w] = wide ? 0 : SECRET;
	memset((void *)WORKER, 0, 4 * AREA);
	madvise((void *)WINDOW, 4 * GIB, MADV_DONTNEED);
	madvise((void *)(WINDOW + 4 * GIB + GUARD_SLACK + AREA), 4 * GIB - AREA, MADV_DONTNEED);
	*(uint64_t *)(WORKER + 3 * AREA) = EMPTY_TEXTURE;
	set_surfaces();
	struct guard_printf *ring = (void *)RING;
	ring->bytes = 1 << 16;
}

void world_leave(uint32_t word)
{
	static const char text[] =
		".version 8.0\n.target sm_90\n.address_size 64\n.extern .shared .align 16 .b8 s[];\n"
		".visible .entry leave(.param .u32 word)\n{\n\t.reg .b32 %r<6>;\n\t.reg .pred %p;\n"
		"\t.local .align 16 .b8 l[4096];\n\tld.param.u32 %r1, [word];\n\tmov.u32 %r2, %tid.x;\n"
		"\tshl.b32 %r2, %r2, 4;\n\tmov.u32 %r3, s;\n\tadd.u32 %r3, %r3, %r2;\n\tmov.u32 %r2, 32;\n"
		"$s:\n\tst.shared.v4.u32 [%r3], {%r1, %r1, %r1, %r1};\n\tadd.u32 %r3, %r3, 2048;\n"
		"\tsub.u32 %r2, %r2, 1;\n\tsetp.ne.u32 %p, %r2, 0;\n\t@%p bra $s;\n"
		"\tmov.u32 %r3, l;\n\tadd.u32 %r4, %r3, 4096;\n"
		"$l:\n\tst.local.v4.u32 [%r3], {%r1, %r1, %r1, %r1};\n\tadd.u32 %r3, %r3, 16;\n"
		"\tsetp.lt.u32 %p, %r3, %r4;\n\t@%p bra $l;\n\tret;\n}\n";
	static struct exec_module *m;
	struct launch_opt o = { .grid = { 1, 1, 1 }, .block = { 128, 1, 1 }, .shared = 65536 };
	if (!m)
		m = load_text(text);
	if (launch(m, "leave", o, &word, sizeof word)) {
		printf("not ok attack/leave: %s\n", fault.what);
		exit(1);
	}
}

bool world_untouched(bool wide)
{
	for (size_t i = 0; victims[i]; i++)
		for (unsigned w = 0; w < AREA / 4; w++)
			if (((uint32_t *)victims[i])[w] != SECRET)
				return false;
	for (unsigned i = 0; i < 32; i++)
		if (i % 8 > 4 && ((uint32_t *)OWN_ROWS)[i] != SECRET)
			return false;
	for (unsigned w = 0; w < AREA / 4 && !wide; w++)
		if (((uint32_t *)(WINDOW + 4 * GIB + GUARD_SLACK))[w] != SECRET)
			return false;
	return true;
}

bool world_holds(uint32_t word)
{
	const uint64_t places[] = { WINDOW, OWN, DATA, RING };
	for (size_t i = 0; i < 4; i++)
		if (memmem((void *)places[i], AREA, &word, 4))
			return true;
	return false;
}

bool world_leaked(void)
{
	return world_holds(SECRET);
}

/* Textures and surfaces, as the Driver side would know them: the neighbour's, which have the number of its memory, and
 * the worker's empty ones and the client's, to which the tables refer. */
bool soft_texture(uint64_t handle, bool surface, struct exec_texture *out)
{
	bool empty = handle - EMPTY_SURFACE < GUARD_GEOMETRIES;
	unsigned g = empty ? (unsigned)handle - EMPTY_SURFACE : GUARD_2D;
	if (surface && (empty || handle == OWN_SURFACE)) {
		*out = (struct exec_texture){ .data = empty ? WORKER + 3 * AREA + 128 + 16 * g : OWN_ROWS,
			.pitch = 32, .slice = 32, .width = empty ? 1 : 5, .bits = 32, .channels = empty ? 4 : 1,
			.height = !empty ? 4 : g != GUARD_1D && g != GUARD_A1D, .depth = empty && g >= GUARD_3D,
			.layered = g >= GUARD_A1D };
		return true;
	}
	if (handle != NEIGHBOUR + 65536 && (surface || handle != EMPTY_TEXTURE))
		return false;
	*out = (struct exec_texture){ .data = handle == EMPTY_TEXTURE ? WORKER + 3 * AREA + 64 : NEIGHBOUR + 65536,
		.pitch = 64, .width = 8, .height = 8, .bits = 32, .channels = 1, .kind = EXEC_TEXEL_FLOAT };
	return true;
}

void world_map(void)
{
	map(WINDOW, 8 * GIB + GUARD_SLACK);
	map(NEIGHBOUR, 2 * AREA);
	map(BELOW, 2 * AREA);
	map(SERVICE, AREA);
	map(WORKER, 4 * AREA);
}

bool world_describe(struct exec_module *m, bool wide)
{
	const struct exec_symbol *d = exec_find_symbol(m, "ag_desc");
	struct guard_desc desc = {
		.window_hi = (uint32_t)(WINDOW >> 32), .window_mask_hi = wide ? 1 : 0, .data = DATA,
		.kill = WORKER + 2 * AREA, .records = WORKER, .fault_word = WINDOW + 512, .printf_ring = RING,
		.textures = WORKER + 3 * AREA, .ntextures = 1,
		.surfaces = WORKER + 3 * AREA + 4096, .nsurfaces = 2, .client = 7, .module = 3,
		.window_base = WINDOW, .window_extent = wide ? 8 * GIB : 4 * GIB,
	};
	if (!d || d->size != GUARD_DESC_BYTES)
		return false;
	memcpy((void *)d->addr, &desc, sizeof desc);
	return true;
}

static void *tick(void *arg)
{
	struct world_clock *t = arg;
	for (unsigned ms = 0; !t->done; ms += 5) {
		if (ms >= t->first_ms)
			*t->first = 1;
		if (ms >= t->then_ms) {
			*t->then = 1;
			t->fired = true;
		}
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	}
	return NULL;
}

CUresult world_launch(struct exec_module *m, const char *kernel, struct launch_opt o, const void *args, size_t size,
		      struct world_clock *t)
{
	static volatile uint32_t cancel;
	cancel = 0;
	o.cancel = t->then = &cancel;
	if (!t->first)
		t->first = &cancel;
	t->done = t->fired = false;
	pthread_create(&t->thread, NULL, tick, t);
	CUresult r = launch(m, kernel, o, args, size);
	t->done = true;
	pthread_join(t->thread, NULL);
	return r;
}
