/* fatbin.h - images of modules; struct agc_pieces is in internal.h.  Also the form of our own linked images (link.c
 * writes it). */
#ifndef AGC_FATBIN_H
#define AGC_FATBIN_H

#include "internal.h"

#define AGC_LINKED_MAGIC 0xC0A6EC01u     /* not text, not one of NVIDIA's */

/* What cuLinkComplete gives: this head, then per piece a u64 length and its bytes. */
struct agc_linked { uint32_t magic, pieces; uint64_t bytes; /* all */ };

#endif
