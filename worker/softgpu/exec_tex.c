/* exec_tex.c - decode and execution of texture and surface instructions. */
#include "exec_decode.h"

bool decode_tex(struct dec *d)
{
	(void)d;
	return false;
}
