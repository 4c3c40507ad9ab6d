/* status.c - `agileos status`: what a worker tells about itself, and the program that asks.
 *
 * The worker sends lines, one per socket message, in place of a handshake; it never waits for the asker. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "session.h"
#include "socket.h"

#define LINES_MAX 256

struct page {
	char *line[LINES_MAX];
	unsigned n;
};

static void add(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct page *p, const char *fmt, ...)
{
	va_list ap;

	if (p->n == LINES_MAX)
		return;
	va_start(ap, fmt);
	if (vasprintf(&p->line[p->n], fmt, ap) >= 0)
		p->n++;
	va_end(ap);
}

static void add_line(void *arg, const char *line) { add(arg, "%s", line); }

static long seconds_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)(now.tv_sec - t->tv_sec);
}

/* Composed under the lock, sent outside it. */
static void compose(struct worker *w, struct page *p)
{
	uint64_t launches, faults, mib = 1 << 20;

	add(p, "agileos worker %d: %s, %s%s%s, up %ld s", (int)getpid(), w->info.name, w->soft ? "softgpu" : "GPU",
	    w->unguarded ? ", UNGUARDED" : w->no_report ? ", no reports" : "",
	    w->scrub || w->private_mode || w->unguarded ? "" : ", NO SCRUB", seconds_since(&w->started));
	if (w->dead)
		add(p, "context dead: error %d", (int)w->dead);
	size_t avail = 0, total = 0;
	if (!w->dead && w->d->cuCtxSetCurrent(w->ctx) == CUDA_SUCCESS &&
	    w->d->cuMemGetInfo_v2(&avail, &total) == CUDA_SUCCESS)
		add(p, "memory %llu MiB free of %llu MiB", (unsigned long long)(avail / mib),
		    (unsigned long long)(total / mib));
	if (w->max_memory)
		add(p, "each client may have %llu MiB of the device and %llu MiB of the host",
		    (unsigned long long)(w->max_memory / mib), (unsigned long long)(w->max_memory / mib));
	pthread_mutex_lock(&w->lock);
	launches = w->total_launches;
	faults = w->total_faults;
	unsigned n = w->nsessions; /* those at their beginning or end included */
	for (struct session *s = w->sessions; s; s = s->next) {
		launches += s->launches;
		faults += s->faults;
	}
	add(p, "clients %u, ended %llu, kernels %llu, faults %llu", n, (unsigned long long)w->ended_sessions,
	    (unsigned long long)launches, (unsigned long long)faults);
	if (n)
		add(p, "%8s %8s %-20s %8s %12s %10s %10s %7s", "client", "pid", "program", "up s", "device MiB",
		    "host MiB", "kernels", "faults");
	for (struct session *s = w->sessions; s; s = s->next)
		if (s->serving)
			add(p, "%8u %8d %-20s %8ld %12llu %10llu %10llu %7llu", s->number, (int)s->pid, s->program,
			    seconds_since(&s->started), (unsigned long long)((s->device_bytes + s->array_bytes) / mib),
			    (unsigned long long)(s->host_bytes / mib), (unsigned long long)s->launches,
			    (unsigned long long)s->faults);
	pthread_mutex_unlock(&w->lock);
	services_status(w, add_line, p);
}

void status_send(struct worker *w, int sock)
{
	struct page *p = calloc(1, sizeof *p);

	if (!p)
		return;
	compose(w, p);
	for (unsigned i = 0; i < p->n; i++) {
		if (send(sock, p->line[i], strlen(p->line[i]), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	}
	for (unsigned i = 0; i < p->n; i++)
		free(p->line[i]);
	free(p);
}

/* --- the asking side ---------------------------------------------------------------------------- */

int status_main(int argc, char **argv)
{
	char path[108], line[1024];
	const char *named = argc > 2 && strcmp(argv[1], "--socket") == 0 ? argv[2] : NULL;

	if ((argc > 1 && !named) || !socket_find(named, path)) {
		fprintf(stderr, argc > 1 && !named ? "usage: agileos status [--socket PATH]\n"
		                                   : "agileos: no worker's socket is known\n");
		return 2;
	}
	int s = socket_connect(path);
	if (s < 0) {
		fprintf(stderr, "agileos: no worker at %s: %s\n", path, strerror(errno));
		return 1;
	}
	struct ag_hello h = { AG_WIRE_MAGIC, AG_WIRE_VERSION, (uint32_t)getpid(), AG_HELLO_STATUS, "agileos status" };
	if (send(s, &h, sizeof h, MSG_NOSIGNAL) != (ssize_t)sizeof h) {
		fprintf(stderr, "agileos: the worker at %s does not answer\n", path);
		return 1;
	}
	ssize_t n;
	bool any = false;
	while ((n = recv(s, line, sizeof line - 1, 0)) > 0) {
		line[n] = 0;
		/* A refusal is a welcome with a reason in it. */
		if (n == (ssize_t)sizeof(struct ag_welcome) && memcmp(line, "AGOS", 4) == 0) {
			fprintf(stderr, "agileos: refused\n");
			return 1;
		}
		puts(line);
		any = true;
	}
	close(s);
	return any ? 0 : 1;
}
