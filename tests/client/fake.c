/* fake.c - see fake.h. */
#include "fake.h"

#include <cuda.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct fake fake;

static struct ag_shm *shm;
static uint8_t *ring, *replies, *host, *device;
static uint64_t host_at, granted;
static _Atomic int session = -1;
static _Atomic uint32_t fault_result;

uint8_t *fake_memory(uint64_t addr)
{
	uint64_t off = addr - fake.base;
	if (addr - host_at < FAKE_HOST)
		return host + (addr - host_at);
	return off < FAKE_DEVICE ? device + off : NULL;
}

uint32_t fake_fault(uint32_t result)
{
	atomic_store(&fault_result, result);
	*(volatile uint32_t *)(host + AG_HOST_FAULT_OFF) = 1;
	return result;
}

static void nap(long us)
{
	struct timespec t = { 0, us * 1000 };
	nanosleep(&t, NULL);
}

static int memory_fd(const char *name, uint64_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		abort();
	return fd;
}

static void send_fds(int sock, const void *body, size_t bytes, const int *fd, int n)
{
	struct iovec v = { (void *)body, bytes };
	union { struct cmsghdr h; char room[CMSG_SPACE(2 * sizeof(int))]; } c;
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = &c,
			    .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int)) };
	memset(&c, 0, sizeof c);
	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	memcpy(CMSG_DATA(&c.h), fd, (size_t)n * sizeof(int));
	if (sendmsg(sock, &m, MSG_NOSIGNAL) < 0)
		fprintf(stderr, "fake: sendmsg: %s\n", strerror(errno));
}

/* --- operations --------------------------------------------------------------------------------------------------- */

static void complete(uint64_t addr, uint64_t value)
{
	_Atomic uint64_t *w = (_Atomic uint64_t *)(void *)fake_memory(addr);
	if (atomic_load(&fake.no_signal))
		return;
	atomic_store(w, value);
	syscall(SYS_futex, w, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

static void copy3d(const struct msg_copy3d *m)
{
	for (uint64_t z = 0; z < m->depth; z++)
		for (uint64_t y = 0; y < m->height; y++)
			memmove(fake_memory(m->dst + (z * m->dst_height + y) * m->dst_pitch),
			        fake_memory(m->src + (z * m->src_height + y) * m->src_pitch), m->width);
}

static void set(const struct msg_set *m)
{
	for (uint64_t y = 0; y < m->height; y++)
		for (uint64_t x = 0; x < m->width; x++)
			memcpy(fake_memory(m->dst + y * m->pitch + x * m->elem), &m->value, m->elem);
}

static uint32_t act(const struct ag_head *h, void *rep, uint32_t *bytes)
{
	*bytes = 0;
	switch (h->op) {
	case AG_OP_grant: {
		const struct msg_grant *m = (const void *)h;
		struct rep_grant *r = rep;
		if (m->host || m->bytes > FAKE_DEVICE - granted)
			return CUDA_ERROR_OUT_OF_MEMORY;
		*r = (struct rep_grant){ fake.base + granted, m->bytes };
		granted += m->bytes;
		*bytes = sizeof *r;
		return 0;
	}
	case AG_OP_meminfo:
		*(struct rep_meminfo *)rep = (struct rep_meminfo){ FAKE_DEVICE - granted, FAKE_DEVICE };
		*bytes = sizeof(struct rep_meminfo);
		return 0;
	case AG_OP_copy: {
		const struct msg_copy *m = (const void *)h;
		memmove(fake_memory(m->dst), fake_memory(m->src), m->bytes);
		return 0;
	}
	case AG_OP_copy3d: copy3d((const void *)h); return 0;
	case AG_OP_set: set((const void *)h); return 0;
	case AG_OP_signal:
		complete(((const struct msg_signal *)h)->word, ((const struct msg_signal *)h)->value);
		return 0;
	case AG_OP_event_record:
		complete(((const struct msg_event_record *)h)->word, ((const struct msg_event_record *)h)->value);
		return 0;
	case AG_OP_hostfunc:
		complete(((const struct msg_hostfunc *)h)->word, ((const struct msg_hostfunc *)h)->ticket);
		return 0;
	case AG_OP_fault: {
		struct rep_fault *r = rep;
		memset(r, 0, sizeof *r);
		r->result = atomic_load(&fault_result);
		memcpy(r->kernel, "k", 2);
		*bytes = sizeof *r;
		return 0;
	}
	default:
		return 0;
	}
}

static void answer(const struct ag_head *h, uint32_t status, uint32_t bytes)
{
	struct ag_slot *s = &shm->slot[h->slot];
	s->status = status;
	s->bytes = bytes;
	atomic_store(&s->done, h->seq);
	if (atomic_load(&s->waiting))
		syscall(SYS_futex, &s->done, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

static void one(const struct ag_head *h)
{
	uint32_t bytes, status;
	uint8_t scratch[AG_REPLY_BYTES];
	atomic_fetch_add(&fake.messages, 1);
	if (h->op == AG_OP_pad) {
		atomic_fetch_add(&fake.pads, 1);
		return;
	}
	if (h->op >= AG_OP_COUNT || h->bytes % 8 || h->bytes < sizeof *h ||
	    (h->slot != AG_NO_SLOT && h->slot >= AG_SLOTS)) {
		atomic_fetch_add(&fake.bad, 1);
		return;
	}
	atomic_fetch_add(&fake.ops[h->op], 1);
	status = h->slot == AG_NO_SLOT ? atomic_exchange(&fake.fail_next, 0) : 0;
	if (status == 0)
		status = act(h, scratch, &bytes);
	else
		bytes = 0;
	if (h->slot == AG_NO_SLOT) {
		uint32_t none = 0;
		if (status)
			atomic_compare_exchange_strong(&shm->async_error, &none, status);
	} else if (!atomic_load(&fake.mute)) {
		memcpy(replies + (size_t)h->slot * AG_REPLY_BYTES, scratch, bytes);
		answer(h, status, bytes);
	}
}

/* Reads messages until the client is gone. */
static void serve(int sock)
{
	_Alignas(16) static uint8_t message[AG_MSG_MAX];
	uint64_t tail = 0;
	char byte;
	while (atomic_load(&session) == sock) {
		if (recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			return;
		if (atomic_load(&fake.paused) || atomic_load(&shm->head) == tail) {
			atomic_store(&shm->doorbell, 1);
			if (!atomic_load(&fake.paused) && atomic_load(&shm->head) != tail) {
				atomic_store(&shm->doorbell, 0);
				continue;
			}
			struct timespec t = { 0, 5000000 };
			syscall(SYS_futex, &shm->doorbell, FUTEX_WAIT, 1, &t, NULL, 0);
			continue;
		}
		uint64_t at = tail & (AG_RING_BYTES - 1);
		const struct ag_head *h = (const void *)(ring + at);
		uint32_t bytes = h->bytes;
		if (bytes > AG_RING_BYTES - at || bytes < 16) {
			atomic_fetch_add(&fake.bad, 1);
			return;
		}
		if (h->op != AG_OP_pad)
			memcpy(message, h, bytes < sizeof message ? bytes : sizeof message);
		else
			memcpy(message, h, sizeof *h);
		one((const void *)message);
		tail += bytes;
		atomic_store(&shm->tail, tail);
	}
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

static void fill_device(struct ag_device_info *d)
{
	snprintf(d->name, sizeof d->name, "fake");
	d->total_mem = FAKE_DEVICE;
	d->attr[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = 9;
	d->attr_ok[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = 1;
	d->attr_ok[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR] = 1;
}

static int open_segment(uint64_t total)
{
	int fd = memory_fd("fake-shm", total);
	shm = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	shm->magic = AG_WIRE_MAGIC;
	shm->version = AG_WIRE_VERSION;
	shm->ring_bytes = AG_RING_BYTES;
	shm->slots = AG_SLOTS;
	shm->reply_bytes = AG_REPLY_BYTES;
	shm->ndevices = 1;
	shm->driver_version = 13000;
	shm->ring_off = (sizeof *shm + 4095) & ~4095ull;
	shm->reply_off = shm->ring_off + AG_RING_BYTES;
	shm->total_bytes = total;
	fill_device(&shm->device[0]);
	ring = (uint8_t *)shm + shm->ring_off;
	replies = (uint8_t *)shm + shm->reply_off;
	return fd;
}

static bool shake_hands(int sock)
{
	struct ag_hello hello;
	struct ag_mapped mapped = { 0 };
	uint64_t total = ((sizeof *shm + 4095) & ~4095ull) + AG_RING_BYTES + (uint64_t)AG_SLOTS * AG_REPLY_BYTES;
	if (recv(sock, &hello, sizeof hello, 0) != (ssize_t)sizeof hello || hello.magic != AG_WIRE_MAGIC)
		return false;
	int how = atomic_load(&fake.refuse);
	struct ag_welcome w = { .magic = AG_WIRE_MAGIC,
				.version = how == 2 ? 99 : AG_WIRE_VERSION,
				.status = how == 1 ? CUDA_ERROR_NO_DEVICE : 0,
				.session = 1,
				.window_bytes = AG_WINDOW_BYTES,
				.shm_bytes = total,
				.why = "no device for tests" };
	if (how == 1)
		send(sock, &w, sizeof w, MSG_NOSIGNAL);
	if (how == 1 || how == 3)
		return false;
	int fd[2] = { open_segment(total), memory_fd("fake-host", FAKE_HOST) };
	host = mmap(NULL, FAKE_HOST, PROT_READ | PROT_WRITE, MAP_SHARED, fd[1], 0);
	granted = 0;
	do {
		fake.base = AG_WINDOW_FIRST + (uint64_t)atomic_fetch_add(&fake.offers, 1) * AG_WINDOW_BYTES;
		host_at = fake.base + (4ull << 30) - FAKE_HOST;
		w.window_base = fake.base;
		w.host = (struct ag_extent){ host_at, FAKE_HOST };
		send_fds(sock, &w, sizeof w, fd, 2);
	} while (recv(sock, &mapped, sizeof mapped, 0) == (ssize_t)sizeof mapped && !mapped.ok);
	close(fd[0]);
	close(fd[1]);
	return mapped.ok;
}

static void *work(void *arg)
{
	(void)arg;
	for (;;) {
		int sock = accept4(fake.listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0)
			return NULL;
		atomic_fetch_add(&fake.clients, 1);
		int mine = sock;
		if (shake_hands(sock)) {
			atomic_store(&session, sock);
			serve(sock);
			if (!atomic_compare_exchange_strong(&session, &mine, -1))
				continue;        /* fake_hang_up closed it */
		}
		close(sock);
	}
}

void fake_hang_up(void)
{
	int sock = atomic_exchange(&session, -1);
	/* The client can be through with its greeting before the thread here has noted that it is. */
	for (int i = 0; sock < 0 && i < 5000; i++) {
		usleep(1000);
		sock = atomic_exchange(&session, -1);
	}
	if (sock >= 0) {
		shutdown(sock, SHUT_RDWR);
		close(sock);
	}
}

void fake_start(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	pthread_t t;
	snprintf(fake.path, sizeof fake.path, "/tmp/agileos-fake-%d", (int)getpid());
	unlink(fake.path);
	memcpy(a.sun_path, fake.path, strlen(fake.path) + 1);
	fake.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(fake.listener, (struct sockaddr *)&a, sizeof a) || listen(fake.listener, 8))
		abort();
	device = mmap(NULL, FAKE_DEVICE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	setenv(AG_SOCKET_ENV, fake.path, 1);
	if (pthread_create(&t, NULL, work, NULL))
		abort();
	pthread_detach(t);
	nap(1000);
}
