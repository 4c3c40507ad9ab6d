/* scrub.c - what an earlier kernel left in shared and local memory, perhaps that of another client, is cleared before
 * the first line of the client's: all that fences of this kernel can lead to, and nothing else.  The form is that of
 * guard.h.
 *
 * Shared memory: the block's threads share it out, 16 bytes at a time, and meet at a barrier.  Local memory: each
 * thread its own.  A small local object is cleared by stores to fixed places, because ptxas keeps such objects in
 * registers, and then the stores cost nothing; a large one in a loop.  Neither loop needs a poll: the rounds of the
 * first are as many as the block's memory has 16 bytes, at most, those of the second as its object has 32. */
#include "guard/emit.h"
#include <stdio.h>

enum { FLAT_LOCAL = 1024 };      /* bytes of a local object cleared without a loop */

static bool clears_shared(const struct rw_out *o)
{
	return (o->entry & EN_GSN) || (o->k->smem.used && rw_smem_room(o->k));
}

/* Which registers the lines below need; after the body was printed, before the declarations. */
void rw_scrub_plan(struct rw_out *o)
{
	if (!o->rw->opt->scrub || !o->rw->opt->fence)
		return;
	if (clears_shared(o))
		o->entry |= EN_ZERO | EN_ZERO_SHARED | EN_ZERO_LOOP | EN_GSB;
	if (o->k->local.used)
		o->entry |= EN_ZERO | EN_ZERO_LOCAL | (o->k->local.bytes > FLAT_LOCAL ? EN_ZERO_LOOP : 0);
}

static void clear_local(struct rw_out *o, struct rw_buf *b)
{
	const char *name = o->k->local.var.name, *four = "{%gzz, %gzz, %gzz, %gzz}";
	unsigned bytes = (unsigned)o->k->local.bytes;

	if (bytes > FLAT_LOCAL) {
		rw_buf_fmt(o->rw, b, "\tmov.u32 %%gza, %s;\n\tadd.u32 %%gzo, %%gza, %u;\n$Lzero1:\n", name, bytes);
		rw_buf_fmt(o->rw, b, "\tst.local.v4.b32 [%%gza], %s;\n\tst.local.v4.b32 [%%gza+16], %s;\n", four, four);
		rw_buf_fmt(o->rw, b, "\tadd.u32 %%gza, %%gza, 32;\n\tsetp.lt.u32 %%gzq, %%gza, %%gzo;\n"
			"\t@%%gzq bra $Lzero1;\n");
		return;
	}
	rw_buf_fmt(o->rw, b, "\tst.local.v4.b32 [%s], %s;\n", name, four);
	for (unsigned at = 16; at < bytes; at += 16)
		rw_buf_fmt(o->rw, b, "\tst.local.v4.b32 [%s+%u], %s;\n", name, at, four);
}

/* All threads of the block are here, and nothing but these lines came before. */
static void meet(struct rw_out *o, struct rw_buf *b)
{
	rw_buf_fmt(o->rw, b, "\tbar.sync 0;\n");
}

static void clear_shared(struct rw_out *o, struct rw_buf *b)
{
	char size[24] = "%gsn";

	if (!(o->entry & EN_GSN))
		snprintf(size, sizeof(size), "%u", (unsigned)rw_smem_room(o->k));
	/* %gzo: 16 times the number of the thread, %gzs: of all threads */
	rw_buf_fmt(o->rw, b, "\tmov.u32 %%gzo, %%tid.z;\n\tmov.u32 %%gzs, %%ntid.y;\n\tmov.u32 %%gza, %%tid.y;\n"
		"\tmad.lo.u32 %%gzo, %%gzo, %%gzs, %%gza;\n\tmov.u32 %%gza, %%ntid.x;\n"
		"\tmul.lo.u32 %%gzs, %%gzs, %%gza;\n\tmov.u32 %%gzt, %%tid.x;\n"
		"\tmad.lo.u32 %%gzo, %%gzo, %%gza, %%gzt;\n\tmov.u32 %%gza, %%ntid.z;\n"
		"\tmul.lo.u32 %%gzs, %%gzs, %%gza;\n\tshl.b32 %%gzo, %%gzo, 4;\n\tshl.b32 %%gzs, %%gzs, 4;\n");
	rw_buf_fmt(o->rw, b, "\tsetp.ge.u32 %%gzq, %%gzo, %s;\n\t@%%gzq bra $Lzero3;\n$Lzero2:\n"
		"\tadd.u32 %%gza, %%gzo, %%gsb;\n\tst.shared.v4.b32 [%%gza], {%%gzz, %%gzz, %%gzz, %%gzz};\n"
		"\tadd.u32 %%gzo, %%gzo, %%gzs;\n\tsetp.lt.u32 %%gzq, %%gzo, %s;\n\t@%%gzq bra $Lzero2;\n"
		"$Lzero3:\n", size, size);
	meet(o, b);
}

void rw_scrub_entry(struct rw_out *o, struct rw_buf *b)
{
	if (o->entry & EN_ZERO)
		rw_buf_fmt(o->rw, b, "\tmov.b32 %%gzz, 0;\n");
	if (o->entry & EN_ZERO_LOCAL)
		clear_local(o, b);
	if (o->entry & EN_ZERO_SHARED)
		clear_shared(o, b);
}
