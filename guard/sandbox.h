/* sandbox.h - how the helper's children give up what they do not need.  Used by zygote.c alone. */
#ifndef AG_GUARD_SANDBOX_H
#define AG_GUARD_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/* Limits of one child; what each is for: helper.h. */
struct sandbox_limits { uint32_t cpu_s, wall_s, memory_mib, output_mib; };

/* Once, in the zygote: no new privileges, no core dumps, not traceable; from root to nobody.  False: errno says why. */
bool sandbox_drop(void);
/* In a child: resource limits. */
bool sandbox_limit(const struct sandbox_limits *l);
/* In a child that computes: from now on only memory, exit, and writing to out_fd.  Anything else kills it. */
bool sandbox_compute(int out_fd);
/* In the child that becomes the program behind program_fd: what a compiler of one file needs. */
bool sandbox_compiler(int program_fd);

#endif
