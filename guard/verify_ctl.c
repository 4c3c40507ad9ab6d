/* verify_ctl.c - the statements of a kernel: declarations, labels, branches and their polls, calls; all others go to
 * allow.def.
 *
 * Loops.  A branch whose label stands above it closes a loop.  It must be directly preceded by a poll, whose counter
 * nothing else writes, so that 64 rounds of any loop read the kill flag once; after $Lkill no branch goes up, so that
 * what follows ends.  A strip needs no poll: it is entered by its first line only, its counter is at most VMAX_STRIP
 * there, falls in each round, and nothing in between but plain statements of one block can set it again. */
#include "verify_int.h"

#include <stdio.h>
#include <string.h>

static bool new_block(struct verifier *v)
{
	v->met = false;
	v->kind = 0;
	return vflow_block(&v->flow) || no_memory(v);
}

/* --- labels and branches --------------------------------------------------------------------- */

/* $Lkill is 0, $L<n> is n. */
static bool label_of(struct verifier *v, struct vword w, uint32_t *label)
{
	uint64_t n = 0;
	if (!vword_is(w, "$Lkill") && (w.n < 3 || w.s[0] != '$' || w.s[1] != 'L' ||
		!vword_uint((struct vword){ w.s + 2, w.n - 2 }, &n) ||
	    n == 0 || n >= VMAX_LABELS))
		return refuse(v, "'%.*s' is not a label", WORD(w));
	*label = (uint32_t)n;
	for (; v->nlabels <= n; v->nlabels++) {
		if (!vgrow(&v->labels, v->nlabels, &v->cap_labels, sizeof *v->labels))
			return no_memory(v);
		v->labels[v->nlabels] = (struct vlabel){ UINT32_MAX, 0, false };
	}
	return true;
}

static bool branch_to(struct verifier *v, uint32_t label)
{
	struct vlabel *l = &v->labels[label];
	if (l->strip)
		return refuse(v, "a branch into a strip");
	if (l->block != UINT32_MAX) {
		if (!v->polled)
			return refuse(v, "a branch backward without a poll before it");
		if (v->killed)
			return refuse(v, "a branch backward after $Lkill");
	}
	if (!l->line)
		l->line = v->lex.line;
	return vflow_edge(&v->flow, label) || no_memory(v);
}

static bool end_block(struct verifier *v, bool falls)
{
	v->strip.open = false;
	v->flow.block[v->flow.nblocks - 1].falls = falls;
	v->ended = !falls;
	return new_block(v);
}

/* A predicated branch was read, as part of a form: the block ends. */
bool branch_in_form(struct verifier *v, struct vword name)
{
	uint32_t label;
	return label_of(v, name, &label) && branch_to(v, label) && end_block(v, true);
}

/* A label right behind the line that sets a strip's counter, which no branch before it names, opens a strip. */
static void open_strip(struct verifier *v, uint32_t label)
{
	struct vlabel *l = &v->labels[label];
	v->strip.open = v->was_counted && label && !l->line;
	l->strip = v->strip.open;
	if (!v->strip.open)
		return;
	v->strip.reg = v->was_counted - 1;
	v->strip.rounds = v->fact[v->was_counted - 1].foot - 1;
	v->strip.label = label;
	v->strip.line = v->lex.line;
}

static bool label_line(struct verifier *v, struct vword name)
{
	uint32_t label;
	if (!label_of(v, name, &label))
		return false;
	if (v->labels[label].block != UINT32_MAX)
		return refuse(v, "'%.*s' is declared twice", WORD(name));
	v->segment++;
	v->began = true;
	v->polled = v->ended = false;
	v->killed |= label == 0;
	v->labels[label].block = v->flow.nblocks;
	open_strip(v, label);
	return new_block(v) && expect_end(v);
}

static bool bra(struct verifier *v)
{
	struct vstmt *s = &v->s;
	struct vop *o = &s->ops[0];
	uint32_t label;
	if (s->nsuffix > 1 || (s->nsuffix == 1 && (!vword_is(s->suffix[0], "uni") || s->pred)))
		return refuse(v, "'%.*s' is not allowed here", WORD(s->op));
	if (s->nops != 1 || o->kind != VO_WORD || o->imm || o->neg)
		return refuse(v, "bad branch");
	return label_of(v, o->word, &label) && branch_to(v, label) && end_block(v, s->pred);
}

static bool brx(struct verifier *v)
{
	struct vstmt *s = &v->s;
	uint64_t n;
	if (!vword_is(s->op, "brx.idx") || s->nops != 2 || s->ops[0].neg || s->ops[1].neg ||
		s->ops[1].kind != VO_WORD || s->ops[1].imm)
		return refuse(v, "'%.*s' is not allowed here", WORD(s->op));
	struct vword w = s->ops[1].word;
	if (w.n < 3 || memcmp(w.s, "$T", 2) || !vword_uint((struct vword){ w.s + 2, w.n - 2 }, &n) || n >= v->ntables)
		return refuse(v, "'%.*s' is not a branch table", WORD(w));
	if (!class_is(&s->ops[0].item, "b") || !use(v, &s->ops[0].item) ||
		v->fact[s->ops[0].item.reg].foot > v->tables[n].n)
		return refuse(v, "the index is not clamped to the table");
	for (uint32_t i = 0; i < v->tables[n].n; i++)
		if (!branch_to(v, v->target[v->tables[n].first + i]))
			return false;
	return end_block(v, s->pred);
}

/* $T3: .branchtargets $L1, $L2; with the name and colon read.  Tables are numbered in order. */
static bool table_directive(struct verifier *v, struct vword name)
{
	struct vword w;
	char want[16];
	struct vtable t = { v->ntargets, 0 };
	snprintf(want, sizeof want, "$T%u", v->ntables);
	if (!vword_is(name, want) || v->began)
		return refuse(v, "expected branch table '%s', before the first instruction", want);
	do {
		if (!vlex_word(&v->lex, &w) || !vgrow(&v->target, v->ntargets, &v->cap_targets, sizeof *v->target) ||
		    !label_of(v, w, &v->target[v->ntargets]))
			return refuse(v, "bad branch table");
		v->ntargets++;
		t.n++;
	} while (vlex_char(&v->lex, ','));
	if (!vgrow(&v->tables, v->ntables, &v->cap_tables, sizeof *v->tables))
		return no_memory(v);
	v->tables[v->ntables++] = t;
	return expect(v, ';') && expect_end(v);
}

/* add.u32 %gc was read; the five lines below must complete the poll. */
static bool poll(struct verifier *v)
{
	static const char *const rest[] = {
		"and.b32 %gx, %gc, 63;", "setp.eq.u32 %gq, %gx, 0;", "@%gq ld.volatile.global.u32 %gf, [%gkill];",
		"setp.ne.and.u32 %gq, %gf, 0, %gq;", "@%gq bra $Lkill;",
	};
	static const char *const regs[] = { "%gc", "%gf", "%gkill", "%gx", "%gq" };
	struct vitem it;
	if (v->s.pred || !vlex_is(&v->lex, "add.u32 %gc, %gc, 1;"))
		return refuse(v, "%%gc belongs to polls");
	for (size_t i = 0; i < 5; i++) {
		if (!register_of(v, (struct vword){ regs[i], (uint32_t)strlen(regs[i]) }, &it) ||
			(i < 3 && !use(v, &it)))
			return false;
		if (i >= 3)
			v->fact[it.reg].segment = v->segment;
	}
	for (size_t i = 0; i < 5; i++)
		if (!next_line(v) || !vlex_is(&v->lex, rest[i]))
			return refuse(v, "not a whole poll: expected %s", rest[i]);
	if (!branch_in_form(v, (struct vword){ "$Lkill", 6 }))
		return false;
	v->polled = true;
	return true;
}

/* add.s32 %gn_<n>, %gn_<n>, -1; was read: it and two more lines close the strip that this counter counts. */
static bool strip_end(struct verifier *v)
{
	struct vstrip *t = &v->strip;
	const struct vitem *it = &v->s.ops[0].item;
	uint32_t n = it->reg - it->range->first;
	char want[3][64];
	struct vitem q;
	snprintf(want[0], sizeof want[0], "add.s32 %%gn_%u, %%gn_%u, -1;", n, n);
	snprintf(want[1], sizeof want[1], "setp.gt.s32 %%gq, %%gn_%u, 0;", n);
	snprintf(want[2], sizeof want[2], "@%%gq bra $L%u;", t->label);
	if (!t->open || it->reg != t->reg || v->s.pred || !vlex_is(&v->lex, want[0]))
		return refuse(v, "%%gn_%u does not count here", n);
	if (t->rounds > VMAX_STRIP || (uint64_t)t->rounds * (v->lex.line - t->line) > VMAX_STRIP_LINES)
		return refuse(v, "too many rounds without a poll");
	if (!register_of(v, (struct vword){ "%gq", 3 }, &q))
		return false;
	for (size_t i = 1; i < 3; i++)
		if (!next_line(v) || !vlex_is(&v->lex, want[i]))
			return refuse(v, "not the end of a strip: expected %s", want[i]);
	if (v->killed)
		return refuse(v, "a branch backward after $Lkill");
	return (vflow_edge(&v->flow, t->label) || no_memory(v)) && end_block(v, true);
}

/* --- calls ----------------------------------------------------------------------------------- */

struct args { struct vop op[VMAX_CALL_ARGS]; uint32_t bits[VMAX_CALL_ARGS], n, result; };

/* .param .b64 c<n>; or, last, .param .b32 cr; with .param read. */
static bool call_param(struct verifier *v, struct args *a)
{
	struct vword type, name;
	char want[16];
	snprintf(want, sizeof want, "c%u", a->n);
	if (!vlex_word(&v->lex, &type) || !vlex_word(&v->lex, &name) || !expect(v, ';') || !expect_end(v))
		return refuse(v, "bad .param");
	uint32_t bits = vword_is(type, ".b32") ? 32 : vword_is(type, ".b64") ? 64 : 0;
	if (!bits || a->result || a->n == VMAX_CALL_ARGS || (!vword_is(name, want) && !vword_is(name, "cr")))
		return refuse(v, "bad .param");
	if (name.s[1] == 'r')
		a->result = bits;
	else
		a->bits[a->n++] = bits;
	return true;
}

/* st.param.b64 [c<i>], %rd1; */
static bool call_arg(struct verifier *v, struct args *a, uint32_t i)
{
	char want[32];
	struct vop place, *o = &a->op[i];
	snprintf(want, sizeof want, "st.param.b%u", a->bits[i]);
	if (!expect_word(v, want) || !parse_operand(v, &place) || !expect(v, ',') || !parse_operand(v, o) ||
		!expect(v, ';') || !expect_end(v))
		return refuse(v, "bad argument of a call");
	snprintf(want, sizeof want, "c%u", i);
	if (place.kind != VO_MEM || place.item.kind != VO_WORD || place.imm || !vword_is(place.word, want))
		return refuse(v, "arguments are stored whole and in order");
	return source(v, o, a->bits[i], false);
}

/* Letters of FUNC: what the callee believes must be true. */
static bool args_fit(struct verifier *v, const struct vfunc *f, const struct args *a)
{
	if (strlen(f->params) != a->n || a->result != (f->result == 'v' ? 0 : f->result == 'l' ? 64 : 32))
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		const struct vop *o = &a->op[i];
		if (f->params[i] == 'm' || a->bits[i] != (f->params[i] == 'l' ? 64 : 32))
			return false;
		bool none = o->kind == VO_IMM && o->imm == 0;
		if (f->params[i] == 'P' && !none && (!class_is(&o->item, "lb") || a->op[i + 1].kind != VO_IMM ||
			a->op[i + 1].imm != v->local.bytes))
			return false;
		if (f->params[i] == 'N' && !none && !class_is(&a->op[i - 1].item, "lb"))
			return false;
	}
	return true;
}

/* call (cr), name, (c0, c1); */
static bool call_line(struct verifier *v, const struct args *a)
{
	char want[VMAX_CALL_ARGS * 6 + 128];
	for (uint32_t i = 0; i < v->nfuncs; i++) {
		const struct vfunc *f = &v->funcs[i];
		int n = snprintf(want, sizeof want, "call %s%s%s", a->result ? "(cr), " : "", f->name, a->n ? ", (" :
			"");
		for (uint32_t k = 0; k < a->n; k++)
			n += snprintf(want + n, sizeof want - (size_t)n, "%sc%u", k ? ", " : "", k);
		snprintf(want + n, sizeof want - (size_t)n, a->n ? ");" : ";");
		if (f->declared && vlex_is(&v->lex, want))
			return args_fit(v, f, a) || refuse(v, "the arguments do not fit '%s'", f->name);
	}
	return refuse(v, "not a call of a declared function");
}

/* "{" was read: .param lines, st.param lines, the call, the load of its result, "}". */
static bool call_block(struct verifier *v)
{
	struct args a = { .n = 0 };
	struct vword w;
	v->strip.open = v->met = false;
	v->kind = 0;
	struct vop result, from;
	char want[32];
	for (;;) {
		if (!next_line(v))
			return false;
		if (vlex_peek(&v->lex) != '.')
			break;
		if (!vlex_word(&v->lex, &w) || !vword_is(w, ".param") || !call_param(v, &a))
			return refuse(v, "bad declaration in a call");
	}
	for (uint32_t i = 0; i < a.n; i++)
		if (!call_arg(v, &a, i) || !next_line(v))
			return false;
	if (!call_line(v, &a) || !next_line(v))
		return false;
	if (a.result) {
		snprintf(want, sizeof want, "ld.param.b%u", a.result);
		if (!expect_word(v, want) || !parse_operand(v, &result) || !expect(v, ',') ||
			!parse_operand(v, &from) || !expect(v, ';') ||
		    !expect_end(v) || from.kind != VO_MEM || from.item.kind != VO_WORD || from.imm ||
		!vword_is(from.word, "cr"))
			return refuse(v, "bad result of a call");
		if (!dest(v, &result, a.result, false) || !next_line(v))
			return false;
	}
	v->carry = 0;
	return vlex_is(&v->lex, "}") || refuse(v, "expected the end of a call");
}

/* --- statements ------------------------------------------------------------------------------ */

/* .shared .align 16 .b8 ag_smem_0[64]; with the first word read. */
static bool object(struct verifier *v, const char *kind, uint32_t max, struct vobject *o)
{
	static const char *const kinds[] = { "peer", "meet", "peer_meet" };
	char want[24];
	struct vword name;
	uint64_t align, bytes;
	if (!expect_word(v, ".align") || !expect_uint(v, 1024, &align) || !expect_word(v, ".b8") ||
		!vlex_word(&v->lex, &name) || !expect(v, '[') ||
	    !expect_uint(v, max, &bytes) || !expect(v, ']') || !expect(v, ';') || !expect_end(v))
		return refuse(v, "not the declaration of an object");
	if (o == &v->shared && !o->align)
		for (uint32_t i = 0; i < 3; i++)        /* the longest that fits is the last */
			if (name.n > strlen(kinds[i]) + 4 && !memcmp(name.s + 3, kinds[i], strlen(kinds[i]))) {
				kind = kinds[i];
				v->peers = i != 1;
				v->meets = i != 0;
			}
	snprintf(want, sizeof want, "ag_%s_%u", kind, v->k.index);
	if (!vword_is(name, want) || o->align || align < 16 || (align & (align - 1)) || !bytes)
		return refuse(v, "not the declaration of '%s'", want);
	*o = (struct vobject){ .bytes = (uint32_t)bytes, .align = (uint32_t)align };
	memcpy(o->name, want, sizeof want);
	return o != &v->shared || shared_from(v) <= bytes || refuse(v, "no room for the counters");
}

static bool directive(struct verifier *v, struct vword w)
{
	if (vword_is(w, ".pragma"))
		return vlex_is(&v->lex, ".pragma \"nounroll\";") || refuse(v, "unknown pragma");
	if (v->began)
		return refuse(v, "'%.*s' after the first instruction", WORD(w));
	if (vword_is(w, ".reg"))
		return reg_directive(v);
	if (vword_is(w, ".shared"))
		return object(v, "smem", VMAX_SHARED, &v->shared);
	if (vword_is(w, ".local"))
		return object(v, "local", VMAX_LOCAL, &v->local);
	return refuse(v, "'%.*s' is not allowed here", WORD(w));
}

static bool guard_predicate(struct verifier *v)
{
	struct vword w;
	struct vitem it;
	v->s.pred = true;
	vlex_char(&v->lex, '!');
	if (!vlex_word(&v->lex, &w) || !register_of(v, w, &it) || it.range->bits != 1)
		return refuse(v, "bad predicate");
	return use(v, &it);
}

/* The statement's first operand is a register of class `names` that it writes. */
static bool defines(const struct vstmt *s, const char *names)
{
	return s->nops && (names ? class_is(&s->ops[0].item, names) : s->ops[0].item.kind == VO_REG &&
		s->ops[0].item.range->form != NULL) &&
	       s->ops[0].kind == VO_REG;
}

static bool instruction(struct verifier *v, struct vword op)
{
	struct vstmt *s = &v->s;
	bool polled = v->polled, waited = v->waited, left = v->left;
	v->waited = v->left = false;
	if (v->ended)
		return refuse(v, "nothing leads here");
	if (!parse_opcode(v, op) || !parse_operands(v))
		return false;
	v->began = true;
	if (defines(s, "zz"))
		return scrub(v);
	if (defines(s, "wl"))
		return meet_entry(v);
	v->past_entry |= !defines(s, NULL) || !form_flag(s->ops[0].item.range->form, 'E');
	if (vword_is(s->base, "bra") || vword_is(s->base, "brx")) {
		bool ok = vword_is(s->base, "bra") ? bra(v) : brx(v);
		v->polled = false;
		return ok;
	}
	v->polled = false;
	if (vword_is(s->op, "ret") && !s->nops && !s->pred) {
		v->bare_ret |= v->peers || !waited;
		v->bare_leave |= !left;
		return end_block(v, false);
	}
	if (!meet_statement(v))
		return false;
	if (defines(s, "wa")) {
		v->waited = waited;             /* on the way out these lines wait for nobody */
		return meet_check(v);
	}
	if (defines(s, "cq"))
		return meet_cluster(v) && cluster_barrier(v);
	if (defines(s, "cn"))
		return peers_entry(v);
	if (defines(s, "c") && vword_is(s->op, "add.u32"))
		return poll(v);
	if (defines(s, "n") && vword_is(s->op, "add.s32"))
		return strip_end(v);
	/* a counter set again would count for ever */
	if (defines(s, "n") || vword_is(s->base, "nanosleep"))
		v->strip.open = false;
	if (defines(s, NULL) && !vword_is(s->base, "nanosleep") && !vword_is(s->base, "bar") &&
		!vword_is(s->base, "barrier")) {
		v->polled = polled && defines(s, "b");
		v->counted = defines(s, "n") ? s->ops[0].item.reg + 1 : 0;
		return reserved_def(v);
	}
	if (vword_is(s->base, "wmma") && s->nsuffix && !vword_is(s->suffix[0], "mma"))
		return matrix_access(v);
	return vword_is(s->base, "mov") ? mov(v) : by_table(v);
}

bool statement(struct verifier *v)
{
	struct vword w;
	v->s.pred = false;
	v->was_counted = v->counted;
	v->counted = 0;
	if (vlex_is(&v->lex, "{")) {
		v->waited = v->left = false;
		v->began = v->past_entry = true;
		v->polled = false;
		return !v->ended ? call_block(v) : refuse(v, "nothing leads here");
	}
	if (vlex_char(&v->lex, '@') && !guard_predicate(v))
		return false;
	if (!vlex_word(&v->lex, &w))
		return refuse(v, "not a statement");
	if (w.s[0] == '.' && !v->s.pred)
		return directive(v, w);
	if (w.s[0] == '$' && !v->s.pred) {
		if (!expect(v, ':'))
			return false;
		v->waited = v->left = false;
		if (vlex_end(&v->lex))
			return !vword_is(w, "$Lpeers") ? label_line(v, w) : peers_exit(v) && end_block(v, false);
		return expect_word(v, ".branchtargets") && table_directive(v, w);
	}
	return instruction(v, w);
}

/* "}" of the kernel: it left, every label stands, every register is written before it is read. */
bool end_kernel(struct verifier *v)
{
	uint32_t line, reg;
	if (!v->ended)
		return refuse(v, "the kernel falls off its end");
	if (!cluster_end(v) || !scrub_end(v) || !meet_end(v))
		return false;
	if (v->joins_all && v->joins_here)
		return refuse(v, "threads of a warp are joined both by -1 and by other masks");
	for (uint32_t i = 0; i < v->nlabels; i++)
		if (v->labels[i].line && v->labels[i].block == UINT32_MAX) {
			v->lex.line = v->labels[i].line;
			return refuse(v, "a branch to a label that is not there");
		}
	for (uint32_t i = 0; i < v->flow.nedges; i++)
		v->flow.edge[i].to = v->labels[v->flow.edge[i].to].block;
	const char *why = vflow_check(&v->flow, v->nregs, &line, &reg);
	if (!why)
		return true;
	if (line)
		v->lex.line = line;
	for (uint32_t i = 0; i < v->nranges; i++)
		if (reg - v->ranges[i].first < v->ranges[i].n)
			return refuse(v, "%%%.*s%u: %s", WORD(v->ranges[i].name), reg - v->ranges[i].first, why);
	return refuse(v, "%s", why);
}
