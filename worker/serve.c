/* serve.c - permit, check, invoke, reply: one message at a time, out of private memory.
 *
 * The permit table (generated) says by operation which session states allow it, whether it must carry a slot, and its
 * sizes; what it does not name ends the session.  Replies are built in private memory and only written to the segment.
 */
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "msg.h"
#include "session.h"

_Static_assert(AG_REPLY_BYTES >= 4096, "a reply area holds every fixed reply");

static void reply(struct session *s, const struct ag_head *h, CUresult status, const uint8_t *bytes, uint32_t n)
{
	struct ag_slot *slot = &s->shm->slot[h->slot];

	if (n)
		memcpy(s->replies + (size_t)h->slot * AG_REPLY_BYTES, bytes, n);
	slot->status = status;
	slot->bytes = n;
	atomic_store_explicit(&slot->done, h->seq, memory_order_seq_cst);
	if (atomic_load_explicit(&slot->waiting, memory_order_seq_cst))
		syscall(SYS_futex, &slot->done, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void async_failed(struct session *s, CUresult status)
{
	uint32_t none = 0;

	atomic_compare_exchange_strong(&s->shm->async_error, &none, (uint32_t)status);
}

/* A graph's launch takes one place in a queue for every few nodes. */
#define GRAPH_OPS 16

static void count_work(struct session *s, const struct permit *p, const uint8_t *msg)
{
	const struct ag_head *h = (const struct ag_head *)msg;
	uint64_t id;

	memcpy(&id, msg + p->stream_off, sizeof id);
	struct stream *st = stream_find(s, id);
	if (st)
		depth_count(s, st, h->op == AG_OP_cuGraphLaunch ? GRAPH_OPS : 1);
}

CUresult serve_act(struct session *s, const struct permit *p, const uint8_t *msg, void *rep, struct ag_out *out)
{
	const struct ag_head *h = (const struct ag_head *)msg;
	const uint8_t *tail = msg + p->fixed;
	CUresult r = p->check(s, msg, tail, h->tail);

	if (r)
		return r;
	bool submits = p->stream_off >= 0;
	if (submits && (!depth_wait(s) || !quiet_submit(s)))
		return CUDA_ERROR_NOT_READY;
	r = p->invoke(s, msg, tail, h->tail, rep, out);
	if (submits) {
		count_work(s, p, msg);
		quiet_submitted(s);
	}
	/* Such a code may also be this session's own, of a fault that held-back messages met: the driver knows. */
	if (context_error(r) && context_error(s->d->cuStreamQuery(s->w->control)))
		context_died(s->w, r);
	return r;
}

static bool malformed(struct session *s, const char *name, const char *why)
{
	session_log(s, "malformed message %s: %s; the session ends", name, why);
	session_ended(s, CUDA_ERROR_UNKNOWN);
	return false;
}

bool serve_message(struct session *s, const uint8_t *msg)
{
	const struct ag_head *h = (const struct ag_head *)msg;
	const struct permit *p = h->op < permit_count ? permit_table + h->op : NULL;
	_Alignas(16) uint8_t answer[AG_REPLY_BYTES];

	if (!p || !p->invoke)
		return malformed(s, "?", "no such operation");
	if (h->bytes < p->fixed || (!p->has_tail && h->tail) || h->bytes != ((p->fixed + h->tail + 7) & ~7u))
		return malformed(s, p->name, "its size is wrong");
	if (p->call != (h->slot != AG_NO_SLOT) || (p->call && h->slot >= AG_SLOTS))
		return malformed(s, p->name, "its slot is wrong");

	atomic_fetch_add_explicit(&s->messages, 1, memory_order_relaxed);
	struct ag_out out = { answer + p->rep, AG_REPLY_BYTES - p->rep, 0 };
	CUresult r;

	fault_poll(s);
	if (!(p->states & s->state)) {
		r = s->fault;
	} else if (!p->call && s->st.held && p->stream_off >= 0 && defer_needed(s, h->op, msg, p)) {
		r = defer_message(s, h->op, msg, h->bytes, p);
	} else {
		memset(answer, 0, p->rep);
		r = serve_act(s, p, msg, answer, &out);
	}
	if ((int)r == AG_MALFORMED)
		return malformed(s, p->name, "its contents are wrong");
	if (p->call)
		reply(s, h, r, answer, r ? 0 : p->rep + out.len);
	else if (r)
		async_failed(s, r);
	return !window_broken(s->win);
}
