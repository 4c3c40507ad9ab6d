/* ptx_mem.c - a module's memory: the arena and the table of interned strings.
 *
 * The arena owns everything a module points to; arena_free() releases it at once.  Names come from a client, so
 * the table's hash is keyed (SipHash-1-3): nobody can choose names that collide. */
#include <stdlib.h>
#include <sys/random.h>

#include "parse_internal.h"

/* Under AddressSanitizer an item is followed by bytes that must not be touched, so that an overrun is seen. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { BLOCK_MIN = 64 << 10, RED_ZONE = 16 };
#else
enum { BLOCK_MIN = 64 << 10, RED_ZONE = 0 };
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct arena_block {
	struct arena_block *next;
	size_t used, cap;
	_Alignas(16) unsigned char bytes[];
};

static uint64_t rotl(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1]; v[1] = rotl(v[1], 13); v[1] ^= v[0]; v[0] = rotl(v[0], 32);
	v[2] += v[3]; v[3] = rotl(v[3], 16); v[3] ^= v[2];
	v[0] += v[3]; v[3] = rotl(v[3], 21); v[3] ^= v[0];
	v[2] += v[1]; v[1] = rotl(v[1], 17); v[1] ^= v[2]; v[2] = rotl(v[2], 32);
}

static uint64_t hash_name(const uint64_t key[2], const char *s, size_t len)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
		key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u };
	uint64_t word = 0;
	size_t i = 0;

	for (; i + 8 <= len; i += 8) {
		memcpy(&word, s + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56;
	for (unsigned shift = 0; i < len; i++, shift += 8)
		word |= (uint64_t)(unsigned char)s[i] << shift;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int r = 0; r < 3; r++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void *arena_alloc(struct ptx_arena *a, size_t bytes)
{
	struct arena_block *b = a->blocks;
	size_t exact = bytes;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = ((bytes + 15) & ~(size_t)15) + RED_ZONE;
	if (!b || b->cap - b->used < bytes) {
		size_t cap = bytes > BLOCK_MIN / 4 ? bytes : BLOCK_MIN;
		b = calloc(1, sizeof *b + cap);
		if (!b)
			return NULL;
		b->cap = cap;
		ASAN_POISON_MEMORY_REGION(b->bytes, cap);
		/* A large item gets a block of its own behind the one in use, whose rest stays usable. */
		if (cap == bytes && a->blocks) {
			b->next = a->blocks->next;
			a->blocks->next = b;
		} else {
			b->next = a->blocks;
			a->blocks = b;
		}
	}
	void *p = b->bytes + b->used;
	b->used += bytes;
	ASAN_UNPOISON_MEMORY_REGION(p, exact);
	return p;
}

struct ptx_arena *arena_new(void)
{
	struct ptx_arena *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->nbuckets = 4096;
	a->buckets = calloc(a->nbuckets, sizeof *a->buckets);
	if (!a->buckets) {
		arena_free(a);
		return NULL;
	}
	/* Where a sandbox forbids getrandom, the addresses' own randomness has to do. */
	if (getrandom(a->key, sizeof a->key, GRND_NONBLOCK) != sizeof a->key) {
		a->key[0] = (uintptr_t)a;
		a->key[1] = (uintptr_t)&a * 0x9e3779b97f4a7c15u;
	}
	return a;
}

void arena_free(struct ptx_arena *a)
{
	struct arena_block *b, *next;

	if (!a)
		return;
	for (b = a->blocks; b; b = next) {
		next = b->next;
		ASAN_UNPOISON_MEMORY_REGION(b->bytes, b->cap);
		free(b);
	}
	free(a->buckets);
	free(a);
}

static struct sym *find(const struct ptx_arena *a, const char *s, size_t len, uint64_t hash)
{
	struct sym *sym = a->buckets[hash & (a->nbuckets - 1)];

	while (sym && (sym->hash != hash || sym->len != len || memcmp(sym->text, s, len) != 0))
		sym = sym->next_in_bucket;
	return sym;
}

/* Doubling keeps chains short; failing to double only makes them longer. */
static void grow(struct ptx_arena *a)
{
	size_t n = a->nbuckets * 2;
	struct sym **buckets = calloc(n, sizeof *buckets);

	if (!buckets)
		return;
	for (size_t i = 0; i < a->nbuckets; i++) {
		for (struct sym *s = a->buckets[i], *next; s; s = next) {
			next = s->next_in_bucket;
			s->next_in_bucket = buckets[s->hash & (n - 1)];
			buckets[s->hash & (n - 1)] = s;
		}
	}
	free(a->buckets);
	a->buckets = buckets;
	a->nbuckets = n;
}

struct sym *arena_find(const struct ptx_arena *a, const char *s, size_t len)
{
	return find(a, s, len, hash_name(a->key, s, len));
}

struct sym *arena_sym(struct ptx_arena *a, const char *s, size_t len)
{
	uint64_t hash = hash_name(a->key, s, len);
	struct sym *sym = find(a, s, len, hash);

	if (sym)
		return sym;
	if (len > UINT32_MAX - 1)
		return NULL;
	sym = arena_alloc(a, sizeof *sym + len + 1);
	if (!sym)
		return NULL;
	if (a->nsyms >= a->nbuckets)
		grow(a);
	memcpy(sym->text, s, len);
	sym->len = (uint32_t)len;
	sym->hash = hash;
	sym->next_in_bucket = a->buckets[hash & (a->nbuckets - 1)];
	a->buckets[hash & (a->nbuckets - 1)] = sym;
	a->nsyms++;
	return sym;
}

void *ptx_alloc(struct ptx_module *m, size_t bytes)
{
	return arena_alloc(m->arena, bytes);
}

const char *ptx_intern(struct ptx_module *m, const char *s)
{
	struct sym *sym = arena_sym(m->arena, s, strlen(s));

	return sym ? sym->text : NULL;
}

void ptx_free(struct ptx_module *m)
{
	if (m)
		arena_free(m->arena);
}
