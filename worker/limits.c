/* limits.c - see limits.h.  Owns the queue in front of the guard's helper and the users' shares of the log, each under
 * a lock of its own that is held for no wait and no call. */
#include <stdlib.h>
#include "guard/helper.h"
#include "limits.h"

/* --- memory ----------------------------------------------------------------------------------------- */

static uint64_t granted_as(uint64_t bytes)
{
	uint64_t unit = bytes < AG_SINK_BYTES ? AG_GRANULE : AG_SINK_BYTES;

	return bytes > AG_EXTENT_MAX ? AG_EXTENT_MAX : (bytes + unit - 1) / unit * unit;
}

static bool fits(uint64_t max, uint64_t have, uint64_t more) { return !max || (have <= max && more <= max - have); }

bool limit_device(const struct session *s, uint64_t more)
{
	return fits(s->w->max_memory, s->device_bytes + s->array_bytes, more);
}

bool limit_host(const struct session *s, uint64_t more) { return fits(s->w->max_memory, s->host_bytes, more); }

void limit_meminfo(const struct session *s, uint64_t *avail, uint64_t *total)
{
	uint64_t max = s->w->max_memory, used = s->device_bytes + s->array_bytes;

	if (!max)
		return;
	if (*total > max)
		*total = max;
	uint64_t left = used < max ? max - used : 0;
	if (*avail > left)
		*avail = left;
}

/* Host memory takes the place of whole pieces of the window: a 32nd of a region, 1 GiB at most (alloc/window.c). */
static uint64_t host_granted_as(const struct session *s, uint64_t bytes)
{
	uint64_t extent = window_extent(s->win), each = (extent == AG_EXTENT_MIN ? extent : extent / 2) / 32;

	if (each > 1ull << 30)
		each = 1ull << 30;
	return bytes > AG_EXTENT_MAX ? AG_EXTENT_MAX : (bytes + each - 1) / each * each;
}

bool limit_grant(const struct session *s, uint64_t bytes, bool host)
{
	return host ? s->host_chunks < HOST_CHUNKS_MAX && limit_host(s, host_granted_as(s, bytes))
	            : limit_device(s, granted_as(bytes));
}

/* --- grids -------------------------------------------------------------------------------------------- */

bool limit_blocks(const uint32_t grid[3])
{
	uint64_t n = (uint64_t)grid[0] * grid[1];

	return !grid[2] || n <= BLOCKS_MAX / grid[2];
}

/* --- graphs ------------------------------------------------------------------------------------------- */

static uint64_t units(struct session *s, CUgraph g, int depth)
{
	size_t nodes = 0, edges = 0;

	if (depth > GRAPH_DEPTH || s->d->cuGraphGetNodes(g, NULL, &nodes) ||
	    s->d->cuGraphGetEdges_v2(g, NULL, NULL, NULL, &edges))
		return UINT64_MAX;
	uint64_t n = 1 + (uint64_t)nodes + edges;
	CUgraphNode *v = s->graphs_nest && nodes ? calloc(nodes, sizeof *v) : NULL;
	if (!v)
		return s->graphs_nest && nodes ? UINT64_MAX : n;
	if (s->d->cuGraphGetNodes(g, v, &nodes))
		n = UINT64_MAX;
	for (size_t i = 0; i < nodes && n <= GRAPH_UNITS_MAX; i++) {
		CUgraphNodeType type;
		CUgraph child;
		if (s->d->cuGraphNodeGetType(v[i], &type) || type != CU_GRAPH_NODE_TYPE_GRAPH)
			continue;
		uint64_t inner = s->d->cuGraphChildGraphNodeGetGraph(v[i], &child) ? UINT64_MAX
		                                                                   : units(s, child, depth + 1);
		n = inner > GRAPH_UNITS_MAX ? inner : n + inner;
	}
	free(v);
	return n;
}

uint64_t graph_units(struct session *s, CUgraph g) { return units(s, g, 0); }

/* The graph of a capture has no id before the end. */
static uint64_t units_captured(struct session *s, struct stream *st)
{
	CUstreamCaptureStatus status;
	CUgraph graph = NULL;

	if (s->d->cuStreamGetCaptureInfo_v3(st->real, &status, NULL, &graph, NULL, NULL, NULL))
		return UINT64_MAX;
	return status == CU_STREAM_CAPTURE_STATUS_ACTIVE && graph ? units(s, graph, 0) : 0;
}

static uint64_t count_anew(struct session *s)
{
	const struct table *graphs = &s->table[AG_K_GRAPH], *execs = &s->table[AG_K_GRAPHEXEC];
	uint64_t n = 0;

	for (uint32_t i = 0; i < graphs->n && n <= GRAPH_UNITS_MAX; i++) {
		uint64_t each = graphs->v[i].live ? units(s, graphs->v[i].real, 0) : 0;
		n = each > GRAPH_UNITS_MAX ? each : n + each;
	}
	for (uint32_t i = 0; i < execs->n && n <= GRAPH_UNITS_MAX; i++)
		n += execs->v[i].live ? (uintptr_t)execs->v[i].obj : 0;
	for (struct stream *st = s->st.captures ? s->st.all : NULL; st && n <= GRAPH_UNITS_MAX; st = st->next) {
		uint64_t each = st->origin && !st->into ? units_captured(s, st) : 0;
		n = each > GRAPH_UNITS_MAX ? each : n + each;
	}
	return n;
}

CUresult graph_room(struct session *s, uint64_t more)
{
	if (more <= GRAPH_UNITS_MAX && s->graph_units + more > GRAPH_UNITS_MAX)
		s->graph_units = count_anew(s);
	if (more > GRAPH_UNITS_MAX || s->graph_units + more > GRAPH_UNITS_MAX) {
		session_log(s, "too many nodes and edges of graphs");
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	s->graph_units += more;
	return CUDA_SUCCESS;
}

CUresult graph_room_copy(struct session *s, ag_id graph)
{
	return graph_room(s, units(s, session_get(s, AG_K_GRAPH, graph), 0));
}

/* Into another graph: one level deeper, and that graph may be a child in turn. */
CUresult graph_room_child(struct session *s, ag_id graph, uint64_t edges)
{
	s->graphs_nest = true;
	uint64_t n = units(s, session_get(s, AG_K_GRAPH, graph), 1);

	return graph_room(s, n > GRAPH_UNITS_MAX ? n : 1 + edges + n);
}

CUresult graph_room_exec(struct session *s, ag_id graph)
{
	s->exec_units = units(s, session_get(s, AG_K_GRAPH, graph), 0);
	return graph_room(s, s->exec_units);
}

CUresult object_exec_made(struct session *s, ag_id id, CUgraphExec real)
{
	(void)real;
	table_note(&s->table[AG_K_GRAPHEXEC], AG_K_GRAPHEXEC, id, (void *)(uintptr_t)s->exec_units);
	return CUDA_SUCCESS;
}

/* --- the guard's helper --------------------------------------------------------------------------------- */

#define PLACES HELPER_PLACES
#define PLACES_USER (PLACES - PLACES / 4) /* the rest is for other users */
#define PLACES_PROCESS (PLACES / 4)

static struct {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct session *in[PLACES], *waiting; /* waiting: in the order they came */
	unsigned n;
} helper = { .lock = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER };

static void held(const struct session *s, unsigned *user, unsigned *process)
{
	*user = *process = 0;
	for (unsigned i = 0; i < helper.n; i++) {
		*user += helper.in[i]->uid == s->uid;
		*process += helper.in[i]->pid == s->pid;
	}
}

/* Is it this session's turn: may it have a place, and does nobody who may hold fewer? */
static bool is_next(const struct session *s)
{
	unsigned user, process;

	held(s, &user, &process);
	if (helper.n == PLACES || user >= PLACES_USER || process >= PLACES_PROCESS)
		return false;
	for (const struct session *o = helper.waiting; o; o = o->helper_next) {
		unsigned u, p;
		held(o, &u, &p);
		if (o == s)
			continue;
		bool before = u < user || (u == user && p < process) ||
		              (u == user && p == process && o->helper_ticket < s->helper_ticket);
		if (before && u < PLACES_USER && p < PLACES_PROCESS)
			return false;
	}
	return true;
}

static void unqueue(struct session *s)
{
	for (struct session **p = &helper.waiting; *p; p = &(*p)->helper_next) {
		if (*p == s) {
			*p = s->helper_next;
			break;
		}
	}
}

bool helper_enter(struct session *s)
{
	static uint64_t tickets;
	bool mine;

	pthread_mutex_lock(&helper.lock);
	s->helper_ticket = ++tickets;
	s->helper_next = helper.waiting;
	helper.waiting = s;
	while (!(mine = is_next(s)) && !s->hangup) {
		struct timespec t;
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 100000000; /* nobody tells this queue that a client went away */
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&helper.freed, &helper.lock, &t);
	}
	unqueue(s);
	if (mine)
		helper.in[helper.n++] = s;
	pthread_cond_broadcast(&helper.freed);
	pthread_mutex_unlock(&helper.lock);
	return mine;
}

void helper_leave(struct session *s)
{
	pthread_mutex_lock(&helper.lock);
	for (unsigned i = 0; i < helper.n; i++) {
		if (helper.in[i] == s) {
			helper.in[i] = helper.in[--helper.n];
			break;
		}
	}
	pthread_cond_broadcast(&helper.freed);
	pthread_mutex_unlock(&helper.lock);
}

/* --- the log ---------------------------------------------------------------------------------------------- */

#define LOG_USERS 64u
#define LOG_BURST 4000u /* lines a user's clients may write at once ... */
#define LOG_RATE 10u    /* ... and each second after that */

static struct log_share {
	uid_t uid;
	bool used;
	unsigned lines, lost; /* left; not written since the last one that was */
	time_t since;
} shares[LOG_USERS];
static pthread_mutex_t shares_lock = PTHREAD_MUTEX_INITIALIZER;

/* The user's share, or the one that was used least lately. */
static struct log_share *share_of(uid_t uid, time_t now)
{
	struct log_share *oldest = shares;

	for (struct log_share *b = shares; b < shares + LOG_USERS; b++) {
		if (b->used && b->uid == uid)
			return b;
		if (oldest->used && (!b->used || b->since < oldest->since))
			oldest = b;
	}
	*oldest = (struct log_share){ .uid = uid, .used = true, .lines = LOG_BURST, .since = now };
	return oldest;
}

bool log_allowed(uid_t uid, unsigned *lost)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&shares_lock);
	struct log_share *b = share_of(uid, now.tv_sec);
	uint64_t more = (uint64_t)(now.tv_sec - b->since) * LOG_RATE;
	b->lines = more > LOG_BURST - b->lines ? LOG_BURST : b->lines + (unsigned)more;
	b->since = now.tv_sec;
	bool ok = b->lines > 0;
	*lost = ok ? b->lost : 0;
	b->lost = ok ? 0 : b->lost + 1;
	b->lines -= ok;
	pthread_mutex_unlock(&shares_lock);
	return ok;
}
