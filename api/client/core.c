/* core.c - one core per process: agc_table() finds the table that serves all copies of our libraries.
 *
 * The first copy that is asked maps the page at AGC_CORE_PAGE (MAP_FIXED_NOREPLACE decides the race) and publishes
 * its table there; the page is never unmapped.  A forked child inherits page and code, so the table stays right;
 * whether its session may be used is session.c's. The publishing copy pins its own object, so that dlclose of a
 * plugin does not take the core away from the others.
 */
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define CORE_READY   0x45524f43u     /* "CORE" */
#define CORE_VERSION (uint32_t)(AG_WIRE_VERSION << 16 | (sizeof(struct ag_driver) / sizeof(void *) & 0xffff))

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static _Atomic(const struct ag_driver *) found;

void agc_log(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof line - 2)
		n = sizeof line - 2;
	line[n] = 0;
	fprintf(stderr, "agileos: %s\n", line);
}

static void pin(void)
{
	Dl_info info;
	if (dladdr((const void *)&agc_own_table, &info) && info.dli_fname && info.dli_fname[0])
		(void)dlopen(info.dli_fname,
			     RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE); /* the main program: already permanent */
}

static const struct ag_driver *publish(struct agc_core_page *page)
{
	page->version = CORE_VERSION;
	page->pid = getpid();
	page->table = &agc_own_table;
	atomic_store_explicit(&page->ready, CORE_READY, memory_order_release);
	pin();
	return &agc_own_table;
}

static const struct ag_driver *find(void)
{
	struct agc_core_page *page = mmap((void *)AGC_CORE_PAGE, 4096, PROT_READ | PROT_WRITE,
	                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (page == (void *)AGC_CORE_PAGE)
		return publish(page);
	if (page != MAP_FAILED) {        /* a kernel before 4.17 takes the address as a hint */
		munmap(page, 4096);
		return &agc_own_table;
	}
	page = (void *)AGC_CORE_PAGE;
	if (errno != EEXIST)
		return &agc_own_table;
	for (int i = 0; i < 100000; i++) {
		if (atomic_load_explicit(&page->ready, memory_order_acquire) == CORE_READY)
			break;
		sched_yield();
	}
	if (atomic_load_explicit(&page->ready, memory_order_acquire) == CORE_READY && page->version == CORE_VERSION)
		return page->table;
	agc_log("another version of these libraries already serves this process; this one keeps to itself");
	return &agc_own_table;
}

const struct ag_driver *agc_table(void)
{
	const struct ag_driver *t = atomic_load_explicit(&found, memory_order_acquire);
	if (__builtin_expect(!t, 0)) {
		t = find();
		atomic_store_explicit(&found, t, memory_order_release);
	}
	return t;
}
