/* inline.c - every call to a function of the module is replaced by its body, so that only kernels remain.
 *
 * Call parameters: a formal of an inlined function simply becomes the caller's .param variable that was passed for it
 * (a function cannot store to its inputs, so nothing is copied).  What is left of each such variable afterwards is a
 * set of loads and stores; when they agree on offsets and widths each becomes a register, otherwise the variable
 * becomes local memory. Labels become RW_OP_LABEL instructions here; `ret` and `exit` become branches. */
#include "guard/rewrite.h"
#include <string.h>

struct frame {
	struct ptx_func *f;
	struct frame *up;
	uint32_t reg_base, label_base, table_base, ret_label, depth;
	struct ptx_param **params, **rets, **body;   /* what a .param of f stands for: unique per instance */
	bool entry;
};

enum { MAX_DEPTH = 200 };

static void body_of(struct rw_kernel *k, struct frame *fr);

static struct ptx_param *new_object(struct rw_kernel *k, const struct ptx_param *like)
{
	struct rw *rw = k->rw;
	struct ptx_param *p = rw_alloc(rw, sizeof(*p));

	*p = *like;
	p->is_formal = false;
	p->index = k->npobjs;
	RW_ROOM(&rw->arena, k->pobjs, k->npobjs, k->cap_pobjs);
	k->pobjs[k->npobjs++] = (struct rw_pobj){ .p = p };
	return p;
}

static struct ptx_param *bound_param(struct frame *fr, struct ptx_param *p)
{
	if (!p->is_formal)
		return fr->body[p->index];
	if (fr->entry)
		return p;
	return p->is_ret ? fr->rets[p->index] : fr->params[p->index];
}

static void map_operand(struct rw_kernel *k, struct frame *fr, struct ptx_operand *to, const struct ptx_operand *from)
{
	*to = *from;
	switch (from->kind) {
	case PTX_O_REG: to->u.reg += fr->reg_base; break;
	case PTX_O_LABEL: to->u.label += fr->label_base; break;
	case PTX_O_TABLE: to->u.table += fr->table_base; break;
	case PTX_O_PARAM: to->u.param = bound_param(fr, from->u.param); break;
	case PTX_O_ADDR:
		if (from->base == PTX_O_REG)
			to->u.reg += fr->reg_base;
		else if (from->base == PTX_O_PARAM)
			to->u.param = bound_param(fr, from->u.param);
		break;
	case PTX_O_VEC: case PTX_O_LIST: case PTX_O_PAIR: case PTX_O_TEX:
		to->list = rw_alloc(k->rw, from->nlist * sizeof(*to->list) + 1);
		for (unsigned i = 0; i < from->nlist; i++)
			map_operand(k, fr, &to->list[i], &from->list[i]);
		break;
	default: break;
	}
}

static void map_pred(struct ptx_inst *to, const struct ptx_inst *from, const struct frame *fr)
{
	to->has_pred = from->has_pred;
	to->pred_neg = from->pred_neg;
	to->pred = from->pred + fr->reg_base;
}

static void put_label(struct rw_kernel *k, uint32_t label, uint32_t line)
{
	struct ptx_inst *in = rw_emit(k, RW_OP_LABEL, line, 1);

	in->ops[0].kind = PTX_O_LABEL;
	in->ops[0].u.label = label;
}

static struct ptx_inst *put_branch(struct rw_kernel *k, uint32_t label, uint32_t line)
{
	struct ptx_inst *in = rw_emit(k, PTX_OP_bra, line, 1);

	in->ops[0].kind = PTX_O_LABEL;
	in->ops[0].u.label = label;
	return in;
}

static enum ptx_mod bits_mod(uint32_t width)
{
	switch (width) {
	case 1: return PTX_MOD_b8;
	case 2: return PTX_MOD_b16;
	case 4: return PTX_MOD_b32;
	case 8: return PTX_MOD_b64;
	default: return PTX_MOD_b128;
	}
}

/* A value passed by register or literal for a .param formal, or the reverse: one store or load of the object. */
static void move_param(struct rw_kernel *k, bool store, struct ptx_param *obj, const struct ptx_operand *value,
	const struct ptx_inst *call, const struct frame *fr)
{
	struct ptx_inst *in = rw_emit(k, store ? PTX_OP_st : PTX_OP_ld, call->line, 2);
	struct ptx_operand *mem = &in->ops[store ? 0 : 1];
	unsigned width = ptx_type_bytes(obj->type);

	if (obj->is_array || obj->vec > 1 || width == 0)
		rw_refuse(k->rw, call->line, "an argument of the call does not fit its parameter");
	in->mods[0] = PTX_MOD_param;
	in->mods[1] = bits_mod(width);
	in->nmods = 2;
	in->space = PTX_PARAM;
	in->type = in->type0 = (uint8_t)ptx_mod_type(in->mods[1]);
	map_pred(in, call, fr);
	mem->kind = PTX_O_ADDR;
	mem->base = PTX_O_PARAM;
	mem->u.param = obj;
	in->ops[store ? 1 : 0] = *value;
}

/* A register formal: obj->reg is the callee's register + 1; value is already the caller's. */
static void move_reg(struct rw_kernel *k, uint32_t line, enum ptx_type t, struct ptx_operand dst,
	struct ptx_operand src,
	const struct ptx_inst *call, const struct frame *fr)
{
	struct ptx_inst *in = rw_emit(k, PTX_OP_mov, line, 2);

	in->mods[0] = t == PTX_T_PRED ? PTX_MOD_pred : bits_mod(ptx_type_bytes(t));
	in->nmods = 1;
	in->type = in->type0 = (uint8_t)ptx_mod_type(in->mods[0]);
	map_pred(in, call, fr);
	in->ops[0] = dst;
	in->ops[1] = src;
}

/* Operands of a call as written: [rets] func [args] [table]. */
static void call_parts(const struct ptx_inst *in, const struct ptx_operand **rets, const struct ptx_operand **fn,
	const struct ptx_operand **args)
{
	unsigned i = 0;

	*rets = *args = *fn = NULL;
	if (i < in->nops && in->ops[i].kind == PTX_O_LIST)
		*rets = &in->ops[i++];
	if (i < in->nops)
		*fn = &in->ops[i++];
	if (i < in->nops && in->ops[i].kind == PTX_O_LIST)
		*args = &in->ops[i++];
}

/* Binds one actual to one formal of an inlined function; `reg` formals and literal actuals are moved. */
static struct ptx_param *bind_actual(struct rw_kernel *k, struct frame *fr, struct frame *callee,
	const struct ptx_param *formal,
	const struct ptx_operand *actual, const struct ptx_inst *call)
{
	struct ptx_operand a;
	struct ptx_param *obj;

	map_operand(k, fr, &a, actual);
	if (a.kind == PTX_O_PARAM && !formal->reg && !formal->is_ret) {
		if (a.u.param->size < formal->size)
			rw_refuse(k->rw, call->line, "an argument of the call is smaller than its parameter");
		if (a.u.param->is_formal)
			rw_refuse(k->rw, call->line, "a kernel parameter cannot be passed on by name");
		return a.u.param;
	}
	if (a.kind == PTX_O_PARAM && !formal->reg) {
		if (a.u.param->size < formal->size)
			rw_refuse(k->rw, call->line, "a result of the call is smaller than its parameter");
		return a.u.param;
	}
	obj = formal->reg ? NULL : new_object(k, formal);
	if (formal->is_ret)
		return obj;
	if (formal->reg && a.kind != PTX_O_PARAM)
		move_reg(k, call->line, formal->type, rw_reg_op(formal->reg - 1 + callee->reg_base), a, call, fr);
	else if (formal->reg)
		rw_refuse(k->rw, call->line, "a .param variable is passed for a register parameter");
	else
		move_param(k, true, obj, &a, call, fr);
	return obj;
}

static void open_frame(struct rw_kernel *k, struct frame *fr)
{
	struct rw *rw = k->rw;
	struct ptx_func *f = fr->f;

	fr->reg_base = k->nregs;
	for (uint32_t i = 0; i < f->nregs; i++) {
		enum rw_class c = rw_type_class(f->regs[i].type);

		if (c == RW_NCLASS || f->regs[i].vec > 1)
			rw_refuse(rw, f->line, "register '%s' has a type that is not supported", f->regs[i].name);
		rw_new_reg(k, c);
	}
	fr->label_base = k->nlabels;
	k->nlabels += f->nlabels;
	fr->table_base = k->ntables;
	for (uint32_t i = 0; i < f->ntables; i++) {
		struct rw_table t = { .n = 0 };

		if (f->tables[i].kind == PTX_TAB_BRANCH) {
			t.n = f->tables[i].n;
			t.labels = rw_alloc(rw, t.n * sizeof(*t.labels) + 1);
			for (uint32_t j = 0; j < t.n; j++)
				t.labels[j] = f->tables[i].labels[j] + fr->label_base;
		}
		RW_ROOM(&rw->arena, k->tables, k->ntables, k->cap_tables);
		k->tables[k->ntables++] = t;
	}
	fr->body = rw_alloc(rw, f->nbody_params * sizeof(*fr->body) + 1);
	for (uint32_t i = 0; i < f->nbody_params; i++)
		fr->body[i] = new_object(k, &f->body_params[i]);
}

static void inline_call(struct rw_kernel *k, struct frame *fr, const struct ptx_inst *in, struct rw_func *target)
{
	struct rw *rw = k->rw;
	const struct ptx_operand *rets, *fn, *args;
	struct frame callee = { .f = target->def, .up = fr, .depth = fr->depth + 1 };
	struct ptx_func *f = target->def;
	uint32_t skip = 0, piece = rw->piece;

	call_parts(in, &rets, &fn, &args);
	if (f->is_entry)
		rw_refuse(rw, in->line, "kernel '%s' is called as a function", f->name);
	if (target->active || callee.depth > MAX_DEPTH)
		rw_refuse(rw, in->line, "function '%s' is recursive: recursion is not supported", f->name);
	if ((args ? args->nlist : 0) != f->nparams || (rets ? rets->nlist : 0) != f->nrets)
		rw_refuse(rw, in->line, "the call of '%s' has another number of arguments than its definition",
			f->name);
	if (in->has_pred) {
		struct ptx_inst *b;

		skip = k->nlabels++;
		b = put_branch(k, skip, in->line);
		map_pred(b, in, fr);
		b->pred_neg = !b->pred_neg;
	}
	struct ptx_inst plain = *in;

	plain.has_pred = false;
	open_frame(k, &callee);
	callee.params = rw_alloc(rw, f->nparams * sizeof(*callee.params) + 1);
	callee.rets = rw_alloc(rw, f->nrets * sizeof(*callee.rets) + 1);
	for (uint32_t i = 0; i < f->nparams; i++)
		callee.params[i] = bind_actual(k, fr, &callee, &f->params[i], &args->list[i], &plain);
	for (uint32_t i = 0; i < f->nrets; i++)
		callee.rets[i] = bind_actual(k, fr, &callee, &f->rets[i], &rets->list[i], &plain);
	callee.ret_label = k->nlabels++;
	target->active = true;
	rw->piece = target->piece;
	body_of(k, &callee);
	rw->piece = piece;
	target->active = false;
	put_label(k, callee.ret_label, in->line);
	for (uint32_t i = 0; i < f->nrets; i++) {
		struct ptx_operand a;

		map_operand(k, fr, &a, &rets->list[i]);
		if (a.kind == PTX_O_PARAM && f->rets[i].reg)
			rw_refuse(rw, in->line, "a .param variable receives a register result");
		if (a.kind != PTX_O_REG)
			continue;
		if (f->rets[i].reg)
			move_reg(k, in->line, f->rets[i].type, a, rw_reg_op(f->rets[i].reg - 1 + callee.reg_base),
				&plain, fr);
		else
			move_param(k, false, callee.rets[i], &a, &plain, fr);
	}
	if (in->has_pred)
		put_label(k, skip, in->line);
}

/* The register that holds one argument of a runtime call. */
static struct ptx_operand argument(struct rw_kernel *k, struct frame *fr, const struct ptx_inst *in,
	const struct ptx_operand *actual,
	enum ptx_type type)
{
	struct ptx_operand a, r;

	map_operand(k, fr, &a, actual);
	if (a.kind != PTX_O_PARAM)
		return a;
	if (a.u.param->size != ptx_type_bytes(type))
		rw_refuse(k->rw, in->line, "an argument of the call has another size than its parameter");
	r = rw_reg_op(rw_new_reg(k, rw_type_class(type)));
	move_param(k, false, a.u.param, &r, in, fr);
	return r;
}

static void runtime_call(struct rw_kernel *k, struct frame *fr, const struct ptx_inst *in, const struct rw_callee *c)
{
	struct rw *rw = k->rw;
	const struct ptx_operand *rets, *fn, *args;
	bool is_printf = !strcmp(c->name, "ag_rt_printf"), is_assert = !strcmp(c->name, "ag_rt_assert");
	unsigned given = is_printf ? 2 : c->nparams, nargs;
	struct ptx_operand a[16] = { 0 }, result = { .kind = PTX_O_NONE };
	struct ptx_inst *call, plain = *in;
	uint32_t skip = 0;

	call_parts(in, &rets, &fn, &args);
	nargs = args ? args->nlist : 0;
	if (nargs != given + (is_assert ? 1 : 0) || (rets ? rets->nlist : 0) > (c->ret != PTX_T_NONE))
		rw_refuse(rw, in->line, "the call of '%s' has another number of arguments than its definition",
			fn->u.func->name);
	if (in->has_pred) {
		skip = k->nlabels++;
		call = put_branch(k, skip, in->line);
		map_pred(call, in, fr);
		call->pred_neg = !call->pred_neg;
	}
	plain.has_pred = false;
	for (unsigned i = 0; i < given; i++)
		a[i] = argument(k, fr, &plain, &args->list[i], c->params[i]);
	if (c->ret != PTX_T_NONE)
		result = rw_reg_op(rw_new_reg(k, rw_type_class(c->ret)));
	call = rw_emit(k, RW_OP_CALL, in->line, c->nparams + 1);
	call->ops[0] = result;
	for (unsigned i = 0; i < given; i++)
		call->ops[i + 1] = a[i];
	call->loc_file = c->bit;
	call->loc_line = 0;
	call->type = (uint8_t)(c->bit ? 0 : c - rw_runtime_at(0));
	rw_use_callee(rw, c);
	k->uses_printf |= is_printf || is_assert;
	if (rets && rets->nlist) {
		struct ptx_operand r;

		map_operand(k, fr, &r, &rets->list[0]);
		if (r.kind == PTX_O_PARAM) {
			if (r.u.param->size != ptx_type_bytes(c->ret))
				rw_refuse(rw, in->line, "the result of the call has another size than its variable");
			move_param(k, true, r.u.param, &result, &plain, fr);
		} else {
			move_reg(k, in->line, c->ret, r, result, &plain, fr);
		}
	}
	if (is_assert)
		rw_emit(k, RW_OP_DIE, in->line, 0)->type = RW_CODE_ASSERT;
	if (in->has_pred)
		put_label(k, skip, in->line);
}

/* Could `f` be meant by a call with this table (.callprototype, .calltargets)? */
static bool may_be(const struct rw_func *f, const struct ptx_table *t, const struct ptx_inst *in)
{
	const struct ptx_func *d = f->def, *p = t->proto;
	const struct ptx_operand *rets, *fn, *args;

	call_parts(in, &rets, &fn, &args);
	if (d->nparams != (args ? args->nlist : 0) || d->nrets != (rets ? rets->nlist : 0) || f->active)
		return false;
	for (uint32_t i = 0; t->kind == PTX_TAB_CALLTARGETS && i < t->n; i++)
		if (rw_func_of(t->funcs[i]) == f)
			return true;
	if (t->kind != PTX_TAB_PROTOTYPE || !p || p->nparams != d->nparams || p->nrets != d->nrets)
		return false;
	for (uint32_t i = 0; i < d->nparams; i++)
		if (p->params[i].size != d->params[i].size)
			return false;
	return !d->nrets || p->rets[0].size == d->rets[0].size;
}

static void compare_id(struct rw_kernel *k, const struct ptx_inst *in, uint32_t pred, struct ptx_operand pointer,
	uint32_t id)
{
	static const uint16_t mods[] = { PTX_MOD_ne, PTX_MOD_u64 };
	struct ptx_inst *s = rw_emit(k, PTX_OP_setp, in->line, 3);

	rw_set_mods(s, mods, 2);
	s->type = s->type0 = PTX_T_U64;
	s->ops[0] = rw_reg_op(pred);
	s->ops[1] = pointer;
	s->ops[2] = rw_imm_op(id);
}

/* A call through a register: one comparison for each function it may mean, each with its body; none of them is a
 * trap. */
static void indirect_call(struct rw_kernel *k, struct frame *fr, const struct ptx_inst *in,
	const struct ptx_operand *fn)
{
	struct rw *rw = k->rw;
	const struct ptx_table *t = NULL;
	struct ptx_operand pointer;
	struct ptx_inst plain = *in, *b;
	uint32_t done = k->nlabels++, pred = rw_new_reg(k, RW_P);

	for (unsigned i = 0; i < in->nops; i++)
		if (in->ops[i].kind == PTX_O_TABLE && in->ops[i].u.table < fr->f->ntables)
			t = &fr->f->tables[in->ops[i].u.table];
	map_operand(k, fr, &pointer, fn);
	if (!t || t->kind == PTX_TAB_BRANCH || k->regs[pointer.u.reg].cls != RW_RD)
		rw_refuse(rw, in->line,
			"opcode 'call' is not supported: a call through a register without a prototype");
	if (in->has_pred) {
		b = put_branch(k, done, in->line);
		map_pred(b, in, fr);
		b->pred_neg = !b->pred_neg;
	}
	plain.has_pred = false;
	for (uint32_t i = 0; i < rw->ntaken; i++) {
		uint32_t next;

		if (!may_be(rw->taken[i], t, in))
			continue;
		next = k->nlabels++;
		compare_id(k, in, pred, pointer, rw->taken[i]->id);
		b = put_branch(k, next, in->line);
		b->has_pred = true;
		b->pred = pred;
		inline_call(k, fr, &plain, rw->taken[i]);
		put_branch(k, done, in->line);
		put_label(k, next, in->line);
	}
	rw_emit(k, RW_OP_DIE, in->line, 0)->type = RW_CODE_TRAP;
	put_label(k, done, in->line);
}

static void call(struct rw_kernel *k, struct frame *fr, const struct ptx_inst *in)
{
	struct rw *rw = k->rw;
	const struct ptx_operand *rets, *fn, *args;
	struct rw_func *t;

	rw_check_inst(rw, in);
	call_parts(in, &rets, &fn, &args);
	if (fn && fn->kind == PTX_O_REG) {
		indirect_call(k, fr, in, fn);
		return;
	}
	if (!fn || fn->kind != PTX_O_FUNC)
		rw_refuse(rw, in->line, "opcode 'call' has an unexpected target");
	t = rw_func_of(fn->u.func);
	if (t && t->def)
		inline_call(k, fr, in, t);
	else if (t && t->callee)
		runtime_call(k, fr, in, t->callee);
	else
		rw_refuse(rw, in->line, "function '%s' is extern and nothing defines it", fn->u.func->name);
}

/* Labels of f in the order of the instructions they stand before. */
static uint32_t *label_order(struct rw *rw, struct ptx_func *f)
{
	uint32_t *first = rw_alloc(rw, (f->ninsts + 2) * sizeof(*first));
	uint32_t *order = rw_alloc(rw, (f->nlabels + 1) * sizeof(*order));

	for (uint32_t i = 0; i < f->nlabels; i++)
		first[f->labels[i].inst + 1]++;
	for (uint32_t i = 0; i <= f->ninsts; i++)
		first[i + 1] += first[i];
	for (uint32_t i = 0; i < f->nlabels; i++)
		order[first[f->labels[i].inst]++] = i;
	return order;
}

/* --- barriers in software --- */

/* A frame whose calls name registers of the kernel. */
static struct frame kernel_frame(const struct frame *fr)
{
	return (struct frame){ .f = fr->f, .up = fr->up, .depth = fr->depth };
}

static void soft_barrier(struct rw_kernel *k, struct frame *fr, const struct ptx_inst *in)
{
	struct frame at = kernel_frame(fr);
	struct ptx_inst b = *in, call;
	struct rw_func *target;

	b.ops = rw_alloc(k->rw, in->nops * sizeof(*b.ops) + 1);
	for (unsigned i = 0; i < in->nops; i++)
		map_operand(k, fr, &b.ops[i], &in->ops[i]);
	map_pred(&b, in, fr);
	call = rw_soft_barrier(k, &b, &target);
	inline_call(k, &at, &call, target);
	rw_soft_result(k, &b, &call);
	k->soft = true;
}

static void soft_hook(struct rw_kernel *k, struct frame *fr, const char *name)
{
	struct frame at = kernel_frame(fr);
	struct rw_func *target;
	struct ptx_inst call = rw_soft_call(k->rw, name, k->src->line, 0, false, &target);

	inline_call(k, &at, &call, target);
}

/* Such a kernel begins by setting its barriers up, and each thread's end is told to those who may wait for it. */
static void soft_frame(struct rw_kernel *k, struct frame *fr)
{
	struct ptx_inst *body;
	uint32_t before, start;

	put_label(k, k->leave, k->src->line);
	if (!k->soft)
		return;
	soft_hook(k, fr, "ag_soft_end");
	before = k->ninsts;
	soft_hook(k, fr, k->rw->soft_all ? "ag_soft_start_cluster" : "ag_soft_start");
	start = k->ninsts - before;
	body = rw_alloc(k->rw, k->ninsts * sizeof(*body));
	memcpy(body, k->insts + before, start * sizeof(*body));
	memcpy(body + start, k->insts, before * sizeof(*body));
	k->insts = body;
	k->cap_insts = k->ninsts;
}

static void one_inst(struct rw_kernel *k, struct frame *fr, const struct ptx_inst *in, bool last)
{
	struct rw *rw = k->rw;
	const struct rw_opinfo *info = rw_op(in->op);
	struct ptx_inst *to;

	if (info->cls == RW_C_CALL) {
		call(k, fr, in);
		return;
	}
	rw_check_inst(rw, in);
	if (rw_soft_wanted(rw, in)) {
		soft_barrier(k, fr, in);
		return;
	}
	if (info->cls == RW_C_RET) {
		bool leave = in->op == PTX_OP_exit || fr->entry;

		if (!last || in->has_pred || leave)
			map_pred(put_branch(k, leave ? k->leave : fr->ret_label, in->line), in, fr);
		return;
	}
	if (info->cls == RW_C_TRAP) {
		to = rw_emit(k, RW_OP_DIE, in->line, 0);
		to->type = RW_CODE_TRAP;
		map_pred(to, in, fr);
		return;
	}
	to = rw_emit(k, in->op, in->line, in->nops);
	struct ptx_operand *ops = to->ops;

	*to = *in;
	to->ops = ops;
	map_pred(to, in, fr);
	for (unsigned i = 0; i < in->nops; i++)
		map_operand(k, fr, &ops[i], &in->ops[i]);
	if (in->op == PTX_OP_mov && in->ops[1].kind == PTX_O_FUNC) {
		struct rw_func *f = rw_func_of(in->ops[1].u.func);

		if (!f || !f->id)
			rw_refuse(rw, in->line, "the address of '%s' is taken, which is no function of the module",
				in->ops[1].u.func->name);
		ops[1] = rw_imm_op(f->id);
	}
}

static void body_of(struct rw_kernel *k, struct frame *fr)
{
	struct ptx_func *f = fr->f;
	struct rw_func *x = rw_func_of(f);
	uint32_t at = 0, pragma = 0;

	if (!x->label_order)
		x->label_order = label_order(k->rw, f);
	for (uint32_t i = 0; i <= f->ninsts; i++) {
		for (; at < f->nlabels && f->labels[x->label_order[at]].inst == i; at++)
			put_label(k, x->label_order[at] + fr->label_base, i < f->ninsts ? f->insts[i].line : f->line);
		for (; pragma < f->nnounroll && f->nounroll[pragma] <= i; pragma++)
			if (f->nounroll[pragma] == i)
				rw_emit(k, RW_OP_NOUNROLL, f->line, 0);
		if (i < f->ninsts)
			one_inst(k, fr, &f->insts[i], i + 1 == f->ninsts);
	}
}

/* --- what became of the .param variables --- */

static struct rw_pobj *object_of(struct rw_kernel *k, const struct ptx_operand *o)
{
	if (o->kind == PTX_O_ADDR ? o->base != PTX_O_PARAM : o->kind != PTX_O_PARAM)
		return NULL;
	return o->u.param->is_formal ? NULL : &k->pobjs[o->u.param->index];
}

static uint32_t value_bytes(const struct rw_kernel *k, const struct ptx_operand *o)
{
	static const uint8_t bytes[RW_NCLASS] = { 0, 2, 4, 8, 16 };

	return o->kind == PTX_O_REG ? bytes[k->regs[o->u.reg].cls] : 0;
}

static void note_slot(struct rw_kernel *k, struct rw_pobj *p, uint64_t off, uint32_t width)
{
	for (uint32_t i = 0; i < p->nslots; i++) {
		struct rw_slot *s = &p->slots[i];

		if (s->off == off && s->width == width)
			return;
		if (off < s->off + s->width && s->off < off + width) {
			p->memory = true;
			return;
		}
	}
	if (p->nslots >= 256) {
		p->memory = true;
		return;
	}
	RW_ROOM(&k->rw->arena, p->slots, p->nslots, p->cap_slots);
	p->slots[p->nslots++] = (struct rw_slot){ (uint32_t)off, width, UINT32_MAX };
}

static void note_access(struct rw_kernel *k, const struct ptx_inst *in)
{
	bool store = in->op == PTX_OP_st;
	struct rw_pobj *p = object_of(k, &in->ops[store ? 0 : 1]);
	const struct ptx_operand *v = &in->ops[store ? 1 : 0];
	uint32_t width, n = v->kind == PTX_O_VEC ? v->nlist : 1;
	int64_t off = in->ops[store ? 0 : 1].off;

	if (!p)
		return;
	width = ptx_type_bytes(in->type);
	if (width == 0 || n != in->vec || off < 0 || (uint64_t)off > p->p->size
		|| p->p->size - (uint64_t)off < (uint64_t)width * n)
		rw_refuse(k->rw, in->line, "the access lies outside the parameter");
	for (uint32_t i = 0; i < n; i++) {
		uint32_t have = value_bytes(k, v->kind == PTX_O_VEC ? &v->list[i] : v);

		note_slot(k, p, (uint64_t)off + (uint64_t)i * width, width);
		if (width == 1 || (have && have != width))
			p->memory = true;
	}
}

static uint32_t slot_reg(struct rw_kernel *k, struct rw_pobj *p, uint32_t off, uint32_t width)
{
	for (uint32_t i = 0; i < p->nslots; i++) {
		struct rw_slot *s = &p->slots[i];

		if (s->off != off)
			continue;
		if (s->reg == UINT32_MAX)
			s->reg = rw_new_reg(k, width == 2 ? RW_H : width == 4 ? RW_R : width == 8 ? RW_RD : RW_Q);
		return s->reg;
	}
	rw_refuse(k->rw, 0, "a parameter of an inlined function lost its place");
}

/* One load or store of a register object becomes moves; the first replaces it in place, the others follow. */
static void moves(struct rw_kernel *k, struct ptx_inst **to, const struct ptx_inst *in, struct rw_pobj *p)
{
	bool store = in->op == PTX_OP_st;
	const struct ptx_operand *v = &in->ops[store ? 1 : 0];
	uint32_t width = ptx_type_bytes(in->type), off = (uint32_t)in->ops[store ? 0 : 1].off;
	uint16_t mod = bits_mod(width);

	if (in->type == PTX_T_F32 || in->type == PTX_T_F64)
		mod = in->type == PTX_T_F32 ? PTX_MOD_f32 : PTX_MOD_f64;   /* a literal may be a float */
	for (uint32_t i = 0; i < in->vec; i++) {
		const struct ptx_operand *e = v->kind == PTX_O_VEC ? &v->list[i] : v;
		struct ptx_inst m = rw_make(k->rw, PTX_OP_mov, in->line, &mod, 1, 2);

		if (e->kind == PTX_O_SINK)
			continue;
		m.has_pred = in->has_pred;
		m.pred = in->pred;
		m.pred_neg = in->pred_neg;
		m.ops[store ? 1 : 0] = *e;
		m.ops[store ? 0 : 1] = rw_reg_op(slot_reg(k, p, off + i * width, width));
		*(*to)++ = m;
	}
}

static void resolve_objects(struct rw_kernel *k)
{
	struct rw *rw = k->rw;
	uint64_t room = 0;
	struct ptx_inst *to, *out;

	for (uint32_t i = 0; i < k->ninsts; i++) {
		struct ptx_inst *in = &k->insts[i];

		if (in->space == PTX_PARAM && (in->op == PTX_OP_ld || in->op == PTX_OP_st) && in->nops >= 2)
			note_access(k, in);
		else
			for (unsigned o = 0; o < in->nops; o++)
				if (object_of(k, &in->ops[o]))
					object_of(k, &in->ops[o])->memory = true;   /* its address is taken */
		room += in->vec > 1 ? in->vec : 1;
	}
	out = to = rw_alloc(rw, room * sizeof(*out) + 1);
	for (uint32_t i = 0; i < k->ninsts; i++) {
		struct ptx_inst *in = &k->insts[i];
		struct rw_pobj *p = NULL;

		if (in->space == PTX_PARAM && (in->op == PTX_OP_ld || in->op == PTX_OP_st) && in->nops >= 2)
			p = object_of(k, &in->ops[in->op == PTX_OP_st ? 0 : 1]);
		if (p && !p->memory)
			moves(k, &to, in, p);
		else
			*to++ = *in;
	}
	k->insts = out;
	k->ninsts = k->cap_insts = (uint32_t)(to - out);
}

void rw_inline(struct rw *rw, struct rw_kernel *k)
{
	struct frame fr = { .f = k->src, .entry = true };

	k->nlabels = 1;                 /* 0 is RW_LABEL_KILL */
	k->leave = rw->soft ? k->nlabels++ : RW_LABEL_KILL;
	open_frame(k, &fr);
	rw_func_of(k->src)->active = true;
	body_of(k, &fr);
	if (rw->soft)
		soft_frame(k, &fr);
	rw_func_of(k->src)->active = false;
	rw->piece = k->piece;
	resolve_objects(k);
}
