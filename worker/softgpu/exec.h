/* exec.h - softgpu's processor: decoded PTX and the grid interpreter.
 *
 * The Driver side (soft_module.c, soft_stream.c ...) calls exec_load() once per module and exec_grid() from a stream's
 * thread, several at once.  The processor knows nothing of streams, contexts or clients.
 *
 * Addresses.  A device address in the global space IS a host address inside the arena
 * [SOFT_ARENA_BASE, SOFT_ARENA_END); the Driver side maps and unmaps memory there.  The interpreter checks that an
 * access lies in the arena and then dereferences it; a page that is not mapped raises SIGSEGV, which exec_fault.c
 * turns into CUDA_ERROR_ILLEGAL_ADDRESS of that grid (sigsetjmp per executing thread).  Nothing of the worker's own
 * heap lies in the arena, but *everything* a real GPU's context could reach does: other clients' memory, service
 * memory, module variables. That is on purpose: an unguarded kernel must be able to do here what it could do there.
 *
 * Registered or mapped host memory that lies outside the arena is reachable when soft_host_range() says so.
 */
#ifndef AG_SOFTGPU_EXEC_H
#define AG_SOFTGPU_EXEC_H

#include <stdbool.h>
#include <stdint.h>
#include <cuda.h>
#include "../../guard/ptx.h"

#define SOFT_ARENA_BASE   0x200000000000ull  /* windows are carved from the bottom (alloc/alloc.h) */
#define SOFT_ARENA_END    0x600000000000ull
#define SOFT_DRIVER_BASE  0x500000000000ull  /* cuMemAlloc, module variables and so on: from here up */
/* Generic-address windows of the non-global spaces (as on hardware: 16 MiB apertures, values are ours). */
#define SOFT_SHARED_BASE  0x010000000000ull
#define SOFT_LOCAL_BASE   0x020000000000ull
#define SOFT_CONST_BASE   0x030000000000ull
#define SOFT_CODE_BASE    0x040000000000ull  /* function addresses: base + 16 * function index */

#define EXEC_CLUSTER_MAX 16u

struct exec_module;

struct exec_symbol {           /* a .global or .const variable of a loaded module */
	const char *name;
	uint64_t addr;             /* global: arena address; const: arena address of the backing store */
	uint64_t size;
	bool is_const, is_managed;
};

struct exec_kernel {
	const char *name;
	uint32_t param_bytes;
	uint32_t nparams;
	const uint32_t *param_offset, *param_size;
	uint32_t static_shared, local_bytes, const_bytes;
	uint32_t num_regs;         /* an estimate in 1..255, for occupancy and attributes */
	uint32_t max_threads;      /* 1024, or less by .maxntid / .reqntid */
	uint32_t reqntid[3];
	/* .reqnctapercluster, 0 absent; .explicitcluster without it; .maxclusterrank, 0 absent */
	uint32_t cluster[3];
	bool explicit_cluster;
	uint32_t max_cluster_rank;
	int ptx_version, binary_version; /* e.g. 75, 90 */
	const struct exec_module *module;
	const void *code;
};

/* Decodes a module.  `m` is owned by the result afterwards.  `alloc(size, align)` gives zeroed arena memory for
 * variables; initializers are written by exec_load.  `extern_var`, may be NULL, resolves .extern variables.
 * Errors: CUDA_ERROR_INVALID_PTX (with err), CUDA_ERROR_OUT_OF_MEMORY. */
CUresult exec_load(struct ptx_module *m, uint64_t (*alloc)(uint64_t size, uint64_t align),
	void (*release)(uint64_t addr, uint64_t size), struct exec_module **out, struct ptx_error *err);
void exec_unload(struct exec_module *m);
uint32_t exec_kernel_count(const struct exec_module *m);
const struct exec_kernel *exec_kernel_at(const struct exec_module *m, uint32_t i);
const struct exec_kernel *exec_find_kernel(const struct exec_module *m, const char *name);
const struct exec_symbol *exec_find_symbol(const struct exec_module *m, const char *name);

struct exec_launch {
	const struct exec_kernel *kernel;
	uint32_t grid[3], block[3];
	/* blocks of a cluster, at most EXEC_CLUSTER_MAX in all, each dividing the grid's; 0: no clusters */
	uint32_t cluster[3];
	uint32_t dyn_shared;       /* bytes */
	const void *params;        /* kernel->param_bytes bytes, copied by the caller for the duration */
	/* all blocks resident; %envreg1/2 hold the address of grid-sync state as on hardware */
	bool cooperative;
	uint64_t grid_id;
	/* not NULL: polled at time slices; non-zero ends the grid with CUDA_ERROR_LAUNCH_TIMEOUT (teardown only) */
	const volatile uint32_t *cancel;
};

/* Where and why a grid failed; filled when exec_grid does not return CUDA_SUCCESS. */
struct exec_fault {
	uint64_t addr;
	uint32_t line;             /* PTX line of the faulting instruction */
	uint32_t ctaid[3], tid[3];
	char what[160];
};

/* Runs a grid to its end on the calling thread and on up to exec_workers()-1 pool threads.  Returns CUDA_SUCCESS or
 * what the hardware reports: ILLEGAL_ADDRESS 700, LAUNCH_FAILED 719 (trap, brkpt), MISALIGNED_ADDRESS 716,
 * INVALID_ADDRESS_SPACE 717, HARDWARE_STACK_ERROR 714, ILLEGAL_INSTRUCTION 715, INVALID_PC 718, ASSERT 710.  vprintf
 * output goes to exec_printf, __assertfail to stderr as the driver does. */
CUresult exec_grid(const struct exec_launch *l, struct exec_fault *fault);

/* Sink of kernel printf text (complete formatted strings); default writes to stdout. */
extern void (*exec_printf)(const char *text, size_t len);

/* Threads the pool may use in all: min(cores, 64), or what $AGILEOS_SOFTGPU_THREADS says. */
unsigned exec_workers(void);
/* Thread-instructions executed since start (for bench-softgpu); approximate while grids run. */
uint64_t exec_instructions(void);

/* Bytes of the heap that kernels' malloc takes from, set before the first module that uses it loads; 8 MiB at first. */
extern uint64_t exec_heap_bytes;

/* A texture or surface object as the Driver side describes it to kernels. */
struct exec_texture {
	uint64_t data;             /* arena address of the first texel */
	uint64_t pitch, slice;     /* bytes from row to row; from plane (or layer, or face) to plane */
	/* texels; depth: planes, layers, or 6 faces a cube; 0 where there is no such dimension */
	uint32_t width, height, depth;
	uint8_t bits, channels;    /* 8, 16 or 32 bits in each of 1, 2 or 4 channels */
	enum { EXEC_TEXEL_UNSIGNED, EXEC_TEXEL_SIGNED, EXEC_TEXEL_FLOAT } kind;
	bool layered, cube;
	bool normalized_coords;    /* coordinates run from 0 to 1 */
	bool linear;               /* filter: else the nearest texel */
	bool as_integer;           /* CU_TRSF_READ_AS_INTEGER: else 8- and 16-bit integers read as -1 or 0 to 1 */
	uint8_t address[3];        /* CUaddress_mode by dimension */
	float border[4];
};

/* Provided by the Driver side where it has textures (else objects of no kind exist): describes object `handle` of
 * the context that runs kernels.  False: no such texture (surface). */
bool soft_texture(uint64_t handle, bool surface, struct exec_texture *out);

/* Provided by the Driver side: is [addr, addr+len) inside registered host memory outside the arena? */
bool soft_host_range(uint64_t addr, uint64_t len);

#endif
