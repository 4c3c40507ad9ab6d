/* alloc.h - memory: windows (worker side), granules, and the client's own allocator over what it was granted.
 *
 * A window is AG_WINDOW_BYTES of virtual addresses, naturally aligned, reserved in the worker's device address space
 * and mirrored (PROT_NONE, host part mapped) at the same addresses in the client.  Layout, from its base:
 *
 *   [0, 4 GiB - H)      device: granules from the bottom up; what is not granted is mapped to the session's *sink*
 *   [4 GiB - H, 4 GiB)  host memory: memfd, registered with the driver, same address in worker, client and GPU;
 *                       H = AG_HOST_FIRST
 *   [4 GiB, extent)     only once the client outgrew the first 4 GiB: extents double (8, 16, ... GiB); device granules
 *                       upward from the old extent, further host chunks downward from the new one; the rest sink
 *   [extent, +sink)     one sink mapping, so that GUARD_SLACK bytes past the extent belong to the client
 *   the last half       never used: two windows never touch
 *
 * extent is a power of two; while it is 4 GiB the session is *narrow* (guard.h).  Every address in
 * [base, extent + slack) is mapped at all times while the session's kernels may run: a fenced access cannot fault.  The
 * sink is AG_SINK_BYTES of device memory of the session's own, mapped over and over.
 * Granting inside the current extent replaces sink mappings; that needs the session's GPU work to be drained (bounded
 * wait, AG_DRAIN_MS); when it does not drain, the extent is doubled instead, which no running kernel can see.
 * Granules are scrubbed (zeroed) before they are mapped into a window.  The first granule of a window is the worker's
 * scratch for that client (launch workspaces): kernels may reach it, it is never granted and not covered.
 */
#ifndef AG_ALLOC_ALLOC_H
#define AG_ALLOC_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AG_WINDOW_BYTES  (1ull << 40)
#define AG_WINDOW_FIRST  0x200000000000ull      /* window k is at AG_WINDOW_FIRST + k * AG_WINDOW_BYTES */
#define AG_WINDOW_COUNT  48u                    /* below 0x500000000000: the driver's own addresses stay free there */
#define AG_EXTENT_MIN    (1ull << 32)
#define AG_EXTENT_MAX    (AG_WINDOW_BYTES / 2)
#define AG_GRANULE       (2ull << 20)
#define AG_SINK_BYTES    (64ull << 20)
/* First host chunk; $AGILEOS_HOST_MB of the worker overrides, multiple of 32 MiB. */
#define AG_HOST_FIRST    (32ull << 20)   /* half a millisecond each MiB, at every start (H200) */
#define AG_HOST_BYTES    (128ull << 20)  /* the least of any further chunk */
#define AG_DRAIN_MS      20

/* --- ranges: an allocator over address ranges, metadata outside the ranges (client: device and pinned memory) */

struct range_heap;   /* not thread safe; the owner locks */

/* align_min: least alignment of every block (512 for device memory as NVIDIA gives, 64 for host). */
struct range_heap *range_heap_new(size_t align_min);
void range_heap_free(struct range_heap *h);
/* Adds [addr, addr+bytes) to what may be handed out; adjacent regions merge. 0, or -1 out of memory. */
int range_heap_add(struct range_heap *h, uint64_t addr, uint64_t bytes);
/* Best fit, lowest address. Blocks of at most 4 GiB never cross a 4 GiB line. 0 when nothing fits. `seq`: only free
 * blocks whose `busy_until` <= seq are used. */
uint64_t range_alloc(struct range_heap *h, uint64_t bytes, uint64_t align, uint64_t seq);
/* Smallest busy_until that would let an allocation of that size succeed; UINT64_MAX: more memory is needed. */
uint64_t range_wait_for(const struct range_heap *h, uint64_t bytes, uint64_t align);
/* Frees a block given by its start; work submitted up to `busy_until` may still touch it. Its size, or 0: not the
 * start of a live block. */
uint64_t range_free(struct range_heap *h, uint64_t addr, uint64_t busy_until);
/* The live block that contains addr: start and size. */
bool range_find(const struct range_heap *h, uint64_t addr, uint64_t *start, uint64_t *bytes);
/* Takes a wholly free, granule-aligned tail region of at least `bytes` out of the heap, to be given back. Its address
 * and size, or false. */
bool range_heap_trim(struct range_heap *h, uint64_t seq, uint64_t keep, uint64_t *addr, uint64_t *bytes);
uint64_t range_heap_used(const struct range_heap *h);
uint64_t range_heap_total(const struct range_heap *h);
bool range_heap_is_valid(const struct range_heap *h);

/* --- small blocks (client): mimalloc over a range heap, for pinned and managed memory.  One per process, for its one
 * session; not thread safe; the owner locks.  Which blocks live is known outside of the memory they lie in: whatever is
 * written there, only blocks that were handed out are freed or found. */

#define SMALL_SEGMENT (4ull << 20)      /* taken from the range heap, and given back once no block of it lives */
#define SMALL_MAX     (1ull << 20)      /* larger blocks are ranges */
#define SMALL_ALIGN   512u              /* of every block */

/* false: blocks over an earlier heap still live. */
bool small_open(struct range_heap *over);
/* A block of at most SMALL_MAX bytes, aligned to `align` (at most 4096).  `seq`: work up to it is over.  0: no range
 * for a segment is free and idle, or out of memory. */
uint64_t small_alloc(uint64_t bytes, uint64_t align, uint64_t seq);
/* Frees the block that starts at addr; it is reused once work up to `busy_until` is over.  false: no such block. */
bool small_free(uint64_t addr, uint64_t busy_until, uint64_t seq);
bool small_holds(uint64_t addr);         /* does addr lie in a segment? */
/* The start of the last live block of addr's segment that begins at or before addr; 0: none. */
uint64_t small_find(uint64_t addr);
/* Gives every segment without live blocks back to the range heap. */
void small_collect(uint64_t seq);
uint64_t small_segments(void);

/* --- windows (worker) --- */

struct ag_driver;    /* build/gen/driver.h: the real entry points */
struct window;

struct window_stats { uint64_t device_bytes, host_bytes, extent; };

/* Reserves window number `k`, its sink and first host chunk. CUresult. *host_fd: memfd of the first host chunk (owned
 * by the window), sealed against resizing. */
int window_open(const struct ag_driver *d, unsigned k, struct window **out, int *host_fd);
/* Gives all device memory back; only window_close() may follow. The session's work must be over. */
void window_empty(struct window *w);
void window_close(struct window *w);                 /* unmaps and frees everything; the session's work must be over */
uint64_t window_base(const struct window *w);
uint64_t window_extent(const struct window *w);
/* A hole could not be filled again: the session must end before its kernels run on. */
bool window_broken(const struct window *w);
struct window_stats window_stats(const struct window *w);
/* Grants at least `bytes` of scrubbed device memory (or host memory: *host_fd gets a new memfd, owned by the window).
 * `drain(arg, ms)`: returns true once the session's GPU work is over. CUresult; CUDA_ERROR_OUT_OF_MEMORY changes
 * nothing. */
int window_grant(struct window *w, uint64_t bytes, bool host, bool (*drain)(void *, unsigned ms), void *arg,
		 uint64_t *addr, uint64_t *got, int *host_fd);
int window_giveback(struct window *w, uint64_t addr, uint64_t bytes, bool (*drain)(void *, unsigned ms), void *arg);
/* Is every byte of [addr, addr+bytes) granted memory of this window (device or host)? Overflow-safe; bytes 0 is true
 * for an address inside. */
bool window_covers(const struct window *w, uint64_t addr, uint64_t bytes);
/* The same for host memory only: then the worker may read or write it through the pointer (it stays hostile data). */
bool window_covers_host(const struct window *w, uint64_t addr, uint64_t bytes);

#endif
