/* soft_sample.c - reading textures: addressing, filtering, conversion; addresses of surfaces.  Holds no state. */
#include <math.h>
#include <string.h>
#include "soft_texture.h"

struct texel { float f[4]; uint32_t i[4]; }; /* f for float reads, i for integer reads */

static float half(uint16_t h)
{
	uint32_t sign = (uint32_t)(h >> 15) << 31, e = h >> 10 & 31, m = h & 1023;
	float f;
	if (e == 0) {
		f = (float)m * 0x1p-24f;
		return sign ? -f : f;
	}
	uint32_t bits = sign | (e == 31 ? 255u << 23 : (e + 112) << 23) | m << 13;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static float linear_of_srgb(float v)
{
	return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

/* One component as the read mode wants it. */
static void convert(const struct soft_texture *t, const uint8_t *p, unsigned k, struct texel *out)
{
	uint8_t b;
	uint16_t h = 0;
	uint32_t w = 0;
	memcpy(&b, p, 1);
	if (t->component >= 2)
		memcpy(&h, p, 2);
	if (t->component == 4)
		memcpy(&w, p, 4);
	switch (t->format) {
	case CU_AD_FORMAT_UNSIGNED_INT8:
		out->i[k] = b;
		out->f[k] = (float)b / 255.0f;
		if (t->srgb && k < 3)
			out->f[k] = linear_of_srgb(out->f[k]);
		break;
	case CU_AD_FORMAT_SIGNED_INT8:
		out->i[k] = (uint32_t)(int32_t)(int8_t)b;
		out->f[k] = fmaxf((float)(int8_t)b / 127.0f, -1.0f);
		break;
	case CU_AD_FORMAT_UNSIGNED_INT16:
		out->i[k] = h;
		out->f[k] = (float)h / 65535.0f;
		break;
	case CU_AD_FORMAT_SIGNED_INT16:
		out->i[k] = (uint32_t)(int32_t)(int16_t)h;
		out->f[k] = fmaxf((float)(int16_t)h / 32767.0f, -1.0f);
		break;
	case CU_AD_FORMAT_HALF:
		out->f[k] = half(h);
		break;
	case CU_AD_FORMAT_FLOAT:
		memcpy(&out->f[k], &w, 4);
		break;
	default:
		out->i[k] = w;
		break;
	}
}

/* Index in 0..n-1, or -1: border. */
static int64_t resolve(int64_t i, uint32_t n, CUaddress_mode mode)
{
	if (i >= 0 && i < n)
		return i;
	if (mode == CU_TR_ADDRESS_MODE_BORDER)
		return -1;
	if (mode == CU_TR_ADDRESS_MODE_WRAP)
		return (i % n + n) % n;
	return i < 0 ? 0 : (int64_t)n - 1;
}

static CUaddress_mode mode_of(const struct soft_texture *t, int dim)
{
	CUaddress_mode m = t->desc.addressMode[dim];
	if (t->linear)
		return CU_TR_ADDRESS_MODE_BORDER;
	if (t->cube)
		return CU_TR_ADDRESS_MODE_CLAMP;
	bool needs_normalized = m == CU_TR_ADDRESS_MODE_WRAP || m == CU_TR_ADDRESS_MODE_MIRROR;
	return needs_normalized && !t->normalized ? CU_TR_ADDRESS_MODE_CLAMP : m;
}

static struct texel load(const struct soft_texture *t, const struct soft_level *l, int64_t x, int64_t y, int64_t z, bool layer)
{
	struct texel out = { .f = { 0, 0, 0, 1 }, .i = { 0, 0, 0, 1 } };
	x = resolve(x, l->width, mode_of(t, 0));
	y = resolve(y, l->height, mode_of(t, 1));
	z = resolve(z, l->planes, layer ? CU_TR_ADDRESS_MODE_CLAMP : mode_of(t, 2));
	if (x < 0 || y < 0 || z < 0) {
		for (unsigned k = 0; k < 4; k++) {
			out.f[k] = t->linear ? 0 : t->desc.borderColor[k];
			out.i[k] = 0;
			if (!t->linear)
				memcpy(&out.i[k], &t->desc.borderColor[k], 4);
		}
		return out;
	}
	const uint8_t *p = (const uint8_t *)(l->base + (uint64_t)z * l->slice + (uint64_t)y * l->pitch +
		(uint64_t)x * t->channels * t->component);
	for (unsigned k = 0; k < t->channels; k++)
		convert(t, p + k * t->component, k, &out);
	return out;
}

/* A coordinate in texels; wrapping and mirroring happen on the normalized coordinate. */
static double position(const struct soft_texture *t, float c, uint32_t n, int dim)
{
	if (!(fabsf(c) < 1e9f))
		c = isnan(c) ? 0 : copysignf(1e9f, c);
	if (!t->normalized)
		return c;
	CUaddress_mode mode = mode_of(t, dim);
	if (mode == CU_TR_ADDRESS_MODE_WRAP)
		c -= floorf(c);
	if (mode == CU_TR_ADDRESS_MODE_MIRROR) {
		float whole = floorf(c);
		c -= whole;
		if (fmodf(whole, 2) != 0)
			c = 1 - c;
	}
	return (double)c * n;
}

struct where { double x, y, z; int64_t layer; bool layered; unsigned dims; };

static float as_float(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

/* Cube direction to face and face coordinates (Programming Guide, "Cubemap Textures"). */
static void cube_face(const float v[3], int64_t *face, float *s, float *t)
{
	float x = v[0], y = v[1], z = v[2], ax = fabsf(x), ay = fabsf(y), az = fabsf(z), m;
	if (ax > ay && ax > az) {
		*face = x < 0;
		m = ax;
		*s = x < 0 ? z : -z;
		*t = -y;
	} else if (ay > az) {
		*face = 2 + (y < 0);
		m = ay;
		*s = x;
		*t = y < 0 ? -z : z;
	} else {
		*face = 4 + (z < 0);
		m = az;
		*s = z < 0 ? -x : x;
		*t = -y;
	}
	*s = m > 0 ? (*s / m + 1) / 2 : 0.5f;
	*t = m > 0 ? (*t / m + 1) / 2 : 0.5f;
}

static bool locate(const struct soft_texture *t, const struct soft_level *l, const struct soft_fetch *f, struct where *w)
{
	bool array = f->shape == SOFT_A1D || f->shape == SOFT_A2D || f->shape == SOFT_ACUBE;
	bool cube = f->shape == SOFT_CUBE || f->shape == SOFT_ACUBE;
	const uint32_t *c = f->coord + array;
	if (array != t->layered || cube != t->cube)
		return false;
	*w = (struct where){ .layer = array ? f->coord[0] : 0, .layered = array || cube };
	if (cube) {
		float v[3] = { as_float(c[0]), as_float(c[1]), as_float(c[2]) }, s, u;
		int64_t face;
		cube_face(v, &face, &s, &u);
		w->layer = (array ? resolve(w->layer, l->planes / 6, CU_TR_ADDRESS_MODE_CLAMP) : 0) * 6 + face;
		w->x = (double)s * l->width;
		w->y = (double)u * l->height;
		w->dims = 2;
		return true;
	}
	w->dims = f->shape == SOFT_3D ? 3 : f->shape == SOFT_2D || f->shape == SOFT_A2D ? 2 : 1;
	const uint32_t size[3] = { l->width, l->height, l->planes };
	double *to[3] = { &w->x, &w->y, &w->z };
	for (unsigned i = 0; i < w->dims; i++)
		*to[i] = f->int_coords ? (double)(int32_t)c[i] : position(t, as_float(c[i]), size[i], (int)i);
	return true;
}

/* The weight of the upper neighbour, with the hardware's 8 bits of fraction. */
static float weight(double at, int64_t *lower)
{
	double low = floor(at);
	*lower = (int64_t)low;
	return (float)(floor((at - low) * 256 + 0.5) / 256);
}

static struct texel filtered(const struct soft_texture *t, const struct soft_level *l, const struct where *w)
{
	struct texel sum = { .f = { 0 } };
	int64_t x, y = 0, z = w->layer;
	float a = weight(w->x - 0.5, &x), b = w->dims > 1 ? weight(w->y - 0.5, &y) : 0,
		c = w->dims > 2 ? weight(w->z - 0.5, &z) : 0;
	for (int corner = 0; corner < 1 << w->dims; corner++) {
		int dx = corner & 1, dy = corner >> 1 & 1, dz = corner >> 2 & 1;
		float share = (dx ? a : 1 - a) * (w->dims > 1 ? dy ? b : 1 - b : 1) * (w->dims > 2 ? dz ? c : 1 - c : 1);
		if (share == 0)
			continue;
		struct texel e = load(t, l, x + dx, y + dy, z + dz, w->layered);
		for (unsigned k = 0; k < 4; k++)
			sum.f[k] += share * e.f[k];
	}
	return sum;
}

static bool sample(const struct soft_texture *t, unsigned level, const struct soft_fetch *f, struct texel *out)
{
	struct where w;
	const struct soft_level *l = &t->level[level];
	if (!locate(t, l, f, &w))
		return false;
	if (t->desc.filterMode == CU_TR_FILTER_MODE_LINEAR && !t->linear && !f->int_coords) {
		*out = filtered(t, l, &w);
		return true;
	}
	*out = load(t, l, (int64_t)floor(w.x), w.dims > 1 ? (int64_t)floor(w.y) : 0,
		w.dims > 2 ? (int64_t)floor(w.z) : w.layer, w.layered);
	return true;
}

bool soft_tex_fetch(uint64_t handle, const struct soft_fetch *f, uint32_t out[4])
{
	const struct soft_texture *t = soft_texture_at(handle);
	if (!t || t->surface)
		return false;
	float most = (float)t->nlevels - 1, at = 0;
	if (t->nlevels > 1) {
		at = fminf(fmaxf(f->level + t->desc.mipmapLevelBias, t->desc.minMipmapLevelClamp), t->desc.maxMipmapLevelClamp);
		at = isnan(at) ? 0 : fminf(fmaxf(at, 0), most);
	}
	bool between = t->desc.mipmapFilterMode == CU_TR_FILTER_MODE_LINEAR && !t->as_integer;
	unsigned lower = between ? (unsigned)at : (unsigned)floorf(at + 0.5f);
	float share = between ? at - (float)lower : 0;
	struct texel a, b;
	if (!sample(t, lower, f, &a))
		return false;
	if (share > 0) {
		if (!sample(t, lower + 1, f, &b))
			return false;
		for (unsigned k = 0; k < 4; k++)
			a.f[k] += share * (b.f[k] - a.f[k]);
	}
	memcpy(out, t->as_integer ? (const void *)a.i : (const void *)a.f, 16);
	return true;
}

bool soft_tex_gather(uint64_t handle, const struct soft_fetch *f, unsigned component, uint32_t out[4])
{
	static const int dx[] = { 0, 1, 1, 0 }, dy[] = { 1, 1, 0, 0 };
	const struct soft_texture *t = soft_texture_at(handle);
	struct where w;
	if (!t || t->surface || component > 3 || !locate(t, &t->level[0], f, &w) || w.dims != 2)
		return false;
	int64_t x = (int64_t)floor(w.x - 0.5), y = (int64_t)floor(w.y - 0.5);
	for (int i = 0; i < 4; i++) {
		struct texel e = load(t, &t->level[0], x + dx[i], y + dy[i], w.layer, w.layered);
		memcpy(&out[i], t->as_integer ? (const void *)&e.i[component] : (const void *)&e.f[component], 4);
	}
	return true;
}

static bool query(const struct soft_texture *t, enum soft_query what, uint32_t *out)
{
	const struct soft_level *l = &t->level[0];
	uint32_t layers = t->cube ? l->planes / 6 : l->planes;
	switch (what) {
	case SOFT_Q_WIDTH:
		*out = l->width;
		return true;
	case SOFT_Q_HEIGHT:
		*out = l->height;
		return true;
	case SOFT_Q_DEPTH:
		*out = t->layered || t->cube ? 1 : l->planes;
		return true;
	case SOFT_Q_LAYERS:
		*out = t->layered ? layers : 1;
		return true;
	case SOFT_Q_LEVELS:
		*out = t->nlevels;
		return true;
	case SOFT_Q_NORMALIZED:
		*out = t->normalized;
		return true;
	}
	return false;
}

bool soft_tex_query(uint64_t handle, enum soft_query what, uint32_t *out)
{
	const struct soft_texture *t = soft_texture_at(handle);
	return t && !t->surface && query(t, what, out);
}

bool soft_surf_query(uint64_t handle, enum soft_query what, uint32_t *out)
{
	const struct soft_texture *t = soft_texture_at(handle);
	return t && t->surface && query(t, what, out);
}

static int64_t clamp(int64_t v, int64_t most, bool *inside)
{
	if (v >= 0 && v <= most)
		return v;
	*inside = false;
	return v < 0 ? 0 : most;
}

bool soft_surf_address(uint64_t handle, enum soft_shape shape, const int32_t coord[4], unsigned bytes, uint64_t *addr,
	bool *inside)
{
	const struct soft_texture *t = soft_texture_at(handle);
	bool array = shape == SOFT_A1D || shape == SOFT_A2D || shape == SOFT_ACUBE;
	if (!t || !t->surface || array != t->layered)
		return false;
	const struct soft_level *l = &t->level[0];
	const int32_t *c = coord + array;
	bool flat = shape == SOFT_1D || shape == SOFT_A1D;
	int64_t row = (int64_t)l->width * t->channels * t->component;
	if (bytes > row)
		return false;
	*inside = true;
	int64_t x = clamp(c[0], row - bytes, inside), y = flat ? 0 : clamp(c[1], (int64_t)l->height - 1, inside);
	int64_t z = array ? clamp(coord[0], (int64_t)l->planes - 1, inside)
		: shape == SOFT_3D ? clamp(c[2], (int64_t)l->planes - 1, inside) : 0;
	*addr = l->base + (uint64_t)z * l->slice + (uint64_t)y * l->pitch + (uint64_t)x;
	return true;
}
