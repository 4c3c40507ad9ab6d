/* small.h - what small.c and mimalloc.c know of each other. */
#ifndef AG_ALLOC_SMALL_H
#define AG_ALLOC_SMALL_H

#include "alloc.h"

void *small_take(void);                  /* a range for a segment, SMALL_SEGMENT bytes so aligned; NULL: none */
void small_give(void *segment);

#endif
