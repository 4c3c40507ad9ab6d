/* fake.h - a worker small enough to be trusted by tests: one thread behind a real socket, with the ring, the slots
 * and memory, no GPU.
 *
 * Device memory is an array; host memory is a memfd that this side maps elsewhere, as the real worker's process would
 * have it.  Knobs make it misbehave on purpose.  It shares no code with the client's ring.
 */
#ifndef FAKE_H
#define FAKE_H

#include "api/base/wire.h"
#include "msg.h"
#include "alloc/alloc.h"

#include <stdatomic.h>

#define FAKE_DEVICE (192ull << 20)       /* bytes of device memory there are */
#define FAKE_HOST   (64ull << 20)

struct fake {
	/* knobs */
	_Atomic int paused;              /* reads nothing */
	_Atomic int mute;                /* answers no call */
	_Atomic int no_signal;           /* completes nothing */
	_Atomic uint32_t fail_next;      /* CUresult: the next asynchronous operation fails with it */
	_Atomic int refuse;              /* the handshake: 1 refused with words, 2 another version, 3 closes */
	_Atomic int offers;              /* windows offered so far */
	/* observations */
	_Atomic uint64_t messages, pads, bad;
	_Atomic uint64_t ops[AG_OP_COUNT];
	_Atomic int clients;
	char path[108];
	int listener;
	uint64_t base;                   /* first window offered */
};
extern struct fake fake;

void fake_start(void);                   /* listens, sets AGILEOS_SOCKET */
void fake_hang_up(void);                 /* closes the socket of the session, as a killed worker's kernel does */
uint8_t *fake_memory(uint64_t addr);     /* where the fake worker sees a window address */
uint32_t fake_fault(uint32_t result);    /* the next `fault` answers this; sets the fault word */

#endif
