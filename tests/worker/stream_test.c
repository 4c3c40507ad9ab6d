/* stream_test.c - what the worker tells the driver for legacy-stream order, joins, and work held back by host
 * functions. */
#include "fake.h"

#define SID(i) AG_ID(AG_K_STREAM, 1, i)
#define EID(i) AG_ID(AG_K_EVENT, 1, i)

static void stream(struct session *s, unsigned i, unsigned flags)
{
	struct msg_stream_create *m = fake_msg(AG_OP_stream_create, sizeof *m, 0, false);
	m->stream = SID(i);
	m->flags = flags;
	fake_serve(s, m);
}

static void event(struct session *s, unsigned i)
{
	struct msg_event_create *m = fake_msg(AG_OP_event_create, sizeof *m, 0, false);
	m->event = EID(i);
	fake_serve(s, m);
}

static bool copy(struct session *s, ag_id st)
{
	struct msg_copy *m = fake_msg(AG_OP_copy, sizeof *m, 0, false);
	m->dst = m->src = fake_word(s, 0);
	m->bytes = 8;
	m->stream = st;
	return fake_serve(s, m);
}

static bool signal_word(struct session *s, ag_id st, uint64_t value, bool all)
{
	struct msg_signal *m = fake_msg(AG_OP_signal, sizeof *m, 0, false);
	m->word = fake_word(s, 1);
	m->value = value;
	m->stream = st;
	m->all = all;
	return fake_serve(s, m);
}

static bool record(struct session *s, unsigned e, ag_id st, uint64_t value)
{
	struct msg_event_record *m = fake_msg(AG_OP_event_record, sizeof *m, 0, false);
	m->event = EID(e);
	m->stream = st;
	m->word = value ? fake_word(s, 2) : 0;
	m->value = value;
	return fake_serve(s, m);
}

static bool await(struct session *s, ag_id st, unsigned e)
{
	struct msg_stream_wait *m = fake_msg(AG_OP_stream_wait, sizeof *m, 0, false);
	m->event = EID(e);
	m->stream = st;
	return fake_serve(s, m);
}

static bool hostfunc(struct session *s, ag_id st, uint64_t ticket)
{
	struct msg_hostfunc *m = fake_msg(AG_OP_hostfunc, sizeof *m, 0, false);
	m->stream = st;
	m->word = fake_word(s, 3);
	m->ticket = ticket;
	return fake_serve(s, m);
}

static bool done(struct session *s, uint64_t ticket)
{
	struct msg_hostfunc_done *m = fake_msg(AG_OP_hostfunc_done, sizeof *m, 0, false);
	m->ticket = ticket;
	return fake_serve(s, m);
}

static bool destroy(struct session *s, unsigned i)
{
	struct msg_stream_destroy *m = fake_msg(AG_OP_stream_destroy, sizeof *m, 0, false);
	m->stream = SID(i);
	return fake_serve(s, m);
}

/* Streams as the driver sees them: legacy 1, then in order of creation 2, 3, ... */
static const char *one_stream_costs_nothing(struct session *s)
{
	stream(s, 0, 0);
	fake_busy = ~0ull;
	for (int i = 0; i < 3; i++)
		copy(s, SID(0));
	EXPECT(fake_said("copy:2 copy:2 copy:2"));
	signal_word(s, SID(0), 7, false);
	signal_word(s, SID(0), 8, true);
	EXPECT(fake_said("write:2=7 write:2=8"));
	return NULL;
}

static const char *legacy_waits_for_blocking(struct session *s)
{
	stream(s, 0, 0);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	fake_busy = ~0ull;
	copy(s, SID(0));
	copy(s, SID(1));
	copy(s, 0);
	EXPECT(fake_said("copy:2 copy:3 record:2>1 wait:1<1 copy:1"));
	/* Waited for once; nothing new came. */
	copy(s, 0);
	EXPECT(fake_said("copy:1"));
	/* The blocking stream waits for the legacy one, once; the non-blocking one never. */
	copy(s, SID(0));
	copy(s, SID(0));
	copy(s, SID(1));
	EXPECT(fake_said("record:1>2 wait:2<2 copy:2 copy:2 copy:3"));
	return NULL;
}

static const char *idle_streams_are_not_waited_for(struct session *s)
{
	stream(s, 0, 0);
	copy(s, SID(0));
	copy(s, 0);
	copy(s, SID(0));
	EXPECT(fake_said("copy:2 copy:1 copy:2"));
	return NULL;
}

static const char *two_blocking_streams_share_one_mark(struct session *s)
{
	stream(s, 0, 0);
	stream(s, 1, 0);
	fake_busy = ~0ull;
	copy(s, 0);
	copy(s, SID(0));
	copy(s, SID(1));
	EXPECT(fake_said("copy:1 record:1>1 wait:2<1 copy:2 wait:3<1 copy:3"));
	return NULL;
}

static const char *join_covers_all(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	fake_busy = ~0ull;
	copy(s, SID(0));
	copy(s, SID(1));
	signal_word(s, 0, 9, true);
	EXPECT(fake_said("copy:2 copy:3 record:3>1 wait:4<1 record:2>2 wait:4<2 write:4=9"));
	fake_busy = 1 << 2;
	signal_word(s, 0, 10, true);
	EXPECT(fake_said("write:2=10"));
	fake_busy = 0;
	signal_word(s, 0, 11, true); /* the one stream left is as good as any */
	EXPECT(fake_said("write:2=11"));
	return NULL;
}

/* A word's values never go back: each signal of everything comes after the one before. */
static const char *joins_stay_in_order(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	fake_busy = ~0ull;
	signal_word(s, 0, 8, true);
	EXPECT(fake_said("write:1=8"));
	copy(s, SID(0));
	signal_word(s, 0, 9, true);
	EXPECT(fake_said("copy:2 record:2>1 wait:3<1 record:1>2 wait:3<2 write:3=9"));
	fake_busy = 1 << 3; /* both streams are done, the write behind them is not */
	signal_word(s, 0, 10, true);
	EXPECT(fake_said("write:3=10"));
	fake_busy = 1 << 2 | 1 << 3;
	copy(s, SID(0));
	signal_word(s, 0, 11, true);
	EXPECT(fake_said("copy:2 record:2>1 wait:3<1 write:3=11"));
	fake_busy = 1 << 2;
	signal_word(s, 0, 12, true);
	EXPECT(fake_said("write:2=12"));
	return NULL;
}

static const char *destroyed_streams_still_count(struct session *s)
{
	stream(s, 0, 0);
	fake_busy = ~0ull;
	copy(s, SID(0));
	destroy(s, 0);
	EXPECT(fake_said("copy:2"));
	copy(s, 0);
	EXPECT(fake_said("record:2>1 wait:1<1 copy:1"));
	EXPECT(s->shm->async_error == 0);
	copy(s, SID(0));
	EXPECT(s->shm->async_error == CUDA_ERROR_INVALID_HANDLE);
	unsigned before = fake_streams;
	fake_busy = 0;
	stream(s, 1, 0);
	streams_reap(s);
	EXPECT(fake_streams == before);
	return NULL;
}

/* --- host functions -------------------------------------------------------------------------------- */

static const char *hostfunc_holds_its_stream(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	copy(s, SID(0));
	hostfunc(s, SID(0), 5);
	copy(s, SID(0));
	signal_word(s, SID(0), 6, false);
	copy(s, SID(1));
	EXPECT(fake_said("copy:2 write:2=5 copy:3"));
	done(s, 4);
	EXPECT(fake_said(""));
	done(s, 5);
	EXPECT(fake_said("copy:2 write:2=6"));
	EXPECT(s->st.held == 0 && s->st.deferred_bytes == 0);
	return NULL;
}

static const char *second_hostfunc_waits_its_turn(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	hostfunc(s, SID(0), 5);
	copy(s, SID(0));
	hostfunc(s, SID(0), 6);
	copy(s, SID(0));
	EXPECT(fake_said("write:2=5"));
	done(s, 5);
	EXPECT(fake_said("copy:2 write:2=6"));
	done(s, 5);
	EXPECT(fake_said(""));
	done(s, 6);
	EXPECT(fake_said("copy:2"));
	return NULL;
}

static const char *events_carry_the_hold(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	event(s, 0);
	fake_busy = ~0ull;
	hostfunc(s, SID(0), 5);
	record(s, 0, SID(0), 77);
	await(s, SID(1), 0);
	copy(s, SID(1));
	EXPECT(fake_said("write:2=5"));
	done(s, 5);
	EXPECT(fake_said("write:2=77 record:2>1 wait:3<1 copy:3"));
	return NULL;
}

static const char *a_later_record_wins(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	event(s, 0);
	hostfunc(s, SID(0), 5);
	record(s, 0, SID(0), 77);
	record(s, 0, SID(1), 78);
	EXPECT(fake_said("write:2=5 write:3=78 record:3>1"));
	done(s, 5);
	EXPECT(fake_said("write:2=77"));
	return NULL;
}

static const char *legacy_order_with_holds(struct session *s)
{
	stream(s, 0, 0);
	stream(s, 1, 0);
	stream(s, 2, CU_STREAM_NON_BLOCKING);
	hostfunc(s, SID(0), 5);
	copy(s, 0);      /* legacy: after everything blocking */
	copy(s, SID(1)); /* blocking: after the legacy operation */
	copy(s, SID(2));
	signal_word(s, 0, 9, true);
	EXPECT(fake_said("write:2=5 copy:4"));
	done(s, 5);
	EXPECT(fake_said("copy:1 copy:3 write:1=9"));
	return NULL;
}

/* While held back: the client destroys what is still needed, and may use the numbers again. */
static const char *destroyed_while_held(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	event(s, 0);
	hostfunc(s, SID(0), 5);
	record(s, 0, SID(0), 0);
	copy(s, SID(0));
	struct msg_event_destroy *m = fake_msg(AG_OP_event_destroy, sizeof *m, 0, false);
	m->event = EID(0);
	fake_serve(s, m);
	destroy(s, 0);
	struct msg_stream_create *c = fake_msg(AG_OP_stream_create, sizeof *c, 0, false);
	c->stream = AG_ID(AG_K_STREAM, 2, 0);
	EXPECT(fake_serve(s, c));
	EXPECT(s->shm->async_error == 0 && fake_events == 1);
	EXPECT(fake_said("write:2=5"));
	done(s, 5);
	EXPECT(fake_said("record:2>1 copy:2"));
	EXPECT(fake_events == 0 && s->shm->async_error == 0);
	return NULL;
}

/* What waits for a record of a stream that is gone does not look at it again. */
static const char *destroyed_while_awaited(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	event(s, 0);
	hostfunc(s, SID(0), 5);
	record(s, 0, SID(0), 0);
	hostfunc(s, SID(1), 6);
	await(s, SID(1), 0);
	fake_said("write:2=5 write:3=6");
	destroy(s, 0);
	done(s, 5);
	EXPECT(fake_said("record:2>1"));
	done(s, 6);
	EXPECT(fake_said("wait:3<1"));
	return NULL;
}

static bool capture(struct session *s, unsigned i)
{
	struct msg_capture_begin *m = fake_msg(AG_OP_capture_begin, sizeof *m, 0, true);
	m->stream = SID(i);
	return fake_serve(s, m);
}

static bool drained(void *s, unsigned ms) { return streams_drain(s, ms); }

/* A capture hides a stream from queries, not its earlier work: memory does not move under that. */
static const char *work_before_a_capture_counts(struct session *s)
{
	uint64_t addr = 0, got = 0, extent = window_extent(s->win);
	int fd;

	stream(s, 0, CU_STREAM_NON_BLOCKING);
	fake_busy = 1 << 2;
	copy(s, SID(0));
	capture(s, 0);
	EXPECT(s->st.captures == 1);
	EXPECT(!streams_drain(s, 0));
	EXPECT(window_grant(s->win, 1 << 20, false, drained, s, &addr, &got, &fd) == 0);
	EXPECT(addr >= window_base(s->win) + extent);
	destroy(s, 0);
	EXPECT(!streams_drain(s, 0));
	fake_busy = 0;
	EXPECT(streams_drain(s, 0));
	fake_log[0] = 0;
	return NULL;
}

/* What a stream was given before it captured is part of everything. */
static const char *joins_cover_work_before_a_capture(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	fake_busy = 1 << 2;
	copy(s, SID(0));
	capture(s, 0);
	fake_log[0] = 0;
	signal_word(s, 0, 9, true);
	EXPECT(fake_said("wait:3<1 write:3=9"));
	fake_busy = 0;
	signal_word(s, 0, 10, true);
	EXPECT(fake_said("write:1=10"));
	return NULL;
}

static unsigned said_copies(void)
{
	unsigned n = 0;

	for (const char *p = fake_log; (p = strstr(p, "copy:")); p++)
		n++;
	fake_log[0] = 0;
	return n;
}

/* What waits for a busy stream is bounded, over all streams; what has ended counts no more. (A session that is ending
 * does not wait for room, so that this test need not.) */
static const char *queues_are_bounded(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	s->hangup = 1;
	fake_busy = 1 << 2 | 1 << 3;
	for (unsigned i = 0; i < 400; i++)
		copy(s, SID(i & 1));
	EXPECT(said_copies() == 256);
	fake_busy = 0;
	copy(s, SID(0));
	EXPECT(said_copies() == 1 && s->depth.ops < 64);
	for (unsigned i = 0; i < 400; i++)
		copy(s, SID(i & 1));
	EXPECT(said_copies() == 400);
	s->hangup = 0;
	return NULL;
}

/* The same of a stream that a capture draws in. */
static const char *work_before_being_drawn_in_counts(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	stream(s, 1, CU_STREAM_NON_BLOCKING);
	event(s, 0);
	capture(s, 0);
	fake_busy = 1 << 3;
	copy(s, SID(1));
	record(s, 0, SID(0), 0);
	fake_capturing |= 1 << 3;
	await(s, SID(1), 0);
	EXPECT(s->st.captures == 2);
	EXPECT(!streams_drain(s, 0));
	fake_busy = 0;
	EXPECT(streams_drain(s, 0));
	fake_log[0] = 0;
	return NULL;
}

static const char *a_fault_drops_what_is_held(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	hostfunc(s, SID(0), 5);
	copy(s, SID(0));
	fake_said("write:2=5");
	s->records->rec[0].kind = GUARD_FAULT_ALIGN;
	s->records->rec[0].valid = 1;
	s->records->count = 1;
	copy(s, SID(0));
	EXPECT(s->state == AG_S_FAULTED && s->shm->async_error == CUDA_ERROR_MISALIGNED_ADDRESS);
	done(s, 5);
	EXPECT(fake_said(""));
	return NULL;
}

static const char *end_while_held(struct session *s)
{
	stream(s, 0, 0);
	event(s, 0);
	hostfunc(s, SID(0), 5);
	record(s, 0, SID(0), 0);
	copy(s, 0);
	fake_said("write:2=5");
	return NULL; /* fake_end must free it all */
}

static const char *too_much_held_back(struct session *s)
{
	stream(s, 0, CU_STREAM_NON_BLOCKING);
	hostfunc(s, SID(0), 5);
	s->st.deferred_bytes += DEFERRED_MAX;
	copy(s, SID(0));
	EXPECT(s->shm->async_error == CUDA_ERROR_OUT_OF_MEMORY);
	s->st.deferred_bytes -= DEFERRED_MAX;
	fake_said("write:2=5");
	return NULL;
}

int main(void)
{
	static const struct fake_test cases[] = {
		{ "one_stream_costs_nothing", one_stream_costs_nothing },
		{ "legacy_waits_for_blocking", legacy_waits_for_blocking },
		{ "idle_streams_are_not_waited_for", idle_streams_are_not_waited_for },
		{ "two_blocking_streams_share_one_mark", two_blocking_streams_share_one_mark },
		{ "join_covers_all", join_covers_all },
		{ "joins_stay_in_order", joins_stay_in_order },
		{ "joins_cover_work_before_a_capture", joins_cover_work_before_a_capture },
		{ "queues_are_bounded", queues_are_bounded },
		{ "destroyed_streams_still_count", destroyed_streams_still_count },
		{ "hostfunc_holds_its_stream", hostfunc_holds_its_stream },
		{ "second_hostfunc_waits_its_turn", second_hostfunc_waits_its_turn },
		{ "events_carry_the_hold", events_carry_the_hold },
		{ "a_later_record_wins", a_later_record_wins },
		{ "legacy_order_with_holds", legacy_order_with_holds },
		{ "destroyed_while_held", destroyed_while_held },
		{ "destroyed_while_awaited", destroyed_while_awaited },
		{ "work_before_a_capture_counts", work_before_a_capture_counts },
		{ "work_before_being_drawn_in_counts", work_before_being_drawn_in_counts },
		{ "a_fault_drops_what_is_held", a_fault_drops_what_is_held },
		{ "end_while_held", end_while_held },
		{ "too_much_held_back", too_much_held_back },
	};

	return fake_run("stream", cases, sizeof cases / sizeof *cases, 0);
}
