/* verify_matrix.c - wmma.load and wmma.store: R lines of C elements, a stride apart, from one address.
 *
 * The forms of allow.def's %gy... classes make, out of an address and a stride, a pair that belongs together: all
 * registers of a pair have its number and are written once in a segment, so that none is of another pair or of an
 * earlier round.  With n bytes between the address and the last place where a line may start (%gyn), stride <= n * M /
 * 2^32, so (R-1) * stride * z <= n as long as M * (R-1) * z <= 2^32. What the last line itself needs, C * z bytes,
 * lies in the window's slack or in the footprint kept free in shared memory. */
#include "verify_int.h"

#include <stdlib.h>
#include <string.h>

/* sub.u32 %gyn, LIM, %gyw: the limit must be the one that %gyw was held to, or the difference wraps. */
bool matrix_limit(struct verifier *v)
{
	const struct vop *lim = &v->s.ops[1];
	const struct vfact *offset = &v->fact[v->s.ops[2].item.reg];
	if (lim->kind == VO_IMM)
		return offset->literal && lim->imm + offset->foot == shared_room(v);
	return !offset->literal && lim->item.range->width == offset->foot;
}

static uint32_t number_of(const struct vitem *it)
{
	return it->reg - it->range->first;
}

/* m16n16k8 and so on. */
static bool read_shape(struct vword w, uint64_t mnk[3])
{
	static const char letters[] = "mnk";
	const char *p = w.s, *end = w.s + w.n;
	for (int i = 0; i < 3; i++) {
		struct vword number = { p + 1, 0 };
		if (p == end || *p != letters[i])
			return false;
		while (number.s + number.n < end && number.s[number.n] >= '0' && number.s[number.n] <= '9')
			number.n++;
		if (!vword_uint(number, &mnk[i]) || mnk[i] < 2 || mnk[i] > 256)
			return false;
		p = number.s + number.n;
	}
	return p == end;
}

struct lines { uint64_t n, elements, bytes; bool shared; };    /* R, C, z */

/* load.a.sync.aligned.row.m16n16k16.global.f16: load or store was read. */
static bool read_lines(const struct vstmt *s, struct lines *l)
{
	uint64_t mnk[3];
	if (s->nsuffix != 8 || !vword_among(s->suffix[1], "a|b|c|d", 7) || !vword_is(s->suffix[2], "sync") ||
	    !vword_is(s->suffix[3], "aligned") || !vword_among(s->suffix[4], "row|col", 7) ||
	!read_shape(s->suffix[5], mnk) ||
	    !vword_among(s->suffix[6], "global|shared|shared::cta", 25) ||
	    !vword_among(s->suffix[7], "f16|bf16|tf32|f32|f64|s32|s8|u8", 31))
		return false;
	char f = s->suffix[1].s[0];
	uint64_t first = f == 'b' ? mnk[2] : mnk[0], second = f == 'a' ? mnk[2] : mnk[1];
	bool row = s->suffix[4].s[0] == 'r';
	*l = (struct lines){ row ? first : second, row ? second : first, type_bits(s->suffix[7]) / 8,
		s->suffix[6].s[0] == 's' };
	return true;
}

bool matrix_access(struct verifier *v)
{
	struct vstmt *s = &v->s;
	struct lines l;
	bool load = vword_is(s->suffix[0], "load");
	if ((!load && !vword_is(s->suffix[0], "store")) || s->nops != 3 || s->pred || !read_lines(s, &l))
		return refuse(v, "'%.*s' with %u operands is not allowed", WORD(s->op), s->nops);
	const struct vop *address = &s->ops[load], *fragment = &s->ops[!load], *stride = &s->ops[2];
	if (address->kind != VO_MEM || address->imm || !class_is(&address->item, l.shared ? "yb" : "ya"))
		return refuse(v, "the address is not fenced for a matrix");
	if (stride->kind != VO_REG || stride->neg || !class_is(&stride->item, "ys") ||
	    number_of(&stride->item) != number_of(&address->item))
		return refuse(v, "the stride is not that of the address");
	if (!use(v, &address->item) || !use(v, &stride->item))
		return false;
	const struct vfact *known = &v->fact[stride->item.reg];
	uint64_t room = l.shared ? v->fact[address->item.reg].foot : VMAX_SLACK;
	/* What bounded the stride must be what bounded the address: one number may have a limit of each space. */
	if (known->foot != v->fact[address->item.reg].foot)
		return refuse(v, "the stride is not that of the address's space");
	if (known->scale * (l.n - 1) * l.bytes > 1ull << 32 || known->align * l.bytes < 16)
		return refuse(v, "the stride is not bounded for this shape");
	if (l.elements * l.bytes > room)
		return refuse(v, "a line has %u bytes, %u are free", (unsigned)(l.elements * l.bytes), (unsigned)room);
	return fragment_operand(v, fragment, load);
}
