/* exec_tex.c - textures and surfaces through objects: tex, tld4, txq, suld, sust, suq.
 *
 * Sampling follows the CUDA programming guide's appendix: texel centres at .5, linear weights in 9-bit fixed point
 * with 8 bits of fraction, the four address modes.  Only the base level of a mipmap exists.  Surfaces are addressed
 * in bytes along x. */
#include <math.h>
#include <string.h>
#include "exec_decode.h"
#include "exec_math.h"

__attribute__((weak)) bool soft_texture(uint64_t handle, bool surface, struct exec_texture *out)
{
	(void)handle;
	(void)surface;
	(void)out;
	return false;
}

enum geometry { G_1D, G_2D, G_3D, G_A1D, G_A2D, G_CUBE, G_ACUBE };
enum { EDGE_TRAP, EDGE_CLAMP, EDGE_ZERO };

struct tex_op {
	uint8_t geometry, dtype, edge, esize, nvec, component;
	bool float_coords, gather;
	uint32_t handle;             /* register of the object */
	uint32_t out[4];             /* results, or the registers to store; REF_NONE where unwanted */
	uint32_t coord[4];
	uint8_t out_width;
	uint32_t query;              /* PTX_MOD_width ... */
};

struct texel { float f[4]; uint32_t u[4]; };

static const struct exec_texture *object(struct warp *w, const struct op *o, uint32_t lane, uint64_t handle,
	bool surface, struct exec_texture *cache, uint64_t *cached)
{
	if (*cached == handle && handle)
		return cache;
	if (!soft_texture(handle, surface, cache))
		exec_raise(w, o, lane, CUDA_ERROR_ILLEGAL_ADDRESS, handle, "0x%llx is no %s object",
			(unsigned long long)handle, surface ? "surface" : "texture");
	*cached = handle;
	return cache;
}

/* --- texels -------------------------------------------------------------------------------------- */

static void touch(struct warp *w, const struct op *o, uint32_t lane, uint64_t addr, uint32_t len)
{
	w->mem_op = o;
	w->mem_mask = 1u << lane;
	w->mem_size = len;
	w->ptr[lane] = addr;
}

static float channel_float(const struct exec_texture *t, uint32_t v)
{
	if (t->kind == EXEC_TEXEL_FLOAT)
		return t->bits == 16 ? h2f(v) : bits_f32(v);
	if (t->kind == EXEC_TEXEL_UNSIGNED)
		return (float)v / (t->bits == 8 ? 255.0f : 65535.0f);
	float f = t->bits == 8 ? (float)(int8_t)v / 127.0f : (float)(int16_t)v / 32767.0f;
	return f < -1 ? -1 : f;
}

static void read_texel(struct warp *w, const struct op *o, uint32_t lane, const struct exec_texture *t, int64_t x,
	int64_t y, int64_t z, struct texel *out)
{
	uint32_t bytes = t->bits / 8u, size = bytes * t->channels;
	uint64_t addr = t->data + (uint64_t)z * t->slice + (uint64_t)y * t->pitch + (uint64_t)x * size;
	uint8_t raw[16];
	touch(w, o, lane, addr, size);
	memcpy(raw, (const void *)(uintptr_t)addr, size);
	bool floats = t->kind == EXEC_TEXEL_FLOAT || (!t->as_integer && t->bits < 32);
	for (uint32_t k = 0; k < 4; k++) {
		uint32_t v = 0;
		if (k >= t->channels) {
			out->f[k] = k == 3 ? 1 : 0;
			out->u[k] = floats ? f32_bits(out->f[k]) : k == 3;
			continue;
		}
		memcpy(&v, raw + k * bytes, bytes);
		if (floats) {
			out->f[k] = channel_float(t, v);
			out->u[k] = f32_bits(out->f[k]);
		} else {
			out->u[k] = t->kind == EXEC_TEXEL_SIGNED && t->bits < 32 ? sext(v, t->bits) : v;
			out->f[k] = 0;
		}
	}
}

/* Index i of n by address mode; false: outside, the border. */
static bool wrap_index(int64_t *i, uint32_t n, uint8_t mode, bool normalized)
{
	int64_t v = *i, m = n ? n : 1;
	if (v >= 0 && v < m)
		return true;
	if (mode == CU_TR_ADDRESS_MODE_BORDER)
		return false;
	if (!normalized || mode == CU_TR_ADDRESS_MODE_CLAMP) {
		*i = v < 0 ? 0 : m - 1;
	} else if (mode == CU_TR_ADDRESS_MODE_WRAP) {
		v %= m;
		*i = v < 0 ? v + m : v;
	} else {
		v %= 2 * m;
		v = v < 0 ? v + 2 * m : v;
		*i = v < m ? v : 2 * m - 1 - v;
	}
	return true;
}

static void texel_at(struct warp *w, const struct op *o, uint32_t lane, const struct exec_texture *t,
	const int64_t *pos, unsigned dims, int64_t layer, struct texel *out)
{
	int64_t p[3] = { pos[0], dims > 1 ? pos[1] : 0, dims > 2 ? pos[2] : 0 };
	const uint32_t n[3] = { t->width, t->height, t->depth };
	for (unsigned k = 0; k < dims; k++) {
		if (!wrap_index(&p[k], n[k], t->cube ? CU_TR_ADDRESS_MODE_CLAMP : t->address[k],
				t->normalized_coords)) {
			for (unsigned c = 0; c < 4; c++) {
				out->f[c] = t->border[c];
				out->u[c] = f32_bits(t->border[c]);
			}
			return;
		}
	}
	read_texel(w, o, lane, t, p[0], p[1], dims > 2 ? p[2] : layer, out);
}

/* 1.8 fixed point weight of the upper texel. */
static float weight(double frac)
{
	return (float)(floor(frac * 256 + 0.5) / 256);
}

static void filter(struct warp *w, const struct op *o, uint32_t lane, const struct exec_texture *t,
	const double *pos, unsigned dims, int64_t layer, struct texel *out)
{
	int64_t base[3] = { 0 };
	float a[3] = { 0 };
	struct texel sum = { { 0 }, { 0 } };
	for (unsigned k = 0; k < dims; k++) {
		double b = pos[k] - 0.5, f = floor(b);
		f = f < -1e9 ? -1e9 : f > 1e9 ? 1e9 : f == f ? f : 0;
		base[k] = (int64_t)f;
		a[k] = weight(b - floor(b));
	}
	for (unsigned corner = 0; corner < 1u << dims; corner++) {
		int64_t p[3];
		float g = 1;
		struct texel one;
		for (unsigned k = 0; k < dims; k++) {
			p[k] = base[k] + (corner >> k & 1);
			g *= corner >> k & 1 ? a[k] : 1 - a[k];
		}
		if (g == 0)
			continue;
		texel_at(w, o, lane, t, p, dims, layer, &one);
		for (unsigned c = 0; c < 4; c++)
			sum.f[c] += g * one.f[c];
	}
	/* One dimension is two to the hardware, at a height of 0: between the row and what lies above it, which counts
	 * where the second mode is border (as an H200 answers). */
	if (((const struct tex_op *)o->ext)->geometry == G_1D && t->address[1] == CU_TR_ADDRESS_MODE_BORDER)
		for (unsigned c = 0; c < 4; c++)
			sum.f[c] = (sum.f[c] + t->border[c]) / 2;
	for (unsigned c = 0; c < 4; c++)
		sum.u[c] = f32_bits(sum.f[c]);
	*out = sum;
}

/* Face and position on it of a direction, as OpenGL defines cube maps. */
static int64_t cube_face(const double *v, double *s, double *t)
{
	double ax = fabs(v[0]), ay = fabs(v[1]), az = fabs(v[2]), m, sc, tc;
	int64_t face;
	if (ax >= ay && ax >= az) {
		face = v[0] < 0;
		m = ax;
		sc = v[0] < 0 ? v[2] : -v[2];
		tc = -v[1];
	} else if (ay >= az) {
		face = 2 + (v[1] < 0);
		m = ay;
		sc = v[0];
		tc = v[1] < 0 ? -v[2] : v[2];
	} else {
		face = 4 + (v[2] < 0);
		m = az;
		sc = v[2] < 0 ? -v[0] : v[0];
		tc = -v[1];
	}
	*s = m ? (sc / m + 1) / 2 : 0.5;
	*t = m ? (tc / m + 1) / 2 : 0.5;
	return face;
}

static unsigned dims_of(enum geometry g)
{
	return g == G_1D || g == G_A1D ? 1 : g == G_3D ? 3 : 2;
}

static double coordinate(struct warp *w, const struct tex_op *x, unsigned k, uint32_t lane)
{
	uint32_t v = R32(w, x->coord[k])[lane];
	return x->float_coords ? (double)bits_f32(v) : (double)(int32_t)v;
}

static void sample(struct warp *w, const struct op *o, uint32_t lane, const struct exec_texture *t, struct texel *out)
{
	const struct tex_op *x = o->ext;
	bool layered = x->geometry == G_A1D || x->geometry == G_A2D || x->geometry == G_ACUBE;
	unsigned dims = dims_of(x->geometry), first = layered;
	const uint32_t n[3] = { t->width, t->height, t->depth };
	double pos[3] = { 0 };
	int64_t layer = 0;
	if (layered) {
		uint32_t layers = x->geometry == G_ACUBE ? t->depth / 6 : t->depth, l = R32(w, x->coord[0])[lane];
		layer = layers ? (l < layers ? l : layers - 1) : 0;
	}
	if (x->geometry == G_CUBE || x->geometry == G_ACUBE) {
		double v[3];
		for (unsigned k = 0; k < 3; k++)
			v[k] = coordinate(w, x, first + k, lane);
		layer = layer * 6 + cube_face(v, &pos[0], &pos[1]);
		pos[0] *= t->width;
		pos[1] *= t->height;
	} else {
		for (unsigned k = 0; k < dims; k++) {
			pos[k] = coordinate(w, x, first + k, lane);
			if (x->float_coords && t->normalized_coords)
				pos[k] *= n[k] ? n[k] : 1;
		}
	}
	/* A fetch of another shape than the texture's stays in the texture. */
	if (layer >= (int64_t)t->depth)
		layer = t->depth ? t->depth - 1 : 0;
	bool whole = t->as_integer || (t->kind != EXEC_TEXEL_FLOAT && t->bits == 32);
	if (x->gather) {
		/* The four texels a linear filter would mix, in the order the ISA gives: (0,1) (1,1) (1,0) (0,0). */
		static const int64_t dx[4] = { 0, 1, 1, 0 }, dy[4] = { 1, 1, 0, 0 };
		for (unsigned k = 0; k < 4; k++) {
			int64_t p[3] = { (int64_t)floor(pos[0] - 0.5) + dx[k], (int64_t)floor(pos[1] - 0.5) + dy[k],
				0 };
			struct texel one;
			texel_at(w, o, lane, t, p, 2, layer, &one);
			out->u[k] = one.u[x->component];
		}
	} else if (t->linear && x->float_coords && !whole) {
		filter(w, o, lane, t, pos, dims, layer, out);
	} else {
		int64_t p[3];
		for (unsigned k = 0; k < 3; k++) {
			double f = floor(pos[k]);
			p[k] = f < -1e9 ? -1000000000 : f > 1e9 ? 1000000000 : f == f ? (int64_t)f : 0;
		}
		texel_at(w, o, lane, t, p, dims, layer, out);
	}
}

static const struct op *op_tex(struct warp *w, const struct op *o, uint32_t m)
{
	const struct tex_op *x = o->ext;
	struct exec_texture t;
	uint64_t cached = 0;
	struct texel out[WARP];
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		uint32_t lane = lane_first(rest);
		sample(w, o, lane, object(w, o, lane, R64(w, x->handle)[lane], false, &t, &cached), &out[lane]);
	}
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		uint32_t lane = lane_first(rest);
		for (unsigned k = 0; k < x->nvec; k++) {
			uint32_t v = out[lane].u[k];
			if (x->out[k] != REF_NONE)
				R32(w, x->out[k])[lane] = x->dtype == PTX_T_F16 ? f2h(bits_f32(v)) : v;
		}
	}
	return o + 1;
}

/* --- surfaces ------------------------------------------------------------------------------------- */

/* What real hardware does with a surface of another shape is not documented: here it is an error. */
static void shape(struct warp *w, const struct op *o, uint32_t lane, const struct exec_texture *t)
{
	const struct tex_op *x = o->ext;
	enum geometry is = t->layered || t->cube ? (t->height ? G_A2D : G_A1D) : t->depth ? G_3D : t->height ? G_2D
		: G_1D;
	if (x->geometry != is)
		exec_raise(w, o, lane, CUDA_ERROR_LAUNCH_FAILED, R64(w, x->handle)[lane],
			"surface instruction of another geometry than the surface's");
}

/* Address of an element on a surface; 0: outside, and nothing is to be done. */
static uint64_t surface_at(struct warp *w, const struct op *o, uint32_t lane, const struct exec_texture *t)
{
	const struct tex_op *x = o->ext;
	bool layered = x->geometry == G_A1D || x->geometry == G_A2D;
	unsigned dims = dims_of(x->geometry), size = (unsigned)x->esize * x->nvec, texel = t->bits / 8u * t->channels;
	int64_t p[3] = { 0 }, layer = layered ? (int32_t)R32(w, x->coord[0])[lane] : 0;
	const int64_t n[3] = { (int64_t)t->width * texel - size + 1, t->height ? t->height : 1,
		t->depth ? t->depth : 1 };
	bool out = (layered && (layer < 0 || layer >= n[2])) || n[0] <= 0;
	for (unsigned k = 0; k < dims; k++) {
		p[k] = (int32_t)R32(w, x->coord[layered + k])[lane];
		if (p[k] >= 0 && p[k] < n[k])
			continue;
		if (x->edge == EDGE_CLAMP && n[k] > 0)
			p[k] = p[k] < 0 ? 0 : n[k] - 1;
		else
			out = true;
	}
	if (out && x->edge == EDGE_TRAP)
		exec_raise(w, o, lane, CUDA_ERROR_LAUNCH_FAILED, (uint64_t)p[0],
			"surface access outside of the surface");
	if (p[0] % size)
		exec_raise(w, o, lane, CUDA_ERROR_MISALIGNED_ADDRESS, (uint64_t)p[0], "surface access at byte %lld",
			(long long)p[0]);
	return out ? 0 : t->data + (uint64_t)((layered ? layer : p[2]) * (int64_t)t->slice + p[1] * (int64_t)t->pitch
		+ p[0]);
}

/* x: 0 load, 1 store. */
static const struct op *op_surface(struct warp *w, const struct op *o, uint32_t m)
{
	const struct tex_op *x = o->ext;
	struct exec_texture t;
	uint64_t cached = 0;
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		uint32_t lane = lane_first(rest), size = (uint32_t)x->esize * x->nvec;
		object(w, o, lane, R64(w, x->handle)[lane], true, &t, &cached);
		shape(w, o, lane, &t);
		uint64_t a = surface_at(w, o, lane, &t);
		uint8_t raw[32] = { 0 };
		if (a)
			touch(w, o, lane, a, size);
		if (a && !o->x)
			memcpy(raw, (const void *)(uintptr_t)a, size);
		for (unsigned k = 0; k < x->nvec; k++) {
			uint8_t *r = x->out_width == 8 ? (uint8_t *)&R64(w, x->out[k])[lane]
				: (uint8_t *)&R32(w, x->out[k])[lane];
			if (o->x) {
				memcpy(raw + k * x->esize, r, x->esize);
			} else {
				memset(r, 0, x->out_width);
				memcpy(r, raw + k * x->esize, x->esize);
			}
		}
		if (a && o->x)
			memcpy((void *)(uintptr_t)a, raw, size);
	}
	return o + 1;
}

/* x: 0 texture, 1 surface. */
static const struct op *op_query(struct warp *w, const struct op *o, uint32_t m)
{
	const struct tex_op *x = o->ext;
	struct exec_texture t;
	uint64_t cached = 0;
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		uint32_t lane = lane_first(rest);
		object(w, o, lane, R64(w, x->handle)[lane], o->x, &t, &cached);
		R32(w, x->out[0])[lane] = x->query == PTX_MOD_width ? t.width : x->query == PTX_MOD_height ? t.height
			: x->query == PTX_MOD_array_size ? (t.layered ? t.depth : 0) : t.layered ? 0 : t.depth;
	}
	return o + 1;
}

/* --- decode -------------------------------------------------------------------------------------- */

static bool geometry(struct dec *d, struct tex_op *x)
{
	static const struct { uint16_t mod; enum geometry g; } rows[] = { { PTX_MOD_1d, G_1D }, { PTX_MOD_2d, G_2D },
		{ PTX_MOD_3d, G_3D },
		{ PTX_MOD_a1d, G_A1D }, { PTX_MOD_a2d, G_A2D }, { PTX_MOD_cube, G_CUBE }, { PTX_MOD_acube, G_ACUBE } };
	for (unsigned k = 0; k < 7; k++) {
		if (has(d, rows[k].mod)) {
			x->geometry = rows[k].g;
			return true;
		}
	}
	return false;
}

/* Object and coordinates of [object, {x, y}]. */
static bool place_of(struct dec *d, struct tex_op *x, const struct ptx_operand *o, unsigned need)
{
	if (o->kind != PTX_O_TEX || o->nlist < 2 || o->nlist > 2 || o->list[0].kind != PTX_O_REG
			|| operand_width(d, &o->list[0]) != 8)
		return false;
	const struct ptx_operand *c = &o->list[1], *e = c->kind == PTX_O_VEC ? c->list : c;
	unsigned n = c->kind == PTX_O_VEC ? c->nlist : 1;
	x->handle = src(d, &o->list[0], 8);
	if (n < need)
		return false;
	for (unsigned k = 0; k < need; k++)
		x->coord[k] = e[k].kind == PTX_O_FIMM ? src_f(d, &e[k], PTX_T_F32) : src(d, &e[k], 4);
	return true;
}

static unsigned coords_needed(enum geometry g)
{
	return g == G_1D ? 1 : g == G_2D || g == G_A1D ? 2 : g == G_ACUBE ? 4 : 3;
}

static bool results(struct dec *d, struct tex_op *x, const struct ptx_operand *o, unsigned width, bool is_dst)
{
	const struct ptx_operand *e = o->kind == PTX_O_VEC ? o->list : o;
	x->nvec = o->kind == PTX_O_VEC ? o->nlist : 1;
	x->out_width = (uint8_t)width;
	if (x->nvec > 4)
		return false;
	for (unsigned k = 0; k < x->nvec; k++)
		x->out[k] = !is_dst ? src(d, &e[k], width) : dst(d, &e[k], width, false);
	return true;
}

static bool texture(struct dec *d, struct tex_op *x)
{
	bool gather = d->i->op == PTX_OP_tld4;
	x->gather = gather;
	x->component = has(d, PTX_MOD_g) ? 1 : has(d, PTX_MOD_b) ? 2 : has(d, PTX_MOD_a) ? 3 : 0;
	x->float_coords = d->i->type == PTX_T_F32;
	x->dtype = d->i->type0;
	if (type_bytes(x->dtype) != 4 || (d->i->type != PTX_T_F32 && d->i->type != PTX_T_S32)
			|| opnd(d, 0)->kind == PTX_O_PAIR)
		return false;
	if (!place_of(d, x, opnd(d, 1), coords_needed(x->geometry)) || !results(d, x, opnd(d, 0), 4, true))
		return false;
	emit(d, op_tex)->ext = x;
	return true;
}

static bool surface(struct dec *d, struct tex_op *x, bool store)
{
	const struct ptx_operand *place = opnd(d, store ? 0 : 1), *value = opnd(d, store ? 1 : 0);
	x->esize = (uint8_t)type_bytes(d->i->type);
	x->edge = has(d, PTX_MOD_clamp) ? EDGE_CLAMP : has(d, PTX_MOD_zero) ? EDGE_ZERO : EDGE_TRAP;
	if (!has(d, PTX_MOD_b) || !place_of(d, x, place, coords_needed(x->geometry)))
		return false;
	if (!results(d, x, value, x->esize == 8 ? 8 : 4, !store))
		return false;
	struct op *o = emit(d, op_surface);
	o->ext = x;
	o->x = store;
	return true;
}

static bool query(struct dec *d, struct tex_op *x, bool surf)
{
	static const uint16_t known[] = { PTX_MOD_width, PTX_MOD_height, PTX_MOD_depth, PTX_MOD_array_size };
	const struct ptx_operand *a = opnd(d, 1);
	if (a->kind == PTX_O_ADDR && a->base == PTX_O_REG && operand_width(d,
			&(struct ptx_operand){ .kind = PTX_O_REG, .u = a->u }) == 8)
		x->handle = d->reg_ref[a->u.reg];
	else if (a->kind == PTX_O_TEX && a->list[0].kind == PTX_O_REG)
		x->handle = src(d, &a->list[0], 8);
	else
		return false;
	for (unsigned k = 0; k < 4; k++)
		x->query = has(d, known[k]) ? known[k] : x->query;
	if (!x->query || !results(d, x, opnd(d, 0), 4, true))
		return false;
	struct op *o = emit(d, op_query);
	o->ext = x;
	o->x = surf;
	return true;
}

bool decode_tex(struct dec *d)
{
	struct tex_op *x;
	switch (d->i->op) {
	case PTX_OP_tex: case PTX_OP_tld4: case PTX_OP_suld: case PTX_OP_sust: case PTX_OP_txq: case PTX_OP_suq:
		break;
	default: return false;
	}
	x = load_alloc(d->ld, sizeof *x);
	if (!x)
		return false;
	if (d->i->op == PTX_OP_txq || d->i->op == PTX_OP_suq)
		return query(d, x, d->i->op == PTX_OP_suq);
	if (!geometry(d, x))
		return false;
	return d->i->op == PTX_OP_tex || d->i->op == PTX_OP_tld4 ? texture(d, x)
		: surface(d, x, d->i->op == PTX_OP_sust);
}
