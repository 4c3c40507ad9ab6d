/* exec_fuzz.c - mutated PTX on softgpu's processor: whatever the parser accepts must load or be refused, and run,
 * fault or be cancelled, without harm to the process.  Meant for the sanitizers.  Arguments: iterations, seed. */
#include <ctype.h>
#include <pthread.h>
#include <time.h>
#include "exec_harness.h"

static uint64_t state;
static uint32_t next(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % n;
}

static const char *const words[] = { ".u8", ".s8", ".u16", ".s16", ".u32", ".s32", ".u64", ".s64", ".b8", ".b16",
	".b32", ".b64",
	".b128", ".f16", ".f16x2", ".bf16", ".f32", ".f64", ".pred", ".v2", ".v4", ".global", ".shared", ".local",
	".const",
	".param", ".sat", ".ftz", ".rz", ".rn", ".cc", ".hi", ".lo", ".wide", "-1", "0", "1", "31", "4294967295",
	"18446744073709551615", "9223372036854775807", "0x80000000", "4096", "%r1", "%rd1", "%rd2", "%f1", "%p1",
	"%rs1", "%h1", "{%r1, %r2}", "_", "!%p1", "0f7f800000", "%tid.x", "ret;", "exit;", "bar.sync 0;", "trap;" };

/* Where the k-th word begins, counting from a random place. */
static char *some_word(char *text, size_t len)
{
	char *p = text + next((uint32_t)len);
	while (*p && !strchr(".%0123456789", *p))
		p++;
	return *p ? p : text;
}

static char *mutate(const char *seed)
{
	size_t len = strlen(seed), cap = len + 4096;
	char *t = malloc(cap);
	memcpy(t, seed, len + 1);
	for (uint32_t n = 1 + next(3); n; n--) {
		char *p = some_word(t, len), *e = p + 1;
		while (isalnum((unsigned char)*e) || *e == '_')
			e++;
		const char *w = words[next(sizeof words / sizeof *words)];
		size_t wl = strlen(w);
		if (next(8) == 0) {
			/* A whole line goes, or comes twice. */
			char *nl = strchr(p, '\n'), *nl2 = nl ? strchr(nl + 1, '\n') : NULL;
			size_t k = nl2 ? (size_t)(nl2 - nl) : 0;
			if (!k || k > 200 || len + k + 1 > cap)
				continue;
			if (next(2)) {
				memmove(nl + k, nl, len - (size_t)(nl - t) + 1);
				len += k;
			} else {
				memmove(nl, nl2, len - (size_t)(nl2 - t) + 1);
				len -= k;
			}
			continue;
		}
		if (len + wl + 1 > cap)
			break;
		memmove(p + wl, e, len - (size_t)(e - t) + 1);
		memcpy(p, w, wl);
		len = strlen(t);
	}
	return t;
}

static volatile uint32_t cancel;
static volatile bool running, done;

static void *watchdog(void *arg)
{
	(void)arg;
	for (int ms = 0; !done; ms = running ? ms + 1 : 0) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		if (ms > 20)
			cancel = 1;
	}
	return NULL;
}

static void nowhere(const char *text, size_t len)
{
	(void)text;
	(void)len;
}

static int loaded, ran;

static void one(const char *seed, void *memory)
{
	char *t = mutate(seed);
	struct ptx_error err;
	struct ptx_module *p = ptx_parse(t, strlen(t), &err);
	struct exec_module *m = NULL;
	if (p)
		exec_load(p, dev_alloc, dev_release, &m, &err);
	loaded += m != NULL;
	for (uint32_t k = 0; m && k < 2 && exec_kernel_count(m); k++) {
		const struct exec_kernel *f = exec_kernel_at(m, next(exec_kernel_count(m)));
		uint64_t params[512] = { 0 };
		for (int i = 0; i < 16; i++)
			params[i] = next(4) ? (uint64_t)(uintptr_t)memory : next(100);
		if (f->param_bytes > sizeof params)
			continue;
		struct exec_launch l = { .kernel = f, .grid = { 1 + next(2), 1, 1 }, .block = { 1 + next(70), 1, 1 },
			.dyn_shared = next(2) * 1024, .params = params, .cooperative = next(2), .cancel = &cancel };
		cancel = 0;
		running = true;
		exec_grid(&l, &fault);
		running = false;
		ran++;
	}
	exec_unload(m);
	free(t);
}

int main(int argc, char **argv)
{
	static const char *const seeds[] = { "build/tests/softgpu/exec_kernels.ptx",
		"build/tests/softgpu/exec_matrix_kernels.ptx" };
	int n = argc > 1 ? atoi(argv[1]) : 300;
	const char *text[2];
	void *memory = DEV(uint8_t, 1 << 16);
	pthread_t w;
	state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	exec_printf = nowhere;
	if (!freopen("/dev/null", "w", stderr))
		return 1;
	for (int i = 0; i < 2; i++)
		text[i] = slurp(seeds[i]);
	pthread_create(&w, NULL, watchdog, NULL);
	for (int i = 0; i < n; i++)
		one(text[next(2)], memory);
	done = true;
	pthread_join(w, NULL);
	check(loaded > n / 20 && ran > 0, "mutated_modules", "only %d of %d loaded", loaded, n);
	printf("# %d of %d mutants loaded, %d launches\n", loaded, n, ran);
	for (int i = 0; i < 2; i++)
		free((void *)text[i]);
	return harness_end();
}
