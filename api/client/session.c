/* session.c - the process's session with a worker: finding or starting one, the handshake with the window's mirror,
 * the end.
 *
 * There is one session per process, in agc_s.  It begins with cuInit (agc_connect), and ends when either side's
 * socket closes; an ended session stays ended, every call then returns its error.  A forked child of a process with a
 * session gets CUDA_ERROR_NOT_INITIALIZED, as with NVIDIA's driver; the child of a process that never initialised
 * starts afresh.
 */
#include "internal.h"
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define HANDSHAKE_MS 120000          /* the worker may be creating a context */
#define OFFERS 8

struct agc_session agc_s = { .fd = -1 };
static pthread_mutex_t connecting = PTHREAD_MUTEX_INITIALIZER;
static CUresult refused;             /* why the last attempt failed; attempts are repeated only for want of a worker */

/* --- state -------------------------------------------------------------------------------------------------------- */

CUresult agc_error(void)
{
	switch (atomic_load(&agc_s.state)) {
	case AGC_LIVE:
		return agc_t.in_callback ? CUDA_ERROR_NOT_PERMITTED : CUDA_ERROR_INVALID_VALUE;
	case AGC_DEAD:
		return (CUresult)atomic_load(&agc_s.error);
	default:
		return CUDA_ERROR_NOT_INITIALIZED;
	}
}

CUresult agc_ready_slow(void)
{
	return atomic_load(&agc_s.state) == AGC_LIVE ? CUDA_SUCCESS : agc_error();
}

CUresult agc_current(void)
{
	CUresult r = agc_ready();
	if (r)
		return r;
	if (!agc_t.ctx)
		return agc_t.in_callback ? CUDA_ERROR_NOT_PERMITTED : CUDA_ERROR_INVALID_CONTEXT;
	if (!agc_t.ctx->live)
		return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	return *agc_s.fault_word || atomic_load_explicit(&agc_s.sticky, memory_order_relaxed) ? agc_fault_status()
											      : CUDA_SUCCESS;
}

void agc_session_end(CUresult why, const char *text)
{
	uint32_t live = AGC_LIVE;
	atomic_store(&agc_s.error, (uint32_t)why);
	if (atomic_compare_exchange_strong(&agc_s.state, &live, AGC_DEAD))
		agc_log("%s; every CUDA call of this process fails from now on", text);
}

static void look(void)
{
	uint32_t ended = atomic_load(&agc_s.shm->ended);
	struct pollfd p = { agc_s.fd, POLLRDHUP, 0 };
	if (ended)
		agc_session_end((CUresult)ended, "the worker ended this session");
	else if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)))
		agc_session_end(CUDA_ERROR_SYSTEM_NOT_READY, "the worker is gone");
}

bool agc_alive(unsigned ms)
{
	uint64_t now = agc_ticks(), last = atomic_load_explicit(&agc_s.last_poll, memory_order_relaxed);
	if (atomic_load_explicit(&agc_s.shm->ended, memory_order_relaxed) == 0 && now - last < ms * 1000000ull)
		return true;
	atomic_store_explicit(&agc_s.last_poll, now, memory_order_relaxed);
	look();
	return atomic_load(&agc_s.state) == AGC_LIVE;
}

const struct ag_shm *agc_shm(void) { return agc_s.shm; }
uint64_t agc_window_base(void) { return agc_s.base; }

bool agc_in_window(const void *p, size_t bytes)
{
	uint64_t off = (uint64_t)(uintptr_t)p - agc_s.base;
	return agc_s.base && off < AG_WINDOW_BYTES && bytes <= AG_WINDOW_BYTES - off;
}

bool agc_is_host(const void *p)
{
	uint32_t n = atomic_load_explicit(&agc_s.nhost, memory_order_acquire);
	for (uint32_t i = 0; i < n; i++)
		if ((uint64_t)(uintptr_t)p - agc_s.host[i].addr < agc_s.host[i].bytes)
			return true;
	return false;
}

/* --- descriptors over the socket ---------------------------------------------------------------------------------- */

static void close_fds(int *fd, int n)
{
	for (int i = 0; i < n; i++)
		close(fd[i]);
}

/* One datagram and up to max descriptors.  Its size, 0 at the end, -1 on error or after ms. */
static ssize_t receive(int sock, void *buf, size_t bytes, int *fd, int *nfd, int max, int ms)
{
	struct pollfd p = { sock, POLLIN, 0 };
	int ready;
	while ((ready = poll(&p, 1, ms)) < 0 && errno == EINTR)
		;
	if (ready <= 0)
		return -1;
	union { struct cmsghdr h; char room[CMSG_SPACE(4 * sizeof(int))]; } c;
	struct iovec v = { buf, bytes };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c };
	ssize_t n;
	while ((n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	*nfd = 0;
	if (n <= 0)
		return n;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		int got[4], k = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		k = k < 4 ? k : 4;
		memcpy(got, CMSG_DATA(h), (size_t)k * sizeof(int));
		for (int i = 0; i < k; i++) {
			if (*nfd < max)
				fd[(*nfd)++] = got[i];
			else
				close(got[i]);
		}
	}
	return n;
}

static bool map_host(int fd, uint64_t addr, uint64_t bytes)
{
	uint32_t n = atomic_load(&agc_s.nhost);
	uint64_t off = addr - agc_s.base;
	if (n == AGC_HOST_CHUNKS || off >= AG_WINDOW_BYTES || bytes > AG_WINDOW_BYTES - off || bytes == 0)
		return false;
	if (mmap((void *)addr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return false;
	agc_s.host[n] = (struct ag_extent){ addr, bytes };
	atomic_store_explicit(&agc_s.nhost, n + 1, memory_order_release);
	return true;
}

bool agc_take_hostfd(uint64_t addr, uint64_t bytes)
{
	struct ag_hostfd msg;
	int fd[1], nfd = 0;
	ssize_t n = receive(agc_s.fd, &msg, sizeof msg, fd, &nfd, 1, 5000);
	bool ok = n == (ssize_t)sizeof msg && nfd == 1 && msg.host.addr == addr && msg.host.bytes == bytes &&
		  map_host(fd[0], addr, bytes);
	if (n > 0)
		close_fds(fd, nfd);
	return ok;
}

/* --- handshake ---------------------------------------------------------------------------------------------------- */

/* Reserves the window's addresses and maps its first host memory. */
static bool mirror(const struct ag_welcome *w, int host_fd)
{
	void *want = (void *)(uintptr_t)w->window_base;
	void *got = mmap(want, w->window_bytes, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (got != want) {
		if (got != MAP_FAILED)
			munmap(got, w->window_bytes);
		return false;
	}
	agc_s.base = w->window_base;
	atomic_store(&agc_s.nhost, 0);
	if (map_host(host_fd, w->host.addr, w->host.bytes))
		return true;
	munmap(want, w->window_bytes);
	agc_s.base = 0;
	return false;
}

static bool map_shm(const struct ag_welcome *w, int fd)
{
	struct ag_shm *shm = mmap(NULL, w->shm_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shm == MAP_FAILED)
		return false;
	if (shm->magic != AG_WIRE_MAGIC || shm->version != AG_WIRE_VERSION || shm->ring_bytes != AG_RING_BYTES ||
	    shm->slots != AG_SLOTS || shm->reply_bytes != AG_REPLY_BYTES || shm->total_bytes != w->shm_bytes) {
		munmap(shm, w->shm_bytes);
		return false;
	}
	agc_s.shm = shm;
	agc_s.ring = (uint8_t *)shm + shm->ring_off;
	agc_s.replies = (uint8_t *)shm + shm->reply_off;
	return true;
}

static CUresult fail(const char *what)
{
	agc_log("no session: %s", what);
	return CUDA_ERROR_NO_DEVICE;
}

/* One offer of the worker, taken or not.  CUDA_SUCCESS with *mapped: the session stands. */
static CUresult one_offer(int sock, bool *mapped)
{
	struct ag_welcome w;
	int fd[2] = { -1, -1 }, nfd = 0;
	memset(&w, 0, sizeof w);
	ssize_t n = receive(sock, &w, sizeof w, fd, &nfd, 2, HANDSHAKE_MS);
	if (n <= 0)
		return fail("the worker closed the connection");
	w.why[sizeof w.why - 1] = 0;
	if (n == (ssize_t)sizeof w && w.magic == AG_WIRE_MAGIC && w.status) {
		close_fds(fd, nfd);
		agc_log("no session: %s", w.why[0] ? w.why : "the worker refused");
		return (CUresult)w.status;
	}
	if (n != (ssize_t)sizeof w || w.magic != AG_WIRE_MAGIC || w.version != AG_WIRE_VERSION || nfd != 2 ||
	    w.window_bytes != AG_WINDOW_BYTES) {
		close_fds(fd, nfd);
		return fail("the worker speaks another version");
	}
	struct ag_mapped answer = { mirror(&w, fd[1]) };
	CUresult r = answer.ok && !map_shm(&w, fd[0]) ? fail("cannot map the shared segment") : CUDA_SUCCESS;
	close_fds(fd, nfd);
	if (r == CUDA_SUCCESS && send(sock, &answer, sizeof answer, MSG_NOSIGNAL) != (ssize_t)sizeof answer)
		r = fail("the worker closed the connection");
	*mapped = answer.ok;
	return r;
}

static CUresult handshake(int sock)
{
	struct ag_hello hello = { AG_WIRE_MAGIC, AG_WIRE_VERSION, (uint32_t)getpid(), 0, "" };
	snprintf(hello.program, sizeof hello.program, "%s", program_invocation_short_name);
	if (send(sock, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello)
		return fail("the worker closed the connection");
	for (int i = 0; i < OFFERS; i++) {
		bool mapped = false;
		CUresult r = one_offer(sock, &mapped);
		if (r || mapped)
			return r;
	}
	return fail("no window's addresses are free in this process");
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void forked(void)
{
	uint32_t state = atomic_load(&agc_s.state);
	pthread_mutex_init(&connecting, NULL);
	if (state != AGC_LIVE && state != AGC_DEAD)
		return;
	atomic_store(&agc_s.state, AGC_FORKED);
	if (agc_s.fd >= 0)
		close(agc_s.fd);         /* else the worker would not see the parent's end */
	agc_s.fd = -1;
}

static CUresult set_up(int sock)
{
	agc_s.fd = sock;
	agc_s.fault_word = (volatile uint32_t *)(agc_s.host[0].addr + AG_HOST_FAULT_OFF);
	agc_ring_reset();
	atomic_store(&agc_s.sticky, 0);
	if (agc_s.shm->ndevices == 0)
		return fail("the worker has no device");
	atomic_store_explicit(&agc_s.state, AGC_LIVE, memory_order_release);
	if (agc_memory_setup() && agc_printf_setup() && agc_streams_setup())
		return CUDA_SUCCESS;
	atomic_store(&agc_s.state, AGC_NEW);
	agc_log("no session: out of memory");
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult connect_locked(void)
{
	static bool watching_forks;
	char why[256];
	int sock = agc_worker_socket(why, sizeof why);
	if (sock < 0)
		return fail(why);
	if (!watching_forks)
		watching_forks = pthread_atfork(NULL, NULL, forked) == 0;
	CUresult r = handshake(sock);
	if (r == CUDA_SUCCESS)
		r = set_up(sock);
	if (r)
		close(sock);
	return r;
}

CUresult agc_connect(void)
{
	uint32_t state = atomic_load_explicit(&agc_s.state, memory_order_acquire);
	if (state == AGC_LIVE)
		return CUDA_SUCCESS;
	if (state != AGC_NEW)
		return agc_error();
	pthread_mutex_lock(&connecting);
	if (atomic_load(&agc_s.state) == AGC_NEW && !refused)
		refused = connect_locked();
	pthread_mutex_unlock(&connecting);
	return refused ? refused : agc_ready();
}
