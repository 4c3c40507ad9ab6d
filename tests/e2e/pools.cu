/* pools.cu - stream-ordered allocation: the default pool and pools of one's own, their attributes, trimming and access;
 * memory that goes from stream to stream. */
#include "check.h"
#include <thread>
#include <vector>

__global__ void add(int *p, int v, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) p[i] += v;
}

enum { N = 1 << 18, BYTES = N * 4 };

static uint64_t get(cudaMemPool_t pool, cudaMemPoolAttr what)
{
	uint64_t v = ~0ull;
	MUST(cudaMemPoolGetAttribute(pool, what, &v));
	return v;
}

static bool all(const int *d, int want, cudaStream_t s)
{
	std::vector<int> h(N);
	MUST(cudaMemcpyAsync(h.data(), d, BYTES, cudaMemcpyDeviceToHost, s));
	MUST(cudaStreamSynchronize(s));
	for (int v : h)
		if (v != want) return false;
	return true;
}

static void attributes(cudaMemPool_t pool, cudaStream_t s)
{
	uint64_t keep = ~0ull, zero = 0, before = get(pool, cudaMemPoolAttrUsedMemCurrent);
	int *p, follow = -1;
	e2e_case("threshold is zero at first", get(pool, cudaMemPoolAttrReleaseThreshold) == 0);
	MUST(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
	e2e_case("threshold as set", get(pool, cudaMemPoolAttrReleaseThreshold) == keep);
	MUST(cudaMemPoolGetAttribute(pool, cudaMemPoolReuseFollowEventDependencies, &follow));
	e2e_case("reuse follows events at first", follow == 1);
	follow = 0;
	MUST(cudaMemPoolSetAttribute(pool, cudaMemPoolReuseFollowEventDependencies, &follow));
	MUST(cudaMemPoolGetAttribute(pool, cudaMemPoolReuseFollowEventDependencies, &follow));
	e2e_case("reuse as set", follow == 0);
	MUST(cudaMallocAsync(&p, BYTES, s));
	uint64_t used = get(pool, cudaMemPoolAttrUsedMemCurrent);
	e2e_case("memory in use is counted", used >= before + BYTES);
	e2e_case("reserved holds what is used", get(pool, cudaMemPoolAttrReservedMemCurrent) >= used);
	cudaPointerAttributes a;
	MUST(cudaPointerGetAttributes(&a, p));
	e2e_case("a pool's memory is the device's", a.type == cudaMemoryTypeDevice && a.device == 0
		&& a.devicePointer == p);
	MUST(cudaFreeAsync(p, s));
	MUST(cudaStreamSynchronize(s));
	e2e_case("and no longer when freed", get(pool, cudaMemPoolAttrUsedMemCurrent) == before);
	e2e_case("the highest use stays", get(pool, cudaMemPoolAttrUsedMemHigh) >= used);
	MUST(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &zero));
	e2e_case("until it is reset", get(pool, cudaMemPoolAttrUsedMemHigh) < used);
	GIVES("it can only be reset", cudaErrorInvalidValue,
		cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &keep));
	cudaGetLastError();
	e2e_case("what is freed stays reserved", get(pool, cudaMemPoolAttrReservedMemCurrent) >= BYTES);
	MUST(cudaMemPoolTrimTo(pool, 0));
	e2e_case("until the pool is trimmed", get(pool, cudaMemPoolAttrReservedMemCurrent) < BYTES);
	MUST(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &zero));
	GIVES("no such attribute", cudaErrorInvalidValue, cudaMemPoolGetAttribute(pool, (cudaMemPoolAttr)99, &zero));
	cudaGetLastError();
}

static void order(cudaStream_t s)
{
	int *p[8];
	cudaStream_t t;
	cudaEvent_t e;
	bool ok = true;
	MUST(cudaStreamCreateWithFlags(&t, cudaStreamNonBlocking));
	MUST(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
	/* Blocks follow each other in one stream with no wait of the host. */
	for (int k = 0; k < 8; k++) {
		MUST(cudaMallocAsync(&p[k], BYTES, s));
		MUST(cudaMemsetAsync(p[k], 0, BYTES, s));
		add<<<N / 256, 256, 0, s>>>(p[k], k + 1, N);
		ok = ok && (k & 1 ? true : all(p[k], k + 1, s));
		if (k & 1) MUST(cudaFreeAsync(p[k], s));
	}
	for (int k = 0; k < 8; k += 2) ok = ok && all(p[k], k + 1, s);
	e2e_case("freed blocks touch no live ones", ok);
	for (int k = 0; k < 8; k += 2) MUST(cudaFreeAsync(p[k], s));
	/* Allocated on one stream, used and freed on another. */
	MUST(cudaMallocAsync(&p[0], BYTES, s));
	MUST(cudaMemsetAsync(p[0], 0, BYTES, s));
	MUST(cudaEventRecord(e, s));
	MUST(cudaStreamWaitEvent(t, e, 0));
	add<<<N / 256, 256, 0, t>>>(p[0], 9, N);
	e2e_case("used on another stream", all(p[0], 9, t));
	MUST(cudaFreeAsync(p[0], t));
	/* A block freed behind slow work must not reach another stream before that work is over. */
	MUST(cudaMallocAsync(&p[0], BYTES, s));
	MUST(cudaMemsetAsync(p[0], 0, BYTES, s));
	for (int i = 0; i < 50; i++) add<<<N / 256, 256, 0, s>>>(p[0], 1, N);
	MUST(cudaFreeAsync(p[0], s));
	MUST(cudaMallocAsync(&p[1], BYTES, t));
	MUST(cudaMemsetAsync(p[1], 0, BYTES, t));
	MUST(cudaStreamSynchronize(s));
	e2e_case("no block has two users", all(p[1], 0, t));
	/* Either kind of free takes either kind of memory. */
	MUST(cudaStreamSynchronize(t));
	MUST(cudaFree(p[1]));
	MUST(cudaMalloc(&p[2], BYTES));
	MUST(cudaMemsetAsync(p[2], 0, BYTES, t));
	MUST(cudaFreeAsync(p[2], t));
	MUST(cudaStreamSynchronize(t));
	e2e_case("both frees take both", cudaGetLastError() == cudaSuccess);
	MUST(cudaEventDestroy(e));
	MUST(cudaStreamDestroy(t));
}

static void own(cudaMemPool_t first, cudaStream_t s)
{
	cudaMemPool_t pool, now;
	cudaMemPoolProps props = {};
	int *p, *q;
	props.allocType = cudaMemAllocationTypePinned;
	props.handleTypes = cudaMemHandleTypeNone;
	props.location.type = cudaMemLocationTypeDevice;
	MUST(cudaMemPoolCreate(&pool, &props));
	MUST(cudaMallocFromPoolAsync(&p, BYTES, pool, s));
	e2e_case("a pool of one's own counts for itself", get(pool, cudaMemPoolAttrUsedMemCurrent) >= BYTES);
	MUST(cudaMemsetAsync(p, 0, BYTES, s));
	add<<<N / 256, 256, 0, s>>>(p, 3, N);
	e2e_case("its memory works", all(p, 3, s));
	MUST(cudaFreeAsync(p, s));
	MUST(cudaDeviceSetMemPool(0, pool));
	MUST(cudaDeviceGetMemPool(&now, 0));
	uint64_t before = get(first, cudaMemPoolAttrUsedMemCurrent);
	MUST(cudaMallocAsync(&q, BYTES, s));
	e2e_case("the device's pool can be another", now == pool && get(first, cudaMemPoolAttrUsedMemCurrent) == before
		&&
		get(pool, cudaMemPoolAttrUsedMemCurrent) >= BYTES);
	MUST(cudaFreeAsync(q, s));
	MUST(cudaDeviceSetMemPool(0, first));
	cudaMemAccessDesc access = {};
	cudaMemAccessFlags flags = cudaMemAccessFlagsProtNone;
	access.location.type = cudaMemLocationTypeDevice;
	access.flags = cudaMemAccessFlagsProtReadWrite;
	MUST(cudaMemPoolSetAccess(pool, &access, 1));
	MUST(cudaMemPoolGetAccess(&flags, pool, &access.location));
	e2e_case("the device may use its pool", flags == cudaMemAccessFlagsProtReadWrite);
	access.location.id = 4711;
	e2e_case("a device that does not exist may not", cudaMemPoolSetAccess(pool, &access, 1) != cudaSuccess);
	cudaGetLastError();
	MUST(cudaStreamSynchronize(s));
	MUST(cudaMemPoolDestroy(pool));
	props.location.id = 4711;
	e2e_case("no pool on a device that does not exist", cudaMemPoolCreate(&pool, &props) != cudaSuccess);
	cudaGetLastError();
}

static void threads()
{
	std::vector<std::thread> t;
	bool good[4] = {};
	for (int k = 0; k < 4; k++)
		t.emplace_back([k, &good] {
			cudaStream_t s;
			bool ok = cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) == cudaSuccess;
			for (int i = 0; i < 20 && ok; i++) {
				int *p, h[2] = {};
				size_t n = 64 << (i % 8);
				ok = !cudaMallocAsync(&p, n * 4, s) && !cudaMemsetAsync(p, 0, n * 4, s);
				if (!ok) break;
				add<<<(unsigned)(n + 255) / 256, 256, 0, s>>>(p, k * 100 + i, (int)n);
				ok = !cudaMemcpyAsync(h, p, 4, cudaMemcpyDeviceToHost, s) &&
					!cudaMemcpyAsync(h + 1, p + n - 1, 4, cudaMemcpyDeviceToHost, s)
						&& !cudaFreeAsync(p, s) &&
					!cudaStreamSynchronize(s) && h[0] == k * 100 + i && h[1] == h[0];
			}
			good[k] = ok && !cudaStreamDestroy(s);
		});
	for (auto &x : t) x.join();
	e2e_case("four threads allocate and free", good[0] && good[1] && good[2] && good[3]);
}

int main()
{
	int supported = 0;
	cudaMemPool_t pool, now;
	cudaStream_t s;
	MUST(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, 0));
	e2e_case("pools are supported", supported == 1);
	MUST(cudaDeviceGetDefaultMemPool(&pool, 0));
	MUST(cudaDeviceGetMemPool(&now, 0));
	e2e_case("the default pool is the device's", pool == now);
	GIVES("no pool of another device", cudaErrorInvalidDevice, cudaDeviceGetDefaultMemPool(&now, 4711));
	cudaGetLastError();
	MUST(cudaStreamCreate(&s));
	attributes(pool, s);
	order(s);
	own(pool, s);
	threads();
	MUST(cudaStreamDestroy(s));
	return e2e_done();
}
