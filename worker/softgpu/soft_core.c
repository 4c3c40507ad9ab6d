/* soft_core.c - the one lock, waiting for progress, the table of live handles, and the log.
 * Owns: the table; objects belong to whoever holds references to them. */
#include <stdarg.h>
#include <time.h>
#include <unistd.h>
#include "soft_internal.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;
static unsigned waiters;
static uint64_t last_id;

enum { BUCKETS = 4096 };
static struct soft_obj *buckets[BUCKETS];

void soft_lock(void)
{
	pthread_mutex_lock(&lock);
}

void soft_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

void soft_wait_progress(void)
{
	waiters++;
	pthread_cond_wait(&progress, &lock);
	waiters--;
}

void soft_sleep(pthread_cond_t *wake)
{
	pthread_cond_wait(wake, &lock);
}

void soft_progress(void)
{
	if (waiters)
		pthread_cond_broadcast(&progress);
}

void soft_log(const char *format, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	fprintf(stderr, "softgpu: %s\n", line);
}

uint64_t soft_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t soft_next_id(void)
{
	return ++last_id;
}

size_t soft_host_page(void)
{
	static size_t page;
	if (!page)
		page = (size_t)sysconf(_SC_PAGESIZE);
	return page;
}

static struct soft_obj **bucket(const void *handle)
{
	uint64_t x = (uint64_t)(uintptr_t)handle >> 4;
	return &buckets[(x * 0x9e3779b97f4a7c15ull >> 52) % BUCKETS];
}

void soft_obj_init(struct soft_obj *o, enum soft_kind kind, void (*free_fn)(struct soft_obj *))
{
	struct soft_obj **b = bucket(o);
	o->kind = kind;
	o->refs = 1;
	o->free = free_fn;
	o->listed = true;
	o->next = *b;
	*b = o;
}

void *soft_obj_find(enum soft_kind kind, const void *handle)
{
	for (struct soft_obj *o = handle ? *bucket(handle) : NULL; o; o = o->next)
		if (o == handle)
			return o->kind == kind ? o : NULL;
	return NULL;
}

void soft_obj_hide(struct soft_obj *o)
{
	if (!o->listed)
		return;
	struct soft_obj **p = bucket(o);
	while (*p != o)
		p = &(*p)->next;
	*p = o->next;
	o->listed = false;
}

void soft_ref(struct soft_obj *o)
{
	o->refs++;
}

void soft_unref(struct soft_obj *o)
{
	if (--o->refs)
		return;
	soft_obj_hide(o);
	o->free(o);
}
