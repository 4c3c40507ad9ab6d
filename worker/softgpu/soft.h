/* soft.h - what softgpu tells its host program besides the Driver API.
 *
 * The Driver API itself is the set of functions soft_<exported symbol>, gathered into a table by the worker.
 * Environment: AGILEOS_SOFTGPU_MEMORY is the device's memory in MiB (default: 4096, or a quarter of the machine's
 * memory if that is less).
 */
#ifndef AG_SOFTGPU_SOFT_H
#define AG_SOFTGPU_SOFT_H

#include <stdbool.h>
#include "exec.h"

/* The latest grid that failed in this process.  false: none has.  `kernel` gets its name, NUL-terminated. */
bool soft_last_fault(struct exec_fault *fault, CUresult *error, char *kernel, size_t kernel_size);

#endif
