/* soft_texture.h - textures and surfaces as the processor sees them.
 *
 * A handle is a small number, as on hardware; it may come from a program and is checked.  These functions take no lock and
 * are called from a grid's threads; an access to storage that is not mapped faults there like any other.
 * Coordinates, filtering and conversions follow the CUDA Programming Guide, "Texture Fetching". */
#ifndef AG_SOFT_TEXTURE_H
#define AG_SOFT_TEXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <cuda.h>

enum soft_shape { SOFT_1D, SOFT_2D, SOFT_3D, SOFT_A1D, SOFT_A2D, SOFT_CUBE, SOFT_ACUBE };

/* Coordinates in the order PTX writes them: for arrays the layer (u32) first, then x, y, z; bits of f32, or s32. */
struct soft_fetch {
	enum soft_shape shape;
	bool int_coords;
	uint32_t coord[4];
	float level;                 /* of tex.level; 0 otherwise */
};

/* Four components: bits of f32, or integers where the texture gives integers.  false: no such texture, or not that shape. */
bool soft_tex_fetch(uint64_t handle, const struct soft_fetch *f, uint32_t out[4]);
/* tld4: one component of the four texels that a linear filter would use, in the order (0,1) (1,1) (1,0) (0,0). */
bool soft_tex_gather(uint64_t handle, const struct soft_fetch *f, unsigned component, uint32_t out[4]);

enum soft_query { SOFT_Q_WIDTH, SOFT_Q_HEIGHT, SOFT_Q_DEPTH, SOFT_Q_LAYERS, SOFT_Q_LEVELS, SOFT_Q_NORMALIZED };
bool soft_tex_query(uint64_t handle, enum soft_query what, uint32_t *out);
bool soft_surf_query(uint64_t handle, enum soft_query what, uint32_t *out);

/* Address of `bytes` bytes of a surface (suld.b, sust.b): x in bytes, y and z in elements, array layer first.  Out of range:
 * *inside is false and the address is that of the nearest element (.clamp); .zero drops the access, .trap ends the grid. */
bool soft_surf_address(uint64_t handle, enum soft_shape shape, const int32_t coord[4], unsigned bytes, uint64_t *addr,
	bool *inside);

/* --- between soft_texture.c and soft_sample.c --- */

enum { SOFT_MAX_LEVELS = 18, SOFT_MAX_TEXTURES = 1 << 16 };

/* Immutable once published. */
struct soft_texture {
	CUDA_RESOURCE_DESC resource;
	CUDA_TEXTURE_DESC desc;
	CUDA_RESOURCE_VIEW_DESC view;
	bool has_view, surface, linear, layered, cube, normalized, as_integer, srgb;
	CUarray_format format;
	unsigned channels, component; /* bytes of one component */
	uint32_t nlevels;
	struct soft_level { uint64_t base, pitch, slice; uint32_t width, height, planes; } level[SOFT_MAX_LEVELS];
	struct soft_array *arrays[SOFT_MAX_LEVELS];
	struct soft_ctx *ctx;
	struct soft_texture *next;   /* waiting to be freed */
};

const struct soft_texture *soft_texture_at(uint64_t handle); /* NULL: none */

#endif
