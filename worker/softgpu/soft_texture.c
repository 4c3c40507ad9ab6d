/* soft_texture.c - texture and surface objects, mipmapped arrays.  The processor samples; it asks soft_texture() what
 * a handle stands for.  It knows one level and no sRGB: objects that need more are refused.
 *
 * The table of handles is read by grids without a lock: an entry is published whole and never changes; a destroyed
 * one is freed when no grid runs.  An object keeps its arrays alive. Owns: the table, texture and surface objects,
 * mipmapped arrays. */
#include "soft_internal.h"

enum { SOFT_MAX_LEVELS = 18, SOFT_MAX_TEXTURES = 1 << 16 };

/* Immutable once published. */
struct soft_texture {
	struct exec_texture view;        /* what kernels see */
	CUDA_RESOURCE_DESC resource;
	CUDA_TEXTURE_DESC sampler;
	CUDA_RESOURCE_VIEW_DESC levels;
	bool surface, has_levels;
	struct soft_array *array;        /* kept alive; NULL over linear memory */
	struct soft_ctx *ctx;
	struct soft_texture *next;       /* waiting to be freed */
};

struct soft_mipmap {
	struct soft_obj obj;
	struct soft_ctx *ctx;
	struct soft_mipmap *next;
	CUDA_ARRAY3D_DESCRIPTOR desc;
	unsigned n;
	struct soft_array *level[SOFT_MAX_LEVELS];
};

static struct soft_texture *table[SOFT_MAX_TEXTURES];
static unsigned table_hint = 1;      /* handle 0 is never given */
static struct soft_texture *graves;
static struct soft_mipmap *mipmaps;

/* --- mipmapped arrays --- */

static void mipmap_free(struct soft_obj *o)
{
	struct soft_mipmap *m = (struct soft_mipmap *)o, **p = &mipmaps;
	while (*p != m)
		p = &(*p)->next;
	*p = m->next;
	for (unsigned i = 0; i < m->n; i++) {
		soft_obj_hide(&m->level[i]->obj);
		soft_unref(&m->level[i]->obj);
	}
	free(m);
}

static size_t shrink(size_t extent, unsigned level)
{
	return extent && extent >> level == 0 ? 1 : extent >> level;
}

CUresult soft_cuMipmappedArrayCreate(CUmipmappedArray *out, const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned int levels)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (!out || !d || !levels)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	size_t longest = d->Width > d->Height ? d->Width : d->Height;
	bool layered = d->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);
	if (!layered && d->Depth > longest)
		longest = d->Depth;
	unsigned most = 1;
	while (most < SOFT_MAX_LEVELS && longest >> most)
		most++;
	struct soft_mipmap *m = calloc(1, sizeof *m);
	if (!m)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	soft_obj_init(&m->obj, SOFT_MIPMAP, mipmap_free);
	m->next = mipmaps;
	mipmaps = m;
	m->ctx = c;
	m->desc = *d;
	for (unsigned i = 0; i < levels && i < most && !r; i++) {
		CUDA_ARRAY3D_DESCRIPTOR e = *d;
		e.Width = shrink(d->Width, i);
		e.Height = shrink(d->Height, i);
		e.Depth = layered ? d->Depth : shrink(d->Depth, i);
		r = soft_array_new(c, &e, &m->level[m->n]);
		if (!r)
			m->level[m->n++]->of_mipmap = true;
	}
	if (r)
		soft_unref(&m->obj);
	else
		*out = (CUmipmappedArray)m;
	return soft_leave(r);
}

static CUresult enter_mipmap(CUmipmappedArray h, struct soft_mipmap **m)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	*m = soft_obj_find(SOFT_MIPMAP, h);
	return *m ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_HANDLE);
}

CUresult soft_cuMipmappedArrayGetLevel(CUarray *out, CUmipmappedArray h, unsigned int level)
{
	struct soft_mipmap *m;
	CUresult r = enter_mipmap(h, &m);
	if (r)
		return r;
	if (!out || level >= m->n)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*out = (CUarray)m->level[level];
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMipmappedArrayDestroy(CUmipmappedArray h)
{
	struct soft_mipmap *m;
	CUresult r = enter_mipmap(h, &m);
	if (r)
		return r;
	r = soft_ctx_sync(m->ctx);
	if (!r && soft_obj_find(SOFT_MIPMAP, h) == m) {
		soft_obj_hide(&m->obj);
		soft_unref(&m->obj);
	}
	return soft_leave(r);
}

/* --- the table --- */

static struct soft_texture *entry(uint64_t handle)
{
	return handle < SOFT_MAX_TEXTURES ? __atomic_load_n(&table[handle], __ATOMIC_ACQUIRE) : NULL;
}

bool soft_texture(uint64_t handle, bool surface, struct exec_texture *out)
{
	const struct soft_texture *t = entry(handle);
	if (!t || t->surface != surface)
		return false;
	*out = t->view;
	return true;
}

static void texture_free(struct soft_texture *t)
{
	if (t->array)
		soft_unref(&t->array->obj);
	free(t);
}

static void bury(struct soft_texture *t)
{
	t->next = graves;
	graves = t;
	while (graves && !soft_grids) {
		struct soft_texture *next = graves->next;
		texture_free(graves);
		graves = next;
	}
}

static CUresult publish(struct soft_texture *t, unsigned long long *out)
{
	for (unsigned i = 0; i < SOFT_MAX_TEXTURES; i++) {
		unsigned at = (table_hint + i) % SOFT_MAX_TEXTURES;
		if (!at || table[at])
			continue;
		__atomic_store_n(&table[at], t, __ATOMIC_RELEASE);
		table_hint = at + 1;
		*out = at;
		return CUDA_SUCCESS;
	}
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult destroy(unsigned long long handle, bool surface)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_texture *t = entry(handle);
	if (!t || t->surface != surface)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	__atomic_store_n(&table[handle], NULL, __ATOMIC_RELEASE);
	bury(t);
	return soft_leave(CUDA_SUCCESS);
}

/* The context goes: none of its grids runs any more. */
void soft_textures_drop(struct soft_ctx *c)
{
	for (unsigned i = 0; i < SOFT_MAX_TEXTURES; i++) {
		if (!table[i] || table[i]->ctx != c)
			continue;
		struct soft_texture *t = table[i];
		__atomic_store_n(&table[i], NULL, __ATOMIC_RELEASE);
		texture_free(t);
	}
	for (struct soft_texture **p = &graves; *p;) {
		struct soft_texture *t = *p;
		if (t->ctx != c) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		texture_free(t);
	}
	for (struct soft_mipmap *m = mipmaps, *next; m; m = next) {
		next = m->next;
		if (m->ctx != c)
			continue;
		soft_obj_hide(&m->obj);
		soft_unref(&m->obj);
	}
}

/* --- resources --- */

static bool take_format(struct exec_texture *v, CUarray_format format, unsigned channels)
{
	v->bits = (uint8_t)(8 * soft_format_bytes(format));
	v->channels = (uint8_t)channels;
	bool floating = format == CU_AD_FORMAT_HALF || format == CU_AD_FORMAT_FLOAT;
	bool is_signed = format == CU_AD_FORMAT_SIGNED_INT8 || format == CU_AD_FORMAT_SIGNED_INT16 ||
		format == CU_AD_FORMAT_SIGNED_INT32;
	v->kind = floating ? EXEC_TEXEL_FLOAT : is_signed ? EXEC_TEXEL_SIGNED : EXEC_TEXEL_UNSIGNED;
	return v->bits && (channels == 1 || channels == 2 || channels == 4);
}

static CUresult take_array(struct soft_texture *t, struct soft_array *a)
{
	if (!a)
		return CUDA_ERROR_INVALID_HANDLE;
	t->array = a;
	t->view.data = a->mem->e.base;
	t->view.pitch = a->pitch;
	t->view.slice = a->slice;
	t->view.width = (uint32_t)a->desc.Width;
	t->view.height = (uint32_t)a->desc.Height;
	t->view.depth = (uint32_t)a->desc.Depth;
	t->view.layered = a->desc.Flags & CUDA_ARRAY3D_LAYERED;
	t->view.cube = a->desc.Flags & CUDA_ARRAY3D_CUBEMAP;
	return take_format(&t->view, a->desc.Format, a->desc.NumChannels) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* The one level that is seen: all that there is, or the one that the view selects. */
static CUresult take_mipmap(struct soft_texture *t, const struct soft_mipmap *m, const CUDA_RESOURCE_VIEW_DESC *v)
{
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	unsigned first = v ? v->firstMipmapLevel : 0, last = v ? v->lastMipmapLevel : m->n - 1;
	if (first > last || last >= m->n)
		return CUDA_ERROR_INVALID_VALUE;
	if (first != last) {
		soft_log("texture refused: more than one mipmap level is not supported");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	return take_array(t, m->level[first]);
}

static CUresult flat(struct soft_texture *t, uint64_t base, CUarray_format format, unsigned channels, uint64_t width,
	uint64_t height, uint64_t pitch)
{
	unsigned elem = soft_format_bytes(format) * channels;
	if (!take_format(&t->view, format, channels) || !width || !height || !pitch || base % 512)
		return CUDA_ERROR_INVALID_VALUE;
	if (width * elem > pitch || !soft_range_ok(base, (height - 1) * pitch + width * elem, false))
		return CUDA_ERROR_INVALID_VALUE;
	t->view.data = base;
	t->view.pitch = pitch;
	t->view.slice = pitch * height;
	t->view.width = (uint32_t)width;
	t->view.height = height > 1 ? (uint32_t)height : 0;
	return CUDA_SUCCESS;
}

static CUresult take_resource(struct soft_texture *t, const CUDA_RESOURCE_DESC *d, const CUDA_RESOURCE_VIEW_DESC *v)
{
	t->resource = *d;
	if (d->flags)
		return CUDA_ERROR_INVALID_VALUE;
	switch (d->resType) {
	case CU_RESOURCE_TYPE_ARRAY:
		return take_array(t, soft_obj_find(SOFT_ARRAY, d->res.array.hArray));
	case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
		return take_mipmap(t, soft_obj_find(SOFT_MIPMAP, d->res.mipmap.hMipmappedArray), v);
	case CU_RESOURCE_TYPE_LINEAR: {
		unsigned elem = soft_format_bytes(d->res.linear.format) * d->res.linear.numChannels;
		uint64_t n = elem ? d->res.linear.sizeInBytes / elem : 0;
		if (n > 268435456)
			return CUDA_ERROR_INVALID_VALUE;
		return flat(t, d->res.linear.devPtr, d->res.linear.format, d->res.linear.numChannels, n, 1, n * elem);
	}
	case CU_RESOURCE_TYPE_PITCH2D:
		if (d->res.pitch2D.width > 131072 || d->res.pitch2D.height > 65000 ||
		    d->res.pitch2D.pitchInBytes > 2097120 || d->res.pitch2D.pitchInBytes % 32)
			return CUDA_ERROR_INVALID_VALUE;
		return flat(t, d->res.pitch2D.devPtr, d->res.pitch2D.format, d->res.pitch2D.numChannels,
			    d->res.pitch2D.width, d->res.pitch2D.height, d->res.pitch2D.pitchInBytes);
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

static CUresult take_sampler(struct soft_texture *t, const CUDA_TEXTURE_DESC *d)
{
	struct exec_texture *v = &t->view;
	bool over_memory = t->resource.resType == CU_RESOURCE_TYPE_LINEAR;
	unsigned known = CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |
		CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | CU_TRSF_SEAMLESS_CUBEMAP;
	for (int i = 0; i < 3; i++)
		if (d->addressMode[i] > CU_TR_ADDRESS_MODE_BORDER)
			return CUDA_ERROR_INVALID_VALUE;
	if (d->flags & ~known || d->filterMode > CU_TR_FILTER_MODE_LINEAR ||
	    d->mipmapFilterMode > CU_TR_FILTER_MODE_LINEAR)
		return CUDA_ERROR_INVALID_VALUE;
	if (d->flags & CU_TRSF_SRGB) {
		soft_log("texture refused: sRGB is not supported");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	t->sampler = *d;
	v->as_integer = v->kind != EXEC_TEXEL_FLOAT && (v->bits == 32 || d->flags & CU_TRSF_READ_AS_INTEGER);
	v->linear = d->filterMode == CU_TR_FILTER_MODE_LINEAR && !over_memory;
	v->normalized_coords = d->flags & CU_TRSF_NORMALIZED_COORDINATES && !over_memory;
	bool mipmap = t->resource.resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
	if ((v->as_integer && v->linear) || (mipmap && !v->normalized_coords))
		return CUDA_ERROR_INVALID_VALUE;
	/* Memory has no addressing: past its end a fetch gives 0. */
	for (int i = 0; i < 3; i++)
		v->address[i] = (uint8_t)(over_memory ? CU_TR_ADDRESS_MODE_BORDER : d->addressMode[i]);
	if (!over_memory)
		memcpy(v->border, d->borderColor, sizeof v->border);
	return CUDA_SUCCESS;
}

/* Only views that change nothing but the level. */
static CUresult check_view(struct soft_texture *t, const CUDA_RESOURCE_VIEW_DESC *v)
{
	if (!v)
		return CUDA_SUCCESS;
	if (v->format != CU_RES_VIEW_FORMAT_NONE || v->firstLayer ||
	    (v->lastLayer && v->lastLayer + 1 != t->view.depth))
		return CUDA_ERROR_NOT_SUPPORTED;
	t->levels = *v;
	t->has_levels = true;
	return CUDA_SUCCESS;
}

static CUresult create(unsigned long long *out, const CUDA_RESOURCE_DESC *res, const CUDA_TEXTURE_DESC *desc,
	const CUDA_RESOURCE_VIEW_DESC *view, bool surface)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (!out || !res || (!surface && !desc) || (surface && res->resType != CU_RESOURCE_TYPE_ARRAY))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_texture *t = calloc(1, sizeof *t);
	if (!t)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	t->ctx = c;
	t->surface = surface;
	r = take_resource(t, res, view);
	if (!r && surface && !(t->array->desc.Flags & CUDA_ARRAY3D_SURFACE_LDST))
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r && !surface)
		r = take_sampler(t, desc);
	if (!r && !surface)
		r = check_view(t, view);
	if (!r)
		r = publish(t, out);
	if (r)
		free(t);
	else if (t->array)
		soft_ref(&t->array->obj);
	return soft_leave(r);
}

CUresult soft_cuTexObjectCreate(CUtexObject *out, const CUDA_RESOURCE_DESC *res, const CUDA_TEXTURE_DESC *desc,
	const CUDA_RESOURCE_VIEW_DESC *view)
{
	return create(out, res, desc, view, false);
}

CUresult soft_cuTexObjectDestroy(CUtexObject h)
{
	return destroy(h, false);
}

CUresult soft_cuSurfObjectCreate(CUsurfObject *out, const CUDA_RESOURCE_DESC *res)
{
	return create(out, res, NULL, NULL, true);
}

CUresult soft_cuSurfObjectDestroy(CUsurfObject h)
{
	return destroy(h, true);
}

static CUresult enter_object(unsigned long long h, bool surface, const void *argument, const struct soft_texture **t)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	*t = entry(h);
	return argument && *t && (*t)->surface == surface ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult soft_cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *out, CUtexObject h)
{
	const struct soft_texture *t;
	CUresult r = enter_object(h, false, out, &t);
	if (r)
		return r;
	*out = t->resource;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *out, CUtexObject h)
{
	const struct soft_texture *t;
	CUresult r = enter_object(h, false, out, &t);
	if (r)
		return r;
	*out = t->sampler;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *out, CUtexObject h)
{
	const struct soft_texture *t;
	CUresult r = enter_object(h, false, out, &t);
	if (r)
		return r;
	if (!t->has_levels)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*out = t->levels;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *out, CUsurfObject h)
{
	const struct soft_texture *t;
	CUresult r = enter_object(h, true, out, &t);
	if (r)
		return r;
	*out = t->resource;
	return soft_leave(CUDA_SUCCESS);
}
