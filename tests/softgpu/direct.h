/* direct.h - tests of the Driver API, written against cuda.h alone.
 *
 * With SOFT_DIRECT, every cuX is softgpu's soft_cuX, called directly; without it the same source tests a real driver.
 * Each case runs in a process of its own, so that a case may kill its context, and no case can hang the run. */
#ifndef AG_TEST_DIRECT_H
#define AG_TEST_DIRECT_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cuda.h>
#include "tests/test.h"
#ifdef SOFT_DIRECT
#include "soft_direct.h"
#endif

enum { CASE_SECONDS = 60 };

static char why[512];
static jmp_buf out_of_case;

#define FAIL(...) (snprintf(why, sizeof why, __VA_ARGS__), longjmp(out_of_case, 1))
#define EXPECT(condition) ((condition) ? (void)0 : FAIL("line %d: %s", __LINE__, #condition))

static inline void expect_result(CUresult got, CUresult want, const char *call, int line)
{
	const char *g = "?", *w = "?";
	if (got == want)
		return;
	cuGetErrorName(got, &g);
	cuGetErrorName(want, &w);
	FAIL("line %d: %s: %s, not %s", line, call, g, w);
}

#define GIVES(want, call) expect_result((call), (want), #call, __LINE__)
#define OK(call) GIVES(CUDA_SUCCESS, call)

static inline CUcontext start(void)
{
	CUcontext c;
	OK(cuInit(0));
	OK(cuDevicePrimaryCtxRetain(&c, 0));
	OK(cuCtxSetCurrent(c));
	return c;
}

struct test_case { const char *name; void (*run)(void); };

static inline void run_case(const struct test_case *c)
{
	alarm(CASE_SECONDS);
	if (setjmp(out_of_case)) {
		printf("not ok %s: %s\n", c->name, why);
		exit(1);
	}
	c->run();
	printf("ok %s\n", c->name);
	exit(0);
}

static inline int run_cases(const struct test_case *cases, size_t n, const char *only)
{
	int failed = 0;
	for (size_t i = 0; i < n; i++) {
		if (only && strcmp(only, cases[i].name))
			continue;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0)
			run_case(&cases[i]);
		int status = 0;
		waitpid(pid, &status, 0);
		if (WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 1))
			printf("not ok %s: ended by signal %d, exit %d\n", cases[i].name, WTERMSIG(status),
			       WEXITSTATUS(status));
		failed |= status != 0;
	}
	return failed;
}

#define MAIN(cases)                                                                                  \
	int main(int argc, char **argv)                                                              \
	{                                                                                            \
		return run_cases(cases, sizeof cases / sizeof *cases, argc > 1 ? argv[1] : NULL);    \
	}

#endif
