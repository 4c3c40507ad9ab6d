/* verify_form.c - the fenced form: how reserved registers may be written (allow.def, FORM), what is then known of
 * them, and which memory operands that makes safe.  What is known of a register holds from its definition to the next
 * one in the same segment. */
#include "verify_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct form_row form_rows[] = {
#define FORM(n, f, b, o, a) { n, f, b, o, a },
#include "allow.def"
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

bool form_flag(const struct form_row *f, char c)
{
	return strchr(f->flags, c) != NULL;
}

/* The class and width that a declared name such as gl4_ (then numbered), gsl16, gso_ or gw stands for; NULL: none. */
const struct form_row *reserved_class(struct vword name, bool numbered, uint32_t *width)
{
	uint32_t letters = 0, end = name.n - (numbered && name.s[name.n - 1] == '_');
	uint64_t w = 0;
	while (letters < end && name.s[letters] >= 'a' && name.s[letters] <= 'z')
		letters++;
	if (numbered && end == name.n)
		return NULL;
	if (letters < end && !vword_uint((struct vword){ name.s + letters, end - letters }, &w))
		return NULL;
	for (size_t i = 0; i < COUNT(form_rows); i++) {
		const struct form_row *f = &form_rows[i];
		if (!vword_is((struct vword){ name.s + 1, letters - 1 }, f->name))
			continue;
		uint32_t most = form_flag(f, 'W') ? 32 : form_flag(f, 'V') ? 16 : form_flag(f, 'F') ? VMAX_FOOT : 0;
		if (form_flag(f, 'N') != numbered || w > most || (w == 0) != (most == 0) ||
			(most && most < VMAX_FOOT && (w & (w - 1))))
			return NULL;
		*width = (uint32_t)w;
		return f;
	}
	return NULL;
}

bool class_is(const struct vitem *it, const char *names)
{
	if (it->kind != VO_REG || !it->range->form)
		return false;
	const char *name = it->range->form->name;
	return vword_among((struct vword){ name, (uint32_t)strlen(name) }, names, strlen(names));
}

const struct vobject *object_of(struct verifier *v, struct vword w)
{
	const struct vobject *all[] = { &v->shared, &v->local, &v->cbank, &v->dyn };
	for (uint32_t i = 0; i < COUNT(all); i++)
		if (all[i]->align && vword_is(w, all[i]->name)) {
			if (all[i] == &v->dyn)
				v->k.uses_dyn_shared = true;
			return all[i];
		}
	return NULL;
}

/* --- definitions ----------------------------------------------------------------------------- */

struct token { const char *s; size_t n; };

static bool token_is(struct token t, const char *s)
{
	return strlen(s) == t.n && !memcmp(t.s, s, t.n);
}

/* A reserved register of one of the classes "a/b/c", defined; what is known of it flows into *made. */
static bool form_class(struct verifier *v, struct token t, const struct vitem *it, const struct vrange *r,
	struct vfact *made)
{
	if (it->kind != VO_REG || !it->range->form)
		return false;
	const struct vfact *f = &v->fact[it->reg];
	uint32_t align = form_flag(it->range->form, 'F') ? 0 : it->range->width ? it->range->width : f->align;
	if (f->segment != UINT32_MAX && f->segment != v->segment)
		return false;
	if (!form_flag(r->form, 'F') && r->width && align && align < r->width)
		return false;
	if (form_flag(r->form, 'Y') && form_flag(it->range->form, 'Y') &&
	    it->reg - it->range->first != v->s.ops[0].item.reg - r->first)
		return false;
	for (const char *p = t.s, *end = t.s + t.n; p < end;) {
		size_t n = 0;
		while (p + n < end && p[n] != '/')
			n++;
		if (token_is((struct token){ p, n }, it->range->form->name)) {
			made->foot = f->foot < made->foot ? f->foot : made->foot;
			made->local |= f->local;
			made->literal |= f->literal;
			made->scale = f->scale ? f->scale : made->scale;
			return true;
		}
		p += n + 1;
	}
	return false;
}

/* -P for a power of two P: the alignment. */
static bool form_alignment(const struct vop *o, struct vfact *made)
{
	uint64_t p = 0 - o->imm;
	if (p == 0 || p > 32 || (p & (p - 1)))
		return false;
	made->align = (uint32_t)p;
	return true;
}

static bool form_literal(struct verifier *v, struct token t, const struct vop *o, const struct vrange *r,
	struct vfact *made)
{
	if (o->kind != VO_IMM || o->neg)
		return false;
	if (t.s[0] == '=') {
		long long n = strtoll(t.s + 1, NULL, 10);
		return o->imm == (uint64_t)n;
	}
	if (token_is(t, "#-W"))
		return form_alignment(o, made);
	if (token_is(t, "#S"))
		return o->imm == shared_room(v);
	if (token_is(t, "#F")) {
		made->foot = r->width;
		return o->imm == r->width;
	}
	if (token_is(t, "#N")) {
		made->foot = o->imm < UINT32_MAX ? (uint32_t)o->imm + 1 : 0;
		return made->foot != 0;
	}
	if (token_is(t, "#M")) {
		made->scale = (uint32_t)o->imm;
		return o->imm > 0 && o->imm <= UINT32_MAX;
	}
	made->literal = true;
	uint32_t bytes = t.s[1] == 'S' ? shared_room(v) : t.s[1] == 'L' ? v->local.bytes : v->cbank.bytes;
	made->foot = o->imm < bytes ? bytes - (uint32_t)o->imm : 0;
	return made->foot != 0;
}

static bool form_address(struct verifier *v, struct token t, const struct vop *o)
{
	if (o->kind != VO_WORD || o->imm != (token_is(t, "@smem") ? shared_from(v) : 0))
		return false;
	if (token_is(t, "@dynsize")) {
		v->k.uses_dyn_shared |= vword_is(o->word, "%dynamic_smem_size");
		return vword_is(o->word, "%dynamic_smem_size");
	}
	const struct vobject *obj = object_of(v, o->word);
	if (token_is(t, "@smem"))
		return obj && obj == (v->shared.align ? &v->shared : &v->dyn);
	return obj && obj == (token_is(t, "@local") ? &v->local : &v->cbank);
}

/* +NW>: N, and 8 for each doubling of the alignment.  >: 0. */
static uint64_t form_offset(const char *s, const struct vrange *r)
{
	uint64_t n = *s == '+' ? strtoull(s + 1, NULL, 10) : 0;
	for (uint32_t w = 1; *s == '+' && w < r->width; w *= 2)
		n += 8;
	return n;
}

static bool form_operand(struct verifier *v, struct token t, const struct vop *o, const struct vrange *r,
	struct vfact *made)
{
	switch (t.s[0]) {
	case '*': return !o->neg && (o->kind == VO_IMM || (o->kind == VO_REG && o->item.range->bits == 32));
	case '?': return !o->neg && o->kind == VO_REG && o->item.range->bits == 1;
	case '#': case '=': return form_literal(v, t, o, r, made);
	case '@': return form_address(v, t, o);
	case '[': return o->kind == VO_MEM && o->item.kind == VO_WORD && vword_is(o->word, "ag_desc") &&
		o->imm == strtoull(t.s + 1, NULL, 10);
	case '<': {
		size_t n = strcspn(t.s + 1, "+>");
		return o->kind == VO_MEM && o->imm == form_offset(t.s + 1 + n, r) &&
			form_class(v, (struct token){ t.s + 1, n }, &o->item, r, made);
	}
	case '{': {
		size_t n = strcspn(t.s + 1, " ");
		return o->kind == VO_VEC && o->nlist == 2 &&
			form_class(v, (struct token){ t.s + 1, n }, &o->list[0], r, made) &&
		       form_class(v, (struct token){ t.s + 2 + n, t.n - n - 3 }, &o->list[1], r, made);
	}
	}
	return !o->neg && o->kind == VO_REG && form_class(v, t, &o->item, r, made);
}

static bool matches_form(struct verifier *v, const struct form_row *f, const struct vrange *r, struct vfact *made)
{
	struct vstmt *s = &v->s;
	const char *p = f->operands;
	if (!vword_is(s->op, f->op) || s->nops < 1u + (*p != 0) || (form_flag(f, 'X') && !v->wide))
		return false;
	*made = (struct vfact){ .foot = UINT32_MAX };
	for (uint32_t i = 1; i < s->nops; i++) {
		struct token t = { p, *p == '{' ? strcspn(p, "}") + 1 : strcspn(p, " ") };
		if (!t.n || !form_operand(v, t, &s->ops[i], r, made))
			return false;
		p += t.n;
		p += strspn(p, " ");
	}
	if (vword_is(s->op, "mov.b32"))
		made->align = 1;
	if (made->align && r->width > made->align)
		return false;
	if (!strcmp(f->name, "a"))
		made->foot = VMAX_SLACK;
	made->local |= !strcmp(f->name, "pg");
	if (!strcmp(f->name, "yn") && vword_is(s->op, "sub.u32") && !matrix_limit(v))
		return false;
	return *p == 0;
}

/* %gsl<F> is not negative only if the worker launches with as much dynamic shared memory as it takes. */
static void demand_dynamic(struct verifier *v, const struct vrange *r)
{
	uint32_t least = r->width > shared_room(v) ? r->width - shared_room(v) : 0;
	if (least > v->k.min_dyn_shared)
		v->k.min_dyn_shared = least;
}

/* The statement writes a reserved register: it must be one of the class's forms. */
bool reserved_def(struct verifier *v)
{
	struct vstmt *s = &v->s;
	const struct vrange *r = s->ops[0].item.range;
	struct vfact made, *fact = &v->fact[s->ops[0].item.reg];
	bool entry = form_flag(r->form, 'E');
	if (s->pred)
		return refuse(v, "%%%.*s..: a fence must not be predicated", WORD(r->name));
	for (size_t i = 0; i < COUNT(form_rows); i++) {
		const struct form_row *f = &form_rows[i];
		if (strcmp(f->name, r->form->name) || !matches_form(v, f, r, &made))
			continue;
		if (form_flag(f, 'Y') && fact->segment == v->segment)
			return refuse(v, "%%%.*s..: written twice in a block", WORD(r->name));
		if (entry && (v->flow.nblocks != 1 || fact->segment))
			return refuse(v, "%%%.*s: belongs in the entry block, once", WORD(r->name));
		for (uint32_t k = 1; k < s->nops; k++) {
			if (!use(v, &s->ops[k].item))
				return false;
			for (uint32_t j = 0; j < s->ops[k].nlist; j++)
				if (!use(v, &s->ops[k].list[j]))
					return false;
		}
		v->has_size |= !strcmp(f->name, "sn");
		if (!strcmp(f->name, "sl"))
			demand_dynamic(v, r);
		made.segment = entry ? UINT32_MAX : v->segment;
		*fact = made;
		return true;
	}
	return refuse(v, "%%%.*s..: not the form that fences it", WORD(r->name));
}

/* --- memory operands ------------------------------------------------------------------------- */

/* [p0+8], [pc]: a parameter of the kernel, inside it. */
static bool param_operand(struct verifier *v, const struct vop *o, uint32_t bytes)
{
	uint64_t n = v->nparams;
	if (o->item.kind != VO_WORD || o->word.s[0] != 'p')
		return refuse(v, "only static parameter addresses are allowed");
	if (vword_is(o->word, "pc") && v->k.hidden_coop)
		n = v->nparams - 1;
	else if (!vword_uint((struct vword){ o->word.s + 1, o->word.n - 1 }, &n) || n >= v->nparams - v->k.hidden_coop)
		return refuse(v, "'%.*s' is not a parameter", WORD(o->word));
	const struct vparam *p = &v->params[n];
	if (o->imm + bytes > p->bytes || o->imm % bytes || bytes > p->align)
		return refuse(v, "outside of parameter '%.*s'", WORD(o->word));
	return true;
}

/* An object of its space, with a literal offset inside it. */
static bool object_operand(struct verifier *v, const struct vop *o, char space, uint32_t bytes)
{
	const struct vobject *obj = object_of(v, o->word);
	if (!obj || obj != (space == 's' ? &v->shared : space == 'l' ? &v->local : space == 'c' ? &v->cbank : NULL))
		return refuse(v, "'%.*s' is not an object of that space", WORD(o->word));
	if (obj == &v->shared && o->imm < shared_from(v))
		return refuse(v, "the counters of '%.*s'", WORD(o->word));
	if (o->imm + bytes > obj->bytes || o->imm % bytes || bytes > obj->align)
		return refuse(v, "outside of '%.*s'", WORD(o->word));
	return true;
}

/* A memory operand for `bytes` in all: of the class of its space, aligned and wide enough. */
bool memory_operand(struct verifier *v, const struct vop *o, const struct facts *f, uint32_t bytes)
{
	char space = vword_is(f->space, "shared::cluster") ? 'C' : f->space.n ? f->space.s[0] : 0;
	bool atomic = vword_is(v->s.base, "atom") || vword_is(v->s.base, "red");
	if (o->kind != VO_MEM || !bytes)
		return refuse(v, "a memory operand is wanted");
	if (space == 'p')
		return param_operand(v, o, bytes);
	if (o->item.kind == VO_WORD)
		return object_operand(v, o, space, bytes);
	const char *classes = space == 0 ? "a|g" : space == 'g' ? "a" : space == 's' ? "s" : space == 'l' ? "p" :
		space == 'C' ? "cs" : "k";
	if (!class_is(&o->item, classes))
		return refuse(v, "the address is not fenced for its space");
	if (!use(v, &o->item))
		return false;
	const struct vfact *known = &v->fact[o->item.reg];
	if (o->item.range->width < bytes)
		return refuse(v, "the address is fenced for %u bytes, the access has %u", o->item.range->width, bytes);
	if (o->imm + bytes > known->foot || o->imm % bytes || o->imm > VMAX_SLACK - 32)
		return refuse(v, "offset %llu is out of bounds or misaligned", (unsigned long long)o->imm);
	if (atomic && known->local)
		return refuse(v, "an atomic operation on what may be local memory");
	return true;
}
