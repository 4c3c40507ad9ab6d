/* exec_harness.h - what the tests of softgpu's processor share: device memory in the arena, loading PTX, launching,
 * reporting. Each test program prints `ok NAME` or `not ok NAME: reason` per case and ends with harness_end(). */
#ifndef AG_TESTS_EXEC_HARNESS_H
#define AG_TESTS_EXEC_HARNESS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "worker/softgpu/exec.h"

/* Device memory: page-granular, an unmapped page after each block. */
uint64_t dev_alloc(uint64_t size, uint64_t align);
void dev_release(uint64_t addr, uint64_t size);
#define DEV(T, n) ((T *)(uintptr_t)dev_alloc(sizeof(T) * (n), 256))

/* Host memory that soft_host_range() admits. */
extern uint64_t host_range_addr, host_range_len;

struct exec_module *load_text(const char *text);             /* prints the error and exits when it does not load */
struct exec_module *load_file(const char *path);
CUresult try_load(const char *text, struct ptx_error *err);  /* loads and unloads */

extern struct exec_fault fault;                              /* of the last launch */
struct dims { uint32_t x, y, z; };
struct launch_opt {
	struct dims grid, block, cluster;
	uint32_t shared;
	bool cooperative;
	const volatile uint32_t *cancel;
};
CUresult launch(struct exec_module *m, const char *kernel, struct launch_opt o, const void *params, size_t size);
#define LAUNCH(m, k, g, b, ...) ({ \
	struct { __VA_ARGS__; } *p_ = &args; \
	launch(m, k, (struct launch_opt){ .grid = { g, 1, 1 }, .block = { b, 1, 1 } }, p_, sizeof *p_); })

void check(bool ok, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int harness_end(void);
const char *slurp(const char *path); /* a file's text, kept */
uint32_t rnd(void);                                          /* deterministic */

#endif
