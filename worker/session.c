/* session.c - the life of a session, on its own thread: peer check, handshake, service, teardown.
 *
 * Everything a session owns is released in session_teardown() in one fixed order, whatever ended it: the client's exit,
 * its death in the middle of a message, a malformed message, the worker's own end.  Nothing here waits for a client
 * longer than HELLO_MS, and nothing of another session is touched.  Work that does not end when told to (DRAIN_MS)
 * keeps its window: its address range is lost, never reused under a running kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include "limits.h"
#include "msg.h"

#define HELLO_MS 10000
#define END_MS 10000 /* for the session's work to end, once its kernels are told to */
#define OFFERS 8     /* windows offered to one client */
#define LOG_LINES 1000

void session_log(const struct session *s, const char *fmt, ...)
{
	char line[600];
	va_list ap;
	unsigned n = atomic_fetch_add_explicit(&((struct session *)s)->logged, 1, memory_order_relaxed);

	unsigned lost;

	/* A client must not fill the log, nor make its readers slow; and it may come back as another session. */
	if (n >= LOG_LINES || !log_allowed(s->uid, &lost))
		return;
	if (lost)
		worker_log("user %d: %u lines of clients were not logged", (int)s->uid, lost);
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n + 1 == LOG_LINES)
		snprintf(line, sizeof line, "too many lines of this client; no more are logged");
	worker_log("client %u (%s, pid %d): %s", s->number, s->program, (int)s->pid, line);
}

void session_ended(struct session *s, CUresult why)
{
	if (!s->shm)
		return;
	uint32_t alive = 0;
	atomic_compare_exchange_strong(&s->shm->ended, &alive, (uint32_t)why);
	syscall(SYS_futex, &s->shm->ended, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	for (unsigned i = 0; i < AG_SLOTS; i++)
		syscall(SYS_futex, &s->shm->slot[i].done, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* --- who may come in ---------------------------------------------------------------------------- */

static bool in_group(int sock, const struct ucred *c, gid_t group)
{
	gid_t list[256];
	socklen_t n = sizeof list;

	if (c->gid == group)
		return true;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, list, &n))
		return false;
	for (size_t i = 0; i < n / sizeof *list; i++)
		if (list[i] == group)
			return true;
	return false;
}

static bool peer_allowed(const struct worker *w, int sock, struct ucred *c)
{
	socklen_t n = sizeof *c;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, c, &n) || n != sizeof *c)
		return false;
	return c->uid == w->uid || (w->has_group && in_group(sock, c, w->group));
}

static void welcome_header(struct ag_welcome *m)
{
	memset(m, 0, sizeof *m);
	m->magic = AG_WIRE_MAGIC;
	m->version = AG_WIRE_VERSION;
}

static void refuse(int sock, CUresult status, const char *why)
{
	struct ag_welcome m;

	welcome_header(&m);
	m.status = status;
	snprintf(m.why, sizeof m.why, "%s", why);
	if (send(sock, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		worker_log("refused a client: %s", why);
}

static bool receive_hello(struct session *s, struct ag_hello *h)
{
	struct timeval t = { HELLO_MS / 1000, 0 };

	setsockopt(s->sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (recv(s->sock, h, sizeof *h, 0) != (ssize_t)sizeof *h || h->magic != AG_WIRE_MAGIC)
		return false;
	size_t i = 0;
	for (; i + 1 < sizeof s->program && h->program[i]; i++)
		s->program[i] = h->program[i] > ' ' && h->program[i] < 127 ? h->program[i] : '?';
	s->program[i] = 0;
	return true;
}

/* --- the window and the segment --------------------------------------------------------------------- */

static int take_window_number(struct worker *w, uint64_t tried)
{
	int k = -1;

	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < AG_WINDOW_COUNT && k < 0; i++)
		if (!(w->windows >> i & 1) && !(tried >> i & 1))
			k = (int)i;
	if (k >= 0)
		w->windows |= 1ull << k;
	pthread_mutex_unlock(&w->lock);
	return k;
}

/* Another session may have the number, and its kill word, from now on. */
static void return_window_number(struct session *s, unsigned k)
{
	pthread_mutex_lock(&s->w->lock);
	s->kill = 0;
	s->w->windows &= ~(1ull << k);
	pthread_mutex_unlock(&s->w->lock);
}

static bool make_segment(struct session *s)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t ring_off = (sizeof(struct ag_shm) + page - 1) / page * page, reply_off = ring_off + AG_RING_BYTES;

	s->shm_bytes = reply_off + (size_t)AG_SLOTS * AG_REPLY_BYTES;
	s->shm_fd = memfd_create("agileos-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (s->shm_fd < 0 || ftruncate(s->shm_fd, (off_t)s->shm_bytes) ||
	    fcntl(s->shm_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return false;
	void *at = mmap(NULL, s->shm_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->shm_fd, 0);
	s->ring.msg = malloc(AG_MSG_MAX);
	if (at == MAP_FAILED || !s->ring.msg)
		return false;
	struct ag_shm *m = s->shm = at;
	m->magic = AG_WIRE_MAGIC;
	m->version = AG_WIRE_VERSION;
	m->ring_bytes = AG_RING_BYTES;
	m->slots = AG_SLOTS;
	m->reply_bytes = AG_REPLY_BYTES;
	m->session = s->number;
	m->ndevices = 1;
	m->driver_version = (uint32_t)s->w->driver_version;
	m->ring_off = ring_off;
	m->reply_off = reply_off;
	m->total_bytes = s->shm_bytes;
	m->device[0] = s->w->info;
	s->replies = (uint8_t *)at + reply_off;
	s->ring.shm = m;
	s->ring.base = (uint8_t *)at + ring_off;
	s->ring.bytes = AG_RING_BYTES;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	s->ring.spin_ns = 20000;
	s->ring.spin_max = cores >= 8 ? 1000000 : cores > 2 ? 50000 : 10000;
	return true;
}

static bool send_welcome(struct session *s, int host_fd)
{
	struct ag_welcome m;
	int fds[2] = { s->shm_fd, host_fd };
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof fds)];
	} control;
	struct iovec iov = { &m, sizeof m };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room
	};

	welcome_header(&m);
	m.session = s->number;
	m.window_base = window_base(s->win);
	m.window_bytes = AG_WINDOW_BYTES;
	m.host.bytes = window_stats(s->win).host_bytes;
	m.host.addr = m.window_base + AG_EXTENT_MIN - m.host.bytes;
	m.shm_bytes = s->shm_bytes;
	s->host = m.host.addr;
	memset(&control, 0, sizeof control);
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(c), fds, sizeof fds);
	return sendmsg(s->sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof m;
}

/* Offers windows until the client could map one. */
static bool agree_on_window(struct session *s)
{
	uint64_t tried = 0;

	for (int offer = 0; offer < OFFERS; offer++) {
		int k = take_window_number(s->w, tried), fd = -1;
		if (k < 0) {
			refuse(s->sock, CUDA_ERROR_OUT_OF_MEMORY, "too many clients");
			return false;
		}
		tried |= 1ull << k;
		int r = window_open(s->d, (unsigned)k, &s->win, &fd);
		if (r) {
			s->win = NULL;
			return_window_number(s, (unsigned)k);
			if (r == CUDA_ERROR_OUT_OF_MEMORY && offer + 1 < OFFERS)
				continue;
			session_log(s, "no window: error %d", r);
			refuse(s->sock, r, "the worker could not make a window");
			return false;
		}
		s->k = (unsigned)k;
		struct ag_mapped answer = { 0 };
		if (!send_welcome(s, fd) || recv(s->sock, &answer, sizeof answer, 0) != (ssize_t)sizeof answer)
			return false;
		if (answer.ok)
			return true;
		window_close(s->win);
		s->win = NULL;
		return_window_number(s, (unsigned)k);
	}
	refuse(s->sock, CUDA_ERROR_OUT_OF_MEMORY, "no address range suits this client");
	return false;
}

/* --- serving -------------------------------------------------------------------------------------------- */

static void serve(struct session *s)
{
	const char *why = NULL;

	while (!s->hangup) {
		int dead = s->w->dead;
		if (dead) {
			session_ended(s, (CUresult)dead);
			return;
		}
		switch (ring_next(&s->ring, &why)) {
		case RING_MESSAGE:
			if (!serve_message(s, s->ring.msg))
				return;
			break;
		case RING_BAD:
			session_log(s, "malformed message: %s; the session ends", why);
			session_ended(s, CUDA_ERROR_UNKNOWN);
			return;
		case RING_EMPTY:
			if (!ring_wait(&s->ring, 200, &s->hangup)) {
				fault_poll(s);
				arrays_sweep(s);
			}
		}
	}
}

/* --- the end -------------------------------------------------------------------------------------------- */

/* Destroys what generated handlers put into the tables: first what uses other things. */
static void destroy_objects(struct session *s)
{
	const struct ag_driver *d = s->d;
	static const enum ag_kind order[] = { AG_K_GRAPHEXEC, AG_K_GRAPH, AG_K_TEXTURE, AG_K_SURFACE, AG_K_MIPMAP,
		                              AG_K_ARRAY,     AG_K_LINK,  AG_K_MEMPOOL, AG_K_EVENT };

	for (size_t o = 0; o < sizeof order / sizeof *order; o++) {
		struct table *t = &s->table[order[o]];
		for (uint32_t i = 0; i < t->n; i++) {
			void *real = t->v[i].live ? t->v[i].real : NULL;
			if (!real)
				continue;
			switch (order[o]) {
			case AG_K_GRAPHEXEC: d->cuGraphExecDestroy(real); break;
			case AG_K_GRAPH: d->cuGraphDestroy(real); break;
			case AG_K_TEXTURE: d->cuTexObjectDestroy((CUtexObject)(uintptr_t)real); break;
			case AG_K_SURFACE: d->cuSurfObjectDestroy((CUsurfObject)(uintptr_t)real); break;
			case AG_K_MIPMAP: d->cuMipmappedArrayDestroy(real); break;
			case AG_K_ARRAY: d->cuArrayDestroy(real); break;
			case AG_K_LINK: d->cuLinkDestroy(real); break;
			case AG_K_MEMPOOL: d->cuMemPoolDestroy(real); break;
			default: event_free(s, t->v[i].obj);
			}
		}
	}
}

void session_kill(struct session *s)
{
	if (s->kill)
		__atomic_store_n((uint32_t *)(uintptr_t)s->kill, 1, __ATOMIC_SEQ_CST);
}

/* Its own thread finds `overdue` (fault.c); its client, which may only wait for the GPU, the fault word. */
void session_overdue(struct session *s)
{
	s->overdue = true;
	__atomic_store_n((uint32_t *)(uintptr_t)(s->host + AG_HOST_FAULT_OFF), 1, __ATOMIC_RELEASE);
	session_kill(s);
}

/* In a quiet moment, with no work of its own left. */
static void release(struct session *s)
{
	if (s->records) {
		services_detach(s);
		graph_abandon_all(s); /* a capture may go on into a graph of the program's */
		destroy_objects(s);
		modules_free(s);
		quiet_part(s, false);
		streams_close(s);
		depth_close(s);
	}
	for (unsigned k = 0; k < AG_K_COUNT; k++)
		table_clear(&s->table[k]);
	arrays_sweep(s);
	window_close(s->win);
	quiet_leave(s);
	return_window_number(s, s->k);
}

void session_teardown(struct session *s)
{
	session_ended(s, CUDA_ERROR_CONTEXT_IS_DESTROYED);
	bool idle = true;
	if (s->win && s->records) {
		if (!streams_drain(s, 0)) {
			session_kill(s);
			idle = streams_drain(s, END_MS);
		}
		fault_poll(s);
		defer_drop_all(s);
	}
	if (!idle)
		session_log(s, "its work does not end; its window stays closed off");
	if (idle && s->win)
		window_empty(s->win); /* others need the memory, and what follows waits for everyone's kernels */
	if (idle && s->win && quiet_enter(s, true) == CUDA_SUCCESS)
		release(s);
	else
		quiet_part(s, !idle);
	s->win = NULL;
}

static void list_add(struct session *s)
{
	struct worker *w = s->w;

	pthread_mutex_lock(&w->lock);
	s->number = ++w->next_number;
	s->next = w->sessions;
	w->sessions = s;
	w->nsessions++;
	pthread_mutex_unlock(&w->lock);
}

static void list_remove(struct session *s)
{
	struct worker *w = s->w;

	pthread_mutex_lock(&w->lock);
	s->serving = false;
	for (struct session **p = &w->sessions; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			w->nsessions--;
			break;
		}
	}
	w->ended_sessions++;
	w->total_launches += s->launches;
	w->total_faults += s->faults;
	pthread_mutex_unlock(&w->lock);
	if (eventfd_write(w->wake_fd, 1))
		worker_log("cannot wake the main thread");
}

/* A zero where its kernels look, on the device. */
static CUresult kill_word(struct session *s)
{
	const CUmemLocation device = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = s->w->dev };
	CUdeviceptr at = s->w->kill + (CUdeviceptr)s->k * KILL_STRIDE;

	__atomic_store_n((uint32_t *)(uintptr_t)at, 0, __ATOMIC_SEQ_CST);
	s->kill = at;
	return s->w->kill_managed ? s->d->cuMemPrefetchAsync_v2(at, KILL_STRIDE, device, 0, s->w->control)
	                          : CUDA_SUCCESS;
}

/* Everything the session needs besides its window. */
static bool prepare(struct session *s)
{
	s->records = (struct guard_records *)(s->w->records + (size_t)s->k * RECORDS_STRIDE);
	memset(s->records, 0, sizeof *s->records);
	CUresult r = kill_word(s);
	if (!r)
		r = textures_attach(s); /* waits for the word too */
	if (!r)
		r = streams_open(s);
	if (!r)
		quiet_join(s);
	if (r) {
		session_log(s, "cannot start: error %d", (int)r);
		session_ended(s, r);
		return false;
	}
	s->state = AG_S_READY;
	struct window_stats st = window_stats(s->win);
	s->device_bytes = st.device_bytes;
	s->host_bytes = st.host_bytes;
	services_attach(s);
	return true;
}

/* Ends only this session's wait: its kernels look at the word, and nothing that was held back is submitted. */
bool session_recover(struct session *s)
{
	graph_abandon_all(s);
	defer_drop_all(s);
	if (!streams_drain(s, 0)) {
		session_kill(s);
		if (!streams_drain(s, END_MS))
			return false;
	}
	quiet_streams_lock(s);
	s->overdue = false;
	CUresult r = kill_word(s);
	quiet_streams_unlock(s);
	return r == CUDA_SUCCESS;
}

static void watch(struct session *s)
{
	pthread_mutex_lock(&s->w->lock);
	s->serving = s->polled = true;
	pthread_mutex_unlock(&s->w->lock);
	if (eventfd_write(s->w->wake_fd, 1))
		worker_log("cannot wake the main thread");
}

static void live(struct session *s)
{
	struct worker *w = s->w;
	struct ag_hello h;
	struct ucred c;

	if (!peer_allowed(w, s->sock, &c)) {
		worker_log("refused pid %d: uid %d may not use this worker", (int)c.pid, (int)c.uid);
		refuse(s->sock, CUDA_ERROR_NOT_PERMITTED, "this user may not use the worker");
		return;
	}
	s->pid = c.pid;
	s->uid = c.uid;
	if (!receive_hello(s, &h))
		return;
	if (h.version != AG_WIRE_VERSION) {
		refuse(s->sock, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "client and worker are of different versions");
		return;
	}
	if (h.flags & AG_HELLO_STATUS) {
		status_send(w, s->sock);
		return;
	}
	if (w->dead || w->stopping) {
		refuse(s->sock, w->dead ? (CUresult)w->dead : CUDA_ERROR_CONTEXT_IS_DESTROYED, "the worker is ending");
		return;
	}
	CUresult r = s->d->cuCtxSetCurrent(w->ctx);
	if (r) {
		refuse(s->sock, r, "the worker's context does not work");
		return;
	}
	list_add(s);
	if (!make_segment(s))
		refuse(s->sock, CUDA_ERROR_OUT_OF_MEMORY, "no memory for the ring");
	else if (agree_on_window(s) && prepare(s)) {
		if (w->unguarded)
			session_log(s, "WARNING: this worker runs UNGUARDED: any client's kernels can read and write "
			               "everything");
		watch(s);
		serve(s);
	}
	session_teardown(s);
	list_remove(s);
}

void session_run(struct worker *w, int sock)
{
	struct session *s = calloc(1, sizeof *s);

	if (!s) {
		close(sock);
		return;
	}
	s->w = w;
	s->d = w->d;
	s->sock = sock;
	s->shm_fd = -1;
	clock_gettime(CLOCK_MONOTONIC, &s->started);
	live(s);
	if (s->shm)
		munmap(s->shm, s->shm_bytes);
	if (s->shm_fd >= 0)
		close(s->shm_fd);
	free(s->ring.msg);
	close(sock);
	free(s);
}
