/* exec_flow.h - blocks and liveness of one function's virtual registers, shared by exec_regs.c (which owns the sets and
 * frees them) and exec_need.c. */
#ifndef AG_SOFTGPU_EXEC_FLOW_H
#define AG_SOFTGPU_EXEC_FLOW_H

#include <stdbool.h>
#include <stdint.h>
#include "exec_internal.h"

struct block { uint32_t first, end; };

struct flow {
	const struct ptx_func *pf;
	struct block *blocks;
	uint32_t nblocks, words;
	uint32_t *block_of;          /* by instruction */
	uint64_t *in, *def, *use;    /* sets, `words` per block */
	uint32_t *start, *stop;      /* interval by register, in instructions; start > stop: never used */
};

typedef void (*reg_fn)(struct flow *f, void *arg, uint32_t reg);

/* fn for each register that an operand names. */
void flow_each_reg(struct flow *f, const struct ptx_operand *o, reg_fn fn, void *arg);
/* Does the instruction's first operand only receive?  Else it counts as read too. */
bool flow_pure_destination(const struct ptx_inst *i);
/* What is live at the end of block b, into `out`. */
void flow_live_out(struct flow *f, uint32_t b, uint64_t *out);
/* 32-bit hardware registers that a compiler needs for what is live at once; width: share_registers()'. */
uint32_t flow_need(struct flow *f, const uint8_t *width);

#endif
