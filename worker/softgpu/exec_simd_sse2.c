/* exec_simd_sse2.c - the vector handlers for every x86-64. */
#define SIMD_TABLE exec_simd_sse2
#include "exec_simd.h"
