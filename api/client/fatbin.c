/* fatbin.c - from whatever a module can be loaded from to the PTX that will be guarded.
 *
 * Accepted: PTX text; a fat binary, bare or behind nvcc's wrapper (version 1, or 2 for programs linked with
 * -rdc=true, whose relocatable pieces are listed there); a linked image of ours (link.c).  Of each fat binary the one
 * PTX entry is taken that suits the device best. Machine code is never loaded: without PTX the answer is
 * CUDA_ERROR_NO_BINARY_FOR_GPU and one line that says what to do. Every read inside a fat binary is bounded by the
 * size its header states (or the caller's, when smaller).
 */
#include "fatbin.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define WRAPPER_MAGIC 0x466243B1u
#define FATBIN_MAGIC  0xBA55ED50u
#define ELF_MAGIC     0x464C457Fu
#define TEXT_MAX      (256u << 20)
#define PIECES_MAX    65536u

enum { KIND_PTX = 1, KIND_ELF = 2 };
enum { FLAG_LZ4 = 0x2000, FLAG_ZSTD = 0x8000, FLAG_ARCH = 0x100000, FLAG_FAMILY = 0x200000 };

struct wrapper { uint32_t magic, version; const void *data; const void *const *list; };
struct header { uint32_t magic; uint16_t version, header_bytes; uint64_t bytes; };
struct entry {
	uint16_t kind, unknown;
	uint32_t header_bytes;
	uint64_t payload;
	uint32_t compressed, options;
	uint16_t minor, major;
	uint32_t sm, name_off, name_len;
	uint64_t flags, unknown2, uncompressed;
};
_Static_assert(sizeof(struct entry) == 0x40, "layout of a fat binary's entry");

void agc_pieces_free(struct agc_pieces *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		free(p->v[i].text);
	free(p->v);
	*p = (struct agc_pieces){ NULL, 0, p->sass_only };
}

/* Appends a piece; takes over `text` (freed on failure). */
static CUresult piece_add(struct agc_pieces *out, char *text, size_t len)
{
	struct agc_piece *v = out->n < PIECES_MAX ? realloc(out->v, (out->n + 1) * sizeof *v) : NULL;
	if (!v) {
		free(text);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	out->v = v;
	v[out->n++] = (struct agc_piece){ text, len };
	return CUDA_SUCCESS;
}

/* A piece from bytes that may have leading line ends and zero padding. */
static CUresult piece_copy(struct agc_pieces *out, const char *text, size_t len)
{
	while (len && (*text == '\n' || *text == '\r')) {
		text++;
		len--;
	}
	len = strnlen(text, len);
	if (len == 0 || len > TEXT_MAX)
		return CUDA_ERROR_INVALID_IMAGE;
	char *copy = malloc(len + 1);
	if (!copy)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(copy, text, len);
	copy[len] = 0;
	return piece_add(out, copy, len);
}

static CUresult unpack(const struct entry *e, const uint8_t *payload, struct agc_pieces *out)
{
	if (e->compressed == 0 || !(e->flags & (FLAG_LZ4 | FLAG_ZSTD)))
		return piece_copy(out, (const char *)payload, e->payload);
	if (e->compressed > e->payload || e->uncompressed == 0 || e->uncompressed > TEXT_MAX)
		return CUDA_ERROR_INVALID_IMAGE;
	char *text = malloc(e->uncompressed + 1);
	if (!text)
		return CUDA_ERROR_OUT_OF_MEMORY;
	size_t got;
	if (e->flags & FLAG_ZSTD) {
		got = ZSTD_decompress(text, e->uncompressed, payload, e->compressed);
		if (ZSTD_isError(got))
			got = 0;
	} else {
		int n = LZ4_decompress_safe((const char *)payload, text, (int)e->compressed, (int)e->uncompressed);
		got = n > 0 ? (size_t)n : 0;
	}
	CUresult r = got == e->uncompressed ? piece_copy(out, text, got) : CUDA_ERROR_INVALID_IMAGE;
	free(text);
	return r;
}

/* How well PTX for e suits sm; 0 not at all.  Plain PTX runs on its own and later devices, `a` on its own only, `f`
 * within its family. */
static unsigned rank(const struct entry *e, unsigned sm)
{
	if (e->kind != KIND_PTX || e->sm > sm)
		return 0;
	if (e->flags & FLAG_ARCH)
		return e->sm == sm ? sm * 4 + 3 : 0;
	if (e->flags & FLAG_FAMILY)
		return e->sm / 10 == sm / 10 ? e->sm * 4 + 2 : 0;
	return e->sm * 4 + 1;
}

static CUresult from_fatbin(const uint8_t *p, size_t size, unsigned sm, struct agc_pieces *out)
{
	struct header h;
	struct entry e, best = { .kind = 0 };
	const uint8_t *payload = NULL;
	unsigned best_rank = 0;
	bool other = false;
	if (size < sizeof h)
		return CUDA_ERROR_INVALID_IMAGE;
	memcpy(&h, p, sizeof h);
	if (h.version != 1 || h.header_bytes < sizeof h || h.header_bytes > size || h.bytes > size - h.header_bytes)
		return CUDA_ERROR_INVALID_IMAGE;
	const uint8_t *at = p + h.header_bytes, *end = at + h.bytes;
	while ((size_t)(end - at) >= sizeof e) {
		memcpy(&e, at, sizeof e);
		if (e.header_bytes < sizeof e || e.header_bytes > (size_t)(end - at) ||
		    e.payload > (size_t)(end - at) - e.header_bytes)
			return CUDA_ERROR_INVALID_IMAGE;
		if (e.kind == KIND_PTX || e.kind == KIND_ELF)
			other = true;
		if (rank(&e, sm) > best_rank) {
			best_rank = rank(&e, sm);
			best = e;
			payload = at + e.header_bytes;
		}
		at += e.header_bytes + e.payload;
	}
	if (payload)
		return unpack(&best, payload, out);
	out->sass_only = other;
	return other ? CUDA_ERROR_NO_BINARY_FOR_GPU : CUDA_ERROR_INVALID_IMAGE;
}

/* A fat binary in the program's own memory, as long as its header says. */
static CUresult from_memory(const void *p, unsigned sm, struct agc_pieces *out)
{
	struct header h;
	if (!p)
		return CUDA_ERROR_INVALID_IMAGE;
	memcpy(&h, p, sizeof h);
	if (h.magic != FATBIN_MAGIC || h.bytes > SIZE_MAX - h.header_bytes)
		return CUDA_ERROR_INVALID_IMAGE;
	return from_fatbin(p, h.header_bytes + h.bytes, sm, out);
}

/* Wrappers hold pointers, so they only occur in the program's memory. */
static CUresult from_wrapper(const void *image, unsigned sm, struct agc_pieces *out)
{
	struct wrapper w;
	memcpy(&w, image, sizeof w);
	if (w.version != 2 || !w.list || !w.list[0])
		return from_memory(w.data, sm, out);
	for (uint32_t i = 0; w.list[i]; i++) {
		CUresult r = from_memory(w.list[i], sm, out);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

static CUresult from_linked(const uint8_t *p, size_t size, struct agc_pieces *out)
{
	struct agc_linked h;
	if (size && size < sizeof h)
		return CUDA_ERROR_INVALID_IMAGE;
	memcpy(&h, p, sizeof h);
	if (h.bytes < sizeof h || (size && h.bytes > size) || h.pieces > PIECES_MAX)
		return CUDA_ERROR_INVALID_IMAGE;
	uint64_t at = sizeof h, n;
	for (uint32_t i = 0; i < h.pieces; i++) {
		if (h.bytes - at < 8)
			return CUDA_ERROR_INVALID_IMAGE;
		memcpy(&n, p + at, 8);
		at += 8;
		if (n > h.bytes - at)
			return CUDA_ERROR_INVALID_IMAGE;
		CUresult r = piece_copy(out, (const char *)p + at, n);
		if (r)
			return r;
		at += n;
	}
	return h.pieces ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

static bool is_text(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < 4 && (!size || i < size); i++)
		if (p[i] == 0 || p[i] >= 127 || (p[i] < 32 && p[i] != '\n' && p[i] != '\r' && p[i] != '\t'))
			return i > 0 && p[i] == 0;
	return true;
}

static CUresult classify(const void *image, size_t size, unsigned sm, struct agc_pieces *out)
{
	uint32_t magic = 0;
	if (!image)
		return CUDA_ERROR_INVALID_VALUE;
	if (is_text(image, size))
		return piece_copy(out, image, size ? size : strlen(image));
	if (size && size < 4)
		return CUDA_ERROR_INVALID_IMAGE;
	memcpy(&magic, image, 4);
	switch (magic) {
	case WRAPPER_MAGIC:
		return size ? CUDA_ERROR_INVALID_IMAGE : from_wrapper(image, sm, out);
	case FATBIN_MAGIC:
		return size ? from_fatbin(image, size, sm, out) : from_memory(image, sm, out);
	case AGC_LINKED_MAGIC:
		return from_linked(image, size, out);
	case ELF_MAGIC:
		out->sass_only = true;
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	default:
		return CUDA_ERROR_INVALID_IMAGE;
	}
}

CUresult agc_image_pieces(const void *image, size_t size, unsigned sm, struct agc_pieces *out)
{
	*out = (struct agc_pieces){ NULL, 0, false };
	CUresult r = classify(image, size, sm, out);
	if (r == CUDA_ERROR_NO_BINARY_FOR_GPU)
		agc_log("a module has machine code but no PTX for sm_%u: build it with -gencode "
			"arch=compute_%u,code=compute_%u (or -arch=sm_%u)",
			sm, sm, sm, sm);
	return r;
}
