/* exec_decode_ctl.c - decode of control flow, calls, barriers and warp-synchronous instructions. */
#include <string.h>
#include "exec_decode.h"

#define OP(d) ((d)->i->op)

/* --- branches ----------------------------------------------------------------------------------- */

static void bra(struct dec *d)
{
	const struct ptx_operand *l = opnd(d, 0);
	if (l->kind != PTX_O_LABEL) {
		fail(d, "this target");
		return;
	}
	uint32_t inst = d->pf->labels[l->u.label].inst, here = (uint32_t)(d->i - d->pf->insts);
	emit(d, inst <= here ? op_bra_back : op_bra)->label = inst;
}

static void brx(struct dec *d)
{
	const struct ptx_operand *l = opnd(d, 1);
	if (l->kind != PTX_O_TABLE || d->pf->tables[l->u.table].kind != PTX_TAB_BRANCH) {
		fail(d, "this table");
		return;
	}
	const struct ptx_table *pt = &d->pf->tables[l->u.table];
	struct jump_table *t = load_alloc(d->ld, sizeof *t + pt->n * sizeof t->target[0]);
	uint32_t a = src(d, opnd(d, 0), 4);
	if (!t)
		return;
	t->n = pt->n;
	for (uint32_t k = 0; k < pt->n; k++)
		t->target[k] = (const struct op *)(uintptr_t)d->pf->labels[pt->labels[k]].inst;
	struct op *o = emit(d, op_brx);
	o->a = a;
	o->table = t;
}

/* --- calls -------------------------------------------------------------------------------------- */

enum intrinsic intrinsic_of(const char *name)
{
	static const struct { const char *name; enum intrinsic i; } rows[] = { { "vprintf", INTR_VPRINTF },
		{ "__assertfail", INTR_ASSERTFAIL }, { "malloc", INTR_MALLOC }, { "free", INTR_FREE } };
	for (unsigned k = 0; k < 4; k++)
		if (!strcmp(rows[k].name, name))
			return rows[k].i;
	return INTR_NONE;
}

static bool slots(struct dec *d, const struct ptx_operand *list, struct call_slot **out, uint32_t *n, bool is_dst)
{
	*n = list->nlist;
	*out = load_alloc(d->ld, (*n + 1) * sizeof **out);
	if (!*out)
		return false;
	for (uint32_t k = 0; k < *n; k++) {
		const struct ptx_operand *o = &list->list[k];
		struct call_slot *s = &(*out)[k];
		if (o->kind == PTX_O_PARAM && !o->u.param->reg) {
			const struct ptx_param *p = o->u.param;
			if (p->is_formal && d->pf->is_entry) {
				fail(d, "a kernel parameter as an argument");
				return false;
			}
			*s = (struct call_slot){ .size = (uint32_t)p->size, .off = (uint32_t)param_off(d, p),
				.ref = REF_NONE };
		} else {
			unsigned w = operand_width(d, o);
			if (!w || w == 16 || (is_dst && o->kind != PTX_O_REG)) {
				fail(d, "this argument");
				return false;
			}
			*s = (struct call_slot){ .size = w, .ref = is_dst ? dst(d, o, w, false) : src(d, o, w),
				.lane_bytes = w };
		}
	}
	return true;
}

static void note_callee(struct dec *d, const struct func *f)
{
	struct func *me = d->f;
	for (uint32_t k = 0; k < me->ncallees; k++)
		if (me->callees[k] == f)
			return;
	const struct func **p = load_alloc(d->ld, (me->ncallees + 1) * sizeof *p);
	if (!p)
		return;
	if (me->ncallees)
		memcpy(p, me->callees, me->ncallees * sizeof *p);
	p[me->ncallees++] = f;
	me->callees = p;
}

static void call(struct dec *d)
{
	const struct ptx_operand *callee = opnd(d, 1);
	struct call *c = load_alloc(d->ld, sizeof *c);
	if (!c)
		return;
	*c = (struct call){ 0 };
	if (!slots(d, opnd(d, 2), &c->args, &c->nargs, false) || !slots(d, opnd(d, 0), &c->rets, &c->nrets, true))
		return;
	if (callee->kind == PTX_O_FUNC) {
		struct func *f = callee->u.func->user;
		c->callee = f;
		c->intrinsic = callee->u.func->has_body ? INTR_NONE : intrinsic_of(f->name);
		if (c->intrinsic == INTR_MALLOC || c->intrinsic == INTR_FREE)
			d->ld->m->uses_heap = true;
		if (!c->intrinsic && !callee->u.func->has_body)
			load_fail(d->ld, d->i->line, CUDA_ERROR_INVALID_PTX, "unresolved extern function '%s'",
				f->name);
		if (callee->u.func->is_entry)
			load_fail(d->ld, d->i->line, CUDA_ERROR_INVALID_PTX, "call of the entry '%s'", f->name);
		if (c->intrinsic && c->nrets > 1)
			fail(d, "these results");
		if (!c->intrinsic)
			note_callee(d, f);
		emit(d, op_call)->call = c;
		d->f->calls = true;
	} else if (callee->kind == PTX_O_REG) {
		uint32_t a = src(d, callee, 8);
		struct op *o = emit(d, op_call_reg);
		o->a = a;
		o->call = c;
		d->f->indirect = d->f->calls = true;
	} else {
		fail(d, "this callee");
	}
}

/* --- the stack ---------------------------------------------------------------------------------- */

static bool stack(struct dec *d)
{
	unsigned w = lane_width(d->i->type);
	struct op *o;
	if (OP(d) == PTX_OP_alloca) {
		unsigned sw = operand_width(d, opnd(d, 1));
		uint64_t align = d->i->nops > 2 ? opnd(d, 2)->u.imm : 16;
		uint32_t a = src(d, opnd(d, 1), sw), r = dst(d, opnd(d, 0), w, false);
		if (align & (align - 1) || align > 4096)
			return false;
		o = emit(d, op_alloca);
		o->a = a;
		o->d = r;
		o->y = w / 4;
		o->z = sw / 4;
		o->imm = (int64_t)(align < 8 ? 8 : align);
		d->f->indirect = true;      /* the stack's size is not known */
		return true;
	}
	bool restore = OP(d) == PTX_OP_stackrestore;
	uint32_t r = restore ? src(d, opnd(d, 0), w) : dst(d, opnd(d, 0), w, false);
	o = emit(d, op_stack);
	o->x = restore;
	o->a = o->d = r;
	o->y = w / 4;
	return true;
}

bool decode_ctl(struct dec *d)
{
	switch (OP(d)) {
	case PTX_OP_bra: bra(d); return true;
	case PTX_OP_brx: brx(d); return true;
	case PTX_OP_call: call(d); return true;
	case PTX_OP_ret: emit(d, op_ret); return true;
	case PTX_OP_exit: emit(d, op_exit); return true;
	case PTX_OP_trap: emit(d, op_trap); return true;
	case PTX_OP_brkpt: emit(d, op_trap)->x = 1; return true;
	case PTX_OP_nanosleep: emit(d, op_nanosleep); return true;
	case PTX_OP_pmevent: case PTX_OP_griddepcontrol: case PTX_OP_setmaxnreg: emit(d, op_nop); return true;
	case PTX_OP_membar: case PTX_OP_fence: emit(d, op_fence); return true;
	case PTX_OP_alloca: case PTX_OP_stacksave: case PTX_OP_stackrestore: return stack(d);
	default: return false;
	}
}

/* --- warp-synchronous --------------------------------------------------------------------------- */

/* Wraps handler fn; the member mask is operand k, or absent (older forms take whoever is there). */
static struct op *sync_op(struct dec *d, op_fn fn, uint32_t source_class, uint32_t mask)
{
	struct op *o = emit(d, op_sync);
	o->fn2 = fn;
	o->y = source_class;
	o->c = mask;
	return o;
}

static uint32_t member_mask(struct dec *d, unsigned k)
{
	return has(d, PTX_MOD_sync) ? src(d, opnd(d, k), 4) : constant(d, 0, 4);
}

static void shfl(struct dec *d)
{
	const struct ptx_operand *o = opnd(d, 0);
	bool pair = o->kind == PTX_O_PAIR;
	uint32_t a = src(d, opnd(d, 1), 4), b = src(d, opnd(d, 2), 4), *list = load_alloc(d->ld, sizeof *list);
	uint32_t c = src(d, opnd(d, 3), 4), mask = member_mask(d, 4);
	const struct ptx_operand *v = pair ? &o->list[0] : o;
	uint32_t to = v->kind == PTX_O_SINK ? REF_NONE : dst(d, v, 4, false), p = pair ? pred_dst(d, &o->list[1]) : 0;
	if (!list)
		return;
	*list = c;
	struct op *q = sync_op(d, sync_shfl, SRC_32, mask);
	q->x = has(d, PTX_MOD_up) ? SHFL_UP : has(d, PTX_MOD_down) ? SHFL_DOWN : has(d, PTX_MOD_bfly) ? SHFL_BFLY
		: SHFL_IDX;
	q->d = to;
	q->e = p;
	q->a = a;
	q->b = b;
	q->list = list;
}

static void vote(struct dec *d)
{
	bool ballot = has(d, PTX_MOD_ballot);
	uint32_t neg, a = pred_src(d, opnd(d, 1), &neg), mask = member_mask(d, 2);
	uint32_t to = ballot ? dst(d, opnd(d, 0), 4, false) : pred_dst(d, opnd(d, 0));
	struct op *q = sync_op(d, sync_vote, SRC_PRED, mask);
	q->x = ballot ? VOTE_BALLOT : has(d, PTX_MOD_all) ? VOTE_ALL : has(d, PTX_MOD_any) ? VOTE_ANY : VOTE_UNI;
	q->a = a;
	q->z = neg;
	q->d = to;
	if (!ballot && !to)
		fail(d, "a result that is thrown away");
}

static void match(struct dec *d)
{
	const struct ptx_operand *o = opnd(d, 0);
	bool pair = o->kind == PTX_O_PAIR;
	unsigned w = lane_width(d->i->type);
	uint32_t a = src(d, opnd(d, 1), w), mask = member_mask(d, 2);
	const struct ptx_operand *v = pair ? &o->list[0] : o;
	uint32_t to = v->kind == PTX_O_SINK ? REF_NONE : dst(d, v, 4, false), p = pair ? pred_dst(d, &o->list[1]) : 0;
	struct op *q = sync_op(d, sync_match, w == 8 ? SRC_64 : SRC_32, mask);
	q->x = has(d, PTX_MOD_all);
	q->a = a;
	q->d = to;
	q->e = p;
}

static void redux(struct dec *d)
{
	bool f = d->i->type == PTX_T_F32, s = type_signed(d->i->type), min = has(d, PTX_MOD_min),
		max = has(d, PTX_MOD_max);
	uint32_t a = src(d, opnd(d, 1), 4), mask = member_mask(d, 2), to = dst(d, opnd(d, 0), 4, false);
	if (f && (has(d, PTX_MOD_abs) || has(d, PTX_MOD_NaN)))
		fail(d, "these suffixes");
	struct op *q = sync_op(d, sync_redux, SRC_32, mask);
	q->x = f ? (min ? REDUX_FMIN : REDUX_FMAX) : has(d, PTX_MOD_add) ? REDUX_ADD : min
		? (s ? REDUX_MIN_S : REDUX_MIN_U)
		: max ? (s ? REDUX_MAX_S : REDUX_MAX_U) : has(d, PTX_MOD_and) ? REDUX_AND : has(d, PTX_MOD_or)
		? REDUX_OR : REDUX_XOR;
	q->a = a;
	q->d = to;
}

static void elect(struct dec *d)
{
	const struct ptx_operand *o = opnd(d, 0);
	bool pair = o->kind == PTX_O_PAIR;
	uint32_t mask = src(d, opnd(d, 1), 4);
	const struct ptx_operand *v = pair ? &o->list[0] : o;
	uint32_t to = v->kind == PTX_O_SINK ? REF_NONE : dst(d, v, 4, false), p = pair ? pred_dst(d, &o->list[1]) : 0;
	struct op *q = sync_op(d, sync_elect, SRC_NONE, mask);
	q->d = to;
	q->e = p;
}

/* --- barriers ----------------------------------------------------------------------------------- */

static bool bar(struct dec *d)
{
	if (has(d, PTX_MOD_warp)) {
		sync_op(d, op_nop, SRC_NONE, src(d, opnd(d, 0), 4));
		return true;
	}
	struct op *o;
	if (has(d, PTX_MOD_cluster)) {
		emit(d, op_cluster)->x = !has(d, PTX_MOD_arrive);
		return true;
	}
	bool red = has(d, PTX_MOD_red), popc = has(d, PTX_MOD_popc);
	uint32_t mode = red ? (popc ? BAR_RED_POPC : has(d, PTX_MOD_and) ? BAR_RED_AND : BAR_RED_OR)
		: has(d, PTX_MOD_arrive) ? BAR_ARRIVE : BAR_SYNC;
	unsigned first = red, n = d->i->nops - first - red;
	uint32_t a = src(d, opnd(d, first), 4), b = n > 1 ? src(d, opnd(d, first + 1), 4) : REF_NONE, neg = 0, c = 0,
		to = 0;
	if (red) {
		c = pred_src(d, opnd(d, d->i->nops - 1), &neg);
		to = popc ? dst(d, opnd(d, 0), 4, false) : pred_dst(d, opnd(d, 0));
		if (!popc && !to)
			to = ptemp(d);
	}
	o = emit(d, op_bar);
	o->x = mode;
	o->a = a;
	o->b = b;
	o->c = c;
	o->y = neg;
	o->d = to;
	return true;
}

bool decode_sync(struct dec *d)
{
	switch (OP(d)) {
	case PTX_OP_shfl: shfl(d); return true;
	case PTX_OP_vote: vote(d); return true;
	case PTX_OP_match: match(d); return true;
	case PTX_OP_redux: redux(d); return true;
	case PTX_OP_elect: elect(d); return true;
	case PTX_OP_activemask: {
		uint32_t to = dst(d, opnd(d, 0), 4, false);
		emit(d, op_activemask)->d = to;
		return true;
	}
	case PTX_OP_bar: case PTX_OP_barrier: return bar(d);
	default: return false;
	}
}
