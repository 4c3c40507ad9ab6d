/* texture.c - how guarded kernels name textures: the low word of the program's handle, which is the id's index, looks
 * up the session's table (guard.h).  Every other entry of the table names a texture of the worker's own with a single
 * zero in it, because a number that the driver never gave out may be another client's texture. */
#include <stdlib.h>
#include <string.h>
#include "session.h"

CUresult session_loader(struct session *s)
{
	return s->loader ? CUDA_SUCCESS : s->d->cuStreamCreate(&s->loader, CU_STREAM_NON_BLOCKING);
}

static CUresult set(struct session *s, uint32_t index, uint64_t handle)
{
	CUresult r = session_loader(s);

	if (!r)
		r = s->d->cuMemcpyHtoDAsync_v2(s->textures + index * sizeof handle, &handle, sizeof handle, s->loader);
	return r ? r : s->d->cuStreamSynchronize(s->loader);
}

CUresult texture_unname(struct session *s, ag_id id)
{
	return id && AG_ID_INDEX(id) < TEXTURES ? set(s, AG_ID_INDEX(id), s->w->no_texture) : CUDA_SUCCESS;
}

unsigned texture_channel_bytes(CUarray_format f)
{
	switch (f) {
	case CU_AD_FORMAT_UNSIGNED_INT8:
	case CU_AD_FORMAT_SIGNED_INT8: return 1;
	case CU_AD_FORMAT_UNSIGNED_INT16:
	case CU_AD_FORMAT_SIGNED_INT16:
	case CU_AD_FORMAT_HALF: return 2;
	case CU_AD_FORMAT_UNSIGNED_INT32:
	case CU_AD_FORMAT_SIGNED_INT32:
	case CU_AD_FORMAT_FLOAT: return 4;
	default: return 0;
	}
}

/* Rows in memory were checked as pitch times height: none may be wider than its pitch. */
static bool rows_fit(const CUDA_RESOURCE_DESC *d)
{
	uint64_t texel = (uint64_t)texture_channel_bytes(d->res.pitch2D.format) * d->res.pitch2D.numChannels;

	return d->resType != CU_RESOURCE_TYPE_PITCH2D ||
	       (texel && d->res.pitch2D.width <= d->res.pitch2D.pitchInBytes / texel);
}

/* Bytes of a texel as a view reads it; 0: block-compressed, which nothing here is. */
static unsigned view_bytes(CUresourceViewFormat f)
{
	static const uint8_t channel[] = { 1, 1, 2, 2, 4, 4, 2, 4 }, channels[] = { 1, 2, 4 };

	if (f < CU_RES_VIEW_FORMAT_UINT_1X8 || f > CU_RES_VIEW_FORMAT_FLOAT_4X32)
		return 0;
	unsigned i = (unsigned)(f - CU_RES_VIEW_FORMAT_UINT_1X8);
	return channel[i / 3] * channels[i % 3];
}

/* A view may change how a texel is read, not how many there are: whether the driver sees to that is not documented. */
static bool view_fits(const struct session *s, const CUDA_RESOURCE_DESC *d, CUtexObject real)
{
	CUDA_RESOURCE_VIEW_DESC v, none;
	CUDA_ARRAY3D_DESCRIPTOR a;

	memset(&v, 0, sizeof v);
	memset(&none, 0, sizeof none);
	if (s->d->cuTexObjectGetResourceViewDesc(&v, real) || !memcmp(&v, &none, sizeof v))
		return true;
	if (d->resType != CU_RESOURCE_TYPE_ARRAY || s->d->cuArray3DGetDescriptor_v2(&a, d->res.array.hArray))
		return false;
	unsigned texel = texture_channel_bytes(a.Format) * a.NumChannels;
	if (v.format != CU_RES_VIEW_FORMAT_NONE && view_bytes(v.format) != texel)
		return false;
	size_t layers = a.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP) && a.Depth ? a.Depth : 1;
	return v.width == a.Width && v.height == a.Height && v.depth == a.Depth && !v.firstMipmapLevel &&
	       !v.lastMipmapLevel && v.firstLayer <= v.lastLayer && v.lastLayer < layers;
}

CUresult object_texture_made(struct session *s, ag_id id, CUtexObject real)
{
	CUDA_RESOURCE_DESC d;
	CUresult r = s->d->cuTexObjectGetResourceDesc(&d, real);

	if (!r && (!rows_fit(&d) || !view_fits(s, &d, real)))
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r && AG_ID_INDEX(id) >= TEXTURES)
		r = CUDA_ERROR_OUT_OF_MEMORY;
	return r ? r : set(s, AG_ID_INDEX(id), real);
}

/* --- the empty texture ------------------------------------------------------------------------------ */

static CUresult make_array(struct worker *w)
{
	const struct ag_driver *d = w->d;
	CUDA_ARRAY_DESCRIPTOR a = { 1, 1, CU_AD_FORMAT_FLOAT, 1 };
	static const float zero;
	CUDA_MEMCPY2D c;

	memset(&c, 0, sizeof c);
	CUresult r = d->cuArrayCreate_v2(&w->no_array, &a);
	c.srcMemoryType = CU_MEMORYTYPE_HOST;
	c.srcHost = &zero;
	c.srcPitch = c.WidthInBytes = sizeof zero;
	c.dstMemoryType = CU_MEMORYTYPE_ARRAY;
	c.dstArray = w->no_array;
	c.Height = 1;
	if (!r)
		r = d->cuMemcpy2DAsync_v2(&c, w->control);
	return r ? r : d->cuStreamSynchronize(w->control);
}

CUresult textures_open(struct worker *w)
{
	CUDA_RESOURCE_DESC res;
	CUDA_TEXTURE_DESC t;
	CUresult r = make_array(w);

	memset(&res, 0, sizeof res);
	memset(&t, 0, sizeof t);
	res.resType = CU_RESOURCE_TYPE_ARRAY;
	res.res.array.hArray = w->no_array;
	t.addressMode[0] = t.addressMode[1] = t.addressMode[2] = CU_TR_ADDRESS_MODE_CLAMP;
	if (!r)
		r = w->d->cuTexObjectCreate(&w->no_texture, &res, &t, NULL);
	/* A driver without texture objects has none that a number could name. */
	if (r == CUDA_ERROR_NOT_SUPPORTED)
		r = CUDA_SUCCESS;
	if (!r)
		r = w->d->cuMemAlloc_v2(&w->textures, (size_t)AG_WINDOW_COUNT * TEXTURES * sizeof(uint64_t));
	return r ? r : surfaces_open(w);
}

void textures_close(struct worker *w)
{
	if (w->no_texture)
		w->d->cuTexObjectDestroy(w->no_texture);
	if (w->no_array)
		w->d->cuArrayDestroy(w->no_array);
	w->d->cuMemFree_v2(w->textures);
	surfaces_close(w);
}

CUresult textures_attach(struct session *s)
{
	uint64_t *none = malloc(TEXTURES * sizeof *none);

	if (!none)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (unsigned i = 0; i < TEXTURES; i++)
		none[i] = s->w->no_texture;
	s->textures = s->w->textures + (CUdeviceptr)s->k * TEXTURES * sizeof *none;
	CUresult r = s->d->cuMemcpyHtoDAsync_v2(s->textures, none, TEXTURES * sizeof *none, s->w->control);
	if (!r)
		r = s->d->cuStreamSynchronize(s->w->control);
	free(none);
	return r ? r : surfaces_attach(s);
}
