/* main.c - agileos-gen: the embedded Lua, the header scanner, and gen/main.lua.
 *
 *   agileos-gen ROOT ARGUMENTS...      ROOT: the source tree; the arguments are gen/main.lua's
 *
 * An error is one line on stderr (`file:line: what`), exit status 1.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include "gen.h"

/* Errors made by the program's own data carry no traceback; a fault of the generator does. */
static int handler(lua_State *L)
{
	if (lua_type(L, 1) == LUA_TTABLE && lua_getfield(L, 1, "message") == LUA_TSTRING)
		return 1;
	luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: agileos-gen ROOT [arguments of gen/main.lua]\n");
		return 2;
	}
	lua_State *L = luaL_newstate();
	if (!L) {
		fprintf(stderr, "agileos-gen: out of memory\n");
		return 1;
	}
	luaL_openlibs(L);
	lua_register(L, "scan", gen_scan);
	lua_pushstring(L, argv[1]);
	lua_setglobal(L, "ROOT");
	lua_createtable(L, argc, 0);
	for (int i = 2; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i - 1);
	}
	lua_setglobal(L, "arg");
	lua_pushcfunction(L, handler);
	lua_pushfstring(L, "%s/gen/main.lua", argv[1]);
	int rc = luaL_loadfile(L, lua_tostring(L, -1));
	if (rc == LUA_OK) {
		rc = lua_pcall(L, 0, 0, 1);
	}
	if (rc != LUA_OK)
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
	lua_close(L);
	return rc != LUA_OK;
}
