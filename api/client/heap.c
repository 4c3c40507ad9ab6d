/* heap.c - the memory behind malloc and free in kernels: a block of the program's own device memory, described in the
 * first host page (guard.h, struct guard_heap).  Made when the first module that allocates is loaded; its size is
 * CU_LIMIT_MALLOC_HEAP_SIZE until then.
 */
#include "internal.h"

#include <string.h>

#define HEAP_DEFAULT (8ull << 20)
#define HEAP_MIN     4096ull

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t wanted = HEAP_DEFAULT;

/* bytes 0: make the heap if there is none. */
CUresult agc_heap_resize(uint64_t bytes)
{
	struct guard_heap *h = (struct guard_heap *)(agc_s.host[0].addr + AG_HOST_HEAP_OFF);
	uint64_t addr, size;
	CUresult r = CUDA_SUCCESS;
	pthread_mutex_lock(&lock);
	if (bytes && h->next) {
		/* Documented: too late once a kernel that uses it was loaded. */
		r = bytes <= wanted ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	} else if (bytes) {
		wanted = bytes < HEAP_MIN ? HEAP_MIN : bytes;
	} else if (!h->next) {
		size = wanted;
		r = agc_device_alloc(size, 4096, AGC_B_PRIVATE, 0, &addr);
		if (r == CUDA_SUCCESS) {
			memset(h, 0, sizeof *h);
			h->end = addr + size;
			h->next = addr;
		}
	}
	pthread_mutex_unlock(&lock);
	return r;
}
