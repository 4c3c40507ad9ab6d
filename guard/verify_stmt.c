/* verify_stmt.c - registers, statements cut into operands, and what allow.def's OP rows say of them. */
#include "verify_int.h"

#include <string.h>

struct op_row { const char *op, *suffixes, *operands; };
static const struct op_row op_rows[] = {
#define OP(o, s, a) { o, s, a },
#include "allow.def"
};
static const struct { const char *name; uint32_t bits; } sreg_rows[] = {
#define SREG(n, b) { n, b },
#include "allow.def"
};
static const struct { char letter; uint32_t bits; } prefix_rows[] = {
#define PREFIX(p, b) { p, b },
#include "allow.def"
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

uint32_t type_bits(struct vword w)
{
	static const struct { const char *names; uint32_t bits; } rows[] = {
		{ "b8|u8|s8|e4m3|e5m2", 8 }, { "b16|u16|s16|f16|bf16|e4m3x2|e5m2x2", 16 },
		{ "b32|u32|s32|f32|f16x2|bf16x2|u16x2|s16x2|tf32", 32 }, { "b64|u64|s64|f64", 64 }, { "b128", 128 },
		{ "pred", 1 },
	};
	for (size_t i = 0; i < COUNT(rows); i++)
		if (vword_among(w, rows[i].names, strlen(rows[i].names)))
			return rows[i].bits;
	return 0;
}

/* --- registers ------------------------------------------------------------------------------- */

/* Splits %abc12 into abc and 12.  False: no leading %, or a number that is not canonical. */
static bool split_register(struct vword w, struct vword *name, bool *numbered, uint64_t *number)
{
	uint32_t n = w.n;
	if (w.n < 2 || w.n > 24 || w.s[0] != '%')
		return false;
	while (n > 1 && w.s[n - 1] >= '0' && w.s[n - 1] <= '9')
		n--;
	*name = (struct vword){ w.s + 1, n - 1 };
	*numbered = n < w.n;
	return name->n > 0 && (!*numbered || vword_uint((struct vword){ w.s + n, w.n - n }, number));
}

bool register_of(struct verifier *v, struct vword w, struct vitem *item)
{
	struct vword name, whole = { w.s + 1, w.n - 1 };
	bool numbered;
	uint64_t number;
	if (split_register(w, &name, &numbered, &number))
		for (uint32_t i = 0; i < v->nranges; i++) {
			const struct vrange *r = &v->ranges[i];
			if (r->numbered ? !numbered || number >= r->n || !vword_eq(r->name, name) :
				!vword_eq(r->name, whole))
				continue;
			*item = (struct vitem){ VO_REG, r->first + (r->numbered ? (uint32_t)number : 0), r };
			return true;
		}
	return refuse(v, "'%.*s' is not a declared register", WORD(w));
}

static bool plain_prefix(struct vword name, uint32_t bits)
{
	for (size_t i = 0; i < COUNT(prefix_rows); i++)
		if (prefix_rows[i].bits == bits)
			return vword_is(name, bits == 64 ? "rd" : (char[]){ prefix_rows[i].letter, 0 });
	return false;
}

/* .reg .b32 %r<12>; or .reg .b32 %gw; with .reg read. */
bool reg_directive(struct verifier *v)
{
	struct vword type, w;
	uint64_t count = 1, number;
	struct vrange r = { .first = v->nregs };
	if (!vlex_word(&v->lex, &type) || type.s[0] != '.' ||
		!(r.bits = type_bits((struct vword){ type.s + 1, type.n - 1 })))
		return refuse(v, "unknown register type");
	if (!vlex_word(&v->lex, &w) || !split_register(w, &r.name, &r.numbered, &number))
		return refuse(v, "bad register name");
	r.name = (struct vword){ w.s + 1, w.n - 1 };
	if (vlex_char(&v->lex, '<')) {
		if (r.numbered || !expect_uint(v, VMAX_REGS, &count) || !expect(v, '>') || !count)
			return refuse(v, "bad register range");
		r.numbered = true;
	} else {
		r.numbered = false;
	}
	r.n = (uint32_t)count;
	if (r.name.s[0] != 'g' ? !r.numbered || !plain_prefix(r.name, r.bits) :
	    !(r.form = reserved_class(r.name, r.numbered, &r.width)) || r.form->bits != r.bits)
		return refuse(v, "'%.*s' is not a register of the guarded form", WORD(w));
	for (uint32_t i = 0; i < v->nranges; i++)
		if (vword_eq(v->ranges[i].name, r.name))
			return refuse(v, "'%.*s' is declared twice", WORD(w));
	if (v->nranges == VMAX_RANGES || r.n > VMAX_REGS - v->nregs || r.n > VMAX_ALL_REGS - v->all_regs)
		return refuse(v, "too many registers");
	v->nregs += r.n;
	v->all_regs += r.n;
	while (v->cap_facts < v->nregs)
		if (!vgrow(&v->fact, v->cap_facts, &v->cap_facts, sizeof *v->fact))
			return no_memory(v);
	memset(v->fact + r.first, 0, r.n * sizeof *v->fact);
	v->ranges[v->nranges++] = r;
	return expect(v, ';') && expect_end(v);
}

bool use(struct verifier *v, const struct vitem *it)
{
	if (it->kind != VO_REG)
		return true;
	if (it->range->form) {
		uint32_t d = v->fact[it->reg].segment;
		if (d != UINT32_MAX && d != v->segment)
			return refuse(v, "%%%.*s..: no definition above it in this block", WORD(it->range->name));
		return true;
	}
	return vflow_event(&v->flow, it->reg, false, v->lex.line) || no_memory(v);
}

bool def(struct verifier *v, const struct vitem *it)
{
	if (it->kind == VO_SINK)
		return true;
	if (it->range->form)
		return refuse(v, "%%%.*s..: written by something else than its form", WORD(it->range->name));
	return v->s.pred || vflow_event(&v->flow, it->reg, true, v->lex.line) || no_memory(v);
}

/* --- statements into operands ---------------------------------------------------------------- */

static bool parse_item(struct verifier *v, struct vword w, struct vitem *it)
{
	if (vword_is(w, "_")) {
		it->kind = VO_SINK;
		return true;
	}
	return register_of(v, w, it);
}

static bool parse_vector(struct verifier *v, struct vop *o)
{
	struct vword w;
	uint64_t imm;
	o->kind = VO_VEC;
	do {
		bool minus = vlex_char(&v->lex, '-');
		if (o->nlist == VMAX_VEC || !vlex_word(&v->lex, &w))
			return refuse(v, "bad vector operand");
		struct vitem *it = &o->list[o->nlist++];
		if (vword_uint(w, &imm) || (!minus && vword_float(w)))
			it->kind = VO_IMM;
		else if (minus || !parse_item(v, w, it))
			return refuse(v, "bad vector operand");
	} while (vlex_char(&v->lex, ','));
	return expect(v, '}');
}

static bool parse_offset(struct verifier *v, struct vop *o)
{
	return !vlex_char(&v->lex, '+') || expect_uint(v, 1u << 30, &o->imm);
}

static bool parse_memory(struct verifier *v, struct vop *o)
{
	o->kind = VO_MEM;
	o->item.kind = VO_WORD;
	if (!vlex_word(&v->lex, &o->word))
		return refuse(v, "bad memory operand");
	if (o->word.s[0] >= '0' && o->word.s[0] <= '9')
		return refuse(v, "absolute address");
	if (o->word.s[0] == '%' && !register_of(v, o->word, &o->item))
		return false;
	if (o->item.kind == VO_REG && vlex_char(&v->lex, ',')) {        /* a texture and coordinates */
		if (!vlex_char(&v->lex, '{'))
			return refuse(v, "bad coordinates");
		return parse_vector(v, o) && (o->kind = VO_TEX) && expect(v, ']');
	}
	return parse_offset(v, o) && expect(v, ']');
}

static bool is_sreg(struct vword w, uint32_t *bits)
{
	for (size_t i = 0; i < COUNT(sreg_rows); i++)
		if (w.n > 2 && w.s[2] == sreg_rows[i].name[2] && vword_is(w, sreg_rows[i].name)) {
			*bits = sreg_rows[i].bits;
			return true;
		}
	return false;
}

bool parse_operand(struct verifier *v, struct vop *o)
{
	struct vword w;
	uint32_t bits;
	memset(o, 0, sizeof *o);
	if (vlex_char(&v->lex, '{'))
		return parse_vector(v, o);
	if (vlex_char(&v->lex, '['))
		return parse_memory(v, o);
	bool minus = vlex_char(&v->lex, '-');
	o->neg = !minus && vlex_char(&v->lex, '!');
	if (!vlex_word(&v->lex, &w))
		return refuse(v, "bad operand");
	o->word = w;
	if (vword_uint(w, &o->imm)) {
		o->kind = VO_IMM;
		o->imm = minus ? 0 - o->imm : o->imm;
		return true;
	}
	if (minus)
		return refuse(v, "bad operand");
	if (vword_float(w)) {
		o->kind = VO_FLOAT;
		return true;
	}
	if (is_sreg(w, &bits) || (w.s[0] != '%' && !vword_is(w, "_"))) {
		o->kind = VO_WORD;
		return parse_offset(v, o);
	}
	if (!parse_item(v, w, &o->item))
		return false;
	o->kind = o->item.kind;
	if (vlex_char(&v->lex, '|')) {
		o->kind = VO_PAIR;
		o->list[0] = o->item;
		if (!vlex_word(&v->lex, &w) || !parse_item(v, w, &o->list[1]))
			return refuse(v, "bad pair of operands");
	}
	return true;
}

/* The opcode, split at its dots. */
bool parse_opcode(struct verifier *v, struct vword op)
{
	struct vstmt *s = &v->s;
	const char *p = op.s, *end = op.s + op.n;
	s->op = op;
	s->nsuffix = 0;
	for (bool first = true;; first = false) {
		const char *dot = memchr(p, '.', (size_t)(end - p));
		struct vword w = { p, (uint32_t)((dot ? dot : end) - p) };
		if (!w.n || (!first && s->nsuffix == VMAX_SUFFIX))
			return refuse(v, "bad opcode '%.*s'", WORD(op));
		if (first)
			s->base = w;
		else
			s->suffix[s->nsuffix++] = w;
		if (!dot)
			return true;
		p = dot + 1;
	}
}

bool parse_operands(struct verifier *v)
{
	struct vstmt *s = &v->s;
	s->nops = 0;
	if (vlex_char(&v->lex, ';'))
		return expect_end(v);
	do {
		if (s->nops == VMAX_OPS)
			return refuse(v, "too many operands");
		if (!parse_operand(v, &s->ops[s->nops++]))
			return false;
	} while (vlex_char(&v->lex, ','));
	return expect(v, ';') && expect_end(v);
}

/* --- what a row says ------------------------------------------------------------------------- */

/* Does every suffix find a slot, and every slot that must be filled a suffix? */
static bool match_suffixes(const struct vstmt *s, const char *slots, struct facts *f)
{
	uint32_t filled = 0, n = 0;
	const char *slot[16];
	size_t len[16];
	*f = (struct facts){ .vec = 1 };
	for (const char *p = slots; *p && n < 16; n++) {
		slot[n] = p;
		len[n] = strcspn(p, " ");
		p += len[n];
		p += strspn(p, " ");
	}
	for (uint32_t i = 0; i < s->nsuffix; i++) {
		struct vword w = s->suffix[i];
		uint32_t k, bits = type_bits(w);
		for (k = 0; k < n; k++)
			if (!(filled >> k & 1) && vword_among(w, slot[k], len[k] - (slot[k][len[k] - 1] == '?')))
				break;
		if (k == n)
			return false;
		filled |= 1u << k;
		if (bits) {
			f->t0 = f->t0 ? f->t0 : bits;
			f->t = bits;
		} else if (vword_is(w, "global") || vword_is(w, "shared") || vword_is(w, "shared::cta") ||
			vword_is(w, "shared::cluster") ||
			vword_is(w, "local") ||
			   vword_is(w, "const") || vword_is(w, "param")) {
			f->space = w;
		} else if (vword_is(w, "v2") || vword_is(w, "v4") || vword_is(w, "v8")) {
			f->vec = (uint32_t)(w.s[1] - '0');
		}
	}
	for (uint32_t k = 0; k < n; k++)
		if (!(filled >> k & 1) && slot[k][len[k] - 1] != '?')
			return false;
	return true;
}

static bool wants_bits(struct verifier *v, const struct vitem *it, uint32_t bits, bool or_more)
{
	if (it->kind != VO_REG)
		return true;
	uint32_t have = it->range->bits;
	if (have == bits || (or_more && have > bits && bits > 1))
		return true;
	return refuse(v, "%%%.*s.. has %u bits, %u are wanted", WORD(it->range->name), have, bits);
}

bool source(struct verifier *v, const struct vop *o, uint32_t bits, bool or_more)
{
	if (o->neg || (o->kind != VO_REG && ((o->kind != VO_IMM && o->kind != VO_FLOAT) || bits == 1)))
		return refuse(v, "bad source operand");
	return o->kind != VO_REG || (wants_bits(v, &o->item, bits, or_more) && use(v, &o->item));
}

static bool predicate(struct verifier *v, const struct vop *o)
{
	if (o->kind == VO_IMM && !o->neg && o->imm <= 1)
		return true;
	if (o->kind != VO_REG || o->item.range->bits != 1)
		return refuse(v, "a predicate is wanted");
	return use(v, &o->item);
}

bool dest(struct verifier *v, const struct vop *o, uint32_t bits, bool or_more)
{
	if ((o->kind != VO_REG && o->kind != VO_SINK) || o->neg)
		return refuse(v, "a register is wanted");
	return wants_bits(v, &o->item, bits, or_more) && def(v, &o->item);
}

static bool dest_pair(struct verifier *v, const struct vop *o, uint32_t bits, bool must)
{
	if (o->kind != VO_PAIR)
		return must ? refuse(v, "a pair is wanted") : dest(v, o, bits, false);
	if (o->neg)
		return refuse(v, "bad pair of operands");
	return wants_bits(v, &o->list[0], bits, false) && wants_bits(v, &o->list[1], 1, false) && def(v, &o->list[0]) &&
	       def(v, &o->list[1]);
}

/* A literal the hardware accepts, or a register of the class that was made so. */
static bool clamped(struct verifier *v, const struct vop *o, const char *what, const char *class, uint32_t least,
	uint32_t most, uint32_t unit)
{
	if (o->kind == VO_IMM && !o->neg && o->imm >= least && o->imm <= most && o->imm % unit == 0)
		return true;
	if (o->kind == VO_REG && !o->neg && class_is(&o->item, class))
		return use(v, &o->item);
	return refuse(v, "bad %s", what);
}

static bool vector_operand(struct verifier *v, const struct vop *o, const struct facts *f, bool defines)
{
	struct vitem one = o->item;
	const struct vitem *it = f->vec > 1 ? o->list : &one;
	one.kind = o->kind == VO_FLOAT ? VO_IMM : o->kind;
	if (f->vec > 1 ? o->kind != VO_VEC || o->nlist != f->vec : o->kind == VO_VEC)
		return refuse(v, "%u operands are wanted", f->vec);
	if (o->neg)
		return refuse(v, "bad operand");
	for (uint32_t i = 0; i < f->vec; i++) {
		if (it[i].kind != VO_REG && it[i].kind != (defines ? VO_SINK : VO_IMM))
			return refuse(v, "bad operand");
		if (!wants_bits(v, &it[i], f->t, true) || (defines ? !def(v, &it[i]) : !use(v, &it[i])))
			return false;
	}
	return true;
}

static bool nap(struct verifier *v, const struct vop *o)
{
	if (!clamped(v, o, "sleep", "ns", 0, 1000000, 1))
		return false;
	v->naps += o->kind == VO_IMM ? o->imm : 1000000;
	return v->naps <= VMAX_NAPS || refuse(v, "the kernel sleeps too long without a poll");
}

/* cp.async: both ends have the size that the last operand says. */
static bool copy_operand(struct verifier *v, const struct vop *o, const char *space)
{
	uint64_t n = v->s.ops[2].imm;
	struct facts f = { .vec = 1, .space = { space, 6 } };
	if (v->s.ops[2].kind != VO_IMM || (n != 16 && (!vword_is(v->s.suffix[1], "ca") || (n != 4 && n != 8))))
		return refuse(v, "bad size of cp.async");
	return memory_operand(v, o, &f, (uint32_t)n);
}

/* Bytes that cp.async reads of its source: at most what it writes. */
static bool copy_size(struct verifier *v, const struct vop *o)
{
	uint64_t n = v->s.ops[2].imm;
	if (o->kind == VO_IMM && !o->neg && o->imm <= n)
		return true;
	if (o->kind == VO_REG && !o->neg && class_is(&o->item, "cz") && use(v, &o->item) &&
		v->fact[o->item.reg].foot <= n + 1)
		return true;
	return refuse(v, "bad source size of cp.async");
}

/* A matrix fragment: its registers' number and width are the assembler's concern. */
bool fragment_operand(struct verifier *v, const struct vop *o, bool defines)
{
	uint32_t n = o->kind == VO_VEC ? o->nlist : 1;
	if (o->neg || (o->kind != VO_VEC && o->kind != VO_REG))
		return refuse(v, "bad fragment");
	for (uint32_t i = 0; i < n; i++) {
		const struct vitem *it = o->kind == VO_VEC ? &o->list[i] : &o->item;
		if (it->kind != VO_REG || it->range->bits < 32)
			return refuse(v, "bad fragment");
		if (defines ? !def(v, it) : !use(v, it))
			return false;
	}
	return true;
}

/* Threads that are joined by a mask: by -1 in all of a kernel, or else by masks of threads that come together. A mask
 * that leaves its own thread out, that its threads do not share, or that names threads which join by another mask
 * elsewhere is an illegal instruction to the hardware, and the context's end. */
static bool warp_mask(struct verifier *v, const struct vop *o)
{
	if (o->kind == VO_IMM && !o->neg && o->imm == UINT64_MAX) {
		v->joins_all = true;
		return true;
	}
	if (o->kind != VO_REG || o->neg || !class_is(&o->item, "am|mm") || v->s.pred)
		return refuse(v, "not a mask of threads that are together");
	v->joins_here = true;
	return use(v, &o->item);
}

#define DEFS "dDzZxHpPjJvV"   /* letters of definitions */

/* [%gt_0, {coordinates}], or [%gt_0] where there are none. */
static bool texture(struct verifier *v, const struct vop *o)
{
	if ((o->kind != VO_TEX && o->kind != VO_MEM) || o->imm || !class_is(&o->item, "t") || !use(v, &o->item))
		return refuse(v, "not a texture of the table");
	for (uint32_t i = 0; i < o->nlist; i++)
		if (o->list[i].kind != VO_REG || !wants_bits(v, &o->list[i], 32, false) || !use(v, &o->list[i]))
			return refuse(v, "bad coordinates");
	return true;
}

/* [%guya4_0, {layer, x, y, y}]: the handle of this geometry and size; x, in bytes, is a multiple of the size. */
static bool surface(struct verifier *v, const struct vop *o, const struct facts *f)
{
	static const struct { const char *geometry, *class; uint32_t coordinates, x; } rows[] = {
		{ "1d", "ux", 1, 0 }, { "2d", "uy", 2, 0 }, { "3d", "uz", 4, 0 }, { "a1d", "uxa", 2, 1 },
		{ "a2d", "uya", 4, 1 } };
	uint32_t bytes = f->t / 8 * f->vec, i = 0;
	while (i < COUNT(rows) && !vword_is(v->s.suffix[1], rows[i].geometry))
		i++;
	if (i == COUNT(rows) || bytes > 16)
		return refuse(v, "bad geometry or size of a surface access");
	if (o->kind != VO_TEX || !class_is(&o->item, rows[i].class) || o->item.range->width != bytes ||
	    !use(v, &o->item))
		return refuse(v, "not a surface of the table, of this geometry and size");
	if (o->nlist != rows[i].coordinates)
		return refuse(v, "%u coordinates are wanted", rows[i].coordinates);
	for (uint32_t k = 0; k < o->nlist; k++)
		if (o->list[k].kind != VO_REG || !wants_bits(v, &o->list[k], 32, false) || !use(v, &o->list[k]))
			return refuse(v, "bad coordinates");
	const struct vitem *x = &o->list[rows[i].x];
	return bytes == 1 || (class_is(x, "uo") && x->range->width >= bytes) ||
		refuse(v, "x is not fenced for %u bytes", bytes);
}

static bool surface_query(struct verifier *v, const struct vop *o)
{
	return (o->kind == VO_MEM && !o->imm && class_is(&o->item, "uq") && use(v, &o->item)) ||
		refuse(v, "not a surface of the table");
}

static bool source_operand(struct verifier *v, char letter, const struct vop *o, const struct facts *f)
{
	switch (letter) {
	case 's': return f->t == 1 ? predicate(v, o) : source(v, o, f->t, false);
	case 'S': return source(v, o, f->t, true);
	case 'k': return source(v, o, f->t0, false);
	case 'y': return source(v, o, f->t * 2, false);
	case 'h': return source(v, o, 32, false);
	case 'l': return source(v, o, 64, false);
	case 'u': return vector_operand(v, o, f, false);
	case 'i': return (o->kind == VO_IMM && !o->neg) || refuse(v, "a literal is wanted");
	case 'q': return predicate(v, o);
	case 'b': return (o->kind == VO_IMM && !o->neg && o->imm == 0) || refuse(v, "bad barrier number");
	case 'n': return nap(v, o);
	case 'w': return warp_mask(v, o);
	case 'm': return memory_operand(v, o, f, f->t / 8 * f->vec);
	case 'M': return memory_operand(v, o, f, 16);
	case 'U': return fragment_operand(v, o, false);
	case 'e': return copy_size(v, o);
	case 'R': return clamped(v, o, "rank", "cm", 0, 0, 1);
	case 'X': return texture(v, o);
	case 'W': return surface(v, o, f);
	case 'Q': return surface_query(v, o);
	case 'a': return copy_operand(v, o, "shared");
	case 'A': return copy_operand(v, o, "global");
	}
	return refuse(v, "allow.def: unknown operand letter");
}

static bool dest_operand(struct verifier *v, char letter, const struct vop *o, const struct facts *f)
{
	switch (letter) {
	case 'd': return dest(v, o, f->t, false);
	case 'D': return dest(v, o, f->t, true);
	case 'z': return dest(v, o, f->t0, false);
	case 'Z': return dest(v, o, f->t0, true);
	case 'x': return dest(v, o, f->t * 2, false);
	case 'H': return dest(v, o, 32, false);
	case 'p': return dest(v, o, 1, false);
	case 'P': return dest_pair(v, o, 1, false);
	case 'j': return dest_pair(v, o, f->t, false);
	case 'J': return dest_pair(v, o, 32, true);
	case 'v': return vector_operand(v, o, f, true);
	case 'V': return fragment_operand(v, o, true);
	}
	return refuse(v, "allow.def: unknown operand letter");
}

/* The carry flag is written and read within one segment, as a reserved register is. */
static bool carry(struct verifier *v)
{
	struct vword b = v->s.base;
	if ((vword_is(b, "addc") || vword_is(b, "subc") || vword_is(b, "madc")) && v->carry != v->segment)
		return refuse(v, "carry flag read before it is written in this block");
	for (uint32_t i = 0; i < v->s.nsuffix; i++)
		if (vword_is(v->s.suffix[i], "cc") && !v->s.pred)
			v->carry = v->segment;
	return true;
}

bool by_table(struct verifier *v)
{
	struct vstmt *s = &v->s;
	struct facts f;
	for (size_t i = 0; i < COUNT(op_rows); i++) {
		const struct op_row *r = &op_rows[i];
		if (s->base.s[0] != r->op[0] || !vword_is(s->base, r->op) || strlen(r->operands) != s->nops ||
			!match_suffixes(s, r->suffixes, &f))
			continue;
		/* uses come before definitions, in time */
		for (uint32_t k = 0; k < s->nops; k++)
			if (!strchr(DEFS, r->operands[k]) && !source_operand(v, r->operands[k], &s->ops[k], &f))
				return false;
		for (uint32_t k = 0; k < s->nops; k++)
			if (strchr(DEFS, r->operands[k]) && !dest_operand(v, r->operands[k], &s->ops[k], &f))
				return false;
		return carry(v);
	}
	return refuse(v, "'%.*s' with %u operands is not allowed", WORD(s->op), s->nops);
}

/* --- mov: registers, literals, special registers, addresses as numbers, packing --------------- */

static bool mov_vector(struct verifier *v, const struct vop *o, uint32_t bits, bool defines)
{
	uint32_t each = o->nlist ? bits / o->nlist : 0;
	if ((o->nlist != 2 && o->nlist != 4) || each < 16)
		return refuse(v, "bad vector operand of mov");
	for (uint32_t i = 0; i < o->nlist; i++) {
		const struct vitem *it = &o->list[i];
		if (it->kind == VO_IMM || (!defines && it->kind == VO_SINK))
			return refuse(v, "bad vector operand of mov");
		if (!wants_bits(v, it, each, false) || (defines ? !def(v, it) : !use(v, it)))
			return false;
	}
	return true;
}

static bool mov_word(struct verifier *v, const struct vop *o, uint32_t bits)
{
	uint32_t have;
	if (is_sreg(o->word, &have))
		return (have == bits && !o->imm) || refuse(v, "bad use of a special register");
	if (!object_of(v, o->word) || (bits != 32 && bits != 64))
		return refuse(v, "the address of '%.*s' is not allowed", WORD(o->word));
	return true;
}

bool mov(struct verifier *v)
{
	struct vstmt *s = &v->s;
	uint32_t bits = s->nsuffix == 1 ? type_bits(s->suffix[0]) : 0;
	if (s->nops != 2 || bits == 0 || bits == 8)
		return refuse(v, "'%.*s' with %u operands is not allowed", WORD(s->op), s->nops);
	struct vop *d = &s->ops[0], *o = &s->ops[1];
	bool ok;
	if (o->neg)
		ok = refuse(v, "bad source operand");
	else if (o->kind == VO_VEC)
		ok = mov_vector(v, o, bits, false);
	else if (o->kind == VO_WORD)
		ok = mov_word(v, o, bits);
	else
		ok = bits == 1 ? predicate(v, o) : source(v, o, bits, false);
	return ok && (d->kind == VO_VEC ? mov_vector(v, d, bits, true) : dest(v, d, bits, false));
}
