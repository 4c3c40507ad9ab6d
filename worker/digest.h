/* digest.h - SHA-256 (FIPS 180-4), for names and checksums of the module cache. */
#ifndef AG_WORKER_DIGEST_H
#define AG_WORKER_DIGEST_H
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32u
struct digest {
	uint32_t h[8];
	uint64_t bytes;
	uint8_t block[64];
};
void digest_start(struct digest *d);
void digest_add(struct digest *d, const void *p, size_t n);
void digest_u64(struct digest *d, uint64_t v); /* as 8 bytes, so that neighbours cannot run into each other */
void digest_text(struct digest *d, const char *s, size_t n); /* length, then bytes */
void digest_end(struct digest *d, uint8_t out[DIGEST_BYTES]);
#endif
