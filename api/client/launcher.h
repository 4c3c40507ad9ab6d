/* launcher.h - finding the worker's socket, or starting a private worker. */
#ifndef AGC_LAUNCHER_H
#define AGC_LAUNCHER_H
#include <stddef.h>

/* A connected socket (owned by the caller), or -1 with the reason in why. */
int agc_worker_socket(char *why, size_t size);

#endif
