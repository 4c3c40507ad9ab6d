/* cluster.c - thread-block clusters: their barrier, and what keeps the shared memory of a block alive while others of
 * its cluster use it.  The forms are those of guard.h.
 *
 * On hardware an access to the shared memory of a block that has not started, or has ended, is a fault of the whole
 * context.  So a kernel that makes addresses of other blocks starts with a barrier of the cluster, and the last thread
 * of each block stays until those of all blocks have come to their end.  Two counters, at the head of the block's own
 * shared object, where no fence leads: threads of this block that have come to the end, and blocks that are done. */
#include "guard/emit.h"
#include <stdio.h>
#include <string.h>

/* Does the instruction make or use an address of .shared::cluster? */
static bool names_peers(const struct ptx_inst *in)
{
	return in->op == PTX_OP_mapa || (rw_op(in->op)->cls != RW_C_PSEUDO && in->space == PTX_SHARED_CLUSTER);
}

void rw_cluster_find(struct rw_kernel *k)
{
	for (uint32_t i = 0; i < k->ninsts && k->rw->opt->fence; i++)
		k->peers |= names_peers(&k->insts[i]);
}

/* A barrier of the cluster waits for arrivals: twice without a wait, or a wait without one, is undefined in PTX. So
 * each thread keeps track. */
void rw_cluster_barrier(struct rw_out *o, const struct ptx_inst *in, const char *pred)
{
	bool wait = rw_has(in, PTX_MOD_wait), relaxed = rw_has(in, PTX_MOD_relaxed);
	uint32_t skip = 0;

	if (in->nops || wait == rw_has(in, PTX_MOD_arrive) || rw_has(in, PTX_MOD_sync) || rw_has(in, PTX_MOD_red))
		rw_refuse(o->rw, in->line, "opcode 'barrier.cluster' is not supported in this form");
	if (!o->rw->opt->fence) {
		rw_line(o, "%sbarrier.cluster.%s%s;", pred, wait ? "wait" : "arrive", relaxed ? ".relaxed" : "");
		return;
	}
	rw_report_flush(o);
	o->entry |= EN_CLUSTER;
	if (*pred) {
		skip = rw_fresh_label(o);
		rw_line(o, "@%s%s bra $L%u;", in->pred_neg ? "" : "!", rw_rn(o, in->pred).s, skip);
	}
	rw_meet_check(o, in, wait ? "setp.ne.u32" : "setp.eq.u32");
	rw_line(o, "setp.%s.u32 %%gcq, %%gcf, 0;", wait ? "ne" : "eq");
	rw_line(o, "@%%gcq barrier.cluster.%s%s;", wait ? "wait" : "arrive", relaxed && !wait ? ".relaxed" : "");
	rw_line(o, "mov.u32 %%gcf, %d;", !wait);
	o->met_open = false;            /* threads of a warp go on behind it one by one */
	if (skip) {
		rw_buf_fmt(o->rw, &o->rw->body, "$L%u:\n", skip);
		rw_fence_forget(o);
	}
}

/* The rank is clamped; the address is only a number until it is used. */
void rw_cluster_mapa(struct rw_out *o, const struct ptx_inst *in, char rank[24])
{
	const struct ptx_operand *r = &in->ops[2];
	uint32_t n;

	if (r->kind != PTX_O_IMM && (r->kind != PTX_O_REG || o->k->regs[r->u.reg].cls != RW_R))
		rw_refuse(o->rw, in->line, "opcode 'mapa' has an unexpected operand");
	n = rw_inv(o, INV_GCM, 0);
	if (r->kind == PTX_O_IMM)
		rw_line(o, "min.u32 %%gcm_%u, %u, %%gcl;", n, (unsigned)r->u.imm);
	else
		rw_line(o, "min.u32 %%gcm_%u, %s, %%gcl;", n, rw_rn(o, r->u.reg).s);
	snprintf(rank, 24, "%%gcm_%u", n);
}

/* %gcs<W>_n from a 32-bit address: any block of the cluster, the offset held to what every block has. */
uint32_t rw_cluster_fence(struct rw_out *o, const struct group *g, const char *src, bool report)
{
	uint32_t w = 1u << g->log2w, f = g->f < w ? w : g->f;
	uint32_t r = rw_inv(o, INV_GCR, 0), m = rw_inv(o, INV_GCM, 0), b = rw_inv(o, INV_GCB, 0);
	uint32_t off = rw_inv(o, INV_GCO, 0), i = rw_inv(o, INV_GCI, 0), j = rw_inv(o, INV_GCJ, 0);
	uint32_t s = rw_inv(o, INV_GCS, g->log2w);
	char limit[32];

	o->entry |= EN_GSB;
	if (o->k->dyn.used) {
		o->entry |= EN_GSN;
		rw_note_foot(o, f);
		snprintf(limit, sizeof(limit), "%%gsl%u", f);
	} else if (f <= rw_smem_room(o->k)) {
		snprintf(limit, sizeof(limit), "%u", (unsigned)(rw_smem_room(o->k) - f));
	} else {
		rw_refuse(o->rw, g->line, "an access of %u bytes is larger than the memory it is in", f);
	}
	rw_line(o, "getctarank.shared::cluster.u32 %%gcr_%u, %s;", r, src);
	rw_line(o, "min.u32 %%gcm_%u, %%gcr_%u, %%gcl;", m, r);
	rw_line(o, "mapa.shared::cluster.u32 %%gcb_%u, %%gsb, %%gcm_%u;", b, m);
	rw_line(o, "sub.u32 %%gco_%u, %s, %%gcb_%u;", off, src, b);
	rw_line(o, "min.u32 %%gci_%u, %%gco_%u, %s;", i, off, limit);
	if (w == 1)
		rw_line(o, "mov.b32 %%gcj_%u, %%gci_%u;", j, i);
	else
		rw_line(o, "and.b32 %%gcj_%u, %%gci_%u, -%u;", j, i, w);
	rw_line(o, "add.u32 %%gcs%u_%u, %%gcj_%u, %%gcb_%u;", w, s, j, b);
	if (report) {
		struct pending p = { .nbad = 1 };

		snprintf(p.bad[0], sizeof(p.bad[0]), "u32 %%gco_%u, %%gcj_%u", off, j);
		snprintf(p.addr, sizeof(p.addr), "%%gco_%u", off);
		snprintf(p.base, sizeof(p.base), "%%gcb_%u", b);
		rw_fence_pend(o, g, &p);
	}
	return s;
}

void rw_cluster_entry(struct rw_out *o, struct rw_buf *b)
{
	const char *name = o->k->smem.var.name;

	if (o->entry & EN_CLUSTER)
		rw_buf_fmt(o->rw, b, "\tmov.u32 %%gcf, 0;\n");
	if (!o->k->peers)
		return;
	rw_buf_fmt(o->rw, b, "\tmov.u32 %%gcn, %%cluster_nctarank;\n\tsub.u32 %%gcl, %%gcn, 1;\n");
	rw_buf_fmt(o->rw, b, "\tmov.u32 %%gca, %s;\n", name);
	rw_buf_fmt(o->rw, b, "\tmov.u32 %%gct, %%ntid.x;\n\tmov.u32 %%gce, %%ntid.y;\n"
		"\tmul.lo.u32 %%gct, %%gct, %%gce;\n\tmov.u32 %%gce, %%ntid.z;\n"
		"\tmul.lo.u32 %%gct, %%gct, %%gce;\n\tsub.u32 %%gct, %%gct, 1;\n\tmov.u32 %%gce, 0;\n");
	rw_buf_fmt(o->rw, b, "\tst.shared.u32 [%s], %%gce;\n\tst.shared.u32 [%s+4], %%gce;\n", name, name);
	rw_buf_fmt(o->rw, b, "\tbarrier.cluster.arrive;\n\tbarrier.cluster.wait;\n");
}

/* Before `ret`, on the one way out. */
void rw_cluster_exit(struct rw_out *o)
{
	static const char *const stay[] = {
		"\tfence.acq_rel.cluster;", "\tatom.shared.add.u32 %gce, [", "], 1;", "\tsetp.ne.u32 %gcq, %gce, %gct;",
		"\t@%gcq bra $Lpeers3;", "\tfence.acq_rel.cluster;", "\tmov.u32 %gce, 0;", "$Lpeers1:",
		"\tmapa.shared::cluster.u32 %gcx, %gca, %gce;",
		"\tred.release.cluster.shared::cluster.add.u32 [%gcx+4], 1;", "\tadd.u32 %gce, %gce, 1;",
		"\tsetp.lt.u32 %gcq, %gce, %gcn;", "\t@%gcq bra $Lpeers1;", "$Lpeers2:",
		"\tld.acquire.cluster.shared.u32 %gce, [", "+4];", "\tsetp.ge.u32 %gcq, %gce, %gcn;",
		"\t@%gcq bra $Lpeers3;", "\tbarrier.cluster.arrive;", "\tbarrier.cluster.wait;", "\tbra $Lpeers2;",
		"$Lpeers3:",
	};
	struct rw_buf *b = &o->rw->body;

	if (o->k->peers)
		rw_buf_fmt(o->rw, b, "$Lpeers:\n");
	if (o->entry & EN_CLUSTER) {
		rw_line(o, "setp.ne.u32 %%gcq, %%gcf, 0;");
		rw_line(o, "@%%gcq barrier.cluster.wait;");
		rw_line(o, "mov.u32 %%gcf, 0;");
	}
	rw_meet_exit(o);
	for (size_t i = 0; i < ARRAY_LEN(stay) && o->k->peers; i++) {
		bool open = stay[i][0] && stay[i][1] && stay[i][strlen(stay[i]) - 1] == '[';

		rw_buf_fmt(o->rw, b, "%s%s", stay[i], open ? o->k->smem.var.name : "\n");
	}
}
