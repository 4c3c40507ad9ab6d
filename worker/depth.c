/* depth.c - how much a session may have in the driver's queues at once.  Owns the events in s->depth.
 *
 * A queue of the device holds about a thousand entries, for all streams that share it.  Whoever finds it full waits
 * inside the driver, with locks that others need: measured on an H200, after 1021 launches behind a kernel that does
 * not end no other thread can create a stream.  So a session waits here instead, long before: whatever it submits is
 * counted, marked by an event every MARK_OPS operations of a stream, and taken off when the mark has been reached.
 */
#include <stdlib.h>
#include <time.h>
#include "session.h"

#define DEPTH_MAX 256u /* operations; each is a few entries */
#define MARK_OPS 32u

struct mark {
	struct mark *next;
	CUevent event;
	unsigned ops; /* that it stands behind */
};

static struct mark *new_mark(struct session *s)
{
	struct mark *m = s->depth.spare;

	if (m) {
		s->depth.spare = m->next;
		return m;
	}
	m = calloc(1, sizeof *m);
	if (m && s->d->cuEventCreate(&m->event, CU_EVENT_DISABLE_TIMING)) {
		free(m);
		m = NULL;
	}
	return m;
}

/* Without a mark the stream's operations stay loose, and the next one tries again. */
static void put_mark(struct session *s, struct stream *st)
{
	struct depth *d = &s->depth;
	struct mark *m = new_mark(s);

	if (!m)
		return;
	if (s->d->cuEventRecord(m->event, st->real)) {
		m->next = d->spare;
		d->spare = m;
		return;
	}
	m->ops = st->loose;
	m->next = NULL;
	if (d->first)
		d->last->next = m;
	else
		d->first = m;
	d->last = m;
	d->loose -= st->loose;
	st->loose = 0;
}

void depth_count(struct session *s, struct stream *st, unsigned ops)
{
	if (st->capturing || !st->real)
		return;
	st->loose += ops;
	s->depth.loose += ops;
	s->depth.ops += ops;
	if (st->loose >= MARK_OPS)
		put_mark(s, st);
}

/* Takes off what has been reached. */
static void look(struct session *s)
{
	struct depth *d = &s->depth;
	struct mark *last = NULL;

	for (struct mark **p = &d->first, *m; (m = *p);) {
		if (s->d->cuEventQuery(m->event) == CUDA_ERROR_NOT_READY) {
			last = m;
			p = &m->next;
			continue;
		}
		*p = m->next;
		d->ops -= m->ops;
		m->next = d->spare;
		d->spare = m;
	}
	d->last = last;
}

static void mark_all(struct session *s)
{
	for (struct stream *st = s->st.all; st; st = st->next)
		if (st->loose && !st->capturing)
			put_mark(s, st);
}

bool depth_wait(struct session *s)
{
	const struct timespec nap = { 0, 20000 };

	for (unsigned turn = 0; s->depth.ops >= DEPTH_MAX; turn++) {
		if (s->depth.loose >= DEPTH_MAX / 2)
			mark_all(s);
		look(s);
		if (s->depth.ops < DEPTH_MAX)
			break;
		if (s->hangup || s->overdue || s->w->dead)
			return false;
		if (turn > 50)
			nanosleep(&nap, NULL);
	}
	return true;
}

void depth_forget(struct session *s, struct stream *st)
{
	s->depth.loose -= st->loose;
	s->depth.ops -= st->loose;
	st->loose = 0;
}

void depth_close(struct session *s)
{
	struct depth *d = &s->depth;

	look(s);
	if (d->first)
		d->last->next = d->spare;
	for (struct mark *m = d->first ? d->first : d->spare, *next; m; m = next) {
		next = m->next;
		s->d->cuEventDestroy_v2(m->event);
		free(m);
	}
	*d = (struct depth){ 0 };
}
