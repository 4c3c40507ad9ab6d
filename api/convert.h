/* convert.h - between the Runtime's and the Driver's way to say the same thing: channel formats, arrays, texture
 * resources, graph node
 * parameters.  Used by the generated lowering (api/cudart.lua).  Every function returns what the Runtime reports for
 * values that have no
 * counterpart; results are written only on success. */
#ifndef AG_API_CONVERT_H
#define AG_API_CONVERT_H

#include <cuda_runtime_api.h>
#include <string.h>
#include "client/client.h"
#include "client/runtime.h"

/* --- channel formats ------------------------------------------------------------------------- */

static inline unsigned cv_format_bytes(CUarray_format f)
{
	switch (f) {
	case CU_AD_FORMAT_UNSIGNED_INT8: case CU_AD_FORMAT_SIGNED_INT8: return 1;
	case CU_AD_FORMAT_UNSIGNED_INT16: case CU_AD_FORMAT_SIGNED_INT16: case CU_AD_FORMAT_HALF: return 2;
	case CU_AD_FORMAT_UNSIGNED_INT32: case CU_AD_FORMAT_SIGNED_INT32: case CU_AD_FORMAT_FLOAT: return 4;
	default: return 0;
	}
}

/* All used channels have one width (8, 16, 32); 1, 2 or 4 of them, without gaps. */
static inline cudaError_t cv_channel(const struct cudaChannelFormatDesc *d, CUarray_format *format, unsigned *channels)
{
	static const CUarray_format by_kind[3][3] = {
		[cudaChannelFormatKindSigned] = { CU_AD_FORMAT_SIGNED_INT8, CU_AD_FORMAT_SIGNED_INT16,
			CU_AD_FORMAT_SIGNED_INT32 },
		[cudaChannelFormatKindUnsigned] = { CU_AD_FORMAT_UNSIGNED_INT8, CU_AD_FORMAT_UNSIGNED_INT16,
			CU_AD_FORMAT_UNSIGNED_INT32 },
		[cudaChannelFormatKindFloat] = { 0, CU_AD_FORMAT_HALF, CU_AD_FORMAT_FLOAT },
	};
	if (!d)
		return cudaErrorInvalidValue;
	const int bits[4] = { d->x, d->y, d->z, d->w };
	unsigned n = 0;
	while (n < 4 && bits[n] > 0)
		n++;
	for (unsigned i = 0; i < 4; i++)
		if (bits[i] != (i < n ? d->x : 0))
			return cudaErrorInvalidChannelDescriptor;
	int width = d->x == 8 ? 0 : d->x == 16 ? 1 : d->x == 32 ? 2 : -1;
	if (n == 0 || n == 3 || width < 0 || (unsigned)d->f > cudaChannelFormatKindFloat || !by_kind[d->f][width])
		return cudaErrorInvalidChannelDescriptor;
	*format = by_kind[d->f][width];
	*channels = n;
	return cudaSuccess;
}

static inline cudaError_t cv_channel_back(CUarray_format format, unsigned channels, struct cudaChannelFormatDesc *d)
{
	int bits = (int)cv_format_bytes(format) * 8;
	if (!bits || channels > 4)
		return cudaErrorNotSupported;
	bool is_float = format == CU_AD_FORMAT_HALF || format == CU_AD_FORMAT_FLOAT;
	bool is_signed = format == CU_AD_FORMAT_SIGNED_INT8 || format == CU_AD_FORMAT_SIGNED_INT16
		|| format == CU_AD_FORMAT_SIGNED_INT32;
	*d = (struct cudaChannelFormatDesc){ bits, channels > 1 ? bits : 0, channels > 2 ? bits : 0,
		channels > 3 ? bits : 0,
		is_float ? cudaChannelFormatKindFloat : is_signed ? cudaChannelFormatKindSigned
			: cudaChannelFormatKindUnsigned };
	return cudaSuccess;
}

/* --- arrays ---------------------------------------------------------------------------------- */

static inline cudaError_t cv_array(const struct cudaChannelFormatDesc *d, struct cudaExtent e, unsigned flags,
	CUDA_ARRAY3D_DESCRIPTOR *out)
{
	CUDA_ARRAY3D_DESCRIPTOR a = { .Width = e.width, .Height = e.height, .Depth = e.depth, .Flags = flags };
	cudaError_t r = cv_channel(d, &a.Format, &a.NumChannels);
	if (r == cudaSuccess)
		*out = a;
	return r;
}

/* --- texture and surface resources ----------------------------------------------------------- */

static inline cudaError_t cv_resource(const struct cudaResourceDesc *d, CUDA_RESOURCE_DESC *out)
{
	CUDA_RESOURCE_DESC r = { .flags = 0 };
	cudaError_t e = cudaSuccess;
	if (!d)
		return cudaErrorInvalidValue;
	switch (d->resType) {
	case cudaResourceTypeArray:
		r.resType = CU_RESOURCE_TYPE_ARRAY;
		r.res.array.hArray = (CUarray)d->res.array.array;
		break;
	case cudaResourceTypeMipmappedArray:
		r.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
		r.res.mipmap.hMipmappedArray = (CUmipmappedArray)d->res.mipmap.mipmap;
		break;
	case cudaResourceTypeLinear:
		r.resType = CU_RESOURCE_TYPE_LINEAR;
		r.res.linear.devPtr = (CUdeviceptr)(uintptr_t)d->res.linear.devPtr;
		r.res.linear.sizeInBytes = d->res.linear.sizeInBytes;
		e = cv_channel(&d->res.linear.desc, &r.res.linear.format, &r.res.linear.numChannels);
		break;
	case cudaResourceTypePitch2D:
		r.resType = CU_RESOURCE_TYPE_PITCH2D;
		r.res.pitch2D.devPtr = (CUdeviceptr)(uintptr_t)d->res.pitch2D.devPtr;
		r.res.pitch2D.width = d->res.pitch2D.width;
		r.res.pitch2D.height = d->res.pitch2D.height;
		r.res.pitch2D.pitchInBytes = d->res.pitch2D.pitchInBytes;
		e = cv_channel(&d->res.pitch2D.desc, &r.res.pitch2D.format, &r.res.pitch2D.numChannels);
		break;
	default:
		e = cudaErrorInvalidValue;
	}
	if (e == cudaSuccess)
		*out = r;
	return e;
}

static inline cudaError_t cv_resource_back(const CUDA_RESOURCE_DESC *d, struct cudaResourceDesc *out)
{
	struct cudaResourceDesc r;
	cudaError_t e = cudaSuccess;
	memset(&r, 0, sizeof r);
	switch (d->resType) {
	case CU_RESOURCE_TYPE_ARRAY:
		r.resType = cudaResourceTypeArray;
		r.res.array.array = (cudaArray_t)d->res.array.hArray;
		break;
	case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
		r.resType = cudaResourceTypeMipmappedArray;
		r.res.mipmap.mipmap = (cudaMipmappedArray_t)d->res.mipmap.hMipmappedArray;
		break;
	case CU_RESOURCE_TYPE_LINEAR:
		r.resType = cudaResourceTypeLinear;
		r.res.linear.devPtr = (void *)(uintptr_t)d->res.linear.devPtr;
		r.res.linear.sizeInBytes = d->res.linear.sizeInBytes;
		e = cv_channel_back(d->res.linear.format, d->res.linear.numChannels, &r.res.linear.desc);
		break;
	case CU_RESOURCE_TYPE_PITCH2D:
		r.resType = cudaResourceTypePitch2D;
		r.res.pitch2D.devPtr = (void *)(uintptr_t)d->res.pitch2D.devPtr;
		r.res.pitch2D.width = d->res.pitch2D.width;
		r.res.pitch2D.height = d->res.pitch2D.height;
		r.res.pitch2D.pitchInBytes = d->res.pitch2D.pitchInBytes;
		e = cv_channel_back(d->res.pitch2D.format, d->res.pitch2D.numChannels, &r.res.pitch2D.desc);
		break;
	default:
		e = cudaErrorNotSupported;
	}
	if (e == cudaSuccess)
		*out = r;
	return e;
}

/* readMode is the Driver's "read as integer" flag the other way round; 32-bit integers have no normalized form. */
static inline CUDA_TEXTURE_DESC cv_texture(const struct cudaTextureDesc *d)
{
	CUDA_TEXTURE_DESC t = { .filterMode = (CUfilter_mode)d->filterMode, .maxAnisotropy = d->maxAnisotropy,
		.mipmapFilterMode = (CUfilter_mode)d->mipmapFilterMode, .mipmapLevelBias = d->mipmapLevelBias,
		.minMipmapLevelClamp = d->minMipmapLevelClamp, .maxMipmapLevelClamp = d->maxMipmapLevelClamp };
	for (int i = 0; i < 3; i++)
		t.addressMode[i] = (CUaddress_mode)d->addressMode[i];
	for (int i = 0; i < 4; i++)
		t.borderColor[i] = d->borderColor[i];
	t.flags = (d->readMode == cudaReadModeElementType ? CU_TRSF_READ_AS_INTEGER : 0)
		| (d->normalizedCoords ? CU_TRSF_NORMALIZED_COORDINATES : 0) | (d->sRGB ? CU_TRSF_SRGB : 0)
		| (d->disableTrilinearOptimization ? CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION : 0) | (d->seamlessCubemap
			? CU_TRSF_SEAMLESS_CUBEMAP : 0);
	return t;
}

static inline struct cudaTextureDesc cv_texture_back(const CUDA_TEXTURE_DESC *t)
{
	struct cudaTextureDesc d;
	memset(&d, 0, sizeof d);
	for (int i = 0; i < 3; i++)
		d.addressMode[i] = (enum cudaTextureAddressMode)t->addressMode[i];
	for (int i = 0; i < 4; i++)
		d.borderColor[i] = t->borderColor[i];
	d.filterMode = (enum cudaTextureFilterMode)t->filterMode;
	d.mipmapFilterMode = (enum cudaTextureFilterMode)t->mipmapFilterMode;
	d.readMode = t->flags & CU_TRSF_READ_AS_INTEGER ? cudaReadModeElementType : cudaReadModeNormalizedFloat;
	d.sRGB = !!(t->flags & CU_TRSF_SRGB);
	d.normalizedCoords = !!(t->flags & CU_TRSF_NORMALIZED_COORDINATES);
	d.disableTrilinearOptimization = !!(t->flags & CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION);
	d.seamlessCubemap = !!(t->flags & CU_TRSF_SEAMLESS_CUBEMAP);
	d.maxAnisotropy = t->maxAnisotropy;
	d.mipmapLevelBias = t->mipmapLevelBias;
	d.minMipmapLevelClamp = t->minMipmapLevelClamp;
	d.maxMipmapLevelClamp = t->maxMipmapLevelClamp;
	return d;
}

static inline CUDA_RESOURCE_VIEW_DESC cv_view(const struct cudaResourceViewDesc *d)
{
	return (CUDA_RESOURCE_VIEW_DESC){ .format = (CUresourceViewFormat)d->format, .width = d->width,
		.height = d->height, .depth = d->depth,
		.firstMipmapLevel = d->firstMipmapLevel, .lastMipmapLevel = d->lastMipmapLevel,
			.firstLayer = d->firstLayer, .lastLayer = d->lastLayer };
}

static inline struct cudaResourceViewDesc cv_view_back(const CUDA_RESOURCE_VIEW_DESC *d)
{
	struct cudaResourceViewDesc v;
	memset(&v, 0, sizeof v);
	v.format = (enum cudaResourceViewFormat)d->format;
	v.width = d->width;
	v.height = d->height;
	v.depth = d->depth;
	v.firstMipmapLevel = d->firstMipmapLevel;
	v.lastMipmapLevel = d->lastMipmapLevel;
	v.firstLayer = d->firstLayer;
	v.lastLayer = d->lastLayer;
	return v;
}

/* --- graph nodes ------------------------------------------------------------------------------ */

static inline cudaError_t cv_kernel_node(const struct cudaKernelNodeParams *p, CUDA_KERNEL_NODE_PARAMS *out)
{
	CUkernel kernel = NULL;
	if (!p)
		return cudaErrorInvalidValue;
	CUresult r = rt_kernel(p->func, &kernel);
	if (r)
		return rt_from_driver(r);
	*out = (CUDA_KERNEL_NODE_PARAMS){ .gridDimX = p->gridDim.x, .gridDimY = p->gridDim.y, .gridDimZ = p->gridDim.z,
		.blockDimX = p->blockDim.x, .blockDimY = p->blockDim.y, .blockDimZ = p->blockDim.z,
			.sharedMemBytes = p->sharedMemBytes,
		.kernelParams = p->kernelParams, .extra = p->extra, .kern = kernel };
	return cudaSuccess;
}

static inline unsigned cv_element_bytes(cudaArray_const_t array)
{
	CUDA_ARRAY3D_DESCRIPTOR d;
	if (!array || rt_cu()->cuArray3DGetDescriptor_v2(&d, (CUarray)(uintptr_t)array))
		return 1;
	unsigned bytes = cv_format_bytes(d.Format) * d.NumChannels;
	return bytes ? bytes : 1;
}

static inline CUmemorytype cv_memory_type(bool host_side, bool array, enum cudaMemcpyKind kind)
{
	return array ? CU_MEMORYTYPE_ARRAY : kind == cudaMemcpyDefault ? CU_MEMORYTYPE_UNIFIED : host_side
		? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
}

/* cudaMemcpy3D counts x and width in elements of the array, where one takes part, the Driver in bytes. */
static inline cudaError_t cv_copy3d(const struct cudaMemcpy3DParms *p, CUDA_MEMCPY3D *out)
{
	if (!p || (unsigned)p->kind > cudaMemcpyDefault || !p->srcArray == !p->srcPtr.ptr
		|| !p->dstArray == !p->dstPtr.ptr)
		return cudaErrorInvalidValue;
	unsigned element = p->srcArray ? cv_element_bytes(p->srcArray) : p->dstArray ? cv_element_bytes(p->dstArray)
		: 1;
	CUDA_MEMCPY3D c = { .srcXInBytes = p->srcPos.x * (p->srcArray ? element : 1), .srcY = p->srcPos.y,
		.srcZ = p->srcPos.z,
		.dstXInBytes = p->dstPos.x * (p->dstArray ? element : 1), .dstY = p->dstPos.y, .dstZ = p->dstPos.z,
		.srcPitch = p->srcPtr.pitch, .srcHeight = p->srcPtr.ysize, .dstPitch = p->dstPtr.pitch,
			.dstHeight = p->dstPtr.ysize,
		.srcArray = (CUarray)p->srcArray, .dstArray = (CUarray)p->dstArray,
		.WidthInBytes = p->extent.width * element, .Height = p->extent.height, .Depth = p->extent.depth };
	c.srcMemoryType = cv_memory_type(p->kind == cudaMemcpyHostToHost || p->kind == cudaMemcpyHostToDevice,
		p->srcArray, p->kind);
	c.dstMemoryType = cv_memory_type(p->kind == cudaMemcpyHostToHost || p->kind == cudaMemcpyDeviceToHost,
		p->dstArray, p->kind);
	c.srcHost = c.srcMemoryType == CU_MEMORYTYPE_HOST ? p->srcPtr.ptr : NULL;
	c.srcDevice = (CUdeviceptr)(uintptr_t)p->srcPtr.ptr;
	c.dstHost = c.dstMemoryType == CU_MEMORYTYPE_HOST ? p->dstPtr.ptr : NULL;
	c.dstDevice = (CUdeviceptr)(uintptr_t)p->dstPtr.ptr;
	*out = c;
	return cudaSuccess;
}

static inline cudaError_t cv_copy1d(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind,
	CUDA_MEMCPY3D *out)
{
	struct cudaMemcpy3DParms p;
	memset(&p, 0, sizeof p);
	p.srcPtr = (struct cudaPitchedPtr){ (void *)(uintptr_t)src, bytes, bytes, 1 };
	p.dstPtr = (struct cudaPitchedPtr){ dst, bytes, bytes, 1 };
	p.extent = (struct cudaExtent){ bytes, 1, 1 };
	p.kind = kind;
	return cv_copy3d(&p, out);
}

/* The part [offset, offset + bytes) of a device variable. */
static inline cudaError_t cv_symbol(const void *symbol, size_t bytes, size_t offset, void **addr)
{
	CUdeviceptr base;
	size_t size;
	cudaError_t e = rt_symbol(symbol, &base, &size);
	if (e != cudaSuccess)
		return e;
	if (offset > size || bytes > size - offset)
		return cudaErrorInvalidValue;
	*addr = (void *)(uintptr_t)(base + offset);
	return cudaSuccess;
}

static inline cudaError_t cv_memset_node(const struct cudaMemsetParams *p, CUDA_MEMSET_NODE_PARAMS *out)
{
	if (!p)
		return cudaErrorInvalidValue;
	*out = (CUDA_MEMSET_NODE_PARAMS){ .dst = (CUdeviceptr)(uintptr_t)p->dst, .pitch = p->pitch, .value = p->value,
		.elementSize = p->elementSize, .width = p->width, .height = p->height };
	return cudaSuccess;
}

static inline struct cudaMemsetParams cv_memset_node_back(const CUDA_MEMSET_NODE_PARAMS *p)
{
	return (struct cudaMemsetParams){ .dst = (void *)(uintptr_t)p->dst, .pitch = p->pitch, .value = p->value,
		.elementSize = p->elementSize, .width = p->width, .height = p->height };
}

#endif
