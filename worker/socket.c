/* socket.c - the Unix socket of the worker: its place, its mode, its listener. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "session.h"
#include "socket.h"

#define SYSTEM_SOCKET "/run/agileos/worker.sock"

static bool user_socket(char path[108])
{
	const char *run = getenv("XDG_RUNTIME_DIR");

	return run && *run && snprintf(path, 108, "%s/agileos/worker.sock", run) < 108;
}

bool socket_default(char path[108])
{
	if (user_socket(path))
		return true;
	if (geteuid() != 0)
		return false;
	strcpy(path, SYSTEM_SOCKET);
	return true;
}

bool socket_find(const char *named, char path[108])
{
	const char *env = getenv(AG_SOCKET_ENV);

	if (!named && env && *env)
		named = env;
	if (named)
		return snprintf(path, 108, "%s", named) < 108;
	if (user_socket(path) && access(path, F_OK) == 0)
		return true;
	strcpy(path, SYSTEM_SOCKET);
	return true;
}

static bool address(struct sockaddr_un *a, const char *path)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	return snprintf(a->sun_path, sizeof a->sun_path, "%s", path) < (int)sizeof a->sun_path;
}

int socket_connect(const char *path)
{
	struct sockaddr_un a;
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (s < 0)
		return -1;
	if (!address(&a, path) || connect(s, (struct sockaddr *)&a, sizeof a)) {
		int e = errno;
		close(s);
		errno = e;
		return -1;
	}
	return s;
}

/* The directory of the socket, only for us unless a group shares it. */
static bool make_directory(const char *path, bool shared)
{
	char dir[108];
	char *slash = strrchr(strcpy(dir, path), '/');

	if (!slash || slash == dir)
		return true;
	*slash = 0;
	return mkdir(dir, shared ? 0755 : 0700) == 0 || errno == EEXIST;
}

int socket_listen(const char *path, const gid_t *group)
{
	struct sockaddr_un a;
	int probe = socket_connect(path);

	if (probe >= 0) {
		close(probe);
		worker_log("a worker is already serving at %s", path);
		return -1;
	}
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s < 0 || !address(&a, path) || !make_directory(path, group)) {
		worker_log("cannot make the socket %s: %s", path, strerror(errno));
		return -1;
	}
	unlink(path);
	mode_t old = umask(0177);
	int r = bind(s, (struct sockaddr *)&a, sizeof a);
	umask(old);
	if (!r && group)
		r = chown(path, (uid_t)-1, *group) || chmod(path, 0660);
	if (!r)
		r = listen(s, 64);
	if (!r)
		return s;
	worker_log("cannot listen at %s: %s", path, strerror(errno));
	close(s);
	return -1;
}
