/* printf.c - output of kernels: records in a ring of window host memory (guard.h, struct guard_printf) become text on
 * stdout, and assert messages on stderr, at synchronisation points and during waits.
 *
 * The ring is written by guarded kernels of this very program, so its bytes are only the program's own; they are
 * bounded all the same, because a wild kernel must not crash the host.  A record counts once its first word is there;
 * consumed records are zeroed, so that word starts as 0.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_MAX (64u << 10)
#define ARGS_MAX   64u
#define SPEC_MAX   64u

enum { KIND_PRINTF = 0, KIND_ASSERT = 1 };

struct record { const uint8_t *p; uint32_t bytes, nargs; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct guard_printf *ring;

bool agc_printf_setup(void)
{
	ring = (struct guard_printf *)(agc_s.host[0].addr + AG_HOST_PRINTF_OFF);
	if (agc_s.host[0].bytes < AG_HOST_FREE_OFF)
		return false;
	ring->reserved = ring->consumed = 0;
	ring->dropped = 0;
	ring->bytes = AG_PRINTF_BYTES;
	return true;
}

static uint64_t arg_at(const struct record *r, uint32_t i)
{
	uint64_t v = 0;
	if (i < r->nargs)
		memcpy(&v, r->p + 16 + 8 * (size_t)i, 8);
	return v;
}

/* A string inside the record, or NULL. */
static const char *string_at(const struct record *r, uint64_t off)
{
	if (off < 16 || off >= r->bytes || !memchr(r->p + off, 0, r->bytes - off))
		return NULL;
	return (const char *)r->p + off;
}

/* --- one conversion ----------------------------------------------------------------------------------------------- */

struct conversion { char text[SPEC_MAX]; size_t len; int longs, shorts; char type; };

static bool put_char(struct conversion *c, char ch)
{
	if (c->len + 8 > sizeof c->text)
		return false;
	c->text[c->len++] = ch;
	return true;
}

/* Reads "%...type" at *p; `*` is replaced by its argument.  false: not a conversion that C defines; *p is past it
 * either way. */
static bool scan(const char **p, struct conversion *c, const struct record *r, uint32_t *next)
{
	const char *s = *p + 1;
	bool ok = put_char(c, '%');
	for (; *s; s++) {
		if (*s == '*') {
			char number[16];
			int n = snprintf(number, sizeof number, "%d", (int)arg_at(r, (*next)++));
			for (int i = 0; i < n; i++)
				ok &= put_char(c, number[i]);
		} else if (strchr("-+ #0123456789.", *s)) {
			ok &= put_char(c, *s);
		} else if (strchr("ljztL", *s)) {
			c->longs++;
		} else if (*s == 'h') {
			c->shorts++;
		} else {
			break;
		}
	}
	c->type = *s;
	*p = *s ? s + 1 : s;
	return ok && *s && strchr("diouxXcpsaAeEfFgG", *s);
}

static void emit_integer(struct conversion *c, uint64_t v)
{
	bool is_signed = c->type == 'd' || c->type == 'i';
	if (!c->longs)
		v = is_signed ? (uint64_t)(int64_t)(int32_t)v : (uint32_t)v;
	if (c->shorts == 1)
		v = is_signed ? (uint64_t)(int64_t)(int16_t)v : (uint16_t)v;
	if (c->shorts > 1)
		v = is_signed ? (uint64_t)(int64_t)(int8_t)v : (uint8_t)v;
	c->text[c->len++] = 'l';
	c->text[c->len++] = 'l';
	c->text[c->len++] = c->type;
	c->text[c->len] = 0;
	printf(c->text, (unsigned long long)v);
}

static void emit(struct conversion *c, const struct record *r, uint32_t *next)
{
	uint64_t v = arg_at(r, (*next)++);
	double d;
	if (strchr("diouxX", c->type)) {
		emit_integer(c, v);
		return;
	}
	c->text[c->len++] = c->type;
	c->text[c->len] = 0;
	if (c->type == 'c') {
		printf(c->text, (int)v);
	} else if (c->type == 'p') {
		printf(c->text, (void *)(uintptr_t)v);
	} else if (c->type == 's') {
		const char *s = string_at(r, v);
		printf(c->text, s ? s : "(null)");
	} else {
		memcpy(&d, &v, sizeof d);
		printf(c->text, d);
	}
}

static void print_record(const struct record *r)
{
	const char *f = string_at(r, 16 + 8 * (uint64_t)r->nargs);
	uint32_t next = 0;
	while (f && *f) {
		size_t plain = strcspn(f, "%");
		fwrite(f, 1, plain, stdout);
		f += plain;
		if (f[0] == '%' && f[1] == '%') {
			putchar('%');
			f += 2;
		} else if (f[0] == '%') {
			struct conversion c = { .len = 0 };
			const char *start = f;
			if (scan(&f, &c, r, &next))
				emit(&c, r, &next);
			else
				fwrite(start, 1, (size_t)(f - start), stdout);
		}
	}
}

/* The words of CUDA's own message. */
static void print_assert(const struct record *r)
{
	const char *text[3];
	unsigned n[7];
	for (uint32_t i = 0; i < 3; i++) {
		text[i] = string_at(r, arg_at(r, i));
		text[i] = text[i] ? text[i] : "?";
	}
	for (uint32_t i = 0; i < 7; i++)
		n[i] = (unsigned)arg_at(r, 3 + i);
	fprintf(stderr, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", text[1], n[0],
		text[2], n[1], n[2], n[3], n[4], n[5], n[6], text[0]);
}

/* --- the ring ----------------------------------------------------------------------------------------------------- */

static void copy_out(uint64_t at, uint8_t *to, uint32_t bytes)
{
	uint64_t off = at & (AG_PRINTF_BYTES - 1),
		 first = AG_PRINTF_BYTES - off < bytes ? AG_PRINTF_BYTES - off : bytes;
	memcpy(to, ring->data + off, first);
	memcpy(to + first, ring->data, bytes - first);
	memset(ring->data + off, 0, first);
	memset(ring->data, 0, bytes - first);
}

static void take(uint64_t at, uint32_t bytes, uint32_t kind)
{
	uint8_t *copy = malloc(bytes);
	if (!copy)
		return;
	copy_out(at, copy, bytes);
	struct record r = { copy, bytes, 0 };
	uint64_t nargs;
	memcpy(&nargs, copy + 8, 8);
	if (nargs <= ARGS_MAX && 16 + 8 * nargs <= bytes) {
		r.nargs = (uint32_t)nargs;
		if (kind == KIND_ASSERT)
			print_assert(&r);
		else if (kind == KIND_PRINTF)
			print_record(&r);
	}
	free(copy);
}

static void drain_locked(void)
{
	volatile struct guard_printf *v = ring;
	while (v->reserved != v->consumed) {
		uint64_t at = v->consumed, off = at & (AG_PRINTF_BYTES - 1);
		uint64_t head = off % 8 == 0 ? *(volatile uint64_t *)(ring->data + off) : UINT64_MAX;
		uint32_t bytes = (uint32_t)head, kind = (uint32_t)(head >> 32);
		if (head == 0)
			break;           /* reserved, not written yet */
		atomic_thread_fence(memory_order_acquire);
		if (bytes < 16 || bytes % 8 || bytes > RECORD_MAX || bytes > v->reserved - at) {
			/* A stray write: what is there cannot be read as records. */
			memset(ring->data, 0, AG_PRINTF_BYTES);
			v->consumed = v->reserved;
			break;
		}
		take(at, bytes, kind);
		atomic_thread_fence(memory_order_release);
		v->consumed = at + bytes;
	}
}

void agc_printf_drain(void)
{
	volatile struct guard_printf *v = ring;
	if (!v || v->reserved == v->consumed)
		return;
	pthread_mutex_lock(&lock);
	drain_locked();
	pthread_mutex_unlock(&lock);
}
