/* ptx_tables.c - names of opcodes, suffixes, special registers, types and spaces; all constant. */
#include "ptx.h"

static const char *const op_names[PTX_OP_COUNT] = {
	[PTX_OP_NONE] = "",
#define X(name) [PTX_OP_##name] = #name,
#include "opcodes.def"
#undef X
};

static const char *const mod_names[PTX_MOD_COUNT] = {
	[PTX_MOD_NONE] = "",
#define X(id, text) [PTX_MOD_##id] = text,
#include "mods.def"
#undef X
};

static const struct { const char *name; enum ptx_type type; } sregs[PTX_SR_COUNT] = {
#define X(id, text, t) [PTX_SR_##id] = { text, t },
#include "sregs.def"
#undef X
};

/* Every type: its suffix's id, its enum, its bytes in memory (0: opaque or narrower than a byte). */
#define TYPES(X) \
	X(pred, PRED, 1) \
	X(b8, B8, 1) X(b16, B16, 2) X(b32, B32, 4) X(b64, B64, 8) X(b128, B128, 16) \
	X(u8, U8, 1) X(u16, U16, 2) X(u32, U32, 4) X(u64, U64, 8) \
	X(s8, S8, 1) X(s16, S16, 2) X(s32, S32, 4) X(s64, S64, 8) \
	X(f16, F16, 2) X(f16x2, F16X2, 4) X(bf16, BF16, 2) X(bf16x2, BF16X2, 4) X(tf32, TF32, 4) X(f32, F32, 4) \
	X(f64, F64, 8) X(u16x2, U16X2, 4) X(s16x2, S16X2, 4) \
	X(e4m3, E4M3, 1) X(e5m2, E5M2, 1) X(e4m3x2, E4M3X2, 2) X(e5m2x2, E5M2X2, 2) \
	X(s4, S4, 0) X(u4, U4, 0) X(b1, B1, 0) \
	X(texref, TEXREF, 0) X(samplerref, SAMPLERREF, 0) X(surfref, SURFREF, 0)

static const struct { const char *name; unsigned bytes; } types[PTX_T_COUNT] = {
	[PTX_T_NONE] = { "", 0 },
#define X(id, t, bytes) [PTX_T_##t] = { #id, bytes },
	TYPES(X)
#undef X
};

static const uint8_t mod_types[PTX_MOD_COUNT] = {
#define X(id, t, bytes) [PTX_MOD_##id] = PTX_T_##t,
	TYPES(X)
#undef X
};

static const char *const space_names[] = {
	[PTX_GENERIC] = "", [PTX_REG] = "reg", [PTX_CONST] = "const", [PTX_GLOBAL] = "global", [PTX_LOCAL] = "local",
	[PTX_PARAM] = "param", [PTX_SHARED] = "shared", [PTX_SHARED_CLUSTER] = "shared::cluster", [PTX_TEX] = "tex",
};

const char *ptx_op_name(enum ptx_op op)
{
	return (unsigned)op < PTX_OP_COUNT ? op_names[op] : "";
}

const char *ptx_mod_name(enum ptx_mod mod)
{
	return (unsigned)mod < PTX_MOD_COUNT ? mod_names[mod] : "";
}

const char *ptx_sreg_name(enum ptx_sreg s)
{
	return (unsigned)s < PTX_SR_COUNT ? sregs[s].name : "";
}

enum ptx_type ptx_sreg_type(enum ptx_sreg s)
{
	return (unsigned)s < PTX_SR_COUNT ? sregs[s].type : PTX_T_NONE;
}

const char *ptx_type_name(enum ptx_type t)
{
	return (unsigned)t < PTX_T_COUNT ? types[t].name : "";
}

unsigned ptx_type_bytes(enum ptx_type t)
{
	return (unsigned)t < PTX_T_COUNT ? types[t].bytes : 0;
}

enum ptx_type ptx_mod_type(enum ptx_mod mod)
{
	return (unsigned)mod < PTX_MOD_COUNT ? (enum ptx_type)mod_types[mod] : PTX_T_NONE;
}

bool ptx_has_mod(const struct ptx_inst *i, enum ptx_mod mod)
{
	for (unsigned k = 0; k < i->nmods; k++)
		if (i->mods[k] == mod)
			return true;
	return false;
}

const char *ptx_space_name(enum ptx_space s)
{
	return (unsigned)s < sizeof space_names / sizeof *space_names ? space_names[s] : "";
}
