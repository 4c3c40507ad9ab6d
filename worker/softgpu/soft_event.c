/* soft_event.c - events: each record is an operation in a stream; the event refers to the latest.
 * Owns: events.  An operation lives as long as its stream or an event needs it. */
#include "soft_internal.h"

static void event_free(struct soft_obj *o)
{
	struct soft_event *e = (struct soft_event *)o;
	if (e->op)
		soft_op_unref(e->op);
	soft_capture_forget_event(e);
	free(e);
}

static void event_drop(struct soft_event *e)
{
	struct soft_event **p = &e->ctx->events;
	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	soft_obj_hide(&e->obj);
	soft_unref(&e->obj);
}

void soft_events_drop(struct soft_ctx *c)
{
	while (c->events)
		event_drop(c->events);
}

CUresult soft_cuEventCreate(CUevent *out, unsigned int flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
	bool timed_ipc = (flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING);
	if (!out || flags & ~known || timed_ipc)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_event *e = calloc(1, sizeof *e);
	if (!e)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	soft_obj_init(&e->obj, SOFT_EVENT, event_free);
	e->ctx = c;
	e->flags = flags;
	e->next = c->events;
	c->events = e;
	*out = (CUevent)e;
	return soft_leave(CUDA_SUCCESS);
}

/* Takes the lock and finds a live event of a healthy context. */
static CUresult enter_event(CUevent h, struct soft_event **e)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*e = soft_obj_find(SOFT_EVENT, h);
	if (!*e || (*e)->ctx->destroyed)
		return soft_leave(CUDA_ERROR_INVALID_HANDLE);
	return (*e)->ctx->error ? soft_leave((*e)->ctx->error) : CUDA_SUCCESS;
}

CUresult soft_cuEventDestroy_v2(CUevent h)
{
	struct soft_event *e;
	CUresult r = enter_event(h, &e);
	if (r)
		return r;
	event_drop(e);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuEventDestroy(CUevent h)
{
	return soft_cuEventDestroy_v2(h);
}

static CUresult run_nothing(struct soft_op *op, struct soft_stream *s)
{
	(void)op;
	(void)s;
	return CUDA_SUCCESS;
}

CUresult soft_event_record(struct soft_stream *s, struct soft_event *e)
{
	struct soft_op *op = soft_op_new(sizeof *op, run_nothing, NULL);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->light = true;
	soft_op_ref(op);
	CUresult r = soft_submit(s, op);
	if (r) {
		soft_op_unref(op);
		return r;
	}
	if (e->op)
		soft_op_unref(e->op);
	e->op = op;
	soft_capture_forget_event(e);
	return CUDA_SUCCESS;
}

CUresult soft_cuEventRecordWithFlags(CUevent h, CUstream hs, unsigned int flags)
{
	struct soft_event *e;
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	e = soft_obj_find(SOFT_EVENT, h);
	if (!e || e->ctx != s->ctx)
		return soft_leave(CUDA_ERROR_INVALID_HANDLE);
	bool external = flags & CU_EVENT_RECORD_EXTERNAL;
	if (flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL || (external && !soft_capturing(s)))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (soft_capturing(s))
		r = soft_capture_event_record(s, e, external);
	else
		r = soft_event_record(s, e);
	return soft_leave(r);
}

CUresult soft_cuEventRecord(CUevent h, CUstream hs)
{
	return soft_cuEventRecordWithFlags(h, hs, 0);
}

CUresult soft_event_wait(struct soft_stream *s, struct soft_event *e)
{
	if (!e->op || e->op->done)
		return CUDA_SUCCESS;
	struct soft_op *op = soft_op_new(sizeof *op, run_nothing, NULL);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->light = true;
	CUresult r = soft_op_depend(op, e->op);
	if (r) {
		soft_op_unref(op);
		return r;
	}
	return soft_submit(s, op);
}

CUresult soft_cuStreamWaitEvent(CUstream hs, CUevent h, unsigned int flags)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	struct soft_event *e = soft_obj_find(SOFT_EVENT, h);
	if (!e)
		return soft_leave(CUDA_ERROR_INVALID_HANDLE);
	bool external = flags & CU_EVENT_WAIT_EXTERNAL;
	if (flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL || (external && !soft_capturing(s)))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (soft_capturing(s) || e->capture)
		r = soft_capture_wait_event(s, e, external);
	else
		r = soft_event_wait(s, e);
	return soft_leave(r);
}

CUresult soft_cuEventQuery(CUevent h)
{
	struct soft_event *e;
	CUresult r = enter_event(h, &e);
	if (r)
		return r;
	if (e->capture)
		return soft_leave(CUDA_ERROR_CAPTURED_EVENT);
	return soft_leave(e->op && !e->op->done ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS);
}

CUresult soft_cuEventSynchronize(CUevent h)
{
	struct soft_event *e;
	CUresult r = enter_event(h, &e);
	if (r)
		return r;
	if (e->capture)
		return soft_leave(CUDA_ERROR_CAPTURED_EVENT);
	if (e->op) {
		struct soft_ctx *c = e->ctx;
		soft_ref(&c->obj);
		soft_op_wait(e->op);
		r = c->error;
		soft_unref(&c->obj);
	}
	soft_flush_output();
	return soft_leave(r);
}

CUresult soft_cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end)
{
	struct soft_event *a, *b;
	CUresult r = enter_event(start, &a);
	if (r)
		return r;
	b = soft_obj_find(SOFT_EVENT, end);
	if (!ms)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (!b || a->ctx != b->ctx || (a->flags | b->flags) & CU_EVENT_DISABLE_TIMING)
		return soft_leave(CUDA_ERROR_INVALID_HANDLE);
	if (a->capture || b->capture)
		return soft_leave(CUDA_ERROR_CAPTURED_EVENT);
	if (!a->op || !b->op)
		return soft_leave(CUDA_ERROR_INVALID_HANDLE);
	if (!a->op->done || !b->op->done)
		return soft_leave(CUDA_ERROR_NOT_READY);
	*ms = (float)((double)(int64_t)(b->op->time_ns - a->op->time_ns) / 1e6);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuEventElapsedTime(float *ms, CUevent start, CUevent end)
{
	return soft_cuEventElapsedTime_v2(ms, start, end);
}
