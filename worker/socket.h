/* socket.h - where the worker's socket is, who may connect, and connecting to it. Used by the worker and by `agileos
 * status`. */
#ifndef AG_WORKER_SOCKET_H
#define AG_WORKER_SOCKET_H
#include <stdbool.h>
#include <sys/types.h>

/* The default daemon's path: $XDG_RUNTIME_DIR/agileos/worker.sock, or /run/agileos/worker.sock for root. false: neither
 * exists. */
bool socket_default(char path[108]);
/* named, else $AGILEOS_SOCKET, else the default daemon's (the system's when the user's is not there). */
bool socket_find(const char *named, char path[108]);
int socket_connect(const char *path); /* -1 with errno */
/* A listening socket at path, mode 0600, or 0660 with that group. Replaces a stale one; -1 with a log line when a
 * worker is serving there. */
int socket_listen(const char *path, const gid_t *group);
#endif
