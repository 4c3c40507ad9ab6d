/* streams.cu - order: streams, events, the legacy default stream, callbacks, host functions, several threads. */
#include "check.h"
#include <atomic>
#include <thread>
#include <vector>

__global__ void spin_then_set(volatile int *flag, int value, long long cycles)
{
	long long t = clock64();
	while (clock64() - t < cycles) { }
	*flag = value;
}
__global__ void copy_flag(volatile int *from, volatile int *to) { *to = *from; }
__global__ void add(int *p, int v) { atomicAdd(p, v); }

static void ordering(void)
{
	int *d, h[4] = {};
	MUST(cudaMalloc(&d, 16));
	MUST(cudaMemset(d, 0, 16));
	cudaStream_t a, b, nb;
	MUST(cudaStreamCreate(&a));
	MUST(cudaStreamCreate(&b));
	MUST(cudaStreamCreateWithFlags(&nb, cudaStreamNonBlocking));
	/* legacy after blocking stream, blocking stream after legacy */
	spin_then_set<<<1, 1, 0, a>>>(d, 1, 20000000);
	copy_flag<<<1, 1>>>(d, d + 1);
	copy_flag<<<1, 1, 0, b>>>(d + 1, d + 2);
	MUST(cudaStreamSynchronize(b));
	MUST(cudaMemcpyAsync(h, d, 16, cudaMemcpyDeviceToHost, nb));
	MUST(cudaStreamSynchronize(nb));
	e2e_case("legacy stream orders blocking streams", h[0] == 1 && h[1] == 1 && h[2] == 1);
	/* an event orders otherwise unrelated streams */
	cudaEvent_t e;
	MUST(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
	spin_then_set<<<1, 1, 0, nb>>>(d, 7, 20000000);
	MUST(cudaEventRecord(e, nb));
	MUST(cudaStreamWaitEvent(b, e, 0));
	copy_flag<<<1, 1, 0, b>>>(d, d + 3);
	MUST(cudaStreamSynchronize(b));
	MUST(cudaMemcpy(h, d, 16, cudaMemcpyDeviceToHost));
	e2e_case("stream waits for event", h[3] == 7);
	e2e_case("stream query when idle", cudaStreamQuery(b) == cudaSuccess && cudaEventQuery(e) == cudaSuccess);
	spin_then_set<<<1, 1, 0, nb>>>(d, 8, 400000000);
	MUST(cudaEventRecord(e, nb));
	e2e_case("stream and event query when busy",
		 cudaStreamQuery(nb) == cudaErrorNotReady && cudaEventQuery(e) == cudaErrorNotReady);
	e2e_case("not ready is no error", cudaGetLastError() == cudaSuccess);
	MUST(cudaEventSynchronize(e));
	e2e_case("event query when done", cudaEventQuery(e) == cudaSuccess);
	MUST(cudaEventDestroy(e));
	MUST(cudaStreamDestroy(a));
	MUST(cudaStreamDestroy(b));
	MUST(cudaStreamDestroy(nb));
	MUST(cudaFree(d));
}

static void timing(void)
{
	int *d;
	float ms = -1;
	cudaEvent_t t0, t1;
	MUST(cudaMalloc(&d, 4));
	MUST(cudaEventCreate(&t0));
	MUST(cudaEventCreate(&t1));
	MUST(cudaEventRecord(t0));
	spin_then_set<<<1, 1>>>(d, 1, 40000000);
	MUST(cudaEventRecord(t1));
	MUST(cudaEventSynchronize(t1));
	MUST(cudaEventElapsedTime(&ms, t0, t1));
	e2e_case("elapsed time", ms > 1 && ms < 10000);
	GIVES("elapsed time of an unrecorded event", cudaErrorInvalidResourceHandle, [&] {
		cudaEvent_t u;
		MUST(cudaEventCreate(&u));
		cudaError_t e = cudaEventElapsedTime(&ms, t0, u);
		MUST(cudaEventDestroy(u));
		return e;
	}());
	cudaGetLastError();
	MUST(cudaEventDestroy(t0));
	MUST(cudaEventDestroy(t1));
	MUST(cudaFree(d));
}

static std::atomic<int> calls;
static void CUDART_CB host_fn(void *p) { (*(int *)p)++; calls++; }
static void CUDART_CB stream_cb(cudaStream_t, cudaError_t e, void *p)
{
	if (e == cudaSuccess) (*(int *)p) += 10;
	calls++;
}

static void callbacks(void)
{
	int *d, box = 0, *h;
	cudaStream_t s;
	MUST(cudaMalloc(&d, 4));
	MUST(cudaMallocHost(&h, 4));
	MUST(cudaStreamCreate(&s));
	*h = 41;
	MUST(cudaMemcpyAsync(d, h, 4, cudaMemcpyHostToDevice, s));
	MUST(cudaLaunchHostFunc(s, host_fn, &box));
	add<<<1, 1, 0, s>>>(d, 1);
	MUST(cudaStreamAddCallback(s, stream_cb, &box, 0));
	MUST(cudaLaunchHostFunc(s, host_fn, h)); /* runs before the copy below overwrites h: 41 -> 42 */
	MUST(cudaMemcpyAsync(h, d, 4, cudaMemcpyDeviceToHost, s));
	MUST(cudaStreamSynchronize(s));
	e2e_case("callbacks in stream order", box == 11 && *h == 42 && calls == 3);
	MUST(cudaStreamDestroy(s));
	MUST(cudaFree(d));
	MUST(cudaFreeHost(h));
}

static void threads(void)
{
	int *d, h = 0;
	MUST(cudaMalloc(&d, 4));
	MUST(cudaMemset(d, 0, 4));
	std::vector<std::thread> t;
	std::atomic<int> bad{ 0 };
	for (int k = 0; k < 8; k++)
		t.emplace_back([&, k] {
			cudaStream_t s;
			int *mine, v = 0;
			if (cudaStreamCreate(&s) || cudaMalloc(&mine, 4) || cudaMemsetAsync(mine, 0, 4, s)) {
				bad++;
				return;
			}
			for (int i = 0; i < 50; i++) {
				add<<<1, 32, 0, s>>>(d, 1);
				add<<<1, 32, 0, s>>>(mine, k);
				if (i % 10 == 9 && cudaStreamSynchronize(s)) bad++;
			}
			if (cudaMemcpyAsync(&v, mine, 4, cudaMemcpyDeviceToHost, s) || cudaStreamSynchronize(s) ||
			    v != 50 * 32 * k)
				bad++;
			if (cudaFree(mine) || cudaStreamDestroy(s) || cudaGetLastError()) bad++;
		});
	for (auto &x : t) x.join();
	MUST(cudaDeviceSynchronize());
	MUST(cudaMemcpy(&h, d, 4, cudaMemcpyDeviceToHost));
	e2e_case("eight threads, eight streams", !bad && h == 8 * 50 * 32);
	MUST(cudaFree(d));
}

int main()
{
	ordering();
	timing();
	callbacks();
	threads();
	return e2e_done();
}
