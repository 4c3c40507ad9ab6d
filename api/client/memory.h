/* memory.h - what memapi.c, pool.c and vmm.c use of memory.c beyond internal.h. */
#ifndef AGC_MEMORY_H
#define AGC_MEMORY_H

#include "internal.h"

CUresult agc_host_block_alloc(uint64_t bytes, uint64_t align, enum agc_block_kind kind, uint32_t flags, uint64_t *addr);
bool agc_block_at(uint64_t addr, struct agc_block *out); /* the block that begins at addr */
uint64_t agc_device_spare(void);                         /* bytes granted and not in use */
void agc_block_mark(const struct agc_block *news);
bool agc_block_hide(uint64_t addr, struct agc_block *out);
bool agc_block_show(const struct agc_block *b);
void agc_range_release(uint64_t addr, uint64_t busy);    /* frees the range of a hidden block */
void agc_pools_flush(bool idle_only);                    /* pool.c: ranges held for reuse go back to the heap */

#endif
