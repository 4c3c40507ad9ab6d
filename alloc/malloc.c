/* malloc.c - the worker's malloc: mimalloc out of the same sources as the client's (mimalloc.c), as it comes.
 *
 * A private worker inherits the environment of the program that started it, and settings there are for that program's
 * malloc.  Memory nodes are not looked for: that reads files, when memory first grows, which may be in the sandbox.
 */
#define MI_MALLOC_OVERRIDE 1
#define MI_NO_GETENV 1
#define NDEBUG 1
#define MI_DEBUG 0

#include <static.c>

__attribute__((constructor(101))) static void one_node(void)
{
	mi_option_set(mi_option_use_numa_nodes, 1);
}
