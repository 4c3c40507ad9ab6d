/* define.c - no register is read before it is written.
 *
 * A register that a client never wrote could hold someone else's value.  Every register that some path reads first
 * gets a zero at entry: for each use that its own block does not define, walk the predecessors until a definition or
 * the entry. */
#include "guard/rewrite.h"
#include <string.h>

enum { MAX_STEPS = 40u << 20 };

struct event { uint32_t reg, block; };   /* an exposed use, or a sure definition, of reg in block */

struct flow {
	struct rw *rw;
	struct rw_kernel *k;
	uint32_t *block_of_label;
	uint32_t nblocks;
	uint32_t *pred_first, *preds;    /* predecessors of block b: preds[pred_first[b] .. pred_first[b + 1]) */
	struct event *uses, *defs;
	uint32_t nuses, cap_uses, ndefs, cap_defs;
	uint32_t block;
	bool predicated;
	uint32_t *stamp_def;             /* per register: block + 1 of the last sure definition, */
	uint32_t *stamp_use;             /* of the last exposed use noted */
};

static bool ends_block(const struct ptx_inst *in)
{
	return in->op == PTX_OP_bra || in->op == PTX_OP_brx || in->op == RW_OP_DIE;
}

static bool falls_through(const struct ptx_inst *in)
{
	return in->has_pred || !ends_block(in);
}

static void note(void *ctx, uint32_t reg, bool def)
{
	struct flow *f = ctx;

	if (f->k->regs[reg].special)
		return;
	if (!def) {
		if (f->stamp_def[reg] == f->block + 1 || f->stamp_use[reg] == f->block + 1)
			return;
		f->stamp_use[reg] = f->block + 1;
		RW_ROOM(&f->rw->arena, f->uses, f->nuses, f->cap_uses);
		f->uses[f->nuses++] = (struct event){ reg, f->block };
	} else if (!f->predicated && f->stamp_def[reg] != f->block + 1) {
		f->stamp_def[reg] = f->block + 1;
		RW_ROOM(&f->rw->arena, f->defs, f->ndefs, f->cap_defs);
		f->defs[f->ndefs++] = (struct event){ reg, f->block };
	}
}

/* Numbers the blocks and collects what each reads and writes. */
static void collect(struct flow *f)
{
	struct rw_kernel *k = f->k;
	bool fresh = true;

	f->block_of_label = rw_alloc(f->rw, (k->nlabels + 1) * sizeof(uint32_t));
	f->stamp_def = rw_alloc(f->rw, k->nregs * sizeof(uint32_t) + 1);
	f->stamp_use = rw_alloc(f->rw, k->nregs * sizeof(uint32_t) + 1);
	f->block = UINT32_MAX;
	for (uint32_t i = 0; i < k->ninsts; i++) {
		const struct ptx_inst *in = &k->insts[i];

		if (fresh || in->op == RW_OP_LABEL)
			f->block++;
		fresh = ends_block(in);
		if (in->op == RW_OP_LABEL)
			f->block_of_label[in->ops[0].u.label] = f->block + 1;
		f->predicated = in->has_pred;
		rw_visit_regs(in, note, f);
	}
	f->nblocks = f->block + 1;
}

static void add_edge(struct flow *f, uint32_t from, uint32_t label, uint32_t *count, uint32_t *fill)
{
	uint32_t to = f->block_of_label[label];

	if (label == RW_LABEL_KILL || !to)
		return;
	if (count)
		count[to]++;            /* shifted by one: to is block + 1 */
	else
		f->preds[fill[to - 1]++] = from;
}

static void edges(struct flow *f, uint32_t *count, uint32_t *fill)
{
	struct rw_kernel *k = f->k;
	uint32_t b = UINT32_MAX;
	bool fresh = true, falls = false;

	for (uint32_t i = 0; i < k->ninsts; i++) {
		const struct ptx_inst *in = &k->insts[i];

		if (fresh || in->op == RW_OP_LABEL) {
			b++;
			if (falls && b > 0) {
				if (count)
					count[b + 1]++;
				else
					f->preds[fill[b]++] = b - 1;
			}
		}
		fresh = ends_block(in);
		falls = falls_through(in);
		if (in->op == PTX_OP_bra)
			add_edge(f, b, in->ops[0].u.label, count, fill);
		else if (in->op == PTX_OP_brx)
			for (uint32_t t = 0; t < k->tables[in->ops[1].u.table].n; t++)
				add_edge(f, b, k->tables[in->ops[1].u.table].labels[t], count, fill);
	}
}

static void link_blocks(struct flow *f)
{
	uint32_t *fill = rw_alloc(f->rw, (f->nblocks + 2) * sizeof(uint32_t));

	f->pred_first = rw_alloc(f->rw, (f->nblocks + 2) * sizeof(uint32_t));
	edges(f, f->pred_first, NULL);
	for (uint32_t b = 0; b < f->nblocks; b++)
		f->pred_first[b + 1] += f->pred_first[b];
	memcpy(fill, f->pred_first, (f->nblocks + 1) * sizeof(uint32_t));
	f->preds = rw_alloc(f->rw, f->pred_first[f->nblocks] * sizeof(uint32_t) + 1);
	edges(f, NULL, fill);
}

/* Orders events by register: first[r] .. first[r + 1) of the result. */
static uint32_t *by_register(struct flow *f, struct event **ev, uint32_t n)
{
	uint32_t nregs = f->k->nregs;
	uint32_t *first = rw_alloc(f->rw, (nregs + 2) * sizeof(uint32_t)), *fill = rw_alloc(f->rw,
		(nregs + 2) * sizeof(uint32_t));
	struct event *out = rw_alloc(f->rw, n * sizeof(*out) + 1);

	for (uint32_t i = 0; i < n; i++)
		first[(*ev)[i].reg + 1]++;
	for (uint32_t r = 0; r < nregs; r++)
		first[r + 1] += first[r];
	memcpy(fill, first, (nregs + 1) * sizeof(uint32_t));
	for (uint32_t i = 0; i < n; i++)
		out[fill[(*ev)[i].reg]++] = (*ev)[i];
	*ev = out;
	return first;
}

/* Can the entry be reached backwards from an exposed use of r without crossing a definition? */
static bool reaches_entry(struct flow *f, uint32_t r, const struct event *use, uint32_t nuse, const struct event *def,
	uint32_t ndef,
	uint32_t *seen, uint32_t *stack, uint64_t *steps)
{
	uint32_t top = 0;

	for (uint32_t i = 0; i < ndef; i++)
		seen[def[i].block] = r + 1;
	for (uint32_t i = 0; i < nuse; i++)
		stack[top++] = use[i].block;
	while (top) {
		uint32_t b = stack[--top];

		if (b == 0)
			return true;
		for (uint32_t p = f->pred_first[b]; p < f->pred_first[b + 1]; p++) {
			uint32_t from = f->preds[p];

			if (++*steps > MAX_STEPS)
				return true;            /* a zero too many does no harm */
			if (seen[from] == r + 1)
				continue;
			seen[from] = r + 1;
			stack[top++] = from;
		}
	}
	return false;
}

static void put_zero(struct rw_kernel *k, struct ptx_inst *to, uint32_t reg, uint32_t zero64)
{
	static const uint16_t mods[RW_NCLASS] = { PTX_MOD_pred, PTX_MOD_b16, PTX_MOD_b32, PTX_MOD_b64, PTX_MOD_b128 };
	uint8_t c = k->regs[reg].cls;

	*to = rw_make(k->rw, PTX_OP_mov, k->src->line, &mods[c], 1, 2);
	to->ops[0] = rw_reg_op(reg);
	to->ops[1] = rw_imm_op(0);
	if (c == RW_Q) {
		struct ptx_operand *half = rw_alloc(k->rw, 2 * sizeof(*half));

		half[0] = half[1] = rw_reg_op(zero64);
		to->ops[1] = (struct ptx_operand){ .kind = PTX_O_VEC, .nlist = 2, .list = half };
	}
}

void rw_define(struct rw *rw, struct rw_kernel *k)
{
	struct flow f = { .rw = rw, .k = k };
	uint32_t *use_first, *def_first, *seen, *stack, *zero, nzero = 0, zero64 = 0;
	uint64_t steps = 0;
	bool wide = false;
	struct ptx_inst *out;

	if (!k->ninsts)
		return;
	collect(&f);
	link_blocks(&f);
	use_first = by_register(&f, &f.uses, f.nuses);
	def_first = by_register(&f, &f.defs, f.ndefs);
	seen = rw_alloc(rw, f.nblocks * sizeof(uint32_t));
	stack = rw_alloc(rw, ((size_t)f.nblocks * 2 + 2) * sizeof(uint32_t));
	zero = rw_alloc(rw, k->nregs * sizeof(uint32_t) + 1);
	for (uint32_t r = 0; r < k->nregs; r++) {
		uint32_t nu = use_first[r + 1] - use_first[r];

		if (nu && reaches_entry(&f, r, f.uses + use_first[r], nu, f.defs + def_first[r],
			def_first[r + 1] - def_first[r], seen, stack,
				&steps)) {
			zero[nzero++] = r;
			wide |= k->regs[r].cls == RW_Q;
		}
	}
	if (!nzero)
		return;
	if (wide)
		zero64 = rw_new_reg(k, RW_RD);
	out = rw_alloc(rw, ((size_t)k->ninsts + nzero + 1) * sizeof(*out));
	if (wide)
		put_zero(k, out, zero64, 0);
	for (uint32_t i = 0; i < nzero; i++)
		put_zero(k, &out[wide + i], zero[i], zero64);
	memcpy(out + wide + nzero, k->insts, k->ninsts * sizeof(*out));
	k->insts = out;
	k->ninsts += nzero + wide;
	k->cap_insts = k->ninsts;
}
