/* ring_test.c - hostile rings: lengths, positions, heads that change under the reader; sleeping and waking. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "fake.h"

static struct ag_shm *shm;
static uint64_t *bytes;
static struct ring ring;

static void fresh(uint64_t at)
{
	memset(bytes, 0, AG_RING_BYTES);
	shm->head = shm->tail = at;
	shm->doorbell = 0;
	ring = (struct ring){ .shm = shm,
		              .base = (uint8_t *)bytes,
		              .bytes = AG_RING_BYTES,
		              .tail = at,
		              .msg = ring.msg,
		              .spin_ns = 1000,
		              .spin_max = 1000 };
}

static struct ag_head *head_at(uint64_t at)
{
	return (struct ag_head *)((uint8_t *)bytes + (at & (AG_RING_BYTES - 1)));
}

static enum ring_result next(void)
{
	const char *why = NULL;
	enum ring_result r = ring_next(&ring, &why);

	return r == RING_BAD && !why ? RING_EMPTY : r;
}

static const char *lengths(void)
{
	static const uint32_t bad[] = { 0,
		                        1,
		                        7,
		                        8,
		                        12,
		                        15,
		                        17,
		                        20,
		                        AG_MSG_MAX + 8,
		                        AG_RING_BYTES,
		                        AG_RING_BYTES + 8,
		                        0x80000000u,
		                        0xfffffff8u,
		                        0xffffffffu };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		fresh(0);
		*head_at(0) = (struct ag_head){ bad[i], AG_OP_nop, 0, 1, 0 };
		shm->head = AG_RING_BYTES;
		EXPECT(next() == RING_BAD && ring.tail == 0);
	}
	fresh(0);
	*head_at(0) = (struct ag_head){ 64, AG_OP_nop, 0, 1, 0 };
	shm->head = 56; /* more than there is */
	EXPECT(next() == RING_BAD);
	fresh(0);
	*head_at(0) = (struct ag_head){ 64, AG_OP_launch, 0, 1, 49 };
	shm->head = 64; /* the tail is longer than its message */
	EXPECT(next() == RING_BAD);
	fresh(0);
	*head_at(0) = (struct ag_head){ 64, AG_OP_launch, 0, 1, 48 };
	shm->head = 64;
	EXPECT(next() == RING_MESSAGE && ring.tail == 64 && shm->tail == 64 && next() == RING_EMPTY);
	return NULL;
}

static const char *positions(void)
{
	static const uint64_t bad[] = { 1, 4, 7, 12, AG_RING_BYTES + 8, 1ull << 40, UINT64_MAX, UINT64_MAX - 7 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		fresh(1 << 20);
		*head_at(1 << 20) = (struct ag_head){ 16, AG_OP_nop, 0, 1, 0 };
		shm->head = (1 << 20) + bad[i];
		EXPECT(next() == RING_BAD);
	}
	fresh(1 << 20);
	shm->head = (1 << 20) - 8; /* backwards */
	EXPECT(next() == RING_BAD);
	/* The counters wrap as numbers do. */
	fresh(UINT64_MAX - 63);
	*head_at(UINT64_MAX - 63) = (struct ag_head){ 64, AG_OP_nop, 0, 1, 0 };
	shm->head = 0;
	EXPECT(next() == RING_MESSAGE && ring.tail == 0);
	return NULL;
}

static const char *wrapping(void)
{
	uint64_t at = AG_RING_BYTES - 64;

	fresh(at);
	*head_at(at) = (struct ag_head){ 128, AG_OP_nop, 0, 1, 0 };
	shm->head = at + 128; /* a message across the end */
	EXPECT(next() == RING_BAD);
	fresh(at);
	*head_at(at) = (struct ag_head){ 64, AG_OP_pad, AG_NO_SLOT, 0, 0 };
	*head_at(0) = (struct ag_head){ 32, AG_OP_meminfo, 0, 9, 0 };
	shm->head = at + 96;
	EXPECT(next() == RING_MESSAGE && ((struct ag_head *)ring.msg)->seq == 9 && ring.tail == at + 96);
	fresh(at);
	*head_at(at) = (struct ag_head){ 72, AG_OP_pad, AG_NO_SLOT, 0, 0 };
	shm->head = at + 96; /* padding across the end */
	EXPECT(next() == RING_BAD);
	/* Padding and nothing behind it yet; padding of a last word. */
	fresh(AG_RING_BYTES - 8);
	head_at(AG_RING_BYTES - 8)->bytes = 8;
	shm->head = AG_RING_BYTES;
	EXPECT(next() == RING_EMPTY && ring.tail == AG_RING_BYTES);
	/* Padding without end would keep the session from seeing that it has ended. */
	fresh(0);
	for (unsigned i = 0; i < 4; i++)
		*head_at(16 * i) = (struct ag_head){ 16, AG_OP_pad, AG_NO_SLOT, 0, 0 };
	shm->head = 64;
	EXPECT(next() == RING_BAD && ring.tail == 16);
	return NULL;
}

static const char *own_position(void)
{
	fresh(0);
	*head_at(0) = (struct ag_head){ 16, AG_OP_nop, 0, 1, 0 };
	*head_at(16) = (struct ag_head){ 16, AG_OP_nop, 0, 2, 0 };
	shm->head = 32;
	EXPECT(next() == RING_MESSAGE);
	shm->tail = 0; /* the client writes where only the worker does */
	EXPECT(next() == RING_MESSAGE && ((struct ag_head *)ring.msg)->seq == 2 && next() == RING_EMPTY);
	return NULL;
}

/* Another thread keeps changing the head of the message: whatever is taken must agree with itself. */
static _Atomic int stop;

static void *change(void *arg)
{
	static const uint32_t sizes[] = { 16, 64, 0, 0xfffffff8u, 200000, 24, AG_MSG_MAX, 8 };

	(void)arg;
	for (unsigned i = 0; !stop; i++) {
		struct ag_head *h = head_at(0);
		*(volatile uint32_t *)&h->bytes = sizes[i % 8];
		*(volatile uint32_t *)&h->tail = sizes[(i + 3) % 8];
	}
	return NULL;
}

static const char *changing(void)
{
	pthread_t t;
	unsigned taken = 0;
	const char *bad = NULL;

	fresh(0);
	head_at(0)->op = AG_OP_launch;
	shm->head = AG_RING_BYTES;
	stop = 0;
	pthread_create(&t, NULL, change, NULL);
	time_t end = time(NULL) + 5;
	for (unsigned i = 0; (i < 200000 || taken < 100) && !bad && time(NULL) < end; i++) {
		ring.tail = 0;
		if (next() != RING_MESSAGE)
			continue;
		const struct ag_head *h = (const struct ag_head *)ring.msg;
		taken++;
		if (h->bytes != ring.tail || h->bytes < 16 || h->bytes > AG_MSG_MAX || h->tail > h->bytes - 16)
			bad = "the copy does not agree with what was judged";
	}
	stop = 1;
	pthread_join(t, NULL);
	return bad ? bad : taken ? NULL : "no message was taken";
}

static void *wake_later(void *arg)
{
	struct timespec t = { 0, 30000000 };

	nanosleep(&t, NULL);
	if (arg) {
		stop = 1;
		ring_wake(shm);
		return NULL;
	}
	shm->head = 16;
	if (atomic_exchange(&shm->doorbell, 0))
		ring_wake(shm);
	return NULL;
}

static const char *sleeping(void)
{
	pthread_t t;
	struct timespec a, b;

	fresh(0);
	stop = 0;
	pthread_create(&t, NULL, wake_later, NULL);
	bool got = ring_wait(&ring, 5000, &stop);
	pthread_join(t, NULL);
	EXPECT(got);
	fresh(0);
	pthread_create(&t, NULL, wake_later, shm);
	clock_gettime(CLOCK_MONOTONIC, &a);
	got = ring_wait(&ring, 5000, &stop);
	clock_gettime(CLOCK_MONOTONIC, &b);
	pthread_join(t, NULL);
	EXPECT(!got && (b.tv_sec - a.tv_sec) < 3);
	stop = 0;
	EXPECT(!ring_wait(&ring, 10, &stop));
	return NULL;
}

int main(void)
{
	static const struct {
		const char *name;
		const char *(*fn)(void);
	} cases[] = {
		{ "lengths", lengths },           { "positions", positions }, { "wrapping", wrapping },
		{ "own_position", own_position }, { "changing", changing },   { "sleeping", sleeping },
	};

	shm = aligned_alloc(64, (sizeof *shm + 63) / 64 * 64);
	memset(shm, 0, sizeof *shm);
	bytes = aligned_alloc(64, AG_RING_BYTES);
	ring.msg = malloc(AG_MSG_MAX);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[80];
		snprintf(name, sizeof name, "ring.%s", cases[i].name);
		fake_case(name, cases[i].fn());
	}
	free(ring.msg);
	free(bytes);
	free(shm);
	return fake_bad;
}
