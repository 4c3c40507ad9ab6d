/* exec_matrix.c - decode and execution of matrix instructions. */
#include "exec_decode.h"

bool decode_matrix(struct dec *d)
{
	(void)d;
	return false;
}
