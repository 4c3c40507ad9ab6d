/* verify.h - the independent judge of guarded PTX.
 *
 * Includes nothing of the rewriter, shares no code, table or header with it (its allow-list is allow.def). Reads the
 * final text with its own lexer, line by line: the canonical form has one statement a line. Default: refuse.
 * If verify() accepts, then whatever the text does, its kernels access only: the client's window (plus GUARD_SLACK),
 * their own shared, local and param space within bounds, ag_const, and call only declared runtime functions and gates;
 * they never trap, and every loop polls the kill flag.
 */
#ifndef AG_GUARD_VERIFY_H
#define AG_GUARD_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verify_options {
	bool wide;                 /* windows over 4 GiB */
	bool scrub;                /* kernels must clear their shared and local memory before anything else */
	bool meet;                 /* no thread waits in hardware for one that may never come (guard.h, MEET) */
};

struct verify_gate { const char *name; uint8_t nparams; uint8_t param_bytes[16]; uint8_t ret_bytes; };

struct verify_kernel {         /* facts read from the text; what the worker may rely on at launch */
	uint32_t index;            /* k<index> */
	uint32_t param_bytes;      /* whole block, hidden parameter included */
	bool uses_dyn_shared, hidden_coop;
	uint32_t static_shared, shared_head;   /* bytes; of these, at the beginning, the guard's own */
	/* least dynamic shared size the worker must launch with (guard.h, LAUNCH CONTRACT) */
	uint32_t min_dyn_shared;
};

#define VERIFY_MAX_KERNELS 65536u

struct guard_verdict {
	bool ok;
	uint32_t line;             /* of the guarded text */
	char reason[200];
	uint32_t nkernels;
	struct verify_kernel *kernels; /* malloc'd, sorted by index; verify_free */
	uint64_t const_bytes;      /* of ag_const */
};

int verify(const char *text, size_t len, const struct verify_options *opt, const struct verify_gate *gates,
	   uint32_t ngates, struct guard_verdict *out);
void verify_free(struct guard_verdict *v);

#endif
