/* defer.c - work held back by host functions.
 *
 * A host function runs in the client.  The GPU must never wait for a client (hardware queues are shared), so what comes
 * after it is not submitted: each stream has a queue of messages, headed by the ticket of the host function it waits
 * for.  A message of another stream that depends on a held-back one (through an event, the legacy stream, or because it
 * signals everything) is held back too, in its own stream's queue. Messages are numbered in the order they came; a
 * dependency is "everything of these streams with a smaller number has run".
 */
#include <stdlib.h>
#include <string.h>
#include "msg.h"
#include "session.h"

enum after { AFTER_NOTHING, AFTER_ALL, AFTER_BLOCKING, AFTER_LEGACY, AFTER_RECORD };

struct deferred {
	struct deferred *next;
	uint64_t seq;
	uint64_t ticket; /* not 0: a host function's, and no message */
	bool done;       /* the ticket is */
	enum after after;
	struct stream *record_in; /* AFTER_RECORD: the stream with the record, and its number */
	uint64_t record_seq;
	const struct permit *p;
	uint32_t bytes;
	_Alignas(16) uint8_t msg[];
};

static struct stream *queue_of(const struct session *s, uint16_t op, const void *msg, const struct permit *p)
{
	uint64_t id;

	if (op == AG_OP_signal && ((const struct msg_signal *)msg)->all)
		return (struct stream *)&s->st.joinq;
	memcpy(&id, (const uint8_t *)msg + p->stream_off, sizeof id);
	return stream_find(s, id);
}

static bool queued_before(const struct stream *st, uint64_t seq) { return st->head && st->head->seq < seq; }

static bool any_before(const struct session *s, enum after what, uint64_t seq)
{
	for (const struct stream *st = s->st.all; st; st = st->next) {
		bool counts = what == AFTER_ALL ? !st->queue_only : what == AFTER_BLOCKING ? st->blocking : st->legacy;
		if (counts && queued_before(st, seq))
			return true;
	}
	return false;
}

static const struct event *pending_event(const struct session *s, uint16_t op, const void *msg)
{
	if (op != AG_OP_stream_wait)
		return NULL;
	const struct event *e = event_find(s, ((const struct msg_stream_wait *)msg)->event);
	return e && e->pending && queued_before(e->pending, e->pending_seq + 1) ? e : NULL;
}

static enum after dependency(const struct session *s, uint16_t op, const void *msg, const struct stream *st)
{
	uint64_t now = s->st.seq + 1;

	if (st->queue_only)
		return any_before(s, AFTER_ALL, now) ? AFTER_ALL : AFTER_NOTHING;
	if (st->legacy && any_before(s, AFTER_BLOCKING, now))
		return AFTER_BLOCKING;
	if (st->blocking && any_before(s, AFTER_LEGACY, now))
		return AFTER_LEGACY;
	return pending_event(s, op, msg) ? AFTER_RECORD : AFTER_NOTHING;
}

bool defer_needed(const struct session *s, uint16_t op, const void *msg, const struct permit *p)
{
	const struct stream *st = queue_of(s, op, msg, p);

	return st && (st->head || dependency(s, op, msg, st) != AFTER_NOTHING);
}

static void push(struct session *s, struct stream *st, struct deferred *d, bool front)
{
	if (!st->head)
		s->st.held++;
	if (front) {
		d->next = st->head;
		st->head = d;
	} else {
		d->next = NULL;
		if (st->head)
			st->last->next = d;
		else
			st->head = d;
	}
	if (!d->next)
		st->last = d;
	s->st.deferred_bytes += sizeof *d + d->bytes;
}

static void pop(struct session *s, struct stream *st)
{
	struct deferred *d = st->head;

	st->head = d->next;
	if (!st->head)
		s->st.held--;
	s->st.deferred_bytes -= sizeof *d + d->bytes;
	free(d);
}

CUresult defer_message(struct session *s, uint16_t op, const void *msg, uint32_t bytes, const struct permit *p)
{
	struct stream *st = queue_of(s, op, msg, p);
	struct deferred *d = s->st.deferred_bytes + bytes > DEFERRED_MAX ? NULL : calloc(1, sizeof *d + bytes);

	if (!d)
		return CUDA_ERROR_OUT_OF_MEMORY;
	const struct event *e = pending_event(s, op, msg);
	d->after = dependency(s, op, msg, st);
	if (e) { /* besides what d->after says */
		d->record_in = e->pending;
		d->record_seq = e->pending_seq;
	}
	d->seq = ++s->st.seq;
	d->p = p;
	d->bytes = bytes;
	memcpy(d->msg, msg, bytes);
	push(s, st, d, false);
	if (op == AG_OP_event_record) {
		struct event *rec = event_find(s, ((const struct msg_event_record *)msg)->event);
		if (rec) {
			rec->pending = st;
			rec->pending_seq = rec->newest = d->seq;
		}
	}
	return CUDA_SUCCESS;
}

/* While a held-back hostfunc runs, its ticket goes before what is still queued behind it. */
CUresult defer_ticket(struct session *s, struct stream *st, uint64_t ticket)
{
	struct deferred *d = calloc(1, sizeof *d);

	if (!d)
		return CUDA_ERROR_OUT_OF_MEMORY;
	d->ticket = ticket;
	d->seq = s->st.flushing ? s->st.flushing_seq : ++s->st.seq;
	push(s, st, d, true);
	return CUDA_SUCCESS;
}

bool defer_has_ticket(const struct session *s, uint64_t ticket)
{
	for (const struct stream *st = s->st.all; st; st = st->next)
		for (const struct deferred *d = st->head; d; d = d->next)
			if (d->ticket == ticket)
				return true;
	return false;
}

void defer_forget(struct session *s, const struct stream *st)
{
	for (const struct stream *o = s->st.all; o; o = o->next)
		for (struct deferred *d = o->head; d; d = d->next)
			if (d->record_in == st)
				d->record_in = NULL;
}

static bool runnable(const struct session *s, const struct deferred *d)
{
	if (d->ticket)
		return d->done;
	if (d->record_in && queued_before(d->record_in, d->record_seq + 1))
		return false;
	return d->after == AFTER_NOTHING || d->after == AFTER_RECORD || !any_before(s, d->after, d->seq);
}

/* Runs the head of a queue. A ticket that the message makes takes its number, so that what waits for the message waits
 * for the ticket. */
static CUresult run_head(struct session *s, struct stream *st)
{
	struct deferred *d = st->head;
	struct ag_out none = { NULL, 0, 0 };
	CUresult r;

	st->head = d->next;
	if (!st->head)
		s->st.held--;
	s->st.deferred_bytes -= sizeof *d + d->bytes;
	s->st.flushing = st;
	s->st.flushing_seq = d->seq;
	if (d->ticket)
		r = CUDA_SUCCESS;
	else if (!(d->p->states & s->state))
		r = s->fault;
	else
		r = serve_act(s, d->p, d->msg, NULL, &none);
	s->st.flushing = NULL;
	free(d);
	return r;
}

/* What the client destroyed while messages were held back goes when none are. */
void defer_sweep(struct session *s)
{
	streams_reap(s);
	if (s->st.held || graph_pins(s))
		return;
	while (s->st.zombie_events) {
		struct event *e = s->st.zombie_events;
		s->st.zombie_events = e->next;
		event_free(s, e);
	}
	modules_sweep(s);
}

static CUresult flush(struct session *s)
{
	CUresult first = CUDA_SUCCESS;

	for (bool moved = true; moved;) {
		moved = false;
		for (struct stream *st = s->st.all; st; st = st->next) {
			while (st->head && runnable(s, st->head)) {
				CUresult r = run_head(s, st);
				if ((int)r == AG_MALFORMED)
					return r;
				first = first ? first : r;
				moved = true;
			}
		}
	}
	defer_sweep(s);
	return first;
}

CUresult defer_ticket_done(struct session *s, uint64_t ticket)
{
	bool found = false;

	for (struct stream *st = s->st.all; st; st = st->next)
		for (struct deferred *d = st->head; d; d = d->next)
			if (ticket && d->ticket == ticket)
				d->done = found = true;
	return found ? flush(s) : CUDA_SUCCESS;
}

void defer_drop_all(struct session *s)
{
	for (struct stream *st = s->st.all; st; st = st->next)
		while (st->head)
			pop(s, st);
	defer_sweep(s);
}
