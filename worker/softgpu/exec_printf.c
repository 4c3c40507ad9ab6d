/* exec_printf.c - what kernels get from the driver: vprintf, __assertfail, malloc and free.
 *
 * printf reads its format, strings and packed arguments from the thread's memory as loads would (and faults as they
 * would), builds the whole text, then gives it to exec_printf in one piece.  Heap blocks are described outside the
 * heap, so that a kernel that writes past its block damages data, never this process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "exec_internal.h"

#define TEXT_MAX 65536u
#define STRING_MAX 32768u

static void to_stdout(const char *text, size_t len)
{
	fwrite(text, 1, len, stdout);
	fflush(stdout);
}

void (*exec_printf)(const char *text, size_t len) = to_stdout;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- printf ------------------------------------------------------------------------------------- */

struct text { char *s; size_t len, cap; };

/* Buffers are the thread's own and live on, so that a fault while reading device memory leaks nothing. */
static __thread char out_buf[TEXT_MAX], fmt_buf[STRING_MAX], str_buf[STRING_MAX];

static void put(struct text *t, const char *s, size_t n)
{
	n = n < t->cap - t->len ? n : t->cap - t->len;
	memcpy(t->s + t->len, s, n);
	t->len += n;
}

/* Copies a string from device memory; at most STRING_MAX - 1 bytes. */
static void read_string(struct warp *w, uint32_t lane, uint64_t addr, char *buf)
{
	uint32_t n = 0;
	while (n < STRING_MAX - 1) {
		buf[n] = *(const char *)mem_generic(w, lane, addr + n, 1);
		if (!buf[n])
			return;
		n++;
	}
	buf[n] = 0;
}

struct args { struct warp *w; uint32_t lane; uint64_t addr; uint64_t off; int count; };

static uint64_t next_arg(struct args *a, uint32_t size)
{
	uint64_t v = 0;
	a->off = (a->off + size - 1) & ~(uint64_t)(size - 1);
	memcpy(&v, mem_generic(a->w, a->lane, a->addr + a->off, size), size);
	a->off += size;
	a->count++;
	return v;
}

/* Formats one conversion; f points after the %.  Returns where the format goes on. */
static const char *conversion(struct text *t, const char *f, struct args *a)
{
	char spec[64], out[512];
	size_t n = 0;
	int wide = 0, len = 0;
	const char *start = f;
	spec[n++] = '%';
	while (*f && strchr("-+ #0123456789.*", *f) && n < 40) {
		if (*f == '*')
			n += (size_t)snprintf(spec + n, 12, "%d", (int)next_arg(a, 4));
		else
			spec[n++] = *f;
		f++;
	}
	for (; *f && strchr("hlLzjt", *f); f++)
		wide += *f == 'l' || *f == 'z' || *f == 'j' || *f == 't';
	char c = *f;
	spec[n] = 0;
	if (c == '%') {
		put(t, "%", 1);
		return f + 1;
	}
	/* Widths come from the kernel: keep the text within `out`. */
	if (strtol(spec + 1 + strspn(spec + 1, "-+ #0"), NULL, 10) > 300 || (strchr(spec, '.')
			&& atoi(strchr(spec, '.') + 1) > 100))
		n = 1;
	if (c && strchr("dixXuo", c)) {
		uint64_t v = next_arg(a, wide ? 8 : 4);
		snprintf(spec + n, sizeof spec - n, "ll%c", c);
		if (!wide)
			v = c == 'd' || c == 'i' ? (uint64_t)(int64_t)(int32_t)v : v;
		len = snprintf(out, sizeof out, spec, v);
	} else if (c == 'c') {
		snprintf(spec + n, sizeof spec - n, "c");
		len = snprintf(out, sizeof out, spec, (int)next_arg(a, 4));
	} else if (c && strchr("fFeEgGaA", c)) {
		uint64_t bits = next_arg(a, 8);
		double d;
		memcpy(&d, &bits, 8);
		snprintf(spec + n, sizeof spec - n, "%c", c);
		len = snprintf(out, sizeof out, spec, d);
	} else if (c == 'p') {
		snprintf(spec + n, sizeof spec - n, "p");
		len = snprintf(out, sizeof out, spec, (void *)(uintptr_t)next_arg(a, 8));
	} else if (c == 's') {
		static __thread char padded[STRING_MAX + 512];
		read_string(a->w, a->lane, next_arg(a, 8), str_buf);
		snprintf(spec + n, sizeof spec - n, "s");
		len = snprintf(padded, sizeof padded, spec, str_buf);
		put(t, padded, (size_t)len < sizeof padded ? (size_t)len : sizeof padded - 1);
		return f + 1;
	} else {
		put(t, "%", 1);
		put(t, start, (size_t)(f - start) + (c != 0));
		return f + (c != 0);
	}
	put(t, out, (size_t)len < sizeof out ? (size_t)len : sizeof out - 1);
	return f + 1;
}

void exec_vprintf(struct warp *w, uint32_t lane, uint64_t fmt, uint64_t args, int32_t *result)
{
	struct text t = { .s = out_buf, .cap = sizeof out_buf };
	struct args a = { .w = w, .lane = lane, .addr = args };
	if (!fmt) {
		*result = -1;
		return;
	}
	read_string(w, lane, fmt, fmt_buf);
	for (const char *f = fmt_buf; *f;) {
		const char *e = strchrnul(f, '%');
		put(&t, f, (size_t)(e - f));
		f = *e ? conversion(&t, e + 1, &a) : e;
	}
	pthread_mutex_lock(&sink_lock);
	exec_printf(t.s, t.len);
	pthread_mutex_unlock(&sink_lock);
	*result = a.count;
}

/* One thread's failed assertion, as the CUDA driver prints it. */
void exec_assertfail(struct warp *w, uint32_t lane, uint64_t msg, uint64_t file, uint32_t line, uint64_t func)
{
	static __thread char m[STRING_MAX], f[STRING_MAX];
	const uint32_t *c = w->cta->ctaid;
	read_string(w, lane, msg, m);
	read_string(w, lane, file, f);
	read_string(w, lane, func, str_buf);
	fprintf(stderr, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", f, line, str_buf,
	        c[0], c[1], c[2], w->tid[0][lane], w->tid[1][lane], w->tid[2][lane], m);
}

/* --- the device heap ------------------------------------------------------------------------------ */

struct block { uint64_t addr, size; bool used; struct block *prev, *next, *hash; };

#define HASH 4096u
uint64_t exec_heap_bytes = 8u << 20;
static struct {
	pthread_mutex_t lock;
	unsigned users;
	uint64_t addr, size;
	void (*release)(uint64_t addr, uint64_t size);
	struct block *first, *rover, *hash[HASH];
} heap = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct block **bucket(uint64_t addr)
{
	return &heap.hash[(addr >> 4) % HASH];
}

/* The heap lives while a module that uses it does. */
void exec_heap_retain(struct exec_module *m)
{
	pthread_mutex_lock(&heap.lock);
	if (!heap.addr && m->alloc) {
		heap.size = exec_heap_bytes & ~15ull;
		heap.addr = m->alloc(heap.size, 4096);
		heap.release = m->release;
		heap.first = heap.rover = heap.addr ? calloc(1, sizeof *heap.first) : NULL;
		if (heap.first)
			*heap.first = (struct block){ .addr = heap.addr, .size = heap.size };
	}
	heap.users++;
	pthread_mutex_unlock(&heap.lock);
}

void exec_heap_release(struct exec_module *m)
{
	(void)m;
	pthread_mutex_lock(&heap.lock);
	if (--heap.users == 0 && heap.addr) {
		for (struct block *b = heap.first, *n; b; b = n) {
			n = b->next;
			free(b);
		}
		heap.release(heap.addr, heap.size);
		heap.addr = 0;
		heap.first = heap.rover = NULL;
		memset(heap.hash, 0, sizeof heap.hash);
	}
	pthread_mutex_unlock(&heap.lock);
}

static struct block *find_room(uint64_t size)
{
	struct block *start = heap.rover ? heap.rover : heap.first, *b = start;
	while (b) {
		if (!b->used && b->size >= size)
			return b;
		b = b->next ? b->next : heap.first;
		if (b == start)
			return NULL;
	}
	return NULL;
}

/* Address of `size` bytes aligned to 16, or 0. */
uint64_t exec_heap_alloc(const struct exec_module *m, uint64_t size)
{
	uint64_t addr = 0;
	(void)m;
	if (!size || size > heap.size)
		return 0;
	size = (size + 15) & ~15ull;
	pthread_mutex_lock(&heap.lock);
	struct block *b = find_room(size);
	if (b && b->size > size) {
		struct block *rest = calloc(1, sizeof *rest);
		if (rest) {
			*rest = (struct block){ .addr = b->addr + size, .size = b->size - size, .prev = b,
				.next = b->next };
			if (b->next)
				b->next->prev = rest;
			b->next = rest;
			b->size = size;
		}
	}
	if (b) {
		b->used = true;
		b->hash = *bucket(b->addr);
		*bucket(b->addr) = b;
		heap.rover = b->next;
		addr = b->addr;
	}
	pthread_mutex_unlock(&heap.lock);
	return addr;
}

static void absorb_next(struct block *b)
{
	struct block *n = b->next;
	if (!n || n->used || b->used)
		return;
	b->size += n->size;
	b->next = n->next;
	if (n->next)
		n->next->prev = b;
	if (heap.rover == n)
		heap.rover = b;
	free(n);
}

bool exec_heap_free(uint64_t addr)
{
	pthread_mutex_lock(&heap.lock);
	struct block **p = bucket(addr);
	while (*p && (*p)->addr != addr)
		p = &(*p)->hash;
	struct block *b = *p;
	if (b) {
		*p = b->hash;
		b->used = false;
		absorb_next(b);
		if (b->prev && !b->prev->used)
			absorb_next(b->prev);
	}
	pthread_mutex_unlock(&heap.lock);
	return b != NULL;
}
