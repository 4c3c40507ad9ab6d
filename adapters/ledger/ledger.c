/* ledger.c - the ledger's host side: makes the key, keeps a copy of what the device state must be, checks it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "adapters/adapter.h"
#include "driver.h"
#include "ledger.h"

#define CHECKS 50 /* a look between the two steps of a gate sees them apart; it looks again */

struct ledger {
	const struct ag_driver *d;
	CUdeviceptr state;
	CUstream stream;
	struct ledger_state made; /* as written at the start */
};

static void ledger_close(void *self)
{
	struct ledger *l = self;

	if (l->state)
		l->d->cuMemFree_v2(l->state);
	if (l->stream)
		l->d->cuStreamDestroy_v2(l->stream);
	explicit_bzero(l, sizeof *l);
	free(l);
}

static CUresult ledger_open(const struct ag_driver *d, void **self, CUdeviceptr *state)
{
	struct ledger *l = calloc(1, sizeof *l);
	CUresult r = l ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;

	if (r)
		return r;
	l->d = d;
	if (getrandom(&l->made, sizeof l->made, 0) != (ssize_t)sizeof l->made)
		r = CUDA_ERROR_OPERATING_SYSTEM;
	l->made.count = 0;
	l->made.shadow = l->made.start;
	if (!r)
		r = d->cuStreamCreate(&l->stream, CU_STREAM_NON_BLOCKING);
	if (!r)
		r = d->cuMemAlloc_v2(&l->state, sizeof l->made);
	if (!r)
		r = d->cuMemcpyHtoDAsync_v2(l->state, &l->made, sizeof l->made, l->stream);
	if (!r)
		r = d->cuStreamSynchronize(l->stream);
	if (r) {
		ledger_close(l);
		return r;
	}
	*self = l;
	*state = l->state;
	return r;
}

static CUresult look(struct ledger *l, struct ledger_state *now)
{
	CUresult r = l->d->cuMemcpyDtoHAsync_v2(now, l->state, sizeof *now, l->stream);

	return r ? r : l->d->cuStreamSynchronize(l->stream);
}

static void ledger_status(void *self, char *line, uint32_t bytes)
{
	struct ledger_state now;

	if (look(self, &now))
		snprintf(line, bytes, "state unreadable");
	else
		snprintf(line, bytes, "%llu signatures", now.count);
	explicit_bzero(&now, sizeof now);
}

static int ledger_selfcheck(void *self)
{
	struct ledger *l = self;
	struct ledger_state now;
	struct timespec nap = { 0, 1000000 };
	int bad = 1;

	for (int i = 0; bad && i < CHECKS; i++) {
		if (i)
			nanosleep(&nap, NULL);
		if (look(l, &now))
			return 1;
		bad = memcmp(now.key, l->made.key, sizeof now.key) || now.start != l->made.start ||
		      now.shadow != now.start + now.count * LEDGER_STEP;
	}
	explicit_bzero(&now, sizeof now);
	return bad;
}

const struct ag_adapter adapter_ledger = {
	.name = "ledger",
	.open = ledger_open,
	.close = ledger_close,
	.status = ledger_status,
	.selfcheck = ledger_selfcheck,
};
