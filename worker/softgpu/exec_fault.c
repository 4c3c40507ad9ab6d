/* exec_fault.c - how a kernel fails: errors the interpreter finds (exec_raise) and pages the processor finds missing
 * (SIGSEGV, SIGBUS).  Both end the block that runs on this thread by a jump to its exec_self->env; the grid does the
 * rest.
 *
 * The signal handler takes only faults in the arena or in registered host memory, on a thread that is executing a
 * kernel's access; all others go to the handler that was there before. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "exec_internal.h"

__thread struct exec_thread *exec_self;

static struct sigaction old_segv, old_bus;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	struct exec_thread *t = exec_self;
	uint64_t addr = (uint64_t)(uintptr_t)si->si_addr;
	if (t && t->armed && t->warp->mem_op && si->si_code > 0
	    && ((addr >= SOFT_ARENA_BASE && addr < SOFT_ARENA_END) || soft_host_range(addr, 1))) {
		t->armed = false;
		t->code = CUDA_ERROR_ILLEGAL_ADDRESS;
		t->addr = addr;
		siglongjmp(t->env, 2);
	}
	struct sigaction *old = sig == SIGSEGV ? &old_segv : &old_bus;
	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(sig, si, uc);
	} else if (old->sa_handler == SIG_DFL || old->sa_handler == SIG_IGN) {
		sigaction(sig, old, NULL);      /* the instruction faults again, now for good */
	} else {
		old->sa_handler(sig);
	}
}

static void install(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	sigemptyset(&sa.sa_mask);
	sigaction(SIGSEGV, &sa, &old_segv);
	sigaction(SIGBUS, &sa, &old_bus);
}

void exec_fault_install(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, install);
}

/* Records the first error of a grid. */
void exec_fault_fill(struct warp *w, const struct op *o, uint32_t lane, CUresult code, uint64_t addr, const char *what)
{
	struct grid *g = w->cta->grid;
	pthread_mutex_lock(&g->lock);
	if (g->error == CUDA_SUCCESS) {
		g->error = code;
		g->fault.addr = addr;
		g->fault.line = o ? o->line : 0;
		memcpy(g->fault.ctaid, w->cta->ctaid, sizeof g->fault.ctaid);
		for (int i = 0; i < 3; i++)
			g->fault.tid[i] = w->tid[i][lane];
		snprintf(g->fault.what, sizeof g->fault.what, "%s", what);
	}
	g->stop = 1;
	pthread_mutex_unlock(&g->lock);
}

void exec_raise(struct warp *w, const struct op *o, uint32_t lane, CUresult code, uint64_t addr, const char *fmt, ...)
{
	char what[160];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	exec_fault_fill(w, o, lane, code, addr, what);
	exec_self->armed = false;
	siglongjmp(exec_self->env, 1);
}
