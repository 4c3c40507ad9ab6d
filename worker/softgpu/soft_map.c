/* soft_map.c - sorted maps of address ranges.  The elements belong to the caller; the map holds pointers. */
#include "soft_internal.h"

size_t soft_map_after(const struct soft_map *m, uint64_t addr)
{
	size_t lo = 0, hi = m->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (m->v[mid]->base + m->v[mid]->size > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

struct soft_extent *soft_map_at(const struct soft_map *m, uint64_t addr)
{
	size_t i = soft_map_after(m, addr);
	return i < m->n && m->v[i]->base <= addr ? m->v[i] : NULL;
}

bool soft_map_free(const struct soft_map *m, uint64_t base, uint64_t size)
{
	size_t i = soft_map_after(m, base);
	return i == m->n || (m->v[i]->base >= base && m->v[i]->base - base >= size);
}

bool soft_map_add(struct soft_map *m, struct soft_extent *e)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		struct soft_extent **v = realloc(m->v, cap * sizeof *v);
		if (!v)
			return false;
		m->v = v;
		m->cap = cap;
	}
	size_t i = soft_map_after(m, e->base);
	memmove(m->v + i + 1, m->v + i, (m->n - i) * sizeof *m->v);
	m->v[i] = e;
	m->n++;
	return true;
}

void soft_map_remove(struct soft_map *m, struct soft_extent *e)
{
	size_t i = soft_map_after(m, e->base);
	memmove(m->v + i, m->v + i + 1, (m->n - i - 1) * sizeof *m->v);
	m->n--;
}

uint64_t soft_map_gap(const struct soft_map *m, uint64_t lo, uint64_t hi, uint64_t size, uint64_t align)
{
	uint64_t at = (lo + align - 1) & ~(align - 1);
	for (size_t i = soft_map_after(m, lo); at < hi && hi - at >= size; i++) {
		if (i == m->n || (m->v[i]->base >= at && m->v[i]->base - at >= size))
			return at;
		uint64_t end = m->v[i]->base + m->v[i]->size;
		if (end > at)
			at = (end + align - 1) & ~(align - 1);
	}
	return 0;
}
