/* ledger.cu - the ledger's gates: SipHash-2-4 with 128-bit output (Aumasson, Bernstein) of the caller's message under
 * the secret key. */
#include "../gate.cuh"
#include "ledger.h"

typedef unsigned long long u64;

static __device__ __forceinline__ u64 rotl(u64 x, int b) { return x << b | x >> (64 - b); }

struct sip {
	u64 a, b, c, d;
};

static __device__ __forceinline__ void rounds(struct sip &v, int n)
{
	for (int i = 0; i < n; i++) {
		v.a += v.b, v.b = rotl(v.b, 13) ^ v.a, v.a = rotl(v.a, 32);
		v.c += v.d, v.d = rotl(v.d, 16) ^ v.c;
		v.a += v.d, v.d = rotl(v.d, 21) ^ v.a;
		v.c += v.b, v.b = rotl(v.b, 17) ^ v.c, v.c = rotl(v.c, 32);
	}
}

/* Little-endian word at p of `n` bytes, at most 8. Each byte is read once: the caller may change its memory meanwhile,
 * then the signature is of what was read. */
static __device__ __forceinline__ u64 word(const unsigned char *p, unsigned n)
{
	u64 w = 0;

	if (n == 8 && (reinterpret_cast<u64>(p) & 7) == 0)
		return *reinterpret_cast<const volatile u64 *>(p);
	for (unsigned i = 0; i < n; i++)
		w |= static_cast<u64>(*const_cast<const volatile unsigned char *>(p + i)) << (8 * i);
	return w;
}

static __device__ __forceinline__ u64 fold(const struct sip &v) { return v.a ^ v.b ^ v.c ^ v.d; }

static __device__ __forceinline__ void store(unsigned char *to, u64 w)
{
	for (int i = 0; i < 8; i++)
		to[i] = static_cast<unsigned char>(w >> (8 * i));
}

AG_GATE(int, ledger_sign)(const void *msg, unsigned n, void *tag)
{
	struct ledger_state *s = gate_state<struct ledger_state>(GATE_SLOT_ledger);
	const unsigned char *p = static_cast<const unsigned char *>(msg);

	if (n > LEDGER_MESSAGE_MAX)
		return -2;
	if (!gate_reads(msg, n)) {
		gate_fault(msg);
		return -2;
	}
	if (!gate_writes(tag, 16)) {
		gate_fault(tag);
		return -2;
	}
	struct sip v = { s->key[0] ^ 0x736f6d6570736575ull, s->key[1] ^ 0x646f72616e646f6dull ^ 0xee,
		         s->key[0] ^ 0x6c7967656e657261ull, s->key[1] ^ 0x7465646279746573ull };
	unsigned whole = n & ~7u;
	for (unsigned i = 0; i < whole; i += 8) {
		u64 m = word(p + i, 8);
		v.d ^= m;
		rounds(v, 2);
		v.a ^= m;
	}
	u64 last = word(p + whole, n & 7) | static_cast<u64>(n) << 56;
	v.d ^= last;
	rounds(v, 2);
	v.a ^= last;
	v.c ^= 0xee;
	rounds(v, 4);
	u64 lo = fold(v);
	v.b ^= 0xdd;
	rounds(v, 4);
	unsigned char *to = static_cast<unsigned char *>(tag);
	store(to, lo);
	store(to + 8, fold(v));
	atomicAdd(&s->shadow, LEDGER_STEP);
	atomicAdd(&s->count, 1ull);
	return 0;
}

AG_GATE(long long, ledger_count)(void)
{
	return static_cast<long long>(
	        *const_cast<volatile u64 *>(&gate_state<struct ledger_state>(GATE_SLOT_ledger)->count));
}
