/* gate.cuh - what the device code of a protected service is written with.
 *
 * A gate runs in the client's kernel, in the client's threads, but it is the service's code: it is not fenced, it may
 * touch the service's state, and every pointer and number that it is given is hostile.  It checks a pointer with
 * gate_reads or gate_writes before the first access, ends in bounded time, and leaves its state consistent after each
 * step, because the client's kernel may be ended between any two gates.
 */
#ifndef AG_GATE_CUH
#define AG_GATE_CUH

/* struct guard_desc (guard/guard.h); defined by the composed module's header. */
extern "C" __constant__ __align__(16) unsigned char ag_desc[128];

enum {
	GATE_D_RECORDS = 24,
	GATE_D_FAULT_WORD = 32,
	GATE_D_CLIENT = 68,
	GATE_D_MODULE = 72,
	GATE_D_BASE = 80,
	GATE_D_EXTENT = 88,
	GATE_D_GATES = 96
};

#define AG_GATE(ret, name) extern "C" __device__ __noinline__ ret gate_##name

template <typename T> static __device__ __forceinline__ T gate_desc(int offset)
{
	return *reinterpret_cast<const T *>(ag_desc + offset);
}

/* The service's device state; the slot is the service's own, GATE_SLOT_<name>, numbered when the worker is built. */
template <typename T> static __device__ __forceinline__ T *gate_state(int slot)
{
	return reinterpret_cast<T *>(
	        reinterpret_cast<const unsigned long long *>(gate_desc<unsigned long long>(GATE_D_GATES))[slot]);
}

static __device__ __forceinline__ bool gate_reads(const void *p, unsigned long long n)
{
	unsigned long long off = reinterpret_cast<unsigned long long>(p) - gate_desc<unsigned long long>(GATE_D_BASE);
	unsigned long long extent = gate_desc<unsigned long long>(GATE_D_EXTENT);
	return off < extent && n <= extent - off;
}

static __device__ __forceinline__ bool gate_writes(void *p, unsigned long long n) { return gate_reads(p, n); }

/* Records that the caller offered memory that is not its own (struct guard_record); its session ends as after a fault.
 * The caller's line is not known here. */
static __device__ __forceinline__ void gate_fault(const void *p)
{
	unsigned *records = reinterpret_cast<unsigned *>(gate_desc<unsigned long long>(GATE_D_RECORDS));
	volatile unsigned *r = records + 2;
	unsigned i = atomicAdd_system(records, 1u);

	if (i < 64) {
		r += i * 14;
		r[1] = 5; /* GUARD_FAULT_GATE */
		r[2] = gate_desc<unsigned>(GATE_D_CLIENT);
		r[3] = gate_desc<unsigned>(GATE_D_MODULE);
		r[4] = 0xffffffffu;
		r[5] = 0;
		*reinterpret_cast<volatile unsigned long long *>(r + 6) = reinterpret_cast<unsigned long long>(p);
		r[8] = blockIdx.x;
		r[9] = blockIdx.y;
		r[10] = blockIdx.z;
		r[11] = threadIdx.x;
		r[12] = threadIdx.y;
		r[13] = threadIdx.z;
		__threadfence_system();
		r[0] = 1;
	}
	*reinterpret_cast<volatile unsigned *>(gate_desc<unsigned long long>(GATE_D_FAULT_WORD)) = 1;
}

#endif
