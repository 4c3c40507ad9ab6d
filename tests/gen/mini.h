/* mini.h - a library in small: one function for each meaning a parameter can have. */
#include <stddef.h>

typedef enum miniResult { MINI_OK = 0 } CUresult;
typedef enum miniColor { MINI_RED = 1, MINI_BLUE = 4, MINI_COLOR_MAX = 0x7fffffff } miniColor;
typedef unsigned long long CUdeviceptr;
typedef struct miniThing_st *miniThing;
typedef struct CUstream_st *CUstream;
typedef int CUdevice;

typedef struct miniPlain_st { miniColor color; int n; float f[2]; } miniPlain;
typedef struct miniDeep_st { miniThing thing; CUdeviceptr where; size_t rows, pitch; } miniDeep;
typedef struct miniSecret_st { void *pointer; } miniSecret;

/**
 * \brief Creates.
 *
 * \param thing - Returned thing
 * \param color - Its color
 */
CUresult miniCreate(miniThing *thing, miniColor color, const miniPlain *plain);
CUresult miniDestroy(miniThing thing);
/**
 * \param out - Returned value
 */
CUresult miniQuery(int *out, miniThing thing, CUdevice device);
CUresult miniRun(miniThing thing, const miniDeep *deep, CUstream stream);
CUresult miniMany(const miniThing *things, size_t count, const char *name);
CUresult miniList(miniThing thing, miniThing *parts, size_t *number);
CUresult miniWipe(CUdeviceptr where, size_t bytes);
CUresult miniWeak(miniThing thing, int *maybe);
CUresult miniDeepGuess(const miniSecret *secret);
CUresult miniUnknown(void *p);
CUresult miniRefused(int x);
