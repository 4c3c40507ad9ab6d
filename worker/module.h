/* module.h - a session's modules. Shared by module.c (preparing, loading, variables) and launch.c (kernels). */
#ifndef AG_WORKER_MODULE_H
#define AG_WORKER_MODULE_H

#include "prepared.h"
#include "session.h"

#define MODULE_TEXT_MAX (256ull << 20)
#define MODULE_TEXTS_MAX (2ull << 30) /* of one session's modules together: their texts stay */
#define MODULE_PIECES_MAX 1024u

/* A module as loaded for windows of at most 4 GiB, or for larger ones. Each has its own descriptor and constant bank.
 */
struct variant {
	struct prepared *p;
	CUmodule mod;
	CUfunction *fn;         /* by position in result.kernels */
	bool *no_room;          /* the same: its local memory is more than the device has for it */
	CUdeviceptr desc, bank; /* ag_desc, ag_const (0: none) */
	bool own_bank;          /* bank is an allocation of ours, not the module's */
	uint64_t extent;        /* what the descriptor says */
};

struct func_attr {
	struct func_attr *next;
	uint32_t kernel;
	CUfunction_attribute attr;
	int value;
};

struct module {
	struct module *next; /* all of the session's, unloaded ones included until they are idle */
	ag_id id;
	uint32_t number; /* in descriptors and records */
	bool loaded, zombie;
	struct variant v[2]; /* narrow, wide */
	uint8_t *text;       /* the private copy, for the other variant */
	struct guard_input *in;
	uint32_t npieces;
	uint64_t bytes; /* of text */
	uint64_t data;
	struct func_attr *attrs;
};

struct module *module_find(const struct session *s, ag_id id);
/* Any variant: what does not depend on the window's size is the same in both. */
const struct prepared *module_prepared(const struct module *m);
/* The variant for the window as it is now, made and loaded if need be, its descriptor up to date. */
CUresult module_variant(struct session *s, struct module *m, struct variant **out);

#endif
