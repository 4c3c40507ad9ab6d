/* ledger.cuh - the ledger service's gates, as a program sees them.
 *
 * Under AgileOS a call of one of these functions goes through a gate to the protected service: the guard replaces the
 * function by the service's own code. Anywhere else the bodies below run and say that there is no ledger. The opaque
 * asm keeps the compiler from folding the calls away. */
#ifndef LEDGER_CUH
#define LEDGER_CUH

#define LEDGER_ABSENT (-1)

/* Signs n bytes at msg (device memory of the caller, at most 1 MiB) with the ledger's secret key: 16 bytes to tag.
 * 0, LEDGER_ABSENT, or -2 when msg or tag is not the caller's memory. */
extern "C" __device__ __noinline__ int ledger_sign(const void *msg, unsigned n, void *tag)
{
	int r;
	asm volatile("mov.u32 %0, 0xffffffff;" : "=r"(r) : "l"(msg), "r"(n), "l"(tag) : "memory");
	return r;
}

/* How many signatures the ledger has given since it started; -1 without a ledger. */
extern "C" __device__ __noinline__ long long ledger_count(void)
{
	long long r;
	asm volatile("mov.u64 %0, 0xffffffffffffffff;" : "=l"(r) : : "memory");
	return r;
}
#endif
