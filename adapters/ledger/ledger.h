/* ledger.h - the ledger's device state, as host and device code see it. */
#ifndef LEDGER_H
#define LEDGER_H

#define LEDGER_MESSAGE_MAX (1u << 20)

/* Whatever the gates do keeps shadow == start + count * LEDGER_STEP (mod 2^64), so that a count that somebody else
 * changed shows. */
#define LEDGER_STEP 0x9e3779b97f4a7c15ull

struct ledger_state {
	unsigned long long key[2]; /* secret */
	unsigned long long count;  /* signatures given */
	unsigned long long start;  /* secret */
	unsigned long long shadow;
};

#endif
