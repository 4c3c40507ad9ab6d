/* soft_stream.c - streams: queues of operations, the threads that run them, and the order between streams.
 *
 * Each stream has a thread, started when work is queued that the submitting thread does not run itself.  An operation
 * runs when it is the stream's first and everything it depends on is done.  The legacy default stream is kept in order
 * with the context's other blocking streams by such dependencies, taken at submission.  When the context fails, what is
 * queued is dropped: it completes without having run.
 * Owns: streams, their threads, queued operations. */
#include <limits.h>
#include <signal.h>
#include "soft_internal.h"

static _Thread_local uint64_t thread_id;
static uint64_t submitted;            /* operations so far; numbers them */

/* --- operations --- */

void *soft_op_new(size_t size, CUresult (*run)(struct soft_op *, struct soft_stream *),
		  void (*release)(struct soft_op *))
{
	struct soft_op *op = calloc(1, size);
	if (!op)
		return NULL;
	op->refs = 1;
	op->run = run;
	op->release = release;
	return op;
}

void soft_op_ref(struct soft_op *op)
{
	op->refs++;
}

static void drop_deps(struct soft_op *op)
{
	for (unsigned i = 0; i < op->ndeps; i++)
		soft_op_unref(op->deps[i]);
	free(op->deps);
	op->deps = NULL;
	op->ndeps = 0;
}

static void give_payload(struct soft_op *op)
{
	if (op->release)
		op->release(op);
	op->release = NULL;
}

void soft_op_unref(struct soft_op *op)
{
	if (--op->refs)
		return;
	give_payload(op);
	drop_deps(op);
	free(op);
}

CUresult soft_op_depend(struct soft_op *op, struct soft_op *on)
{
	if (!on || on->done)
		return CUDA_SUCCESS;
	struct soft_op **v = realloc(op->deps, (op->ndeps + 1) * sizeof *v);
	if (!v)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->deps = v;
	v[op->ndeps++] = on;
	soft_op_ref(on);
	return CUDA_SUCCESS;
}

void soft_op_finish(struct soft_op *op)
{
	op->done = true;
	op->time_ns = soft_now_ns();
	give_payload(op);
	drop_deps(op);
	soft_progress();
}

void soft_op_wait(struct soft_op *op)
{
	soft_op_ref(op);
	while (!op->done)
		soft_wait_progress();
	soft_op_unref(op);
}

/* --- running --- */

static bool ready(const struct soft_op *op)
{
	for (unsigned i = 0; i < op->ndeps; i++)
		if (!op->deps[i]->done)
			return false;
	return true;
}

/* A closed stream leaves its context when its last operation has ended. */
static void settle(struct soft_stream *s)
{
	if (!s->closing || s->head || s->busy || !s->linked)
		return;
	struct soft_stream **p = &s->ctx->streams;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	s->linked = false;
	pthread_cond_signal(&s->wake); /* its thread, if it has one, may end */
	soft_unref(&s->obj);
}

/* Runs the stream's first operation on this thread.  Lock held on entry and exit, not meanwhile. */
static void run_first(struct soft_stream *s)
{
	struct soft_op *op = s->head;
	struct soft_ctx *c = s->ctx;
	s->head = op->next;
	if (!s->head)
		s->tail = NULL;
	s->busy = true;
	s->running = op->seq;
	bool run = op->always || (!c->error && !c->destroyed);
	soft_unlock();
	CUresult r = run ? op->run(op, s) : CUDA_SUCCESS;
	soft_lock();
	if (r)
		soft_ctx_fail(c, r, NULL, NULL);
	s->busy = false;
	if (s->last == op) {
		s->last = NULL;
		soft_op_unref(op);
	}
	op->stream = NULL;
	soft_op_finish(op);
	soft_op_unref(op);
	settle(s);
}

static void *stream_main(void *arg)
{
	struct soft_stream *s = arg;
	soft_lock();
	for (;;) {
		if (s->head && !s->busy) {
			if (ready(s->head) || s->ctx->error)
				run_first(s);
			else
				soft_wait_progress();
		} else if (s->closing && !s->head && !s->busy) {
			break;
		} else {
			soft_sleep(&s->wake);
		}
	}
	soft_unref(&s->obj); /* the thread's */
	soft_progress();
	soft_unlock();
	return NULL;
}

static CUresult start_thread(struct soft_stream *s)
{
	pthread_t t;
	pthread_attr_t a;
	sigset_t all, old;
	sigfillset(&all); /* signals sent to the process are for its own threads; faults must get through */
	for (size_t i = 0; i < 4; i++)
		sigdelset(&all, (int[]){ SIGSEGV, SIGBUS, SIGFPE, SIGILL }[i]);
	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	soft_ref(&s->obj);
	int failed = pthread_create(&t, &a, stream_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&a);
	if (failed) {
		soft_unref(&s->obj);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	s->thread_started = true;
	return CUDA_SUCCESS;
}

/* Legacy default stream against blocking streams, both ways. */
static CUresult order_with_others(struct soft_stream *s, struct soft_op *op)
{
	CUresult r = CUDA_SUCCESS;
	if (s->flags & CU_STREAM_NON_BLOCKING)
		return r;
	if (!s->legacy)
		return s->ctx->legacy ? soft_op_depend(op, s->ctx->legacy->last) : r;
	for (struct soft_stream *o = s->ctx->streams; o && !r; o = o->next)
		if (o != s && !(o->flags & CU_STREAM_NON_BLOCKING))
			r = soft_op_depend(op, o->last);
	return r;
}

static void enqueue(struct soft_stream *s, struct soft_op *op)
{
	op->next = NULL;
	op->stream = s;
	op->seq = ++submitted;
	if (s->tail)
		s->tail->next = op;
	else
		s->head = op;
	s->tail = op;
	if (s->last)
		soft_op_unref(s->last);
	s->last = op;
	soft_op_ref(op);
}

/* Someone has to run what is queued: the stream's thread. */
static CUresult kick(struct soft_stream *s)
{
	if (!s->head || s->busy)
		return CUDA_SUCCESS;
	if (!s->thread_started)
		return start_thread(s);
	pthread_cond_signal(&s->wake);
	return CUDA_SUCCESS;
}

/* A thread could not be had: the submitting thread works the queue off. */
static void drain(struct soft_stream *s)
{
	while (s->head) {
		if (!s->busy && (ready(s->head) || s->ctx->error))
			run_first(s);
		else
			soft_wait_progress();
	}
}

static CUresult submit(struct soft_stream *s, struct soft_op *op, bool here)
{
	if (s->ctx->error || s->ctx->destroyed) {
		CUresult r = s->ctx->error ? s->ctx->error : CUDA_ERROR_CONTEXT_IS_DESTROYED;
		soft_op_unref(op);
		return r;
	}
	CUresult r = s->legacy ? soft_capture_legacy(s->ctx) : CUDA_SUCCESS;
	if (!r)
		r = order_with_others(s, op);
	if (r) {
		soft_op_unref(op);
		return r;
	}
	bool first = !s->head && !s->busy;
	enqueue(s, op);
	if (first && here && ready(op))
		run_first(s);
	if (kick(s))
		drain(s);
	return CUDA_SUCCESS;
}

CUresult soft_submit(struct soft_stream *s, struct soft_op *op)
{
	soft_ref(&s->obj);
	CUresult r = submit(s, op, op->light);
	soft_unref(&s->obj);
	return r;
}

CUresult soft_submit_wait(struct soft_stream *s, struct soft_op *op)
{
	struct soft_ctx *c = s->ctx;
	soft_ref(&s->obj);
	soft_ref(&c->obj);
	soft_op_ref(op);
	CUresult r = submit(s, op, true);
	if (!r) {
		soft_op_wait(op);
		r = c->error;
		soft_flush_output();
	}
	soft_op_unref(op);
	soft_unref(&s->obj);
	soft_unref(&c->obj);
	return r;
}

void soft_stream_wait(struct soft_stream *s)
{
	if (s->last)
		soft_op_wait(s->last);
}

/* The number of the first operation that has not ended. */
static uint64_t oldest(const struct soft_stream *s)
{
	return s->busy ? s->running : s->head ? s->head->seq : UINT64_MAX;
}

CUresult soft_ctx_sync(struct soft_ctx *c)
{
	uint64_t limit = submitted; /* what comes later is not waited for */
	soft_ref(&c->obj);
	for (struct soft_stream *s = c->streams; s;) {
		if (oldest(s) <= limit) {
			soft_wait_progress();
			s = c->streams; /* streams may have come and gone */
		} else {
			s = s->next;
		}
	}
	CUresult r = c->error;
	soft_unref(&c->obj);
	return r;
}

/* --- streams --- */

static void stream_free(struct soft_obj *o)
{
	struct soft_stream *s = (struct soft_stream *)o;
	pthread_cond_destroy(&s->wake);
	free(s->tips);
	soft_unref(&s->ctx->obj);
	free(s);
}

CUresult soft_stream_new(struct soft_ctx *c, unsigned flags, int priority, struct soft_stream **out)
{
	struct soft_stream *s = calloc(1, sizeof *s);
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	soft_obj_init(&s->obj, SOFT_STREAM, stream_free);
	pthread_cond_init(&s->wake, NULL);
	s->ctx = c;
	soft_ref(&c->obj);
	s->flags = flags;
	s->priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
	s->id = soft_next_id();
	s->sync_policy = CU_SYNC_POLICY_AUTO;
	s->sync_map.remote = 1;
	s->next = c->streams;
	c->streams = s;
	s->linked = true;
	*out = s;
	return CUDA_SUCCESS;
}

/* The handle dies now; the thread ends after the work that is queued. */
void soft_stream_close(struct soft_stream *s)
{
	if (s->closing)
		return;
	s->closing = true;
	soft_obj_hide(&s->obj);
	if (s->thread_started)
		pthread_cond_signal(&s->wake);
	settle(s);
}

/* A thread that ends takes its per-thread default streams with it. */
static void thread_gone(void *id)
{
	soft_lock();
	for (struct soft_ctx *c = soft_contexts; c; c = c->next) {
		for (struct soft_stream *s = c->streams, *next; s; s = next) {
			next = s->next;
			if (s->owner_thread == (uint64_t)(uintptr_t)id)
				soft_stream_close(s);
		}
	}
	soft_unlock();
}

static pthread_key_t thread_key;

static void make_key(void)
{
	if (pthread_key_create(&thread_key, thread_gone))
		soft_log("no thread key: per-thread streams live as long as their context");
}

uint64_t soft_thread_id(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	if (!thread_id) {
		thread_id = soft_next_id();
		pthread_once(&once, make_key);
		pthread_setspecific(thread_key, (void *)(uintptr_t)thread_id);
	}
	return thread_id;
}

static CUresult per_thread(struct soft_ctx *c, struct soft_stream **out)
{
	soft_thread_id();
	for (struct soft_stream *s = c->streams; s; s = s->next) {
		if (s->owner_thread == thread_id && !s->closing) {
			*out = s;
			return CUDA_SUCCESS;
		}
	}
	CUresult r = soft_stream_new(c, 0, 0, out);
	if (!r)
		(*out)->owner_thread = thread_id;
	return r;
}

CUresult soft_stream_get(struct soft_ctx *c, CUstream h, struct soft_stream **out)
{
	if (!h || h == CU_STREAM_LEGACY) {
		*out = c->legacy;
		return CUDA_SUCCESS;
	}
	if (h == CU_STREAM_PER_THREAD)
		return per_thread(c, out);
	*out = soft_obj_find(SOFT_STREAM, h);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult soft_enter_stream(CUstream h, struct soft_stream **s)
{
	struct soft_ctx *c = NULL;
	bool special = !h || h == CU_STREAM_LEGACY || h == CU_STREAM_PER_THREAD;
	CUresult r = special ? soft_enter(&c) : soft_enter_any();
	if (r)
		return r;
	r = soft_stream_get(c, h, s);
	if (!r)
		r = (*s)->ctx->destroyed ? CUDA_ERROR_CONTEXT_IS_DESTROYED : (*s)->ctx->error;
	return r ? soft_leave(r) : CUDA_SUCCESS;
}

CUresult soft_cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (!out || flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_stream *s;
	r = soft_stream_new(c, flags, priority, &s);
	if (!r)
		*out = (CUstream)s;
	return soft_leave(r);
}

CUresult soft_cuStreamCreate(CUstream *out, unsigned int flags)
{
	return soft_cuStreamCreateWithPriority(out, flags, 0);
}

CUresult soft_cuStreamDestroy_v2(CUstream h)
{
	struct soft_stream *s;
	if (!h || h == CU_STREAM_LEGACY || h == CU_STREAM_PER_THREAD)
		return CUDA_ERROR_INVALID_HANDLE;
	CUresult r = soft_enter_stream(h, &s);
	if (r)
		return r;
	soft_capture_abandon(s);
	soft_stream_close(s);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuStreamDestroy(CUstream h)
{
	return soft_cuStreamDestroy_v2(h);
}

CUresult soft_cuStreamSynchronize(CUstream h)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(h, &s);
	if (r)
		return r;
	r = soft_capture_forbid(s->ctx, s);
	if (r)
		return soft_leave(r);
	struct soft_ctx *c = s->ctx;
	soft_ref(&c->obj);
	soft_stream_wait(s);
	r = c->error;
	soft_unref(&c->obj);
	soft_flush_output();
	return soft_leave(r);
}

CUresult soft_cuStreamQuery(CUstream h)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(h, &s);
	if (r)
		return r;
	r = soft_capture_forbid(s->ctx, s);
	if (!r)
		r = s->last ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
	return soft_leave(r);
}

/* --- queries --- */

#define STREAM_QUERY(name, type, out, expression)                                     \
	CUresult name(CUstream h, type *out)                                          \
	{                                                                             \
		struct soft_stream *s;                                                \
		CUresult r = soft_enter_stream(h, &s);                                \
		return SOFT_GIVE(r, out, expression);                                 \
	}

STREAM_QUERY(soft_cuStreamGetPriority, int, priority, s->priority)
STREAM_QUERY(soft_cuStreamGetFlags, unsigned int, flags, s->flags)
STREAM_QUERY(soft_cuStreamGetId, unsigned long long, id, s->legacy ? 1 : s->id + 1)
STREAM_QUERY(soft_cuStreamGetCtx, CUcontext, ctx, (CUcontext)s->ctx)
STREAM_QUERY(soft_cuStreamGetDevice, CUdevice, device, 0)

CUresult soft_cuStreamGetCtx_v2(CUstream h, CUcontext *ctx, CUgreenCtx *green)
{
	if (!green)
		return CUDA_ERROR_INVALID_VALUE;
	*green = NULL;
	return soft_cuStreamGetCtx(h, ctx);
}

CUresult soft_cuStreamGetAttribute(CUstream h, CUstreamAttrID attr, CUstreamAttrValue *value)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(h, &s);
	if (r)
		return r;
	if (!value)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	switch (attr) {
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
		value->accessPolicyWindow = s->window;
		break;
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
		value->syncPolicy = s->sync_policy;
		break;
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:
		value->priority = s->priority;
		break;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
		value->memSyncDomain = s->sync_domain;
		break;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
		value->memSyncDomainMap = s->sync_map;
		break;
	default:
		r = CUDA_ERROR_INVALID_VALUE;
	}
	return soft_leave(r);
}

/* All of these are hints to hardware that softgpu does not have: they are kept and checked, nothing else. */
CUresult soft_cuStreamSetAttribute(CUstream h, CUstreamAttrID attr, const CUstreamAttrValue *value)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(h, &s);
	if (r)
		return r;
	if (!value)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	switch (attr) {
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
		if (value->accessPolicyWindow.num_bytes > 134213632 || value->accessPolicyWindow.hitRatio < 0 ||
				value->accessPolicyWindow.hitRatio > 1)
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		s->window = value->accessPolicyWindow;
		break;
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
		if (value->syncPolicy < CU_SYNC_POLICY_AUTO || value->syncPolicy > CU_SYNC_POLICY_BLOCKING_SYNC)
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		s->sync_policy = value->syncPolicy;
		break;
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:
		s->priority = value->priority > 0 ? 0 : value->priority < -5 ? -5 : value->priority;
		break;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
		if (value->memSyncDomain > CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE)
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		s->sync_domain = value->memSyncDomain;
		break;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
		if (value->memSyncDomainMap.default_ > 3 || value->memSyncDomainMap.remote > 3)
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		s->sync_map = value->memSyncDomainMap;
		break;
	default:
		r = CUDA_ERROR_INVALID_VALUE;
	}
	return soft_leave(r);
}

CUresult soft_cuStreamCopyAttributes(CUstream dst, CUstream src)
{
	struct soft_stream *d, *s;
	CUresult r = soft_enter_stream(dst, &d);
	if (r)
		return r;
	r = soft_stream_get(d->ctx, src, &s);
	if (!r) {
		d->window = s->window;
		d->sync_policy = s->sync_policy;
		d->sync_domain = s->sync_domain;
		d->sync_map = s->sync_map;
	}
	return soft_leave(r);
}
