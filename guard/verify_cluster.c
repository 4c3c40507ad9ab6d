/* verify_cluster.c - thread-block clusters.
 *
 * The barrier.  PTX leaves a second arrival without a wait, and a wait without an arrival, undefined; %gcf is 1 while a
 * thread has arrived and not waited, and nothing but the lines here writes it or names the barrier.
 *
 * Peers.  A kernel whose shared object is named ag_peer_N may address the shared memory of other blocks of its
 * cluster, which exists only while those blocks run:
 *   - the entry lines end in a barrier of the cluster, so all blocks have started when any code of the client runs;
 *   - every way out is the exit text below.  Each thread counts itself in its block; the last one tells each block of
 *     the cluster, its own included, and stays until all have told its own.  A block can end only after each other one
 *     has told it, and each tells it after all its own threads have come to the exit; so no thread that still runs the
 *     client's code, and no thread that still has to tell, finds a block gone.  Threads that are not the last leave at
 *     once: nobody in the block waits for one that stays, and those of other blocks who wait at the barrier of the
 *     cluster find it arriving there.
 *   - the counters are the first PEER_BYTES of the object; %gsb and all that follows from it begin behind them (and
 *     behind what verify_meet.c keeps there). */
#include "verify_int.h"

#include <stdio.h>
#include <string.h>

/* One of the registers that only the lines of this file write. */
static bool owned(struct verifier *v, const char *name, bool use_it)
{
	struct vitem it;
	if (!register_of(v, (struct vword){ name, (uint32_t)strlen(name) }, &it))
		return false;
	return !use_it || use(v, &it);
}

static bool exact(struct verifier *v, const char *line)
{
	char want[128];
	snprintf(want, sizeof want, line, v->shared.name);
	return vlex_is(&v->lex, want) || refuse(v, "expected %s", want);
}

static bool exact_lines(struct verifier *v, const char *const *lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!next_line(v) || !exact(v, lines[i]))
			return false;
	return true;
}

/* setp %gcq was read: an arrival or a wait, whole. */
bool cluster_barrier(struct verifier *v)
{
	static const char *const wait[] = { "@%%gcq barrier.cluster.wait;", "mov.u32 %%gcf, 0;" };
	if (v->s.pred || !owned(v, "%gcq", false) || !owned(v, "%gcf", true))
		return refuse(v, "%%gcq belongs to barriers of the cluster");
	v->cluster_used = true;
	if (vlex_is(&v->lex, "setp.ne.u32 %gcq, %gcf, 0;"))
		return v->waited = exact_lines(v, wait, 2);
	if (!exact(v, "setp.eq.u32 %%gcq, %%gcf, 0;") || !next_line(v))
		return false;
	if (!vlex_is(&v->lex, "@%gcq barrier.cluster.arrive.relaxed;") && !exact(v, "@%%gcq barrier.cluster.arrive;"))
		return false;
	return next_line(v) && exact(v, "mov.u32 %%gcf, 1;");
}

/* mov.u32 %gcn was read: the entry lines of a kernel with peers. */
bool peers_entry(struct verifier *v)
{
	static const char *const rest[] = {
		"sub.u32 %%gcl, %%gcn, 1;",
		"mov.u32 %%gca, %s;",
		"mov.u32 %%gct, %%ntid.x;",
		"mov.u32 %%gce, %%ntid.y;",
		"mul.lo.u32 %%gct, %%gct, %%gce;",
		"mov.u32 %%gce, %%ntid.z;",
		"mul.lo.u32 %%gct, %%gct, %%gce;",
		"sub.u32 %%gct, %%gct, 1;",
		"mov.u32 %%gce, 0;",
		"st.shared.u32 [%s], %%gce;",
		"st.shared.u32 [%s+4], %%gce;",
		"barrier.cluster.arrive;",
		"barrier.cluster.wait;",
	};
	static const char *const names[] = { "%gcn", "%gcl", "%gca", "%gct", "%gce", "%gcx", "%gcq", "%gcf" };
	struct vitem it;
	if (!v->peers || v->peers_ready || v->cluster_used || v->flow.nblocks != 1 || v->s.pred)
		return refuse(v, "%%gcn belongs in the entry block of a kernel with peers, once");
	if (!exact(v, "mov.u32 %%gcn, %%cluster_nctarank;"))
		return false;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!register_of(v, (struct vword){ names[i], 4 }, &it))
			return false;
		if (i < 2)
			v->fact[it.reg] = (struct vfact){ .segment = UINT32_MAX, .foot = UINT32_MAX };
	}
	v->peers_ready = true;
	return exact_lines(v, rest, sizeof rest / sizeof *rest);
}

/* $Lpeers: was read: the only way out of a kernel with peers. */
bool peers_exit(struct verifier *v)
{
	static const char *const wait[] = {
		"setp.ne.u32 %%gcq, %%gcf, 0;", "@%%gcq barrier.cluster.wait;", "mov.u32 %%gcf, 0;",
	};
	static const char *const rest[] = {
		"fence.acq_rel.cluster;", "atom.shared.add.u32 %%gce, [%s], 1;", "setp.ne.u32 %%gcq, %%gce, %%gct;",
		"@%%gcq bra $Lpeers3;", "fence.acq_rel.cluster;", "mov.u32 %%gce, 0;", "$Lpeers1:",
		"mapa.shared::cluster.u32 %%gcx, %%gca, %%gce;",
		"red.release.cluster.shared::cluster.add.u32 [%%gcx+4], 1;", "add.u32 %%gce, %%gce, 1;",
		"setp.lt.u32 %%gcq, %%gce, %%gcn;", "@%%gcq bra $Lpeers1;", "$Lpeers2:",
		"ld.acquire.cluster.shared.u32 %%gce, [%s+4];", "setp.ge.u32 %%gcq, %%gce, %%gcn;",
		"@%%gcq bra $Lpeers3;", "barrier.cluster.arrive;", "barrier.cluster.wait;", "bra $Lpeers2;",
		"$Lpeers3:", "ret;",
	};
	if (!v->peers || !v->peers_ready || !v->killed || v->ended || !owned(v, "%gcf", true))
		return refuse(v, "$Lpeers belongs at the end of a kernel with peers");
	v->bare_leave = false;                  /* the only ret */
	return exact_lines(v, wait, sizeof wait / sizeof *wait) && meet_exit(v) &&
	       exact_lines(v, rest, sizeof rest / sizeof *rest);
}

/* "}": a thread has waited for every arrival of its own before it leaves, and leaves by the exit of its kernel. */
bool cluster_end(struct verifier *v)
{
	if (v->peers && !v->peers_ready)
		return refuse(v, "a kernel with peers without its entry lines");
	if (v->bare_ret && (v->peers || v->cluster_used))
		return refuse(v, "the kernel leaves without waiting for its cluster");
	return true;
}
