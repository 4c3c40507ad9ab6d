/* soft_copy_api.c - the entry points of copies and fills; each describes its two sides and leaves the rest to
 * soft_copy.c. Which of them wait for the copy is the API's documented synchronisation behaviour. */
#include "soft_internal.h"

enum where { HOST, DEVICE, ANY };

static CUresult linear(CUstream hs, uint64_t dst, enum where dst_at, uint64_t src, enum where src_at, size_t n,
		       bool async)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!n)
		return soft_leave(CUDA_SUCCESS);
	struct soft_side d, f;
	r = soft_side_linear(dst, n, true, dst_at == DEVICE, &d);
	if (!r)
		r = soft_side_linear(src, n, false, src_at == DEVICE, &f);
	if (!r)
		r = soft_copy(s, d, f, n, 1, 1, async);
	return soft_leave(r);
}

#define PTR(p) ((uint64_t)(uintptr_t)(p))

CUresult soft_cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t n)
{
	return linear(NULL, dst, ANY, src, ANY, n, false);
}

CUresult soft_cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream s)
{
	return linear(s, dst, ANY, src, ANY, n, true);
}

CUresult soft_cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t n)
{
	return linear(NULL, dst, DEVICE, PTR(src), HOST, n, false);
}

CUresult soft_cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t n, CUstream s)
{
	return linear(s, dst, DEVICE, PTR(src), HOST, n, true);
}

CUresult soft_cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t n)
{
	return linear(NULL, PTR(dst), HOST, src, DEVICE, n, false);
}

CUresult soft_cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t n, CUstream s)
{
	return linear(s, PTR(dst), HOST, src, DEVICE, n, true);
}

CUresult soft_cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t n)
{
	return linear(NULL, dst, DEVICE, src, DEVICE, n, false);
}

CUresult soft_cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream s)
{
	return linear(s, dst, DEVICE, src, DEVICE, n, true);
}

static CUresult contexts_ok(CUcontext a, CUcontext b)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	return soft_leave(soft_obj_find(SOFT_CTX, a) && soft_obj_find(SOFT_CTX, b) ? CUDA_SUCCESS
		: CUDA_ERROR_INVALID_CONTEXT);
}

CUresult soft_cuMemcpyPeer(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t n)
{
	CUresult r = contexts_ok(dst_ctx, src_ctx);
	return r ? r : linear(NULL, dst, DEVICE, src, DEVICE, n, false);
}

CUresult soft_cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t n,
				CUstream s)
{
	CUresult r = contexts_ok(dst_ctx, src_ctx);
	return r ? r : linear(s, dst, DEVICE, src, DEVICE, n, true);
}

/* --- boxes --- */

static CUresult box(CUstream hs, const CUDA_MEMCPY3D *p, bool async)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!p || p->reserved0 || p->reserved1)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (!p->WidthInBytes || !p->Height || !p->Depth)
		return soft_leave(CUDA_SUCCESS);
	struct soft_side d, f;
	r = soft_copy_3d(p, &d, &f);
	if (!r)
		r = soft_copy(s, d, f, p->WidthInBytes, p->Height, p->Depth, async);
	return soft_leave(r);
}

static CUresult flat(CUstream s, const CUDA_MEMCPY2D *p, bool async, bool limit)
{
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	bool device_src = p->srcMemoryType == CU_MEMORYTYPE_DEVICE,
	     device_dst = p->dstMemoryType == CU_MEMORYTYPE_DEVICE;
	if (limit && ((device_src && p->srcPitch > INT32_MAX) || (device_dst && p->dstPitch > INT32_MAX)))
		return CUDA_ERROR_INVALID_VALUE;
	CUDA_MEMCPY3D q = {
		.srcXInBytes = p->srcXInBytes,
		.srcY = p->srcY,
		.srcMemoryType = p->srcMemoryType,
		.srcHost = p->srcHost,
		.srcDevice = p->srcDevice,
		.srcArray = p->srcArray,
		.srcPitch = p->srcPitch,
		.dstXInBytes = p->dstXInBytes,
		.dstY = p->dstY,
		.dstMemoryType = p->dstMemoryType,
		.dstHost = p->dstHost,
		.dstDevice = p->dstDevice,
		.dstArray = p->dstArray,
		.dstPitch = p->dstPitch,
		.WidthInBytes = p->WidthInBytes,
		.Height = p->Height,
		.Depth = 1,
	};
	return box(s, &q, async);
}

CUresult soft_cuMemcpy2D_v2(const CUDA_MEMCPY2D *p)
{
	return flat(NULL, p, false, true);
}

CUresult soft_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *p)
{
	return flat(NULL, p, false, false);
}

CUresult soft_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *p, CUstream s)
{
	return flat(s, p, true, true);
}

CUresult soft_cuMemcpy3D_v2(const CUDA_MEMCPY3D *p)
{
	return box(NULL, p, false);
}

CUresult soft_cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *p, CUstream s)
{
	return box(s, p, true);
}

static CUresult peer_box(CUstream s, const CUDA_MEMCPY3D_PEER *p, bool async)
{
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = contexts_ok(p->dstContext, p->srcContext);
	CUDA_MEMCPY3D q = {
		.srcXInBytes = p->srcXInBytes,
		.srcY = p->srcY,
		.srcZ = p->srcZ,
		.srcLOD = p->srcLOD,
		.srcMemoryType = p->srcMemoryType,
		.srcHost = p->srcHost,
		.srcDevice = p->srcDevice,
		.srcArray = p->srcArray,
		.srcPitch = p->srcPitch,
		.srcHeight = p->srcHeight,
		.dstXInBytes = p->dstXInBytes,
		.dstY = p->dstY,
		.dstZ = p->dstZ,
		.dstLOD = p->dstLOD,
		.dstMemoryType = p->dstMemoryType,
		.dstHost = p->dstHost,
		.dstDevice = p->dstDevice,
		.dstArray = p->dstArray,
		.dstPitch = p->dstPitch,
		.dstHeight = p->dstHeight,
		.WidthInBytes = p->WidthInBytes,
		.Height = p->Height,
		.Depth = p->Depth,
	};
	return r ? r : box(s, &q, async);
}

CUresult soft_cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *p)
{
	return peer_box(NULL, p, false);
}

CUresult soft_cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *p, CUstream s)
{
	return peer_box(s, p, true);
}

/* --- arrays in one dimension --- */

static CUresult row(CUstream s, CUDA_MEMCPY3D p, size_t n, bool async)
{
	p.WidthInBytes = n;
	p.Height = p.Depth = 1;
	return box(s, &p, async);
}

#define FROM_ARRAY(a, off) .srcMemoryType = CU_MEMORYTYPE_ARRAY, .srcArray = (a), .srcXInBytes = (off)
#define TO_ARRAY(a, off) .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = (a), .dstXInBytes = (off)

CUresult soft_cuMemcpyAtoA_v2(CUarray dst, size_t dst_off, CUarray src, size_t src_off, size_t n)
{
	return row(NULL, (CUDA_MEMCPY3D){ TO_ARRAY(dst, dst_off), FROM_ARRAY(src, src_off) }, n, false);
}

CUresult soft_cuMemcpyAtoD_v2(CUdeviceptr dst, CUarray src, size_t off, size_t n)
{
	return row(NULL,
		   (CUDA_MEMCPY3D){ FROM_ARRAY(src, off), .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = dst },
		   n, false);
}

CUresult soft_cuMemcpyDtoA_v2(CUarray dst, size_t off, CUdeviceptr src, size_t n)
{
	return row(NULL,
		   (CUDA_MEMCPY3D){ TO_ARRAY(dst, off), .srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = src }, n,
		   false);
}

CUresult soft_cuMemcpyAtoH_v2(void *dst, CUarray src, size_t off, size_t n)
{
	return row(NULL, (CUDA_MEMCPY3D){ FROM_ARRAY(src, off), .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = dst },
		   n, false);
}

CUresult soft_cuMemcpyAtoHAsync_v2(void *dst, CUarray src, size_t off, size_t n, CUstream s)
{
	return row(s, (CUDA_MEMCPY3D){ FROM_ARRAY(src, off), .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = dst }, n,
		   true);
}

CUresult soft_cuMemcpyHtoA_v2(CUarray dst, size_t off, const void *src, size_t n)
{
	return row(NULL, (CUDA_MEMCPY3D){ TO_ARRAY(dst, off), .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = src },
		   n, false);
}

CUresult soft_cuMemcpyHtoAAsync_v2(CUarray dst, size_t off, const void *src, size_t n, CUstream s)
{
	return row(s, (CUDA_MEMCPY3D){ TO_ARRAY(dst, off), .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = src }, n,
		   true);
}

/* --- batches: copies of one stream; the attributes only say where memory lies and when a source is read --- */

CUresult soft_cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
	CUmemcpyAttributes *attrs, size_t *attr_idxs, size_t nattrs, CUstream hs)
{
	if (!hs || hs == CU_STREAM_LEGACY || !dsts || !srcs || !sizes || !count || !attrs || !attr_idxs || !nattrs ||
			nattrs > count || attr_idxs[0] != 0)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < nattrs; i++)
		if ((i && attr_idxs[i] <= attr_idxs[i - 1]) || attr_idxs[i] >= count)
			return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++) {
		CUresult r = linear(hs, dsts[i], ANY, srcs[i], ANY, sizes[i], true);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

/* --- fills --- */

static CUresult fill(CUstream hs, CUdeviceptr dst, uint64_t pitch, unsigned elem, uint32_t value, size_t width,
	size_t height, bool async)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!width || !height)
		return soft_leave(CUDA_SUCCESS);
	r = async ? CUDA_SUCCESS : soft_capture_forbid(s->ctx, s);
	struct soft_op *op;
	if (!r)
		r = soft_memset_op(dst, pitch, elem, value, width, height, &op);
	if (r)
		return soft_leave(r);
	if (soft_capturing(s))
		return soft_leave(soft_capture_op(s, op, CU_GRAPH_NODE_TYPE_MEMSET));
	struct soft_range *range = soft_range_at(dst);
	bool wait = (!async && (soft_is_host(range->type) || range->type == SOFT_R_MANAGED)) || range->sync_memops;
	return soft_leave(wait ? soft_submit_wait(s, op) : soft_submit(s, op));
}

#define FILL(bits, type)                                                                                        \
	CUresult soft_cuMemsetD##bits##_v2(CUdeviceptr dst, type value, size_t n)                               \
	{                                                                                                       \
		return fill(NULL, dst, 0, bits / 8, value, n, 1, false);                                        \
	}                                                                                                       \
	CUresult soft_cuMemsetD##bits##Async(CUdeviceptr dst, type value, size_t n, CUstream s)                 \
	{                                                                                                       \
		return fill(s, dst, 0, bits / 8, value, n, 1, true);                                            \
	}                                                                                                       \
	CUresult soft_cuMemsetD2D##bits##_v2(CUdeviceptr dst, size_t pitch, type value, size_t w, size_t h)     \
	{                                                                                                       \
		return fill(NULL, dst, pitch, bits / 8, value, w, h, false);                                    \
	}                                                                                                       \
	CUresult soft_cuMemsetD2D##bits##Async(CUdeviceptr dst, size_t pitch, type value, size_t w, size_t h,   \
		CUstream s)                                                                                     \
	{                                                                                                       \
		return fill(s, dst, pitch, bits / 8, value, w, h, true);                                        \
	}

FILL(8, unsigned char)
FILL(16, unsigned short)
FILL(32, unsigned int)
