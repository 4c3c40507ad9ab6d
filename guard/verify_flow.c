/* verify_flow.c - is every register written on every path that leads to a use of it?  Forward dataflow over the blocks
 * of one kernel. Only registers that are read before being written in some block, and that block 0 (which runs before
 * all others) does not write, need a bit.  Starts optimistic (all written) and takes bits away until nothing changes.
 * */
#include "verify_int.h"

#include <stdlib.h>
#include <string.h>

bool vflow_block(struct vflow *f)
{
	if (!vgrow(&f->block, f->nblocks, &f->cap_blocks, sizeof *f->block))
		return false;
	f->block[f->nblocks++] = (struct vblock){ f->nevents, true };
	return true;
}

bool vflow_event(struct vflow *f, uint32_t reg, bool def, uint32_t line)
{
	if (!vgrow(&f->event, f->nevents, &f->cap_events, sizeof *f->event))
		return false;
	f->event[f->nevents++] = (struct vevent){ reg << 1 | def, line };
	return true;
}

bool vflow_edge(struct vflow *f, uint32_t label)
{
	if (!vgrow(&f->edge, f->nedges, &f->cap_edges, sizeof *f->edge))
		return false;
	f->edge[f->nedges++] = (struct vedge){ f->nblocks - 1, label };
	return true;
}

void vflow_reset(struct vflow *f)
{
	f->nblocks = f->nevents = f->nedges = 0;
}

void vflow_free(struct vflow *f)
{
	free(f->block);
	free(f->event);
	free(f->edge);
}

#define NO_BIT UINT32_MAX
#define IN_ENTRY (UINT32_MAX - 1)

struct flow {
	const struct vflow *f;
	uint32_t *stamp;            /* per register: block of its last definition seen, + 1 */
	uint32_t *bit;              /* per register: index of its bit, NO_BIT, or IN_ENTRY */
	uint64_t *in;               /* nblocks rows of `words` */
	uint64_t *out;              /* one row */
	uint32_t *first_edge;       /* per block; edges are in the order of their blocks */
	uint8_t *dirty;
	uint32_t nbits, words;
};

static uint32_t block_end(const struct vflow *f, uint32_t b)
{
	return b + 1 < f->nblocks ? f->block[b + 1].first : f->nevents;
}

/* Gives bits to the registers that need one.  False: a use in block 0 comes before any definition. */
static bool choose_bits(struct flow *w, uint32_t nregs, uint32_t *line, uint32_t *reg)
{
	const struct vflow *f = w->f;
	memset(w->bit, 0xff, sizeof *w->bit * nregs);
	for (uint32_t b = 0; b < f->nblocks; b++)
		for (uint32_t i = f->block[b].first; i < block_end(f, b); i++) {
			uint32_t r = f->event[i].reg_def >> 1;
			if (f->event[i].reg_def & 1) {
				w->stamp[r] = b + 1;
				if (b == 0)
					w->bit[r] = IN_ENTRY;
			} else if (w->stamp[r] != b + 1 && w->bit[r] == NO_BIT) {
				if (b == 0) {
					*line = f->event[i].line;
					*reg = r;
					return false;
				}
				w->bit[r] = w->nbits++;
			}
		}
	return true;
}

static void row_out(struct flow *w, uint32_t b)
{
	memcpy(w->out, w->in + (size_t)b * w->words, w->words * sizeof *w->out);
	for (uint32_t i = w->f->block[b].first; i < block_end(w->f, b); i++) {
		uint32_t e = w->f->event[i].reg_def, bit = w->bit[e >> 1];
		if ((e & 1) && bit < w->nbits)
			w->out[bit / 64] |= 1ull << bit % 64;
	}
}

static bool meet(struct flow *w, uint32_t to)
{
	uint64_t *in = w->in + (size_t)to * w->words, lost = 0;
	for (uint32_t i = 0; i < w->words; i++) {
		lost |= in[i] & ~w->out[i];
		in[i] &= w->out[i];
	}
	w->dirty[to] |= lost != 0;
	return lost != 0;
}

static bool solve(struct flow *w)
{
	const struct vflow *f = w->f;
	uint64_t steps = 0;
	memset(w->in, 0xff, (size_t)f->nblocks * w->words * sizeof *w->in);
	memset(w->in, 0, w->words * sizeof *w->in);
	memset(w->dirty, 1, f->nblocks);
	for (bool again = true; again;) {
		again = false;
		for (uint32_t b = 0; b < f->nblocks; b++) {
			if (!w->dirty[b])
				continue;
			w->dirty[b] = 0;
			row_out(w, b);
			steps += w->words * 2ull + (block_end(f, b) - f->block[b].first);
			if (f->block[b].falls && b + 1 < f->nblocks)
				meet(w, b + 1);
			for (uint32_t e = w->first_edge[b]; e < w->first_edge[b + 1]; e++) {
				steps += w->words;
				if (meet(w, f->edge[e].to) && f->edge[e].to <= b)
					again = true;
			}
			if (steps > VMAX_FLOW_STEPS)
				return false;
		}
	}
	return true;
}

static const char *judge(struct flow *w, uint32_t nregs, uint32_t *line, uint32_t *reg)
{
	const struct vflow *f = w->f;
	memset(w->stamp, 0, sizeof *w->stamp * nregs);
	for (uint32_t b = 1; b < f->nblocks; b++) {
		const uint64_t *in = w->in + (size_t)b * w->words;
		for (uint32_t i = f->block[b].first; i < block_end(f, b); i++) {
			uint32_t r = f->event[i].reg_def >> 1, bit = w->bit[r];
			if (f->event[i].reg_def & 1)
				w->stamp[r] = b + 1;
			else if (bit < w->nbits && w->stamp[r] != b + 1 && !(in[bit / 64] >> bit % 64 & 1)) {
				*line = f->event[i].line;
				*reg = r;
				return "read but not written on every path";
			}
		}
	}
	return NULL;
}

static const char *run(struct flow *w, const struct vflow *f, uint32_t nregs, uint32_t *line, uint32_t *reg)
{
	w->stamp = calloc(nregs ? nregs : 1, sizeof *w->stamp);
	w->bit = calloc(nregs ? nregs : 1, sizeof *w->bit);
	w->first_edge = calloc((size_t)f->nblocks + 1, sizeof *w->first_edge);
	w->dirty = calloc((size_t)f->nblocks + 1, 1);
	if (!w->stamp || !w->bit || !w->first_edge || !w->dirty)
		return "out of memory";
	if (!choose_bits(w, nregs, line, reg))
		return "read but never written before";
	for (uint32_t e = 0; e < f->nedges; e++)
		w->first_edge[f->edge[e].from + 1]++;
	for (uint32_t b = 0; b < f->nblocks; b++)
		w->first_edge[b + 1] += w->first_edge[b];
	w->words = (w->nbits + 63) / 64;
	uint64_t bytes = (uint64_t)f->nblocks * w->words * sizeof *w->in;
	if (bytes > VMAX_FLOW_BYTES)
		return "kernel too large: blocks times registers";
	if (!w->words)
		return NULL;
	w->in = malloc(bytes);
	w->out = malloc(w->words * sizeof *w->out);
	if (!w->in || !w->out)
		return "out of memory";
	if (!solve(w))
		return "kernel too complex: paths between blocks";
	return judge(w, nregs, line, reg);
}

const char *vflow_check(const struct vflow *f, uint32_t nregs, uint32_t *line, uint32_t *reg)
{
	struct flow w = { .f = f };
	*line = 0;
	*reg = nregs;
	const char *why = f->nblocks ? run(&w, f, nregs, line, reg) : NULL;
	free(w.stamp);
	free(w.bit);
	free(w.in);
	free(w.out);
	free(w.first_edge);
	free(w.dirty);
	return why;
}
