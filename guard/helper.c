/* helper.c - the worker's side of the helper process: starts the zygote, sends it requests, copies and checks what
 * comes back. One socket to the zygote, shared under a lock for sending; each request has its own socket for the
 * answer, so callers wait side by side. A zygote that died is started again by the next request; the one that noticed
 * gets -2. */
#include "guard/helper.h"
#include "guard/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct guard_helper {
	pthread_mutex_t lock;
	pid_t pid;                  /* 0: not running */
	int socket;
	char *ptxas;
	struct sandbox_limits limits;
};

/* --- the zygote's life ----------------------------------------------------------------------- */

/* Spawned, not forked: safe with threads, and the image holds nothing of the worker. */
static bool spawn(struct guard_helper *h)
{
	char number[4][16];
	const uint32_t limit[] = { h->limits.cpu_s, h->limits.wall_s, h->limits.memory_mib, h->limits.output_mib };
	char *argv[] = { "agileos", "guard-zygote", number[0], number[1], number[2], number[3], h->ptxas, NULL };
	char *envp[] = { "LC_ALL=C", NULL };
	int pair[2], compiler, rc;
	posix_spawn_file_actions_t files;
	for (int i = 0; i < 4; i++)
		snprintf(number[i], sizeof number[i], "%u", limit[i]);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return false;
	compiler = open(h->ptxas ? h->ptxas : "/dev/null", O_PATH | O_CLOEXEC);
	/* 3 and 4 are free in the new process only after both sources were moved out of the way. */
	int there = fcntl(pair[1], F_DUPFD_CLOEXEC, 10), program = compiler < 0 ? -1 :
		fcntl(compiler, F_DUPFD_CLOEXEC, 10);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&files, 0, 1);
	posix_spawn_file_actions_adddup2(&files, there, 3);
	posix_spawn_file_actions_adddup2(&files, program, 4);
	posix_spawn_file_actions_addclosefrom_np(&files, 5);
	errno = EBADF;
	rc = there < 0 || program < 0 ? errno : posix_spawn(&h->pid, "/proc/self/exe", &files, NULL, argv, envp);
	posix_spawn_file_actions_destroy(&files);
	close(pair[1]);
	if (there >= 0)
		close(there);
	if (compiler >= 0)
		close(compiler);
	if (program >= 0)
		close(program);
	if (rc) {
		close(pair[0]);
		h->pid = 0;
		errno = rc;
		return false;
	}
	h->socket = pair[0];
	return true;
}

static void bury(struct guard_helper *h)
{
	if (!h->pid)
		return;
	close(h->socket);
	kill(h->pid, SIGKILL);
	while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
}

struct guard_helper *guard_helper_start_with(const char *ptxas, const struct sandbox_limits *limits)
{
	struct guard_helper *h = calloc(1, sizeof *h);
	if (!h || (ptxas && !(h->ptxas = strdup(ptxas))))
		return free(h), NULL;
	h->limits = *limits;
	pthread_mutex_init(&h->lock, NULL);
	if (!spawn(h)) {
		fprintf(stderr, "agileos: guard helper: cannot start: %s\n", strerror(errno));
		guard_helper_stop(h);
		return NULL;
	}
	return h;
}

struct guard_helper *guard_helper_start(const char *ptxas)
{
	static const struct sandbox_limits limits = HELPER_DEFAULT_LIMITS;
	return guard_helper_start_with(ptxas, &limits);
}

void guard_helper_stop(struct guard_helper *h)
{
	if (!h)
		return;
	bury(h);
	pthread_mutex_destroy(&h->lock);
	free(h->ptxas);
	free(h);
}

pid_t guard_helper_pid(struct guard_helper *h)
{
	pthread_mutex_lock(&h->lock);
	pid_t pid = h->pid;
	pthread_mutex_unlock(&h->lock);
	return pid;
}

/* --- one request ----------------------------------------------------------------------------- */

static bool send_job(int socket, struct helper_job job, const int fds[4])
{
	struct iovec iov = { &job, sizeof job };
	union { char bytes[CMSG_SPACE(4 * sizeof(int))]; struct cmsghdr align; } control;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof control };
	memset(&control, 0, sizeof control);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(4 * sizeof(int));
	memcpy(CMSG_DATA(c), fds, 4 * sizeof(int));
	ssize_t n;
	do
		n = sendmsg(socket, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == sizeof job;
}

/* Hands the job to a living zygote, which the caller's answer then comes from; pid: which one. */
static bool submit(struct guard_helper *h, struct helper_job job, const int fds[4], pid_t *pid)
{
	pthread_mutex_lock(&h->lock);
	bool sent = false;
	for (int attempt = 0; attempt < 2 && !sent; attempt++) {
		if (!h->pid && !spawn(h))
			break;
		sent = send_job(h->socket, job, fds);
		*pid = h->pid;
		if (!sent)
			bury(h);
	}
	pthread_mutex_unlock(&h->lock);
	return sent;
}

/* That zygote answered with nothing: it is dead or useless.  Someone else may have replaced it already. */
static void discard(struct guard_helper *h, pid_t pid)
{
	pthread_mutex_lock(&h->lock);
	if (h->pid == pid)
		bury(h);
	pthread_mutex_unlock(&h->lock);
}

static int fill(const struct iovec *part, int n)
{
	int fd = memfd_create("agileos-guard", MFD_CLOEXEC);
	for (int i = 0; fd >= 0 && i < n; i++)
		for (size_t done = 0; done < part[i].iov_len;) {
			ssize_t w = write(fd, (char *)part[i].iov_base + done, part[i].iov_len - done);
			if (w < 0 && errno != EINTR) {
				close(fd);
				return -1;
			}
			done += w > 0 ? (size_t)w : 0;
		}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* What a child wrote, copied once; NUL-terminated beyond len. */
static char *drain(int fd, size_t most, size_t *len)
{
	struct stat st;
	if (fstat(fd, &st) || st.st_size < 0 || (uint64_t)st.st_size > most)
		return NULL;
	char *p = malloc((size_t)st.st_size + 1);
	size_t got = 0;
	while (p && got < (size_t)st.st_size) {
		ssize_t n = pread(fd, p + got, (size_t)st.st_size - got, (off_t)got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	if (p)
		p[got] = 0;
	*len = got;
	return p;
}

static bool await(struct guard_helper *h, int answer, struct helper_end *end)
{
	/* Requests queue behind others in the zygote; past this it is stuck, not busy. */
	int64_t patience = 1000ll * h->limits.wall_s * 10 + 10000;
	struct pollfd p = { .fd = answer, .events = POLLIN };
	int n;
	do
		n = poll(&p, 1, patience > 3600000 ? 3600000 : (int)patience);
	while (n < 0 && errno == EINTR);
	return n == 1 && recv(answer, end, sizeof *end, 0) == (ssize_t)sizeof *end;
}

struct outcome { char *bytes, *notes; size_t len, notes_len; };

static void printable(char *s)
{
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			*s = *s == '\n' ? 0 : '?';
}

static int judge_end(const struct guard_helper *h, struct helper_end end, const char *what, char why[512])
{
	if (end.timed_out)
		snprintf(why, 512, "%s took longer than %u s", what, h->limits.wall_s);
	else if (WIFSIGNALED(end.status) && (WTERMSIG(end.status) == SIGXCPU || WTERMSIG(end.status) == SIGXFSZ))
		snprintf(why, 512, "%s ran over its limit of %s", what, WTERMSIG(end.status) == SIGXCPU ?
		"processor time" : "output");
	else if (WIFSIGNALED(end.status))
		snprintf(why, 512, "%s was ended by signal %d", what, WTERMSIG(end.status));
	else
		return 0;
	return -2;
}

/* Runs one child.  0: it ended by itself, with *code; -2 otherwise. */
static int run_job(struct guard_helper *h, struct helper_job job, const struct iovec *part, int nparts,
	const char *what, struct outcome *o,
		   int *code, char why[512])
{
	int fds[4] = { fill(part, nparts), memfd_create("agileos-guard", MFD_CLOEXEC),
		memfd_create("agileos-guard", MFD_CLOEXEC), -1 };
	int pair[2] = { -1, -1 }, rc = -2;
	struct helper_end end;
	pid_t pid;
	memset(o, 0, sizeof *o);
	snprintf(why, 512, "%s: out of descriptors or memory", what);
	if (fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
		pair) == 0) {
		fds[3] = pair[1];
		bool sent = submit(h, job, fds, &pid);
		close(pair[1]);
		if (!sent) {
			snprintf(why, 512, "%s: the helper process cannot be started", what);
		} else if (!await(h, pair[0], &end)) {
			discard(h, pid);
			snprintf(why, 512, "%s: the helper process died", what);
		} else if (!(rc = judge_end(h, end, what, why))) {
			*code = WEXITSTATUS(end.status);
			o->bytes = drain(fds[1], (size_t)h->limits.output_mib << 20, &o->len);
			o->notes = drain(fds[2], (size_t)h->limits.output_mib << 20, &o->notes_len);
			if (!o->bytes || !o->notes) {
				snprintf(why, 512, "%s: its output is too large", what);
				rc = -2;
			}
		}
		close(pair[0]);
	}
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return rc;
}

static void drop(struct outcome *o)
{
	free(o->bytes);
	free(o->notes);
	memset(o, 0, sizeof *o);
}

/* --- the three jobs -------------------------------------------------------------------------- */

struct packed {
	struct iovec *part; int n; struct helper_request head; struct helper_gate *gates; uint32_t (*size)[2]; };

static void unpack(struct packed *p)
{
	free(p->part);
	free(p->gates);
	free(p->size);
}

static uint8_t type_bytes(uint8_t type)
{
	return type == PTX_T_NONE ? 0 : (uint8_t)ptx_type_bytes(type);
}

/* The request for rewriting (gates by type) or verifying (gates by size) n pieces. */
static bool pack(struct packed *p, const struct guard_input *in, uint32_t n, const struct guard_options *opt,
	bool by_size)
{
	uint64_t total = 0;
	memset(p, 0, sizeof *p);
	for (uint32_t i = 0; i < n; i++)
		total += in[i].len + 4096;
	if (total > HELPER_MAX_REQUEST || n > 65536 || opt->ngates > 4096)
		return false;
	p->part = calloc(4 * (size_t)n + 2, sizeof *p->part);
	p->gates = calloc((size_t)opt->ngates + 1, sizeof *p->gates);
	p->size = calloc((size_t)n + 1, sizeof *p->size);
	if (!p->part || !p->gates || !p->size)
		return false;
	p->head = (struct helper_request){ n, opt->ngates, opt->target_sm, opt->wide, opt->report, opt->fence,
		opt->poll, opt->scrub, opt->meet };
	for (uint32_t i = 0; i < opt->ngates; i++) {
		const struct guard_gate *g = &opt->gates[i];
		struct helper_gate *to = &p->gates[i];
		if (g->nparams > sizeof to->params || (size_t)snprintf(to->name, sizeof to->name, "%s", g->name) >=
			sizeof to->name)
			return false;
		to->nparams = g->nparams;
		to->ret = by_size ? type_bytes(g->ret) : g->ret;
		for (uint32_t k = 0; k < g->nparams; k++)
			to->params[k] = by_size ? type_bytes(g->params[k]) : g->params[k];
	}
	p->part[p->n++] = (struct iovec){ &p->head, sizeof p->head };
	p->part[p->n++] = (struct iovec){ p->gates, opt->ngates * sizeof *p->gates };
	for (uint32_t i = 0; i < n; i++) {
		const char *label = in[i].label ? in[i].label : "";
		p->size[i][0] = (uint32_t)strnlen(label, 1024);
		p->size[i][1] = (uint32_t)in[i].len;
		p->part[p->n++] = (struct iovec){ p->size[i], sizeof p->size[i] };
		p->part[p->n++] = (struct iovec){ (void *)label, p->size[i][0] };
		p->part[p->n++] = (struct iovec){ "", 1 };
		p->part[p->n++] = (struct iovec){ (void *)in[i].text, in[i].len };
	}
	return true;
}

static int rewrite(struct guard_helper *h, const struct guard_input *in, uint32_t n, const struct guard_options *opt,
	struct guard_result *out,
		   char why[512])
{
	struct packed p;
	struct outcome o = { 0 };
	struct helper_rewritten head;
	int code = 0, rc = -1;
	snprintf(why, 512, "module too large");
	if (pack(&p, in, n, opt, false))
		rc = run_job(h, (struct helper_job){ HELPER_REWRITE, 0 }, p.part, p.n, "rewriting", &o, &code, why);
	unpack(&p);
	if (rc == 0 && (code || o.len < sizeof head)) {
		snprintf(why, 512, "rewriting ended early (code %d)", code);
		rc = -2;
	} else if (rc == 0) {
		memcpy(&head, o.bytes, sizeof head);
		head.text[sizeof head.text - 1] = 0;
		printable(head.text);
		const char *label = head.piece < n && in[head.piece].label ? in[head.piece].label : "module";
		rc = head.rc ? -1 : 0;
		if (rc)
			snprintf(why, 512, "%.200s:%u: %s", label, head.line, head.text[0] ? head.text : "refused");
		else if (guard_result_read(out, (const uint8_t *)o.bytes + sizeof head, o.len - sizeof head)) {
			snprintf(why, 512, "rewriting gave a malformed result");
			rc = -2;
		}
	}
	drop(&o);
	return rc;
}

static bool read_verdict(const struct outcome *o, struct guard_verdict *v)
{
	struct helper_verdict head;
	memset(v, 0, sizeof *v);
	if (o->len < sizeof head)
		return false;
	memcpy(&head, o->bytes, sizeof head);
	if (head.nkernels > VERIFY_MAX_KERNELS || o->len != sizeof head + head.nkernels * sizeof *v->kernels)
		return false;
	v->ok = head.ok == 1;
	v->line = head.line;
	v->const_bytes = head.const_bytes;
	memcpy(v->reason, head.reason, sizeof v->reason);
	v->reason[sizeof v->reason - 1] = 0;
	printable(v->reason);
	if (head.nkernels && !(v->kernels = malloc(head.nkernels * sizeof *v->kernels)))
		return false;
	if (head.nkernels)
		memcpy(v->kernels, o->bytes + sizeof head, head.nkernels * sizeof *v->kernels);
	v->nkernels = head.nkernels;
	return true;
}

static int judge(struct guard_helper *h, const struct guard_result *r, const struct guard_options *opt,
	struct guard_verdict *v, char why[512])
{
	struct guard_input in = { r->text, r->text_len, "guarded" };
	struct packed p;
	struct outcome o = { 0 };
	int code = 0, rc = -1;
	snprintf(why, 512, "guarded module too large");
	if (pack(&p, &in, 1, opt, true))
		rc = run_job(h, (struct helper_job){ HELPER_VERIFY, 0 }, p.part, p.n, "verifying", &o, &code, why);
	unpack(&p);
	if (rc == 0 && (code || !read_verdict(&o, v))) {
		snprintf(why, 512, "verifying ended early (code %d)", code);
		rc = -2;
	} else if (rc == 0 && !v->ok) {
		snprintf(why, 512, "the verifier refuses the guarded text, line %u: %s", v->line, v->reason);
		rc = -1;
	}
	drop(&o);
	return rc;
}

/* The rewriter's tables came from a process that read hostile text; what the verdict knows of them must match. */
static int by_index(const void *a, const void *b)
{
	const struct verify_kernel *x = a, *y = b;
	return x->index < y->index ? -1 : x->index > y->index;
}

static bool agree(const struct guard_result *r, const struct guard_verdict *v)
{
	if (r->nkernels != v->nkernels || r->const_bytes != v->const_bytes)
		return false;
	for (uint32_t i = 0; i < r->nkernels; i++) {
		const struct guard_kernel *k = &r->kernels[i];
		struct verify_kernel key = { .index = k->index };
		const struct verify_kernel *f = bsearch(&key, v->kernels, v->nkernels, sizeof key, by_index);
		if (!f || k->param_bytes > f->param_bytes || k->static_shared != f->static_shared ||
			k->hidden_coop != f->hidden_coop)
			return false;
		for (uint32_t p = 0; p < k->nparams; p++)
			if (k->param_offset[p] > k->param_bytes ||
			k->param_size[p] > k->param_bytes - k->param_offset[p])
				return false;
	}
	return true;
}

static int compile(struct guard_helper *h, uint32_t sm, const char *text, size_t len, void **cubin, size_t *cubin_len,
	char why[512])
{
	struct iovec part = { (void *)text, len };
	struct outcome o;
	int code = 0, rc = run_job(h, (struct helper_job){ HELPER_COMPILE, sm }, &part, 1, "compiling", &o, &code, why);
	if (rc == 0 && (code || o.len == 0)) {
		printable(o.notes);
		snprintf(why, 512, "ptxas: %.400s (code %d)", o.notes[0] ? o.notes : "no output", code);
		rc = code == 127 || !h->ptxas ? -2 : -1;
	} else if (rc == 0) {
		*cubin = o.bytes;
		*cubin_len = o.len;
		o.bytes = NULL;
	}
	drop(&o);
	return rc;
}

int guard_helper_run(struct guard_helper *h, const struct guard_input *in, uint32_t n, const struct guard_options *opt,
                     const char *const *gate_ptx, uint32_t ngate_ptx, bool want_cubin, struct guard_result *out,
struct guard_verdict *verdict,
                     char **composed, size_t *composed_len, void **cubin, size_t *cubin_len, char why[512])
{
	struct guard_verdict own = { 0 }, *v = verdict ? verdict : &own;
	char *text = NULL;
	size_t len = 0;
	memset(out, 0, sizeof *out);
	memset(v, 0, sizeof *v);
	*composed = NULL;
	if (cubin)
		*cubin = NULL;
	int rc = rewrite(h, in, n, opt, out, why);
	bool rewritten = rc == 0;
	if (rc == 0 && opt->fence) {
		rc = judge(h, out, opt, v, why);
		if (rc == 0 && !agree(out, v)) {
			snprintf(why, 512, "the rewriter's tables do not match its text");
			rc = -2;
		}
	}
	if (rc == 0 && !(text = guard_compose(out->text, out->text_len, opt->target_sm, gate_ptx, ngate_ptx, &len))) {
		snprintf(why, 512, "the guarded text cannot be composed");
		rc = -2;
	}
	if (rc == 0 && want_cubin)
		rc = compile(h, (uint32_t)opt->target_sm, text, len, cubin, cubin_len, why);
	if (rc == 0) {
		*composed = text;
		*composed_len = len;
		why[0] = 0;
	} else {
		free(text);
		if (rewritten)
			guard_result_free(out);
		memset(out, 0, sizeof *out);
	}
	if (v == &own || rc)
		verify_free(v);
	return rc;
}
