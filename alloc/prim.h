/* prim.h - what a window needs of the machine: addresses, physical memory, mappings, registered host memory.
 *
 * The only implementation, prim_driver.c, is written on the Driver table (NVIDIA's or softgpu's).  All functions are
 * called by the thread that owns the window, with the worker's context current.  Results are CUresult; a failure leaves
 * nothing behind. Addresses and sizes are multiples of AG_GRANULE.
 */
#ifndef AG_ALLOC_PRIM_H
#define AG_ALLOC_PRIM_H

#include <stdint.h>

struct ag_driver;

struct prim {
	const struct ag_driver *d;
	int device;   /* CUdevice */
	void *stream; /* CUstream for scrubbing, of this window alone */
};

int prim_open(struct prim *p, const struct ag_driver *d);
void prim_close(struct prim *p);

/* Reserves exactly [addr, addr+bytes) for device mappings; CUDA_ERROR_OUT_OF_MEMORY when it is taken. */
int prim_reserve(const struct prim *p, uint64_t addr, uint64_t bytes);
int prim_unreserve(const struct prim *p, uint64_t addr, uint64_t bytes);

/* Physical device memory; its contents are whatever the last owner left there. */
int prim_create(const struct prim *p, uint64_t bytes, uint64_t *handle);
int prim_release(const struct prim *p, uint64_t handle);

/* Maps the first `bytes` of a handle; not accessible until prim_access. Unmapping takes exactly what one prim_map
 * mapped. */
int prim_map(const struct prim *p, uint64_t addr, uint64_t bytes, uint64_t handle);
int prim_unmap(const struct prim *p, uint64_t addr, uint64_t bytes);
int prim_access(const struct prim *p, uint64_t addr, uint64_t bytes);

/* Fills accessible device memory with zeros and waits for that. */
int prim_zero(const struct prim *p, uint64_t addr, uint64_t bytes);

/* Zeroed host memory at that address in this process and on the GPU, backed by a memory file sealed against resizing.
 * *fd is the caller's. */
int prim_host_map(const struct prim *p, uint64_t addr, uint64_t bytes, int *fd);
void prim_host_unmap(const struct prim *p, uint64_t addr, uint64_t bytes, int fd);

#endif
