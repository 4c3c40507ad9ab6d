/* prepared.h - guarded and compiled modules, shared by all sessions that load the same text; kept in memory and on disk
 * by digest. */
#ifndef AG_WORKER_PREPARED_H
#define AG_WORKER_PREPARED_H

#include "digest.h"
#include "guard/guard.h"
#include "guard/verify.h"

struct session;

struct prepared { /* immutable once made */
	struct prepared *next;
	uint8_t digest[DIGEST_BYTES];
	unsigned refs;                /* under the cache's lock */
	uint64_t used;                /* for forgetting the oldest */
	struct guard_result result;   /* names, variables, images; its text is empty */
	struct guard_verdict verdict; /* verifier's facts; empty in an unguarded worker */
	char *code;                   /* cubin, or composed PTX with a NUL after it */
	size_t code_len;
	bool is_cubin;
};

/* The module of these texts, from memory, from disk, or made in the guard's helper. NULL: why (one printable line) says
 * why not. */
struct prepared *prepared_get(struct session *s, const struct guard_input *in, uint32_t n, bool wide, char why[512]);
void prepared_put(struct prepared *p);

/* cache.c: files.  A key, before the first file is read or written: from a file of at least 16 bytes (or fd:N, an open
 * one), or a new one, which makes the files of other workers, earlier ones too, strangers'. false: there is none. */
bool cache_key(const char *path);
bool cache_own_key(void);
bool cache_read(const uint8_t digest[DIGEST_BYTES], struct prepared *p); /* fills result, verdict, code */
void cache_write(const struct prepared *p);

/* What a launch needs of a kernel: the verifier's word. NULL: no such kernel in the verdict. */
const struct verify_kernel *prepared_verdict(const struct prepared *p, uint32_t index);

#endif
