/* bulk.c - large copies between pageable memory and the stage, past the caches: neither side is read again soon, and an
 * ordinary store of a line first reads it. */
#include "copy.h"

#include <immintrin.h>
#include <string.h>

#define BULK (512u << 10)    /* shorter copies may find their data in a cache, or leave it there for the next */
#define AHEAD 1024           /* bytes between a prefetch and its use */

__attribute__((target("avx2"))) static void stream_out(uint8_t *to, const uint8_t *from, size_t n)
{
	size_t head = -(uintptr_t)to & 31;

	memcpy(to, from, head);
	for (to += head, from += head, n -= head; n >= 128; to += 128, from += 128, n -= 128) {
		__m256i v[4];
		_mm_prefetch((const char *)from + AHEAD, _MM_HINT_NTA);
		_mm_prefetch((const char *)from + AHEAD + 64, _MM_HINT_NTA);
		for (int i = 0; i < 4; i++)
			v[i] = _mm256_loadu_si256((const __m256i *)from + i);
		for (int i = 0; i < 4; i++)
			_mm256_stream_si256((__m256i *)to + i, v[i]);
	}
	_mm_sfence(); /* before anyone is told of the copy */
	memcpy(to, from, n);
}

void agc_bulk_copy(void *to, const void *from, size_t n)
{
	if (n >= BULK && __builtin_cpu_supports("avx2"))
		stream_out(to, from, n);
	else
		memcpy(to, from, n);
}
