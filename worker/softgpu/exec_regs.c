/* exec_regs.c - lets virtual registers share storage: nvcc's PTX names a new register for every value, and a warp's
 * frame should fit the first cache.
 *
 * Classic: basic blocks, liveness by bit sets, one interval per register in text order, linear scan.  Liveness is a
 * thread's own; lanes never see each other's storage except in warp-synchronous ops, whose sources are live in every
 * lane that takes part.  Two registers share only if one's interval ends before the other's begins, never within one
 * instruction: an instruction may be several ops.  Where the sets would be too large, nothing is shared. */
#include <stdlib.h>
#include <string.h>
#include "exec_decode.h"
#include "exec_flow.h"

#define SETS_MAX (96ull << 20)       /* bytes of bit sets */
#define PASSES_MAX 100u

static bool leaves(const struct ptx_inst *i)
{
	return i->op == PTX_OP_bra || i->op == PTX_OP_brx || i->op == PTX_OP_ret || i->op == PTX_OP_exit;
}

/* --- operands ----------------------------------------------------------------------------------- */

void flow_each_reg(struct flow *f, const struct ptx_operand *o, reg_fn fn, void *arg)
{
	if (o->kind == PTX_O_REG || (o->kind == PTX_O_ADDR && o->base == PTX_O_REG))
		fn(f, arg, o->u.reg);
	else if ((o->kind == PTX_O_PARAM || (o->kind == PTX_O_ADDR && o->base == PTX_O_PARAM)) && o->u.param->reg)
		fn(f, arg, o->u.param->reg - 1);
	for (unsigned k = 0; k < o->nlist; k++)
		flow_each_reg(f, &o->list[k], fn, arg);
}

bool flow_pure_destination(const struct ptx_inst *i)
{
	if (i->nops < 2 || (i->ops[0].kind != PTX_O_REG && i->ops[0].kind != PTX_O_VEC && i->ops[0].kind != PTX_O_PAIR))
		return false;
	switch (i->op) {
	case PTX_OP_st: case PTX_OP_red: case PTX_OP_bra: case PTX_OP_brx: case PTX_OP_call: case PTX_OP_bar:
	case PTX_OP_barrier: case PTX_OP_cp: case PTX_OP_mbarrier: case PTX_OP_sust: case PTX_OP_sured:
	case PTX_OP_stmatrix: case PTX_OP_prefetch: case PTX_OP_discard: case PTX_OP_applypriority:
		return false;
	case PTX_OP_wmma: return !ptx_has_mod(i, PTX_MOD_store);
	default: return true;
	}
}

static void set_bit(struct flow *f, void *arg, uint32_t r)
{
	(void)f;
	((uint64_t *)arg)[r / 64] |= 1ull << (r % 64);
}

struct use_arg { uint64_t *def, *use; };
static void note_use(struct flow *f, void *arg, uint32_t r)
{
	struct use_arg *a = arg;
	if (!(a->def[r / 64] >> (r % 64) & 1))
		set_bit(f, a->use, r);
}

static void widen(struct flow *f, uint32_t r, uint32_t at)
{
	f->start[r] = at < f->start[r] ? at : f->start[r];
	f->stop[r] = at > f->stop[r] ? at : f->stop[r];
}

static void note_place(struct flow *f, void *arg, uint32_t r)
{
	widen(f, r, *(uint32_t *)arg);
}

/* --- blocks ------------------------------------------------------------------------------------- */

static bool find_blocks(struct flow *f)
{
	const struct ptx_func *pf = f->pf;
	uint8_t *leader = calloc((size_t)pf->ninsts + 1, 1);
	f->block_of = calloc((size_t)pf->ninsts + 1, sizeof *f->block_of);
	if (!leader || !f->block_of) {
		free(leader);
		return false;
	}
	leader[0] = 1;
	for (uint32_t k = 0; k < pf->nlabels; k++)
		leader[pf->labels[k].inst] = 1;
	for (uint32_t k = 0; k < pf->ninsts; k++)
		if (leaves(&pf->insts[k]))
			leader[k + 1] = 1;
	for (uint32_t k = 0; k < pf->ninsts; k++)
		f->nblocks += leader[k];
	f->blocks = calloc((size_t)f->nblocks + 1, sizeof *f->blocks);
	if (f->blocks) {
		uint32_t b = UINT32_MAX;
		for (uint32_t k = 0; k < pf->ninsts; k++) {
			if (leader[k])
				f->blocks[++b].first = k;
			f->blocks[b].end = k + 1;
			f->block_of[k] = b;
		}
	}
	free(leader);
	return f->blocks != NULL;
}

static void local_sets(struct flow *f)
{
	for (uint32_t b = 0; b < f->nblocks; b++) {
		struct use_arg a = { f->def + (size_t)b * f->words, f->use + (size_t)b * f->words };
		for (uint32_t k = f->blocks[b].first; k < f->blocks[b].end; k++) {
			const struct ptx_inst *i = &f->pf->insts[k];
			bool pure = flow_pure_destination(i);
			for (unsigned j = pure; j < i->nops; j++)
				flow_each_reg(f, &i->ops[j], note_use, &a);
			if (i->has_pred)
				note_use(f, &a, i->pred);
			if (pure && i->has_pred)
				flow_each_reg(f, &i->ops[0], note_use, &a);   /* keeps the old value where false */
			else if (pure)
				flow_each_reg(f, &i->ops[0], set_bit, a.def);
		}
	}
}

/* out |= what is live at the beginning of the block at instruction `at`. */
static void join(struct flow *f, uint64_t *out, uint32_t at)
{
	if (at >= f->pf->ninsts)
		return;
	const uint64_t *in = f->in + (size_t)f->block_of[at] * f->words;
	for (uint32_t k = 0; k < f->words; k++)
		out[k] |= in[k];
}

void flow_live_out(struct flow *f, uint32_t b, uint64_t *out)
{
	const struct ptx_func *pf = f->pf;
	const struct ptx_inst *last = &pf->insts[f->blocks[b].end - 1];
	memset(out, 0, f->words * sizeof *out);
	if (!leaves(last) || last->has_pred)
		join(f, out, f->blocks[b].end);
	if (last->op == PTX_OP_bra && last->ops[0].kind == PTX_O_LABEL)
		join(f, out, pf->labels[last->ops[0].u.label].inst);
	if (last->op == PTX_OP_brx && last->nops > 1 && last->ops[1].kind == PTX_O_TABLE) {
		const struct ptx_table *t = &pf->tables[last->ops[1].u.table];
		for (uint32_t k = 0; k < t->n && t->kind == PTX_TAB_BRANCH; k++)
			join(f, out, pf->labels[t->labels[k]].inst);
	}
}

/* False: no fixed point in reasonable time. */
static bool solve(struct flow *f, uint64_t *out)
{
	bool changed = true;
	for (uint32_t pass = 0; changed; pass++) {
		if (pass == PASSES_MAX)
			return false;
		changed = false;
		for (uint32_t b = f->nblocks; b-- > 0;) {
			uint64_t *in = f->in + (size_t)b * f->words;
			const uint64_t *def = f->def + (size_t)b * f->words, *use = f->use + (size_t)b * f->words;
			flow_live_out(f, b, out);
			for (uint32_t k = 0; k < f->words; k++) {
				uint64_t v = use[k] | (out[k] & ~def[k]);
				changed |= v != in[k];
				in[k] = v;
			}
		}
	}
	return true;
}

/* --- intervals ----------------------------------------------------------------------------------- */

static void widen_set(struct flow *f, const uint64_t *set, uint32_t at)
{
	for (uint32_t k = 0; k < f->words; k++)
		for (uint64_t v = set[k]; v; v &= v - 1)
			widen(f, k * 64 + (uint32_t)__builtin_ctzll(v), at);
}

static void intervals(struct flow *f, uint64_t *out)
{
	const struct ptx_func *pf = f->pf;
	for (uint32_t k = 0; k < pf->ninsts; k++) {
		for (unsigned j = 0; j < pf->insts[k].nops; j++)
			flow_each_reg(f, &pf->insts[k].ops[j], note_place, &k);
		if (pf->insts[k].has_pred)
			widen(f, pf->insts[k].pred, k);
	}
	for (uint32_t b = 0; b < f->nblocks; b++) {
		widen_set(f, f->in + (size_t)b * f->words, f->blocks[b].first);
		flow_live_out(f, b, out);
		widen_set(f, out, f->blocks[b].end - 1);
	}
	/* Formal parameters in registers are written before the first instruction and read after the last. */
	for (uint32_t k = 0; k < pf->nparams + pf->nrets; k++) {
		const struct ptx_param *p = k < pf->nparams ? &pf->params[k] : &pf->rets[k - pf->nparams];
		if (p->reg) {
			widen(f, p->reg - 1, 0);
			widen(f, p->reg - 1, pf->ninsts);
		}
	}
}

struct heap { uint32_t *stop, *slot, n; };   /* slots in use, the one free soonest first */

static void heap_push(struct heap *h, uint32_t stop, uint32_t slot)
{
	uint32_t k = h->n++;
	for (; k && h->stop[(k - 1) / 2] > stop; k = (k - 1) / 2) {
		h->stop[k] = h->stop[(k - 1) / 2];
		h->slot[k] = h->slot[(k - 1) / 2];
	}
	h->stop[k] = stop;
	h->slot[k] = slot;
}

static uint32_t heap_pop(struct heap *h)
{
	uint32_t top = h->slot[0], stop = h->stop[--h->n], slot = h->slot[h->n], k = 0;
	for (uint32_t c; (c = 2 * k + 1) < h->n; k = c) {
		c += c + 1 < h->n && h->stop[c + 1] < h->stop[c];
		if (h->stop[c] >= stop)
			break;
		h->stop[k] = h->stop[c];
		h->slot[k] = h->slot[c];
	}
	h->stop[k] = stop;
	h->slot[k] = slot;
	return top;
}

struct order { uint32_t start, reg; };
static int by_start(const void *a, const void *b)
{
	const struct order *x = a, *y = b;
	return x->start != y->start ? (x->start < y->start ? -1 : 1) : x->reg < y->reg ? -1 : 1;
}

/* Registers of one width: slot numbers into slot[], their count as result; UINT32_MAX without memory. */
static uint32_t scan(struct flow *f, const uint8_t *width, uint8_t w, uint32_t *slot)
{
	uint32_t n = 0, used = 0;
	struct order *o = malloc(((size_t)f->pf->nregs + 1) * sizeof *o);
	struct heap h = { malloc(((size_t)f->pf->nregs + 1) * 4), malloc(((size_t)f->pf->nregs + 1) * 4), 0 };
	for (uint32_t r = 0; o && r < f->pf->nregs; r++)
		if (width[r] == w && f->start[r] <= f->stop[r])
			o[n++] = (struct order){ f->start[r], r };
	if (o && h.stop && h.slot) {
		qsort(o, n, sizeof *o, by_start);
		for (uint32_t k = 0; k < n; k++) {
			uint32_t r = o[k].reg;
			slot[r] = h.n && h.stop[0] < o[k].start ? heap_pop(&h) : used++;
			heap_push(&h, f->stop[r], slot[r]);
		}
	} else {
		used = UINT32_MAX;
	}
	free(o);
	free(h.stop);
	free(h.slot);
	return used;
}

static bool analyse(struct flow *f)
{
	uint64_t words = ((uint64_t)f->pf->nregs + 63) / 64;
	if (!f->pf->ninsts || !find_blocks(f) || words * 8 * 3 * f->nblocks > SETS_MAX)
		return false;
	f->words = (uint32_t)words;
	f->in = calloc(words * f->nblocks * 3 + words + 1, 8);
	if (!f->in)
		return false;
	f->def = f->in + words * f->nblocks;
	f->use = f->def + words * f->nblocks;
	uint64_t *out = f->use + words * f->nblocks;
	local_sets(f);
	if (!solve(f, out))
		return false;
	memset(f->start, 0xff, f->pf->nregs * sizeof *f->start);
	intervals(f, out);
	return true;
}

/* Gives every register of width[] bytes per lane (0: predicates, left alone) a slot among those of its width;
 * counts[] are the slots of widths 4, 8 and 16, need flow_need()'s answer.  False: no sharing is possible, slots are
 * not set. */
bool share_registers(const struct ptx_func *pf, const uint8_t *width, uint32_t *slot, uint32_t counts[3],
	uint32_t *need)
{
	struct flow f = { .pf = pf };
	f.start = calloc((size_t)pf->nregs + 1, sizeof *f.start);
	f.stop = calloc((size_t)pf->nregs + 1, sizeof *f.stop);
	bool ok = f.start && f.stop && analyse(&f);
	for (unsigned k = 0; ok && k < 3; k++) {
		counts[k] = scan(&f, width, (uint8_t)(4u << k), slot);
		ok = counts[k] != UINT32_MAX;
	}
	*need = ok ? flow_need(&f, width) : pf->nregs;
	/* A register that no instruction names needs a place all the same. */
	for (uint32_t r = 0; ok && r < pf->nregs; r++) {
		if (f.start[r] > f.stop[r] && width[r]) {
			slot[r] = 0;
			counts[width[r] / 8] += !counts[width[r] / 8];
		}
	}
	free(f.blocks);
	free(f.block_of);
	free(f.in);
	free(f.start);
	free(f.stop);
	return ok;
}
