/* main.c - the program `agileos`: its commands, and the worker's main thread.  Owns struct worker.
 *
 * PROCESS MODEL
 *
 *   agileos worker      one process, one GPU context
 *     main thread       accepts connections, watches every session's socket for its end, signals, the health of the
 * context session threads   one per client process (session.c): handshake, then ring -> permit -> decode -> check ->
 * invoke -> reply, then teardown driver's threads  as the driver likes; softgpu has one pool guard zygote started
 * before everything else: no GPU, no threads, no privileges; forks one child per module to rewrite, to verify and to
 * compile (guard/helper.c).  What it says is hostile input; only the verifier's word is believed.
 *
 * TRUST.  Everything that comes out of a client's socket, ring or memory is hostile (docs/THREATS.md).  A client can
 * end its own session, at any moment and in any way, and nothing else: no lock is held while waiting for a client or
 * for one client's GPU work, no message is read twice, every address is checked against the client's window, and what
 * its kernels may touch is decided by the guarded code itself.
 *
 * LIFE.  A daemon serves until SIGTERM or SIGINT.  A private worker (--private) was started by a client for its process
 * tree and ends with its last client. If the context itself dies (hardware), every session ends with that error and the
 * worker ends, non-zero.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "guard/helper.h"
#include "prepared.h"
#include "prefix.h"
#include "session.h"
#include "socket.h"

#ifndef AG_VERSION
#define AG_VERSION "0.1"
#endif
#define WATCHED_MAX 1024
#define CONNECTIONS_MAX 256    /* threads for clients, whether they have a session yet or not */
#define HEALTH_MS 100          /* how often an idle worker looks whether its context lives */
#define PRIVATE_START_MS 60000 /* a private worker that nobody connects to ends */
#define STOP_MS 20000
#define KERNEL_LIMIT 30  /* seconds, of a daemon; the processes of a private worker's tree wait for each other */
#define LIMIT_MAX 86400
#define FILES_WANTED 65536u

struct worker the_worker;

void worker_log(const char *fmt, ...)
{
	char line[700];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof line - 2)
		n = sizeof line - 2;
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[n] = 0;
	fprintf(stderr, "agileos worker: %s\n", line);
}

/* --- the main thread --------------------------------------------------------------------------------- */

static _Atomic unsigned connections;

static void *session_thread(void *arg)
{
	session_run(&the_worker, (int)(intptr_t)arg);
	connections--;
	return NULL;
}

static void accept_client(struct worker *w)
{
	pthread_t t;
	int sock = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock < 0) {
		usleep(10000); /* out of descriptors: the connection stays, and so would poll's word of it */
		return;
	}
	if (connections >= CONNECTIONS_MAX) {
		worker_log("refused a client: %u connections already", (unsigned)connections);
		close(sock);
		return;
	}
	connections++;
	if (pthread_create(&t, NULL, session_thread, (void *)(intptr_t)sock)) {
		worker_log("no thread for a client: %s", strerror(errno));
		connections--;
		close(sock);
		return;
	}
	pthread_detach(t);
}

/* A socket that became readable has closed, or says what no client says: either way its session ends. */
static void hang_up(struct worker *w, int sock)
{
	pthread_mutex_lock(&w->lock);
	for (struct session *s = w->sessions; s; s = s->next) {
		if (s->serving && s->sock == sock) {
			s->polled = false;
			s->hangup = 1;
			session_kill(s); /* its thread may be waiting for them */
			ring_wake(s->shm);
		}
	}
	pthread_mutex_unlock(&w->lock);
}

static unsigned watch_list(struct worker *w, struct pollfd *p, unsigned n, unsigned max)
{
	pthread_mutex_lock(&w->lock);
	for (struct session *s = w->sessions; s && n < max; s = s->next)
		if (s->polled)
			p[n++] = (struct pollfd){ .fd = s->sock, .events = POLLIN | POLLRDHUP };
	pthread_mutex_unlock(&w->lock);
	return n;
}

static unsigned session_count(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	unsigned n = w->nsessions;
	pthread_mutex_unlock(&w->lock);
	return n;
}

/* A dead context never writes a completion word: somebody has to ask for the sake of clients that only wait. */
static void look_at_context(struct worker *w)
{
	CUresult r = w->d->cuStreamQuery(w->control);

	if (context_error(r))
		context_died(w, r);
}

static void end_sessions(struct worker *w)
{
	w->stopping = 1;
	for (int i = 0; session_count(w) && i < STOP_MS / 10; i++) {
		pthread_mutex_lock(&w->lock);
		for (struct session *s = w->sessions; s; s = s->next) {
			s->hangup = 1;
			if (s->serving)
				ring_wake(s->shm);
			else
				shutdown(s->sock, SHUT_RDWR);
		}
		pthread_mutex_unlock(&w->lock);
		usleep(10000);
	}
}

/* A private worker's directory was made for its socket alone. */
static void remove_socket(struct worker *w)
{
	char *slash = strrchr(w->socket_path, '/');

	if (!w->socket_path[0])
		return;
	unlink(w->socket_path);
	if (w->private_mode && slash && slash != w->socket_path) {
		*slash = 0;
		rmdir(w->socket_path);
	}
	w->socket_path[0] = 0;
}

/* Before a private worker ends: nobody can find its socket any more, and nobody who did is left in the queue. */
static bool nobody_waits(struct worker *w)
{
	struct pollfd p = { .fd = w->listen_fd, .events = POLLIN };

	remove_socket(w);
	return poll(&p, 1, 0) == 0 && connections == 0;
}

static int main_loop(struct worker *w, int signals)
{
	static struct pollfd p[WATCHED_MAX];
	unsigned waited = 0;
	bool had_client = false;

	for (;;) {
		p[0] = (struct pollfd){ .fd = w->listen_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = w->wake_fd, .events = POLLIN };
		p[2] = (struct pollfd){ .fd = signals, .events = POLLIN };
		unsigned n = watch_list(w, p, 3, WATCHED_MAX), sessions = session_count(w);
		had_client |= sessions > 0;
		if (w->private_mode && !sessions && (had_client ? w->ended_sessions > 0 : waited > PRIVATE_START_MS) &&
		    nobody_waits(w))
			return 0;
		if (w->dead && !sessions)
			return 1;
		int r = poll(p, n, sessions || w->private_mode ? HEALTH_MS : -1);
		if (r < 0 && errno != EINTR)
			return 1;
		waited += r == 0 ? HEALTH_MS : 0;
		if (r <= 0) {
			look_at_context(w);
			continue;
		}
		eventfd_t v;
		if (p[1].revents && eventfd_read(w->wake_fd, &v))
			return 1;
		if (p[2].revents)
			return 0;
		for (unsigned i = 3; i < n; i++)
			if (p[i].revents)
				hang_up(w, p[i].fd);
		if (p[0].revents)
			accept_client(w);
	}
}

/* --- starting ----------------------------------------------------------------------------------------------- */

struct options {
	const char *socket, *group, *device, *cache_key;
	uint64_t max_memory;
	int listen_fd;
	bool private_mode, unguarded, no_report, no_scrub, no_meet;
	long kernel_limit; /* seconds, -1: not given */
};

static int usage(void)
{
	fputs("usage: agileos worker [--socket PATH] [--group NAME] [--device gpu|soft|auto] [--unguarded]\n"
	      "                      [--max-memory BYTES[KMGT]] [--kernel-limit SECONDS] [--cache-key FILE]\n"
	      "                      [--no-scrub] [--no-meet]\n"
	      "                      [--no-report]             serve clients; each may have so much memory; a kernel\n"
	      "                                                that others wait for may run so long (30; 0: for ever)\n"
	      "                                                --no-report: no record of accesses that were fenced\n"
	      "                                                --no-scrub: a kernel may find in shared and local\n"
	      "                                                memory what another client's left there\n"
	      "                                                --no-meet: a kernel's threads may wait where they\n"
	      "                                                cannot be told to end\n"
	      "       agileos status [--socket PATH]            what a worker is doing\n"
	      "       agileos run [--] COMMAND ...              run a dynamically linked CUDA program on AgileOS\n"
	      "       agileos guard IN.ptx -o OUT.ptx           rewrite; agileos guard --verify OUT.ptx: judge\n"
	      "       agileos version\n",
	      stderr);
	return 2;
}

static bool seconds(const char *text, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	return !errno && end != text && !*end && *out >= 0 && *out <= LIMIT_MAX;
}

/* 512M, 3G: bytes; 0: no such number. */
static uint64_t bytes_of(const char *text)
{
	static const char units[] = "KMGT";
	char *end;
	unsigned shift = 0;

	errno = 0;
	unsigned long long n = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	if (!n || errno)
		return 0;
	const char *unit = *end ? strchr(units, *end) : NULL;
	if (unit)
		shift = 10 * (unsigned)(unit - units + 1);
	if (*end && (!unit || end[1]))
		return 0;
	return n <= UINT64_MAX >> shift ? (uint64_t)n << shift : 0;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
	const char *env = getenv("AGILEOS_DEVICE");

	*o = (struct options){ .device = env && *env ? env : "auto", .listen_fd = -1, .kernel_limit = -1 };
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
		if (!strcmp(a, "--private"))
			o->private_mode = true;
		else if (!strcmp(a, "--unguarded"))
			o->unguarded = true;
		else if (!strcmp(a, "--no-report"))
			o->no_report = true;
		else if (!strcmp(a, "--no-scrub"))
			o->no_scrub = true;
		else if (!strcmp(a, "--no-meet"))
			o->no_meet = true;
		else if (!v)
			return false;
		else if (!strcmp(a, "--socket"))
			o->socket = argv[++i];
		else if (!strcmp(a, "--group"))
			o->group = argv[++i];
		else if (!strcmp(a, "--device"))
			o->device = argv[++i];
		else if (!strcmp(a, "--kernel-limit") && seconds(v, &o->kernel_limit))
			i++;
		else if (!strcmp(a, "--cache-key"))
			o->cache_key = argv[++i];
		else if (!strcmp(a, "--max-memory")) {
			if (!(o->max_memory = bytes_of(argv[++i])))
				return false;
		} else if (!strcmp(a, "--listen-fd"))
			o->listen_fd = atoi(argv[++i]);
		else
			return false;
	}
	return true;
}

static bool in_path(char *out, size_t bytes, const char *name)
{
	const char *p = getenv("PATH");

	while (p && *p) {
		size_t n = strcspn(p, ":");
		if (n && snprintf(out, bytes, "%.*s/%s", (int)n, p, name) < (int)bytes && access(out, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

/* ptxas compiles in the helper, under limits; without it the driver's own compiler does, inside the worker. */
static const char *find_ptxas(char *path, size_t bytes)
{
	const char *env = getenv("AGILEOS_PTXAS"), *home = getenv("CUDA_HOME");
	const char *dirs[] = { home, AG_BUILD_PREFIX "/cuda", "/usr/local/cuda" };

	if (env && *env)
		return env;
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		if (dirs[i] && *dirs[i] && snprintf(path, bytes, "%s/bin/ptxas", dirs[i]) < (int)bytes &&
		    access(path, X_OK) == 0)
			return path;
	return in_path(path, bytes, "ptxas") ? path : NULL;
}

static bool open_socket(struct worker *w, const struct options *o)
{
	if (o->listen_fd >= 0) {
		struct sockaddr_un a;
		socklen_t n = sizeof a;
		w->listen_fd = o->listen_fd;
		if (getsockname(o->listen_fd, (struct sockaddr *)&a, &n) || a.sun_family != AF_UNIX) {
			worker_log("--listen-fd %d is no Unix socket", o->listen_fd);
			return false;
		}
		if (n > offsetof(struct sockaddr_un, sun_path))
			snprintf(w->socket_path, sizeof w->socket_path, "%s", a.sun_path);
		return true;
	}
	if (o->socket ? snprintf(w->socket_path, sizeof w->socket_path, "%s", o->socket) >= (int)sizeof w->socket_path
	              : !socket_default(w->socket_path)) {
		worker_log("no place for the socket: give --socket PATH (at most 107 bytes), or set XDG_RUNTIME_DIR");
		return false;
	}
	w->listen_fd = socket_listen(w->socket_path, w->has_group ? &w->group : NULL);
	return w->listen_fd >= 0;
}

static bool find_group(struct worker *w, const char *name)
{
	struct group *g = name ? getgrnam(name) : NULL;

	if (!name)
		return true;
	if (!g) {
		worker_log("no group %s", name);
		return false;
	}
	w->group = g->gr_gid;
	w->has_group = true;
	return true;
}

/* Clients of the worker's own user must not read or change it by ptrace or /proc: what isolates them is in here.  And a
 * descriptor for each chunk of host memory of every client has to be had. */
static void harden(void)
{
	struct rlimit files;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		worker_log("clients of this user may trace the worker: %s", strerror(errno));
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_WANTED) {
		files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
		if (setrlimit(RLIMIT_NOFILE, &files))
			worker_log("only few files may be open: %s", strerror(errno));
	}
}

/* Kernels run that nothing ends. What would be released here waits for them, in the driver's own end of the process
 * too: the system takes it all. */
static _Noreturn void leave(struct worker *w)
{
	worker_log("ends with kernels that do not");
	remove_socket(w);
	guard_helper_stop(w->helper);
	_exit(1);
}

int worker_main(int argc, char **argv)
{
	struct worker *w = &the_worker;
	struct options o;
	char ptxas[4096];
	sigset_t set;

	if (!parse_options(argc, argv, &o))
		return usage();
	clock_gettime(CLOCK_MONOTONIC, &w->started);
	pthread_mutex_init(&w->lock, NULL);
	w->uid = geteuid();
	w->private_mode = o.private_mode;
	w->unguarded = o.unguarded;
	w->no_report = o.no_report;
	/* all kernels of a private worker are of one program */
	w->scrub = !o.no_scrub && !o.private_mode && !o.unguarded;
	w->meet = !o.private_mode && !o.no_meet;
	if (o.kernel_limit < 0)
		o.kernel_limit = o.private_mode ? 0 : KERNEL_LIMIT;
	if (quiet_open(w, (uint32_t)o.kernel_limit * 1000))
		return 1;
	w->max_memory = o.max_memory;
	/* Without a key whoever runs as this user could offer modules to other users' clients. */
	if (o.cache_key ? !cache_key(o.cache_key) : o.group && !cache_own_key()) {
		worker_log("no key for the module cache: %s has no 16 bytes", o.cache_key ? o.cache_key : "it");
		return 1;
	}
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0 || !find_group(w, o.group) || !open_socket(w, &o))
		return 1;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	const char *compiler = strcmp(o.device, "soft") ? find_ptxas(ptxas, sizeof ptxas) : NULL;
	w->has_ptxas = compiler != NULL;
	w->helper = guard_helper_start(compiler); /* before any thread, and before there is a context to inherit */
	harden();
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	int signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (!w->helper || signals < 0) {
		worker_log("cannot start the guard's helper process");
		remove_socket(w);
		return 1;
	}
	int status = driver_open(w, o.device) ? 1 : 0;
	if (!status) {
		if (w->unguarded)
			worker_log("WARNING: UNGUARDED: kernels are not fenced, any client can read, write and crash "
			           "everything; for demonstrations only");
		else if (!w->scrub && !w->private_mode)
			worker_log("WARNING: NO SCRUB: kernels can read what other clients' kernels left in shared "
			           "and local memory");
		services_open(w);
		if (!w->private_mode)
			worker_log("serving %s at %s", w->info.name, w->socket_path);
		status = main_loop(w, signals);
		end_sessions(w);
		if (session_count(w) || w->quiet.stuck)
			leave(w);
		services_close(w);
		driver_close(w);
	}
	remove_socket(w);
	guard_helper_stop(w->helper);
	return status;
}

/* --- the other commands -------------------------------------------------------------------------------------- */

/* For programs linked with the shared libraries: ours come first. */
static int run_main(int argc, char **argv)
{
	char exe[4096], dir[8192];
	int at = argc > 1 && !strcmp(argv[1], "--") ? 2 : 1;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

	if (at >= argc)
		return usage();
	if (n <= 0)
		return 1;
	exe[n] = 0;
	const char *old = getenv("LD_LIBRARY_PATH");
	*strrchr(exe, '/') = 0;
	snprintf(dir, sizeof dir, "%s/../lib%s%s", exe, old && *old ? ":" : "", old ? old : "");
	setenv("LD_LIBRARY_PATH", dir, 1);
	execvp(argv[at], argv + at);
	fprintf(stderr, "agileos: %s: %s\n", argv[at], strerror(errno));
	return 127;
}

static int version_main(void)
{
	printf("agileos %s, wire %u, guard %u\n", AG_VERSION, AG_WIRE_VERSION, GUARD_VERSION);
	return 0;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	if (guard_is_zygote(argc, argv))
		return guard_zygote_main(argc, argv);
	if (!strcmp(command, "worker"))
		return worker_main(argc - 1, argv + 1);
	if (!strcmp(command, "status"))
		return status_main(argc - 1, argv + 1);
	if (!strcmp(command, "run"))
		return run_main(argc - 1, argv + 1);
	if (!strcmp(command, "guard"))
		return guard_cli(argc - 1, argv + 1);
	if (!strcmp(command, "version") || !strcmp(command, "--version"))
		return version_main();
	return usage();
}
