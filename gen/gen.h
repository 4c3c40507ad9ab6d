/* gen.h - what the generator's C files share; everything else of the generator is Lua. */
#ifndef AG_GEN_H
#define AG_GEN_H

#include <lua.h>

int gen_scan(lua_State *L);          /* scan.c */

#endif
