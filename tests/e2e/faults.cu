/* faults.cu - what a program sees of its own mistakes. One mistake per process: the argument picks it. */
#include "check.h"
#include <cassert>
#include <sys/wait.h>
#include <unistd.h>

__global__ void wild(int *p) { *p = 1; }
__global__ void asserts(int n) { assert(n < 0); }
__global__ void traps(void) { asm volatile("trap;"); }
__global__ void misaligned(char *p) { *(int *)(p + 1) = 1; }
__global__ void fine(int *p) { *p = 2; }

/* The error of the synchronisation after the mistake, then of an unrelated call: the context is lost. */
static int child(int what)
{
	int *d;
	if (cudaMalloc(&d, 64)) return 99;
	switch (what) {
	case 0: wild<<<1, 1>>>((int *)0x10); break;
	case 1: wild<<<1, 1>>>(d + (1ull << 34)); break;
	case 2: asserts<<<1, 1>>>(3); break;
	case 3: traps<<<1, 1>>>(); break;
	case 4: misaligned<<<1, 1>>>((char *)d); break;
	}
	cudaError_t first = cudaDeviceSynchronize();
	int *other;
	cudaError_t second = cudaMalloc(&other, 64);
	if (second == cudaSuccess) { fine<<<1, 1>>>(other); second = cudaDeviceSynchronize(); }
	if (second != first) return 98;
	return (int)first;
}

static void expect(const char *name, const char *self, int what, int want)
{
	char arg[8], why[80];
	snprintf(arg, sizeof arg, "%d", what);
	pid_t p = fork();
	if (p == 0) { freopen("/dev/null", "w", stderr); execl(self, self, arg, (char *)0); _exit(97); }
	int st;
	waitpid(p, &st, 0);
	int code = WIFEXITED(st) ? WEXITSTATUS(st) : -1;
	snprintf(why, sizeof why, "status %d, expected %d", code, want & 255);
	e2e_case(name, code == (want & 255), why);
}

int main(int argc, char **argv)
{
	if (argc > 1) return child(atoi(argv[1])) & 255;
	expect("store to a small address", argv[0], 0, cudaErrorIllegalAddress);
	expect("store far outside", argv[0], 1, cudaErrorIllegalAddress);
	expect("failed assertion", argv[0], 2, cudaErrorAssert);
	expect("trap", argv[0], 3, cudaErrorLaunchFailure);
	expect("misaligned store", argv[0], 4, cudaErrorMisalignedAddress);
	return e2e_done();
}
