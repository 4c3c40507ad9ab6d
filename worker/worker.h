/* worker.h - what generated decode/check/invoke code and the hand-written worker share.
 *
 * One session per client process, served by one thread, which runs: snapshot (ring.c) -> permit -> decode -> check_X ->
 * invoke_X -> reply. check_X judges and changes nothing (its session is const); invoke_X acts and returns the driver's
 * word. Either may return AG_MALFORMED only from check: the session ends with a log line.
 */
#ifndef AG_WORKER_H
#define AG_WORKER_H

#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../api/base/wire.h"

struct session;
struct ag_driver;

/* What the function before a destruction returns when the object goes later: its id is gone, its owner took it. */
#define AG_LATER 0x7ffffffe

/* The variable part of a reply: filled in place, bounded by cap. */
struct ag_out {
	uint8_t *tail;
	uint32_t cap, len;
};

enum ag_state { AG_S_READY = 1, AG_S_FAULTED = 2 }; /* bits of permit.states */

/* One row per op, generated (build/gen/worker_table.c); absent ops have fn NULL and end the session. */
struct permit {
	const char *name;
	uint8_t states; /* enum ag_state bits */
	bool call;      /* needs a slot; an asynchronous op must not have one */
	bool has_tail;
	uint16_t fixed;     /* sizeof(struct msg_X) */
	uint16_t rep;       /* sizeof(struct rep_X), 0 without */
	int16_t stream_off; /* offset of the message's stream field, -1: none (for holding back streams) */
	CUresult (*check)(const struct session *, const void *msg, const void *tail, uint32_t ntail);
	CUresult (*invoke)(struct session *, const void *msg, const void *tail, uint32_t ntail, void *rep,
	                   struct ag_out *out);
};
extern const struct permit permit_table[];
extern const uint32_t permit_count;

/* --- for generated checks and invokes ---------------------------------------------------------- */
const struct ag_driver *session_driver(const struct session *s);
/* Objects: typed, with generations. */
/* A live object of that kind, and no graph, or node of one, that a capture goes on into. */
bool session_has(const struct session *s, enum ag_kind kind, ag_id id);
bool session_id_free(const struct session *s, enum ag_kind kind, ag_id id); /* may be created */
void *session_get(const struct session *s, enum ag_kind kind,
                  ag_id id); /* the driver's handle; NULL: no live object */
CUresult session_put(struct session *s, enum ag_kind kind, ag_id id,
                     void *real); /* after a successful create; OUT_OF_MEMORY undoes nothing: caller destroys real */
void session_drop(struct session *s, enum ag_kind kind, ag_id id);
ag_id session_find(const struct session *s, enum ag_kind kind, const void *real); /* reverse lookup, 0: none */
/* Addresses. */
bool session_covers(const struct session *s, uint64_t addr, uint64_t bytes); /* inside the window and mapped */
bool session_covers_host(const struct session *s, uint64_t addr, uint64_t bytes);
/* Streams: the wire's stream (0 = the session's legacy stream) -> real stream, after the ordering that CUDA's legacy
 * stream rules ask for. */
bool session_stream_ok(const struct session *s, ag_id stream);
CUstream session_stream(struct session *s, ag_id stream);
void session_log(const struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
