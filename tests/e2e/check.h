/* check.h - for end-to-end programs: ordinary CUDA, no word of who runs it. Each case prints `ok NAME` or `not ok
 * NAME: why`. */
#ifndef E2E_CHECK_H
#define E2E_CHECK_H
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>

static int e2e_failed;

static inline void e2e_case(const char *name, bool ok, const char *why = "wrong result")
{
	if (ok) printf("ok %s\n", name);
	else { printf("not ok %s: %s\n", name, why); e2e_failed++; }
	fflush(stdout);
}

/* Ends the program: nothing after a failed set-up call can be judged. */
#define MUST(call) do { cudaError_t e_ = (call); if (e_ != cudaSuccess) { \
	printf("not ok %s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(e_)); exit(1); } } while (0)

/* One case: the call gives exactly this error. */
#define GIVES(name, want, call) \
	do { \
		cudaError_t e_ = (call); \
		char w_[200]; \
		snprintf(w_, sizeof w_, "%s, expected %s", cudaGetErrorName(e_), cudaGetErrorName(want)); \
		e2e_case(name, e_ == (want), w_); \
	} while (0)

static inline int e2e_done(void) { return e2e_failed ? 1 : 0; }
#endif
