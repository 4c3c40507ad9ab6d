/* link.c - the linker's interface: inputs that hold PTX are gathered, and "completing" gives an image that holds them
 * all (fatbin.h, struct agc_linked); loading that image has the guard link them.  The image belongs to the link
 * state, as NVIDIA documents.
 */
#include "fatbin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct link {
	ag_id id;
	struct agc_pieces in;
	uint8_t *image;
	unsigned nopts;
	CUjit_option *option;                /* the program's arrays must live as long as the state (documented) */
	void **value;
};

#define LINK(l, h) \
	AGC_FOUND(struct link, l, AGC_CURRENT, agc_id_state(AG_K_LINK, h, NULL), CUDA_ERROR_INVALID_HANDLE)

/* Sizes are in-out: what was written replaces the capacity.  An empty log is an empty string. */
static void fill_log(char *buffer, void **size, const char *text)
{
	size_t room = (size_t)(uintptr_t)*size, n = strlen(text);
	if (buffer && room) {
		n = n < room ? n : room - 1;
		memcpy(buffer, text, n);
		buffer[n] = 0;
	}
	*size = (void *)(uintptr_t)(n ? n + 1 : 0);
}

void agc_jit_logs(unsigned n, const CUjit_option *option, void **value, CUresult r)
{
	char *log[2] = { NULL, NULL };
	char text[160] = "";
	if (r == CUDA_ERROR_INVALID_PTX)
		snprintf(text, sizeof text, "the PTX was refused; the worker's log names line and reason");
	else if (r)
		snprintf(text, sizeof text, "error %d", (int)r);
	if (!option || !value)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (option[i] == CU_JIT_INFO_LOG_BUFFER)
			log[0] = value[i];
		else if (option[i] == CU_JIT_ERROR_LOG_BUFFER)
			log[1] = value[i];
	}
	for (unsigned i = 0; i < n; i++) {
		if (option[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES)
			fill_log(log[0], &value[i], "");
		else if (option[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
			fill_log(log[1], &value[i], text);
		else if (option[i] == CU_JIT_WALL_TIME)
			value[i] = NULL;
	}
}

CUresult call_cuLinkCreate_v2(unsigned n, CUjit_option *option, void **value, CUlinkState *out)
{
	AGC_CURRENT();
	if (!out || (n && (!option || !value)))
		return CUDA_ERROR_INVALID_VALUE;
	struct link *l = calloc(1, sizeof *l);
	if (!l || !(l->id = agc_id_new(AG_K_LINK, l))) {
		free(l);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	l->nopts = n;
	l->option = option;
	l->value = value;
	*out = (CUlinkState)(uintptr_t)l->id;
	return CUDA_SUCCESS;
}

static CUresult append(struct link *l, struct agc_pieces *more)
{
	struct agc_piece *v = realloc(l->in.v, (l->in.n + more->n) * sizeof *v);
	if (!v)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(v + l->in.n, more->v, more->n * sizeof *v);
	l->in.v = v;
	l->in.n += more->n;
	free(more->v);
	*more = (struct agc_pieces){ NULL, 0, false };
	return CUDA_SUCCESS;
}

static CUresult add(struct link *l, CUjitInputType type, const void *data, size_t size)
{
	struct agc_pieces more;
	if (!data || !size || l->image)
		return CUDA_ERROR_INVALID_VALUE;
	if (type == CU_JIT_INPUT_OBJECT || type == CU_JIT_INPUT_LIBRARY || type == CU_JIT_INPUT_CUBIN) {
		if (type != CU_JIT_INPUT_CUBIN) {
			agc_log("cuLinkAdd: host objects and archives hold machine code; give PTX or fat binaries");
			return CUDA_ERROR_NOT_SUPPORTED;
		}
	} else if (type != CU_JIT_INPUT_PTX && type != CU_JIT_INPUT_FATBINARY) {
		return CUDA_ERROR_INVALID_VALUE;
	}
	CUresult r = agc_image_pieces(
		data, type == CU_JIT_INPUT_PTX ? strnlen(data, size) : size,
		(unsigned)(agc_s.shm->device[0].attr[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] * 10 +
			   agc_s.shm->device[0].attr[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR]),
		&more);
	if (r == CUDA_SUCCESS)
		r = append(l, &more);
	agc_pieces_free(&more);
	return r;
}

CUresult call_cuLinkAddData_v2(CUlinkState h, CUjitInputType type, void *data, size_t size, const char *name,
			       unsigned n, CUjit_option *option, void **value)
{
	(void)name;
	LINK(l, h);
	CUresult r = n && (!option || !value) ? CUDA_ERROR_INVALID_VALUE : add(l, type, data, size);
	agc_jit_logs(l->nopts, l->option, l->value, r);
	return r;
}

CUresult call_cuLinkAddFile_v2(CUlinkState h, CUjitInputType type, const char *path, unsigned n, CUjit_option *option,
			       void **value)
{
	void *data;
	size_t size;
	LINK(l, h);
	if (n && (!option || !value))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_read_file(path, &data, &size);
	if (r)
		return r;
	r = add(l, type, data, size);
	free(data);
	agc_jit_logs(l->nopts, l->option, l->value, r);
	return r;
}

CUresult call_cuLinkComplete(CUlinkState h, void **image, size_t *size)
{
	LINK(l, h);
	if (!image || !l->in.n)
		return CUDA_ERROR_INVALID_VALUE;
	struct agc_linked head = { AGC_LINKED_MAGIC, l->in.n, sizeof head };
	for (uint32_t i = 0; i < l->in.n; i++)
		head.bytes += 8 + l->in.v[i].len;
	uint8_t *p = l->image ? l->image : malloc(head.bytes);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(p, &head, sizeof head);
	size_t at = sizeof head;
	for (uint32_t i = 0; i < l->in.n; i++) {
		uint64_t n = l->in.v[i].len;
		memcpy(p + at, &n, 8);
		memcpy(p + at + 8, l->in.v[i].text, n);
		at += 8 + n;
	}
	l->image = p;
	*image = p;
	if (size)
		*size = head.bytes;
	return CUDA_SUCCESS;
}

CUresult call_cuLinkDestroy(CUlinkState h)
{
	LINK(l, h);
	agc_id_free(l->id);
	agc_pieces_free(&l->in);
	free(l->image);
	free(l);
	return CUDA_SUCCESS;
}
