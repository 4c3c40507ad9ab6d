/* guard.c - the rewriter's pass list, and what every pass leans on: arenas and refusal. */
#include "guard/rewrite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rw_chunk { struct rw_chunk *next; size_t size; _Alignas(16) char data[]; };

void *rw_arena_alloc(struct rw_arena *a, size_t bytes)
{
	size_t want = (bytes + 15) & ~(size_t)15;

	if (want < bytes || (a->limit && want > a->limit))
		goto oom;
	if (!a->head || a->used + want > a->head->size) {
		size_t size = want > (64u << 10) ? want : 64u << 10;
		struct rw_chunk *c = calloc(1, sizeof(*c) + size);

		if (!c)
			goto oom;
		if (a->limit)
			a->limit -= size < a->limit ? size : a->limit - 1;
		if (a->head && size == want && size > (64u << 10)) {   /* keep filling the current chunk */
			c->size = size;
			c->next = a->head->next;
			a->head->next = c;
			return c->data;
		}
		c->size = size;
		c->next = a->head;
		a->head = c;
		a->used = 0;
	}
	a->used += want;
	return a->head->data + a->used - want;
oom:
	if (a->oom)
		longjmp(*a->oom, 2);
	return NULL;
}

void rw_arena_free(struct rw_arena *a)
{
	while (a->head) {
		struct rw_chunk *c = a->head;

		a->head = c->next;
		free(c);
	}
	a->used = 0;
}

void *rw_grow(struct rw_arena *a, void *p, uint32_t n, uint32_t *cap, size_t elem)
{
	uint32_t want = *cap ? *cap * 2 : 16;
	void *q = rw_arena_alloc(a, want * elem);

	if (n)
		memcpy(q, p, n * elem);
	*cap = want;
	return q;
}

void *rw_alloc(struct rw *rw, size_t bytes)
{
	return rw_arena_alloc(&rw->arena, bytes);
}

void *rw_keep(struct rw *rw, size_t bytes)
{
	return rw_arena_alloc(rw->keep, bytes);
}

const char *rw_keep_str(struct rw *rw, const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(rw_keep(rw, n), s, n);
}

void rw_refuse(struct rw *rw, uint32_t line, const char *fmt, ...)
{
	va_list ap;

	rw->err->line = line;
	rw->err_piece = rw->piece;
	va_start(ap, fmt);
	vsnprintf(rw->err->text, sizeof(rw->err->text), fmt, ap);
	va_end(ap);
	longjmp(rw->out, 1);
}

static void rewrite(struct rw *rw, struct guard_result *out)
{
	rw_soft_link(rw);                               /* with barriers in software, where they are needed */
	rw_link(rw);                                    /* one module: rw->vars, rw->kernels */
	rw_dump_module(rw, "link");
	rw_place_module(rw);                            /* .global and .const variables get their offsets */
	rw_dump_module(rw, "place");
	for (uint32_t i = 0; i < rw->nkernels; i++) {
		struct rw_kernel *k = rw->kernels[i];

		rw->piece = k->piece;
		rw_inline(rw, k);                       /* flat stream, no call but to runtime and gates */
		rw_dump_kernel(rw, "inline", k);
		rw_prune(rw, k);                        /* no code that nothing leads to */
		rw_dump_kernel(rw, "prune", k);
		rw_relocate(rw, k);                     /* no client variable left in operands */
		rw_dump_kernel(rw, "relocate", k);
		rw_define(rw, k);                       /* no register read before it is written */
		rw_dump_kernel(rw, "define", k);
		rw_space(rw, k);                        /* known values; generic accesses get a space */
		rw_align(rw, k);                        /* and how addresses are aligned */
		rw_dump_kernel(rw, "space", k);
		rw_print_kernel(rw, k);                 /* poll, fence, report and text */
	}
	rw_print_module(rw, out);
}

static void free_job(struct rw *rw)
{
	for (uint32_t i = 0; i < rw->npieces; i++)
		ptx_free(rw->pieces[i].m);
	free(rw->text.p);
	free(rw->body.p);
	rw_arena_free(&rw->arena);
}

static int fail(struct ptx_error *err, const char *what)
{
	err->line = 0;
	snprintf(err->text, sizeof(err->text), "%s", what);
	return -1;
}

/* Apart from guard_rewrite() so that setjmp's frame holds no variable that changes after it. */
static int run(struct rw *rw, const struct guard_input *in, uint32_t n, struct guard_result *out)
{
	int jumped = setjmp(rw->out);

	if (jumped == 2) {
		rw->err_piece = rw->piece;
		return fail(rw->err, "the module needs too much memory");
	}
	if (jumped)
		return -1;
	rw->pieces = rw_alloc(rw, (n + 1) * sizeof(*rw->pieces));        /* and that of soft.c */
	rw->gates_used = rw_alloc(rw, rw->opt->ngates + 1);
	for (uint32_t i = 0; i < n; i++) {
		rw->piece = i;
		rw->pieces[i] = (struct rw_piece){ ptx_parse(in[i].text, in[i].len, rw->err), in[i].label };
		if (!rw->pieces[i].m)
			longjmp(rw->out, 1);
		rw->npieces = i + 1;
	}
	rewrite(rw, out);
	return 0;
}

int guard_rewrite(const struct guard_input *in, uint32_t n, const struct guard_options *opt, struct guard_result *out,
	struct ptx_error *err, uint32_t *err_piece)
{
	struct rw *rw = calloc(1, sizeof(*rw));
	struct rw_arena *keep = calloc(1, sizeof(*keep));
	int rc;

	memset(out, 0, sizeof(*out));
	*err_piece = 0;
	if (!rw || !keep || n == 0 || n > 4096) {
		free(rw);
		free(keep);
		return fail(err, n == 0 || n > 4096 ? "a module has 1 to 4096 pieces" : "out of memory");
	}
	rw->arena = (struct rw_arena){ .limit = (size_t)3 << 30, .oom = &rw->out };
	*keep = (struct rw_arena){ .limit = (size_t)3 << 30, .oom = &rw->out };
	rw->keep = keep;
	rw->opt = opt;
	rw->err = err;
	rc = run(rw, in, n, out);
	*err_piece = rc ? rw->piece : 0;
	keep->oom = NULL;
	out->arena = keep;
	if (rc) {
		memset(out, 0, sizeof(*out));
		rw_arena_free(keep);
		free(keep);
	}
	free_job(rw);
	free(rw);
	return rc;
}

void guard_result_free(struct guard_result *r)
{
	if (r->arena)
		rw_arena_free(r->arena);
	free(r->arena);
	memset(r, 0, sizeof(*r));
}
