/* fake.h - a session on a driver that writes down what it is told, for the worker's unit tests.
 *
 * Streams and events of the fake are small numbers; `fake_log` holds one word per call that matters ("copy:2",
 * "record:3>2", "wait:2<3", ...). A stream is busy while its bit in fake_busy is set. Everything the worker links
 * besides (guard, services) is not called by these tests. */
#ifndef TESTS_WORKER_FAKE_H
#define TESTS_WORKER_FAKE_H

#include <stdio.h>
#include <string.h>
#include "msg.h"
#include "worker/session.h"

extern char fake_log[65536];
extern uint64_t fake_busy;                               /* bit n: stream n has work */
extern uint64_t fake_capturing;                          /* bit n: stream n captures, and queries of it fail */
extern unsigned fake_streams, fake_events, fake_objects; /* alive */
extern CUresult fake_fails;                              /* what launches, copies and writes return */
extern CUresult fake_dead;                               /* what the worker's own stream answers */
extern bool fake_quiet;                                  /* no log lines of the worker on stderr */
extern unsigned fake_logged;                             /* log lines */

struct session *fake_session(unsigned window);           /* READY, with window and segment */
void fake_end(struct session *s);                        /* closes everything, as a session's end does */
uint64_t fake_word(const struct session *s, unsigned i); /* address of the i-th word of its host memory */

/* A message, ready for serve_message: head filled for an asynchronous one, or a call on slot 0. */
void *fake_msg(uint16_t op, uint32_t fixed, uint32_t tail, bool call);
bool fake_serve(struct session *s, void *msg);

/* Did the log (since it was last cleared) equal this? Clears it. */
bool fake_said(const char *want);

extern int fake_bad;
void fake_case(const char *name, const char *why);
/* Runs each on a session of its own at that window, which must leave nothing behind; what main returns. */
struct fake_test { const char *name; const char *(*run)(struct session *); };
int fake_run(const char *prefix, const struct fake_test *tests, size_t n, unsigned window);
#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			return #cond;                                                                                  \
	} while (0)

#endif
