/* ptx_dump.h - a parsed module as readable PTX text; see ptx_dump.c. */
#ifndef AG_GUARD_PTX_DUMP_H
#define AG_GUARD_PTX_DUMP_H

#include <stdio.h>

struct ptx_module;

/* Writes the module to `f`.  Parsing the text gives an equal module. */
void ptx_dump(const struct ptx_module *m, FILE *f);

#endif
