/* exec_harness.c - see exec_harness.h. */
#include <stdarg.h>
#include <sys/mman.h>
#include "exec_harness.h"
#include "tests/test.h"

uint64_t host_range_addr, host_range_len;
struct exec_fault fault;
static int bad, seen;

bool soft_host_range(uint64_t addr, uint64_t len)
{
	return addr >= host_range_addr && len <= host_range_len && addr - host_range_addr <= host_range_len - len;
}

uint64_t dev_alloc(uint64_t size, uint64_t align)
{
	static uint64_t top = SOFT_DRIVER_BASE;
	uint64_t a = __atomic_fetch_add(&top, ((size + 4095) & ~4095ull) + 65536, __ATOMIC_SEQ_CST);
	(void)align;
	void *p = mmap((void *)(uintptr_t)a, size ? size : 1, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? 0 : a;
}

void dev_release(uint64_t addr, uint64_t size)
{
	munmap((void *)(uintptr_t)addr, size ? size : 1);
}

const char *slurp(const char *path)
{
	static struct kept { struct kept *next; char *path, *text; } *files;
	for (struct kept *f = files; f; f = f->next)
		if (!strcmp(f->path, path))
			return f->text;
	struct kept *f = calloc(1, sizeof *f);
	if (!f || !(f->path = strdup(path)))
		exit(2);
	f->text = test_read(path, NULL);
	f->next = files;
	files = f;
	return f->text;
}

static CUresult load(const char *text, struct exec_module **m, struct ptx_error *err)
{
	struct ptx_module *p = ptx_parse(text, strlen(text), err);
	*m = NULL;
	return p ? exec_load(p, dev_alloc, dev_release, m, err) : CUDA_ERROR_INVALID_PTX;
}

struct exec_module *load_text(const char *text)
{
	struct exec_module *m;
	struct ptx_error err;
	CUresult r = load(text, &m, &err);
	if (r != CUDA_SUCCESS) {
		printf("not ok load: error %d at line %u: %s\n", r, err.line, err.text);
		exit(1);
	}
	return m;
}

struct exec_module *load_file(const char *path)
{
	const char *s = slurp(path);
	struct exec_module *m = load_text(s);
	free((void *)s);
	return m;
}

CUresult try_load(const char *text, struct ptx_error *err)
{
	struct exec_module *m;
	CUresult r = load(text, &m, err);
	exec_unload(m);
	return r;
}

CUresult launch(struct exec_module *m, const char *kernel, struct launch_opt o, const void *params, size_t size)
{
	const struct exec_kernel *k = exec_find_kernel(m, kernel);
	if (!k) {
		printf("not ok %s: no such kernel\n", kernel);
		exit(1);
	}
	uint8_t *block = calloc(1, k->param_bytes + 16);
	memcpy(block, params, size < k->param_bytes ? size : k->param_bytes);
	struct exec_launch l = { .kernel = k, .grid = { o.grid.x, o.grid.y ? o.grid.y : 1, o.grid.z ? o.grid.z : 1 },
		.block = { o.block.x, o.block.y ? o.block.y : 1, o.block.z ? o.block.z : 1 }, .dyn_shared = o.shared,
		.cluster = { o.cluster.x, o.cluster.y, o.cluster.z },
		.params = block, .cooperative = o.cooperative, .grid_id = 1, .cancel = o.cancel };
	if (!o.cluster.x)
		memcpy(l.cluster, k->cluster, sizeof l.cluster);
	CUresult r = exec_grid(&l, &fault);
	free(block);
	return r;
}

void check(bool ok, const char *name, const char *fmt, ...)
{
	va_list ap;
	seen++;
	bad += !ok;
	if (ok) {
		printf("ok %s\n", name);
	} else {
		printf("not ok %s: ", name);
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		printf("\n");
	}
	fflush(stdout);
}

int harness_end(void)
{
	if (!seen)
		printf("not ok harness: no cases\n");
	return bad || !seen;
}

uint32_t rnd(void)
{
	static uint64_t s = 0x2545f4914f6cdd1dull;
	return (uint32_t)(test_random(&s) >> 16);
}
