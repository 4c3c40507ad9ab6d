/* soft_error.c - names and texts of CUresult, and the symbols' addresses by name. */
#include "soft_internal.h"

static const struct text {
	CUresult value;
	const char *name, *text;
} texts[] = {
#define X(value, name, text) { name, #name, text },
#include "soft_errors.h"
#undef X
};

static const struct text *find(CUresult error)
{
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].value == error)
			return &texts[i];
	return NULL;
}

CUresult soft_cuGetErrorName(CUresult error, const char **out)
{
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	const struct text *t = find(error);
	*out = t ? t->name : NULL;
	return t ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult soft_cuGetErrorString(CUresult error, const char **out)
{
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	const struct text *t = find(error);
	*out = t ? t->text : NULL;
	return t ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
