/* load.cu - programs for the failure tests.
 *   load steady STOP   computes and checks until the file STOP exists; prints rounds and wrong results
 *   load victim SEED   keeps the worker busy in every way until it is killed: streams, events, copies,
 * memory, endless kernels load wait          launches work and waits; prints what the wait returned and how long
 * after its line "waiting" that was
 *   load poke          one write to memory that is not its own; load held: the same while other work is held back
 *   load hog N         a kernel without end and N launches behind it; load quick: one kernel, and how long that took */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <unistd.h>
#include <cuda_runtime.h>

__global__ void mix(unsigned *p, unsigned n, unsigned k)
{
	unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) p[i] = p[i] * 1664525u + k;
}

__global__ void endless(volatile unsigned *p)
{
	while (*p != 0xdead) { }
}

static double seconds()
{
	timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int steady(const char *stop)
{
	const unsigned n = 4096;
	static unsigned h[n];
	unsigned *d, rounds = 0, wrong = 0;
	if (cudaMalloc(&d, sizeof h)) return 2;
	while (access(stop, F_OK)) {
		unsigned want = rounds;
		for (unsigned i = 0; i < n; i++) h[i] = rounds;
		if (cudaMemcpy(d, h, sizeof h, cudaMemcpyHostToDevice)) return 3;
		for (int k = 0; k < 4; k++) {
			mix<<<n / 256, 256>>>(d, n, k);
			want = want * 1664525u + k;
		}
		cudaError_t e = cudaMemcpy(h, d, sizeof h, cudaMemcpyDeviceToHost);
		if (e) { printf("steady: %s\n", cudaGetErrorName(e)); return 4; }
		for (unsigned i = 0; i < n; i++) wrong += h[i] != want;
		rounds++;
	}
	printf("steady rounds=%u wrong=%u\n", rounds, wrong);
	return wrong != 0;
}

static void host(void *p) { usleep(1000); ++*(unsigned *)p; }

static int victim(unsigned seed)
{
	cudaStream_t st[3];
	cudaEvent_t ev;
	unsigned *d[4] = {}, *h, calls = 0;
	srand(seed);
	for (int i = 0; i < 3; i++)
		cudaStreamCreateWithFlags(&st[i], i == 2 ? cudaStreamNonBlocking : cudaStreamDefault);
	cudaEventCreate(&ev);
	cudaMallocHost(&h, 1 << 20);
	if (seed % 4 == 0) {
		cudaMalloc(&d[0], 4096);
		cudaMemset(d[0], 0, 4096);
		endless<<<1, 32, 0, st[2]>>>(d[0]);
	}
	for (;;) {
		int s = rand() % 3, k = 1 + rand() % 3;
		switch (rand() % 8) {
		case 0: cudaMalloc(&d[k], (size_t)(rand() % 8 + 1) << 20); break;
		case 1: if (seed % 4) cudaFree(d[k]), d[k] = nullptr; break;
		case 2: case 3: if (d[k]) mix<<<16, 128, 0, st[s]>>>(d[k], 2048, k); break;
		case 4: if (d[k]) cudaMemcpyAsync(d[k], h, 65536, cudaMemcpyHostToDevice, st[s]); break;
		case 5: cudaEventRecord(ev, st[s]); cudaStreamWaitEvent(st[(s + 1) % 2], ev, 0); break;
		case 6: cudaLaunchHostFunc(st[s], host, &calls); break;
		case 7: if (d[k]) cudaMemsetAsync(d[k], 1, 1 << 16, st[s]); break;
		}
	}
}

__global__ void write(unsigned *p) { *p = 1; }

static int poke()
{
	if (cudaFree(nullptr)) return 2;
	write<<<1, 1>>>((unsigned *)0x7000000010ull);
	cudaError_t e = cudaDeviceSynchronize();
	printf("poke result=%s\n", cudaGetErrorName(e));
	return 0;
}

static int wait()
{
	unsigned *d;
	if (cudaMalloc(&d, 4096) || cudaMemset(d, 0, 4096)) return 2;
	endless<<<1, 32>>>(d);
	puts("waiting");
	fflush(stdout);
	cudaError_t e = cudaDeviceSynchronize();
	double t = seconds();
	cudaError_t again = cudaMalloc(&d, 4096), third = cudaMemset(d, 0, 16);
	printf("wait result=%s again=%s,%s more=%.2f\n", cudaGetErrorName(e), cudaGetErrorName(again),
	       cudaGetErrorName(third), seconds() - t);
	return e == cudaSuccess;
}

/* The halves of each warp wait for each other at different places, of the block or of the warp. */
__global__ void stuck(unsigned *p)
{
	if (threadIdx.x & 16)
		p[threadIdx.x] = __shfl_xor_sync(~0u, p[threadIdx.x], 1);
	else if (threadIdx.x < 32)
		p[threadIdx.x] = __ballot_sync(~0u, p[threadIdx.x]);
	else
		__syncthreads();
}

/* A kernel without end (or, `deadlock`, stuck), and `behind` launches queued behind it. */
static int hog(int behind, bool deadlock)
{
	unsigned *d;
	cudaStream_t st;
	if (cudaMalloc(&d, 4096) || cudaMemset(d, 0, 4096) || cudaDeviceSynchronize()) return 2;
	cudaStreamCreateWithFlags(&st, cudaStreamNonBlocking);
	if (deadlock) stuck<<<2, 64, 0, st>>>(d);
	else endless<<<1, 32, 0, st>>>(d);
	puts("hogging");
	fflush(stdout);
	for (int i = 0; i < behind; i++) mix<<<1, 32, 0, st>>>(d, 32, i);
	cudaError_t e = cudaStreamSynchronize(st);
	printf("hog result=%s\n", cudaGetErrorName(e));
	return 0;
}

static int quick()
{
	double t = seconds();
	unsigned *d, h = 7;
	if (cudaMalloc(&d, 4096) || cudaMemset(d, 0, 4096)) return 2;
	mix<<<1, 1>>>(d, 1, 5);
	cudaError_t e = cudaMemcpy(&h, d, sizeof h, cudaMemcpyDeviceToHost);
	printf("quick result=%s,%u seconds=%.1f\n", cudaGetErrorName(e), h, seconds() - t);
	return e != cudaSuccess || h != 5;
}

static void slow(void *) { usleep(300000); }

/* Faults in one stream while work of another is held back by a host function: what was held back meets the fault. */
static int held()
{
	unsigned *d;
	cudaStream_t a, b;
	if (cudaMalloc(&d, 4096) || cudaDeviceSynchronize()) return 2;
	cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
	cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
	cudaLaunchHostFunc(a, slow, nullptr);
	for (int i = 0; i < 8; i++) mix<<<1, 32, 0, a>>>(d, 32, i);
	write<<<1, 1, 0, b>>>((unsigned *)0x7000000010ull);
	usleep(600000);
	printf("held result=%s\n", cudaGetErrorName(cudaDeviceSynchronize()));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "steady")) return steady(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "victim")) return victim(atoi(argv[2]));
	if (argc == 2 && !strcmp(argv[1], "wait")) return wait();
	if (argc == 2 && !strcmp(argv[1], "poke")) return poke();
	if (argc == 3 && !strcmp(argv[1], "hog")) return hog(atoi(argv[2]), false);
	if (argc == 4 && !strcmp(argv[1], "hog")) return hog(atoi(argv[2]), !strcmp(argv[3], "stuck"));
	if (argc == 2 && !strcmp(argv[1], "quick")) return quick();
	if (argc == 2 && !strcmp(argv[1], "held")) return held();
	return 2;
}
