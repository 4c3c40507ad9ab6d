/* zygote.c - the helper process: waits for requests, forks a child for each, watches its clock and reports its end.
 * It owns the descriptors of a request from receipt to the fork (input, output) or to the end of the child (answer).
 * It never reads what children write and never parses a request; it dies with the worker, whose end of the socket it
 * sees closing. */
#include "guard/helper.h"
#include "guard/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_RUNNING HELPER_PLACES
enum { FD_SOCKET = 3, FD_PTXAS = 4 };

struct child { pid_t pid; int pidfd, answer; int64_t deadline; bool timed_out; };

struct zygote {
	struct sandbox_limits limits;
	const char *ptxas;              /* argv[0] of the compiler, NULL: none */
	struct child child[MAX_RUNNING];
	int running;
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- in the child ---------------------------------------------------------------------------- */

static void put(int fd, const void *bytes, size_t n)
{
	for (const char *p = bytes; n;) {
		ssize_t w = write(fd, p, n);
		if (w <= 0)
			_exit(2);
		p += w;
		n -= (size_t)w;
	}
}

struct request {
	const struct helper_request *head;
	const struct helper_gate *gate;
	const char *pieces, *end;
};

static struct request map_request(int in)
{
	struct stat st;
	struct request r = { 0 };
	if (fstat(in, &st) || st.st_size < (off_t)sizeof *r.head)
		_exit(2);
	const char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, in, 0);
	if (p == MAP_FAILED)
		_exit(2);
	r.head = (const void *)p;
	r.gate = (const void *)(p + sizeof *r.head);
	r.pieces = (const char *)(r.gate + r.head->ngates);
	r.end = p + st.st_size;
	return r;
}

static const char *next_piece(struct request *r, struct guard_input *in)
{
	uint32_t n[2];
	memcpy(n, r->pieces, sizeof n);
	in->label = r->pieces + sizeof n;
	in->text = in->label + n[0] + 1;
	in->len = n[1];
	return r->pieces = in->text + in->len;
}

static void do_rewrite(struct request r, int out)
{
	struct guard_input *in = calloc(r.head->npieces, sizeof *in);
	struct guard_gate *gates = calloc(r.head->ngates + 1, sizeof *gates);
	struct guard_options opt = {
		.wide = r.head->wide, .report = r.head->report, .fence = r.head->fence, .poll = r.head->poll,
		.scrub = r.head->scrub, .meet = r.head->meet,
		.target_sm = r.head->target_sm,
		.gates = gates, .ngates = r.head->ngates,
	};
	struct helper_rewritten head = { .rc = -1 };
	struct guard_result result;
	struct ptx_error err = { 0 };
	uint8_t *bytes = NULL;
	size_t len = 0;
	if (!in || !gates)
		_exit(2);
	for (uint32_t i = 0; i < r.head->npieces; i++)
		next_piece(&r, &in[i]);
	for (uint32_t i = 0; i < r.head->ngates; i++) {
		gates[i] = (struct guard_gate){ .name = r.gate[i].name, .nparams = r.gate[i].nparams,
			.ret = r.gate[i].ret };
		memcpy(gates[i].params, r.gate[i].params, sizeof gates[i].params);
	}
	head.rc = guard_rewrite(in, r.head->npieces, &opt, &result, &err, &head.piece);
	if (head.rc == 0 && guard_result_write(&result, &bytes, &len))
		_exit(2);
	head.line = err.line;
	memcpy(head.text, err.text, sizeof head.text);
	put(out, &head, sizeof head);
	put(out, bytes, len);
	_exit(0);
}

static void do_verify(struct request r, int out)
{
	struct verify_gate *gates = calloc(r.head->ngates + 1, sizeof *gates);
	struct guard_input in;
	struct guard_verdict v;
	if (!gates)
		_exit(2);
	for (uint32_t i = 0; i < r.head->ngates; i++) {
		gates[i] = (struct verify_gate){ .name = r.gate[i].name, .nparams = r.gate[i].nparams,
			.ret_bytes = r.gate[i].ret };
		memcpy(gates[i].param_bytes, r.gate[i].params, sizeof gates[i].param_bytes);
	}
	next_piece(&r, &in);
	struct verify_options opt = { .wide = r.head->wide, .scrub = r.head->scrub, .meet = r.head->meet };
	verify(in.text, in.len, &opt, gates, r.head->ngates, &v);
	struct helper_verdict head = { .ok = v.ok, .line = v.line, .nkernels = v.nkernels,
		.const_bytes = v.const_bytes };
	memcpy(head.reason, v.reason, sizeof head.reason);
	put(out, &head, sizeof head);
	put(out, v.kernels, v.nkernels * sizeof *v.kernels);
	_exit(0);
}

/* Kernels are compiled by up to four threads: a program waits for this once a module (40 kernels, two processors: 2.1 s
 * instead of 3.2).  ptxas reads and writes through /proc/self/fd; what it says goes to `notes`. */
static void do_compile(const struct zygote *z, uint32_t sm, int in, int out, int notes)
{
	char arch[32], from[32], to[32];
	char *const argv[] = { (char *)z->ptxas, arch, "-o", to, from, "--split-compile=4", NULL };
	char *const envp[] = { "LC_ALL=C", NULL };
	snprintf(arch, sizeof arch, "-arch=sm_%u%s", sm % 1000, sm >= 1000 ? "a" : "");
	snprintf(from, sizeof from, "/proc/self/fd/%d", in);
	snprintf(to, sizeof to, "/proc/self/fd/%d", out);
	if (fcntl(in, F_SETFD, 0) || fcntl(out, F_SETFD, 0) || dup2(notes, 1) < 0 || dup2(notes, 2) < 0 ||
		!sandbox_compiler(FD_PTXAS))
		_exit(2);
	syscall(SYS_execveat, FD_PTXAS, "", argv, envp, 0x1000 /* AT_EMPTY_PATH */);
	_exit(127);
}

static void be_child(const struct zygote *z, struct helper_job job, const int fds[4])
{
	/* Nothing of the zygote or of other requests stays open.  By way of high numbers: fds may be 5, 6 and 7 in any
	 * order. */
	for (int i = 0, high[3]; i < 6; i++)
		if ((i < 3 ? high[i] = fcntl(fds[i], F_DUPFD, 100) : dup2(high[i - 3], i + 2)) < 0)
			_exit(2);
	/* without the zygote nobody watches the clock */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() == 1)
		_exit(2);
	close(FD_SOCKET);
	if (job.kind != HELPER_COMPILE && z->ptxas)
		close(FD_PTXAS);
	if (syscall(SYS_close_range, 8u, ~0u, 0u) || !sandbox_limit(&z->limits))
		_exit(2);
	if (job.kind == HELPER_COMPILE)
		do_compile(z, job.sm, 5, 6, 7);
	struct request r = map_request(5);
	close(5);
	close(7);
	if (!sandbox_compute(6))
		_exit(2);
	if (job.kind == HELPER_REWRITE)
		do_rewrite(r, 6);
	else
		do_verify(r, 6);
}

/* --- the zygote ------------------------------------------------------------------------------ */

static void answer(struct child *c, int status)
{
	struct helper_end end = { c->timed_out, status };
	send(c->answer, &end, sizeof end, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(c->answer);
	close(c->pidfd);
}

static void reap(struct zygote *z, int i)
{
	int status;
	if (waitpid(z->child[i].pid, &status, WNOHANG) != z->child[i].pid)
		return;
	answer(&z->child[i], status);
	z->child[i] = z->child[--z->running];
}

/* fds: input, output, notes, answer. */
static void start_child(struct zygote *z, struct helper_job job, const int fds[4])
{
	struct child *c = &z->child[z->running];
	bool known = job.kind == HELPER_REWRITE || job.kind == HELPER_VERIFY ||
		(job.kind == HELPER_COMPILE && z->ptxas);
	pid_t pid = known ? fork() : -1;
	if (pid == 0) {
		be_child(z, job, fds);
		_exit(2);
	}
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	if (pid < 0) {
		close(fds[3]);
		return;
	}
	*c = (struct child){ .pid = pid, .answer = fds[3], .deadline = now_ms() + z->limits.wall_s * 1000ll };
	c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	z->running++;
}

/* False: the worker is gone. */
static bool receive(struct zygote *z)
{
	struct helper_job job;
	struct iovec iov = { &job, sizeof job };
	union { char bytes[CMSG_SPACE(4 * sizeof(int))]; struct cmsghdr align; } control;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof control };
	ssize_t n = recvmsg(FD_SOCKET, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	int fds[4];
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		return false;
	if (n != sizeof job || !c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof fds))
		return n < 0;   /* the worker never sends such a thing */
	memcpy(fds, CMSG_DATA(c), sizeof fds);
	start_child(z, job, fds);
	return true;
}

static void serve(struct zygote *z)
{
	for (;;) {
		struct pollfd p[MAX_RUNNING + 1];
		int64_t now = now_ms(), wait = -1;
		for (int i = 0; i < z->running; i++) {
			struct child *c = &z->child[i];
			if (c->deadline <= now && !c->timed_out) {
				c->timed_out = true;
				kill(c->pid, SIGKILL);
			}
			if (!c->timed_out && (wait < 0 || c->deadline - now < wait))
				wait = c->deadline - now;
			p[i] = (struct pollfd){ .fd = c->pidfd, .events = POLLIN };
		}
		p[z->running] = (struct pollfd){ .fd = z->running < MAX_RUNNING ? FD_SOCKET : -1, .events = POLLIN };
		int n = z->running;
		if (poll(p, (nfds_t)n + 1, (int)wait) < 0 && errno != EINTR)
			return;
		for (int i = n - 1; i >= 0; i--)
			if (p[i].revents)
				reap(z, i);
		if (p[n].revents && !receive(z))
			return;
	}
}

bool guard_is_zygote(int argc, char **argv)
{
	return argc >= 6 && !strcmp(argv[1], "guard-zygote");
}

/* guard-zygote CPU WALL MEMORY OUTPUT [PTXAS], with the socket at 3 and the compiler at 4. */
int guard_zygote_main(int argc, char **argv)
{
	struct zygote z = { .ptxas = argc > 6 ? argv[6] : NULL };
	uint32_t *limit[] = { &z.limits.cpu_s, &z.limits.wall_s, &z.limits.memory_mib, &z.limits.output_mib };
	for (int i = 0; i < 4; i++)
		*limit[i] = (uint32_t)strtoul(argv[i + 2], NULL, 10);
	if (!sandbox_drop()) {
		fprintf(stderr, "agileos: guard helper: cannot give up privileges: %s\n", strerror(errno));
		return 1;
	}
	serve(&z);
	for (int i = 0; i < z.running; i++)
		kill(z.child[i].pid, SIGKILL);
	return 0;
}
