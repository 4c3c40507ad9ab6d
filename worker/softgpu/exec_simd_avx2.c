/* exec_simd_avx2.c - the vector handlers for processors with AVX2 and FMA; exec_simd() chooses at run time. */
#define SIMD_TABLE exec_simd_avx2
#include "exec_simd.h"
