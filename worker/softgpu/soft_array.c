/* soft_array.c - CUDA arrays: rows of elements in device memory, in one, two or three dimensions, layered or cubemaps.
 * The layout is plain (rows of 512 bytes' multiple); programs see it only through copies, textures and surfaces.
 * Owns: arrays and their storage in the context's heap. */
#include "soft_internal.h"

static struct soft_array *arrays;

unsigned soft_format_bytes(CUarray_format f)
{
	switch (f) {
	case CU_AD_FORMAT_UNSIGNED_INT8:
	case CU_AD_FORMAT_SIGNED_INT8:
		return 1;
	case CU_AD_FORMAT_UNSIGNED_INT16:
	case CU_AD_FORMAT_SIGNED_INT16:
	case CU_AD_FORMAT_HALF:
		return 2;
	case CU_AD_FORMAT_UNSIGNED_INT32:
	case CU_AD_FORMAT_SIGNED_INT32:
	case CU_AD_FORMAT_FLOAT:
		return 4;
	default:
		return 0;
	}
}

static void array_free(struct soft_obj *o)
{
	struct soft_array *a = (struct soft_array *)o, **p = &arrays;
	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	if (a->mem)
		soft_heap_release(a->mem);
	free(a);
}

void soft_arrays_drop(struct soft_ctx *c)
{
	for (struct soft_array *a = arrays, *next; a; a = next) {
		next = a->next;
		if (a->ctx != c)
			continue;
		soft_obj_hide(&a->obj);
		soft_unref(&a->obj);
	}
}

/* Limits of an H200, by kind of array. */
static bool dimensions_ok(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	bool layered = d->Flags & CUDA_ARRAY3D_LAYERED, cube = d->Flags & CUDA_ARRAY3D_CUBEMAP;
	if (!d->Width)
		return false;
	if (cube)
		return d->Width == d->Height && d->Width <= 32768 &&
		       (layered ? d->Depth && d->Depth % 6 == 0 && d->Depth <= 2046 : d->Depth == 6);
	if (layered)
		return d->Width <= 32768 && d->Height <= 32768 && d->Depth && d->Depth <= 2048;
	if (d->Depth)
		return d->Height && d->Width <= 16384 && d->Height <= 16384 && d->Depth <= 16384;
	return d->Height ? d->Width <= 131072 && d->Height <= 65536 : d->Width <= 131072;
}

CUresult soft_array_new(struct soft_ctx *c, const CUDA_ARRAY3D_DESCRIPTOR *d, struct soft_array **out)
{
	unsigned known = CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP |
		CUDA_ARRAY3D_TEXTURE_GATHER | CUDA_ARRAY3D_COLOR_ATTACHMENT;
	unsigned bytes = soft_format_bytes(d->Format);
	bool channels = d->NumChannels == 1 || d->NumChannels == 2 || d->NumChannels == 4;
	if (!bytes || !channels || !dimensions_ok(d))
		return CUDA_ERROR_INVALID_VALUE;
	if (d->Flags & ~known)
		return CUDA_ERROR_NOT_SUPPORTED;
	struct soft_array *a = calloc(1, sizeof *a);
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	soft_obj_init(&a->obj, SOFT_ARRAY, array_free);
	a->next = arrays;
	arrays = a;
	a->ctx = c;
	a->desc = *d;
	a->elem = bytes * d->NumChannels;
	a->planes = d->Depth ? d->Depth : 1;
	a->pitch = (d->Width * a->elem + 511) & ~511ull;
	a->slice = a->pitch * (d->Height ? d->Height : 1);
	CUresult r = soft_heap_alloc(c->heap, a->slice * a->planes, 512, SOFT_R_ARRAY, c, &a->mem);
	if (r)
		soft_unref(&a->obj);
	else
		*out = a;
	return r;
}

CUresult soft_cuArray3DCreate_v2(CUarray *out, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_array *a;
	r = out && d ? soft_array_new(c, d, &a) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*out = (CUarray)a;
	return soft_leave(r);
}

CUresult soft_cuArrayCreate_v2(CUarray *out, const CUDA_ARRAY_DESCRIPTOR *d)
{
	if (!d)
		return CUDA_ERROR_INVALID_VALUE;
	CUDA_ARRAY3D_DESCRIPTOR e = {
		.Width = d->Width, .Height = d->Height, .Format = d->Format, .NumChannels = d->NumChannels
	};
	return soft_cuArray3DCreate_v2(out, &e);
}

static CUresult enter_array(CUarray h, const void *argument, struct soft_array **a)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	*a = soft_obj_find(SOFT_ARRAY, h);
	return !*a	  ? soft_leave(CUDA_ERROR_INVALID_HANDLE)
	       : argument ? CUDA_SUCCESS
			  : soft_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult soft_cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *d, CUarray h)
{
	struct soft_array *a;
	CUresult r = enter_array(h, d, &a);
	if (r)
		return r;
	*d = a->desc;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *d, CUarray h)
{
	struct soft_array *a;
	CUresult r = enter_array(h, d, &a);
	if (r)
		return r;
	*d = (CUDA_ARRAY_DESCRIPTOR){ a->desc.Width, a->desc.Height, a->desc.Format, a->desc.NumChannels };
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *out, CUarray h, CUdevice dev)
{
	struct soft_array *a;
	CUresult r = enter_array(h, out, &a);
	if (r)
		return r;
	if (!soft_device_ok(dev))
		return soft_leave(CUDA_ERROR_INVALID_DEVICE);
	*out = (CUDA_ARRAY_MEMORY_REQUIREMENTS){ .size = a->mem->e.size, .alignment = 512 };
	return soft_leave(CUDA_SUCCESS);
}

/* As with memory: after the work that may use it. */
CUresult soft_cuArrayDestroy(CUarray h)
{
	struct soft_array *a;
	CUresult r = enter_array(h, h, &a);
	if (r)
		return r;
	if (a->of_mipmap)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	r = soft_ctx_sync(a->ctx);
	if (!r && soft_obj_find(SOFT_ARRAY, h) == a) {
		soft_obj_hide(&a->obj);
		soft_unref(&a->obj);
	}
	return soft_leave(r);
}
