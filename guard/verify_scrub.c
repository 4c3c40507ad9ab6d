/* verify_scrub.c - a kernel whose memory may hold what another client left there clears it first.
 *
 * The text below is read as one statement: it stands once, in the entry block, before anything but the definitions of
 * entry registers (none of which reads shared or local memory), and no branch leads into it.  Why it leaves nothing:
 *   - Local: stores of zero to [0, L) of the object in steps of 16, each named, or two of them in a loop from 0 in
 *     steps of 32, which ends at L. L is a multiple of 32. Nothing else of local memory can be named.
 *   - Shared: thread t of n (in x, y, z; every thread of the block is here, none can have left) stores 16 zero bytes
 *     at 16 t, 16 (t + n), ... as long as they are below the size, so that all together store to [0, size) from %gsb,
 *     without an end: size is a multiple of 16 (static: checked here; dynamic: the launch contract).  size is what
 *     every fence of the kernel stays below: %gsn where there is one, and then the entry block has defined it before,
 *     else the bytes of the static object.  The barrier orders that before what follows, in every thread.  Counters of
 *     a kernel with peers lie below %gsb; its entry text, a barrier of the cluster, comes after this one.
 *   - Every loop ends: offsets rise by at least 16 (32) a round, from below 2^15 (0) to at most 2^18, so no sum wraps.
 * The registers have no other form. */
#include "verify_int.h"

#include <stdio.h>
#include <string.h>

enum { FLAT_LOCAL = 1024 };

static bool line(struct verifier *v, const char *want)
{
	return next_line(v) && (vlex_is(&v->lex, want) || refuse(v, "memory is not cleared: expected %s", want));
}

static bool lines(struct verifier *v, const char *const *want, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!line(v, want[i]))
			return false;
	return true;
}

static bool declared(struct verifier *v, const char *names)
{
	struct vitem it;
	char name[8];
	for (int n; sscanf(names, "%7s%n", name, &n) == 1; names += n)
		if (!register_of(v, (struct vword){ name, (uint32_t)strlen(name) }, &it) ||
			(memcmp(name, "%gz", 3) && !use(v, &it)))
			return false;
	return true;
}

static bool local_part(struct verifier *v)
{
	static const char *const loop[] = {
		"$Lzero1:", "st.local.v4.b32 [%gza], {%gzz, %gzz, %gzz, %gzz};",
		"st.local.v4.b32 [%gza+16], {%gzz, %gzz, %gzz, %gzz};", "add.u32 %gza, %gza, 32;",
		"setp.lt.u32 %gzq, %gza, %gzo;", "@%gzq bra $Lzero1;",
	};
	char want[96];
	if (v->local.bytes % 32)
		return refuse(v, "the size of '%s' is no multiple of 32", v->local.name);
	if (v->local.bytes > FLAT_LOCAL) {
		snprintf(want, sizeof want, "mov.u32 %%gza, %s;", v->local.name);
		if (!declared(v, "%gza %gzo %gzq") || !line(v, want))
			return false;
		snprintf(want, sizeof want, "add.u32 %%gzo, %%gza, %u;", v->local.bytes);
		return line(v, want) && lines(v, loop, sizeof loop / sizeof *loop);
	}
	for (uint32_t at = 0; at < v->local.bytes; at += 16) {
		char plus[16] = "";
		if (at)
			snprintf(plus, sizeof plus, "+%u", at);
		snprintf(want, sizeof want, "st.local.v4.b32 [%s%s], {%%gzz, %%gzz, %%gzz, %%gzz};", v->local.name,
			 plus);
		if (!line(v, want))
			return false;
	}
	return true;
}

static bool shared_part(struct verifier *v)
{
	static const char *const number[] = {
		"mov.u32 %gzo, %tid.z;", "mov.u32 %gzs, %ntid.y;", "mov.u32 %gza, %tid.y;",
		"mad.lo.u32 %gzo, %gzo, %gzs, %gza;", "mov.u32 %gza, %ntid.x;", "mul.lo.u32 %gzs, %gzs, %gza;",
		"mov.u32 %gzt, %tid.x;", "mad.lo.u32 %gzo, %gzo, %gza, %gzt;", "mov.u32 %gza, %ntid.z;",
		"mul.lo.u32 %gzs, %gzs, %gza;", "shl.b32 %gzo, %gzo, 4;", "shl.b32 %gzs, %gzs, 4;",
	};
	static const char *const store[] = {
		"@%gzq bra $Lzero3;", "$Lzero2:", "add.u32 %gza, %gzo, %gsb;",
		"st.shared.v4.b32 [%gza], {%gzz, %gzz, %gzz, %gzz};", "add.u32 %gzo, %gzo, %gzs;",
	};
	static const char *const end[] = { "@%gzq bra $Lzero2;", "$Lzero3:", "bar.sync 0;" };
	char size[16] = "%gsn", want[64];
	if (!v->has_size)
		snprintf(size, sizeof size, "%u", shared_room(v));
	if (shared_room(v) % 16)
		return refuse(v, "the size of '%s' is no multiple of 16", v->shared.name);
	if (!declared(v, "%gza %gzo %gzs %gzt %gzq %gsb") || (v->has_size && !declared(v, "%gsn")) ||
		!lines(v, number, sizeof number / sizeof *number))
		return false;
	snprintf(want, sizeof want, "setp.ge.u32 %%gzq, %%gzo, %s;", size);
	if (!line(v, want) || !lines(v, store, sizeof store / sizeof *store))
		return false;
	snprintf(want, sizeof want, "setp.lt.u32 %%gzq, %%gzo, %s;", size);
	return line(v, want) && lines(v, end, sizeof end / sizeof *end);
}

/* mov %gzz was read. */
bool scrub(struct verifier *v)
{
	if (v->past_entry || v->scrubbed || v->flow.nblocks != 1)
		return refuse(v, "memory is cleared first in the entry block, once");
	if (v->s.pred || !vlex_is(&v->lex, "mov.b32 %gzz, 0;"))
		return refuse(v, "memory is not cleared: expected mov.b32 %%gzz, 0;");
	v->scrubbed = true;
	v->scrubbed_size = v->has_size;
	if (!v->local.align && !v->has_size && !shared_room(v))
		return refuse(v, "there is no memory to clear");
	return (!v->local.align || local_part(v)) && ((!v->has_size && !shared_room(v)) || shared_part(v));
}

/* "}": fences that came to know of more shared memory after it was cleared would lead there. */
bool scrub_end(struct verifier *v)
{
	bool any = v->local.align || v->has_size || shared_room(v);
	if (v->scrubbed ? v->scrubbed_size == v->has_size : !v->scrub || !any)
		return true;
	return refuse(v, "the kernel does not clear its memory");
}
