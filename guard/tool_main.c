/* tool_main.c - build/bin/agileos-guard: `agileos guard` as a program of its own, for tests and for looking at
 * output. */
#include "guard/helper.h"

int main(int argc, char **argv)
{
	return guard_cli(argc, argv);
}
