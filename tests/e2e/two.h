/* two.h - what two_library.cu offers two_main.cu. Errors are those of the library's own Runtime. */
#ifndef E2E_TWO_H
#define E2E_TWO_H
#include <cuda_runtime.h>

int *two_allocate(int n);                                  /* n zeros on the device, or NULL */
cudaError_t two_add(int *p, int v, int n, cudaStream_t s);
cudaError_t two_copy(int *host, const int *p, int n, cudaStream_t s);  /* has ended when it returns */
cudaError_t two_wait(cudaEvent_t e);
cudaError_t two_free(int *p);
cudaError_t two_provoke();                                 /* fails with cudaErrorInvalidDevice */
cudaError_t two_last_error();
#endif
