/* device.h - what guarded kernels, the trusted device runtime, the worker and the client read and write together.
 *
 * Plain C that nvcc accepts too.  Everything inside a window may be changed by its client at any time: the runtime
 * reads such a word once and bounds what it makes of it. */
#ifndef AG_GUARD_DEVICE_H
#define AG_GUARD_DEVICE_H

#include <stdint.h>

#define GUARD_SLACK 4096u
#define GUARD_DESC_BYTES 128u

/* What the worker writes into ag_desc of every module it loads. All addresses are device addresses. */
struct guard_desc {
	uint32_t window_hi;         /*   0 window base >> 32 */
	uint32_t window_mask_hi;    /*   4 (extent - 1) >> 32; 0 while the client is narrow */
	uint64_t data;              /*   8 the module's relocated variables, inside the window */
	uint64_t kill;              /*  16 u32, worker-owned: non-zero ends this client's kernels */
	uint64_t records;           /*  24 struct guard_records, worker-owned */
	uint64_t fault_word;        /*  32 u32 inside the client's window: set to 1 when a record was written */
	/*  40 struct guard_printf inside the window; 0: printf prints nothing, returns -1 */
	uint64_t printf_ring;
	uint64_t heap;              /*  48 struct guard_heap inside the window; 0: malloc returns NULL */
	uint64_t textures;          /*  56 worker-owned table of u64 handles */
	uint32_t ntextures;         /*  64 entries, at least 1 */
	uint32_t client;            /*  68 session number, copied into records */
	uint32_t module;            /*  72 module number, copied into records */
	uint32_t pad;               /*  76 */
	uint64_t window_base;       /*  80 for gates and runtime: base and extent of the window, */
	uint64_t window_extent;     /*  88   as of the latest grant */
	uint64_t gates;             /*  96 worker-owned: u64 per gate service, its device state (adapters/adapter.h) */
	uint64_t surfaces;          /* 104 worker-owned table of struct guard_surface */
	uint32_t nsurfaces;         /* 112 entries, at least 1 */
	uint32_t pad2;              /* 116 */
	uint64_t reserved;          /* 120 */
};

/* What a surface instruction says of its surface. */
enum guard_geometry { GUARD_1D, GUARD_2D, GUARD_3D, GUARD_A1D, GUARD_A2D, GUARD_GEOMETRIES };

/* One surface as kernels find it: an instruction takes the handle of its geometry and of its access's size (1, 2, 4, 8,
 * 16 bytes).  That is the surface where the array has this geometry and its rows hold whole accesses of this size, else
 * the empty surface of that geometry.  What the hardware does to a header of another geometry is not documented, and
 * an access across the end of a row could reach what lies behind it. */
struct guard_surface {
	uint64_t query;                        /* suq */
	uint64_t handle[GUARD_GEOMETRIES][5];  /* [1][2], at 8 + 40 + 16: 2d, 4 bytes */
};

enum guard_fault_kind {
	GUARD_FAULT_ADDRESS = 1,    /* outside window, shared, local or const bounds -> CUDA_ERROR_ILLEGAL_ADDRESS */
	GUARD_FAULT_ALIGN = 2,      /* -> CUDA_ERROR_MISALIGNED_ADDRESS */
	GUARD_FAULT_TRAP = 3,       /* -> CUDA_ERROR_LAUNCH_FAILED */
	GUARD_FAULT_ASSERT = 4,     /* -> CUDA_ERROR_ASSERT */
	GUARD_FAULT_GATE = 5,       /* a gate refused a pointer -> CUDA_ERROR_ILLEGAL_ADDRESS */
};

/* The packed word of ag_rt_report(kernel, packed, addr): line in the low 27 bits, above them what happened. */
#define GUARD_CODE_SHIFT 27
enum guard_code {               /* 0 to 5: log2 of the width of an access that had to be moved or aligned */
	GUARD_CODE_TRAP = 6,
	GUARD_CODE_ASSERT = 7,
	GUARD_CODE_GATE = 8,        /* for gates, which pass GUARD_NO_KERNEL and line 0 */
};
#define GUARD_NO_KERNEL 0xffffffffu

/* Written by ag_rt_report in the order of `count`; records past GUARD_MAX_RECORDS are only counted. */
#define GUARD_MAX_RECORDS 64u
struct guard_record {
	uint32_t valid;             /* written last, 1 */
	uint32_t kind;              /* enum guard_fault_kind */
	uint32_t client, module;    /* from the descriptor */
	uint32_t kernel;            /* N of k<N> */
	uint32_t line;              /* of the client's PTX */
	uint64_t addr;
	uint32_t ctaid[3], tid[3];
};
struct guard_records { uint32_t count; uint32_t pad; struct guard_record rec[GUARD_MAX_RECORDS]; };

/* Kernel printf: a ring in the client's window, drained by the client at its synchronisation points and when it fills
 * up.
 *
 * A record starts at a multiple of 8, is a multiple of 8 bytes long and may wrap: byte i of it is at data[(start + i)
 * & (bytes - 1)].
 *   u32 bytes of the record, u32 kind (0 printf, 1 assert): written last, as one u64; 0 until then
 *   u64 number of arguments, then the arguments, 8 bytes each
 *   then strings, each NUL-terminated and padded to a multiple of 8
 * printf: the first string is the format.  Integers and pointers are extended to 8 bytes as their conversion says (d,
 * i: with the sign), floating arguments are f64, the argument of %s is the offset of its string in the record (0: the
 * pointer was not readable), that of a `*` stands before its conversion's.
 * assert: ten arguments: offsets of message, file and function (0 as above), the line, ctaid and tid (x, y, z).
 *
 * Producers move `reserved` by compare-and-swap; when a record does not fit they count `dropped` (CUDA overwrites the
 * oldest; either loses output).  The consumer reads from `consumed` while the first word there is not 0, zeroes what
 * it read, then moves `consumed`. */
struct guard_printf {
	uint64_t reserved;          /* bytes ever reserved */
	uint64_t consumed;          /* bytes ever drained, written by the client */
	uint32_t bytes;             /* capacity, power of two */
	uint32_t dropped;
	uint8_t data[];
};

/* Kernel malloc: blocks of the range [next, end) of the window, each behind a 16-byte header { u64 bytes, u64 next
 * free }. */
struct guard_heap {
	uint64_t next, end;         /* never used so far; both multiples of 16; all zero: malloc returns NULL */
	uint64_t free_list;         /* header of the first free block, 0 none */
	uint32_t lock, pad;
};

#endif
