/* mimalloc.c - mimalloc for the small blocks of the client's host memory (small.c), out of its sources in
 * build/mimalloc (.ci/mimalloc).
 *
 * It is ported here as to a machine with one thread and no operating system, which mimalloc knows as WASI:
 *   - small.c is called under its owner's lock, whichever thread calls.  One identity for all threads makes every
 *     free a local one, and leaves no thread-local variable (an archive's would cost every program that links it, a
 *     loaded library's may find no room), no hook in the exit of threads and nothing of a thread's that can be lost.
 *   - segments are ranges of the window (small_take, small_give), in place of its arenas: those can neither be given
 *     back nor grow.  They are pinned: nothing may be unmapped, protected or advised away under the driver.
 *   - the environment does not steer it, nothing of it runs before the first block is asked for or when the process
 *     ends: a program may hold a mimalloc of its own.
 * The links between free blocks are encoded: they lie where a program's kernels can write, and a stray store there
 * must cost that program memory, not send it to a wild address.
 */
#include "alloc/small.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mman.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#undef __GLIBC__                         /* whose thread pointer it would take for the identity of a thread */
#define __wasi__ 1
#define __thread
#define constructor unused
#define sbrk(n) ((void *)-1)             /* the only other source of memory there */
#define MI_NO_GETENV 1
#define MI_SKIP_COLLECT_ON_EXIT 1
#define MI_CACHE_DISABLE 1
#define MI_ENCODE_FREELIST 1
#if defined(__SANITIZE_ADDRESS__)
#define MI_DEBUG 2                       /* its assertions */
#define MI_PADDING 0
#else
#define NDEBUG 1
#define MI_DEBUG 0
#endif

#include <mimalloc.h>

#include <small/types.h>
_Static_assert(MI_SEGMENT_SIZE == SMALL_SEGMENT && MI_LARGE_OBJ_SIZE_MAX > SMALL_MAX, "segments");

#include <mimalloc-internal.h>

#include <stats.c>
#include <random.c>
#include <os.c>
#include <bitmap.c>
#include <segment-cache.c>
#include <segment.c>
#include <page.c>
#include <heap.c>
#include <alloc.c>
#include <alloc-aligned.c>
#include <init.c>
#include <options.c>

/* --- in place of arena.c ------------------------------------------------------------------------------------------ */

mi_arena_id_t _mi_arena_id_none(void) { return 0; }
bool _mi_arena_memid_is_suitable(size_t memid, mi_arena_id_t id) { return memid == 0 && id == 0; }

void *_mi_arena_alloc_aligned(size_t size, size_t alignment, size_t align_offset, bool *commit, bool *large,
                              bool *is_pinned, bool *is_zero, mi_arena_id_t id, size_t *memid, mi_os_tld_t *tld)
{
	(void)id;
	(void)tld;
	if (size != MI_SEGMENT_SIZE || alignment > MI_SEGMENT_ALIGN || align_offset)
		return NULL;
	*commit = true;
	*large = false;
	*is_pinned = true;
	*is_zero = false;
	*memid = 0;
	return small_take();
}

void _mi_arena_free(void *p, size_t size, size_t alignment, size_t align_offset, size_t memid, bool all_committed,
                    mi_stats_t *stats)
{
	(void)size;
	(void)alignment;
	(void)align_offset;
	(void)memid;
	(void)all_committed;
	(void)stats;
	small_give(p);
}

/* What its start would reserve if the environment said so. */
int mi_reserve_os_memory(size_t size, bool commit, bool allow_large) mi_attr_noexcept
{
	(void)size;
	(void)commit;
	(void)allow_large;
	return ENOMEM;
}

int mi_reserve_huge_os_pages_at(size_t pages, int node, size_t ms) mi_attr_noexcept
{
	(void)pages;
	(void)node;
	(void)ms;
	return ENOMEM;
}

int mi_reserve_huge_os_pages_interleave(size_t pages, size_t nodes, size_t ms) mi_attr_noexcept
{
	(void)pages;
	(void)nodes;
	(void)ms;
	return ENOMEM;
}
