/* barrier.cu - barriers of a block in software, for all but `bar.sync 0`.
 *
 * The hardware ends the whole context (illegal instruction, seen on an H200) when threads come to one barrier with
 * different numbers of threads, with and without a number, or for different purposes (sync, red.popc, red.and, red.or),
 * and when the lanes of a warp name different barriers.  No rule about a program's text prevents that, so only the one
 * barrier that cannot be misused stays in hardware: number 0, all threads, sync.  The others become calls of what is
 * here.
 *
 * This is nobody's trusted code: it is linked to the client's module, rewritten and verified with it, and its variables
 * are the client's, to spoil as it likes.  Its loops poll, like all others.
 *
 * A barrier without a number of threads waits for all threads of the block that have not ended; one with a number
 * counts warps, of which each is 32, whatever lanes it has.  Both keep phase << 16 | arrivals in one word. */

struct barrier { unsigned all, counted, red[2]; };

extern "C" {
__shared__ barrier ag_soft_bars[16];
__shared__ unsigned ag_soft_ended;              /* threads of the block */
__shared__ unsigned ag_soft_ended_of[32];       /* threads of each warp */
}

namespace {

__device__ unsigned now(const unsigned &word)
{
	return *(const volatile unsigned *)&word;
}

__device__ unsigned threads()
{
	return blockDim.x * blockDim.y * blockDim.z;
}

__device__ unsigned self()
{
	return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}

/* Opens the next phase if `word`, which the barrier held just now, is complete.  Whoever sees that first does it.
 * The caller has counted itself, arrived or ended, before a fence. */
__device__ void finish(barrier *b, unsigned word)
{
	unsigned here = word & 0xffff;

	if (here == 0 || here + now(ag_soft_ended) != threads())
		return;
	b->red[(word >> 16 & 1) ^ 1] = 0;  /* all have read what it held: they are here */
	__threadfence_block();
	atomicCAS(&b->all, word, (word & 0xffff0000) + 0x10000);
}

/* What my arrival counts: one, and the first lane's for those that do not come, too. To an aligned barrier a warp comes
 * whole, so that is whoever is not here; to others lanes may come later, so it is known only where all the living are
 * here. */
__device__ unsigned weight(bool aligned)
{
	unsigned warp = self() / 32, left = threads() - warp * 32, lanes = left < 32 ? left : 32;
	unsigned mask = __activemask(), below, living = lanes - now(ag_soft_ended_of[warp]);

	asm("mov.u32 %0, %%lanemask_lt;" : "=r"(below));
	return (aligned || __popc(mask) == living) && !(mask & below) ? 33 - __popc(mask) : 1;
}

__device__ unsigned arrive_counted(barrier *b, unsigned count, bool aligned)
{
	unsigned n, old, here;

	if (count > 1024 || count % 32)
		__trap();
	n = weight(aligned);
	old = atomicAdd(&b->counted, n);
	here = old & 0xffff;
	/* Who comes while the last of a phase is closing it belongs to the next one. */
	if (here / count != (here + n) / count) {
		b->red[(old >> 16 & 1) ^ 1] = 0;
		__threadfence_block();
		atomicAdd(&b->counted, 0x10000 - count);
	}
	return (old >> 16) + here / count;
}

__device__ void wait(const unsigned &word, unsigned phase)
{
	while ((short)((now(word) >> 16) - phase) <= 0)
		;
	__threadfence_block();
}

__device__ void arrive_and_wait(barrier *b, unsigned count, bool aligned)
{
	unsigned word;

	__threadfence_block();
	if (count) {
		wait(b->counted, arrive_counted(b, count, aligned));
		return;
	}
	word = atomicAdd(&b->all, 1) + 1;
	__threadfence_block();
	finish(b, word);
	wait(b->all, word >> 16);
}

}

/* The functions that the rewriter calls by name (guard/soft.c). */
extern "C" {

/* At the kernel's start, by all threads. */
__device__ static __forceinline__ void clear()
{
	for (unsigned i = self(); i < sizeof(ag_soft_bars) / 4; i += threads())
		((unsigned *)ag_soft_bars)[i] = 0;
	for (unsigned i = self(); i < 32; i += threads())
		ag_soft_ended_of[i] = 0;
	if (self() == 0)
		ag_soft_ended = 0;
}

__device__ void ag_soft_start()
{
	clear();
	__syncthreads();
}

/* Where nobody may wait for the block in hardware. */
__device__ void ag_soft_start_cluster()
{
	clear();
	asm volatile("barrier.cluster.arrive;\nbarrier.cluster.wait;" ::: "memory");
}

/* Where a thread ends. */
__device__ void ag_soft_end()
{
	atomicAdd(&ag_soft_ended_of[self() / 32], 1);
	atomicAdd(&ag_soft_ended, 1);
	__threadfence_block();
#pragma unroll 1
	for (unsigned i = 0; i < 16; i++)
		finish(&ag_soft_bars[i], now(ag_soft_bars[i].all));
}

__device__ void ag_soft_sync(unsigned id, unsigned count, unsigned aligned)
{
	arrive_and_wait(&ag_soft_bars[id & 15], count, aligned);
}

__device__ void ag_soft_arrive(unsigned id, unsigned count, unsigned aligned)
{
	__threadfence_block();
	if (count == 0)
		__trap();
	arrive_counted(&ag_soft_bars[id & 15], count, aligned);
}

/* How many threads came with p. */
__device__ unsigned ag_soft_red(unsigned id, unsigned count, unsigned aligned, unsigned p)
{
	barrier *b = &ag_soft_bars[id & 15];
	unsigned *sum = &b->red[now(count ? b->counted : b->all) >> 16 & 1];

	if (p)
		atomicAdd(sum, 1);
	arrive_and_wait(b, count, aligned);
	return now(*sum);
}

}
