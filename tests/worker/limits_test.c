/* limits_test.c - what one session may have of what all share: memory, objects, graphs, grids, places in the guard's
 * helper, lines of the log; and what a module's second variant must have in common with the first. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "fake.h"
#include "guard/helper.h"
#include "worker/limits.h"
#include "worker/module.h"

#define MIB (1ull << 20)

static CUresult status(struct session *s, void *m)
{
	s->shm->async_error = 0;
	if (!fake_serve(s, m))
		return (CUresult)AG_MALFORMED;
	return ((struct ag_head *)m)->slot == AG_NO_SLOT ? (CUresult)s->shm->async_error : s->shm->slot[0].status;
}

/* --- memory ----------------------------------------------------------------------------------------- */

static CUresult grant(struct session *s, uint64_t bytes, bool host, struct rep_grant *rep)
{
	struct msg_grant *m = fake_msg(AG_OP_grant, sizeof *m, 0, true);

	m->bytes = bytes;
	m->host = host;
	CUresult r = status(s, m);
	memcpy(rep, s->replies, sizeof *rep);
	return r;
}

static const char *memory(struct session *s)
{
	struct rep_grant rep;
	struct rep_meminfo info;

	the_worker.max_memory = 16 * MIB;
	EXPECT(grant(s, 17 * MIB, false, &rep) == CUDA_ERROR_OUT_OF_MEMORY);
	EXPECT(grant(s, UINT64_MAX, false, &rep) == CUDA_ERROR_OUT_OF_MEMORY);
	EXPECT(grant(s, 10 * MIB, false, &rep) == 0 && s->device_bytes == 10 * MIB);
	EXPECT(grant(s, 7 * MIB, false, &rep) == CUDA_ERROR_OUT_OF_MEMORY && s->device_bytes == 10 * MIB);
	struct msg_meminfo *q = fake_msg(AG_OP_meminfo, sizeof *q, 0, true);
	EXPECT(status(s, q) == 0);
	memcpy(&info, s->replies, sizeof info);
	EXPECT(info.free <= 6 * MIB && info.total <= 16 * MIB);
	EXPECT(grant(s, 6 * MIB, false, &rep) == 0);
	EXPECT(grant(s, 1, false, &rep) == CUDA_ERROR_OUT_OF_MEMORY);
	struct msg_giveback *b = fake_msg(AG_OP_giveback, sizeof *b, 0, true);
	b->addr = rep.addr;
	b->bytes = rep.bytes;
	EXPECT(status(s, b) == 0);
	s->array_bytes = 5 * MIB;
	EXPECT(grant(s, 2 * MIB, false, &rep) == CUDA_ERROR_OUT_OF_MEMORY);
	s->array_bytes = 0;
	EXPECT(grant(s, 6 * MIB, false, &rep) == 0);
	/* The host's share is another; the first chunk, 64 MiB here, is there anyhow. */
	EXPECT(grant(s, 1, true, &rep) == CUDA_ERROR_OUT_OF_MEMORY);
	fake_log[0] = 0;
	return NULL;
}

/* Beyond the small mappings every grant is rounded to large ones. */
static const char *rounding(struct session *s)
{
	struct rep_grant rep;
	uint64_t before;

	do
		EXPECT(grant(s, AG_GRANULE, false, &rep) == 0);
	while (rep.bytes == AG_GRANULE);
	before = s->device_bytes;
	the_worker.max_memory = before + 4 * MIB;
	EXPECT(grant(s, AG_GRANULE, false, &rep) == CUDA_ERROR_OUT_OF_MEMORY);
	EXPECT(s->device_bytes == before && !window_broken(s->win));
	fake_log[0] = 0;
	return NULL;
}

/* --- objects ---------------------------------------------------------------------------------------- */

static CUresult stream(struct session *s, unsigned i, unsigned gen)
{
	struct msg_stream_create *m = fake_msg(AG_OP_stream_create, sizeof *m, 0, false);

	m->stream = AG_ID(AG_K_STREAM, gen, i);
	m->flags = CU_STREAM_NON_BLOCKING;
	return status(s, m);
}

static const char *streams(struct session *s)
{
	unsigned i;

	for (i = 0; i < STREAMS_MAX; i++)
		EXPECT(stream(s, i, 1) == 0);
	EXPECT(stream(s, i, 1) == CUDA_ERROR_OUT_OF_MEMORY);
	/* One that is destroyed but has work still counts. */
	struct msg_stream_destroy *d = fake_msg(AG_OP_stream_destroy, sizeof *d, 0, false);
	d->stream = AG_ID(AG_K_STREAM, 1, 0);
	fake_busy = 1 << 2;
	EXPECT(status(s, d) == 0 && stream(s, 0, 2) == CUDA_ERROR_OUT_OF_MEMORY);
	fake_busy = 0;
	EXPECT(stream(s, 0, 2) == 0 && stream(s, i, 1) == CUDA_ERROR_OUT_OF_MEMORY);
	fake_log[0] = 0;
	return NULL;
}

/* Destroyed events stay while a graph may name them: those count too, and go when there is no graph. */
static const char *events(struct session *s)
{
	CUresult r = CUDA_SUCCESS;

	session_put(s, AG_K_GRAPHEXEC, AG_ID(AG_K_GRAPHEXEC, 1, 0), (void *)9);
	for (unsigned i = 0; i <= EVENTS_MAX; i++) {
		struct msg_event_create *m = fake_msg(AG_OP_event_create, sizeof *m, 0, false);
		m->event = AG_ID(AG_K_EVENT, i + 1, 0);
		r = status(s, m);
		if (r)
			break;
		struct msg_event_destroy *d = fake_msg(AG_OP_event_destroy, sizeof *d, 0, false);
		d->event = AG_ID(AG_K_EVENT, i + 1, 0);
		EXPECT(status(s, d) == 0);
	}
	EXPECT(r == CUDA_ERROR_OUT_OF_MEMORY && s->nevents == EVENTS_MAX);
	session_drop(s, AG_K_GRAPHEXEC, AG_ID(AG_K_GRAPHEXEC, 1, 0));
	struct msg_event_create *m = fake_msg(AG_OP_event_create, sizeof *m, 0, false);
	m->event = AG_ID(AG_K_EVENT, EVENTS_MAX + 2, 0);
	EXPECT(status(s, m) == 0 && s->nevents == 1);
	fake_log[0] = 0;
	return NULL;
}

/* A driver with graphs whose node counts are their handles. */
static CUresult graph_nodes(CUgraph g, CUgraphNode *v, size_t *n)
{
	if (v)
		return CUDA_ERROR_NOT_SUPPORTED;
	*n = (uintptr_t)g;
	return CUDA_SUCCESS;
}

static CUresult graph_edges(CUgraph g, CUgraphNode *a, CUgraphNode *b, CUgraphEdgeData *e, size_t *n)
{
	(void)g, (void)a, (void)b, (void)e;
	*n = 0;
	return CUDA_SUCCESS;
}

static CUresult clone_graph(CUgraph *out, CUgraph g)
{
	fake_objects++;
	*out = g;
	return CUDA_SUCCESS;
}

static CUresult instantiate(CUgraphExec *out, CUgraph g, unsigned long long flags)
{
	(void)g, (void)flags;
	fake_objects++;
	*out = (CUgraphExec)7;
	return CUDA_SUCCESS;
}

static CUresult exec_of(struct session *s, unsigned i)
{
	struct msg_cuGraphInstantiateWithFlags *m =
	        fake_msg(AG_OP_cuGraphInstantiateWithFlags, sizeof *m, 0, true);

	m->phGraphExec = AG_ID(AG_K_GRAPHEXEC, 1, i);
	m->hGraph = AG_ID(AG_K_GRAPH, 1, 0);
	return status(s, m);
}

static const char *graphs(struct session *s)
{
	the_worker.driver.cuGraphGetNodes = graph_nodes;
	the_worker.driver.cuGraphGetEdges_v2 = graph_edges;
	the_worker.driver.cuGraphClone = clone_graph;
	the_worker.driver.cuGraphInstantiateWithFlags = instantiate;
	session_put(s, AG_K_GRAPH, AG_ID(AG_K_GRAPH, 1, 0), (void *)(uintptr_t)(GRAPH_UNITS_MAX / 4));
	fake_objects++;
	EXPECT(graph_room(s, GRAPH_UNITS_MAX / 4) == 0);
	for (unsigned i = 0; i < 2; i++)
		EXPECT(exec_of(s, i) == 0);
	EXPECT(exec_of(s, 2) == CUDA_ERROR_OUT_OF_MEMORY);
	struct msg_cuGraphClone *c = fake_msg(AG_OP_cuGraphClone, sizeof *c, 0, true);
	c->phGraphClone = AG_ID(AG_K_GRAPH, 1, 1);
	c->originalGraph = AG_ID(AG_K_GRAPH, 1, 0);
	EXPECT(status(s, c) == CUDA_ERROR_OUT_OF_MEMORY);
	struct msg_cuGraphExecDestroy *d = fake_msg(AG_OP_cuGraphExecDestroy, sizeof *d, 0, true);
	d->hGraphExec = AG_ID(AG_K_GRAPHEXEC, 1, 0);
	EXPECT(status(s, d) == 0);
	EXPECT(exec_of(s, 2) == 0);
	EXPECT(exec_of(s, 3) == CUDA_ERROR_OUT_OF_MEMORY);
	fake_log[0] = 0;
	return NULL;
}

static size_t captured_nodes;

static CUresult capture_info(CUstream st, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                             const CUgraphNode **deps, const CUgraphEdgeData **data, size_t *n)
{
	(void)st, (void)id, (void)deps, (void)data, (void)n;
	*status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
	*graph = (CUgraph)captured_nodes;
	return CUDA_SUCCESS;
}

/* What a capture has added counts before the graph has an id. */
static const char *graphs_captured(struct session *s)
{
	const ag_id stream = AG_ID(AG_K_STREAM, 1, 0);

	the_worker.driver.cuGraphGetNodes = graph_nodes;
	the_worker.driver.cuGraphGetEdges_v2 = graph_edges;
	the_worker.driver.cuStreamGetCaptureInfo_v3 = capture_info;
	struct msg_stream_create *c = fake_msg(AG_OP_stream_create, sizeof *c, 0, false);
	c->stream = stream;
	EXPECT(fake_serve(s, c));
	struct msg_capture_begin *b = fake_msg(AG_OP_capture_begin, sizeof *b, 0, true);
	b->stream = stream;
	EXPECT(status(s, b) == 0);
	captured_nodes = GRAPH_UNITS_MAX / 2;
	EXPECT(graph_room(s, GRAPH_UNITS_MAX) == 0 && graph_room(s, GRAPH_UNITS_MAX / 4) == 0);
	EXPECT(graph_room(s, GRAPH_UNITS_MAX / 2 + 1) == CUDA_ERROR_OUT_OF_MEMORY);
	captured_nodes = GRAPH_UNITS_MAX;
	EXPECT(graph_room(s, GRAPH_UNITS_MAX / 2) == CUDA_ERROR_OUT_OF_MEMORY);
	struct msg_capture_end *e = fake_msg(AG_OP_capture_end, sizeof *e, 0, true);
	e->stream = stream;
	EXPECT(status(s, e) == 0 && graph_room(s, GRAPH_UNITS_MAX) == 0);
	fake_log[0] = 0;
	return NULL;
}

static const char *grids(struct session *s)
{
	(void)s;
	EXPECT(limit_blocks((uint32_t[]){ 1, 1, 1 }) && limit_blocks((uint32_t[]){ 0, 0, 0 }));
	EXPECT(limit_blocks((uint32_t[]){ INT32_MAX, 2, 1 }) && limit_blocks((uint32_t[]){ 65536, 65536, 1 }));
	EXPECT(!limit_blocks((uint32_t[]){ INT32_MAX, 3, 1 }) && !limit_blocks((uint32_t[]){ 65536, 65536, 2 }));
	EXPECT(!limit_blocks((uint32_t[]){ UINT32_MAX, UINT32_MAX, UINT32_MAX }));
	return NULL;
}

/* --- the helper ------------------------------------------------------------------------------------- */

static struct session *user(uid_t uid, pid_t pid)
{
	struct session *s = calloc(1, sizeof *s);

	s->uid = uid;
	s->pid = pid;
	return s;
}

static bool entered(struct session *s)
{
	s->hangup = 1; /* no waiting */
	return helper_enter(s);
}

static void *enter(void *s) { return helper_enter(s) ? s : NULL; }

static const char *helper_places(struct session *unused)
{
	struct session *in[HELPER_PLACES], *s;
	unsigned n = 0;
	pthread_t t;
	void *got;

	(void)unused;
	for (int pid = 1; pid <= 4; pid++) /* one process: a quarter; one user: three */
		for (int i = 0; i < HELPER_PLACES; i++) {
			s = user(1000, pid);
			if (entered(s))
				in[n++] = s;
			else
				free(s);
		}
	EXPECT(n == HELPER_PLACES * 3 / 4);
	for (unsigned i = 0; i < n; i++)
		EXPECT(in[i]->pid == (pid_t)(i / (HELPER_PLACES / 4)) + 1);
	while ((s = user(1001, (pid_t)(100 + n))) && entered(s))
		in[n++] = s;
	free(s);
	EXPECT(n == HELPER_PLACES);
	/* Full: the one who holds nothing comes before the one who came first. */
	struct session *greedy = user(1000, 9), *modest = user(1002, 10);
	pthread_t g;
	pthread_create(&g, NULL, enter, greedy);
	usleep(20000);
	pthread_create(&t, NULL, enter, modest);
	usleep(20000);
	helper_leave(in[0]);
	pthread_join(t, &got);
	EXPECT(got == modest);
	greedy->hangup = 1;
	pthread_join(g, &got);
	EXPECT(!got || greedy->pid == 9);
	if (got)
		helper_leave(greedy);
	helper_leave(modest);
	for (unsigned i = 1; i < n; i++)
		helper_leave(in[i]);
	for (unsigned i = 0; i < n; i++)
		free(in[i]);
	free(greedy);
	free(modest);
	return NULL;
}

/* --- the log ---------------------------------------------------------------------------------------- */

static const char *log_of_many_sessions(struct session *s)
{
	unsigned lines = 0, lost = 0;

	(void)s;
	for (int i = 0; i < 100000; i++)
		lines += log_allowed(4242, &lost);
	EXPECT(lines >= 4000 && lines < 5000);
	EXPECT(log_allowed(4243, &lost)); /* another user's are not touched */
	return NULL;
}

/* --- variants --------------------------------------------------------------------------------------- */

static struct prepared narrow, wide;
static unsigned kept;

struct prepared *__wrap_prepared_get(struct session *s, const struct guard_input *in, uint32_t n, bool w,
                                     char why[512]);
void __wrap_prepared_put(struct prepared *p);
struct prepared *__wrap_prepared_get(struct session *s, const struct guard_input *in, uint32_t n, bool w,
                                     char why[512])
{
	(void)s, (void)in, (void)n, (void)why;
	kept++;
	return w ? &wide : &narrow;
}

void __wrap_prepared_put(struct prepared *p) { kept -= p != NULL; }

static unsigned loads, sets;
static CUresult load(CUmodule *m, const void *image)
{
	(void)image;
	loads++;
	*m = (CUmodule)3;
	return CUDA_SUCCESS;
}
static CUresult unload(CUmodule m)
{
	(void)m;
	return CUDA_SUCCESS;
}
static CUresult function(CUfunction *f, CUmodule m, const char *name)
{
	(void)m, (void)name;
	*f = (CUfunction)4;
	return CUDA_SUCCESS;
}
static CUresult global(CUdeviceptr *p, size_t *n, CUmodule m, const char *name)
{
	(void)m, (void)name;
	*p = 4096;
	*n = sizeof(struct guard_desc);
	return CUDA_SUCCESS;
}
static CUresult set_attribute(CUfunction f, CUfunction_attribute a, int v)
{
	(void)f, (void)a, (void)v;
	sets++;
	return CUDA_SUCCESS;
}
static CUresult get_attribute(int *v, CUfunction_attribute a, CUfunction f)
{
	(void)a, (void)f;
	*v = 0;
	return CUDA_SUCCESS;
}

/* The second variant has fewer kernels: nothing that was said of the first one's may be looked up in it. */
static const char *variants(struct session *s)
{
	static uint32_t none[1];
	static struct guard_kernel kernels[4096];
	uint64_t text[2] = { 8, 0 };
	struct rep_grant rep;

	for (uint32_t i = 0; i < 4096; i++)
		kernels[i] = (struct guard_kernel){ .name = "k", .index = i, .param_offset = none,
			                            .param_size = none };
	narrow.result = (struct guard_result){ .kernels = kernels, .nkernels = 4096 };
	wide.result = (struct guard_result){ .kernels = kernels, .nkernels = 1 };
	the_worker.driver.cuModuleLoadData = load;
	the_worker.driver.cuModuleUnload = unload;
	the_worker.driver.cuModuleGetFunction = function;
	the_worker.driver.cuModuleGetGlobal_v2 = global;
	the_worker.driver.cuFuncSetAttribute = set_attribute;
	the_worker.driver.cuFuncGetAttribute = get_attribute;
	memcpy((void *)(uintptr_t)fake_word(s, 0), text, sizeof text);
	struct msg_module_prepare *m = fake_msg(AG_OP_module_prepare, sizeof *m, 0, true);
	m->module = AG_ID(AG_K_MODULE, 1, 0);
	m->text = fake_word(s, 0);
	m->bytes = sizeof text;
	m->pieces = 1;
	m->out = fake_word(s, 64);
	m->out_bytes = 1 << 20;
	EXPECT(status(s, m) == 0);
	struct msg_func_attr_set *a = fake_msg(AG_OP_func_attr_set, sizeof *a, 0, true);
	a->module = AG_ID(AG_K_MODULE, 1, 0);
	a->kernel = 4095;
	a->attr = CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
	EXPECT(status(s, a) == 0 && sets == 1);
	fake_busy = 1 << 1; /* a grant now doubles the window */
	EXPECT(grant(s, 5ull << 30, false, &rep) == 0 && window_extent(s->win) > AG_EXTENT_MIN);
	fake_busy = 0;
	struct variant *v;
	EXPECT(module_variant(s, module_find(s, AG_ID(AG_K_MODULE, 1, 0)), &v) == CUDA_ERROR_INVALID_PTX);
	EXPECT(loads == 1 && sets == 1 && kept == 1);
	fake_log[0] = 0;
	return NULL;
}

int main(void)
{
	static const struct {
		const char *name;
		const char *(*fn)(struct session *);
	} cases[] = {
		{ "memory", memory },
		{ "rounding", rounding },
		{ "streams", streams },
		{ "events", events },
		{ "graphs", graphs },
		{ "graphs_captured", graphs_captured },
		{ "grids", grids },
		{ "helper_places", helper_places },
		{ "log_of_many_sessions", log_of_many_sessions },
		{ "variants", variants },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[80];
		struct session *s = fake_session(1);
		const char *why = cases[i].fn(s);
		the_worker.max_memory = 0;
		fake_end(s);
		fake_log[0] = 0;
		if (!why && (fake_streams || fake_events || fake_objects))
			why = "something was not destroyed";
		fake_streams = fake_events = fake_objects = 0;
		snprintf(name, sizeof name, "limits.%s", cases[i].name);
		fake_case(name, why);
	}
	return fake_bad;
}
