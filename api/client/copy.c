/* copy.c - linear copies.  Memory outside the window (pageable) passes through the stream's stage: two halves of
 * window host memory.
 *
 * As CUDA documents it: a copy from pageable memory returns when the source may be reused, one to pageable memory
 * when the data is there, host to host is synchronous, device to device never waits, and pinned memory makes an
 * asynchronous copy asynchronous. Shaped copies (2D, 3D, arrays) are in copy3d.c and share the stage.
 */
#include "copy.h"

#include <string.h>

#define HALF_SMALL (256u << 10)
#define HALF_LARGE (4u << 20)
#define LARGE      (1u << 20)        /* a copy this long gets the large stage */

struct agc_end agc_end_of(uint64_t addr, uint64_t bytes)
{
	struct agc_end e = { .addr = addr, .kind = AGC_E_HOST };
	if (!agc_in_window((const void *)(uintptr_t)addr, 0))
		return e;
	if (agc_is_const(addr)) {
		e.kind = agc_module_const(addr, bytes, &e.module, &e.offset) ? AGC_E_CONST : AGC_E_BAD;
		return e;
	}
	if (!agc_block_covers(addr, bytes))
		e.kind = AGC_E_BAD;
	else
		e.kind = agc_is_host((const void *)(uintptr_t)addr) ? AGC_E_PINNED : AGC_E_DEVICE;
	return e;
}

/* --- the stage ---------------------------------------------------------------------------------------------------- */

void agc_stage_drop(struct agc_stage *st)
{
	pthread_mutex_lock(&st->lock);
	agc_host_free(st->base);
	st->base = NULL;
	st->half = 0;
	st->cur = 0;
	st->used[0] = st->used[1] = 0;
	st->fence[0] = st->fence[1] = 0;
	pthread_mutex_unlock(&st->lock);
}

/* Waits until nothing uses either half. */
static CUresult stage_quiet(struct agc_stream *s)
{
	struct agc_stage *st = &s->stage;
	uint64_t number;
	if (!st->used[0] && !st->used[1] && !st->fence[0] && !st->fence[1])
		return CUDA_SUCCESS;
	CUresult posted = agc_stream_signal(s, &number);
	CUresult r = posted && agc_ready() ? posted : agc_stream_wait_number(s, number);
	if (r)
		return r;
	agc_stage_done(st);
	return posted;
}

void agc_stage_done(struct agc_stage *st)
{
	st->used[0] = st->used[1] = 0;
	st->fence[0] = st->fence[1] = 0;
}

/* Makes the stage large enough for a copy of `bytes`; a smaller one serves when memory is short. */
CUresult agc_stage_ready(struct agc_stream *s, uint64_t bytes)
{
	struct agc_stage *st = &s->stage;
	size_t want = bytes >= LARGE ? HALF_LARGE : HALF_SMALL;
	if (st->half >= want)
		return CUDA_SUCCESS;
	uint8_t *base = agc_host_alloc(2 * want, 4096);
	if (!base && st->half)
		return CUDA_SUCCESS;
	if (!base)
		return CUDA_ERROR_OUT_OF_MEMORY;
	agc_host_free(st->base);         /* reused only when the work that reads it is done */
	st->base = base;
	st->half = want;
	st->cur = 0;
	agc_stage_done(st);
	return CUDA_SUCCESS;
}

/* Closes the current half with a signal and waits for the other. */
static CUresult flip(struct agc_stream *s)
{
	struct agc_stage *st = &s->stage;
	CUresult posted = agc_stream_signal(s, &st->fence[st->cur]);
	if (agc_ready())
		return posted;
	st->cur ^= 1;
	CUresult r = st->fence[st->cur] ? agc_stream_wait_number(s, st->fence[st->cur]) : CUDA_SUCCESS;
	if (r == CUDA_SUCCESS) {
		st->used[st->cur] = 0;
		st->fence[st->cur] = 0;
	}
	return r ? r : posted;
}

/* Room in the stage: at least `least`, at most `most` bytes (least <= half). */
CUresult agc_stage_take(struct agc_stream *s, size_t least, size_t most, uint8_t **at, size_t *got)
{
	struct agc_stage *st = &s->stage;
	CUresult r = CUDA_SUCCESS;
	if (st->half - st->used[st->cur] < least)
		r = flip(s);
	if (r && st->half - st->used[st->cur] < least)
		return r;
	size_t room = st->half - st->used[st->cur];
	*got = most < room ? most : room;
	*at = st->base + st->cur * st->half + st->used[st->cur];
	st->used[st->cur] += (*got + 63) & ~(size_t)63;
	if (st->used[st->cur] > st->half)
		st->used[st->cur] = st->half;
	return r;
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static CUresult post_const(const struct agc_end *k, uint64_t addr, uint64_t bytes, bool to_const, struct agc_stream *s)
{
	agc_t.touched = s;
	struct msg_const_copy *m = agc_begin(AG_OP_const_copy, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->module = k->module;
	m->offset = k->offset;
	m->addr = addr;
	m->bytes = bytes;
	m->to_const = to_const;
	m->pad = 0;
	m->stream = s->id;
	return agc_post(m);
}

static CUresult post_copy(uint64_t dst, uint64_t src, uint64_t bytes, struct agc_stream *s)
{
	agc_t.touched = s;
	struct msg_copy *m = agc_begin(AG_OP_copy, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->dst = dst;
	m->src = src;
	m->bytes = bytes;
	m->stream = s->id;
	return agc_post(m);
}

/* A copy both of whose ends the worker understands. */
static CUresult post_ends(const struct agc_end *dst, const struct agc_end *src, uint64_t bytes, struct agc_stream *s)
{
	if (dst->kind == AGC_E_CONST && src->kind == AGC_E_CONST)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (dst->kind == AGC_E_CONST)
		return post_const(dst, src->addr, bytes, true, s);
	if (src->kind == AGC_E_CONST)
		return post_const(src, dst->addr, bytes, false, s);
	return post_copy(dst->addr, src->addr, bytes, s);
}

static void advance(struct agc_end *e, uint64_t n)
{
	e->addr += n;
	e->offset += n;
}

/* First error wins, but an error that an earlier asynchronous call left behind does not stop a copy. */
static bool keep(CUresult *first, CUresult r)
{
	if (*first == CUDA_SUCCESS)
		*first = r;
	return r == CUDA_SUCCESS || agc_ready() == CUDA_SUCCESS;
}

static CUresult to_device(struct agc_end dst, const uint8_t *src, uint64_t bytes, struct agc_stream *s)
{
	CUresult first = CUDA_SUCCESS, r = agc_stage_ready(s, bytes);
	if (r)
		return r;
	while (bytes) {
		uint8_t *at;
		size_t n, half = s->stage.half, least = bytes < half ? bytes : half / 4;
		if ((r = agc_stage_take(s, least, bytes, &at, &n)) && !keep(&first, r))
			break;
		agc_bulk_copy(at, src, n, false);
		struct agc_end stage = { .addr = (uint64_t)(uintptr_t)at, .kind = AGC_E_PINNED };
		if (!keep(&first, post_ends(&dst, &stage, n, s)))
			break;
		advance(&dst, n);
		src += n;
		bytes -= n;
	}
	return first;
}

/* One part of a copy to pageable memory that is under way. */
struct part { uint8_t *from, *to; size_t n; uint64_t number; };

static CUresult start_part(struct part *p, struct agc_end *src, uint8_t **to, uint64_t *left, unsigned half,
			   struct agc_stream *s)
{
	struct agc_stage *st = &s->stage;
	p->n = *left < st->half ? *left : st->half;
	p->from = st->base + half * st->half;
	p->to = *to;
	struct agc_end stage = { .addr = (uint64_t)(uintptr_t)p->from, .kind = AGC_E_PINNED };
	CUresult r = post_ends(&stage, src, p->n, s);
	if (r && agc_ready())
		return r;
	CUresult r2 = agc_stream_signal(s, &p->number);
	advance(src, p->n);
	*to += p->n;
	*left -= p->n;
	return r ? r : r2;
}

static CUresult finish_part(struct part *p, struct agc_stream *s)
{
	CUresult r = agc_stream_wait_number(s, p->number);
	if (r == CUDA_SUCCESS)
		agc_bulk_copy(p->to, p->from, p->n, true);
	p->n = 0;
	return r;
}

static CUresult to_host(uint8_t *dst, struct agc_end src, uint64_t bytes, struct agc_stream *s)
{
	struct part part[2] = { { .n = 0, .number = 0 }, { .n = 0, .number = 0 } };
	CUresult first = CUDA_SUCCESS, r = agc_stage_ready(s, bytes);
	if (r == CUDA_SUCCESS)
		r = stage_quiet(s);
	if (r && !keep(&first, r))
		return first;
	if (s->stage.used[0] || s->stage.used[1] || s->stage.fence[0] || s->stage.fence[1])
		return first;            /* the wait failed: the stage is not ours */
	for (unsigned k = 0; bytes || part[0].n || part[1].n; k ^= 1) {
		if (part[k].n && !keep(&first, finish_part(&part[k], s)))
			break;
		if (bytes && !keep(&first, start_part(&part[k], &src, &dst, &bytes, k, s)))
			break;
	}
	/* A wait that ended early: copies may still be on their way into both halves. */
	for (unsigned k = 0; k < 2; k++) {
		if (first && part[k].number > *s->word) {
			s->stage.used[k] = s->stage.half;
			s->stage.fence[k] = part[k].number;
		}
	}
	return first;
}

static CUresult staged(const struct agc_end *dst, const struct agc_end *src, uint64_t bytes, struct agc_stream *s)
{
	pthread_mutex_lock(&s->stage.lock);
	CUresult r = src->kind == AGC_E_HOST ? to_device(*dst, (const uint8_t *)(uintptr_t)src->addr, bytes, s)
	                                     : to_host((uint8_t *)(uintptr_t)dst->addr, *src, bytes, s);
	pthread_mutex_unlock(&s->stage.lock);
	return dst->kind == AGC_E_HOST ? agc_sync_point(r) : r;
}

static CUresult host_to_host(uint64_t dst, uint64_t src, uint64_t bytes, struct agc_stream *s)
{
	CUresult r = agc_stream_sync(s);
	if (r == CUDA_SUCCESS)
		memmove((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, bytes);
	return r;
}

CUresult agc_copy(uint64_t dst, uint64_t src, uint64_t bytes, struct agc_stream *s, bool async)
{
	if (bytes == 0)
		return CUDA_SUCCESS;
	struct agc_end d = agc_end_of(dst, bytes), f = agc_end_of(src, bytes);
	if (d.kind == AGC_E_BAD || f.kind == AGC_E_BAD || !dst || !src)
		return CUDA_ERROR_INVALID_VALUE;
	bool d_host = d.kind == AGC_E_HOST || d.kind == AGC_E_PINNED,
	     f_host = f.kind == AGC_E_HOST || f.kind == AGC_E_PINNED;
	if (d_host && f_host && (!async || d.kind == AGC_E_HOST || f.kind == AGC_E_HOST))
		return host_to_host(dst, src, bytes, s);
	/* A graph would read the stage again, long after. */
	if ((d.kind == AGC_E_HOST || f.kind == AGC_E_HOST) && agc_captured(s->id))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (d.kind == AGC_E_HOST || f.kind == AGC_E_HOST)
		return staged(&d, &f, bytes, s);
	CUresult r = post_ends(&d, &f, bytes, s);
	if (async || (!d_host && !f_host))
		return r;
	CUresult w = agc_stream_sync(s);
	return r ? r : w;
}

/* --- sets --------------------------------------------------------------------------------------------------------- */

/* Constant memory is set by copying a pattern there. */
static CUresult set_const(uint64_t dst, uint64_t width, uint32_t value, uint32_t elem, struct agc_stream *s)
{
	uint8_t pattern[4096];
	CUresult r = CUDA_SUCCESS;
	uint64_t bytes = width * elem;
	for (size_t i = 0; i < sizeof pattern; i += elem)
		memcpy(pattern + i, &value, elem);
	for (uint64_t at = 0; at < bytes && r == CUDA_SUCCESS; at += sizeof pattern)
		r = agc_copy(dst + at, (uint64_t)(uintptr_t)pattern,
			     bytes - at < sizeof pattern ? bytes - at : sizeof pattern, s, true);
	return r;
}

CUresult agc_set(uint64_t dst, uint64_t pitch, uint64_t width, uint64_t height, uint32_t value, uint32_t elem,
		 struct agc_stream *s)
{
	uint64_t row, span;
	if (width == 0 || height == 0)
		return CUDA_SUCCESS;
	if (dst % elem || __builtin_mul_overflow(width, elem, &row) || (height > 1 && (pitch < row || pitch % elem)))
		return CUDA_ERROR_INVALID_VALUE;
	if (height == 1)
		pitch = row;
	if (__builtin_mul_overflow(height - 1, pitch, &span) || __builtin_add_overflow(span, row, &span))
		return CUDA_ERROR_INVALID_VALUE;
	struct agc_end d = agc_end_of(dst, span);
	if (d.kind == AGC_E_BAD || d.kind == AGC_E_HOST)
		return CUDA_ERROR_INVALID_VALUE;
	if (d.kind == AGC_E_CONST)
		return height == 1 ? set_const(dst, width, value, elem, s) : CUDA_ERROR_NOT_SUPPORTED;
	agc_t.touched = s;
	struct msg_set *m = agc_begin(AG_OP_set, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->dst = dst;
	m->pitch = pitch;
	m->width = width;
	m->height = height;
	m->value = value;
	m->elem = elem;
	m->stream = s->id;
	return agc_post(m);
}
