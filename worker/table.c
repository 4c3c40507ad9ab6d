/* table.c - typed object tables.  An id names its kind, a generation and an index (api/base/wire.h); the client chooses
 * it, the table judges it: an index may be used again only when it is free and with a larger generation, so a stale id
 * never names a newer object. */
#include <stdlib.h>
#include <string.h>
#include "session.h"

/* How far beyond the indexes seen so far a new one may lie: clients count up, and a far one would only make the table
 * large. */
#define INDEX_AHEAD 4096u

static bool well_formed(enum ag_kind kind, ag_id id)
{
	return AG_ID_KIND(id) == (unsigned)kind && AG_ID_INDEX(id) < TABLE_INDEX_MAX;
}

bool table_free_id(const struct table *t, enum ag_kind kind, ag_id id)
{
	uint32_t i = AG_ID_INDEX(id);

	if (!well_formed(kind, id) || AG_ID_GEN(id) == 0 || i >= t->n + INDEX_AHEAD)
		return false;
	return i >= t->n || (!t->v[i].live && AG_ID_GEN(id) > t->v[i].gen);
}

const struct entry *table_find(const struct table *t, enum ag_kind kind, ag_id id)
{
	uint32_t i = AG_ID_INDEX(id);

	if (!well_formed(kind, id) || i >= t->n || !t->v[i].live || t->v[i].gen != AG_ID_GEN(id))
		return NULL;
	return t->v + i;
}

CUresult table_put(struct table *t, enum ag_kind kind, ag_id id, void *real, void *obj)
{
	uint32_t i = AG_ID_INDEX(id);

	if (!table_free_id(t, kind, id))
		return CUDA_ERROR_INVALID_HANDLE;
	if (i >= t->cap) {
		uint32_t cap = t->cap ? t->cap : 64;
		while (cap <= i)
			cap *= 2;
		struct entry *v = realloc(t->v, cap * sizeof *v);
		if (!v)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memset(v + t->cap, 0, (cap - t->cap) * sizeof *v);
		t->v = v;
		t->cap = cap;
	}
	if (i >= t->n)
		t->n = i + 1;
	t->v[i] = (struct entry){ AG_ID_GEN(id), true, real, obj };
	t->live++;
	return CUDA_SUCCESS;
}

void table_note(struct table *t, enum ag_kind kind, ag_id id, void *obj)
{
	struct entry *e = (struct entry *)table_find(t, kind, id);

	if (e)
		e->obj = obj;
}

void table_drop(struct table *t, enum ag_kind kind, ag_id id)
{
	struct entry *e = (struct entry *)table_find(t, kind, id);

	if (!e)
		return;
	e->live = false;
	e->real = e->obj = NULL;
	t->live--;
}

void table_clear(struct table *t)
{
	free(t->v);
	memset(t, 0, sizeof *t);
}

/* --- what generated and hand-written handlers use
 * ------------------------------------------------------------------------- */

const struct ag_driver *session_driver(const struct session *s) { return s->d; }

bool session_has(const struct session *s, enum ag_kind kind, ag_id id)
{
	const struct entry *e = kind < AG_K_COUNT ? table_find(&s->table[kind], kind, id) : NULL;

	if (!e || (kind != AG_K_GRAPH && kind != AG_K_GRAPHNODE))
		return e != NULL;
	return !graph_taken((struct session *)s, kind, e->real); /* what it notes is not what a check may change */
}

bool session_id_free(const struct session *s, enum ag_kind kind, ag_id id)
{
	return kind < AG_K_COUNT && table_free_id(&s->table[kind], kind, id);
}

void *session_get(const struct session *s, enum ag_kind kind, ag_id id)
{
	const struct entry *e = kind < AG_K_COUNT ? table_find(&s->table[kind], kind, id) : NULL;

	return e ? e->real : NULL;
}

CUresult session_put(struct session *s, enum ag_kind kind, ag_id id, void *real)
{
	return kind < AG_K_COUNT ? table_put(&s->table[kind], kind, id, real, NULL) : CUDA_ERROR_INVALID_HANDLE;
}

void session_drop(struct session *s, enum ag_kind kind, ag_id id)
{
	if (kind < AG_K_COUNT)
		table_drop(&s->table[kind], kind, id);
}

ag_id session_find(const struct session *s, enum ag_kind kind, const void *real)
{
	const struct table *t = &s->table[kind];

	for (uint32_t i = 0; i < t->n; i++)
		if (t->v[i].live && t->v[i].real == real)
			return AG_ID(kind, t->v[i].gen, i);
	return 0;
}

bool session_covers(const struct session *s, uint64_t addr, uint64_t bytes)
{
	return window_covers(s->win, addr, bytes);
}

bool session_covers_host(const struct session *s, uint64_t addr, uint64_t bytes)
{
	return window_covers_host(s->win, addr, bytes);
}
