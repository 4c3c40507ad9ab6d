/* Warp-wide operations, special registers, barriers with operands, jump tables. */
__global__ void warp(unsigned *o)
{
	unsigned m = __activemask(), v = __shfl_xor_sync(~0u, o[threadIdx.x], 1);
	v += __ballot_sync(~0u, v & 1) + __popc(m) + __any_sync(m, v > 3) + __all_sync(m, v > 4);
	v += __match_any_sync(m, v) + __reduce_add_sync(~0u, v) + __reduce_max_sync(~0u, v);
	v += __shfl_up_sync(~0u, v, 3) + __shfl_down_sync(~0u, v, 2) + __shfl_sync(~0u, v, 5);
	o[threadIdx.x] = v + __clz(v) + __ffs(v) + __brev(v) + __byte_perm(v, m, 0x1234) + __funnelshift_l(v, m, 3);
	o[2] = clock();
	*(unsigned long long *)(o + 4) = clock64();
	__nanosleep(v);
	__nanosleep(100);
	__syncwarp();
}

__global__ void barriers(int *o, int b)
{
	asm volatile("bar.sync %0, %1;" ::"r"(b), "r"(64));
	asm volatile("barrier.sync %0;" ::"r"(b));
	asm volatile("bar.arrive 3, 64;");
	o[0] = __syncthreads_count(b) + __syncthreads_and(b) + __syncthreads_or(b);
}

__global__ void table(int *o, int n)
{
	switch (n) {
	case 0: o[0] = 1; break;
	case 1: o[1] = 3; break;
	case 2: o[5] = 7; break;
	case 3: o[7] = 9; break;
	case 4: o[8] = 1; break;
	case 5: o[3] = n; break;
	case 6: o[9] = 2; break;
	case 7: o[11] = 5; break;
	default: o[2] = 3;
	}
}
