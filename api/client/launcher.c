/* launcher.c - where the worker is: $AGILEOS_SOCKET, the user's daemon, the system's daemon, else a private worker
 * started here.
 *
 * A private worker listens on a socket in a fresh directory (mode 0700), gets the listening descriptor from us and
 * removes the directory when its last client is gone.  $AGILEOS_SOCKET is set to it, so that child processes join;
 * AGILEOS_SOCKET_PRIVATE marks that path as one that may be gone by the time a child looks, in which case the child
 * starts its own. The worker is started by way of an intermediate process without exit signal, so that the program
 * sees neither a child to wait for nor a SIGCHLD, and in a session of its own, so that a terminal's signals do not
 * reach it.
 */
#include "launcher.h"
#include "prefix.h"
#include "client.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRIVATE_ENV "AGILEOS_SOCKET_PRIVATE"
#define BINARY_ENV  "AGILEOS_BIN"
#define SYSTEM_SOCKET "/run/agileos/worker.sock"
#define LISTEN_FD 3

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof a.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(a.sun_path, path);
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -1;
	int r;
	while ((r = connect(s, (struct sockaddr *)&a, sizeof a)) < 0 && errno == EINTR)
		;
	if (r == 0)
		return s;
	int e = errno;
	close(s);
	errno = e;
	return -1;
}

/* --- the worker's binary ------------------------------------------------------------------------------------------ */

static bool runnable(char *path, const char *dir, size_t dir_len, const char *rest)
{
	if (dir_len + strlen(rest) + 1 > PATH_MAX)
		return false;
	memmove(path, dir, dir_len);
	strcpy(path + dir_len, rest);
	return access(path, X_OK) == 0;
}

static bool beside(char *path, const char *file, const char *rest)
{
	const char *slash = strrchr(file, '/');
	return slash && runnable(path, file, (size_t)(slash - file), rest);
}

static bool in_path(char *path)
{
	const char *p = getenv("PATH");
	while (p && *p) {
		size_t n = strcspn(p, ":");
		if (n && runnable(path, p, n, "/agileos"))
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

static bool find_binary(char path[PATH_MAX])
{
	const char *env = getenv(BINARY_ENV);
	if (env && *env)
		return runnable(path, env, strlen(env), "");
	Dl_info info;
	char exe[PATH_MAX];
	if (dladdr((const void *)&agc_own_table, &info) && info.dli_fname && strstr(info.dli_fname, ".so") &&
	    beside(path, info.dli_fname, "/../bin/agileos"))
		return true;
	if (runnable(path, AG_BUILD_PREFIX, strlen(AG_BUILD_PREFIX), "/bin/agileos"))
		return true;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (n > 0) {
		exe[n] = 0;
		if (beside(path, exe, "/agileos"))
			return true;
	}
	return in_path(path);
}

/* --- a private worker --------------------------------------------------------------------------------------------- */

static void close_from(unsigned first)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
#endif
	for (int fd = (int)first; fd < 4096; fd++)
		close(fd);
}

/* In the grandchild: nothing but system calls. */
static void become_worker(const char *binary, char *const *argv, int listener)
{
	setsid();
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
	}
	if (listener == LISTEN_FD)
		fcntl(LISTEN_FD, F_SETFD, 0);
	else
		dup2(listener, LISTEN_FD);
	close_from(LISTEN_FD + 1);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(binary, argv);
	_exit(127);
}

static bool spawn(const char *binary, int listener)
{
	char fd_text[16], *argv[] = { "agileos", "worker", "--private", "--listen-fd", fd_text, NULL };
	snprintf(fd_text, sizeof fd_text, "%d", LISTEN_FD);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	long middle = syscall(SYS_clone, 0, NULL, NULL, NULL, 0);     /* as fork, but no signal at its end */
	if (middle == 0) {
		long worker = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
		if (worker == 0)
			become_worker(binary, argv, listener);
		_exit(worker < 0);
	}
	int status = 1;
	if (middle > 0)
		while (waitpid((pid_t)middle, &status, __WCLONE) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return middle > 0 && status == 0;
}

static bool make_directory(char dir[PATH_MAX])
{
	const char *roots[] = { getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp" };
	for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
		/* A socket's path has 108 bytes. */
		if (!roots[i] || !*roots[i] || strlen(roots[i]) > 70)
			continue;
		snprintf(dir, PATH_MAX, "%s/agileos-XXXXXX", roots[i]);
		if (mkdtemp(dir))
			return true;
	}
	return false;
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof a.sun_path)
		return -1;
	strcpy(a.sun_path, path);
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s >= 0 && bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 64) == 0)
		return s;
	if (s >= 0)
		close(s);
	return -1;
}

static int start_private(char *why, size_t size)
{
	char binary[PATH_MAX], dir[PATH_MAX], path[PATH_MAX + 16];
	if (!find_binary(binary)) {
		snprintf(why, size,
			 "no worker is running, and its binary `agileos` is not found (set $" BINARY_ENV ")");
		return -1;
	}
	if (!make_directory(dir)) {
		snprintf(why, size, "cannot make a directory for the worker's socket: %s", strerror(errno));
		return -1;
	}
	snprintf(path, sizeof path, "%s/worker.sock", dir);
	int listener = listen_at(path), sock = -1;
	if (listener >= 0 && spawn(binary, listener))
		sock = connect_to(path);
	if (listener >= 0)
		close(listener);
	if (sock < 0) {
		snprintf(why, size, "cannot start a worker (%s): %s", binary, strerror(errno));
		unlink(path);
		rmdir(dir);
		return -1;
	}
	setenv(AG_SOCKET_ENV, path, 1);
	setenv(PRIVATE_ENV, path, 1);
	return sock;
}

int agc_worker_socket(char *why, size_t size)
{
	const char *named = getenv(AG_SOCKET_ENV), *private = getenv(PRIVATE_ENV), *run = getenv("XDG_RUNTIME_DIR");
	char user[PATH_MAX];
	if (named && *named) {
		int s = connect_to(named);
		if (s >= 0)
			return s;
		if (!private || strcmp(named, private) != 0) {
			snprintf(why, size, "cannot connect to %s: %s", named, strerror(errno));
			return -1;
		}
		return start_private(why, size);
	}
	if (run && *run) {
		snprintf(user, sizeof user, "%s/agileos/worker.sock", run);
		int s = connect_to(user);
		if (s >= 0)
			return s;
	}
	int s = connect_to(SYSTEM_SOCKET);
	return s >= 0 ? s : start_private(why, size);
}
