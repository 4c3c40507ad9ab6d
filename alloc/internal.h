/* internal.h - what the allocator's own files and tests share beyond alloc.h. */
#ifndef AG_ALLOC_INTERNAL_H
#define AG_ALLOC_INTERNAL_H

#include "alloc.h"
#include "types.h"

#define RANGE_LINE (1ull << 32)   /* blocks of at most this size never cross a multiple of it */

/* true when [addr, addr+bytes) touches two 4 GiB lines; bytes > 0, no overflow. */
static inline bool range_crosses_line(uint64_t addr, uint64_t bytes)
{
	return addr / RANGE_LINE != (addr + bytes - 1) / RANGE_LINE;
}

#endif
