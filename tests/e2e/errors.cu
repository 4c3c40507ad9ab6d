// errors.cu - every name and text of cudaError_t, one line each. Needs no device.
#include <cstdio>
#include <cuda_runtime.h>

int main()
{
	for (int i = 0; i <= 10000; i++) {
		const char *text = cudaGetErrorString((cudaError_t)i);
		if (text && *text)
			printf("%d %s: %s\n", i, cudaGetErrorName((cudaError_t)i), text);
	}
	return 0;
}
