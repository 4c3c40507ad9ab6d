/* result.c - the finished module as struct guard_result, and its serial form for the pipe between helper and worker.
 *
 * The reader trusts nothing: every length is checked against what is left before memory is taken or bytes are read, and
 * a number that would not fit its field ends the reading. */
#include "guard/rewrite.h"
#include <stdlib.h>
#include <string.h>

static const uint32_t MAGIC = 0x31524741u + GUARD_VERSION;

/* --- making it --- */

static void declare(struct rw *rw, const struct rw_callee *c)
{
	rw_buf_fmt(rw, &rw->body, ".extern .func ");
	if (c->ret != PTX_T_NONE)
		rw_buf_fmt(rw, &rw->body, "(.param .b%u r) ", ptx_type_bytes(c->ret) * 8);
	rw_buf_fmt(rw, &rw->body, "%s (", c->ptx_name);
	for (unsigned i = 0; i < c->nparams; i++)
		rw_buf_fmt(rw, &rw->body, "%s.param .b%u a%u", i ? ", " : "", ptx_type_bytes(c->params[i]) * 8, i);
	rw_buf_fmt(rw, &rw->body, ");\n");
}

static void print_text(struct rw *rw, struct guard_result *out)
{
	bool dyn = false;

	rw->body.len = 0;
	rw_buf_fmt(rw, &rw->body, ".version 9.0\n.target sm_%d\n.address_size 64\n", rw->opt->target_sm);
	rw_buf_fmt(rw, &rw->body, ".extern .const .align 16 .b8 ag_desc[%u];\n", GUARD_DESC_BYTES);
	for (uint32_t i = 0; i < rw_runtime_count(); i++)
		if (rw->callees_used & 1u << i)
			declare(rw, rw_runtime_at(i));
	for (uint32_t i = 0; i < rw->opt->ngates; i++)
		if (rw->gates_used[i])
			declare(rw, rw_gate(rw, rw->opt->gates[i].name));
	rw_buf_fmt(rw, &rw->body, "%s", GUARD_BODY_MARK);
	if (rw->cmem.bytes)
		rw_buf_fmt(rw, &rw->body, ".const .align 64 .b8 ag_const[%llu];\n", (unsigned long long)rw->cmem.bytes);
	for (uint32_t i = 0; i < rw->nkernels; i++)
		dyn |= rw->kernels[i]->dyn.used;
	if (dyn)
		rw_buf_fmt(rw, &rw->body, ".extern .shared .align %u .b8 ag_dyn[];\n",
			rw->dyn_align < 16 ? 16 : rw->dyn_align);
	if (rw->text.len)
		rw_buf_add(rw, &rw->body, rw->text.p, rw->text.len);
	out->text = rw_keep(rw, rw->body.len + 1);
	memcpy(out->text, rw->body.p, rw->body.len);
	out->text_len = rw->body.len;
}

static void fill_kernel(struct rw *rw, const struct rw_kernel *k, struct guard_kernel *to)
{
	const struct ptx_func *f = k->src;
	uint32_t *off = rw_keep(rw, (f->nparams + 1) * sizeof(*off)), *size = rw_keep(rw,
		(f->nparams + 1) * sizeof(*size));

	for (uint32_t i = 0; i < f->nparams; i++) {
		off[i] = (uint32_t)f->params[i].offset;
		size[i] = (uint32_t)f->params[i].size;
	}
	*to = (struct guard_kernel){
		.name = rw_keep_str(rw, f->name), .index = k->index, .nparams = f->nparams,
			.param_bytes = (uint32_t)f->param_bytes,
		.param_offset = off, .param_size = size,
		.static_shared = k->smem.used ? (uint32_t)k->smem.bytes : 0,
		.local_bytes = k->local.used ? (uint32_t)k->local.bytes : 0,
		.minnctapersm = f->minnctapersm, .uses_dyn_shared = k->dyn.used, .hidden_coop = k->hidden_coop,
		.uses_printf = k->uses_printf, .min_dyn_shared = k->min_dyn, .line = f->line,
	};
	for (unsigned d = 0; d < 3; d++) {
		to->maxntid[d] = f->maxntid[0] && !f->maxntid[d] ? 1 : f->maxntid[d];
		to->reqntid[d] = f->reqntid[0] && !f->reqntid[d] ? 1 : f->reqntid[d];
	}
}

void rw_print_module(struct rw *rw, struct guard_result *out)
{
	print_text(rw, out);
	out->kernels = rw_keep(rw, (rw->nkernels + 1) * sizeof(*out->kernels));
	out->nkernels = rw->nkernels;
	for (uint32_t i = 0; i < rw->nkernels; i++)
		fill_kernel(rw, rw->kernels[i], &out->kernels[i]);
	out->symbols = rw_keep(rw, (rw->nvars + 1) * sizeof(*out->symbols));
	for (uint32_t i = 0; i < rw->nvars; i++) {
		const struct rw_var *x = rw->vars[i];

		if (x->v->file_scope_of || !x->place)
			continue;
		out->symbols[out->nsymbols++] = (struct guard_symbol){
			.name = rw_keep_str(rw, x->v->name), .offset = x->off, .size = x->v->size,
				.is_const = x->place == RW_CONST,
			.is_managed = x->v->managed,
		};
	}
	out->data = rw->data;
	out->data_init = rw->data_init;
	out->data_bytes = rw->data_bytes;
	out->cimage = rw->cimage;
	out->const_bytes = rw->cmem.bytes;
	out->relocs = rw->relocs;
	out->nrelocs = rw->nrelocs;
}

/* --- writing --- */

struct writer { uint8_t *p; size_t len, cap; bool failed; };

static void w_bytes(struct writer *w, const void *data, size_t n)
{
	if (w->failed)
		return;
	if (n > w->cap - w->len) {
		size_t cap = w->cap * 2 + n + 4096;
		uint8_t *p = realloc(w->p, cap);

		if (!p) {
			w->failed = true;
			return;
		}
		w->p = p;
		w->cap = cap;
	}
	if (n)
		memcpy(w->p + w->len, data, n);
	w->len += n;
}

static void w_u64(struct writer *w, uint64_t v)
{
	w_bytes(w, &v, 8);
}

static void w_str(struct writer *w, const char *s)
{
	w_u64(w, strlen(s));
	w_bytes(w, s, strlen(s));
}

static void w_kernel(struct writer *w, const struct guard_kernel *k)
{
	w_str(w, k->name);
	w_u64(w, k->index);
	w_u64(w, k->nparams);
	w_u64(w, k->param_bytes);
	for (uint32_t i = 0; i < k->nparams; i++) {
		w_u64(w, k->param_offset[i]);
		w_u64(w, k->param_size[i]);
	}
	w_u64(w, k->static_shared);
	w_u64(w, k->local_bytes);
	for (unsigned d = 0; d < 3; d++) {
		w_u64(w, k->maxntid[d]);
		w_u64(w, k->reqntid[d]);
	}
	w_u64(w, k->minnctapersm);
	w_u64(w, (uint64_t)k->uses_dyn_shared | (uint64_t)k->hidden_coop << 1 | (uint64_t)k->uses_printf << 2);
	w_u64(w, k->min_dyn_shared);
	w_u64(w, k->line);
}

int guard_result_write(const struct guard_result *r, uint8_t **bytes, size_t *len)
{
	struct writer w = { 0 };

	w_u64(&w, MAGIC);
	w_u64(&w, r->text_len);
	w_bytes(&w, r->text, r->text_len);
	w_u64(&w, r->nkernels);
	for (uint32_t i = 0; i < r->nkernels; i++)
		w_kernel(&w, &r->kernels[i]);
	w_u64(&w, r->nsymbols);
	for (uint32_t i = 0; i < r->nsymbols; i++) {
		const struct guard_symbol *s = &r->symbols[i];

		w_str(&w, s->name);
		w_u64(&w, s->offset);
		w_u64(&w, s->size);
		w_u64(&w, (uint64_t)s->is_const | (uint64_t)s->is_managed << 1);
	}
	w_u64(&w, r->data_init);
	w_u64(&w, r->data_bytes);
	w_bytes(&w, r->data, r->data_init);
	w_u64(&w, r->const_bytes);
	w_bytes(&w, r->cimage, r->const_bytes);
	w_u64(&w, r->nrelocs);
	for (uint32_t i = 0; i < r->nrelocs; i++) {
		w_u64(&w, r->relocs[i].offset);
		w_u64(&w, (uint64_t)r->relocs[i].in_const | (uint64_t)r->relocs[i].to_const << 1);
	}
	if (w.failed) {
		free(w.p);
		return -1;
	}
	*bytes = w.p;
	*len = w.len;
	return 0;
}

/* --- reading --- */

struct reader { const uint8_t *p; size_t left; struct rw_arena *arena; jmp_buf out; };

static uint64_t r_u64(struct reader *r)
{
	uint64_t v;

	if (r->left < 8)
		longjmp(r->out, 1);
	memcpy(&v, r->p, 8);
	r->p += 8;
	r->left -= 8;
	return v;
}

static uint32_t r_u32(struct reader *r)
{
	uint64_t v = r_u64(r);

	if (v > UINT32_MAX)
		longjmp(r->out, 1);
	return (uint32_t)v;
}

/* A count of things that take at least `each` bytes of input apiece. */
static uint32_t r_count(struct reader *r, size_t each)
{
	uint32_t n = r_u32(r);

	if (n > r->left / each)
		longjmp(r->out, 1);
	return n;
}

static void *r_bytes(struct reader *r, uint64_t n)
{
	uint8_t *p;

	if (n > r->left)
		longjmp(r->out, 1);
	p = rw_arena_alloc(r->arena, (size_t)n + 1);
	memcpy(p, r->p, (size_t)n);
	r->p += n;
	r->left -= (size_t)n;
	return p;
}

static const char *r_str(struct reader *r)
{
	uint64_t n = r_u64(r);
	const char *s = r_bytes(r, n);

	if (memchr(s, 0, (size_t)n))
		longjmp(r->out, 1);
	return s;
}

static void r_kernel(struct reader *r, struct guard_kernel *k)
{
	uint32_t *off, *size, flags;

	k->name = r_str(r);
	k->index = r_u32(r);
	k->nparams = r_count(r, 16);
	k->param_bytes = r_u32(r);
	off = rw_arena_alloc(r->arena, (k->nparams + 1) * sizeof(*off));
	size = rw_arena_alloc(r->arena, (k->nparams + 1) * sizeof(*size));
	for (uint32_t i = 0; i < k->nparams; i++) {
		off[i] = r_u32(r);
		size[i] = r_u32(r);
		if (off[i] > k->param_bytes || size[i] > k->param_bytes - off[i])
			longjmp(r->out, 1);
	}
	k->param_offset = off;
	k->param_size = size;
	k->static_shared = r_u32(r);
	k->local_bytes = r_u32(r);
	for (unsigned d = 0; d < 3; d++) {
		k->maxntid[d] = r_u32(r);
		k->reqntid[d] = r_u32(r);
	}
	k->minnctapersm = r_u32(r);
	flags = r_u32(r);
	if (flags > 7)
		longjmp(r->out, 1);
	k->uses_dyn_shared = flags & 1;
	k->hidden_coop = flags >> 1 & 1;
	k->uses_printf = flags >> 2 & 1;
	k->min_dyn_shared = r_u32(r);
	k->line = r_u32(r);
}

static void r_symbols(struct reader *r, struct guard_result *out)
{
	out->nsymbols = r_count(r, 32);
	out->symbols = rw_arena_alloc(r->arena, (out->nsymbols + 1) * sizeof(*out->symbols));
	for (uint32_t i = 0; i < out->nsymbols; i++) {
		struct guard_symbol *s = &out->symbols[i];
		uint32_t flags;

		s->name = r_str(r);
		s->offset = r_u64(r);
		s->size = r_u64(r);
		flags = r_u32(r);
		if (flags > 3)
			longjmp(r->out, 1);
		s->is_const = flags & 1;
		s->is_managed = flags >> 1;
	}
}

static void r_images(struct reader *r, struct guard_result *out)
{
	out->data_init = r_u64(r);
	out->data_bytes = r_u64(r);
	if (out->data_init > out->data_bytes)
		longjmp(r->out, 1);
	out->data = r_bytes(r, out->data_init);
	out->const_bytes = r_u64(r);
	out->cimage = r_bytes(r, out->const_bytes);
	out->nrelocs = r_count(r, 16);
	out->relocs = rw_arena_alloc(r->arena, (out->nrelocs + 1) * sizeof(*out->relocs));
	for (uint32_t i = 0; i < out->nrelocs; i++) {
		struct guard_data_reloc *x = &out->relocs[i];
		uint64_t limit, flags;

		x->offset = r_u64(r);
		flags = r_u64(r);
		x->in_const = flags & 1;
		x->to_const = flags >> 1 & 1;
		limit = x->in_const ? out->const_bytes : out->data_init;
		if (flags > 3 || limit < 8 || x->offset > limit - 8)
			longjmp(r->out, 1);
	}
	for (uint32_t i = 0; i < out->nsymbols; i++) {
		const struct guard_symbol *s = &out->symbols[i];
		uint64_t limit = s->is_const ? out->const_bytes : out->data_bytes;

		if (s->offset > limit || s->size > limit - s->offset)
			longjmp(r->out, 1);
	}
}

static int read_all(struct reader *r, struct guard_result *out)
{
	if (setjmp(r->out))
		return -1;
	if (r_u64(r) != MAGIC)
		longjmp(r->out, 1);
	out->text_len = r_u64(r);
	out->text = r_bytes(r, out->text_len);
	out->nkernels = r_count(r, 8 * 16);
	out->kernels = rw_arena_alloc(r->arena, (out->nkernels + 1) * sizeof(*out->kernels));
	for (uint32_t i = 0; i < out->nkernels; i++)
		r_kernel(r, &out->kernels[i]);
	r_symbols(r, out);
	r_images(r, out);
	if (r->left)
		longjmp(r->out, 1);
	return 0;
}

int guard_result_read(struct guard_result *out, const uint8_t *bytes, size_t len)
{
	struct rw_arena *arena = calloc(1, sizeof(*arena));
	struct reader r = { .p = bytes, .left = len, .arena = arena };
	int rc;

	memset(out, 0, sizeof(*out));
	if (!arena)
		return -1;
	arena->oom = &r.out;
	arena->limit = (size_t)3 << 30;
	rc = read_all(&r, out);
	arena->oom = NULL;
	if (rc) {
		rw_arena_free(arena);
		free(arena);
		memset(out, 0, sizeof(*out));
		return -1;
	}
	out->arena = arena;
	return 0;
}
