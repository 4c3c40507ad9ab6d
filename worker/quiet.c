/* quiet.c - see quiet.h. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "session.h"

#define SLICE_MS 20          /* for which others are held back at a time, at first ... */
#define GAP_MS 40            /* ... and not, in between */
#define PATIENCE_MS 1000     /* until they are held back for good */
#define KILL_MS 10000        /* for kernels that were told to end */
#define OPEN_MAX_US 50000    /* between one quiet moment and the next, however long the first was */
#define STACK_SHARE 8        /* local memory of all threads may take this fraction of the device's memory */
#define STACK_GRAIN 1024u

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t now_ms(void) { return now_us() / 1000; }

static void nap_us(unsigned us)
{
	struct timespec t = { 0, (long)us * 1000 };

	nanosleep(&t, NULL);
}

/* Waits for q->changed, at most 50 ms: what else may end a wait (a hangup) is told to nobody. */
static void wait_changed(struct quiet *q)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += 50000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&q->changed, &q->lock, &t);
}

int quiet_open(struct worker *w, uint32_t limit_ms)
{
	struct quiet *q = &w->quiet;
	pthread_condattr_t a;

	q->limit_ms = limit_ms;
	if (pthread_mutex_init(&q->lock, NULL) || pthread_condattr_init(&a))
		return -1;
	int r = pthread_condattr_setclock(&a, CLOCK_MONOTONIC) || pthread_cond_init(&q->changed, &a);
	pthread_condattr_destroy(&a);
	return r ? -1 : 0;
}

/* --- members ---------------------------------------------------------------------------------------- */

void quiet_join(struct session *s)
{
	struct quiet *q = &s->w->quiet;

	pthread_mutex_lock(&q->lock);
	s->quiet_next = q->members;
	q->members = s;
	pthread_mutex_unlock(&q->lock);
}

void quiet_part(struct session *s, bool stuck)
{
	struct quiet *q = &s->w->quiet;

	pthread_mutex_lock(&q->lock);
	for (struct session **p = &q->members; *p; p = &(*p)->quiet_next) {
		if (*p == s) {
			*p = s->quiet_next;
			q->stuck += stuck;
			break;
		}
	}
	pthread_mutex_unlock(&q->lock);
}

void quiet_streams_lock(struct session *s) { pthread_mutex_lock(&s->w->quiet.lock); }

void quiet_streams_unlock(struct session *s) { pthread_mutex_unlock(&s->w->quiet.lock); }

/* --- who starts kernels ------------------------------------------------------------------------------- */

/* The flag goes up before `closed` is read, and quiet_enter() writes `closed` before it reads the flags: one of the two
 * sees the other. */
bool quiet_submit(struct session *s)
{
	struct quiet *q = &s->w->quiet;

	for (;;) {
		atomic_store(&s->submitting, 1);
		if (!atomic_load(&q->closed))
			return true;
		atomic_store(&s->submitting, 0);
		pthread_mutex_lock(&q->lock);
		while (atomic_load(&q->closed) && !s->hangup)
			wait_changed(q);
		pthread_mutex_unlock(&q->lock);
		if (s->hangup)
			return false;
	}
}

void quiet_submitted(struct session *s) { atomic_store_explicit(&s->submitting, 0, memory_order_release); }

/* --- who needs quiet ------------------------------------------------------------------------------------ */

/* How many members have work. */
static unsigned busy(struct quiet *q)
{
	unsigned n = 0;

	pthread_mutex_lock(&q->lock);
	for (struct session *s = q->members; s; s = s->quiet_next)
		n += atomic_load(&s->submitting) || !streams_idle(s);
	pthread_mutex_unlock(&q->lock);
	return n;
}

static void close_gate(struct quiet *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed_at = now_us();
	atomic_store(&q->closed, 1);
	pthread_mutex_unlock(&q->lock);
}

/* Under the lock. */
static void open_gate(struct quiet *q)
{
	uint64_t now = now_us();

	if (!atomic_exchange(&q->closed, 0))
		return;
	uint64_t held = now - q->closed_at;
	q->open_until = now + (held < OPEN_MAX_US ? held : OPEN_MAX_US);
	pthread_cond_broadcast(&q->changed);
}

/* One client that loads and unloads all the time must not hold the others back for ever. */
static void leave_open(struct quiet *q)
{
	pthread_mutex_lock(&q->lock);
	bool others = q->members && q->members->quiet_next;
	uint64_t until = q->open_until;
	pthread_mutex_unlock(&q->lock);
	while (others && now_us() < until)
		nap_us(50);
}

static bool settles(struct quiet *q, uint64_t ms)
{
	uint64_t end = now_ms() + ms;

	for (unsigned turn = 0;; turn++) {
		if (!busy(q))
			return true;
		if (now_ms() >= end)
			return false;
		nap_us(turn < 20 ? 20 : 200);
	}
}

/* Tells the kernels of every busy member but `s` to end. What they computed is worthless from now on. */
static void end_kernels(struct quiet *q, struct session *s)
{
	pthread_mutex_lock(&q->lock);
	for (struct session *m = q->members; m; m = m->quiet_next)
		if (m != s && !streams_idle(m))
			session_overdue(m);
	pthread_mutex_unlock(&q->lock);
}

/* Nobody starts anything any more: what runs ends by itself, or is ended after the limit. */
static CUresult insist(struct quiet *q, struct session *s, bool ending)
{
	unsigned left = UINT32_MAX;
	bool told = false;

	for (uint64_t since = now_ms();; nap_us(500)) {
		unsigned n = busy(q);
		if (!n)
			return CUDA_SUCCESS;
		if (n < left) { /* somebody's came to an end */
			left = n;
			since = now_ms();
		}
		if (s->hangup && !ending)
			return CUDA_ERROR_NOT_READY;
		if (now_ms() - since < (told ? KILL_MS : q->limit_ms))
			continue;
		if (told)
			return CUDA_ERROR_SYSTEM_NOT_READY;
		end_kernels(q, s);
		told = true;
		since = now_ms();
	}
}

static bool alone(struct quiet *q, const struct session *s)
{
	pthread_mutex_lock(&q->lock);
	bool r = true;
	for (const struct session *m = q->members; m && r; m = m->quiet_next)
		r = m == s || streams_idle((struct session *)m);
	pthread_mutex_unlock(&q->lock);
	return r;
}

static CUresult become_quiet(struct quiet *q, struct session *s, bool ending)
{
	for (uint64_t start = now_ms();; nap_us(GAP_MS * 1000)) {
		leave_open(q);
		close_gate(q);
		if (settles(q, SLICE_MS))
			return CUDA_SUCCESS;
		/* A session's own kernels are waited for as long as they take, as natively. */
		bool insisting = q->limit_ms && now_ms() - start >= PATIENCE_MS && !alone(q, s);
		CUresult r = insisting ? insist(q, s, ending) : CUDA_ERROR_NOT_READY;
		if (insisting && r != CUDA_ERROR_NOT_READY)
			return r;
		pthread_mutex_lock(&q->lock);
		open_gate(q);
		pthread_mutex_unlock(&q->lock);
		if (q->stuck)
			return CUDA_ERROR_SYSTEM_NOT_READY;
		if (s->w->dead || (s->hangup && !ending))
			return CUDA_ERROR_NOT_READY;
	}
}

/* A message that starts work may need quiet first (a launch whose module is to be loaded): it is no submitter while it
 * waits and works, and one again afterwards. */
static void step_out(struct session *s)
{
	s->stepped_out |= atomic_exchange(&s->submitting, 0) != 0;
}

static void step_in(struct session *s)
{
	bool again = s->stepped_out;

	s->stepped_out = false;
	if (again && !quiet_submit(s)) /* it is ending, and its work will be waited for */
		atomic_store(&s->submitting, 1);
}

static bool take(struct quiet *q, struct session *s, bool ending, bool wait)
{
	bool mine;

	pthread_mutex_lock(&q->lock);
	while (wait && q->owner && q->owner != s && (ending || !s->hangup))
		wait_changed(q);
	mine = !q->owner || q->owner == s;
	if (mine) {
		q->owner = s;
		q->depth++;
	}
	pthread_mutex_unlock(&q->lock);
	return mine;
}

void quiet_leave(struct session *s)
{
	struct quiet *q = &s->w->quiet;

	pthread_mutex_lock(&q->lock);
	bool last = --q->depth == 0;
	if (last) {
		q->owner = NULL;
		open_gate(q);
		pthread_cond_broadcast(&q->changed); /* the next owner waits for this too */
	}
	pthread_mutex_unlock(&q->lock);
	if (last)
		step_in(s);
}

CUresult quiet_enter(struct session *s, bool ending)
{
	struct quiet *q = &s->w->quiet;

	step_out(s);
	if (!take(q, s, ending, true)) {
		step_in(s);
		return CUDA_ERROR_NOT_READY;
	}
	CUresult r = q->depth > 1 ? CUDA_SUCCESS : become_quiet(q, s, ending);
	if (r)
		quiet_leave(s);
	if (r == CUDA_ERROR_SYSTEM_NOT_READY)
		session_log(s, "there are kernels that nothing ends: no module can be loaded or freed any more; "
		               "restart the worker");
	return r;
}

bool quiet_try(struct session *s)
{
	struct quiet *q = &s->w->quiet;

	step_out(s);
	if (!take(q, s, false, false)) {
		step_in(s);
		return false;
	}
	if (q->depth > 1)
		return true;
	close_gate(q);
	if (!q->stuck && !busy(q))
		return true;
	quiet_leave(s);
	return false;
}

/* Without this the launch itself would wait. The driver keeps that much for every thread the device can hold. */
CUresult quiet_stack(struct session *s, size_t bytes)
{
	struct worker *w = s->w;
	size_t want = (bytes + STACK_GRAIN - 1) / STACK_GRAIN * STACK_GRAIN;
	uint64_t threads = (uint64_t)w->info.attr[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] *
	                   (uint64_t)w->info.attr[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR];
	CUresult r = CUDA_SUCCESS;

	if (!w->quiet.stack)
		r = w->d->cuCtxGetLimit(&w->quiet.stack, CU_LIMIT_STACK_SIZE);
	if (r || want <= w->quiet.stack)
		return r;
	if (!threads || want > w->info.total_mem / STACK_SHARE / threads)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = w->d->cuCtxSetLimit(CU_LIMIT_STACK_SIZE, want);
	if (!r)
		w->quiet.stack = want;
	return r;
}
