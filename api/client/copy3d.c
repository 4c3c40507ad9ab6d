/* copy3d.c - shaped copies (2D, 3D, arrays), and the functions of the API that copy and set memory.
 *
 * A shaped copy is normalised into two sides.  Both dense: a linear copy.  Both in the window or arrays: one copy3d
 * message. One side pageable: packed through the stream's stage by groups of rows.  Both pageable: rows are copied
 * here.
 */
#include "copy.h"

#include <string.h>

/* One side: linear memory that starts at addr (offsets added), or an array with its offsets. */
struct side {
	struct agc_end end;
	ag_id array;
	uint64_t x, y, z, lod;           /* of arrays */
	uint64_t addr, pitch, height;    /* of linear memory; height: rows per slice */
};
struct shape { uint64_t width, rows, depth; };

/* --- normalising -------------------------------------------------------------------------------------------------- */

static bool extent_of(const struct side *e, const struct shape *n, uint64_t *bytes)
{
	uint64_t slice, a, b;
	return !__builtin_mul_overflow(e->pitch, e->height, &slice) &&
	       !__builtin_mul_overflow(slice, n->depth - 1, &a) &&
	       !__builtin_mul_overflow(e->pitch, n->rows - 1, &b) && !__builtin_add_overflow(a, b, bytes) &&
	       !__builtin_add_overflow(*bytes, n->width, bytes);
}

/* An array's size in bytes of a row, rows and slices.  It never changes and an id is never given twice, so each thread
 * keeps what it learned of the last few arrays instead of asking the worker at every copy. */
static CUresult array_size(CUarray array, struct shape *size)
{
	static __thread struct { CUarray array; struct shape size; } known[4];
	static const uint8_t bytes[] = { [CU_AD_FORMAT_UNSIGNED_INT8] = 1, [CU_AD_FORMAT_UNSIGNED_INT16] = 2,
		[CU_AD_FORMAT_UNSIGNED_INT32] = 4, [CU_AD_FORMAT_SIGNED_INT8] = 1, [CU_AD_FORMAT_SIGNED_INT16] = 2,
		[CU_AD_FORMAT_SIGNED_INT32] = 4, [CU_AD_FORMAT_HALF] = 2, [CU_AD_FORMAT_FLOAT] = 4 };
	unsigned slot = (unsigned)(agc_id(array) % 4);
	if (known[slot].array != array) {
		CUDA_ARRAY3D_DESCRIPTOR d;
		CUresult r = call_cuArray3DGetDescriptor_v2(&d, array);
		if (r)
			return r;
		/* Packed formats have no plain element: the driver judges their copies. */
		unsigned element = (unsigned)d.Format < sizeof bytes ? bytes[d.Format] : 0;
		known[slot].array = array;
		known[slot].size = !element ? (struct shape){ UINT64_MAX, UINT64_MAX, UINT64_MAX }
					    : (struct shape){ d.Width * d.NumChannels * element,
							      d.Height ? d.Height : 1, d.Depth ? d.Depth : 1 };
	}
	*size = known[slot].size;
	return CUDA_SUCCESS;
}

static bool beyond(uint64_t at, uint64_t n, uint64_t size) { return at > size || n > size - at; }

static CUresult side_of(struct side *e, CUmemorytype type, const void *host, CUdeviceptr dev, CUarray array, size_t x,
			size_t y, size_t z, size_t lod, size_t pitch, size_t height, const struct shape *n)
{
	uint64_t bytes, slice;
	*e = (struct side){ .x = x, .y = y, .z = z, .lod = lod, .pitch = pitch, .height = height };
	if (type == CU_MEMORYTYPE_ARRAY) {
		bool valid;
		agc_id_state(AG_K_ARRAY, array, &valid);
		e->array = agc_id(array);
		e->end.kind = AGC_E_ARRAY;
		struct shape size;
		CUresult r = valid ? array_size(array, &size) : CUDA_ERROR_INVALID_HANDLE;
		if (r == CUDA_SUCCESS && lod == 0 &&
		    (beyond(x, n->width, size.width) || beyond(y, n->rows, size.rows) ||
		     beyond(z, n->depth, size.depth)))
			r = CUDA_ERROR_INVALID_VALUE;
		return r;
	}
	if (type != CU_MEMORYTYPE_HOST && type != CU_MEMORYTYPE_DEVICE && type != CU_MEMORYTYPE_UNIFIED)
		return CUDA_ERROR_INVALID_VALUE;
	/* A pitch or height of 0 means dense where only one row or slice is meant. */
	if (e->pitch == 0)
		e->pitch = x + n->width;
	if (e->height == 0)
		e->height = y + n->rows;
	if (x > e->pitch || n->width > e->pitch - x || (n->depth > 1 && (y > e->height || n->rows > e->height - y)))
		return CUDA_ERROR_INVALID_VALUE;
	e->addr = type == CU_MEMORYTYPE_HOST ? (uint64_t)(uintptr_t)host : dev;
	if (__builtin_mul_overflow(e->pitch, e->height, &slice) || __builtin_mul_overflow(slice, z, &slice) ||
	    __builtin_mul_overflow(e->pitch, y, &bytes) || __builtin_add_overflow(slice, bytes, &bytes) ||
	    __builtin_add_overflow(bytes, x, &bytes) || __builtin_add_overflow(e->addr, bytes, &e->addr) ||
	    !extent_of(e, n, &bytes))
		return CUDA_ERROR_INVALID_VALUE;
	e->end = agc_end_of(e->addr, bytes);
	if (e->end.kind == AGC_E_BAD || (type == CU_MEMORYTYPE_DEVICE && e->end.kind == AGC_E_HOST))
		return CUDA_ERROR_INVALID_VALUE;
	return e->end.kind == AGC_E_CONST ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

static bool dense(const struct side *e, const struct shape *n)
{
	return e->end.kind != AGC_E_ARRAY && (n->rows == 1 || e->pitch == n->width) &&
	       (n->depth == 1 || e->height == n->rows) && (n->depth == 1 || n->rows > 1 || e->pitch == n->width);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static CUresult post_shaped(const struct side *d, const struct side *f, const struct shape *n, struct agc_stream *s)
{
	agc_t.touched = s;
	struct msg_copy3d *m = agc_begin(AG_OP_copy3d, sizeof *m, 0);
	if (!m)
		return agc_error();
	struct ag_head h = m->h;
	memset(m, 0, sizeof *m);
	m->h = h;
	m->dst_is_array = d->end.kind == AGC_E_ARRAY;
	m->src_is_array = f->end.kind == AGC_E_ARRAY;
	m->dst = m->dst_is_array ? d->array : d->addr;
	m->src = m->src_is_array ? f->array : f->addr;
	if (m->dst_is_array) {
		m->dst_x = d->x;
		m->dst_y = d->y;
		m->dst_z = d->z;
		m->dst_lod = d->lod;
	} else {
		m->dst_pitch = d->pitch;
		m->dst_height = d->height;
	}
	if (m->src_is_array) {
		m->src_x = f->x;
		m->src_y = f->y;
		m->src_z = f->z;
		m->src_lod = f->lod;
	} else {
		m->src_pitch = f->pitch;
		m->src_height = f->height;
	}
	m->width = n->width;
	m->height = n->rows;
	m->depth = n->depth;
	m->stream = s->id;
	return agc_post(m);
}

/* --- pageable sides ----------------------------------------------------------------------------------------------- */

static uint8_t *row_at(const struct side *e, uint64_t x, uint64_t y, uint64_t z)
{
	return (uint8_t *)(uintptr_t)(e->addr + z * e->pitch * e->height + y * e->pitch + x);
}

/* The same side, moved: what is left of it from (x, y, z) on. */
static struct side moved(const struct side *e, uint64_t x, uint64_t y, uint64_t z)
{
	struct side m = *e;
	if (e->end.kind == AGC_E_ARRAY) {
		m.x += x;
		m.y += y;
		m.z += z;
	} else {
		m.addr = (uint64_t)(uintptr_t)row_at(e, x, y, z);
	}
	return m;
}

/* A box of rows through the stage: packed into it and sent, or fetched and unpacked. */
static CUresult staged_box(const struct side *d, const struct side *f, bool to_host, uint64_t x, uint64_t y, uint64_t z,
                           const struct shape *box, struct agc_stream *s)
{
	uint8_t *at;
	size_t n, bytes = (size_t)(box->width * box->rows);
	CUresult r = agc_stage_take(s, bytes, bytes, &at, &n), w;
	if (n < bytes || (r && agc_ready()))
		return r ? r : CUDA_ERROR_UNKNOWN;
	struct side stage = {
		.end.kind = AGC_E_PINNED, .addr = (uint64_t)(uintptr_t)at, .pitch = box->width, .height = box->rows
	};
	if (!to_host) {
		struct side to = moved(d, x, y, z);
		for (uint64_t i = 0; i < box->rows; i++)
			memcpy(at + i * box->width, row_at(f, x, y + i, z), box->width);
		w = post_shaped(&to, &stage, box, s);
		return r ? r : w;
	}
	struct side from = moved(f, x, y, z);
	w = post_shaped(&stage, &from, box, s);
	CUresult sync = agc_stream_sync(s);
	if (sync)
		return r ? r : w ? w : sync;
	agc_stage_done(&s->stage);
	for (uint64_t i = 0; i < box->rows; i++)
		memcpy(row_at(d, x, y + i, z), at + i * box->width, box->width);
	return r ? r : w;
}

static CUresult staged_shape(const struct side *d, const struct side *f, const struct shape *n, struct agc_stream *s)
{
	bool to_host = d->end.kind == AGC_E_HOST;
	CUresult first = CUDA_SUCCESS;
	if (agc_captured(s->id))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	pthread_mutex_lock(&s->stage.lock);
	CUresult r = agc_stage_ready(s, n->width * n->rows > n->width ? n->width * n->rows : n->width);
	uint64_t half = s->stage.half, cols = n->width < half ? n->width : half;
	uint64_t group = r ? 0 : half / cols < n->rows ? half / cols : n->rows;
	for (uint64_t z = 0; z < n->depth && r == CUDA_SUCCESS; z++)
		for (uint64_t y = 0; y < n->rows && r == CUDA_SUCCESS; y += group)
			for (uint64_t x = 0; x < n->width && r == CUDA_SUCCESS; x += cols) {
				struct shape box = { n->width - x < cols ? n->width - x : cols,
						     n->rows - y < group ? n->rows - y : group, 1 };
				r = staged_box(d, f, to_host, x, y, z, &box, s);
				first = first ? first : r;
				if (r && !agc_ready() && !atomic_load(&agc_s.sticky))
					r = CUDA_SUCCESS; /* an earlier call failed: told, but the copy goes on */
			}
	pthread_mutex_unlock(&s->stage.lock);
	return first ? first : r;
}

static CUresult shaped(struct side *d, struct side *f, const struct shape *n, struct agc_stream *s, bool async)
{
	bool d_page = d->end.kind == AGC_E_HOST, f_page = f->end.kind == AGC_E_HOST;
	if (dense(d, n) && dense(f, n))
		return agc_copy(d->addr, f->addr, n->width * n->rows * n->depth, s, async);
	if ((d_page || d->end.kind == AGC_E_PINNED) && (f_page || f->end.kind == AGC_E_PINNED)) {
		CUresult r = agc_stream_sync(s);
		for (uint64_t z = 0; z < n->depth && r == CUDA_SUCCESS; z++)
			for (uint64_t y = 0; y < n->rows; y++)
				memmove(row_at(d, 0, y, z), row_at(f, 0, y, z), n->width);
		return r;
	}
	if (d_page || f_page)
		return staged_shape(d, f, n, s);
	CUresult r = post_shaped(d, f, n, s);
	if (async || (d->end.kind != AGC_E_PINNED && f->end.kind != AGC_E_PINNED))
		return r;
	CUresult w = agc_stream_sync(s);
	return r ? r : w;
}

static CUresult copy3d(const CUDA_MEMCPY3D *c, CUstream h, bool async, bool twod)
{
	struct side d, f;
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!c)
		return CUDA_ERROR_INVALID_VALUE;
	struct shape n = { c->WidthInBytes, c->Height, twod ? 1 : c->Depth };
	if (!n.width || !n.rows || !n.depth)
		return CUDA_SUCCESS;
	CUresult r = side_of(&d, c->dstMemoryType, c->dstHost, c->dstDevice, c->dstArray, c->dstXInBytes, c->dstY,
			     c->dstZ, c->dstLOD, c->dstPitch, twod ? 0 : c->dstHeight, &n);
	if (r == CUDA_SUCCESS)
		r = side_of(&f, c->srcMemoryType, c->srcHost, c->srcDevice, c->srcArray, c->srcXInBytes, c->srcY,
			    c->srcZ, c->srcLOD, c->srcPitch, twod ? 0 : c->srcHeight, &n);
	return r ? r : shaped(&d, &f, &n, s, async);
}

static CUresult copy2d(const CUDA_MEMCPY2D *c, CUstream h, bool async)
{
	if (!c)
		return CUDA_ERROR_INVALID_VALUE;
	CUDA_MEMCPY3D w = {
		.srcXInBytes = c->srcXInBytes,
		.srcY = c->srcY,
		.srcMemoryType = c->srcMemoryType,
		.srcHost = c->srcHost,
		.srcDevice = c->srcDevice,
		.srcArray = c->srcArray,
		.srcPitch = c->srcPitch,
		.dstXInBytes = c->dstXInBytes,
		.dstY = c->dstY,
		.dstMemoryType = c->dstMemoryType,
		.dstHost = c->dstHost,
		.dstDevice = c->dstDevice,
		.dstArray = c->dstArray,
		.dstPitch = c->dstPitch,
		.WidthInBytes = c->WidthInBytes,
		.Height = c->Height,
		.Depth = 1,
	};
	return copy3d(&w, h, async, true);
}

CUresult call_cuMemcpy2D_v2(const CUDA_MEMCPY2D *c) { return copy2d(c, NULL, false); }
CUresult call_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *c) { return copy2d(c, NULL, false); }
CUresult call_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *c, CUstream h) { return copy2d(c, h, true); }
CUresult call_cuMemcpy3D_v2(const CUDA_MEMCPY3D *c) { return copy3d(c, NULL, false, false); }
CUresult call_cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *c, CUstream h) { return copy3d(c, h, true, false); }

/* Between contexts of one device: an ordinary copy. */
static CUresult copy3d_peer(const CUDA_MEMCPY3D_PEER *c, CUstream h, bool async)
{
	if (!c)
		return CUDA_ERROR_INVALID_VALUE;
	CUDA_MEMCPY3D w = {
		.srcXInBytes = c->srcXInBytes,
		.srcY = c->srcY,
		.srcZ = c->srcZ,
		.srcLOD = c->srcLOD,
		.srcMemoryType = c->srcMemoryType,
		.srcHost = c->srcHost,
		.srcDevice = c->srcDevice,
		.srcArray = c->srcArray,
		.srcPitch = c->srcPitch,
		.srcHeight = c->srcHeight,
		.dstXInBytes = c->dstXInBytes,
		.dstY = c->dstY,
		.dstZ = c->dstZ,
		.dstLOD = c->dstLOD,
		.dstMemoryType = c->dstMemoryType,
		.dstHost = c->dstHost,
		.dstDevice = c->dstDevice,
		.dstArray = c->dstArray,
		.dstPitch = c->dstPitch,
		.dstHeight = c->dstHeight,
		.WidthInBytes = c->WidthInBytes,
		.Height = c->Height,
		.Depth = c->Depth,
	};
	return copy3d(&w, h, async, false);
}

CUresult call_cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *c) { return copy3d_peer(c, NULL, false); }
CUresult call_cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *c, CUstream h) { return copy3d_peer(c, h, true); }

/* --- arrays, linear ----------------------------------------------------------------------------------------------- */

/* One row between an array (at byte offset) and memory. */
static CUresult array_row(CUarray array, size_t offset, uint64_t addr, bool host, size_t bytes, bool to_array,
			  CUstream h, bool async)
{
	CUDA_MEMCPY3D w = { .WidthInBytes = bytes, .Height = 1, .Depth = 1 };
	CUmemorytype type = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
	if (to_array) {
		w.dstMemoryType = CU_MEMORYTYPE_ARRAY;
		w.dstArray = array;
		w.dstXInBytes = offset;
		w.srcMemoryType = type;
		w.srcHost = (const void *)(uintptr_t)addr;
		w.srcDevice = addr;
	} else {
		w.srcMemoryType = CU_MEMORYTYPE_ARRAY;
		w.srcArray = array;
		w.srcXInBytes = offset;
		w.dstMemoryType = type;
		w.dstHost = (void *)(uintptr_t)addr;
		w.dstDevice = addr;
	}
	return copy3d(&w, h, async, false);
}

CUresult call_cuMemcpyDtoA_v2(CUarray a, size_t off, CUdeviceptr src, size_t n)
{
	return array_row(a, off, src, false, n, true, NULL, false);
}
CUresult call_cuMemcpyAtoD_v2(CUdeviceptr dst, CUarray a, size_t off, size_t n)
{
	return array_row(a, off, dst, false, n, false, NULL, false);
}
CUresult call_cuMemcpyHtoA_v2(CUarray a, size_t off, const void *src, size_t n)
{
	return array_row(a, off, (uint64_t)(uintptr_t)src, true, n, true, NULL, false);
}
CUresult call_cuMemcpyAtoH_v2(void *dst, CUarray a, size_t off, size_t n)
{
	return array_row(a, off, (uint64_t)(uintptr_t)dst, true, n, false, NULL, false);
}
CUresult call_cuMemcpyHtoAAsync_v2(CUarray a, size_t off, const void *src, size_t n, CUstream h)
{
	return array_row(a, off, (uint64_t)(uintptr_t)src, true, n, true, h, true);
}
CUresult call_cuMemcpyAtoHAsync_v2(void *dst, CUarray a, size_t off, size_t n, CUstream h)
{
	return array_row(a, off, (uint64_t)(uintptr_t)dst, true, n, false, h, true);
}

CUresult call_cuMemcpyAtoA_v2(CUarray dst, size_t dst_off, CUarray src, size_t src_off, size_t n)
{
	CUDA_MEMCPY3D w = { .WidthInBytes = n,
			    .Height = 1,
			    .Depth = 1,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			    .dstArray = dst,
			    .dstXInBytes = dst_off,
			    .srcMemoryType = CU_MEMORYTYPE_ARRAY,
			    .srcArray = src,
			    .srcXInBytes = src_off };
	return copy3d(&w, NULL, false, false);
}

/* --- linear ------------------------------------------------------------------------------------------------------- */

enum want { ANY, IN_WINDOW };

static CUresult linear(uint64_t dst, enum want d, uint64_t src, enum want f, size_t bytes, CUstream h, bool async)
{
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	if (bytes == 0)
		return CUDA_SUCCESS;
	if ((d == IN_WINDOW && !agc_in_window((void *)(uintptr_t)dst, bytes)) ||
	    (f == IN_WINDOW && !agc_in_window((void *)(uintptr_t)src, bytes)))
		return CUDA_ERROR_INVALID_VALUE;
	return agc_copy(dst, src, bytes, s, async);
}

#define U(p) ((uint64_t)(uintptr_t)(p))
CUresult call_cuMemcpy(CUdeviceptr d, CUdeviceptr s, size_t n) { return linear(d, ANY, s, ANY, n, NULL, false); }
CUresult call_cuMemcpyAsync(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream h)
{
	return linear(d, ANY, s, ANY, n, h, true);
}
CUresult call_cuMemcpyHtoD_v2(CUdeviceptr d, const void *s, size_t n)
{
	return linear(d, IN_WINDOW, U(s), ANY, n, NULL, false);
}
CUresult call_cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void *s, size_t n, CUstream h)
{
	return linear(d, IN_WINDOW, U(s), ANY, n, h, true);
}
CUresult call_cuMemcpyDtoH_v2(void *d, CUdeviceptr s, size_t n)
{
	return linear(U(d), ANY, s, IN_WINDOW, n, NULL, false);
}
CUresult call_cuMemcpyDtoHAsync_v2(void *d, CUdeviceptr s, size_t n, CUstream h)
{
	return linear(U(d), ANY, s, IN_WINDOW, n, h, true);
}
CUresult call_cuMemcpyDtoD_v2(CUdeviceptr d, CUdeviceptr s, size_t n)
{
	return linear(d, IN_WINDOW, s, IN_WINDOW, n, NULL, true);
}
CUresult call_cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream h)
{
	return linear(d, IN_WINDOW, s, IN_WINDOW, n, h, true);
}

CUresult call_cuMemcpyPeerAsync(CUdeviceptr d, CUcontext dctx, CUdeviceptr s, CUcontext sctx, size_t n, CUstream h)
{
	if (!agc_ctx_of(dctx) || !agc_ctx_of(sctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	return linear(d, IN_WINDOW, s, IN_WINDOW, n, h, true);
}

CUresult call_cuMemcpyPeer(CUdeviceptr d, CUcontext dctx, CUdeviceptr s, CUcontext sctx, size_t n)
{
	return call_cuMemcpyPeerAsync(d, dctx, s, sctx, n, NULL);
}

CUresult call_cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
				    CUmemcpyAttributes *attrs, size_t *attr_index, size_t nattrs, CUstream h)
{
	if (!dsts || !srcs || !sizes || !count || !attrs || !attr_index || !nattrs || nattrs > count ||
	    attr_index[0] != 0)
		return CUDA_ERROR_INVALID_VALUE;
	if (h == NULL || h == CU_STREAM_LEGACY)
		return CUDA_ERROR_INVALID_VALUE;         /* documented: not the legacy stream */
	for (size_t i = 0; i < count; i++) {
		CUresult r = linear(dsts[i], ANY, srcs[i], ANY, sizes[i], h, true);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

/* --- sets --------------------------------------------------------------------------------------------------------- */

/* A synchronous set of memory the host can see is over when the call returns; of device memory it need not be. */
static CUresult set(CUdeviceptr d, size_t pitch, size_t width, size_t height, uint32_t value, uint32_t elem,
		    CUstream h, bool async)
{
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	CUresult r = agc_set(d, pitch, width, height, value, elem, s);
	return r || async || !agc_is_host((void *)(uintptr_t)d) ? r : agc_stream_sync(s);
}

#define SETS(bits, type)                                                                                             \
	CUresult call_cuMemsetD##bits##_v2(CUdeviceptr d, type v, size_t n)                                          \
	{                                                                                                            \
		return set(d, 0, n, 1, v, bits / 8, NULL, false);                                                    \
	}                                                                                                            \
	CUresult call_cuMemsetD##bits##Async(CUdeviceptr d, type v, size_t n, CUstream h)                            \
	{                                                                                                            \
		return set(d, 0, n, 1, v, bits / 8, h, true);                                                        \
	}                                                                                                            \
	CUresult call_cuMemsetD2D##bits##_v2(CUdeviceptr d, size_t pitch, type v, size_t w, size_t rows)             \
	{                                                                                                            \
		return set(d, pitch, w, rows, v, bits / 8, NULL, false);                                             \
	}                                                                                                            \
	CUresult call_cuMemsetD2D##bits##Async(CUdeviceptr d, size_t pitch, type v, size_t w, size_t rows,           \
					       CUstream h)                                                           \
	{                                                                                                            \
		return set(d, pitch, w, rows, v, bits / 8, h, true);                                                 \
	}
SETS(8, unsigned char)
SETS(16, unsigned short)
SETS(32, unsigned int)
