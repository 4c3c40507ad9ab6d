/* fake.c - the recording driver and a session on it. */
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "adapters/adapter.h"
#include "fake.h"
#include "tests/test.h"

char fake_log[65536];
uint64_t fake_busy, fake_capturing;
static unsigned char event_of[4096]; /* the stream that an event was last recorded in */
unsigned fake_streams, fake_events, fake_objects;
CUresult fake_fails, fake_dead;
bool fake_quiet = true;
unsigned fake_logged;
int fake_bad;

struct worker the_worker;
const struct ag_service ag_services[] = { { NULL, NULL, 0, NULL } };
const uint32_t ag_service_count = 0;

void worker_log(const char *fmt, ...)
{
	va_list ap;

	fake_logged++;
	if (fake_quiet)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void fake_case(const char *name, const char *why)
{
	fake_bad |= !test_result(name, why);
}

int fake_run(const char *prefix, const struct fake_test *tests, size_t n, unsigned window)
{
	for (size_t i = 0; i < n; i++) {
		char name[80];
		struct session *s = fake_session(window);
		const char *why = tests[i].run(s);
		fake_end(s);
		fake_log[0] = 0;
		if (!why && (fake_streams || fake_events || fake_objects))
			why = "something was not destroyed";
		fake_streams = fake_events = fake_objects = 0;
		snprintf(name, sizeof name, "%s.%s", prefix, tests[i].name);
		fake_case(name, why);
	}
	return fake_bad;
}

static void say(const char *fmt, ...)
{
	size_t n = strlen(fake_log);
	va_list ap;

	va_start(ap, fmt);
	if (n && n + 1 < sizeof fake_log)
		fake_log[n++] = ' ';
	vsnprintf(fake_log + n, sizeof fake_log - n, fmt, ap);
	va_end(ap);
}

bool fake_said(const char *want)
{
	bool same = strcmp(fake_log, want) == 0;

	if (!same)
		fprintf(stderr, "said \"%s\", not \"%s\"\n", fake_log, want);
	fake_log[0] = 0;
	return same;
}

/* --- the driver ------------------------------------------------------------------------------------ */

#define N(h) ((unsigned)(uintptr_t)(h))
#define CONTROL 63u
#define BIT(set, n) ((n) < 64 && (set) >> (n) & 1)
static uintptr_t next_stream, next_event, next_object;

static CUresult current_device(CUdevice *d)
{
	*d = 0;
	return CUDA_SUCCESS;
}
static CUresult set_current(CUcontext c)
{
	(void)c;
	return CUDA_SUCCESS;
}
static CUresult priorities(int *least, int *greatest)
{
	*least = 0;
	*greatest = -5;
	return CUDA_SUCCESS;
}

static CUresult stream_create(CUstream *s, unsigned flags)
{
	(void)flags;
	fake_streams++;
	*s = (CUstream)++next_stream;
	return CUDA_SUCCESS;
}

static CUresult stream_create_priority(CUstream *s, unsigned flags, int priority)
{
	if (flags != CU_STREAM_NON_BLOCKING || priority < -4)
		say("BAD-STREAM");
	return stream_create(s, flags);
}

static CUresult stream_gone(CUstream s)
{
	if (BIT(fake_busy, N(s)))
		say("BUSY-STREAM-DESTROYED");
	fake_streams--;
	return CUDA_SUCCESS;
}

static CUresult stream_query(CUstream s)
{
	if (N(s) == CONTROL && context_error(fake_dead))
		return fake_dead;
	if (BIT(fake_capturing, N(s)))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	return BIT(fake_busy, N(s)) ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

static CUresult capture_begin(CUstream s, CUstreamCaptureMode mode)
{
	if (mode != CU_STREAM_CAPTURE_MODE_RELAXED)
		say("BAD-CAPTURE-MODE");
	fake_capturing |= 1ull << N(s);
	return CUDA_SUCCESS;
}

/* What NVIDIA's driver crashes at is said. */
static CUgraph into[64];

static CUresult capture_to_graph(CUstream s, CUgraph g, const CUgraphNode *deps, const CUgraphEdgeData *data, size_t n,
                                 CUstreamCaptureMode mode)
{
	(void)data;
	for (unsigned i = 0; i < 64; i++)
		if (BIT(fake_capturing, i) && into[i] == g)
			say("CAPTURED-INTO-TWICE");
	into[N(s) % 64] = g;
	say("into:%u>%u+%u", N(s), N(g), n ? N(deps[0]) : 0);
	return capture_begin(s, mode);
}

static CUresult capture_end(CUstream s, CUgraph *g)
{
	fake_capturing &= ~(1ull << N(s));
	say("uncapture:%u", N(s));
	*g = into[N(s) % 64];
	into[N(s) % 64] = NULL;
	return CUDA_SUCCESS;
}

static CUresult is_capturing(CUstream s, CUstreamCaptureStatus *status)
{
	*status = BIT(fake_capturing, N(s)) ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
	return CUDA_SUCCESS;
}

static CUresult event_query(CUevent e)
{
	return BIT(fake_busy, event_of[N(e) % sizeof event_of]) ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

static CUresult stream_sync(CUstream s)
{
	(void)s;
	return CUDA_SUCCESS;
}

static CUresult event_create(CUevent *e, unsigned flags)
{
	(void)flags;
	fake_events++;
	*e = (CUevent)++next_event;
	return CUDA_SUCCESS;
}

static CUresult event_gone(CUevent e)
{
	(void)e;
	fake_events--;
	return CUDA_SUCCESS;
}
static CUresult event_record(CUevent e, CUstream s)
{
	say("record:%u>%u", N(s), N(e));
	event_of[N(e) % sizeof event_of] = (unsigned char)N(s);
	return CUDA_SUCCESS;
}
static CUresult stream_wait(CUstream s, CUevent e, unsigned f)
{
	(void)f;
	say("wait:%u<%u", N(s), N(e));
	return CUDA_SUCCESS;
}
static CUresult elapsed(float *ms, CUevent a, CUevent b)
{
	(void)a, (void)b;
	*ms = 1.5f;
	return CUDA_SUCCESS;
}

static CUresult write64(CUstream s, CUdeviceptr p, cuuint64_t v, unsigned f)
{
	(void)f;
	say("write:%u=%llu", N(s), (unsigned long long)v);
	*(uint64_t *)p = v;
	return fake_fails;
}

static CUresult write32(CUstream s, CUdeviceptr p, cuuint32_t v, unsigned f)
{
	(void)s, (void)p, (void)v, (void)f;
	return CUDA_SUCCESS;
}

static CUresult copy(CUdeviceptr d, CUdeviceptr q, size_t n, CUstream s)
{
	(void)d, (void)q, (void)n;
	say("copy:%u", N(s));
	return fake_fails;
}

static CUresult set8(CUdeviceptr d, unsigned char v, size_t n, CUstream s)
{
	(void)d, (void)v, (void)n;
	say("set:%u", N(s));
	return fake_fails;
}
static CUresult set32(CUdeviceptr d, unsigned v, size_t n, CUstream s)
{
	(void)d, (void)v, (void)n, (void)s;
	return CUDA_SUCCESS;
}

static CUresult set2d(CUdeviceptr d, size_t pitch, unsigned v, size_t w, size_t h, CUstream s)
{
	(void)d, (void)pitch, (void)v, (void)w, (void)h;
	say("set2d:%u", N(s));
	return fake_fails;
}

static CUresult copy3d(const CUDA_MEMCPY3D *c, CUstream s)
{
	(void)c;
	say("copy3d:%u", N(s));
	return fake_fails;
}
static CUresult to_device(CUdeviceptr d, const void *p, size_t n, CUstream s)
{
	(void)d, (void)p, (void)n, (void)s;
	return CUDA_SUCCESS;
}

static CUresult reserve(CUdeviceptr *p, size_t n, size_t a, CUdeviceptr want, unsigned long long f)
{
	(void)n, (void)a, (void)f;
	*p = want;
	return CUDA_SUCCESS;
}

static CUresult unreserve(CUdeviceptr p, size_t n)
{
	(void)p, (void)n;
	return CUDA_SUCCESS;
}

static CUresult create(CUmemGenericAllocationHandle *h, size_t n, const CUmemAllocationProp *p, unsigned long long f)
{
	(void)n, (void)p, (void)f;
	fake_objects++;
	*h = ++next_object;
	return CUDA_SUCCESS;
}

static CUresult release(CUmemGenericAllocationHandle h)
{
	(void)h;
	fake_objects--;
	return CUDA_SUCCESS;
}

static CUresult map(CUdeviceptr p, size_t n, size_t o, CUmemGenericAllocationHandle h, unsigned long long f)
{
	(void)p, (void)n, (void)o, (void)h, (void)f;
	return CUDA_SUCCESS;
}

static CUresult access_all(CUdeviceptr p, size_t n, const CUmemAccessDesc *d, size_t k)
{
	(void)p, (void)n, (void)d, (void)k;
	return CUDA_SUCCESS;
}
static CUresult host_register(void *p, size_t n, unsigned f)
{
	(void)p, (void)n, (void)f;
	return CUDA_SUCCESS;
}
static CUresult host_unregister(void *p)
{
	(void)p;
	return CUDA_SUCCESS;
}
static CUresult host_pointer(CUdeviceptr *d, void *p, unsigned f)
{
	(void)f;
	*d = (CUdeviceptr)p;
	return CUDA_SUCCESS;
}
static CUresult memory_info(size_t *a, size_t *b)
{
	*a = 1;
	*b = 2;
	return CUDA_SUCCESS;
}
/* Graph N has the nodes 10 N + 1 and 10 N. */
static CUresult graph_nodes(CUgraph g, CUgraphNode *nodes, size_t *n)
{
	for (size_t i = 0; nodes && i < 2 && i < *n; i++)
		nodes[i] = (CUgraphNode)(uintptr_t)(10 * N(g) + 1 - i);
	*n = 2;
	return CUDA_SUCCESS;
}
static CUresult node_type(CUgraphNode node, CUgraphNodeType *type)
{
	(void)node;
	*type = CU_GRAPH_NODE_TYPE_EMPTY;
	return CUDA_SUCCESS;
}
static CUresult node_gone(CUgraphNode node)
{
	say("node-%u", N(node));
	return CUDA_SUCCESS;
}
static CUresult graph_gone(CUgraph g)
{
	(void)g;
	say("graph-");
	fake_objects--;
	return CUDA_SUCCESS;
}
static CUresult exec_gone(CUgraphExec g)
{
	(void)g;
	say("exec-");
	fake_objects--;
	return CUDA_SUCCESS;
}
static CUresult array_gone(CUarray a)
{
	(void)a;
	say("array-");
	fake_objects--;
	return CUDA_SUCCESS;
}
static CUresult texture_gone(CUtexObject t)
{
	(void)t;
	say("texture-");
	fake_objects--;
	return CUDA_SUCCESS;
}

static void fill(struct ag_driver *d)
{
	*d = ag_driver_none;
	d->cuCtxGetDevice = current_device;
	d->cuCtxSetCurrent = set_current;
	d->cuCtxGetStreamPriorityRange = priorities;
	d->cuStreamCreate = stream_create;
	d->cuStreamCreateWithPriority = stream_create_priority;
	d->cuStreamDestroy_v2 = stream_gone;
	d->cuStreamQuery = stream_query;
	d->cuStreamSynchronize = stream_sync;
	d->cuStreamBeginCapture_v2 = capture_begin;
	d->cuStreamBeginCaptureToGraph = capture_to_graph;
	d->cuStreamEndCapture = capture_end;
	d->cuStreamIsCapturing = is_capturing;
	d->cuEventQuery = event_query;
	d->cuEventCreate = event_create;
	d->cuEventDestroy_v2 = event_gone;
	d->cuEventRecord = event_record;
	d->cuStreamWaitEvent = stream_wait;
	d->cuEventElapsedTime_v2 = elapsed;
	d->cuStreamWriteValue64_v2 = write64;
	d->cuStreamWriteValue32_v2 = write32;
	d->cuMemcpyAsync = copy;
	d->cuMemsetD8Async = set8;
	d->cuMemsetD32Async = set32;
	d->cuMemsetD2D32Async = set2d;
	d->cuMemcpy3DAsync_v2 = copy3d;
	d->cuMemcpyHtoDAsync_v2 = to_device;
	d->cuMemAddressReserve = reserve;
	d->cuMemAddressFree = unreserve;
	d->cuMemCreate = create;
	d->cuMemRelease = release;
	d->cuMemMap = map;
	d->cuMemUnmap = unreserve;
	d->cuMemSetAccess = access_all;
	d->cuMemHostRegister_v2 = host_register;
	d->cuMemHostUnregister = host_unregister;
	d->cuMemHostGetDevicePointer_v2 = host_pointer;
	d->cuMemGetInfo_v2 = memory_info;
	d->cuGraphGetNodes = graph_nodes;
	d->cuGraphNodeGetType = node_type;
	d->cuGraphDestroyNode = node_gone;
	d->cuGraphDestroy = graph_gone;
	d->cuGraphExecDestroy = exec_gone;
	d->cuArrayDestroy = array_gone;
	d->cuTexObjectDestroy = texture_gone;
}

/* --- the session ------------------------------------------------------------------------------------- */

struct session *fake_session(unsigned k)
{
	static uint8_t records[AG_WINDOW_COUNT * RECORDS_STRIDE];
	struct worker *w = &the_worker;
	struct session *s = calloc(1, sizeof *s);
	int fd = -1;

	setenv("AGILEOS_HOST_MB", "64", 1);
	fill(&w->driver);
	w->d = &w->driver;
	w->records = records;
	next_stream = next_event = 0;
	fake_busy = fake_capturing = 0;
	fake_fails = CUDA_SUCCESS;
	w->control = (CUstream)CONTROL;
	fake_dead = CUDA_SUCCESS;
	s->w = w;
	s->d = w->d;
	s->sock = s->shm_fd = -1;
	strcpy(s->program, "test");
	s->k = k;
	if (window_open(s->d, k, &s->win, &fd))
		abort();
	s->host = window_base(s->win) + AG_EXTENT_MIN - window_stats(s->win).host_bytes;
	s->shm_bytes = sizeof(struct ag_shm) + AG_RING_BYTES + (size_t)AG_SLOTS * AG_REPLY_BYTES + 8192;
	s->shm = mmap(NULL, s->shm_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s->ring = (struct ring){
		.shm = s->shm, .bytes = AG_RING_BYTES, .msg = malloc(AG_MSG_MAX), .spin_ns = 1000, .spin_max = 2000
	};
	s->ring.base = (uint8_t *)s->shm + ((sizeof(struct ag_shm) + 4095) & ~(size_t)4095);
	s->replies = (uint8_t *)s->ring.base + AG_RING_BYTES;
	s->records = (struct guard_records *)(w->records + s->k * RECORDS_STRIDE);
	memset(s->records, 0, RECORDS_STRIDE);
	s->state = AG_S_READY;
	next_stream =
	        0; /* the window's own stream was 1; the session's legacy stream becomes 1, further ones 2, 3, ... */
	static bool opened;
	if (!opened && quiet_open(w, 1000))
		abort();
	opened = true;
	if (streams_open(s))
		abort();
	fake_log[0] = 0;
	return s;
}

void fake_end(struct session *s)
{
	fake_busy = 0;
	session_teardown(s);
	munmap(s->shm, s->shm_bytes);
	free(s->ring.msg);
	free(s);
}

uint64_t fake_word(const struct session *s, unsigned i) { return s->host + 8ull * i; }

void *fake_msg(uint16_t op, uint32_t fixed, uint32_t tail, bool call)
{
	static _Alignas(16) uint8_t room[AG_MSG_MAX];
	struct ag_head *h = (struct ag_head *)room;

	memset(room, 0, fixed + tail + 8);
	*h = (struct ag_head){ (fixed + tail + 7) & ~7u, op, call ? 0 : AG_NO_SLOT, 1, tail };
	return room;
}

bool fake_serve(struct session *s, void *msg)
{
	struct ag_head *h = msg;

	/* As the ring does: serve a private copy. */
	memcpy(s->ring.msg, msg, h->bytes);
	return serve_message(s, s->ring.msg);
}
