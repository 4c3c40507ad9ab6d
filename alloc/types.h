/* types.h - the data structures of alloc/range.c.
 *
 * A heap is a set of blocks, free or live, that never overlap.  Each block is in a doubly linked list in address
 * order and in the address treap; free blocks are in the size treap as well.  Blocks are metadata only: the memory
 * they describe is never touched.
 */
#ifndef AG_ALLOC_TYPES_H
#define AG_ALLOC_TYPES_H

#include <stdbool.h>
#include <stdint.h>

enum { RANGE_BY_ADDR, RANGE_BY_SIZE, RANGE_TREES };

struct range_block {
	uint64_t addr, bytes;
	uint64_t busy;                    /* free blocks: work up to this number may still touch it; 0 none */
	struct range_block *prev, *next;  /* address order, over all regions */
	struct { struct range_block *left, *right; } link[RANGE_TREES];
	uint32_t prio;
	bool free;
};

#define RANGE_SLAB 128
struct range_slab { struct range_slab *next; struct range_block block[RANGE_SLAB]; };

struct range_heap {
	uint64_t align_min;
	uint64_t used, total;             /* bytes live; bytes live and free */
	uint64_t seen;                    /* the largest seq an allocation named: work up to it is over for good */
	struct range_block *root[RANGE_TREES];
	struct range_block *first, *last;
	struct range_block *spare;        /* unused blocks, linked by next */
	struct range_slab *slabs;
	uint32_t rng;
};

#endif
