/* test.h - what the C tests share: results in the form that tests/run.lua reads, a random sequence, a clock, a file's
 * text. Each source file has its own count of failures. */
#ifndef AG_TESTS_TEST_H
#define AG_TESTS_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int test_failures __attribute__((unused));

/* One case's line; why: NULL when it passed. Returns whether it did. */
static inline bool test_result(const char *name, const char *why)
{
	if (why)
		printf("not ok %s: %s\n", name, why);
	else
		printf("ok %s\n", name);
	test_failures += why != NULL;
	return !why;
}

/* The next number of a sequence that its state alone decides; the state is never 0. */
static inline uint64_t test_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline double test_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A file's bytes and a final 0, to be freed. A test cannot go on without: a failure ends it. */
static inline char *test_read(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *text = NULL;
	size_t n = 0, got = 1;
	while (f && got && (text = realloc(text, n + 65537)))
		n += got = fread(text + n, 1, 65536, f);
	if (!f || !text || ferror(f)) {
		printf("not ok %s: cannot be read\n", path);
		exit(2);
	}
	fclose(f);
	text[n] = 0;
	if (len)
		*len = n;
	return text;
}

#endif
