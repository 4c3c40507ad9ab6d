/* stream.c - streams: their handles, completion words and waiting.  Query and synchronise are local but for one
 * `signal` message.
 *
 * A stream's word holds the number of the latest message known to be done on it.  A wait posts a signal only when
 * something was posted on the stream since the last one.  On the legacy stream a signal comes after everything
 * blocking streams were given before it.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define SETTLE_NS     20000u
#define SETTLE_MAX_NS 2000000u
#define LOOK_MAX_NS   20000000u

struct agc_stream agc_legacy = { .stage.lock = PTHREAD_MUTEX_INITIALIZER };
static volatile uint64_t *all_word;              /* everything the session submitted */
static _Atomic uint64_t all_signalled;
static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;
static struct agc_stream *live, *spare;
static uint64_t next_uid = 2;                    /* 1: the legacy stream */
static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

bool agc_streams_setup(void)
{
	agc_legacy.word = agc_word_new();
	all_word = agc_word_new();
	atomic_store(&agc_legacy.last, 0);
	atomic_store(&agc_legacy.signalled, 0);
	atomic_store(&all_signalled, 0);
	agc_legacy.uid = 1;
	return agc_legacy.word && all_word;
}

/* --- handles ------------------------------------------------------------------------------------------------------ */

static struct agc_stream *state_new(void)
{
	pthread_mutex_lock(&streams_lock);
	struct agc_stream *s = spare;
	if (s) {
		spare = s->next;
	} else if ((s = calloc(1, sizeof *s))) {
		pthread_mutex_init(&s->stage.lock, NULL);
	}
	if (s) {
		s->next = live;
		live = s;
		s->uid = next_uid++;
	}
	pthread_mutex_unlock(&streams_lock);
	return s;
}

static void state_drop(struct agc_stream *s)
{
	pthread_mutex_lock(&streams_lock);
	for (struct agc_stream **p = &live; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	s->next = spare;
	spare = s;
	pthread_mutex_unlock(&streams_lock);
}

static CUresult stream_new(unsigned flags, int priority, struct agc_stream **out)
{
	struct agc_stream *s = state_new();
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->flags = flags;
	s->priority = priority;
	s->ctx = agc_t.ctx;
	memset(&s->access_policy, 0, sizeof s->access_policy);
	s->sync_policy = CU_SYNC_POLICY_AUTO;
	s->domain_map = (CUlaunchMemSyncDomainMap){ 0, 1 };
	s->domain = CU_LAUNCH_MEM_SYNC_DOMAIN_DEFAULT;
	s->word = agc_word_new();
	s->id = s->word ? agc_id_new(AG_K_STREAM, s) : 0;
	atomic_store(&s->last, 0);
	atomic_store(&s->signalled, 0);
	struct msg_stream_create *m = s->id ? agc_begin(AG_OP_stream_create, sizeof *m, 0) : NULL;
	if (!m) {
		CUresult r = s->id ? agc_error() : CUDA_ERROR_OUT_OF_MEMORY;
		agc_word_free(s->word, 0);
		agc_id_free(s->id);
		state_drop(s);
		return r;
	}
	m->stream = s->id;
	m->flags = flags;
	m->priority = priority;
	if (flags & CU_STREAM_NON_BLOCKING)
		atomic_store(&agc_s.nonblocking, 1);
	*out = s;
	return agc_post(m);
}

static CUresult stream_drop(struct agc_stream *s)
{
	struct msg_stream_destroy *m = agc_begin(AG_OP_stream_destroy, sizeof *m, 0);
	CUresult r = agc_error();
	if (m) {
		m->stream = s->id;
		r = agc_post(m);
	}
	agc_id_free(s->id);
	agc_stage_drop(&s->stage);
	agc_word_free(s->word, atomic_load(&s->signalled));
	s->word = NULL;
	state_drop(s);
	return r;
}

void agc_streams_drop(struct agc_ctx *ctx)
{
	for (;;) {
		pthread_mutex_lock(&streams_lock);
		struct agc_stream *s = live;
		while (s && ctx && s->ctx != ctx)
			s = s->next;
		pthread_mutex_unlock(&streams_lock);
		if (!s)
			return;
		if (s == agc_t.own)
			agc_t.own = NULL;
		stream_drop(s);
	}
}

/* The stream of a thread that ends: its work goes on, its handle nobody else has. */
static void own_end(void *id)
{
	bool valid;
	struct agc_stream *s = agc_id_state(AG_K_STREAM, id, &valid);
	if (valid && agc_ready() == CUDA_SUCCESS)
		stream_drop(s);
}

static void own_key_make(void)
{
	pthread_key_create(&own_key, own_end);
}

static struct agc_stream *own_stream(void)
{
	bool valid = false;
	if (agc_t.own && agc_id_state(AG_K_STREAM, (void *)(uintptr_t)agc_t.own->id, &valid) == agc_t.own && valid)
		return agc_t.own;
	pthread_once(&own_once, own_key_make);
	if (agc_ready() || stream_new(CU_STREAM_DEFAULT, 0, &agc_t.own) != CUDA_SUCCESS)
		return NULL;
	pthread_setspecific(own_key, (void *)(uintptr_t)agc_t.own->id);
	return agc_t.own;
}

struct agc_stream *agc_default_stream(void)
{
	return agc_per_thread ? own_stream() : &agc_legacy;
}

struct agc_stream *agc_stream_of(CUstream h)
{
	if (h == NULL)
		return agc_default_stream();
	if (h == CU_STREAM_LEGACY)
		return &agc_legacy;
	if (h == CU_STREAM_PER_THREAD)
		return own_stream();
	return agc_id_state(AG_K_STREAM, h, NULL);
}

bool agc_stream(CUstream h, ag_id *wire)
{
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return false;
	agc_t.touched = s;
	*wire = s->id;
	return true;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

void agc_note_completed(uint64_t number)
{
	uint64_t old = atomic_load_explicit(&agc_s.completed, memory_order_relaxed);
	while (old < number && !atomic_compare_exchange_weak(&agc_s.completed, &old, number))
		;
}

uint64_t agc_submitted(void)
{
	return atomic_load_explicit(&agc_s.work, memory_order_relaxed);
}

static CUresult signal_post(ag_id stream, volatile uint64_t *word, bool all, _Atomic uint64_t *signalled,
			    uint64_t *number)
{
	struct msg_signal *m = agc_begin(AG_OP_signal, sizeof *m, 0);
	if (!m)
		return agc_error();
	*number = agc_number();
	m->word = (uint64_t)(uintptr_t)word;
	m->value = *number;
	m->stream = stream;
	m->all = all;
	m->pad = 0;
	atomic_store_explicit(signalled, *number, memory_order_relaxed);
	agc_post_quietly(m);     /* what failed earlier is for the call that waits to tell, not for the wait itself */
	return CUDA_SUCCESS;
}

CUresult agc_stream_signal(struct agc_stream *s, uint64_t *number)
{
	if (agc_captured(s->id))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	return signal_post(s->id, s->word, false, &s->signalled, number);
}

CUresult agc_stream_wait_number(struct agc_stream *s, uint64_t number)
{
	CUresult r = agc_wait_word(s->word, number);
	if (r == CUDA_SUCCESS && s == &agc_legacy && !atomic_load_explicit(&agc_s.nonblocking, memory_order_relaxed))
		agc_note_completed(number);
	return r;
}

/* What a wait on the stream must see done. */
static uint64_t target_of(const struct agc_stream *s)
{
	uint64_t last = atomic_load_explicit(&s->last, memory_order_relaxed), all;
	if (s != &agc_legacy)
		return last;
	all = agc_submitted();
	return all > last ? all : last;
}

static bool is_done(const struct agc_stream *s, uint64_t target)
{
	return *s->word >= target || atomic_load_explicit(&agc_s.completed, memory_order_relaxed) >= target;
}

CUresult agc_stream_sync(struct agc_stream *s)
{
	uint64_t target = target_of(s), number = atomic_load_explicit(&s->signalled, memory_order_relaxed);
	CUresult posted = CUDA_SUCCESS, r = CUDA_SUCCESS;
	if (!is_done(s, target)) {
		if (number < target)
			posted = agc_stream_signal(s, &number);
		r = number < target ? posted : agc_stream_wait_number(s, number);
	}
	return agc_sync_point(r ? r : posted);
}

CUresult agc_wait_all(void)
{
	uint64_t number;
	if (atomic_load_explicit(&agc_s.completed, memory_order_relaxed) >= agc_submitted())
		return CUDA_SUCCESS;
	CUresult r = signal_post(0, all_word, true, &all_signalled, &number);
	if (r == CUDA_SUCCESS)
		r = agc_wait_word(all_word, number);
	if (r == CUDA_SUCCESS)
		agc_note_completed(number);
	return r;
}

CUresult agc_sync_all(void)
{
	return agc_sync_point(agc_wait_all());
}

void agc_look(void)
{
	uint64_t number = 0;
	if (atomic_load_explicit(&agc_s.completed, memory_order_relaxed) >= agc_submitted() ||
	    signal_post(0, all_word, true, &all_signalled, &number) != CUDA_SUCCESS)
		return;
	/* Naps, not spins: softgpu and the worker may need this very core. */
	for (uint64_t end = agc_now_ns() + LOOK_MAX_NS; *all_word < number && agc_now_ns() < end;)
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	if (*all_word >= number)
		agc_note_completed(number);
}

/* --- the functions ------------------------------------------------------------------------------------------------ */

/* Streams below: an invalid handle is CUDA_ERROR_INVALID_HANDLE. */

static int clamp_priority(int p)
{
	int least, greatest;
	call_cuCtxGetStreamPriorityRange(&least, &greatest);
	return p > least ? least : p < greatest ? greatest : p;
}

CUresult call_cuStreamCreateWithPriority(CUstream *out, unsigned flags, int priority)
{
	struct agc_stream *s = NULL;
	AGC_CURRENT();
	if (!out || flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = stream_new(flags, clamp_priority(priority), &s);
	if (s)
		*out = (CUstream)(uintptr_t)s->id;
	return r;
}

CUresult call_cuStreamCreate(CUstream *out, unsigned flags)
{
	return call_cuStreamCreateWithPriority(out, flags, 0);
}

CUresult call_cuStreamDestroy_v2(CUstream h)
{
	AGC_READY();
	struct agc_stream *s =
		h == CU_STREAM_LEGACY || h == CU_STREAM_PER_THREAD ? NULL : agc_id_state(AG_K_STREAM, h, NULL);
	return s ? stream_drop(s) : CUDA_ERROR_INVALID_HANDLE;
}

/* Nothing can wait for what only a graph will do; asking for it ends the capture, as natively. */
static CUresult capture_breaks(struct agc_stream *s)
{
	atomic_store(&s->broken, true);
	return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult call_cuStreamSynchronize(CUstream h)
{
	AGC_STREAM(s, h);
	if (s != &agc_legacy && agc_captured(s->id))
		return capture_breaks(s);
	return agc_stream_sync(s);
}

/* An idle stream answers its signal within microseconds of the worker's reading it; that the first query says "ready"
 * matters to programs that ask once. */
static void settle(const struct agc_stream *s, uint64_t target)
{
	uint64_t head = atomic_load(&agc_s.shm->head), start = agc_now_ns(), read = 0;
	for (uint64_t now = start; *s->word < target && now < start + SETTLE_MAX_NS; now = agc_now_ns()) {
		if (!read && atomic_load(&agc_s.shm->tail) >= head)
			read = now;
		if (read && now > read + SETTLE_NS)
			return;
		agc_pause();
	}
}

CUresult call_cuStreamQuery(CUstream h)
{
	AGC_STREAM(s, h);
	if (s != &agc_legacy && agc_captured(s->id))
		return capture_breaks(s);
	uint64_t target = target_of(s), number = atomic_load(&s->signalled);
	CUresult posted = CUDA_SUCCESS;
	if (!is_done(s, target) && number < target) {
		posted = agc_stream_signal(s, &number);
		settle(s, target);
	}
	if (posted)
		return posted;
	if (!is_done(s, target)) {
		if (!agc_alive(50))
			return agc_error();
		CUresult a = agc_take_async_error();
		return a ? a : CUDA_ERROR_NOT_READY;
	}
	if (s == &agc_legacy && !atomic_load(&agc_s.nonblocking))
		agc_note_completed(target);
	return agc_sync_point(CUDA_SUCCESS);
}

CUresult call_cuStreamWaitEvent(CUstream h, CUevent e, unsigned flags)
{
	bool valid;
	ag_id wire;
	AGC_CURRENT();
	agc_id_state(AG_K_EVENT, e, &valid);
	if (!valid || !agc_stream(h, &wire))
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	struct msg_stream_wait *m = agc_begin(AG_OP_stream_wait, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->stream = wire;
	m->event = agc_id(e);
	m->flags = flags;
	m->pad = 0;
	return agc_post(m);
}

CUresult call_cuStreamGetPriority(CUstream h, int *priority)
{
	AGC_STREAM(s, h);
	return AGC_GIVE(priority, s->priority);
}

CUresult call_cuStreamGetFlags(CUstream h, unsigned *flags)
{
	AGC_STREAM(s, h);
	return AGC_GIVE(flags, s->flags);
}

CUresult call_cuStreamGetId(CUstream h, unsigned long long *id)
{
	AGC_STREAM(s, h);
	return AGC_GIVE(id, s->uid);
}

CUresult call_cuStreamGetCtx(CUstream h, CUcontext *ctx)
{
	AGC_STREAM(s, h);
	return AGC_GIVE(ctx, agc_ctx_handle(s->ctx ? s->ctx : agc_t.ctx));
}

CUresult call_cuStreamGetDevice(CUstream h, CUdevice *device)
{
	AGC_STREAM(s, h);
	return AGC_GIVE(device, s->ctx ? s->ctx->device : agc_t.ctx->device);
}

CUresult call_cuStreamAttachMemAsync(CUstream h, CUdeviceptr p, size_t length, unsigned flags)
{
	struct agc_block b;
	AGC_STREAM(s, h);
	(void)s;
	if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST && flags != CU_MEM_ATTACH_SINGLE)
		return CUDA_ERROR_INVALID_VALUE;
	/* Managed memory is host memory that both sides may touch at any time, so attachment changes nothing. */
	if (!agc_block_find(p, &b) || b.kind != AGC_B_MANAGED || (length && length != b.bytes))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}
