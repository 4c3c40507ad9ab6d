/* soft_hostfn.c - host functions and callbacks in stream order; CUDA calls from inside them are not permitted. */
#include "soft_internal.h"

struct host_op {
	struct soft_op op;
	CUhostFn fn;
	CUstreamCallback callback;
	CUstream handle;
	void *data;
};

static CUresult run_host(struct soft_op *op, struct soft_stream *s)
{
	struct host_op *h = (struct host_op *)op;
	soft_in_callback = true;
	if (h->fn)
		h->fn(h->data);
	else
		h->callback(h->handle, s->ctx->error, h->data);
	soft_in_callback = false;
	return CUDA_SUCCESS;
}

CUresult soft_host_op(CUhostFn fn, void *data, struct soft_op **out)
{
	struct host_op *h = soft_op_new(sizeof *h, run_host, NULL);
	if (!h)
		return CUDA_ERROR_OUT_OF_MEMORY;
	h->fn = fn;
	h->data = data;
	*out = &h->op;
	return CUDA_SUCCESS;
}

void soft_host_describe(const struct soft_op *op, CUDA_HOST_NODE_PARAMS *p)
{
	const struct host_op *h = (const struct host_op *)op;
	*p = (CUDA_HOST_NODE_PARAMS){ .fn = h->fn, .userData = h->data };
}

CUresult soft_cuLaunchHostFunc(CUstream hs, CUhostFn fn, void *data)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!fn)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_op *op;
	r = soft_host_op(fn, data, &op);
	if (r)
		return soft_leave(r);
	return soft_leave(soft_capturing(s) ? soft_capture_op(s, op, CU_GRAPH_NODE_TYPE_HOST) : soft_submit(s, op));
}

CUresult soft_cuStreamAddCallback(CUstream hs, CUstreamCallback callback, void *data, unsigned int flags)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!callback || flags)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	r = soft_capture_forbid(s->ctx, s);
	if (r)
		return soft_leave(r);
	struct host_op *h = soft_op_new(sizeof *h, run_host, NULL);
	if (!h)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	h->callback = callback;
	h->handle = hs;
	h->data = data;
	h->op.always = true; /* callbacks are told of the error */
	return soft_leave(soft_submit(s, &h->op));
}
