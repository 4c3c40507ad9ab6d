/* stream.c - a session's streams and events, and CUDA's legacy default stream among them.
 *
 * All sessions share one context, so no session may use the context's own legacy stream: every real stream is
 * non-blocking, and a session's legacy stream is one of them.  What CUDA orders implicitly is ordered here by events,
 * among this session's streams only: an operation on the legacy stream waits for the work of the blocking streams; an
 * operation on a blocking stream waits for the legacy stream's work before it. `dirty` and `legacy_seen` remember what
 * has been waited for, so that a session that uses one stream pays nothing.
 *
 * The GPU never waits for a client here: only for events that are already recorded.  What depends on a client is held
 * back in defer.c.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "limits.h"
#include "worker_calls.h"

#define STREAM_FLAGS (CU_STREAM_NON_BLOCKING)
#define EVENT_FLAGS (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING)

/* --- the set ------------------------------------------------------------------------------------ */

/* Client streams run below the worker's own, which must get through whatever clients do (kill flags). */
static CUresult create_real(struct session *s, int priority, CUstream *out)
{
	int least = 0, greatest = 0;
	CUresult r = s->d->cuCtxGetStreamPriorityRange(&least, &greatest);

	if (r)
		return r;
	if (greatest < least)
		greatest++;
	if (priority > least)
		priority = least;
	if (priority < greatest)
		priority = greatest;
	return s->d->cuStreamCreateWithPriority(out, CU_STREAM_NON_BLOCKING, priority);
}

static void link_stream(struct session *s, struct stream *st)
{
	quiet_streams_lock(s);
	st->next = s->st.all;
	s->st.all = st;
	quiet_streams_unlock(s);
}

static void unlink_stream(struct session *s, struct stream *st)
{
	quiet_streams_lock(s);
	for (struct stream **p = &s->st.all; *p; p = &(*p)->next) {
		if (*p == st) {
			*p = st->next;
			break;
		}
	}
	quiet_streams_unlock(s);
}

CUresult streams_open(struct session *s)
{
	s->st.legacy.legacy = true;
	s->st.joinq.queue_only = true;
	CUresult r = create_real(s, 0, &s->st.legacy.real);
	if (r)
		return r;
	link_stream(s, &s->st.legacy);
	link_stream(s, &s->st.joinq);
	return CUDA_SUCCESS;
}

static void release_real(struct session *s, struct stream *st)
{
	if (st->capturing)
		graph_abandon(s, st);
	depth_forget(s, st);
	if (st->mark)
		s->d->cuEventDestroy_v2(st->mark);
	if (st->real)
		s->d->cuStreamDestroy_v2(st->real);
	st->mark = NULL;
	st->real = NULL;
}

static bool idle(struct session *s, CUresult queried)
{
	if (context_error(queried))
		context_died(s->w, queried);
	return queried != CUDA_ERROR_NOT_READY;
}

/* CUDA_ERROR_NOT_READY: what the stream was given is outstanding.  A capture hides earlier work from queries; its mark
 * does not. */
static CUresult outstanding(const struct session *s, const struct stream *st)
{
	if (!st->real || (st->capturing && !st->marked))
		return CUDA_SUCCESS;
	return st->capturing ? s->d->cuEventQuery(st->mark) : s->d->cuStreamQuery(st->real);
}

static bool stream_idle(struct session *s, struct stream *st)
{
	return idle(s, outstanding(s, st));
}

/* A destroyed stream stays in the list while it has work, because joins must still count it. */
void streams_reap(struct session *s)
{
	for (struct stream *st = s->st.all, *next; st; st = next) {
		next = st->next;
		if (!st->zombie || st->head || !stream_idle(s, st))
			continue;
		unlink_stream(s, st);
		defer_forget(s, st);
		for (uint32_t i = 0; i < s->table[AG_K_EVENT].n; i++) {
			struct event *e = s->table[AG_K_EVENT].v[i].obj;
			if (e && e->pending == st)
				e->pending = NULL;
		}
		release_real(s, st);
		free(st);
		s->nstreams--;
	}
}

void streams_close(struct session *s)
{
	while (s->st.all) {
		struct stream *st = s->st.all;
		s->st.all = st->next;
		release_real(s, st);
		if (st != &s->st.legacy && st != &s->st.joinq)
			free(st);
	}
	if (s->st.join)
		s->d->cuStreamDestroy_v2(s->st.join);
	s->st.join = NULL;
	while (s->st.zombie_events) {
		struct event *e = s->st.zombie_events;
		s->st.zombie_events = e->next;
		event_free(s, e);
	}
}

struct stream *stream_find(const struct session *s, ag_id id)
{
	if (id == AG_STREAM_LEGACY)
		return (struct stream *)&s->st.legacy;
	const struct entry *e = table_find(&s->table[AG_K_STREAM], AG_K_STREAM, id);
	if (e)
		return e->obj;
	if (s->st.flushing && s->st.flushing->id == id)
		return s->st.flushing;
	return NULL;
}

bool session_stream_ok(const struct session *s, ag_id id) { return stream_find(s, id) != NULL; }

CUstream session_stream(struct session *s, ag_id id)
{
	struct stream *st = stream_find(s, id);

	if (!st)
		return NULL;
	CUresult r = stream_order(s, st);
	if (r)
		session_log(s, "ordering a stream failed: error %d", (int)r);
	return st->real;
}

/* --- order ----------------------------------------------------------------------------------------- */

static CUresult mark(struct session *s, struct stream *st)
{
	if (!st->mark) {
		CUresult r = s->d->cuEventCreate(&st->mark, CU_EVENT_DISABLE_TIMING);
		if (r)
			return r;
	}
	return s->d->cuEventRecord(st->mark, st->real);
}

CUresult stream_note_work(struct session *s, struct stream *st)
{
	quiet_streams_lock(s);
	CUresult r = st->capturing ? CUDA_SUCCESS : mark(s, st);
	st->marked |= r == CUDA_SUCCESS;
	quiet_streams_unlock(s);
	return r;
}

/* `on` waits for everything in `st` so far; nothing when that is done already. */
static CUresult wait_for(struct session *s, CUstream on, struct stream *st)
{
	CUresult r = s->d->cuStreamQuery(st->real);

	if (r != CUDA_ERROR_NOT_READY)
		return r;
	r = mark(s, st);
	return r ? r : s->d->cuStreamWaitEvent(on, st->mark, 0);
}

static CUresult legacy_waits(struct session *s)
{
	for (struct stream *st = s->st.all; st; st = st->next) {
		if (!st->dirty || st->capturing)
			continue;
		CUresult r = wait_for(s, s->st.legacy.real, st);
		if (r)
			return r;
		st->dirty = false;
	}
	return CUDA_SUCCESS;
}

static CUresult blocking_waits(struct session *s, struct stream *st)
{
	struct stream *l = &s->st.legacy;
	CUresult r = s->d->cuStreamQuery(l->real);

	if (r == CUDA_ERROR_NOT_READY) {
		r = CUDA_SUCCESS;
		if (s->st.legacy_marked != s->st.legacy_work)
			r = mark(s, l);
		if (!r)
			s->st.legacy_marked = s->st.legacy_work;
		if (!r)
			r = s->d->cuStreamWaitEvent(st->real, l->mark, 0);
	}
	if (!r)
		st->legacy_seen = s->st.legacy_work;
	return r;
}

CUresult stream_order(struct session *s, struct stream *st)
{
	CUresult r = CUDA_SUCCESS;

	if (st->capturing) /* a copy or kernel, what prepares it, and their edges */
		return graph_room(s, 4);
	if (st->legacy) {
		r = legacy_waits(s);
		s->st.legacy_work++;
	} else if (st->blocking) {
		if (st->legacy_seen != s->st.legacy_work)
			r = blocking_waits(s, st);
		st->dirty = true;
	}
	st->active = true;
	return r;
}

/* Counts the streams with something outstanding, one of which is in *busy; the others are active no longer. */
static CUresult count_busy(struct session *s, unsigned *n, struct stream **busy)
{
	*n = 0;
	*busy = NULL;
	for (struct stream *st = s->st.all; st; st = st->next) {
		CUresult r = st->active ? outstanding(s, st) : CUDA_SUCCESS;
		if (r != CUDA_SUCCESS && r != CUDA_ERROR_NOT_READY)
			return r;
		st->active = r == CUDA_ERROR_NOT_READY;
		*n += st->active;
		if (st->active)
			*busy = st;
	}
	return CUDA_SUCCESS;
}

/* With one busy stream that stream itself is the answer; otherwise a stream of the worker's that waits for each.  What
 * earlier answers were given to do always comes first: they are a busy stream, or an idle one, or the worker's own. */
CUresult stream_join(struct session *s, CUstream *out)
{
	struct stream *busy = NULL;
	unsigned n = 0;
	CUresult r = CUDA_SUCCESS;

	if (s->st.join_active) {
		r = s->d->cuStreamQuery(s->st.join);
		s->st.join_active = r == CUDA_ERROR_NOT_READY;
		r = r == CUDA_ERROR_NOT_READY ? CUDA_SUCCESS : r;
	}
	for (struct stream *st = s->st.all; st; st = st->next) {
		busy = st->active ? st : busy;
		n += st->active;
	}
	if (!r && (n > 1 || (n && (busy->capturing || s->st.join_active))))
		r = count_busy(s, &n, &busy);
	if (r)
		return r;
	if (n <= 1 && !s->st.join_active && !(busy && busy->capturing)) {
		busy = busy ? busy : &s->st.legacy;
		busy->active = true;
		*out = busy->real;
		return CUDA_SUCCESS;
	}
	if (!s->st.join) {
		CUstream join = NULL;
		r = create_real(s, 0, &join);
		quiet_streams_lock(s);
		s->st.join = join;
		quiet_streams_unlock(s);
	}
	for (struct stream *st = s->st.all; st && !r; st = st->next) {
		if (!st->active)
			continue;
		r = st->capturing ? CUDA_SUCCESS : mark(s, st);
		if (!r)
			r = s->d->cuStreamWaitEvent(s->st.join, st->mark, 0);
	}
	if (r)
		return r;
	if (s->st.legacy.active)
		s->st.legacy_marked = s->st.legacy_work;
	s->st.join_active = true;
	*out = s->st.join;
	return CUDA_SUCCESS;
}

bool streams_idle(struct session *s)
{
	bool all = !s->st.join || idle(s, s->d->cuStreamQuery(s->st.join));

	for (struct stream *st = s->st.all; all && st; st = st->next)
		all = stream_idle(s, st);
	return all;
}

bool streams_drain(struct session *s, unsigned ms)
{
	struct timespec start, now, nap = { 0, 20000 };
	unsigned turn = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		if (streams_idle(s))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		int64_t past = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
		if (ms == UINT32_MAX ? s->hangup != 0 : past >= (int64_t)ms)
			return false;
		if (++turn > 100)
			nanosleep(&nap, NULL);
	}
}

/* --- stream messages ------------------------------------------------------------------------------------ */

CUresult check_stream_create(const struct session *s, const struct msg_stream_create *m, const void *tail,
                             uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (!session_id_free(s, AG_K_STREAM, m->stream))
		return AG_MALFORMED;
	return m->flags & ~STREAM_FLAGS ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult invoke_stream_create(struct session *s, const struct msg_stream_create *m, const void *tail, uint32_t ntail,
                              void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	streams_reap(s);
	struct stream *st = s->nstreams < STREAMS_MAX ? calloc(1, sizeof *st) : NULL;
	if (!st)
		return CUDA_ERROR_OUT_OF_MEMORY;
	st->id = m->stream;
	st->blocking = !(m->flags & CU_STREAM_NON_BLOCKING);
	CUresult r = create_real(s, m->priority, &st->real);
	if (!r)
		r = table_put(&s->table[AG_K_STREAM], AG_K_STREAM, m->stream, st->real, st);
	if (r) {
		release_real(s, st);
		free(st);
		return r;
	}
	link_stream(s, st);
	s->nstreams++;
	return CUDA_SUCCESS;
}

CUresult check_stream_destroy(const struct session *s, const struct msg_stream_destroy *m, const void *tail,
                              uint32_t ntail)
{
	(void)tail, (void)ntail;
	return session_has(s, AG_K_STREAM, m->stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult invoke_stream_destroy(struct session *s, const struct msg_stream_destroy *m, const void *tail, uint32_t ntail,
                               void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct stream *st = stream_find(s, m->stream);

	session_drop(s, AG_K_STREAM, m->stream);
	st->zombie = true;
	streams_reap(s);
	return CUDA_SUCCESS;
}

CUresult check_signal(const struct session *s, const struct msg_signal *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (m->word % 8 || !session_covers_host(s, m->word, 8))
		return AG_MALFORMED;
	return session_stream_ok(s, m->stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* A signal is no work of its own: it waits on the legacy stream for the others, and makes no other stream wait. */
CUresult invoke_signal(struct session *s, const struct msg_signal *m, const void *tail, uint32_t ntail, void *rep,
                       struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct stream *st = stream_find(s, m->stream);
	CUstream real = st->real;
	CUresult r = CUDA_SUCCESS;

	if (m->all)
		r = stream_join(s, &real);
	else if (st->legacy)
		r = legacy_waits(s);
	return r ? r : s->d->cuStreamWriteValue64_v2(real, m->word, m->value, 0);
}

/* --- events ----------------------------------------------------------------------------------------------- */

void event_free(struct session *s, struct event *e)
{
	if (e->real)
		s->d->cuEventDestroy_v2(e->real);
	free(e);
	s->nevents--;
}

struct event *event_find(const struct session *s, ag_id id)
{
	const struct entry *e = table_find(&s->table[AG_K_EVENT], AG_K_EVENT, id);

	if (e)
		return e->obj;
	for (struct event *z = s->st.flushing ? s->st.zombie_events : NULL; z; z = z->next)
		if (z->id == id)
			return z;
	return NULL;
}

CUresult check_event_create(const struct session *s, const struct msg_event_create *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (!session_id_free(s, AG_K_EVENT, m->event))
		return AG_MALFORMED;
	if (m->flags & CU_EVENT_INTERPROCESS)
		return CUDA_ERROR_NOT_SUPPORTED;
	return m->flags & ~EVENT_FLAGS ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult invoke_event_create(struct session *s, const struct msg_event_create *m, const void *tail, uint32_t ntail,
                             void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	if (s->nevents >= EVENTS_MAX)
		defer_sweep(s);
	struct event *e = s->nevents < EVENTS_MAX ? calloc(1, sizeof *e) : NULL;
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->nevents++;
	e->id = m->event;
	e->timing = !(m->flags & CU_EVENT_DISABLE_TIMING);
	CUresult r = s->d->cuEventCreate(&e->real, m->flags & CU_EVENT_DISABLE_TIMING);
	if (!r)
		r = table_put(&s->table[AG_K_EVENT], AG_K_EVENT, m->event, e->real, e);
	if (r)
		event_free(s, e);
	return r;
}

CUresult check_event_destroy(const struct session *s, const struct msg_event_destroy *m, const void *tail,
                             uint32_t ntail)
{
	(void)tail, (void)ntail;
	return session_has(s, AG_K_EVENT, m->event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult invoke_event_destroy(struct session *s, const struct msg_event_destroy *m, const void *tail, uint32_t ntail,
                              void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct event *e = event_find(s, m->event);

	session_drop(s, AG_K_EVENT, m->event);
	if (s->st.held || graph_pins(s)) { /* a held-back message or a graph may still name it */
		e->next = s->st.zombie_events;
		s->st.zombie_events = e;
	} else {
		event_free(s, e);
	}
	return CUDA_SUCCESS;
}

CUresult check_event_record(const struct session *s, const struct msg_event_record *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (m->word && (m->word % 8 || !session_covers_host(s, m->word, 8)))
		return AG_MALFORMED;
	if (m->flags & ~CU_EVENT_RECORD_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	return event_find(s, m->event) && session_stream_ok(s, m->stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult invoke_event_record(struct session *s, const struct msg_event_record *m, const void *tail, uint32_t ntail,
                             void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct event *e = event_find(s, m->event);
	struct stream *st = stream_find(s, m->stream);
	uint64_t seq = s->st.flushing ? s->st.flushing_seq : ++s->st.seq;
	CUresult r = stream_order(s, st);

	/* A record that was held back must not undo one that the program made later. */
	bool latest = seq >= e->newest;
	if (latest) {
		e->newest = seq;
		e->captured = st->capturing && !m->flags;
	}
	/* The word first: whoever has waited for the event, on whatever stream, must find it told as complete. */
	if (!r && m->word && !st->capturing)
		r = s->d->cuStreamWriteValue64_v2(st->real, m->word, m->value, 0);
	if (!r && latest)
		r = m->flags ? s->d->cuEventRecordWithFlags(e->real, st->real, m->flags)
		             : s->d->cuEventRecord(e->real, st->real);
	if (!r)
		e->recorded = true;
	if (!s->st.flushing || latest)
		e->pending = NULL;
	return r;
}

CUresult check_event_elapsed(const struct session *s, const struct msg_event_elapsed *m, const void *tail,
                             uint32_t ntail)
{
	(void)tail, (void)ntail;
	const struct event *a = event_find(s, m->start), *b = event_find(s, m->stop);

	if (!a || !b || !a->timing || !b->timing || !a->recorded || !b->recorded)
		return CUDA_ERROR_INVALID_HANDLE;
	return CUDA_SUCCESS;
}

CUresult invoke_event_elapsed(struct session *s, const struct msg_event_elapsed *m, const void *tail, uint32_t ntail,
                              struct rep_event_elapsed *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)out;
	return s->d->cuEventElapsedTime_v2(&rep->ms, event_find(s, m->start)->real, event_find(s, m->stop)->real);
}

CUresult check_stream_wait(const struct session *s, const struct msg_stream_wait *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (m->flags & ~CU_EVENT_WAIT_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	return event_find(s, m->event) && session_stream_ok(s, m->stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult invoke_stream_wait(struct session *s, const struct msg_stream_wait *m, const void *tail, uint32_t ntail,
                            void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct stream *st = stream_find(s, m->stream);
	const struct event *e = event_find(s, m->event);
	CUresult r = stream_order(s, st);

	if (!r && e->captured && st->legacy) /* as natively; here the worker's own copies go that way */
		r = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	bool captures = s->st.captures != 0;
	if (!r && captures)
		r = stream_note_work(s, st);
	if (captures)
		quiet_streams_lock(s); /* it may be capturing from here on */
	if (!r)
		r = s->d->cuStreamWaitEvent(st->real, e->real, m->flags);
	if (!r && captures)
		graph_refresh(s);
	if (captures)
		quiet_streams_unlock(s);
	return r;
}

/* --- host functions ------------------------------------------------------------------------------------------ */

CUresult check_hostfunc(const struct session *s, const struct msg_hostfunc *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (m->word % 8 || !session_covers_host(s, m->word, 8) || !m->ticket || defer_has_ticket(s, m->ticket))
		return AG_MALFORMED;
	return session_stream_ok(s, m->stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult invoke_hostfunc(struct session *s, const struct msg_hostfunc *m, const void *tail, uint32_t ntail, void *rep,
                         struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct stream *st = stream_find(s, m->stream);
	CUresult r = stream_order(s, st);

	if (!r)
		r = s->d->cuStreamWriteValue64_v2(st->real, m->word, m->ticket, 0);
	return r ? r : defer_ticket(s, st, m->ticket);
}

CUresult check_hostfunc_done(const struct session *s, const struct msg_hostfunc_done *m, const void *tail,
                             uint32_t ntail)
{
	(void)s, (void)m, (void)tail, (void)ntail;
	return CUDA_SUCCESS;
}

/* A ticket that is not there: its hostfunc failed, or the fault that ended the session's work came first. */
CUresult invoke_hostfunc_done(struct session *s, const struct msg_hostfunc_done *m, const void *tail, uint32_t ntail,
                              void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	return defer_ticket_done(s, m->ticket);
}
