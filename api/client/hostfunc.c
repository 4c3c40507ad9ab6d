/* hostfunc.c - functions of the program that run in stream order: cuLaunchHostFunc and cuStreamAddCallback.
 *
 * The worker stores a ticket in a word when the stream gets there and holds the stream's later messages back until
 * hostfunc_done.  One thread of ours, started with the first function, watches the words of all pending functions and
 * runs each as its ticket appears.
 */
#include "internal.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct pending {
	volatile uint64_t *word;
	uint64_t ticket;
	CUhostFn fn;
	CUstreamCallback callback;
	CUstream stream;
	void *arg;
	struct pending *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t some = PTHREAD_COND_INITIALIZER;
static struct pending *list;
static uint64_t next_ticket = 1;
static bool running;

static void finish(struct pending *p)
{
	struct msg_hostfunc_done *m = agc_begin(AG_OP_hostfunc_done, sizeof *m, 0);
	if (m) {
		m->ticket = p->ticket;
		agc_post_quietly(m);
	}
	agc_word_free(p->word, p->ticket);
	free(p);
}

static void run(struct pending *p, CUresult status)
{
	agc_t.in_callback = true;
	if (p->callback)
		p->callback(p->stream, status, p->arg);
	else if (status == CUDA_SUCCESS)
		p->fn(p->arg);
	agc_t.in_callback = false;
}

/* Takes one whose ticket is there, or, when the session is over, any. Under lock. */
static struct pending *take(bool over)
{
	for (struct pending **at = &list; *at; at = &(*at)->next) {
		struct pending *p = *at;
		if (over || *p->word >= p->ticket) {
			*at = p->next;
			return p;
		}
	}
	return NULL;
}

static void *watch(void *arg)
{
	unsigned idle = 0;
	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		if (!list) {
			idle = 0;
			pthread_cond_wait(&some, &lock);
			continue;
		}
		bool over = atomic_load(&agc_s.state) != AGC_LIVE || !agc_alive(50) || atomic_load(&agc_s.sticky);
		struct pending *p = take(over);
		pthread_mutex_unlock(&lock);
		if (p) {
			idle = 0;
			run(p, atomic_load(&agc_s.state) != AGC_LIVE ? agc_error() : agc_fault_status());
			finish(p);
		} else if (++idle > 64) {
			struct timespec t = { 0, idle < 1000 ? 20000 : 200000 };
			nanosleep(&t, NULL);
		} else {
			agc_pause();
		}
		pthread_mutex_lock(&lock);
	}
	return NULL;
}

/* Under lock.  Signals of the program are not for our thread. */
static bool start(void)
{
	pthread_t thread;
	sigset_t all, old;
	if (running)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	running = pthread_create(&thread, NULL, watch, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (running)
		pthread_detach(thread);
	return running;
}

static CUresult submit(CUstream h, CUhostFn fn, CUstreamCallback callback, void *arg)
{
	ag_id wire;
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (s && agc_captured(s->id)) {
		agc_log("a host function in a capture is not supported: replays would hold up the GPU for other "
			"clients");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	struct pending *p = calloc(1, sizeof *p);
	volatile uint64_t *word = agc_word_new();
	if (!p || !word) {
		free(p);
		agc_word_free(word, 0);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*p = (struct pending){ .word = word, .fn = fn, .callback = callback, .stream = h, .arg = arg };
	CUresult r = CUDA_SUCCESS;
	pthread_mutex_lock(&lock);
	if (!start())
		r = CUDA_ERROR_OUT_OF_MEMORY;
	else if (!agc_stream(h, &wire))
		r = CUDA_ERROR_INVALID_HANDLE;
	struct msg_hostfunc *m = r ? NULL : agc_begin(AG_OP_hostfunc, sizeof *m, 0);
	if (m) {
		p->ticket = next_ticket++;
		m->stream = wire;
		m->word = (uint64_t)(uintptr_t)word;
		m->ticket = p->ticket;
		p->next = list;
		list = p;
		pthread_cond_signal(&some);
		r = agc_post(m);
	} else {
		r = r ? r : agc_error();
		free(p);
		agc_word_free(word, 0);
	}
	pthread_mutex_unlock(&lock);
	return r;
}

CUresult call_cuLaunchHostFunc(CUstream h, CUhostFn fn, void *arg)
{
	return fn ? submit(h, fn, NULL, arg) : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuStreamAddCallback(CUstream h, CUstreamCallback callback, void *arg, unsigned flags)
{
	return callback && !flags ? submit(h, NULL, callback, arg) : CUDA_ERROR_INVALID_VALUE;
}
