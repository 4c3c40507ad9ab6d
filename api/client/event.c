/* event.c - events.  Query and synchronise look at the event's own word in window host memory, where event_record
 * stores a number in stream order; only elapsed time and cross-stream waits need the worker.
 */
#include "internal.h"

#include <stdlib.h>

#define ELAPSED_NS 500000000ull

struct event {
	ag_id id;
	unsigned flags;
	volatile uint64_t *word;         /* NULL until first recorded */
	uint64_t value;                  /* the latest record's number; 0 never recorded */
	ag_id stream;                    /* of the latest record */
	bool captured;                   /* the latest record is part of a capture */
	struct agc_ctx *ctx;
	pthread_mutex_t lock;
};

#define EVENT(e, h) \
	AGC_FOUND(struct event, e, AGC_READY, agc_id_state(AG_K_EVENT, h, NULL), CUDA_ERROR_INVALID_HANDLE)

CUresult call_cuEventCreate(CUevent *out, unsigned flags)
{
	AGC_CURRENT();
	if (!out || flags & ~(unsigned)(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS) ||
	    ((flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING)))
		return CUDA_ERROR_INVALID_VALUE;
	if (flags & CU_EVENT_INTERPROCESS)
		return CUDA_ERROR_NOT_SUPPORTED;
	struct event *e = calloc(1, sizeof *e);
	if (!e || !(e->id = agc_id_new(AG_K_EVENT, e))) {
		free(e);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	pthread_mutex_init(&e->lock, NULL);
	e->flags = flags;
	e->ctx = agc_t.ctx;
	struct msg_event_create *m = agc_begin(AG_OP_event_create, sizeof *m, 0);
	if (!m) {
		agc_id_free(e->id);
		free(e);
		return agc_error();
	}
	m->event = e->id;
	m->flags = flags;
	m->pad = 0;
	*out = (CUevent)(uintptr_t)e->id;
	return agc_post(m);
}

CUresult call_cuEventDestroy_v2(CUevent h)
{
	EVENT(e, h);
	struct msg_event_destroy *m = agc_begin(AG_OP_event_destroy, sizeof *m, 0);
	CUresult r = agc_error();
	if (m) {
		m->event = e->id;
		r = agc_post(m);
	}
	agc_id_free(e->id);
	agc_word_free(e->word, e->value);
	pthread_mutex_destroy(&e->lock);
	free(e);
	return r;
}

/* The word the next record stores to.  A record on another stream that may still be under way could store its older
 * number after the new one, so it keeps its word to itself. */
static bool fresh_word(struct event *e, ag_id stream)
{
	if (e->word && (*e->word >= e->value || e->stream == stream))
		return true;
	volatile uint64_t *w = agc_word_new();
	if (!w)
		return false;
	agc_word_free(e->word, e->value);
	e->word = w;
	return true;
}

CUresult call_cuEventRecordWithFlags(CUevent h, CUstream stream, unsigned flags)
{
	ag_id wire;
	AGC_CURRENT();
	EVENT(e, h);
	if (!agc_stream(stream, &wire))
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	bool captured = agc_captured(wire);
	agc_stream(stream, &wire);
	pthread_mutex_lock(&e->lock);
	e->captured = captured;
	struct msg_event_record *m = fresh_word(e, wire) ? agc_begin(AG_OP_event_record, sizeof *m, 0) : NULL;
	if (!m) {
		CUresult r = e->word ? agc_error() : CUDA_ERROR_OUT_OF_MEMORY;
		pthread_mutex_unlock(&e->lock);
		return r;
	}
	e->value = agc_number();
	e->stream = wire;
	m->event = e->id;
	m->stream = wire;
	m->word = (uint64_t)(uintptr_t)e->word;
	m->value = e->value;
	m->flags = flags;
	m->pad = 0;
	CUresult r = agc_post(m);
	pthread_mutex_unlock(&e->lock);
	return r;
}

CUresult call_cuEventRecord(CUevent h, CUstream stream)
{
	return call_cuEventRecordWithFlags(h, stream, CU_EVENT_RECORD_DEFAULT);
}

/* Word and number of the latest record. */
static volatile uint64_t *latest(struct event *e, uint64_t *value)
{
	pthread_mutex_lock(&e->lock);
	volatile uint64_t *w = e->word;
	*value = e->value;
	pthread_mutex_unlock(&e->lock);
	return w;
}

CUresult call_cuEventQuery(CUevent h)
{
	uint64_t value;
	EVENT(e, h);
	if (e->captured)
		return CUDA_ERROR_CAPTURED_EVENT;
	volatile uint64_t *w = latest(e, &value);
	if (value && *w < value) {
		if (!agc_alive(50))
			return agc_error();
		CUresult r = *agc_s.fault_word ? agc_fault_status() : CUDA_SUCCESS;
		return r ? r : CUDA_ERROR_NOT_READY;
	}
	atomic_thread_fence(memory_order_acquire);
	return agc_sync_point(CUDA_SUCCESS);
}

CUresult call_cuEventSynchronize(CUevent h)
{
	uint64_t value;
	EVENT(e, h);
	if (e->captured)
		return CUDA_ERROR_CAPTURED_EVENT;
	volatile uint64_t *w = latest(e, &value);
	return agc_sync_point(value ? agc_wait_word(w, value) : CUDA_SUCCESS);
}

static CUresult elapsed(ag_id start, ag_id stop, float *ms)
{
	struct rep_event_elapsed rep;
	struct msg_event_elapsed *m = agc_begin(AG_OP_event_elapsed, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->start = start;
	m->stop = stop;
	CUresult r = agc_call(m, &rep, sizeof rep, NULL, NULL);
	if (r == CUDA_SUCCESS)
		*ms = rep.ms;
	return r;
}

CUresult call_cuEventElapsedTime_v2(float *ms, CUevent start, CUevent stop)
{
	uint64_t v0, v1;
	EVENT(a, start);
	EVENT(b, stop);
	if (!ms)
		return CUDA_ERROR_INVALID_VALUE;
	if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING)
		return CUDA_ERROR_INVALID_HANDLE;
	volatile uint64_t *w0 = latest(a, &v0), *w1 = latest(b, &v1);
	if (!v0 || !v1)
		return CUDA_ERROR_INVALID_HANDLE;
	if (*w0 < v0 || *w1 < v1)
		return CUDA_ERROR_NOT_READY;
	/* The words are written just before the events themselves complete. */
	for (uint64_t end = agc_now_ns() + ELAPSED_NS;;) {
		CUresult r = elapsed(a->id, b->id, ms);
		if (r != CUDA_ERROR_NOT_READY || agc_now_ns() > end)
			return r;
	}
}
