/* world.h - the memory around a guarded kernel on softgpu's processor, for the tests that attack: a client's window,
 * and outside of it what it must not reach, filled with a secret.
 *
 *   below | window: 4 GiB (8 GiB when wide), its slack | next (when narrow) ... | neighbour ... service, records, kill
 *   flag */
#ifndef AG_TESTS_WORLD_H
#define AG_TESTS_WORLD_H

#include <pthread.h>
#include "guard/guard.h"
#include "tests/softgpu/exec_harness.h"

#define GIB (1ull << 30)
#define WINDOW (SOFT_ARENA_BASE + 64 * GIB)
#define NEIGHBOUR (WINDOW + 16 * GIB)
#define BELOW (WINDOW - 16 * GIB)
#define SERVICE (WINDOW + 48 * GIB)
#define WORKER (WINDOW + 56 * GIB)      /* records, kill flag, textures and surfaces */
#define OWN (WINDOW + 65536)
#define AREA 65536u                     /* of a victim, and of the client's memory that attacks use */
#define SECRET 0x5ec2e75au
#define DATA (WINDOW + (64 << 20))      /* the module's variables */
#define RING (WINDOW + (128 << 20))
#define OWN_ROWS (WORKER + 3 * AREA + 8192)
enum { EMPTY_TEXTURE = 1, EMPTY_SURFACE = 2, OWN_SURFACE = 7 };      /* 2 to 6: one of each geometry */

void world_map(void);                   /* once */
void world_set(bool wide);              /* secrets outside, zeroes inside, no records, the kill flag clear */
/* What a block of another client's leaves behind: this word all over the first 64 KiB of shared memory and 4 KiB of
 * each thread's local memory. */
void world_leave(uint32_t word);
bool world_untouched(bool wide);        /* every secret is where it was */
bool world_holds(uint32_t word);        /* that word, at any byte of what the client can look at */
bool world_leaked(void);                /* the secret */
bool world_describe(struct exec_module *m, bool wide);  /* writes ag_desc of a guarded module */

/* While the grid runs: after first_ms *first becomes 1 (NULL: what then_ms does), after then_ms the grid is cancelled.
 * */
struct world_clock { volatile uint32_t *first, *then; unsigned first_ms, then_ms; volatile bool done,
	fired; pthread_t thread; };
CUresult world_launch(struct exec_module *m, const char *kernel, struct launch_opt o, const void *args, size_t size,
		      struct world_clock *t);

#endif
