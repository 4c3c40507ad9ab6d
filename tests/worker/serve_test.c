/* serve_test.c - judgement: heads, permits, ids, addresses and sizes that no driver may ever see; replies; the
 * session's end; SHA-256. */
#include "fake.h"
#include "worker/digest.h"

#define ENDS(m)                                                                                                        \
	do {                                                                                                           \
		if (fake_serve(s, m))                                                                                  \
			return "the session goes on: " #m;                                                             \
		if (s->shm->ended != CUDA_ERROR_UNKNOWN)                                                               \
			return "not ended: " #m;                                                                       \
		s->shm->ended = 0;                                                                                     \
	} while (0)

static struct msg_copy *copy(struct session *s, uint64_t dst, uint64_t src, uint64_t bytes)
{
	struct msg_copy *m = fake_msg(AG_OP_copy, sizeof *m, 0, false);

	(void)s;
	m->dst = dst;
	m->src = src;
	m->bytes = bytes;
	return m;
}

/* The asynchronous error that a message leaves. */
static CUresult after(struct session *s, void *m)
{
	s->shm->async_error = 0;
	if (!fake_serve(s, m))
		return (CUresult)AG_MALFORMED;
	return (CUresult)s->shm->async_error;
}

static const char *heads(struct session *s)
{
	struct ag_head *h;

	h = fake_msg(AG_OP_COUNT, sizeof *h, 0, true);
	ENDS(h);
	h = fake_msg(60000, sizeof *h, 0, false);
	ENDS(h);
	h = fake_msg(AG_OP_nop, sizeof(struct msg_nop), 0, false); /* a call without a slot */
	ENDS(h);
	h = fake_msg(AG_OP_nop, sizeof(struct msg_nop), 0, true);
	h->slot = AG_SLOTS;
	ENDS(h);
	h = fake_msg(AG_OP_nop, sizeof(struct msg_nop), 8, true); /* a tail where there is none */
	ENDS(h);
	h = fake_msg(AG_OP_copy, sizeof(struct msg_copy), 0, true); /* a slot where there is none */
	ENDS(h);
	h = fake_msg(AG_OP_copy, sizeof(struct msg_copy) - 8, 0, false);
	ENDS(h);
	h = fake_msg(AG_OP_launch, sizeof(struct msg_launch), 16, false);
	h->tail = 100;
	ENDS(h);
	h = fake_msg(AG_OP_launch, sizeof(struct msg_launch), 16, false);
	h->tail = UINT32_MAX - 70;
	ENDS(h);
	EXPECT(fake_said(""));
	return NULL;
}

static const char *replies(struct session *s)
{
	struct ag_head *h = fake_msg(AG_OP_meminfo, sizeof(struct msg_meminfo), 0, true);
	struct rep_meminfo rep;

	h->slot = 255;
	h->seq = 0xfffffffe;
	EXPECT(fake_serve(s, h));
	EXPECT(s->shm->slot[255].done == 0xfffffffe && s->shm->slot[255].status == 0 &&
	       s->shm->slot[255].bytes == sizeof rep);
	memcpy(&rep, s->replies + 255 * AG_REPLY_BYTES, sizeof rep);
	EXPECT(rep.free == 1 && rep.total == 2);
	/* What the worker wrote there it never reads. */
	memset(s->shm->slot, 0xff, sizeof s->shm->slot);
	h = fake_msg(AG_OP_nop, sizeof(struct msg_nop), 0, true);
	EXPECT(fake_serve(s, h) && s->shm->slot[0].done == 1);
	return NULL;
}

static const char *addresses(struct session *s)
{
	uint64_t w = fake_word(s, 0), host = window_stats(s->win).host_bytes, end = w + host,
	         base = window_base(s->win);

	EXPECT(after(s, copy(s, w, w + 64, 64)) == 0 && fake_said("copy:1"));
	EXPECT(after(s, copy(s, w, w, host)) == 0 && fake_said("copy:1"));
	EXPECT(after(s, copy(s, w, w, 0)) == 0 && fake_said(""));
	const struct {
		uint64_t dst, src, bytes;
	} bad[] = {
		{ w, end - 7, 8 },
		{ end - 7, w, 8 },
		{ w - 1, w, 1 },
		{ w, w - 1, 1 },
		{ base, w, 1 },
		{ base + 4096, w, 1 },
		{ w, 0, 8 },
		{ 0, w, 8 },
		{ w, w, UINT64_MAX },
		{ w, w + 8, UINT64_MAX - 7 },
		{ UINT64_MAX, w, 1 },
		{ end, w, 0 },
		{ w, base + AG_WINDOW_BYTES, 8 },
		{ base + AG_EXTENT_MIN, w, 8 },
		{ w, base - 8, 16 },
		{ w, w, host + 1 },
		{ (uint64_t)(uintptr_t)s, w, 8 },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		EXPECT(after(s, copy(s, bad[i].dst, bad[i].src, bad[i].bytes)) == CUDA_ERROR_INVALID_VALUE);
	EXPECT(fake_said(""));
	struct msg_copy *m = copy(s, w, w, 8);
	m->stream = AG_ID(AG_K_STREAM, 1, 0);
	EXPECT(after(s, m) == CUDA_ERROR_INVALID_HANDLE);
	m->stream = AG_ID(AG_K_EVENT, 1, 0);
	EXPECT(after(s, m) == CUDA_ERROR_INVALID_HANDLE && fake_said(""));
	return NULL;
}

static CUresult set(struct session *s, uint64_t dst, uint64_t pitch, uint64_t width, uint64_t height, uint32_t elem)
{
	struct msg_set *m = fake_msg(AG_OP_set, sizeof *m, 0, false);

	m->dst = dst;
	m->pitch = pitch;
	m->width = width;
	m->height = height;
	m->elem = elem;
	return after(s, m);
}

static const char *fills(struct session *s)
{
	uint64_t w = fake_word(s, 0), host = window_stats(s->win).host_bytes;
	CUresult no = CUDA_ERROR_INVALID_VALUE;

	EXPECT(set(s, w, 0, host, 1, 1) == 0 && fake_said("set:1"));
	EXPECT(set(s, w, 1024, 256, host / 1024, 4) == 0 && fake_said("set2d:1"));
	EXPECT(set(s, w, 1024, 256, host / 1024 + 1, 4) == no);
	EXPECT(set(s, w, 1024, 257, 2, 4) == no);
	EXPECT(set(s, w, 0, host + 1, 1, 1) == no);
	EXPECT(set(s, w, 0, 1ull << 62, 1, 4) == no);
	EXPECT(set(s, w, 1ull << 40, 1, 1ull << 24, 4) == no);
	EXPECT(set(s, w, UINT64_MAX, 1, 2, 1) == no);
	EXPECT(set(s, w + 1, 0, 1, 1, 2) == no && set(s, w, 0, 1, 1, 3) == no && set(s, w, 0, 1, 1, 0) == no);
	EXPECT(set(s, 0, 0, 0, 5, 4) == 0);
	EXPECT(fake_said(""));
	return NULL;
}

static struct msg_copy3d box(struct session *s)
{
	uint64_t w = fake_word(s, 0);
	struct msg_copy3d m = { .dst = w,
		                .src = w + 65536,
		                .dst_pitch = 64,
		                .dst_height = 8,
		                .src_pitch = 128,
		                .src_height = 16,
		                .width = 32,
		                .height = 4,
		                .depth = 2 };
	return m;
}

static CUresult copy3d(struct session *s, struct msg_copy3d v)
{
	struct msg_copy3d *m = fake_msg(AG_OP_copy3d, sizeof *m, 0, false);
	struct ag_head h = m->h;

	*m = v;
	m->h = h;
	return after(s, m);
}

static const char *boxes(struct session *s)
{
	CUresult no = CUDA_ERROR_INVALID_VALUE;
	struct msg_copy3d m = box(s);

	EXPECT(copy3d(s, m) == 0 && fake_said("copy3d:1"));
#define WITH(change, want)                                                                                             \
	do {                                                                                                           \
		m = box(s);                                                                                            \
		change;                                                                                                \
		if (copy3d(s, m) != (want))                                                                            \
			return #change;                                                                                \
	} while (0)
	WITH(m.width = 65, no);
	WITH(m.height = 9, no);
	WITH(m.dst_y = 5, no);
	WITH(m.dst_x = 33, no);
	WITH(m.depth = 1ull << 50, no);
	WITH(m.src_z = UINT64_MAX / 2, no);
	WITH(m.src_pitch = 1ull << 40, no);
	WITH((m.src_pitch = 1ull << 33, m.src_height = 1ull << 33), no);
	WITH(m.dst_lod = 1, no);
	WITH(m.dst = 8, no);
	WITH(m.src = fake_word(s, 0) + window_stats(s->win).host_bytes - 200, no);
	WITH(m.dst_is_array = 1, CUDA_ERROR_INVALID_HANDLE);
	WITH(m.width = 0, 0);
	EXPECT(fake_said(""));
	m = box(s);
	m.src_is_array = 2;
	EXPECT((int)copy3d(s, m) == AG_MALFORMED);
	return NULL;
}

static const char *words(struct session *s)
{
	struct msg_signal *m = fake_msg(AG_OP_signal, sizeof *m, 0, false);

	m->word = fake_word(s, 0) + 4;
	ENDS(m);
	m->word = fake_word(s, 0) - 8;
	ENDS(m);
	m->word = fake_word(s, 0) + window_stats(s->win).host_bytes - 4;
	ENDS(m);
	struct msg_hostfunc *f = fake_msg(AG_OP_hostfunc, sizeof *f, 0, false);
	f->word = fake_word(s, 0);
	ENDS(f); /* ticket 0 */
	f->ticket = 3;
	EXPECT(fake_serve(s, f) && s->st.held == 1);
	fake_log[0] = 0;
	return NULL;
}

/* The least a permitted message needs to be answered in a faulted session. */
static const char *faulted(struct session *s)
{
	s->records->rec[0] = (struct guard_record){
		.valid = 1, .kind = GUARD_FAULT_TRAP, .line = 12, .addr = 0x1234, .tid = { 1, 2, 3 }
	};
	s->records->count = 1;
	unsigned logged = fake_logged;
	EXPECT(after(s, copy(s, fake_word(s, 0), fake_word(s, 8), 8)) == CUDA_ERROR_LAUNCH_FAILED && fake_said(""));
	EXPECT(fake_logged == logged + 1);
	struct msg_grant *g = fake_msg(AG_OP_grant, sizeof *g, 0, true);
	g->bytes = 1;
	EXPECT(fake_serve(s, g) && s->shm->slot[0].status == CUDA_ERROR_LAUNCH_FAILED && s->shm->slot[0].bytes == 0);
	struct msg_fault *q = fake_msg(AG_OP_fault, sizeof *q, 0, true);
	struct rep_fault rep;
	EXPECT(fake_serve(s, q) && s->shm->slot[0].status == 0 && s->shm->slot[0].bytes == sizeof rep);
	memcpy(&rep, s->replies, sizeof rep);
	EXPECT(rep.result == CUDA_ERROR_LAUNCH_FAILED && rep.line == 12 && rep.addr == 0x1234 && rep.tid[2] == 3);
	EXPECT(fake_logged == logged + 1);
	struct msg_nop *n = fake_msg(AG_OP_nop, sizeof *n, 0, true);
	EXPECT(fake_serve(s, n) && s->shm->slot[0].status == 0);
	return NULL;
}

/* A record that says more were written than there is room for, and one not finished yet. */
static const char *record_flood(struct session *s)
{
	s->records->count = UINT32_MAX;
	struct msg_nop *n = fake_msg(AG_OP_nop, sizeof *n, 0, true);
	EXPECT(fake_serve(s, n) && s->state == AG_S_READY);
	s->records->rec[GUARD_MAX_RECORDS - 1].valid = 1;
	s->records->rec[GUARD_MAX_RECORDS - 1].kind = 77;
	EXPECT(fake_serve(s, fake_msg(AG_OP_nop, sizeof *n, 0, true)) && s->state == AG_S_FAULTED &&
	       s->fault == CUDA_ERROR_ILLEGAL_ADDRESS);
	return NULL;
}

static const char *driver_errors(struct session *s)
{
	uint64_t w = fake_word(s, 0);

	fake_fails = CUDA_ERROR_OUT_OF_MEMORY;
	EXPECT(after(s, copy(s, w, w, 8)) == CUDA_ERROR_OUT_OF_MEMORY);
	/* The first one stays until it is taken. */
	fake_fails = CUDA_ERROR_INVALID_VALUE;
	fake_serve(s, copy(s, w, w, 8));
	EXPECT(s->shm->async_error == CUDA_ERROR_INVALID_VALUE || s->shm->async_error == CUDA_ERROR_OUT_OF_MEMORY);
	the_worker.sessions = s;
	s->serving = true;
	fake_fails = CUDA_ERROR_ILLEGAL_ADDRESS; /* of one call: the others go on */
	fake_serve(s, copy(s, w, w, 8));
	EXPECT(!the_worker.dead && !s->shm->ended);
	fake_dead = CUDA_ERROR_ILLEGAL_ADDRESS; /* the context itself */
	fake_serve(s, copy(s, w, w, 8));
	EXPECT(the_worker.dead == CUDA_ERROR_ILLEGAL_ADDRESS && s->shm->ended == CUDA_ERROR_ILLEGAL_ADDRESS);
	the_worker.dead = 0;
	the_worker.sessions = NULL;
	fake_log[0] = 0;
	return NULL;
}

static const char *grants(struct session *s)
{
	struct msg_grant *g = fake_msg(AG_OP_grant, sizeof *g, 0, true);
	struct rep_grant rep;

	g->bytes = 3 << 20;
	EXPECT(fake_serve(s, g) && s->shm->slot[0].status == 0);
	memcpy(&rep, s->replies, sizeof rep);
	EXPECT(rep.bytes == 4 << 20 && session_covers(s, rep.addr, rep.bytes) && s->device_bytes == rep.bytes);
	EXPECT(after(s, copy(s, rep.addr, fake_word(s, 0), 4 << 20)) == 0);
	struct msg_giveback *b = fake_msg(AG_OP_giveback, sizeof *b, 0, true);
	b->addr = rep.addr;
	b->bytes = rep.bytes;
	EXPECT(fake_serve(s, b) && s->shm->slot[0].status == 0 && s->device_bytes == 0);
	EXPECT(after(s, copy(s, rep.addr, fake_word(s, 0), 8)) == CUDA_ERROR_INVALID_VALUE);
	b = fake_msg(AG_OP_giveback, sizeof *b, 0, true);
	b->addr = rep.addr;
	b->bytes = rep.bytes;
	EXPECT(fake_serve(s, b) && s->shm->slot[0].status == CUDA_ERROR_INVALID_VALUE);
	g = fake_msg(AG_OP_grant, sizeof *g, 0, true);
	g->bytes = 1;
	g->host = 2;
	ENDS(g);
	fake_log[0] = 0;
	return NULL;
}

static const char *tables(struct session *s)
{
	struct table t = { 0 };
	enum ag_kind k = AG_K_EVENT;
	int x;

	EXPECT(!table_free_id(&t, k, 0) && !table_free_id(&t, k, AG_ID(AG_K_STREAM, 1, 0)) &&
	       !table_free_id(&t, k, AG_ID(k, 0, 0)));
	EXPECT(!table_free_id(&t, k, AG_ID(k, 1, 0xffffffff)) && !table_free_id(&t, k, AG_ID(k, 1, 1 << 19)));
	EXPECT(table_put(&t, k, AG_ID(k, 5, 700), &x, NULL) == 0 && t.live == 1);
	EXPECT(table_find(&t, k, AG_ID(k, 5, 700)) && !table_find(&t, k, AG_ID(k, 4, 700)) &&
	       !table_find(&t, k, AG_ID(k, 6, 700)));
	EXPECT(!table_find(&t, AG_K_STREAM, AG_ID(k, 5, 700)) && !table_find(&t, k, AG_ID(k, 5, 699)));
	EXPECT(table_put(&t, k, AG_ID(k, 6, 700), &x, NULL) == CUDA_ERROR_INVALID_HANDLE);
	table_drop(&t, k, AG_ID(k, 5, 700));
	table_drop(&t, k, AG_ID(k, 5, 700));
	EXPECT(t.live == 0 && !table_find(&t, k, AG_ID(k, 5, 700)));
	EXPECT(!table_free_id(&t, k, AG_ID(k, 5, 700)) && !table_free_id(&t, k, AG_ID(k, 4, 700)) &&
	       table_free_id(&t, k, AG_ID(k, 6, 700)));
	table_clear(&t);
	EXPECT(session_put(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0), &x) == 0 &&
	       session_find(s, AG_K_GRAPH, &x) == AG_ID(AG_K_GRAPH, 1, 0));
	EXPECT(session_get(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0)) == &x &&
	       !session_get(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 2, 0)));
	session_drop(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0));
	EXPECT(!session_has(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0)) && !session_find(s, AG_K_GRAPH, &x));
	return NULL;
}

static bool array_destroy(struct session *s, unsigned i)
{
	struct msg_cuArrayDestroy *m = fake_msg(AG_OP_cuArrayDestroy, sizeof *m, 0, true);
	m->hArray = AG_ID(AG_K_ARRAY, 1, i);
	return fake_serve(s, m) && s->shm->slot[0].status == 0;
}

/* A graph's copy may name an array that the program destroys: it goes when no graph is left. */
static const char *arrays_outlive_graphs(struct session *s)
{
	quiet_join(s);
	for (unsigned i = 0; i < 3; i++, fake_objects++)
		session_put(s, AG_K_ARRAY, AG_ID(AG_K_ARRAY, 1, i), (void *)(uintptr_t)(i + 1));
	session_put(s, AG_K_GRAPHEXEC, AG_ID(AG_K_GRAPHEXEC, 1, 0), (void *)9);
	EXPECT(array_destroy(s, 0) && !session_has(s, AG_K_ARRAY, AG_ID(AG_K_ARRAY, 1, 0)));
	EXPECT(fake_said(""));
	session_drop(s, AG_K_GRAPHEXEC, AG_ID(AG_K_GRAPHEXEC, 1, 0));
	fake_busy = 1 << 1; /* its last launch runs */
	EXPECT(!s->st.legacy.capturing && !streams_drain(s, 0));
	arrays_sweep(s);
	EXPECT(fake_said(""));
	fake_busy = 0;
	EXPECT(array_destroy(s, 1));
	EXPECT(fake_said("array- array-"));
	session_put(s, AG_K_GRAPHEXEC, AG_ID(AG_K_GRAPHEXEC, 2, 0), (void *)9);
	fake_objects++;
	EXPECT(array_destroy(s, 2));
	session_teardown(s);
	EXPECT(fake_said("exec- array-"));
	return NULL;
}

/* A wait for the session's own work that its end cuts short is nobody else's affair. */
static const char *a_wait_cut_short(struct session *s)
{
	struct msg_cuTexObjectDestroy *m = fake_msg(AG_OP_cuTexObjectDestroy, sizeof *m, 0, true);

	session_put(s, AG_K_TEXTURE, AG_ID(AG_K_TEXTURE, 1, 0), (void *)1);
	fake_objects++;
	fake_busy = 1 << 1;
	s->hangup = 1;
	m->texObject = AG_ID(AG_K_TEXTURE, 1, 0);
	EXPECT(fake_serve(s, m));
	EXPECT(s->shm->slot[0].status == CUDA_ERROR_NOT_READY && !context_error(s->shm->slot[0].status));
	EXPECT(!the_worker.dead);
	return NULL;
}

/* The end of a capture comes before the graph that it goes on into. */
static const char *captures_end_before_graphs(struct session *s)
{
	struct msg_stream_create *c = fake_msg(AG_OP_stream_create, sizeof *c, 0, false);
	c->stream = AG_ID(AG_K_STREAM, 1, 0);
	c->flags = CU_STREAM_NON_BLOCKING;
	EXPECT(fake_serve(s, c));
	struct msg_capture_begin *b = fake_msg(AG_OP_capture_begin, sizeof *b, 0, true);
	b->stream = AG_ID(AG_K_STREAM, 1, 0);
	EXPECT(fake_serve(s, b) && s->st.captures == 1);
	session_put(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0), (void *)5);
	fake_objects++;
	fake_log[0] = 0;
	session_teardown(s);
	EXPECT(fake_said("uncapture:2 graph-"));
	return NULL;
}

/* --- a graph that a capture goes on into -------------------------------------------------------------------- */

#define STREAM_ID(i) AG_ID(AG_K_STREAM, 1, i)
#define GRAPH(i) AG_ID(AG_K_GRAPH, 1, i)
#define NODE(i) AG_ID(AG_K_GRAPHNODE, 1, i)
#define EXEC(i) AG_ID(AG_K_GRAPHEXEC, 1, i)
enum { END, MINE, MINES_NODE, OTHER, OTHERS_NODE, NEW_GRAPH, NEW_NODE, NEW_EXEC, AN_EXEC, ONE };

/* Messages that name one graph, or a node of it: MINE, MINES_NODE. */
#define AT(op, field) offsetof(struct msg_##op, field)
#define ROW(op, ...) { AG_OP_##op, sizeof(struct msg_##op), { __VA_ARGS__ }, END }
#define ADD(op, graph) { AT(op, phGraphNode), NEW_NODE }, { AT(op, hGraph), graph }
static const struct {
	uint16_t op;
	uint32_t size;
	struct {
		size_t at;
		int what;
	} v[4];
	int tail;
} naming[] = {
	ROW(cuGraphAddEmptyNode, ADD(cuGraphAddEmptyNode, MINE)),
	{ AG_OP_cuGraphAddEmptyNode,
	  sizeof(struct msg_cuGraphAddEmptyNode),
	  { ADD(cuGraphAddEmptyNode, OTHER), { AT(cuGraphAddEmptyNode, numDependencies), ONE } },
	  MINES_NODE },
	ROW(cuGraphAddChildGraphNode, ADD(cuGraphAddChildGraphNode, MINE),
	    { AT(cuGraphAddChildGraphNode, childGraph), OTHER }),
	ROW(cuGraphAddChildGraphNode, ADD(cuGraphAddChildGraphNode, OTHER),
	    { AT(cuGraphAddChildGraphNode, childGraph), MINE }),
	ROW(cuGraphClone, { AT(cuGraphClone, phGraphClone), NEW_GRAPH }, { AT(cuGraphClone, originalGraph), MINE }),
	ROW(cuGraphNodeFindInClone, { AT(cuGraphNodeFindInClone, phNode), NEW_NODE },
	    { AT(cuGraphNodeFindInClone, hOriginalNode), MINES_NODE },
	    { AT(cuGraphNodeFindInClone, hClonedGraph), OTHER }),
	ROW(cuGraphGetNodes, { AT(cuGraphGetNodes, hGraph), MINE }),
	ROW(cuGraphNodeGetType, { AT(cuGraphNodeGetType, hNode), MINES_NODE }),
	ROW(cuGraphAddDependencies_v2, { AT(cuGraphAddDependencies_v2, hGraph), MINE }),
	ROW(cuGraphInstantiateWithFlags, { AT(cuGraphInstantiateWithFlags, phGraphExec), NEW_EXEC },
	    { AT(cuGraphInstantiateWithFlags, hGraph), MINE }),
	ROW(cuGraphExecUpdate_v2, { AT(cuGraphExecUpdate_v2, hGraphExec), AN_EXEC },
	    { AT(cuGraphExecUpdate_v2, hGraph), MINE }),
	ROW(cuGraphExecChildGraphNodeSetParams, { AT(cuGraphExecChildGraphNodeSetParams, hGraphExec), AN_EXEC },
	    { AT(cuGraphExecChildGraphNodeSetParams, hNode), OTHERS_NODE },
	    { AT(cuGraphExecChildGraphNodeSetParams, childGraph), MINE }),
	ROW(graph_kernel_copy, { AT(graph_kernel_copy, to), MINES_NODE },
	    { AT(graph_kernel_copy, from), OTHERS_NODE }),
	ROW(graph_kernel_copy, { AT(graph_kernel_copy, to), OTHERS_NODE },
	    { AT(graph_kernel_copy, from), MINES_NODE }),
	ROW(cuGraphDestroyNode, { AT(cuGraphDestroyNode, hNode), MINES_NODE }),
	ROW(cuGraphDestroy, { AT(cuGraphDestroy, hGraph), MINE }),
};

/* Graph `mine` has the handle 5 + mine, and its node of that number is the driver's 10 (5 + mine). */
static uint64_t meant(int what, unsigned mine)
{
	switch (what) {
	case MINE: return GRAPH(mine);
	case MINES_NODE: return NODE(mine);
	case OTHER: return GRAPH(2);
	case OTHERS_NODE: return NODE(2);
	case NEW_GRAPH: return GRAPH(9);
	case NEW_NODE: return NODE(9);
	case NEW_EXEC: return EXEC(9);
	case AN_EXEC: return EXEC(0);
	case ONE: return 1;
	}
	abort();
}

static CUresult name_it(struct session *s, size_t row, unsigned mine)
{
	uint32_t tail = naming[row].tail ? 8 : 0;
	uint8_t *m = fake_msg(naming[row].op, naming[row].size, tail, true);

	for (size_t i = 0; i < 4 && naming[row].v[i].what; i++) {
		uint64_t v = meant(naming[row].v[i].what, mine);
		memcpy(m + naming[row].v[i].at, &v, 8);
	}
	if (tail) {
		uint64_t v = meant(naming[row].tail, mine);
		memcpy(m + naming[row].size, &v, 8);
	}
	return fake_serve(s, m) ? s->shm->slot[0].status : 999;
}

static CUresult capture_into(struct session *s, unsigned stream, ag_id graph, ag_id dep)
{
	struct msg_capture_begin *b = fake_msg(AG_OP_capture_begin, sizeof *b, dep ? 8 : 0, true);
	b->stream = STREAM_ID(stream);
	b->graph = graph;
	b->ndeps = dep != 0;
	if (dep)
		memcpy(b + 1, &dep, 8);
	return fake_serve(s, b) ? s->shm->slot[0].status : 999;
}

static CUresult capture_out(struct session *s, unsigned stream)
{
	struct msg_capture_end *e = fake_msg(AG_OP_capture_end, sizeof *e, 0, true);
	e->stream = STREAM_ID(stream);
	return fake_serve(s, e) ? s->shm->slot[0].status : 999;
}

static void graphs_for_captures(struct session *s)
{
	for (unsigned i = 0; i < 3; i++, fake_objects++) {
		struct msg_stream_create *c = fake_msg(AG_OP_stream_create, sizeof *c, 0, false);
		c->stream = STREAM_ID(i);
		c->flags = CU_STREAM_NON_BLOCKING;
		fake_serve(s, c);
		session_put(s, AG_K_GRAPH, GRAPH(i), (void *)(uintptr_t)(5 + i));
		session_put(s, AG_K_GRAPHNODE, NODE(i), (void *)(uintptr_t)(10 * (5 + i)));
	}
	session_put(s, AG_K_GRAPHEXEC, EXEC(0), (void *)9);
	fake_objects++;
	fake_log[0] = 0;
}

/* What was said ends so. */
static bool said_last(const char *want)
{
	size_t n = strlen(fake_log), w = strlen(want);
	bool same = n >= w && !strcmp(fake_log + n - w, want) && !strstr(fake_log, "TWICE");

	return same ? fake_log[0] = 0, true : fake_said(want);
}

/* No message reaches a graph that a capture goes on into, nor its nodes; others it reaches, and this one afterwards. */
static const char *captured_graphs_are_untouchable(struct session *s)
{
	const size_t rows = sizeof naming / sizeof *naming;

	graphs_for_captures(s);
	EXPECT(capture_into(s, 0, GRAPH(0), 0) == 0 && said_last("into:2>5+0"));
	for (size_t i = 0; i < rows; i++)
		if (name_it(s, i, 0) != CUDA_ERROR_INVALID_HANDLE || !fake_said(""))
			return permit_table[naming[i].op].name;
	for (size_t i = 0; i < rows; i++) {
		CUresult r = name_it(s, i, 1);
		if (r == CUDA_ERROR_INVALID_HANDLE || r == 999)
			return permit_table[naming[i].op].name;
	}
	EXPECT(fake_said("node-60 graph-"));
	EXPECT(capture_out(s, 0) == 0 && fake_said("uncapture:2"));
	for (size_t i = 0; i < rows; i++) {
		CUresult r = name_it(s, i, 0);
		if (r == CUDA_ERROR_INVALID_HANDLE || r == 999)
			return permit_table[naming[i].op].name;
	}
	EXPECT(fake_said("node-50 graph-"));
	return NULL;
}

/* Captures into several graphs at once, none twice; each graph is free when its own capture ends, however it does. */
static const char *captures_into_several_graphs(struct session *s)
{
	graphs_for_captures(s);
	EXPECT(capture_into(s, 0, GRAPH(0), NODE(1)) == CUDA_ERROR_INVALID_VALUE && fake_said("")); /* another's node */
	EXPECT(capture_into(s, 0, GRAPH(0), NODE(0)) == 0 && said_last("into:2>5+50"));
	EXPECT(capture_into(s, 1, GRAPH(0), 0) == CUDA_ERROR_INVALID_HANDLE);
	EXPECT(capture_into(s, 1, GRAPH(1), NODE(0)) == CUDA_ERROR_INVALID_HANDLE && fake_said(""));
	EXPECT(capture_into(s, 1, GRAPH(1), NODE(1)) == 0 && said_last("into:3>6+60"));
	EXPECT(capture_into(s, 2, GRAPH(1), NODE(1)) == CUDA_ERROR_INVALID_HANDLE);
	EXPECT(capture_out(s, 0) == 0 && session_has(s, AG_K_GRAPH, GRAPH(0)) &&
	       session_has(s, AG_K_GRAPHNODE, NODE(0)));
	EXPECT(!session_has(s, AG_K_GRAPH, GRAPH(1)) && !session_has(s, AG_K_GRAPHNODE, NODE(1)));
	EXPECT(capture_into(s, 2, 0, 0) == 0 && session_has(s, AG_K_GRAPH, GRAPH(0)));
	struct msg_stream_destroy *d = fake_msg(AG_OP_stream_destroy, sizeof *d, 0, false);
	d->stream = STREAM_ID(1);
	EXPECT(fake_serve(s, d) && session_has(s, AG_K_GRAPH, GRAPH(1)) && session_has(s, AG_K_GRAPHNODE, NODE(1)));
	EXPECT(said_last(" uncapture:3"));
	/* the session ends in the middle of one */
	EXPECT(capture_into(s, 0, GRAPH(2), NODE(2)) == 0 && !session_has(s, AG_K_GRAPHNODE, NODE(2)));
	fake_log[0] = 0;
	session_teardown(s);
	EXPECT(strstr(fake_log, "uncapture:2") < strstr(fake_log, "graph-"));
	return NULL;
}

static CUresult no_nodes(CUgraph g, CUgraphNode *v, size_t *n)
{
	(void)g, (void)v, (void)n;
	return CUDA_ERROR_OUT_OF_MEMORY;
}

/* Whose nodes they are cannot be known: all may be the captured graph's. */
static const char *captured_nodes_unknown(struct session *s)
{
	graphs_for_captures(s);
	the_worker.driver.cuGraphGetNodes = no_nodes;
	EXPECT(capture_into(s, 0, GRAPH(0), 0) == 0);
	EXPECT(!session_has(s, AG_K_GRAPHNODE, NODE(0)) && !session_has(s, AG_K_GRAPHNODE, NODE(1)));
	EXPECT(session_has(s, AG_K_GRAPH, GRAPH(1)));
	EXPECT(capture_out(s, 0) == 0 && session_has(s, AG_K_GRAPHNODE, NODE(0)));
	return NULL;
}

static CUresult copy_node(struct session *s, CUmemorytype type, uint64_t addr)
{
	struct msg_cuGraphAddMemcpyNode *m = fake_msg(AG_OP_cuGraphAddMemcpyNode, sizeof *m, 0, true);
	m->phGraphNode = AG_ID(AG_K_GRAPHNODE, 1, 0);
	m->hGraph = AG_ID(AG_K_GRAPH, 1, 0);
	m->copyParams.srcMemoryType = type;
	m->copyParams.srcHost = (void *)addr;
	m->copyParams.srcDevice = addr;
	m->copyParams.dstMemoryType = CU_MEMORYTYPE_DEVICE;
	m->copyParams.dstDevice = fake_word(s, 0);
	m->copyParams.WidthInBytes = 64;
	m->copyParams.Height = m->copyParams.Depth = 1;
	return fake_serve(s, m) ? s->shm->slot[0].status : 999;
}

/* What the driver would read with the processor is host memory: an address of the device there is a crash. */
static const char *host_copies_are_of_host_memory(struct session *s)
{
	uint64_t addr = 0, got = 0;
	int fd;

	session_put(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0), (void *)5);
	EXPECT(window_grant(s->win, AG_GRANULE, false, NULL, NULL, &addr, &got, &fd) == 0);
	/* the fake has no such function: what comes to it was let through */
	EXPECT(copy_node(s, CU_MEMORYTYPE_DEVICE, addr) == CUDA_ERROR_NOT_SUPPORTED);
	EXPECT(copy_node(s, CU_MEMORYTYPE_HOST, fake_word(s, 8)) == CUDA_ERROR_NOT_SUPPORTED);
	EXPECT(copy_node(s, CU_MEMORYTYPE_HOST, addr) == CUDA_ERROR_INVALID_VALUE);
	session_drop(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0));
	return NULL;
}

static const char *arrays_have_memory(struct session *s)
{
	static const struct {
		unsigned flags;
		CUresult want;
	} rows[] = { { 0, CUDA_ERROR_NOT_SUPPORTED },
		     { CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST, CUDA_ERROR_NOT_SUPPORTED },
		     { CUDA_ARRAY3D_COLOR_ATTACHMENT, CUDA_ERROR_NOT_SUPPORTED },
		     { CUDA_ARRAY3D_COLOR_ATTACHMENT | CUDA_ARRAY3D_SURFACE_LDST, CUDA_ERROR_INVALID_VALUE },
		     { CUDA_ARRAY3D_DEPTH_TEXTURE | CUDA_ARRAY3D_SURFACE_LDST, CUDA_ERROR_INVALID_VALUE },
		     { CUDA_ARRAY3D_SPARSE, CUDA_ERROR_INVALID_VALUE },
		     { CUDA_ARRAY3D_DEFERRED_MAPPING, CUDA_ERROR_INVALID_VALUE } };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct msg_cuArray3DCreate_v2 *m = fake_msg(AG_OP_cuArray3DCreate_v2, sizeof *m, 0, true);
		m->pHandle = AG_ID(AG_K_ARRAY, 1, 0);
		m->pAllocateArray.Width = 4;
		m->pAllocateArray.Format = CU_AD_FORMAT_FLOAT;
		m->pAllocateArray.NumChannels = 1;
		m->pAllocateArray.Flags = rows[i].flags;
		EXPECT(fake_serve(s, m) && s->shm->slot[0].status == rows[i].want);
	}
	return NULL;
}

static const char *log_flood(struct session *s)
{
	unsigned before = fake_logged;

	for (int i = 0; i < 5000; i++)
		session_log(s, "line %d", i);
	EXPECT(fake_logged - before == 1000);
	return NULL;
}

/* What a session leaves behind goes in a fixed order: users before what they use. */
static const char *teardown_order(struct session *s)
{
	static const enum ag_kind kinds[] = { AG_K_ARRAY, AG_K_TEXTURE, AG_K_GRAPH, AG_K_GRAPHEXEC };

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++, fake_objects++)
		session_put(s, kinds[i], AG_ID(kinds[i], 1, 0), (void *)(i + 1));
	fake_log[0] = 0;
	session_teardown(s);
	EXPECT(fake_said("exec- graph- texture- array-"));
	EXPECT(s->shm->ended == CUDA_ERROR_CONTEXT_IS_DESTROYED);
	EXPECT(!s->win && fake_streams == 0);
	return NULL;
}

static bool digest_is(const char *text, size_t times, const char *want)
{
	struct digest d;
	uint8_t out[DIGEST_BYTES];
	char hex[2 * DIGEST_BYTES + 1];

	digest_start(&d);
	for (size_t i = 0; i < times; i++)
		digest_add(&d, text, strlen(text));
	digest_end(&d, out);
	for (unsigned i = 0; i < DIGEST_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", out[i]);
	return strcmp(hex, want) == 0;
}

/* FIPS 180-4 and NIST's examples. */
static const char *digests(struct session *s)
{
	(void)s;
	EXPECT(digest_is("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
	EXPECT(digest_is("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
	EXPECT(digest_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
	                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
	EXPECT(digest_is("a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
	EXPECT(digest_is(
	        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	        10000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
	return NULL;
}

int main(void)
{
	static const struct fake_test cases[] = {
		{ "heads", heads },
		{ "replies", replies },
		{ "addresses", addresses },
		{ "fills", fills },
		{ "boxes", boxes },
		{ "words", words },
		{ "faulted", faulted },
		{ "record_flood", record_flood },
		{ "driver_errors", driver_errors },
		{ "grants", grants },
		{ "tables", tables },
		{ "arrays_outlive_graphs", arrays_outlive_graphs },
		{ "a_wait_cut_short", a_wait_cut_short },
		{ "captures_end_before_graphs", captures_end_before_graphs },
		{ "captured_graphs_are_untouchable", captured_graphs_are_untouchable },
		{ "captures_into_several_graphs", captures_into_several_graphs },
		{ "captured_nodes_unknown", captured_nodes_unknown },
		{ "host_copies_are_of_host_memory", host_copies_are_of_host_memory },
		{ "arrays_have_memory", arrays_have_memory },
		{ "log_flood", log_flood },
		{ "teardown_order", teardown_order },
		{ "digests", digests },
	};

	return fake_run("serve", cases, sizeof cases / sizeof *cases, 1);
}
