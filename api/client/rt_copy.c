/* rt_copy.c - the Runtime's copies and fills: kinds, symbols, pitches and arrays, lowered onto a linear and one
 * general Driver copy. */
#include <string.h>
#include "runtime.h"

static CUdeviceptr dp(const void *p) { return (CUdeviceptr)(uintptr_t)p; }

/* A synchronous copy under its _ptds name is ordered in the thread's own stream. */
static CUresult settle(CUresult r, bool async)
{
	return r || async || !rt_per_thread_default ? r : rt_cu()->cuStreamSynchronize(CU_STREAM_PER_THREAD);
}

static CUresult copy_sync(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind)
{
	const struct ag_driver *d = rt_cu();
	switch (kind) {
	case cudaMemcpyHostToHost: memcpy(dst, src, n); return CUDA_SUCCESS;
	case cudaMemcpyHostToDevice: return d->cuMemcpyHtoD_v2(dp(dst), src, n);
	case cudaMemcpyDeviceToHost: return d->cuMemcpyDtoH_v2(dst, dp(src), n);
	case cudaMemcpyDeviceToDevice: return d->cuMemcpyDtoD_v2(dp(dst), dp(src), n);
	default: return d->cuMemcpy(dp(dst), dp(src), n);
	}
}

static CUresult copy_async(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, CUstream s)
{
	const struct ag_driver *d = rt_cu();
	switch (kind) {
	case cudaMemcpyHostToDevice: return d->cuMemcpyHtoDAsync_v2(dp(dst), src, n, s);
	case cudaMemcpyDeviceToHost: return d->cuMemcpyDtoHAsync_v2(dst, dp(src), n, s);
	case cudaMemcpyDeviceToDevice: return d->cuMemcpyDtoDAsync_v2(dp(dst), dp(src), n, s);
	default: return d->cuMemcpyAsync(dp(dst), dp(src), n, s);
	}
}

cudaError_t rt_copy(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, cudaStream_t stream, bool async)
{
	if ((unsigned)kind > cudaMemcpyDefault) return rt_error(cudaErrorInvalidMemcpyDirection);
	CUresult r = rt_init();
	if (r) return rt_return(r);
	if (n == 0) return cudaSuccess;
	if (!dst || !src) return rt_error(cudaErrorInvalidValue);
	if (!async && !rt_per_thread_default) return rt_return(copy_sync(dst, src, n, kind));
	return rt_return(settle(copy_async(dst, src, n, kind, (CUstream)rt_stream(stream)), async));
}

cudaError_t rt_cudaMemcpy(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind)
{
	return rt_copy(dst, src, n, kind, NULL, false);
}

cudaError_t rt_cudaMemcpyAsync(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, cudaStream_t s)
{
	return rt_copy(dst, src, n, kind, s, true);
}

/* --- symbols --------------------------------------------------------------------------------- */

static cudaError_t copy_symbol(const void *symbol, void *host, size_t n, size_t offset, enum cudaMemcpyKind kind,
			       bool to, cudaStream_t s, bool async)
{
	CUdeviceptr p;
	size_t size;
	/* Only two directions make sense on either side; any other is refused as NVIDIA's Runtime does. */
	enum cudaMemcpyKind host_kind = to ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
	if (kind != host_kind && kind != cudaMemcpyDeviceToDevice && kind != cudaMemcpyDefault)
		return rt_error(cudaErrorInvalidMemcpyDirection);
	cudaError_t e = rt_symbol(symbol, &p, &size);
	if (e) return rt_error(e);
	if (offset > size || n > size - offset) return rt_error(cudaErrorInvalidValue);
	char *dev = (char *)(uintptr_t)p + offset;
	return to ? rt_copy(dev, host, n, kind, s, async) : rt_copy(host, dev, n, kind, s, async);
}

cudaError_t rt_cudaMemcpyToSymbol(const void *symbol, const void *src, size_t n, size_t offset,
				  enum cudaMemcpyKind kind)
{
	return copy_symbol(symbol, (void *)src, n, offset, kind, true, NULL, false);
}

cudaError_t rt_cudaMemcpyFromSymbol(void *dst, const void *symbol, size_t n, size_t offset, enum cudaMemcpyKind kind)
{
	return copy_symbol(symbol, dst, n, offset, kind, false, NULL, false);
}

cudaError_t rt_cudaMemcpyToSymbolAsync(const void *symbol, const void *src, size_t n, size_t offset,
				       enum cudaMemcpyKind kind, cudaStream_t s)
{
	return copy_symbol(symbol, (void *)src, n, offset, kind, true, s, true);
}

cudaError_t rt_cudaMemcpyFromSymbolAsync(void *dst, const void *symbol, size_t n, size_t offset,
					 enum cudaMemcpyKind kind, cudaStream_t s)
{
	return copy_symbol(symbol, dst, n, offset, kind, false, s, true);
}

/* --- pitched and 3-D ----------------------------------------------------------------------------- */

/* One side of a general copy: linear memory of `type`, or an array. */
struct side { CUmemorytype type; const void *ptr; CUarray array; size_t pitch, height, x, y, z; };

static struct side linear(const void *p, size_t pitch, size_t height, CUmemorytype type)
{
	return (struct side){ .type = type, .ptr = p, .pitch = pitch, .height = height };
}

static struct side of_array(cudaArray_const_t a, size_t x, size_t y, size_t z)
{
	return (struct side){ .type = CU_MEMORYTYPE_ARRAY, .array = (CUarray)a, .x = x, .y = y, .z = z };
}

static CUmemorytype kind_dst(enum cudaMemcpyKind k)
{
	return k == cudaMemcpyDefault					  ? CU_MEMORYTYPE_UNIFIED
	       : k == cudaMemcpyHostToHost || k == cudaMemcpyDeviceToHost ? CU_MEMORYTYPE_HOST
									  : CU_MEMORYTYPE_DEVICE;
}

static CUmemorytype kind_src(enum cudaMemcpyKind k)
{
	return k == cudaMemcpyDefault					  ? CU_MEMORYTYPE_UNIFIED
	       : k == cudaMemcpyHostToHost || k == cudaMemcpyHostToDevice ? CU_MEMORYTYPE_HOST
									  : CU_MEMORYTYPE_DEVICE;
}

static cudaError_t copy3d(struct side dst, struct side src, size_t width, size_t height, size_t depth,
			  cudaStream_t stream, bool async)
{
	CUresult r = rt_init();
	if (r) return rt_return(r);
	if (!width || !height || !depth) return cudaSuccess;
	CUDA_MEMCPY3D c = {
		.srcXInBytes = src.x,
		.srcY = src.y,
		.srcZ = src.z,
		.srcMemoryType = src.type,
		.srcHost = src.ptr,
		.srcDevice = dp(src.ptr),
		.srcArray = src.array,
		.srcPitch = src.pitch,
		.srcHeight = src.height,
		.dstXInBytes = dst.x,
		.dstY = dst.y,
		.dstZ = dst.z,
		.dstMemoryType = dst.type,
		.dstHost = (void *)dst.ptr,
		.dstDevice = dp(dst.ptr),
		.dstArray = dst.array,
		.dstPitch = dst.pitch,
		.dstHeight = dst.height,
		.WidthInBytes = width,
		.Height = height,
		.Depth = depth,
	};
	if (!async && !rt_per_thread_default) return rt_return(rt_cu()->cuMemcpy3D_v2(&c));
	return rt_return(settle(rt_cu()->cuMemcpy3DAsync_v2(&c, (CUstream)rt_stream(stream)), async));
}

#define CHECK_KIND(kind) \
	do { \
		if ((unsigned)(kind) > cudaMemcpyDefault) return rt_error(cudaErrorInvalidMemcpyDirection); \
	} while (0)

static cudaError_t copy2d(void *dst, size_t dpitch, const void *src, size_t spitch, size_t w, size_t h,
			  enum cudaMemcpyKind kind, cudaStream_t s, bool async)
{
	CHECK_KIND(kind);
	if (h && (w > dpitch || w > spitch)) return rt_error(cudaErrorInvalidPitchValue);
	return copy3d(linear(dst, dpitch, h, kind_dst(kind)), linear(src, spitch, h, kind_src(kind)), w, h, 1, s,
		      async);
}

cudaError_t rt_cudaMemcpy2D(void *dst, size_t dpitch, const void *src, size_t spitch, size_t w, size_t h,
			    enum cudaMemcpyKind kind)
{
	return copy2d(dst, dpitch, src, spitch, w, h, kind, NULL, false);
}

cudaError_t rt_cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch, size_t w, size_t h,
				 enum cudaMemcpyKind kind, cudaStream_t s)
{
	return copy2d(dst, dpitch, src, spitch, w, h, kind, s, true);
}

static cudaError_t to_array(cudaArray_t dst, size_t x, size_t y, const void *src, size_t spitch, size_t w, size_t h,
			    enum cudaMemcpyKind kind, cudaStream_t s, bool async)
{
	CHECK_KIND(kind);
	if (!dst) return rt_error(cudaErrorInvalidResourceHandle);
	if (w > spitch) return rt_error(cudaErrorInvalidPitchValue);
	return copy3d(of_array(dst, x, y, 0), linear(src, spitch, h, kind_src(kind)), w, h, 1, s, async);
}

static cudaError_t from_array(void *dst, size_t dpitch, cudaArray_const_t src, size_t x, size_t y, size_t w, size_t h,
			      enum cudaMemcpyKind kind, cudaStream_t s, bool async)
{
	CHECK_KIND(kind);
	if (!src) return rt_error(cudaErrorInvalidResourceHandle);
	if (w > dpitch) return rt_error(cudaErrorInvalidPitchValue);
	return copy3d(linear(dst, dpitch, h, kind_dst(kind)), of_array(src, x, y, 0), w, h, 1, s, async);
}

cudaError_t rt_cudaMemcpy2DToArray(cudaArray_t dst, size_t x, size_t y, const void *src, size_t spitch, size_t w,
				   size_t h, enum cudaMemcpyKind kind)
{
	return to_array(dst, x, y, src, spitch, w, h, kind, NULL, false);
}

cudaError_t rt_cudaMemcpy2DToArrayAsync(cudaArray_t dst, size_t x, size_t y, const void *src, size_t spitch, size_t w,
					size_t h, enum cudaMemcpyKind kind, cudaStream_t s)
{
	return to_array(dst, x, y, src, spitch, w, h, kind, s, true);
}

cudaError_t rt_cudaMemcpy2DFromArray(void *dst, size_t dpitch, cudaArray_const_t src, size_t x, size_t y, size_t w,
				     size_t h, enum cudaMemcpyKind kind)
{
	return from_array(dst, dpitch, src, x, y, w, h, kind, NULL, false);
}

cudaError_t rt_cudaMemcpy2DFromArrayAsync(void *dst, size_t dpitch, cudaArray_const_t src, size_t x, size_t y,
					  size_t w, size_t h, enum cudaMemcpyKind kind, cudaStream_t s)
{
	return from_array(dst, dpitch, src, x, y, w, h, kind, s, true);
}

/* The deprecated linear form: n bytes run on from (x, y), row by row of the array's width. */
static cudaError_t array_rows(cudaArray_const_t a, size_t x, size_t y, char *lin, size_t n, enum cudaMemcpyKind kind,
			      bool to, cudaStream_t s, bool async)
{
	CUDA_ARRAY3D_DESCRIPTOR d;
	static const unsigned char element[64] = {
		[CU_AD_FORMAT_UNSIGNED_INT8] = 1,  [CU_AD_FORMAT_UNSIGNED_INT16] = 2,
		[CU_AD_FORMAT_UNSIGNED_INT32] = 4, [CU_AD_FORMAT_SIGNED_INT8] = 1,
		[CU_AD_FORMAT_SIGNED_INT16] = 2,   [CU_AD_FORMAT_SIGNED_INT32] = 4,
		[CU_AD_FORMAT_HALF] = 2,	   [CU_AD_FORMAT_FLOAT] = 4
	};
	CHECK_KIND(kind);
	CUresult r = rt_init();
	if (!r) r = rt_cu()->cuArray3DGetDescriptor_v2(&d, (CUarray)a);
	if (r) return rt_return(r);
	if ((unsigned)d.Format >= sizeof element || !element[d.Format]) return rt_error(cudaErrorInvalidValue);
	size_t row = d.Width * d.NumChannels * element[d.Format], rows = d.Height ? d.Height : 1;
	if (x > row || y >= rows || n > (rows - y) * row - x) return rt_error(cudaErrorInvalidValue);
	while (n) {
		/* First and last rows may be partial; everything between is one block. */
		size_t w = x || n < row ? (n < row - x ? n : row - x) : row, h = w == row ? n / row : 1;
		cudaError_t e = to ? to_array((cudaArray_t)a, x, y, lin, w, w, h, kind, s, async)
				   : from_array(lin, w, a, x, y, w, h, kind, s, async);
		if (e) return e;
		lin += w * h;
		n -= w * h;
		y += h;
		x = 0;
	}
	return cudaSuccess;
}

cudaError_t rt_cudaMemcpyToArray(cudaArray_t dst, size_t x, size_t y, const void *src, size_t n,
				 enum cudaMemcpyKind kind)
{
	return array_rows(dst, x, y, (char *)src, n, kind, true, NULL, false);
}

cudaError_t rt_cudaMemcpyToArrayAsync(cudaArray_t dst, size_t x, size_t y, const void *src, size_t n,
				      enum cudaMemcpyKind kind, cudaStream_t s)
{
	return array_rows(dst, x, y, (char *)src, n, kind, true, s, true);
}

cudaError_t rt_cudaMemcpyFromArray(void *dst, cudaArray_const_t src, size_t x, size_t y, size_t n,
				   enum cudaMemcpyKind kind)
{
	return array_rows(src, x, y, dst, n, kind, false, NULL, false);
}

cudaError_t rt_cudaMemcpyFromArrayAsync(void *dst, cudaArray_const_t src, size_t x, size_t y, size_t n,
					enum cudaMemcpyKind kind, cudaStream_t s)
{
	return array_rows(src, x, y, dst, n, kind, false, s, true);
}

cudaError_t rt_cudaMemcpy2DArrayToArray(cudaArray_t dst, size_t dx, size_t dy, cudaArray_const_t src, size_t sx,
					size_t sy, size_t w, size_t h, enum cudaMemcpyKind kind)
{
	CHECK_KIND(kind);
	return copy3d(of_array(dst, dx, dy, 0), of_array(src, sx, sy, 0), w, h, 1, NULL, false);
}

cudaError_t rt_cudaMemcpyArrayToArray(cudaArray_t dst, size_t dx, size_t dy, cudaArray_const_t src, size_t sx,
				      size_t sy, size_t n, enum cudaMemcpyKind kind)
{
	CHECK_KIND(kind);
	return copy3d(of_array(dst, dx, dy, 0), of_array(src, sx, sy, 0), n, 1, 1, NULL, false);
}

static size_t array_element(cudaArray_const_t a)
{
	CUDA_ARRAY3D_DESCRIPTOR d;
	if (!a || rt_cu()->cuArray3DGetDescriptor_v2(&d, (CUarray)a)) return 1;
	size_t e = d.Format == CU_AD_FORMAT_UNSIGNED_INT8 || d.Format == CU_AD_FORMAT_SIGNED_INT8 ? 1
		   : d.Format == CU_AD_FORMAT_UNSIGNED_INT32 || d.Format == CU_AD_FORMAT_SIGNED_INT32 ||
				   d.Format == CU_AD_FORMAT_FLOAT
			   ? 4
			   : 2;
	return e * d.NumChannels;
}

/* cudaMemcpy3D: the extent's width and the positions' x count elements as soon as an array takes part, else bytes. */
static cudaError_t memcpy3d(const struct cudaMemcpy3DParms *p, cudaStream_t s, bool async)
{
	if (!p) return rt_error(cudaErrorInvalidValue);
	CHECK_KIND(p->kind);
	if ((!p->srcArray && !p->srcPtr.ptr) || (!p->dstArray && !p->dstPtr.ptr) || (p->srcArray && p->srcPtr.ptr) ||
	    (p->dstArray && p->dstPtr.ptr))
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (r) return rt_return(r);
	size_t e = p->srcArray ? array_element(p->srcArray) : p->dstArray ? array_element(p->dstArray) : 1;
	struct side src = p->srcArray ? of_array(p->srcArray, 0, 0, 0)
				      : linear(p->srcPtr.ptr, p->srcPtr.pitch, p->srcPtr.ysize, kind_src(p->kind));
	struct side dst = p->dstArray ? of_array(p->dstArray, 0, 0, 0)
				      : linear(p->dstPtr.ptr, p->dstPtr.pitch, p->dstPtr.ysize, kind_dst(p->kind));
	src.x = p->srcPos.x * (p->srcArray ? e : 1);
	dst.x = p->dstPos.x * (p->dstArray ? e : 1);
	src.y = p->srcPos.y; src.z = p->srcPos.z;
	dst.y = p->dstPos.y; dst.z = p->dstPos.z;
	return copy3d(dst, src, p->extent.width * e, p->extent.height, p->extent.depth, s, async);
}

cudaError_t rt_cudaMemcpy3D(const struct cudaMemcpy3DParms *p) { return memcpy3d(p, NULL, false); }
cudaError_t rt_cudaMemcpy3DAsync(const struct cudaMemcpy3DParms *p, cudaStream_t s) { return memcpy3d(p, s, true); }

/* --- fills --------------------------------------------------------------------------------------- */

static cudaError_t fill(void *p, size_t pitch, int value, size_t w, size_t h, cudaStream_t s, bool async)
{
	CUresult r = rt_init();
	if (r) return rt_return(r);
	if (!w || !h) return cudaSuccess;
	const struct ag_driver *d = rt_cu();
	bool plain = !async && !rt_per_thread_default;
	if (h == 1)
		r = plain ? d->cuMemsetD8_v2(dp(p), (unsigned char)value, w)
			  : d->cuMemsetD8Async(dp(p), (unsigned char)value, w, (CUstream)rt_stream(s));
	else
		r = plain ? d->cuMemsetD2D8_v2(dp(p), pitch, (unsigned char)value, w, h)
		          : d->cuMemsetD2D8Async(dp(p), pitch, (unsigned char)value, w, h, (CUstream)rt_stream(s));
	return rt_return(r); /* a fill of device memory is asynchronous under every name */
}

cudaError_t rt_cudaMemset(void *p, int value, size_t n) { return fill(p, n, value, n, 1, NULL, false); }
cudaError_t rt_cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s)
{
	return fill(p, n, value, n, 1, s, true);
}
cudaError_t rt_cudaMemset2D(void *p, size_t pitch, int value, size_t w, size_t h)
{
	return fill(p, pitch, value, w, h, NULL, false);
}

cudaError_t rt_cudaMemset2DAsync(void *p, size_t pitch, int value, size_t w, size_t h, cudaStream_t s)
{
	return fill(p, pitch, value, w, h, s, true);
}

static cudaError_t fill3d(struct cudaPitchedPtr p, int value, struct cudaExtent e, cudaStream_t s, bool async)
{
	if (e.depth <= 1 || e.height == p.ysize)
		return fill(p.ptr, p.pitch, value, e.width, e.height * e.depth, s, async);
	for (size_t z = 0; z < e.depth; z++) {
		cudaError_t r =
			fill((char *)p.ptr + z * p.ysize * p.pitch, p.pitch, value, e.width, e.height, s, async);
		if (r) return r;
	}
	return cudaSuccess;
}

cudaError_t rt_cudaMemset3D(struct cudaPitchedPtr p, int value, struct cudaExtent e)
{
	return fill3d(p, value, e, NULL, false);
}
cudaError_t rt_cudaMemset3DAsync(struct cudaPitchedPtr p, int value, struct cudaExtent e, cudaStream_t s)
{
	return fill3d(p, value, e, s, true);
}
