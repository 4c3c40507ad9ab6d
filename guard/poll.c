/* poll.c - before every textually backward branch that ends no strip: count, and on every 64th look at the kill
 * flag. */
#include "guard/emit.h"

void rw_poll(struct rw_out *o)
{
	if (!o->rw->opt->poll)
		return;
	o->entry |= EN_POLL;
	rw_line(o, "add.u32 %%gc, %%gc, 1;");
	rw_line(o, "and.b32 %%gx, %%gc, 63;");
	rw_line(o, "setp.eq.u32 %%gq, %%gx, 0;");
	rw_line(o, "@%%gq ld.volatile.global.u32 %%gf, [%%gkill];");
	rw_line(o, "setp.ne.and.u32 %%gq, %%gf, 0, %%gq;");
	rw_line(o, "@%%gq bra $Lkill;");
}
