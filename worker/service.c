/* service.c - protected services: opened with the worker, told of clients, and the gates that client kernels may call.
 *
 * Slot i of the gates table (device memory of the worker's own, guard_desc.gates) holds service i's device state; 0
 * where it did not open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "adapters/adapter.h"
#include "session.h"

#define SERVICES_MAX 64u

static struct {
	bool open;
	void *self;
	CUdeviceptr state;
} running[SERVICES_MAX];

static uint32_t count(void) { return ag_service_count < SERVICES_MAX ? ag_service_count : SERVICES_MAX; }

void services_open(struct worker *w)
{
	uint64_t states[SERVICES_MAX] = { 0 };

	for (uint32_t i = 0; i < count(); i++) {
		const struct ag_adapter *a = ag_services[i].adapter;
		CUresult r = a->open(w->d, &running[i].self, &running[i].state);
		running[i].open = r == CUDA_SUCCESS;
		states[i] = running[i].open ? running[i].state : 0;
		if (r)
			worker_log("service %s does not start: error %d; its gates do not exist", a->name, (int)r);
	}
	CUresult r = w->d->cuMemAlloc_v2(&w->gates, sizeof states);
	if (!r)
		r = w->d->cuMemcpyHtoDAsync_v2(w->gates, states, sizeof states, w->control);
	if (!r)
		r = w->d->cuStreamSynchronize(w->control);
	if (!r)
		return;
	worker_log("no gates: error %d", (int)r);
	for (uint32_t i = 0; i < count(); i++)
		running[i].open = false;
}

void services_close(struct worker *w)
{
	for (uint32_t i = 0; i < count() && !w->dead; i++) {
		if (running[i].open && ag_services[i].adapter->selfcheck(running[i].self))
			worker_log("service %s: its state is DAMAGED", ag_services[i].adapter->name);
		if (running[i].open)
			ag_services[i].adapter->close(running[i].self);
		running[i].open = false;
	}
	if (w->gates && !w->dead)
		w->d->cuMemFree_v2(w->gates);
	w->gates = 0;
}

void services_attach(struct session *s)
{
	for (uint32_t i = 0; i < count(); i++) {
		const struct ag_adapter *a = ag_services[i].adapter;
		if (!running[i].open || !a->attach)
			continue;
		CUresult r = a->attach(running[i].self, s->number);
		if (r)
			session_log(s, "service %s does not take this client: error %d", a->name, (int)r);
		else
			s->attached |= 1ull << i;
	}
}

void services_detach(struct session *s)
{
	for (uint32_t i = 0; i < count(); i++)
		if (s->attached >> i & 1 && ag_services[i].adapter->detach)
			ag_services[i].adapter->detach(running[i].self, s->number);
	s->attached = 0;
}

/* The address of a service's state is no secret: nothing but a gate reaches it. */
void services_status(struct worker *w, void (*line)(void *, const char *), void *arg)
{
	char text[256], all[400];

	for (uint32_t i = 0; i < count(); i++) {
		const struct ag_adapter *a = ag_services[i].adapter;
		text[0] = 0;
		if (!running[i].open || w->dead || w->d->cuCtxSetCurrent(w->ctx)) {
			snprintf(all, sizeof all, "service %s: closed", a->name);
			line(arg, all);
			continue;
		}
		if (a->status)
			a->status(running[i].self, text, sizeof text);
		snprintf(all, sizeof all, "service %s: open, state 0x%llx, %s%s%s", a->name,
		         (unsigned long long)running[i].state, text, text[0] ? ", " : "",
		         a->selfcheck(running[i].self) ? "DAMAGED" : "intact");
		line(arg, all);
	}
}

static bool named_in(const char *gate, const char *const *texts, const size_t *lens, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (memmem(texts[i], lens[i], gate, strlen(gate)))
			return true;
	return false;
}

/* Only what a module names is linked to it: a gate costs nothing where it is not used. Whether it is really called is
 * for the guard to say. */
uint32_t services_gates(const struct worker *w, const char *const *texts, const size_t *lens, uint32_t n,
                        struct guard_gate *gates, uint32_t max, const char **ptx, uint32_t *nptx)
{
	uint32_t used = 0;

	(void)w;
	*nptx = 0;
	for (uint32_t i = 0; i < count(); i++) {
		const struct ag_service *v = ag_services + i;
		bool any = false;
		for (uint32_t g = 0; running[i].open && g < v->ngates; g++)
			any |= named_in(v->gates[g].name, texts, lens, n);
		if (!any || used + v->ngates > max || *nptx == max)
			continue;
		for (uint32_t g = 0; g < v->ngates; g++) {
			gates[used] = (struct guard_gate){ .name = v->gates[g].name,
				                           .nparams = v->gates[g].nparams,
				                           .ret = v->gates[g].ret };
			memcpy(gates[used].params, v->gates[g].params, sizeof gates[used].params);
			used++;
		}
		ptx[(*nptx)++] = v->device_ptx;
	}
	return used;
}
