/* Threads of a warp that come to a join or a barrier one after the other, or not at all because they have ended. */
__device__ int spin(volatile int *flag, int n)
{
	int i = 0;
	while (*flag < n)
		i++;
	return i & 0;
}

__device__ int sum(int v)
{
	for (int d = 1; d < 32; d *= 2)
		v += __shfl_xor_sync(~0u, v, d);
	return v;
}

/* The lower lanes wait in a loop for what the upper ones do on their way to the same place. */
__global__ void late(int *o)
{
	__shared__ int flag[32];
	int w = threadIdx.x / 32, lane = threadIdx.x % 32, v = o[threadIdx.x];
	if (!lane)
		flag[w] = 0;
	__syncwarp();
	for (int i = 0; i < 3; i++) {
		if (lane < 16)
			v += spin(&flag[w], 16 * (i + 1));
		else
			atomicAdd(&flag[w], 1);
		v = sum(v) + lane;
	}
	o[threadIdx.x] = v + __popc(__ballot_sync(~0u, v & 1));
}

/* Some return at the start, some in a loop, some after it; the rest goes on joining.  2-D, a partial last warp. */
__global__ void leaves(int *o, int n)
{
	int t = threadIdx.y * blockDim.x + threadIdx.x, v = o[t];
	if (t % 7 == 3)
		return;
	for (int i = 0; i < n; i++) {
		if (t % 5 == 1 && i == t % 3)
			return;
		v += __popc(__ballot_sync(~0u, v & 1));
		__syncwarp();
		v += __reduce_add_sync(~0u, v & 0xff);
	}
	if (t % 4 == 2) {
		o[t] = v;
		return;
	}
	v += __any_sync(~0u, v > 100) + __match_any_sync(~0u, v & 3);
	o[t] = v;
}

/* break, then a barrier of the warp and shuffles. */
__global__ void breaks(int *o, int n)
{
	int t = threadIdx.x, v = o[t];
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < n; i++) {
			v = v * 3 + i;
			if ((v & 63) == (t & 31))
				break;
		}
		__syncwarp();
		v = sum(v & 0xfff) + t;
	}
	o[t] = v;
}

/* Lane after lane ends while the others join: each round finds one less. */
__global__ void fewer(int *o)
{
	int t = threadIdx.x, lane = t % 32, all = 0;
	for (int i = 0; i < lane; i++)
		all += __popc(__ballot_sync(~0u, 1));
	o[t] = all;
}

/* Barriers of the block: whole warps leave, single threads leave, the others come in parts. */
__global__ void blocks(int *o, int n)
{
	__shared__ int s[256];
	int t = threadIdx.x, v = o[t];
	s[t] = 0;
	__syncthreads();
	if (t / 32 == 1 || t % 9 == 4)
		return;
	for (int i = 0; i < n; i++) {
		if (t & 1)
			for (int k = 0; k < t; k++)
				v = v * 5 + k;
		atomicAdd(&s[(t + i) & 255], v & 15);
		__syncthreads();
		v += s[(t * 3 + i) & 255];
		__syncthreads();
		if (t % 11 == i)
			return;
	}
	o[t] = v;
}

/* Warps that take turns at a predicated barrier, and a join under a predicate. */
__global__ void predicated(int *o)
{
	int t = threadIdx.x, w = t / 32, v = o[t], r = 0;
	asm volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %2, 1;\n@p shfl.sync.bfly.b32 %0, %1, 1, 31, -1;\n"
		     "@p bar.warp.sync -1;\n}" : "+r"(r) : "r"(v), "r"(w));
	o[t] = v + r;
}

/* Matrix instructions behind paths of unequal length. */
__global__ void matrices(int *o)
{
	int t = threadIdx.x;
	unsigned a = 0x3c003c00, b = 0x40004000;
	float d[4] = { 0, 0, 0, 0 };
	for (int i = 0; i < (t & 7) + 1; i++)
		a ^= (unsigned)o[i] & 0x100;
	if (t & 1)
		for (int i = 0; i < t; i++)
			b ^= (unsigned)o[i] & 0x200;
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a), "r"(a), "r"(b));
	o[t] = (int)(d[0] + d[1] + d[2] + d[3]);
}

/* Dynamic memory of a large alignment directly behind the guard's own. */
__global__ void dynamic(int *o, int n)
{
	extern __shared__ __align__(1024) int dyn[];
	int t = threadIdx.x;
	for (int i = t; i < n; i += blockDim.x)
		dyn[i] = o[i & 1023];
	__syncthreads();
	o[t] = dyn[n - 1 - t] + __shfl_down_sync(~0u, dyn[t], 1);
}

__global__ void __launch_bounds__(96) bounded(int *o)
{
	__shared__ int s[96];
	s[threadIdx.x] = o[threadIdx.x];
	__syncthreads();
	if (threadIdx.x % 3)
		o[threadIdx.x] = s[95 - threadIdx.x] + __popc(__activemask());
	else
		return;
	__syncthreads();
	o[threadIdx.x] += s[0];
}
