/* exec_regs.c - prints softgpu's register estimate of every kernel of the PTX files named: `FILE KERNEL REGISTERS`.
 * registers_test.lua compares it with what ptxas takes. */
#include "exec_harness.h"

static uint64_t some_alloc(uint64_t size, uint64_t align)
{
	return dev_alloc(size, align);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct exec_module *m = NULL;
		struct ptx_error err = { 0 };
		const char *text = slurp(argv[i]);
		struct ptx_module *p = ptx_parse(text, strlen(text), &err);
		if (!p || exec_load(p, some_alloc, dev_release, &m, &err)) {
			fprintf(stderr, "%s:%u: %s\n", argv[i], err.line, err.text);
			return 1;
		}
		for (uint32_t k = 0; k < exec_kernel_count(m); k++)
			printf("%s %s %u\n", argv[i], exec_kernel_at(m, k)->name, exec_kernel_at(m, k)->num_regs);
		exec_unload(m);
	}
	return 0;
}
