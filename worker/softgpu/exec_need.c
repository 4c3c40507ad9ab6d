/* exec_need.c - how many hardware registers a function needs: what a compiler that allocates well has live at once.
 *
 * Values are 32-bit words. A word that a copy makes (mov, cvta, a 64-bit register packed from two halves, the low half
 * of a widened one) is the word it was copied from. Words that cost nothing to have again occupy no register:
 * constants, addresses of variables, kernel parameters and .const variables (operands of any instruction come from the
 * constant bank), and integer functions of such and of what is equal in a whole block, which live in the uniform
 * registers. Predicates live in registers of their own. What is left is counted at each instruction; the largest
 * count, or what a block has when its loads are started first, as far as that costs nothing, is the answer. */
#include <stdlib.h>
#include <string.h>
#include "exec_flow.h"

#define FREE UINT32_MAX

/* Found by comparison with ptxas (tests/softgpu/registers_test.lua): */
enum {
	SPARE = 6,                   /* stack pointer, addresses and what scheduling keeps longer */
	CHEAP = 32,                  /* so many cost no occupancy: ptxas spends them on loads ahead of their use */
	UNROLL = 4,
};

struct need {
	struct flow *f;
	const uint8_t *width;
	uint32_t *word;              /* by register: its first word; words of one register follow each other */
	uint32_t *rep;               /* by word: the word it is a copy of, itself, or FREE */
	uint32_t *refs;              /* by word: how many live words are copies of it */
	uint32_t *ndefs;             /* by register */
	uint64_t *live;              /* set of registers */
	uint32_t now, most;          /* words live here; anywhere */
	uint32_t loaded, ahead;      /* of a block; of the block that loads most, with what it keeps */
};

static uint32_t words_of(const struct need *n, uint32_t reg)
{
	return n->width[reg] / 4u;
}

/* --- values --------------------------------------------------------------------------------------- */

static void note_def(struct flow *f, void *arg, uint32_t reg)
{
	(void)f;
	((struct need *)arg)->ndefs[reg]++;
}

static bool constant(const struct need *n, const struct ptx_operand *o)
{
	switch (o->kind) {
	case PTX_O_IMM: case PTX_O_FIMM: case PTX_O_VAR: case PTX_O_FUNC:
		return true;
	case PTX_O_SREG:
		return o->u.sreg >= PTX_SR_ntid_x && o->u.sreg <= PTX_SR_nctaid_z;
	case PTX_O_REG: {
		uint32_t r = o->u.reg, k = 0;
		if (n->ndefs[r] != 1)
			return false;
		while (k < words_of(n, r) && n->rep[n->word[r] + k] == FREE)
			k++;
		return k && k == words_of(n, r);
	}
	default:
		return false;
	}
}

/* Operations of the uniform datapath. */
static bool uniform(const struct ptx_inst *i)
{
	switch (i->op) {
	case PTX_OP_add: case PTX_OP_sub: case PTX_OP_mul: case PTX_OP_mad: case PTX_OP_shl: case PTX_OP_shr:
	case PTX_OP_and: case PTX_OP_or: case PTX_OP_xor: case PTX_OP_not: case PTX_OP_neg: case PTX_OP_lop3:
	case PTX_OP_cvt: case PTX_OP_mov: case PTX_OP_cvta:
		return i->type < PTX_T_F16 && i->type0 < PTX_T_F16;
	default:
		return false;
	}
}

/* d = s, word by word, as far as both reach; a wider d is zero above (only cvt from unsigned asks for that). */
static void copy(struct need *n, uint32_t d, const struct ptx_operand *s)
{
	if (s->kind != PTX_O_REG || n->ndefs[s->u.reg] != 1 || !n->width[s->u.reg])
		return;
	for (uint32_t k = 0; k < words_of(n, d); k++) {
		if (k < words_of(n, s->u.reg))
			n->rep[n->word[d] + k] = n->rep[n->word[s->u.reg] + k];
		else
			n->rep[n->word[d] + k] = FREE;
	}
}

/* mov.b64 {lo, hi}, s and mov.b64 d, {lo, hi} of 32-bit halves. */
static void repack(struct need *n, const struct ptx_operand *d, const struct ptx_operand *s)
{
	if (s->kind == PTX_O_REG) {
		if (n->ndefs[s->u.reg] != 1 || words_of(n, s->u.reg) != d->nlist)
			return;
		for (unsigned k = 0; k < d->nlist; k++)
			if (d->list[k].kind == PTX_O_REG && n->ndefs[d->list[k].u.reg] == 1
			    && words_of(n, d->list[k].u.reg) == 1)
				n->rep[n->word[d->list[k].u.reg]] = n->rep[n->word[s->u.reg] + k];
	} else if (d->kind == PTX_O_REG && s->kind == PTX_O_VEC && words_of(n, d->u.reg) == s->nlist) {
		for (unsigned k = 0; k < s->nlist; k++) {
			const struct ptx_operand *e = &s->list[k];
			if (e->kind == PTX_O_REG && n->ndefs[e->u.reg] == 1 && words_of(n, e->u.reg) == 1)
				n->rep[n->word[d->u.reg] + k] = n->rep[n->word[e->u.reg]];
			else if (constant(n, e))
				n->rep[n->word[d->u.reg] + k] = FREE;
		}
	}
}

static bool from_bank(const struct need *n, const struct ptx_inst *i)
{
	const struct ptx_operand *a = &i->ops[1];
	if (i->op != PTX_OP_ld || a->kind != PTX_O_ADDR)
		return false;
	return (i->space == PTX_PARAM && a->base == PTX_O_PARAM && n->f->pf->is_entry && a->u.param->is_formal)
		|| (i->space == PTX_CONST && a->base == PTX_O_VAR);
}

static void set_free(struct need *n, const struct ptx_operand *d)
{
	if (d->kind == PTX_O_REG && n->ndefs[d->u.reg] == 1)
		for (uint32_t k = 0; k < words_of(n, d->u.reg); k++)
			n->rep[n->word[d->u.reg] + k] = FREE;
	for (unsigned k = 0; k < d->nlist; k++)
		set_free(n, &d->list[k]);
}

static void value(struct need *n, const struct ptx_inst *i)
{
	if (i->nops < 2 || i->has_pred || !flow_pure_destination(i))
		return;
	const struct ptx_operand *d = &i->ops[0], *s = &i->ops[1];
	bool all = uniform(i);
	for (unsigned k = 1; k < i->nops && all; k++)
		all = constant(n, &i->ops[k]);
	if (all || from_bank(n, i)) {
		set_free(n, d);
		return;
	}
	if (i->op == PTX_OP_mov && (d->kind == PTX_O_VEC || s->kind == PTX_O_VEC)) {
		repack(n, d, s);
		return;
	}
	if (d->kind != PTX_O_REG || n->ndefs[d->u.reg] != 1 || !n->width[d->u.reg])
		return;
	if (i->op == PTX_OP_mov || i->op == PTX_OP_cvta)
		copy(n, d->u.reg, s);
	else if (i->op == PTX_OP_cvt && i->type0 == PTX_T_U64 && i->type == PTX_T_U32)
		copy(n, d->u.reg, s);
	else if (i->op == PTX_OP_cvt && (i->type0 == PTX_T_U32 || i->type0 == PTX_T_S32)
		 && (i->type == PTX_T_U64 || i->type == PTX_T_S64))
		copy(n, d->u.reg, s);
}

/* --- counting ------------------------------------------------------------------------------------- */

static void enter(struct flow *f, void *arg, uint32_t reg)
{
	struct need *n = arg;
	(void)f;
	if (n->live[reg / 64] >> (reg % 64) & 1)
		return;
	n->live[reg / 64] |= 1ull << (reg % 64);
	for (uint32_t k = 0; k < words_of(n, reg); k++) {
		uint32_t w = n->rep[n->word[reg] + k];
		if (w != FREE)
			n->now += n->refs[w]++ == 0;
	}
}

static void leave(struct flow *f, void *arg, uint32_t reg)
{
	struct need *n = arg;
	(void)f;
	if (!(n->live[reg / 64] >> (reg % 64) & 1))
		return;
	n->live[reg / 64] &= ~(1ull << (reg % 64));
	for (uint32_t k = 0; k < words_of(n, reg); k++) {
		uint32_t w = n->rep[n->word[reg] + k];
		if (w != FREE)
			n->now -= --n->refs[w] == 0;
	}
}

static void peak(struct need *n)
{
	n->most = n->now > n->most ? n->now : n->most;
}

static void each_in(struct need *n, const uint64_t *set, reg_fn fn)
{
	for (uint32_t k = 0; k < n->f->words; k++)
		for (uint64_t v = set[k]; v; v &= v - 1)
			fn(n->f, n, k * 64 + (uint32_t)__builtin_ctzll(v));
}

static bool loads(const struct ptx_inst *i)
{
	return (i->op == PTX_OP_ld && i->space != PTX_PARAM && i->space != PTX_CONST) || i->op == PTX_OP_tex
		|| i->op == PTX_OP_tld4 || i->op == PTX_OP_suld || i->op == PTX_OP_atom || i->op == PTX_OP_ldmatrix;
}

static void note_loaded(struct flow *f, void *arg, uint32_t reg)
{
	(void)f;
	((struct need *)arg)->loaded += words_of(arg, reg);
}

/* Is the block a loop of its own that a compiler unrolls? */
static bool unrolled(const struct flow *f, uint32_t b)
{
	const struct ptx_inst *last = &f->pf->insts[f->blocks[b].end - 1];
	if (last->op != PTX_OP_bra || last->ops[0].kind != PTX_O_LABEL
	    || f->pf->labels[last->ops[0].u.label].inst != f->blocks[b].first)
		return false;
	for (uint32_t k = 0; k < f->pf->nnounroll; k++)
		if (f->pf->nounroll[k] == f->blocks[b].first)
			return false;
	return true;
}

/* Loads are started before their values are wanted, all of a block if registers are left: those that are live at its
 * beginning, which is what is counted now, stay beside them. */
static void load_ahead(struct need *n, uint32_t b)
{
	const struct flow *f = n->f;
	n->loaded = 0;
	for (uint32_t k = f->blocks[b].first; k < f->blocks[b].end; k++)
		if (loads(&f->pf->insts[k]))
			flow_each_reg(n->f, &f->pf->insts[k].ops[0], note_loaded, n);
	uint32_t all = n->now + n->loaded * (unrolled(f, b) ? UNROLL : 1);
	n->ahead = all > n->ahead ? all : n->ahead;
}

static void count_block(struct need *n, uint32_t b, uint64_t *out)
{
	struct flow *f = n->f;
	flow_live_out(f, b, out);
	each_in(n, out, enter);
	peak(n);
	for (uint32_t k = f->blocks[b].end; k-- > f->blocks[b].first;) {
		const struct ptx_inst *i = &f->pf->insts[k];
		bool pure = flow_pure_destination(i);
		if (pure) {
			flow_each_reg(f, &i->ops[0], enter, n);
			peak(n);
			if (!i->has_pred)
				flow_each_reg(f, &i->ops[0], leave, n);
		}
		for (unsigned j = pure; j < i->nops; j++)
			flow_each_reg(f, &i->ops[j], enter, n);
		peak(n);
	}
	load_ahead(n, b);
	memcpy(out, n->live, f->words * sizeof *out);
	each_in(n, out, leave);
}

uint32_t flow_need(struct flow *f, const uint8_t *width)
{
	const struct ptx_func *pf = f->pf;
	struct need n = { .f = f, .width = width };
	uint64_t nwords = 0;
	for (uint32_t r = 0; r < pf->nregs; r++)
		nwords += width[r] / 4u;
	n.word = calloc((size_t)pf->nregs + 1, sizeof *n.word);
	n.ndefs = calloc((size_t)pf->nregs + 1, sizeof *n.ndefs);
	n.rep = calloc(nwords + 1, sizeof *n.rep);
	n.refs = calloc(nwords + 1, sizeof *n.refs);
	n.live = calloc(2 * (size_t)f->words + 1, sizeof *n.live);
	n.most = pf->nregs < 255 ? pf->nregs : 255;   /* without memory */
	if (n.word && n.ndefs && n.rep && n.refs && n.live) {
		n.most = 0;
		for (uint32_t r = 0, w = 0; r < pf->nregs; w += words_of(&n, r++))
			n.word[r] = w;
		for (uint32_t w = 0; w < nwords; w++)
			n.rep[w] = w;
		for (uint32_t k = 0; k < pf->ninsts; k++)
			if (flow_pure_destination(&pf->insts[k]))
				flow_each_reg(f, &pf->insts[k].ops[0], note_def, &n);
		for (uint32_t k = 0; k < pf->ninsts; k++)
			value(&n, &pf->insts[k]);
		for (uint32_t b = 0; b < f->nblocks; b++)
			count_block(&n, b, n.live + f->words);
	}
	free(n.word);
	free(n.ndefs);
	free(n.rep);
	free(n.refs);
	free(n.live);
	uint32_t ahead = n.ahead + SPARE < CHEAP ? n.ahead + SPARE : CHEAP;
	return n.most + SPARE > ahead ? n.most + SPARE : ahead;
}
