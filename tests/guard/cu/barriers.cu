/* Barriers other than __syncthreads(): numbered ones with a count, arrivals without waiting, votes of a block, and
 * threads that end while others go on using them. */
#define SYNC(id, n) asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory")
#define ARRIVE(id, n) asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(n) : "memory")

/* Warp 0 makes n numbers, the other warps add them up: o[thread] = 0 + 1 + 4 + 9 ... */
__global__ void pipe(int *o, int n)
{
	__shared__ volatile int slot;
	int sum = 0, all = blockDim.x;

	for (int i = 0; i < n; i++) {
		if (threadIdx.x < 32) {
			SYNC(1, all);
			if (threadIdx.x == 0)
				slot = i * i;
			__threadfence_block();
			ARRIVE(2, all);
		} else {
			ARRIVE(1, all);
			SYNC(2, all);
			sum += slot;
		}
	}
	o[threadIdx.x] = sum;
}

/* Each half of the block adds up its thread numbers n times, by a barrier of its own. */
__global__ void halves(int *o, int n)
{
	__shared__ int v[1024];
	int half = blockDim.x / 2, me = threadIdx.x, which = me >= half, at = me - which * half, sum = 0;

	for (int i = 0; i < n + which; i++) {
		v[me] = me;
		SYNC(4 + which, half);
		for (int s = half / 2; s > 0; s /= 2) {
			if (at < s)
				v[me] += v[me + s];
			SYNC(4 + which, half);
		}
		sum += v[which * half];
		SYNC(4 + which, half);
	}
	o[me] = sum;
}

/* Votes: o[thread] is a checksum of what all of them said. */
__global__ void votes(int *o, int n)
{
	int sum = 0, me = threadIdx.x + threadIdx.y * blockDim.x, all = blockDim.x * blockDim.y;

	for (int i = 0; i < n; i++) {
		sum = sum * 3 + __syncthreads_count(me % (i + 2) == 0);
		sum = sum * 3 + __syncthreads_and(me < all - i % 2);
		sum = sum * 3 + __syncthreads_or(me == all - 1 && i % 2);
		__syncthreads();
	}
	o[me] = sum;
}

/* Warp w goes n + w % 5 rounds and ends; the others' votes count who is left. */
__global__ void leavers(int *o, int n)
{
	int sum = 0;

	for (int i = 0; i < n + (int)(threadIdx.x / 32 % 5); i++) {
		sum = sum * 3 + __syncthreads_count(1);
		o[threadIdx.x] = sum;
	}
}

/* The last warp is no whole one, and lanes of the first have ended: each warp counts for 32 all the same. */
__global__ void part(int *o, int n)
{
	__shared__ int v[1024];
	int me = threadIdx.x, up = (blockDim.x + 31) / 32 * 32;

	v[me] = me;
	if (me >= 8 && me < 16)
		return;
	__syncwarp();
	for (int i = 0; i < n; i++) {
		SYNC(7, up);
		int next = v[me < 16 ? me : (me + 1) % blockDim.x];
		SYNC(7, up);
		v[me] = next + 1;
	}
	o[me] = v[me];
}
