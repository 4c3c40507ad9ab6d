/* verify_meet.c - with the option `meet`: no thread waits in hardware for another one that may never come.
 *
 * A thread that waits in hardware sees no kill flag; it goes on when the others come or end.  So no thread may wait in
 * hardware while a thread that it waits for waits, in hardware, for it.  What waits so:
 *   - shfl, vote, match, redux, elect and bar.warp.sync with the mask -1, and matrix instructions (ptxas makes them
 *     wait, too): for all threads of the warp that have not ended;
 *   - barrier.sync 0: for all of the block that have not ended; other barriers of a block are not accepted;
 *   - barrier.cluster.wait: for all of the cluster that have not ended.  A kernel that has both waits for its cluster
 *     and barriers of its block does not wait at those in hardware;
 *   - the trusted ag_rt_meet, for a moment, as below.
 * %gwl holds all threads of the warp that may still wait for anything.  The entry line makes it the warp, which starts
 * together; only ag_rt_meet, below, changes it.
 *   - A look compares those who are here with %gwl: where they are all, nobody is elsewhere, and all go on together,
 *     straight on, whatever waits there.
 *   - A check looks, too; if some are missing, ag_rt_meet gathers them in a loop that ends when the kill flag is set.
 *     It returns when all threads of the warp have come to a check of one site or have left.  Those who have come all
 *     go on, none gives up any more.  A site that is a place is of this one check: all are here, as above.  A site that
 *     is a kind is of all checks before one wait of that kind: by PTX, threads that execute it in different places wait
 *     for each other, so they go on all; what comes then needs a check of its own.
 *   - In the entry block no check is needed: all threads pass it, none has left.
 *   - A thread leaves behind everything that waits, on the one way out, so nobody waits long for one that has left: it
 *     ends (or, the last one of a block with peers, stays: then no other thread of its block runs).
 * So a warp waits whole, or its threads are in loops that poll; the kill flag ends those, and so, one after the other,
 * all that others wait for.
 *
 * The records that ag_rt_meet uses lie in the head of the shared object, behind the counters of peers, one for each
 * warp; %gsb and all that follows from it begin behind them.  The entry lines clear the own warp's. */
#include "verify_int.h"

#include <stdio.h>
#include <string.h>

/* What the directives of the kernel's head leave of 1024 threads; the head was read. */
uint32_t meet_bytes(const struct verifier *v)
{
	return (PEER_BYTES + (v->threads + 31) / 32 * MEET_BYTES + 31) & ~31u;
}

static bool exact_lines(struct verifier *v, const char *const *lines, size_t n, const char *arg)
{
	char want[128];
	for (size_t i = 0; i < n; i++) {
		snprintf(want, sizeof want, lines[i], arg);
		if ((i && !next_line(v)) || (!vlex_is(&v->lex, want) && !refuse(v, "expected %s", want)))
			return false;
	}
	return true;
}

static bool declared(struct verifier *v, const char *name)
{
	for (uint32_t i = 0; i < v->nfuncs; i++)
		if (!strcmp(v->funcs[i].name, name))
			return v->funcs[i].declared || refuse(v, "'%s' is not declared", name);
	return refuse(v, "'%s' is not known", name);
}

static bool registers(struct verifier *v)
{
	static const char *const names[] = { "%gwl", "%gwa", "%gwh", "%gwt", "%gwu", "%gwq" };
	struct vitem it;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!register_of(v, (struct vword){ names[i], 4 }, &it))
			return false;
	return true;
}

/* activemask %gwl was read: the entry lines. */
bool meet_entry(struct verifier *v)
{
	static const char *const lines[] = {
		"activemask.b32 %%gwl;",
		"mov.u32 %%gwa, %%tid.z;",
		"mov.u32 %%gwt, %%ntid.y;",
		"mov.u32 %%gwu, %%tid.y;",
		"mad.lo.u32 %%gwa, %%gwa, %%gwt, %%gwu;",
		"mov.u32 %%gwt, %%ntid.x;",
		"mov.u32 %%gwu, %%tid.x;",
		"mad.lo.u32 %%gwa, %%gwa, %%gwt, %%gwu;",
		"and.b32 %%gwa, %%gwa, -32;",
		"shr.u32 %%gwa, %%gwa, 1;",
		"mov.u32 %%gwh, %s;",
		"add.u32 %%gwt, %%gwh, %%gwa;",
		"mov.u32 %%gwu, 0;",
		"st.shared.v4.u32 [%%gwt+32], {%%gwu, %%gwu, %%gwu, %%gwl};",
	};
	if (!v->meets || v->meet_ready || v->flow.nblocks != 1 || v->past_entry || v->scrubbed || v->s.pred)
		return refuse(v, "%%gwl belongs in the entry block of a kernel with records of warps, once");
	v->meet_ready = true;
	return registers(v) && exact_lines(v, lines, sizeof lines / sizeof *lines, v->shared.name);
}

/* The thread tells that nobody need wait for it; what follows is the end. */
static bool leave(struct verifier *v)
{
	static const char *const lines[] = {
		"@%%gwq bra $Lleft;", "{", ".param .b32 c0;", "st.param.b32 [c0], %%gwh;", "call ag_rt_leave, (c0);",
		"}", "$Lleft:",
	};
	if (!v->killed)
		return refuse(v, "a thread leaves before $Lkill");
	v->left = true;
	return declared(v, "ag_rt_leave") && exact_lines(v, lines, sizeof lines / sizeof *lines, "");
}

/* At the line of activemask %gwa; the next one says what for. */
static bool look(struct verifier *v)
{
	static const char *const line = "activemask.b32 %%gwa;";
	if (!v->meet_ready || v->s.pred)
		return refuse(v, "%%gwa belongs to checks, behind the entry lines");
	return exact_lines(v, &line, 1, "") && next_line(v);
}

static bool equal(struct verifier *v)
{
	static const char *const line = "setp.eq.u32 %%gwq, %%gwa, %%gwl;";
	return exact_lines(v, &line, 1, "") && next_line(v);
}

bool meet_exit(struct verifier *v)
{
	return !v->meet_ready || (next_line(v) && look(v) && equal(v) && leave(v));
}

/* setp.ne was read: behind the branch go on, here and together, all that live. */
static bool all_here(struct verifier *v)
{
	struct vword w;
	if (!next_line(v) || !expect(v, '@') || !expect_word(v, "%gwq") || !expect_word(v, "bra") ||
	    !vlex_word(&v->lex, &w) || !expect(v, ';') || !expect_end(v) || !branch_in_form(v, w))
		return refuse(v, "bad branch of a look");
	return v->met = true;
}

/* The site: a place, the next one in the text, or a kind of waits: one that has come, or the next one. */
static bool site_of(struct verifier *v, uint64_t *site)
{
	uint64_t place = (uint64_t)MEET_EXACT + v->checks + 1;
	if (!next_line(v) || !expect_word(v, "st.param.b32") || !expect(v, '[') || !expect_word(v, "c1") ||
	    !expect(v, ']') || !expect(v, ',') || !expect_uint(v, place, site) || !expect(v, ';') || !expect_end(v))
		return refuse(v, "bad site");
	return !v->meet || *site == place || (*site && *site <= v->nkinds + 1u && *site <= VMAX_KINDS) ||
	       refuse(v, "bad site");
}

/* activemask %gwa was read. */
bool meet_check(struct verifier *v)
{
	static const char *const call[] = {
		"@%%gwq bra $Lm%s;", "{", ".param .b32 c0;", ".param .b32 c1;", ".param .b32 cr;",
		"st.param.b32 [c0], %%gwh;",
	};
	static const char *const rest[] = {
		"call (cr), ag_rt_meet, (c0, c1);", "ld.param.b32 %%gwl, [cr];", "}", "setp.eq.u32 %%gwq, %%gwl, 0;",
		"@%%gwq bra $Lkill;",
	};
	char n[16];
	uint64_t site;
	if (!look(v))
		return false;
	if (vlex_is(&v->lex, "setp.ne.u32 %gwq, %gwa, %gwl;"))
		return all_here(v);
	if (!equal(v))
		return false;
	if (vlex_is(&v->lex, "@%gwq bra $Lleft;"))
		return leave(v);
	snprintf(n, sizeof n, "%u", v->checks + 1);
	if (!declared(v, "ag_rt_meet") || !exact_lines(v, call, sizeof call / sizeof *call, n) || !site_of(v, &site) ||
	    !next_line(v) || !exact_lines(v, rest, sizeof rest / sizeof *rest, ""))
		return false;
	v->carry = 0;
	if (!branch_in_form(v, (struct vword){ "$Lkill", 6 }))
		return false;
	snprintf(n, sizeof n, "$Lm%u:", ++v->checks);
	if (!next_line(v) || (!vlex_is(&v->lex, n) && !refuse(v, "expected %s", n)))
		return false;
	v->met = site > MEET_EXACT;
	v->kind = v->met ? 0 : (uint32_t)site;
	return true;
}

/* Joins, barriers of the block and of the cluster: threads that wait in different places by the same kind of
 * instruction wait for each other; its kind is the opcode with its suffixes. */
static bool wait_by_kind(struct verifier *v)
{
	uint32_t kind = v->kind;
	v->kind = 0;
	if (!kind)
		return refuse(v, "'%.*s' waits for threads that may be elsewhere", WORD(v->s.op));
	if (kind == v->nkinds + 1)
		v->kinds[v->nkinds++] = v->s.op;
	return vword_eq(v->kinds[kind - 1], v->s.op) ||
	       refuse(v, "'%.*s' is not the kind of wait that was gathered for", WORD(v->s.op));
}

static bool is_barrier(const struct vstmt *s)
{
	return vword_is(s->base, "bar") || vword_is(s->base, "barrier");
}

static bool is_join(const struct vstmt *s)
{
	static const char joins[] = "shfl|vote|match|redux|elect";
	return vword_among(s->base, joins, sizeof joins - 1) ||
	       (is_barrier(s) && s->nsuffix && vword_is(s->suffix[0], "warp"));
}

/* Does the statement wait in hardware for threads of its warp? */
static bool waits(const struct vstmt *s)
{
	const struct vop *mask = &s->ops[s->nops ? s->nops - 1 : 0];
	bool wait = is_barrier(s);
	for (uint32_t i = 0; i < s->nsuffix; i++)
		wait |= vword_is(s->suffix[i], "sync") || vword_is(s->suffix[i], "aligned");
	if (is_join(s))
		return !s->nops || mask->kind != VO_REG || !class_is(&mask->item, "am|mm");
	return wait;
}

/* Before a statement is judged by itself. */
bool meet_statement(struct verifier *v)
{
	struct vstmt *s = &v->s;
	if (!v->meet || !waits(s))
		return true;
	if (s->pred)
		return refuse(v, "who skips '%.*s' is elsewhere", WORD(s->op));
	if (!v->met && !is_join(s) && !is_barrier(s))
		return refuse(v, "'%.*s' waits for threads that may be elsewhere", WORD(s->op));
	if (!v->met && !wait_by_kind(v))
		return false;
	if (is_join(s) || !is_barrier(s))
		return true;
	v->block_waits |= v->flow.nblocks != 1;
	return vlex_is(&v->lex, "barrier.sync 0;") || refuse(v, "expected barrier.sync 0;");
}

/* The first line of a barrier of the cluster, client's.  Threads of a warp go on behind it one by one. */
bool meet_cluster(struct verifier *v)
{
	bool met = v->met;
	v->met = false;
	v->cluster_waits |= !v->killed;
	return !v->meet || met || v->killed || wait_by_kind(v);
}

bool meet_end(struct verifier *v)
{
	if (v->meet_ready && v->bare_leave)
		return refuse(v, "the kernel leaves without telling its warp");
	return !v->meet || !v->block_waits || !v->cluster_waits ||
	       refuse(v, "barriers of the block and waits for the cluster in one kernel");
}
