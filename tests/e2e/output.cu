/* output.cu - printf from kernels reaches this program's stdout, whole lines, in order for one thread. */
#include "check.h"
#include <string>
#include <unistd.h>
#include <fcntl.h>

__global__ void hello(int n)
{
	if (threadIdx.x == 0)
		printf("hello %d %s %5.2f|%-6d|%#x|%c|%%|%llu\n", n, "text", 3.14159, 42, 255, 'z', 1ull << 40);
}
__global__ void many(void) { printf("t%03d of block %d\n", threadIdx.x, blockIdx.x); }
__global__ void result(int *r) { r[0] = printf("a"); r[1] = printf("%d%d\n", 1, 2); }

static int saved;
static char path[] = "/tmp/e2e_output_XXXXXX";

static void capture(void)
{
	strcpy(path, "/tmp/e2e_output_XXXXXX");
	int fd = mkstemp(path);
	fflush(stdout);
	saved = dup(1);
	dup2(fd, 1);
	close(fd);
}

static std::string captured(void)
{
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	std::string s;
	FILE *f = fopen(path, "r");
	for (int c; (c = fgetc(f)) != EOF;) s += (char)c;
	fclose(f);
	unlink(path);
	return s;
}

int main()
{
	capture();
	hello<<<1, 32>>>(7);
	cudaError_t e = cudaDeviceSynchronize();
	std::string s = captured();
	e2e_case("formats", e == cudaSuccess && s == "hello 7 text  3.14|42    |0xff|z|%|1099511627776\n", s.c_str());
	capture();
	many<<<4, 64>>>();
	e = cudaDeviceSynchronize();
	s = captured();
	int lines = 0;
	bool all = true;
	for (char c : s) lines += c == '\n';
	for (int b = 0; b < 4; b++) for (int t = 0; t < 64; t++) {
		char want[40];
		snprintf(want, sizeof want, "t%03d of block %d\n", t, b);
		all &= s.find(want) != std::string::npos;
	}
	e2e_case("every thread's line", e == cudaSuccess && lines == 256 && all);
	int *d, r[2];
	MUST(cudaMalloc(&d, 8));
	capture();
	result<<<1, 1>>>(d);
	cudaMemcpy(r, d, 8, cudaMemcpyDeviceToHost);
	s = captured();
	e2e_case("return value is the number of arguments", r[0] == 0 && r[1] == 2 && s == "a12\n");
	return e2e_done();
}
