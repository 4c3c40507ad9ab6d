/* range_test.c - alloc/range.c against a naive model: an array of units, each free, live or outside, with its busy
 * number. Properties after every step: results lie in granted memory, overlap nothing live, touch nothing busy,
 * respect alignment and the 4 GiB lines; a refusal is right (the model finds no place either); range_wait_for is the
 * least number that helps; the heap is valid. */
#include "alloc/internal.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT  (64ull << 20)
#define UNITS 224u                 /* 14 GiB: three lines crossed */
#define BASE  0x200000000000ull

enum { OUTSIDE, FREE, LIVE };
static struct { uint8_t state; uint64_t busy; int32_t owner; } unit[UNITS];
static struct { uint64_t at, bytes; } live[UNITS];
static unsigned nlive;
static int failures;
static uint64_t rng = 88172645463325252ull;

static uint64_t rnd(uint64_t n)
{
	return test_random(&rng) % n;
}

static bool expect(bool ok, const char *name, const char *what, int step)
{
	if (!ok && failures++ < 10)
		printf("not ok %s: %s at step %d\n", name, what, step);
	return ok;
}

/* Would the model find n units at align for work up to seq?  `at`: that very place only (UINT32_MAX: anywhere). */
static bool model_fits(unsigned n, unsigned align, uint64_t seq)
{
	for (unsigned s = 0; s + n <= UNITS; s++) {
		if (s % align)
			continue;
		if (n * UNIT <= RANGE_LINE && range_crosses_line(BASE + s * UNIT, n * UNIT))
			continue;
		unsigned k = 0;
		while (k < n && unit[s + k].state == FREE && unit[s + k].busy <= seq)
			k++;
		if (k == n)
			return true;
	}
	return false;
}

static void do_alloc(struct range_heap *h, uint64_t seq, int step)
{
	unsigned n = rnd(20) == 0 ? 64 + (unsigned)rnd(40) : 1 + (unsigned)rnd(12), align = 1u << rnd(4);
	uint64_t want = n * UNIT - rnd(UNIT / 512) * 512, at = range_alloc(h, want, align * UNIT, seq);
	if (!at) {
		expect(!model_fits(n, align, seq), "random", "refused although there is room", step);
		uint64_t w = range_wait_for(h, want, align * UNIT);
		if (w == UINT64_MAX) {
			expect(!model_fits(n, align, UINT64_MAX), "random", "wait_for says never", step);
			return;
		}
		expect(model_fits(n, align, w), "random", "wait_for too small", step);
		expect(w == 0 || !model_fits(n, align, w - 1), "random", "wait_for not the least", step);
		return;
	}
	unsigned s = (unsigned)((at - BASE) / UNIT);
	expect(at >= BASE && (at - BASE) % (align * UNIT) == 0 && s + n <= UNITS, "random", "bad address", step);
	expect(want > RANGE_LINE || !range_crosses_line(at, want), "random", "crosses a line", step);
	for (unsigned k = 0; k < n && s + k < UNITS; k++) {
		expect(unit[s + k].state == FREE && unit[s + k].busy <= seq, "random", "not free or busy", step);
		unit[s + k].state = LIVE;
		unit[s + k].busy = 0;
	}
	uint64_t start, bytes;
	expect(range_find(h, at + want - 1, &start, &bytes) && start == at && bytes >= want, "random", "find", step);
	live[nlive].at = at;
	live[nlive++].bytes = n * UNIT;
	/* Return the unused end of the last unit to nobody: the model counts whole units. */
	(void)want;
}

static void do_free(struct range_heap *h, uint64_t busy, int step)
{
	if (!nlive)
		return;
	unsigned i = (unsigned)rnd(nlive);
	expect(range_free(h, live[i].at + 512, busy) == 0, "random", "freed by an inner address", step);
	expect(range_free(h, live[i].at, busy) != 0, "random", "free refused", step);
	expect(range_free(h, live[i].at, busy) == 0, "random", "double free accepted", step);
	for (uint64_t a = live[i].at; a < live[i].at + live[i].bytes; a += UNIT) {
		unit[(a - BASE) / UNIT].state = FREE;
		unit[(a - BASE) / UNIT].busy = busy;
	}
	live[i] = live[--nlive];
}

static void random_steps(int steps)
{
	/* Unit-granular heap: what is asked is rounded to units, as align_min. */
	struct range_heap *h = range_heap_new(UNIT);
	uint64_t seq = 0, clock = 0;
	memset(unit, 0, sizeof unit);
	nlive = 0;
	for (int step = 0; step < steps && failures < 10; step++) {
		switch (rnd(8)) {
		case 0: {
			unsigned s = (unsigned)rnd(UNITS), n = 1 + (unsigned)rnd(48), k = 0;
			while (k < n && s + k < UNITS && unit[s + k].state == OUTSIDE)
				k++;
			if (k && rnd(4) == 0) {
				expect(range_heap_add(h, BASE + s * UNIT, k * UNIT) == 0, "random", "add", step);
				for (unsigned i = 0; i < k; i++) {
					unit[s + i].state = FREE;
					unit[s + i].busy = 0;
				}
			}
			break;
		}
		case 1: case 2: case 3:
			do_alloc(h, seq, step);
			break;
		case 4: case 5:
			do_free(h, rnd(3) ? ++clock : 0, step);
			break;
		case 6:
			seq += clock > seq ? rnd(clock - seq + 1) : 0;
			break;
		default: {
			uint64_t at, bytes = UNIT, free_before = range_heap_total(h) - range_heap_used(h);
			if (rnd(10) == 0 && range_heap_trim(h, seq, free_before / 2, &at, &bytes)) {
				expect(at % AG_GRANULE == 0 && bytes >= UNIT, "random", "trim shape", step);
				for (uint64_t a = at; a < at + bytes; a += UNIT) {
					expect(unit[(a - BASE) / UNIT].state == FREE &&
						       unit[(a - BASE) / UNIT].busy <= seq,
					       "random", "trim of live", step);
					unit[(a - BASE) / UNIT].state = OUTSIDE;
				}
				expect(range_heap_total(h) - range_heap_used(h) >= free_before / 2, "random",
				       "trim left too little", step);
			}
		}
		}
		if (step % 16 == 0)
			expect(range_heap_is_valid(h), "random", "invalid heap", step);
	}
	uint64_t used = 0, total = 0;
	for (unsigned i = 0; i < UNITS; i++) {
		used += unit[i].state == LIVE ? UNIT : 0;
		total += unit[i].state != OUTSIDE ? UNIT : 0;
	}
	expect(range_heap_used(h) == used && range_heap_total(h) == total, "random", "counters", steps);
	range_heap_free(h);
}

static void edges(void)
{
	struct range_heap *h = range_heap_new(512);
	expect(range_alloc(h, 1, 1, 0) == 0, "edges", "empty heap gave memory", 0);
	expect(range_heap_add(h, BASE, 2ull << 20) == 0, "edges", "add", 1);
	uint64_t a = range_alloc(h, 1, 1, 0), b = range_alloc(h, 513, 1, 0), start, bytes;
	expect(a == BASE && b == BASE + 512, "edges", "lowest address", 2);
	expect(range_find(h, b + 1023, &start, &bytes) && start == b && bytes == 1024, "edges", "rounded size", 3);
	expect(!range_find(h, b + 1024, &start, &bytes), "edges", "past the end", 4);
	expect(range_alloc(h, UINT64_MAX - 5, 1, 0) == 0 && range_alloc(h, 4, 3, 0) == 0, "edges", "absurd requests",
	       5);
	expect(range_free(h, a, 7) == 512 && range_alloc(h, 512, 1, 6) == b + 1024, "edges", "reused while busy", 6);
	expect(range_alloc(h, 512, 1, 7) == a, "edges", "not reused when idle", 7);
	expect(range_wait_for(h, 4ull << 20, 1) == UINT64_MAX, "edges", "wait_for beyond the heap", 8);
	expect(range_heap_add(h, UINT64_MAX - 10, 100) == -1, "edges", "range that wraps", 9);
	expect(range_heap_is_valid(h), "edges", "valid", 10);
	range_heap_free(h);
}

int main(void)
{
	edges();
	if (!failures)
		test_result("edges", NULL);
	int before = failures;
	for (int i = 0; i < 6; i++)
		random_steps(6000);
	if (failures == before)
		test_result("random", NULL);
	return failures != 0;
}
