/* copy.h - what linear (copy.c) and shaped (copy3d.c) copies share. */
#ifndef AGC_COPY_H
#define AGC_COPY_H

#include "internal.h"

enum agc_end_kind {
	AGC_E_BAD,
	AGC_E_HOST /* pageable */,
	AGC_E_PINNED /* window host */,
	AGC_E_DEVICE,
	AGC_E_CONST,
	AGC_E_ARRAY
};

/* One end of a copy. */
struct agc_end {
	uint64_t addr;
	enum agc_end_kind kind;
	ag_id module;                /* AGC_E_CONST: where in which constant bank */
	uint64_t offset;
};
struct agc_end agc_end_of(uint64_t addr, uint64_t bytes);

/* The stage, under its lock. */
CUresult agc_stage_ready(struct agc_stream *s, uint64_t bytes);
/* memcpy, made for large copies into the stage and (`out`) out of it. */
void agc_bulk_copy(void *to, const void *from, size_t n, bool out);
CUresult agc_stage_take(struct agc_stream *s, size_t least, size_t most, uint8_t **at, size_t *got);
void agc_stage_done(struct agc_stage *st);               /* everything on the stream has been waited for */

#endif
