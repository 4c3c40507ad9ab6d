/* modinfo.h - what module_prepare answers: kernels and symbols of a guarded module, as one block of bytes at msg.out.
 *
 * Offsets count from the start of the block; strings are NUL-terminated inside it.  The client (api/client/module.c)
 * reads it; it comes from the trusted worker but describes client text, so the client bounds-checks it all the same.
 */
#ifndef AG_BASE_MODINFO_H
#define AG_BASE_MODINFO_H
#include <stdint.h>

struct ag_modinfo {
	uint32_t nkernels, nsymbols;
	uint32_t kernels_off, symbols_off;   /* arrays of the structs below */
	uint64_t data_bytes, const_bytes;
};
struct ag_kerninfo {
	uint32_t name_off, nparams, params_off;   /* params: nparams pairs of u32 offset, size */
	uint32_t param_bytes;                     /* what launch's tail must have exactly (0 when no parameters) */
	uint32_t max_threads, static_shared, local_bytes, const_bytes, num_regs;
	int32_t ptx_version, binary_version, cache_mode_ca;
	int32_t max_dynamic_shared, preferred_carveout;
	uint32_t reqntid[3], maxntid[3];
	uint32_t cluster[3];                      /* as declared, 0: not */
	uint32_t cluster_must_be_set;             /* .explicitcluster */
	uint32_t line;                            /* of the .entry in its text */
};
struct ag_syminfo {
	uint32_t name_off, is_const, is_managed, pad;
	uint64_t offset, size;                    /* in the data block, or in the constant bank */
};
#endif
