/* surface.c - how guarded kernels name surfaces: as textures (texture.c), in a table of their own, so that neither kind
 * can be taken for the other.  An entry holds a handle for each geometry and size of access (struct guard_surface):
 * where it does not fit the array, and where no surface has this index, that of an empty surface, an array of one
 * element.  Kernels can write to these, so each window number has its own, and a session finds them zero.
 *
 * Accesses go by bytes (.b) and are no wider than what a row is a multiple of.  They are aligned to their size, so each
 * lies in one row or outside of all, which the hardware's .clamp and .zero take care of; no byte beside the array's
 * texels is ever reached, whatever lies between its rows. */
#include <stdlib.h>
#include <string.h>
#include "session.h"

static CUresult set(struct session *s, uint32_t index, const struct guard_surface *e)
{
	CUresult r = session_loader(s);

	if (!r)
		r = s->d->cuMemcpyHtoDAsync_v2(s->surfaces + index * sizeof *e, e, sizeof *e, s->loader);
	return r ? r : s->d->cuStreamSynchronize(s->loader);
}

static struct guard_surface nothing(const struct session *s)
{
	const struct no_surface *none = &s->w->no_surface[s->k];
	struct guard_surface e = { .query = none->object[GUARD_2D] };

	for (unsigned g = 0; g < GUARD_GEOMETRIES; g++)
		for (unsigned i = 0; i < 5; i++)
			e.handle[g][i] = none->object[g];
	return e;
}

static enum guard_geometry geometry_of(const CUDA_ARRAY3D_DESCRIPTOR *a)
{
	if (a->Flags & CUDA_ARRAY3D_CUBEMAP) /* its faces are layers */
		return GUARD_A2D;
	if (a->Flags & CUDA_ARRAY3D_LAYERED)
		return a->Height ? GUARD_A2D : GUARD_A1D;
	return a->Depth ? GUARD_3D : a->Height ? GUARD_2D : GUARD_1D;
}

CUresult object_surface_made(struct session *s, ag_id id, CUsurfObject real)
{
	struct guard_surface e = nothing(s);
	CUDA_RESOURCE_DESC d;
	CUDA_ARRAY3D_DESCRIPTOR a;
	CUresult r = s->d->cuSurfObjectGetResourceDesc(&d, real);

	if (!r && d.resType != CU_RESOURCE_TYPE_ARRAY)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = s->d->cuArray3DGetDescriptor_v2(&a, d.res.array.hArray);
	if (r)
		return r;
	uint64_t row = (uint64_t)a.Width * a.NumChannels * texture_channel_bytes(a.Format);
	if (!row || !(a.Flags & CUDA_ARRAY3D_SURFACE_LDST))
		return CUDA_ERROR_INVALID_VALUE;
	if (AG_ID_INDEX(id) >= SURFACES)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e.query = real;
	for (unsigned i = 0; i < 5 && row % (1u << i) == 0; i++)
		e.handle[geometry_of(&a)][i] = real;
	return set(s, AG_ID_INDEX(id), &e);
}

CUresult surface_unname(struct session *s, ag_id id)
{
	struct guard_surface e = nothing(s);

	return id && AG_ID_INDEX(id) < SURFACES ? set(s, AG_ID_INDEX(id), &e) : CUDA_SUCCESS;
}

/* --- the empty surfaces ----------------------------------------------------------------------------- */

CUresult surfaces_open(struct worker *w)
{
	return w->d->cuMemAlloc_v2(&w->surfaces, (size_t)AG_WINDOW_COUNT * SURFACES * sizeof(struct guard_surface));
}

void surfaces_close(struct worker *w)
{
	for (unsigned k = 0; k < AG_WINDOW_COUNT; k++)
		for (unsigned g = 0; g < GUARD_GEOMETRIES; g++) {
			if (w->no_surface[k].object[g])
				w->d->cuSurfObjectDestroy(w->no_surface[k].object[g]);
			if (w->no_surface[k].array[g])
				w->d->cuArrayDestroy(w->no_surface[k].array[g]);
		}
	w->d->cuMemFree_v2(w->surfaces);
}

/* One element of 16 bytes: accesses of all sizes fit it. */
static CUresult make(const struct ag_driver *d, struct no_surface *none)
{
	CUDA_RESOURCE_DESC res;
	CUresult r = CUDA_SUCCESS;

	memset(&res, 0, sizeof res);
	res.resType = CU_RESOURCE_TYPE_ARRAY;
	for (unsigned g = 0; g < GUARD_GEOMETRIES && !r; g++) {
		bool layered = g == GUARD_A1D || g == GUARD_A2D;
		CUDA_ARRAY3D_DESCRIPTOR a = { .Width = 1, .Height = g == GUARD_1D || g == GUARD_A1D ? 0 : 1,
			.Depth = layered || g == GUARD_3D ? 1 : 0, .Format = CU_AD_FORMAT_UNSIGNED_INT32,
			.NumChannels = 4,
			.Flags = CUDA_ARRAY3D_SURFACE_LDST | (layered ? CUDA_ARRAY3D_LAYERED : 0) };
		if (!none->array[g])
			r = d->cuArray3DCreate_v2(&none->array[g], &a);
		res.res.array.hArray = none->array[g];
		if (!r && !none->object[g])
			r = d->cuSurfObjectCreate(&none->object[g], &res);
	}
	none->made = !r;
	return r;
}

static CUresult clear(struct session *s, const struct no_surface *none)
{
	static const uint32_t zero[4];
	CUresult r = CUDA_SUCCESS;

	for (unsigned g = 0; g < GUARD_GEOMETRIES && !r; g++) {
		CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = zero, .srcPitch = sizeof zero,
			.srcHeight = 1, .dstMemoryType = CU_MEMORYTYPE_ARRAY, .dstArray = none->array[g],
			.WidthInBytes = sizeof zero, .Height = 1, .Depth = 1 };
		r = s->d->cuMemcpy3DAsync_v2(&c, s->w->control);
	}
	return r;
}

/* The number's sessions follow one another: none of an earlier one's kernels runs any more. */
CUresult surfaces_attach(struct session *s)
{
	struct no_surface *none = &s->w->no_surface[s->k];
	struct guard_surface *all = malloc(SURFACES * sizeof *all);
	CUresult r = CUDA_SUCCESS;

	if (!all)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!none->made)
		r = make(s->d, none);
	if (!r)
		r = clear(s, none);
	for (unsigned i = 0; i < SURFACES; i++)
		all[i] = nothing(s);
	s->surfaces = s->w->surfaces + (CUdeviceptr)s->k * SURFACES * sizeof *all;
	if (!r)
		r = s->d->cuMemcpyHtoDAsync_v2(s->surfaces, all, SURFACES * sizeof *all, s->w->control);
	CUresult done = s->d->cuStreamSynchronize(s->w->control);
	free(all);
	return r ? r : done;
}
