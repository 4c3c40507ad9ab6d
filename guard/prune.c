/* prune.c - instructions that nothing leads to are dropped, and labels that nothing names.
 *
 * Fewer labels mean longer basic blocks, and fences are shared within a block. */
#include "guard/rewrite.h"

/* Marks what is reachable from instruction i on; branch targets go onto the stack. */
static uint32_t walk(struct rw_kernel *k, uint32_t i, const uint32_t *label_at, uint8_t *seen, uint32_t *stack,
	uint32_t top)
{
	for (; i < k->ninsts && !seen[i]; i++) {
		const struct ptx_inst *in = &k->insts[i];

		seen[i] = 1;
		if (in->op == PTX_OP_bra && in->ops[0].u.label != RW_LABEL_KILL)
			stack[top++] = label_at[in->ops[0].u.label];
		if (in->op == PTX_OP_brx)
			for (uint32_t t = 0; t < k->tables[in->ops[1].u.table].n; t++)
				if (k->tables[in->ops[1].u.table].labels[t] != RW_LABEL_KILL)
					stack[top++] = label_at[k->tables[in->ops[1].u.table].labels[t]];
		if (!in->has_pred && (in->op == PTX_OP_bra || in->op == PTX_OP_brx || in->op == RW_OP_DIE))
			break;
	}
	return top;
}

/* Does a branch at i only lead to what follows it anyway? */
static bool to_next(const struct rw_kernel *k, uint32_t i)
{
	uint32_t label = k->insts[i].ops[0].u.label;

	for (i++; i < k->ninsts && k->insts[i].op == RW_OP_LABEL; i++)
		if (k->insts[i].ops[0].u.label == label)
			return true;
	return i == k->ninsts && label == RW_LABEL_KILL;
}

static uint32_t compact(struct rw_kernel *k, const uint8_t *keep)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->ninsts; i++)
		if (keep[i])
			k->insts[n++] = k->insts[i];
	return n;
}

static void drop_unreachable(struct rw *rw, struct rw_kernel *k)
{
	uint32_t *label_at = rw_alloc(rw, (k->nlabels + 1) * sizeof(*label_at)), *stack, top = 0;
	uint8_t *seen = rw_alloc(rw, k->ninsts + 1);
	uint64_t room = 1;

	for (uint32_t i = 0; i < k->ninsts; i++) {
		const struct ptx_inst *in = &k->insts[i];

		if (in->op == RW_OP_LABEL)
			label_at[in->ops[0].u.label] = i;
		room += in->op == PTX_OP_brx ? k->tables[in->ops[1].u.table].n : 1;
	}
	stack = rw_alloc(rw, room * sizeof(*stack));
	stack[top++] = 0;
	while (top) {
		uint32_t from = stack[--top];

		top = walk(k, from, label_at, seen, stack, top);
	}
	k->ninsts = compact(k, seen);
}

static void drop_labels(struct rw *rw, struct rw_kernel *k)
{
	uint8_t *named = rw_alloc(rw, k->nlabels + 1), *keep = rw_alloc(rw, k->ninsts + 1);

	for (uint32_t i = 0; i < k->ninsts; i++) {
		const struct ptx_inst *in = &k->insts[i];

		keep[i] = !(in->op == PTX_OP_bra && to_next(k, i));
		if (in->op == PTX_OP_bra && keep[i])
			named[in->ops[0].u.label] = 1;
		if (in->op == PTX_OP_brx)
			for (uint32_t t = 0; t < k->tables[in->ops[1].u.table].n; t++)
				named[k->tables[in->ops[1].u.table].labels[t]] = 1;
	}
	for (uint32_t i = 0; i < k->ninsts; i++)
		if (k->insts[i].op == RW_OP_LABEL && !named[k->insts[i].ops[0].u.label])
			keep[i] = 0;
	k->ninsts = compact(k, keep);
}

void rw_prune(struct rw *rw, struct rw_kernel *k)
{
	if (!k->ninsts)
		return;
	drop_unreachable(rw, k);
	drop_labels(rw, k);
}
