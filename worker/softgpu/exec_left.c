/* exec_left.c - shared and local memory of blocks, as a multiprocessor has it: a new block finds what the last one
 * that ran there left, whichever grid or client that was of.  What nothing was left in holds LEFT_BYTE, so that a
 * program that counts on zeroes fails here as it may on hardware.
 *
 * A piece that a block has done with goes on a list, the newest first; up to LEFT_KEEP of a kind are kept.  Pieces are
 * of one size each, of which only what was asked for is touched; larger ones are made for the block and not kept. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "exec_internal.h"

enum { LEFT_BYTE = 0xa5, LEFT_KEEP = 64 };

static struct kind {
	size_t bytes;
	struct left *first;
	unsigned kept;
} kinds[] = { [LEFT_SHARED] = { 256 << 10, NULL, 0 }, [LEFT_LOCAL] = { 1 << 20, NULL, 0 } };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct left *made(unsigned kind, size_t bytes)
{
	struct left *l = calloc(1, sizeof *l);
	void *p;

	if (!l)
		return NULL;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		free(l);
		return NULL;
	}
	*l = (struct left){ .p = p, .bytes = bytes, .kind = (uint8_t)kind };
	return l;
}

uint8_t *left_take(unsigned kind, size_t bytes, struct left **out)
{
	struct kind *k = &kinds[kind];
	struct left *l = NULL;

	if (bytes <= k->bytes) {
		pthread_mutex_lock(&lock);
		l = k->first;
		if (l) {
			k->first = l->next;
			k->kept--;
		}
		pthread_mutex_unlock(&lock);
	}
	if (!l)
		l = made(kind, bytes <= k->bytes ? k->bytes : bytes);
	if (!l)
		return NULL;
	/* what is too large to keep would be slow to fill: its pages are zero */
	if (l->known < bytes && bytes <= k->bytes) {
		memset(l->p + l->known, LEFT_BYTE, bytes - l->known);
		l->known = bytes;
	}
	*out = l;
	return l->p;
}

void left_give(struct left **at)
{
	struct left *l = *at;
	struct kind *k;

	*at = NULL;
	if (!l)
		return;
	k = &kinds[l->kind];
	pthread_mutex_lock(&lock);
	if (l->bytes == k->bytes && k->kept < LEFT_KEEP) {
		l->next = k->first;
		k->first = l;
		k->kept++;
		l = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (l) {
		munmap(l->p, l->bytes);
		free(l);
	}
}
