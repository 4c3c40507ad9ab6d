/* ids.c - the client's half of object ids: which indexes are free, and the client-side state behind each handle.
 *
 * Ids are chosen here (wire.h): the index from the kind's free list, the generation one more than the index's last.
 * Looking up a handle takes no lock: entries live in chunks that never move, and a generation that fits is enough.
 */
#include "internal.h"

#include <stdlib.h>

#define CHUNK  1024u
#define CHUNKS 1024u
#define NONE   0xffffffffu

struct entry { _Atomic uint32_t gen; uint32_t next; _Atomic(void *) state; _Atomic bool live; };

struct table {
	pthread_mutex_t lock;
	_Atomic(struct entry *) chunk[CHUNKS];
	uint32_t used, spare;            /* indexes ever used; head of the free list, plus one (0: empty) */
};
static struct table tables[AG_K_COUNT] = { [0 ... AG_K_COUNT - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

static struct entry *entry_at(struct table *t, uint32_t index)
{
	struct entry *c =
		index / CHUNK < CHUNKS ? atomic_load_explicit(&t->chunk[index / CHUNK], memory_order_acquire) : NULL;
	return c ? &c[index % CHUNK] : NULL;
}

static struct entry *fresh(struct table *t, uint32_t *index)
{
	if (t->spare) {
		*index = t->spare - 1;
		struct entry *e = entry_at(t, *index);
		t->spare = e->next;
		return e;
	}
	if (t->used == CHUNK * CHUNKS)
		return NULL;
	if (t->used % CHUNK == 0) {
		struct entry *c = calloc(CHUNK, sizeof *c);
		if (!c)
			return NULL;
		atomic_store_explicit(&t->chunk[t->used / CHUNK], c, memory_order_release);
	}
	*index = t->used++;
	return entry_at(t, *index);
}

ag_id agc_id_new(enum ag_kind kind, void *state)
{
	struct table *t = &tables[kind];
	uint32_t index;
	pthread_mutex_lock(&t->lock);
	struct entry *e = fresh(t, &index);
	ag_id id = 0;
	if (e) {
		uint32_t gen = atomic_load(&e->gen) + 1;
		atomic_store(&e->state, state);
		atomic_store(&e->gen, gen);
		atomic_store(&e->live, true);
		id = AG_ID(kind, gen, index);
	}
	pthread_mutex_unlock(&t->lock);
	return id;
}

static struct entry *live_entry(enum ag_kind kind, ag_id id)
{
	if (AG_ID_KIND(id) != (unsigned)kind)
		return NULL;
	struct entry *e = entry_at(&tables[kind], AG_ID_INDEX(id));
	return e && atomic_load_explicit(&e->live, memory_order_acquire) &&
			       atomic_load_explicit(&e->gen, memory_order_acquire) == AG_ID_GEN(id)
		       ? e
		       : NULL;
}

void *agc_id_state(enum ag_kind kind, const void *handle, bool *valid)
{
	struct entry *e = live_entry(kind, agc_id(handle));
	if (valid)
		*valid = e != NULL;
	return e ? atomic_load_explicit(&e->state, memory_order_relaxed) : NULL;
}

void agc_id_free(ag_id id)
{
	unsigned kind = AG_ID_KIND(id);
	if (kind == AG_K_NONE || kind >= AG_K_COUNT)
		return;
	struct table *t = &tables[kind];
	pthread_mutex_lock(&t->lock);
	struct entry *e = live_entry((enum ag_kind)kind, id);
	if (e) {
		atomic_store(&e->live, false);
		atomic_store(&e->state, NULL);
		/* An index whose generations are used up is retired. */
		if (atomic_load(&e->gen) < 0xffffff) {
			e->next = t->spare;
			t->spare = AG_ID_INDEX(id) + 1;
		}
	}
	pthread_mutex_unlock(&t->lock);
}
