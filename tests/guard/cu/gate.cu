/* Calls of a protected service: the fallback bodies are replaced by its gates. */
#include "adapters/ledger/ledger.cuh"

__global__ void sign(const unsigned char *msg, unsigned char *tag, long long *out, int n)
{
	out[threadIdx.x] = ledger_sign(msg + threadIdx.x * n, n, tag + threadIdx.x * 16);
	if (threadIdx.x == 0)
		out[64] = ledger_count();
}
