/* texts.h - a corpus of texts and their mutation, line by line and word by word; for fuzzers of what reads guarded
 * PTX. */
#ifndef AG_TESTS_FUZZ_TEXTS_H
#define AG_TESTS_FUZZ_TEXTS_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_FILES = 1024, FUZZ_BYTES = 1 << 17 };

extern struct fuzz_text { char *text; size_t len; } fuzz_text[FUZZ_FILES];
extern int fuzz_ntexts;
extern uint64_t fuzz_seed;                      /* not 0 */

uint32_t fuzz_rnd(uint32_t n);                  /* below n; the seed alone decides */
void fuzz_load(const char *pattern);            /* adds files; a first line with an expectation is left out */
size_t fuzz_mutate(char *text, size_t len);     /* one change, in a buffer of FUZZ_BYTES; the new length */

#endif
