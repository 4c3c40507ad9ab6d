/* fatbin_test.c - every form in which nvcc packs device code (build/tests/fatbin/, made by api/client.mk) gives the
 * PTX that `nvcc -ptx` gives. With an argument, fuzzes instead: that many mutated images per file, none of which may
 * be read out of bounds (sanitizer builds). */
#include "api/client/fatbin.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIR "build/tests/fatbin/"

static void expect(bool ok, const char *name, const char *why)
{
	test_result(name, ok ? NULL : why);
}

static uint8_t *read_all(const char *name, size_t *size)
{
	char path[256];
	snprintf(path, sizeof path, DIR "%s", name);
	return (uint8_t *)test_read(path, size);
}

/* The next character that matters: nvcc strips comments and white space when it packs. */
static char next_char(const char **p)
{
	for (;;) {
		*p += strspn(*p, " \t\r\n");
		if ((*p)[0] != '/' || (*p)[1] != '/')
			return **p ? *(*p)++ : 0;
		*p += strcspn(*p, "\n");
	}
}

static bool same_text(const struct agc_piece *p, const char *want)
{
	const char *got = p->text;
	char a, b;
	do {
		a = next_char(&got);
		b = next_char(&want);
	} while (a && a == b);
	return a == b && strlen(p->text) == p->len;
}

/* The one piece of an image equals the reference text. */
static void packed(const char *name, unsigned sm, const char *reference)
{
	size_t size, n;
	uint8_t *image = read_all(name, &size);
	char *want = (char *)read_all(reference, &n);
	struct agc_pieces out;
	CUresult r = agc_image_pieces(image, size, sm, &out);
	expect(r == CUDA_SUCCESS && out.n == 1 && same_text(&out.v[0], want), name, r ? "refused" : "another text");
	agc_pieces_free(&out);
	r = agc_image_pieces(image, 0, sm, &out);        /* as the program gives it: no size */
	expect(r == CUDA_SUCCESS && out.n == 1 && same_text(&out.v[0], want), "the same without a size",
	       r ? "refused" : "another text");
	agc_pieces_free(&out);
	free(image);
	free(want);
}

static void target(const char *name, unsigned sm, const char *want)
{
	size_t size;
	char label[96];
	uint8_t *image = read_all(name, &size);
	struct agc_pieces out;
	CUresult r = agc_image_pieces(image, size, sm, &out);
	snprintf(label, sizeof label, "%s for sm_%u", name, sm);
	if (!want)
		expect(r == CUDA_ERROR_NO_BINARY_FOR_GPU && out.sass_only, label, "not refused as machine code only");
	else
		expect(r == CUDA_SUCCESS && out.n == 1 && strstr(out.v[0].text, want), label, "another target");
	agc_pieces_free(&out);
	free(image);
}

/* What nvcc's host code holds: pointers to images. */
static void wrappers(void)
{
	struct {
		uint32_t magic, version;
		const void *data;
		const void *const *list;
	} w = { 0x466243B1u, 1, NULL, NULL };
	size_t a_size, b_size;
	uint8_t *a = read_all("default.fatbin", &a_size), *b = read_all("speed.fatbin", &b_size);
	const void *list[] = { a, b, NULL }, *none[] = { NULL };
	struct agc_pieces out;
	w.data = a;
	expect(agc_image_pieces(&w, 0, 90, &out) == CUDA_SUCCESS && out.n == 1, "wrapper version 1", "refused");
	agc_pieces_free(&out);
	w.version = 2;
	w.list = list;
	expect(agc_image_pieces(&w, 0, 90, &out) == CUDA_SUCCESS && out.n == 2, "wrapper version 2: all pieces",
	       "refused");
	agc_pieces_free(&out);
	w.list = none;
	expect(agc_image_pieces(&w, 0, 90, &out) == CUDA_SUCCESS && out.n == 1, "wrapper version 2 without pieces",
	       "refused");
	agc_pieces_free(&out);
	w.data = NULL;
	expect(agc_image_pieces(&w, 0, 90, &out) == CUDA_ERROR_INVALID_IMAGE, "wrapper of nothing", "accepted");
	agc_pieces_free(&out);
	free(a);
	free(b);
}

static void odd_images(void)
{
	static const uint8_t elf[64] = "\x7f" "ELF\2\1\1";
	struct agc_pieces out;
	CUresult r = agc_image_pieces(elf, sizeof elf, 90, &out);
	expect(r == CUDA_ERROR_NO_BINARY_FOR_GPU && out.sass_only, "cubin", "accepted");
	agc_pieces_free(&out);
	r = agc_image_pieces("\n\n.version 8.0\n", 0, 90, &out);
	expect(r == CUDA_SUCCESS && out.n == 1 && strcmp(out.v[0].text, ".version 8.0\n") == 0, "text",
	       "not taken as it is");
	agc_pieces_free(&out);
	r = agc_image_pieces("\x01\x02\x03\x04\x05\x06\x07", 7, 90, &out);
	expect(r == CUDA_ERROR_INVALID_IMAGE, "noise", "accepted");
	agc_pieces_free(&out);
	expect(agc_image_pieces(NULL, 0, 90, &out) == CUDA_ERROR_INVALID_VALUE, "no image", "accepted");
	agc_pieces_free(&out);
	expect(agc_image_pieces("", 1, 90, &out) == CUDA_ERROR_INVALID_IMAGE, "empty image", "accepted");
	agc_pieces_free(&out);
}

static uint64_t rng = 88172645463325252ull;
static uint64_t rnd(uint64_t n)
{
	return test_random(&rng) % n;
}

static void mutate(uint8_t *p, size_t n)
{
	static const uint64_t odd[] = {
		0,    1,      0xff,  0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff,
		0x40, 0x2000, 0x8000
	};
	for (uint64_t k = 1 + rnd(4); k; k--) {
		/* Mostly in the headers: that is where lengths are. */
		size_t at = rnd(3) ? rnd(n < 160 ? n : 160) : rnd(n), w = 1u << rnd(4);
		uint64_t v = rnd(2) ? odd[rnd(sizeof odd / sizeof *odd)] : rnd(UINT64_MAX);
		if (at + w <= n)
			memcpy(p + at, &v, w);
	}
}

static int fuzz(unsigned long rounds)
{
	static const char *const seed[] = { "default.fatbin", "speed.fatbin", "none.fatbin", "many.fatbin" };
	unsigned long accepted = 0, refused = 0;
	freopen("/dev/null", "w",
		stderr); /* a line per refused image is not wanted here; sanitizers exit with a status */
	for (size_t f = 0; f < sizeof seed / sizeof *seed; f++) {
		size_t size;
		uint8_t *image = read_all(seed[f], &size);
		for (unsigned long i = 0; i < rounds; i++) {
			size_t n = rnd(5) ? size : 1 + rnd(size);
			uint8_t *copy = malloc(n);       /* exactly as long, so that one byte too many is seen */
			struct agc_pieces out;
			memcpy(copy, image, n);
			mutate(copy, n);
			if (agc_image_pieces(copy, n, 90, &out) == CUDA_SUCCESS)
				accepted++;
			else
				refused++;
			agc_pieces_free(&out);
			free(copy);
		}
		free(image);
	}
	expect(accepted && refused, "fatbin fuzzing", "every image went the same way");
	return test_failures != 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return fuzz(strtoul(argv[1], NULL, 10));
	packed("default.fatbin", 90, "sm_90.ptx");
	packed("size.fatbin", 90, "sm_90.ptx");
	packed("speed.fatbin", 90, "sm_90.ptx");
	packed("balance.fatbin", 90, "sm_90.ptx");
	packed("none.fatbin", 90, "sm_90.ptx");
	packed("all.fatbin", 90, "sm_90.ptx");
	packed("sm_90.ptx", 90, "sm_90.ptx");
	target("many.fatbin", 90, ".target sm_90\n");
	target("many.fatbin", 89, ".target sm_80\n");
	target("many.fatbin", 75, ".target sm_75\n");
	target("many.fatbin", 120, ".target sm_100\n");
	target("many.fatbin", 70, NULL);
	target("arch.fatbin", 90, ".target sm_90a");
	target("arch.fatbin", 100, NULL);
	target("machine.fatbin", 90, NULL);
	wrappers();
	odd_images();
	return test_failures != 0;
}
