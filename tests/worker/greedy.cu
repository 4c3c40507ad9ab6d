/* greedy.cu - a client that takes what it can get, for limits_test.sh.
 *   greedy memory   how many MiB can be had of the device and of pinned host memory
 *   greedy arrays   how many MiB as arrays
 *   greedy grid     the result of a launch of more blocks than end in a lifetime
 *   greedy streams  how many streams there are to be had
 *   greedy child    how far a graph grows that is put into itself twice, again and again
 *   greedy array    waits, in a call, for an endless kernel */
#include <cstdio>
#include <cstring>
#include <unistd.h>
#include <cuda_runtime.h>

__global__ void nothing() { }

__global__ void endless(volatile unsigned *p)
{
	while (*p != 0xdead) { }
}

static unsigned take(int kind)
{
	unsigned n = 0;
	for (void *p; n < 100000; n += 4) {
		cudaArray_t a;
		cudaChannelFormatDesc f = cudaCreateChannelDesc<float>();
		cudaError_t e = kind == 0 ? cudaMalloc(&p, 4 << 20)
			: kind == 1 ? cudaMallocArray(&a, &f, 1024, 1024)
				    : cudaMallocHost(&p, 4 << 20);
		if (e == cudaErrorMemoryAllocation) return n;
		if (e) {
			printf("error=%s\n", cudaGetErrorName(e));
			return n;
		}
	}
	return n;
}

static int memory()
{
	size_t avail, total;
	unsigned device = take(0), host = take(2);
	cudaMemGetInfo(&avail, &total);
	printf("device=%u host=%u total=%zu\n", device, host, total >> 20);
	return 0;
}

static int arrays()
{
	printf("arrays=%u\n", take(1));
	fflush(stdout);
	sleep(1);
	return 0;
}

static int grid()
{
	nothing<<<dim3(0x7fffffff, 65535, 65535), 32>>>();
	cudaError_t e = cudaGetLastError(), then = cudaDeviceSynchronize();
	printf("grid=%s,%s\n", cudaGetErrorName(e), cudaGetErrorName(then));
	return 0;
}

static int streams()
{
	unsigned n = 0;
	for (cudaStream_t s; n < 100000 && !cudaStreamCreate(&s) && !cudaStreamSynchronize(s); n++) { }
	printf("streams=%u\n", n);
	return 0;
}

static int child()
{
	cudaGraph_t g, next;
	cudaGraphNode_t n;
	unsigned doubled = 0;
	cudaError_t e = cudaGraphCreate(&g, 0);
	if (!e) e = cudaGraphAddEmptyNode(&n, g, nullptr, 0);
	for (; !e && doubled < 64; doubled++) {
		e = cudaGraphCreate(&next, 0);
		for (int i = 0; i < 2 && !e; i++)
			e = cudaGraphAddChildGraphNode(&n, next, nullptr, 0, g);
		g = next;
	}
	printf("doubled=%u %s\n", doubled, cudaGetErrorName(e));
	return 0;
}

static int array()
{
	cudaArray_t a;
	unsigned *d;
	cudaChannelFormatDesc f = cudaCreateChannelDesc<float>();
	if (cudaMallocArray(&a, &f, 16, 16) || cudaMalloc(&d, 4096) || cudaMemset(d, 0, 4096)) return 2;
	endless<<<1, 32>>>(d);
	puts("waiting");
	fflush(stdout);
	cudaFreeArray(a);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct { const char *name; int (*run)(); } what[] = {
		{ "memory", memory }, { "arrays", arrays }, { "grid", grid },
		{ "streams", streams }, { "child", child }, { "array", array },
	};
	for (auto &w : what)
		if (argc == 2 && !strcmp(argv[1], w.name)) return w.run();
	return 2;
}
